//! Writes that are applied, and answered only once every replica has them on disk (`ack = all`).
//!
//! Guarantee G-ALL: with `ack = all` a write is answered once every replica has its entry on disk.

use types::{Acks, Applied, ErrorCode, Problem, Role, contract};

use crate::{
    api::ReplyBody,
    group::Group,
    node::Node,
    pump::Backing,
    requests::{Place, Waiting},
};

/// One of them.
#[derive(Debug)]
pub(crate) struct Held {
    pub id: u64,
    /// Of the entry.
    pub index: u64,
    /// In which this node led and the entry was made.
    pub term: u64,
    pub body: ReplyBody,
    pub deduplicated: bool,
}

impl Node {
    /// Replicas that must have a write on disk before it is answered.
    pub(crate) fn required_acks(&self, waiting: &Waiting) -> u32 {
        let keyspace = self.keyspaces.get(&waiting.request.keyspace);
        let of_contract = keyspace.map_or(contract::Ack::Quorum, |keyspace| keyspace.contract.ack);
        match waiting.request.options.ack.unwrap_or(of_contract) {
            contract::Ack::All => self.nodes(),
            _ => self.quorum(),
        }
    }

    /// An applied write is answered now, or once enough replicas have it.
    pub(crate) fn answer_applied(&mut self, group: &mut Group, role: Role, held: Held) {
        let Some(waiting) = self.requests.get(held.id) else { return };
        let required = self.required_acks(waiting);
        #[cfg(feature = "planted")]
        let got = self.planted_acks(group.raft.matched_count(held.index), required);
        #[cfg(not(feature = "planted"))]
        let got = group.raft.matched_count(held.index);
        // What is applied is committed, and so on a majority, also when this node leads no more and cannot count.
        let got = got.max(self.quorum());
        if got < required {
            self.requests.place(held.id, Place::Held(group.id, held.index));
            group.held.push_back(held);
            return;
        }
        let acks = Acks { required, got, of: self.nodes(), durable: got };
        let Held { id, index, term, body, deduplicated } = held;
        let backing = Backing { acks, deduplicated, read_lease: None };
        self.answer_with(id, group, body, (role, term, index), backing);
    }

    /// Answers the writes that every replica has by now, and those of which this node can no longer tell.
    pub(crate) fn answer_held(&mut self, group: &mut Group) {
        if group.held.is_empty() {
            return;
        }
        let (role, term) = (group.raft.role(), group.raft.term());
        for held in std::mem::take(&mut group.held) {
            if role == Role::Leader && held.term == term {
                self.answer_applied(group, role, held);
            } else {
                self.answer(held.id, Err(not_on_all(self.quorum(), self.nodes())));
            }
        }
    }

    /// The deadline of a held write has come.
    pub(crate) fn held_too_long(&self, group: &Group, index: u64) -> Problem {
        not_on_all(group.raft.matched_count(index).max(self.quorum()), self.nodes())
    }
}

fn not_on_all(got: u32, of: u32) -> Problem {
    let message = format!(
        "the write is applied, and known to be on the disks of {got} of {of} replicas: ack = all needs all"
    );
    let next_step =
        "it stays; quorate status shows which nodes are missing, and they catch up once they are back";
    let problem = Problem::not_applied(ErrorCode::DeadlineExceeded, message, next_step);
    Problem { applied: Applied::Applied, ..problem }
}
