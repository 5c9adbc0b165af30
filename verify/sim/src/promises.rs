//! What a node says to others, against what its disk holds at that moment: votes and acknowledgements
//! leave only after they are durable (Raft paper, figure 2: "updated on stable storage before
//! responding").

use types::{GroupId, HardState, NodeId};
use wire::{
    PeerBody, PeerMessage,
    message::{RaftKind, RaftMessage},
};

use crate::{failure::Broken, host::Host};

/// Checks one message that is about to leave.
pub fn check(host: &Host, to: NodeId, message: &PeerMessage) -> Result<(), Broken> {
    let Some(PeerBody::Raft(raft)) = &message.body else { return Ok(()) };
    let group = GroupId(message.group);
    let (durable, last_index) = (host.durable.hard_state(group), host.durable.last_index(group));
    let kept = match RaftKind::try_from(raft.kind) {
        Ok(RaftKind::RequestVoteResponse) if !raft.reject => voted(durable, to, raft),
        // Of an earlier term it is as if it had left at once and were late: one sync may make both durable, what it
        // acknowledges and what a later leader put in its place.
        Ok(RaftKind::AppendResponse) if !raft.reject => {
            durable.term > raft.term || (durable.term == raft.term && last_index >= raft.index)
        }
        Ok(RaftKind::RequestVote) => durable.term >= raft.term,
        _ => true,
    };
    if kept {
        return Ok(());
    }
    Err(Broken::safety(
        "promises_are_durable",
        format!(
            "node {} tells node {to} in group {}: {:?} term {} index {}; on its disk are {durable:?} and entries up to {last_index}",
            host.id,
            message.group,
            raft.kind(),
            raft.term,
            raft.index
        ),
    ))
}

fn voted(state: HardState, to: NodeId, vote: &RaftMessage) -> bool {
    state.term > vote.term || (state.term == vote.term && state.vote == to.0 + 1)
}
