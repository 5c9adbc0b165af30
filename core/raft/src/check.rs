//! Which peer messages may reach the engine.
//!
//! Guarantee G-PEER-BYTES: what a peer sends is an error or is taken, and never stops the process.
//!
//! The engine trusts its peers and stops the process on what cannot happen among correct ones: a
//! commit index beyond the log, a vote that was not asked for, a local message with a network
//! sender. A peer can still send it, by a bug, a damaged frame or malice. Everything that a correct
//! peer cannot have sent, as far as our own state tells, is refused here, before anything changed.

use raft::{INVALID_ID, Raft, StateRole};
use types::NodeId;
use types::limits::FRAME_BYTES_MAX;
use wire::message::{RaftKind, RaftMessage};

use crate::cache::LogCache;
use crate::convert::engine_id;

/// Highest term that a peer may name, so that arithmetic on terms cannot overflow.
pub const TERM_MAX: u64 = 1 << 62;
/// Highest log index that a peer may name, for the same reason.
pub const INDEX_MAX: u64 = 1 << 62;
/// Longest context of a message, in bytes. Ours have 24.
pub const CONTEXT_BYTES_MAX: usize = 64;

/// A message was refused. The group is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No correct peer sends this. Close the connection it came by.
    #[error("malformed Raft message of kind {kind} from node {from}: {reason}")]
    Malformed {
        /// The sender.
        from: NodeId,
        /// Its kind, a `RaftKind`, if known.
        kind: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What to do with a message that is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Give it to the engine.
    Step(RaftKind),
    /// Late or pointless, as happens on any network. Forget it.
    Ignore,
    /// A request for a vote while votes are refused.
    TooSoon,
}

/// What the checks need beside the engine's own state.
pub(crate) struct Receiver<'a> {
    pub raft: &'a Raft<LogCache>,
    /// Node numbers, sorted.
    pub voters: &'a [NodeId],
    /// A snapshot was accepted and is not installed yet.
    pub installing: bool,
    /// Highest term for which a request for votes has left this node since it started.
    pub vote_asked_term: u64,
    /// A leader may count on it that this node gives no vote.
    pub refuses_votes: bool,
}

type Check = Result<(), &'static str>;

fn ensure(holds: bool, reason: &'static str) -> Check {
    if holds { Ok(()) } else { Err(reason) }
}

impl Receiver<'_> {
    pub fn check(&self, from: NodeId, message: &RaftMessage) -> Result<Verdict, StepError> {
        self.verdict(from, message).map_err(|reason| StepError::Malformed {
            from,
            kind: message.kind,
            reason,
        })
    }

    fn verdict(&self, from: NodeId, message: &RaftMessage) -> Result<Verdict, &'static str> {
        let kind = RaftKind::try_from(message.kind).map_err(|_| "unknown kind")?;
        ensure(kind != RaftKind::Unspecified, "unknown kind")?;
        ensure(self.voters.binary_search(&from).is_ok(), "the sender is not a member")?;
        ensure(engine_id(from) != self.raft.id, "it claims to be from this node")?;
        check_bounds(kind, message)?;
        check_form(kind, message)?;
        if kind == RaftKind::Snapshot {
            self.check_snapshot_voters(message)?;
        }
        self.check_against_state(kind, from, message)
    }

    fn check_snapshot_voters(&self, message: &RaftMessage) -> Check {
        ensure(message.snapshot_voters.len() == self.voters.len(), "a snapshot of another membership")?;
        let mut voters = message.snapshot_voters.clone();
        voters.sort_unstable();
        let same = voters.iter().zip(self.voters).all(|(theirs, ours)| *theirs == ours.0);
        ensure(same, "a snapshot of another membership")
    }

    fn check_against_state(
        &self,
        kind: RaftKind,
        from: NodeId,
        message: &RaftMessage,
    ) -> Result<Verdict, &'static str> {
        let raft = self.raft;
        let leading = raft.state == StateRole::Leader;
        if message.term < raft.term {
            // The engine answers old leaders and old pre-candidates, and drops the rest.
            return Ok(Verdict::Step(kind));
        }
        match kind {
            RaftKind::Append => {
                self.check_sender_leads(from, message)?;
                self.check_append(message)?;
            }
            RaftKind::Heartbeat => {
                self.check_sender_leads(from, message)?;
                ensure(
                    message.commit <= raft.raft_log.last_index(),
                    "it commits what this log lacks: this node lost what it had acknowledged, or the peer is broken",
                )?;
            }
            RaftKind::Snapshot => {
                self.check_sender_leads(from, message)?;
                let committed = raft.raft_log.committed;
                let contradicts = message.snapshot_index == committed
                    && !raft.raft_log.match_term(committed, message.snapshot_term);
                ensure(!contradicts, "it contradicts a committed entry")?;
                if self.installing {
                    return Ok(Verdict::Ignore);
                }
            }
            RaftKind::TimeoutNow => {
                self.check_sender_leads(from, message)?;
                if self.installing {
                    return Ok(Verdict::Ignore);
                }
            }
            RaftKind::TransferLeader => {
                // Received by a follower the engine would send it on, and stop over its term.
                if !leading || message.term != raft.term {
                    return Ok(Verdict::Ignore);
                }
            }
            RaftKind::AppendResponse => {
                if leading && message.term == raft.term {
                    return self.check_append_response(kind, from, message);
                }
            }
            RaftKind::HeartbeatResponse => {
                if leading && message.term == raft.term {
                    let last = raft.raft_log.last_index();
                    ensure(message.commit <= last, "it reports a commit beyond the leader's log")?;
                }
            }
            RaftKind::RequestVoteResponse if !message.reject => {
                ensure(message.term == raft.term, "a vote for a term that was never campaigned for")?;
                let asked = raft.state != StateRole::Candidate || self.vote_asked_term >= raft.term;
                ensure(asked, "a vote that was never asked for")?;
            }
            RaftKind::RequestPreVoteResponse if !message.reject => {
                ensure(message.term <= raft.term + 1, "a pre-vote that was never asked for")?;
                if message.term == raft.term {
                    return Ok(Verdict::Ignore);
                }
            }
            // The leader that was handing over has no lease, and another's cannot be: it led before.
            RaftKind::RequestVote if message.context == raft::CAMPAIGN_TRANSFER => {}
            RaftKind::RequestVote | RaftKind::RequestPreVote => {
                if self.refuses_votes {
                    return Ok(Verdict::TooSoon);
                }
            }
            RaftKind::RequestVoteResponse | RaftKind::RequestPreVoteResponse | RaftKind::Unspecified => {}
        }
        Ok(Verdict::Step(kind))
    }

    /// At most one leader per term (thesis 3.4).
    fn check_sender_leads(&self, from: NodeId, message: &RaftMessage) -> Check {
        if message.term > self.raft.term {
            return Ok(());
        }
        ensure(self.raft.state != StateRole::Leader, "this node leads that term")?;
        let leader = self.raft.leader_id;
        ensure(leader == INVALID_ID || leader == engine_id(from), "another node leads that term")
    }

    fn check_append(&self, message: &RaftMessage) -> Check {
        let log = &self.raft.raft_log;
        let contradicts = |index: u64, term: u64| {
            index <= log.committed && index + 1 >= log.first_index() && !log.match_term(index, term)
        };
        ensure(!contradicts(message.index, message.log_term), "it contradicts a committed entry")?;
        let overlap = message.entries.iter().take_while(|entry| entry.index <= log.committed);
        for entry in overlap {
            ensure(!contradicts(entry.index, entry.term), "it contradicts a committed entry")?;
        }
        Ok(())
    }

    fn check_append_response(
        &self,
        kind: RaftKind,
        from: NodeId,
        message: &RaftMessage,
    ) -> Result<Verdict, &'static str> {
        let last = self.raft.raft_log.last_index();
        ensure(message.index <= last, "it answers what was never sent")?;
        ensure(message.commit <= last, "it reports a commit beyond the leader's log")?;
        let matched = self.raft.prs().get(engine_id(from)).map_or(0, |progress| progress.matched);
        // A refusal at or below what the follower is known to hold is a late copy. The engine would
        // let `next` fall to `matched` or below.
        if message.reject && message.index <= matched {
            return Ok(Verdict::Ignore);
        }
        Ok(Verdict::Step(kind))
    }
}

/// Sizes and ranges, so that nothing later overflows or grows without bound.
fn check_bounds(kind: RaftKind, message: &RaftMessage) -> Check {
    ensure(message.term > 0, "term 0")?;
    let terms = [message.term, message.log_term, message.commit_term, message.snapshot_term];
    ensure(terms.iter().all(|term| *term <= TERM_MAX), "a term out of range")?;
    let indexes = [message.index, message.commit, message.reject_hint, message.snapshot_index];
    ensure(indexes.iter().all(|index| *index <= INDEX_MAX), "an index out of range")?;
    ensure(message.context.len() <= CONTEXT_BYTES_MAX, "an overlong context")?;
    ensure(message.request_snapshot == 0, "it asks for a snapshot")?;
    ensure(message.priority == 0, "it has an election priority")?;
    ensure(message.entries.is_empty() || kind == RaftKind::Append, "unexpected entries")?;
    let entry_bytes: usize = message.entries.iter().map(|entry| entry.data.len()).sum();
    ensure(entry_bytes <= FRAME_BYTES_MAX, "more entry bytes than a frame holds")
}

/// What the fields must be among themselves, whatever our state.
fn check_form(kind: RaftKind, message: &RaftMessage) -> Check {
    match kind {
        RaftKind::Append => {
            ensure((message.index == 0) == (message.log_term == 0), "index and term disagree")?;
            ensure(message.log_term <= message.term, "an entry from a later term")?;
            let (mut index, mut term) = (message.index, message.log_term.max(1));
            for entry in &message.entries {
                ensure(entry.index == index + 1, "entries do not connect")?;
                ensure(entry.term >= term, "an entry's term is below its predecessor's")?;
                ensure(entry.term <= message.term, "an entry from a later term")?;
                (index, term) = (entry.index, entry.term);
            }
            Ok(())
        }
        RaftKind::AppendResponse if message.reject => {
            ensure(message.reject_hint <= message.index, "its hint is beyond what it refuses")?;
            ensure(message.log_term <= message.term, "an entry from a later term")
        }
        RaftKind::RequestVote | RaftKind::RequestPreVote => {
            ensure((message.index == 0) == (message.log_term == 0), "index and term disagree")?;
            ensure(message.log_term < message.term, "a candidate with entries of its own term")?;
            ensure(message.commit <= message.index, "a commit beyond the candidate's log")?;
            ensure(message.commit_term <= message.log_term, "a commit beyond the candidate's log")?;
            ensure((message.commit == 0) == (message.commit_term == 0), "commit and its term disagree")?;
            let context = &message.context[..];
            let known = context.is_empty() || context == raft::CAMPAIGN_TRANSFER;
            ensure(known, "an unknown kind of campaign")
        }
        RaftKind::RequestVoteResponse | RaftKind::RequestPreVoteResponse => {
            ensure(message.commit_term <= message.term, "a commit from a later term")
        }
        RaftKind::Snapshot => {
            let position = message.snapshot_index > 0 && message.snapshot_term > 0;
            ensure(position, "a snapshot without a position")?;
            ensure(message.snapshot_term <= message.term, "a snapshot from a later term")
        }
        _ => Ok(()),
    }
}
