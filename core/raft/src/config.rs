//! What a group is made from: its configuration, and the log that recovery found.
//!
//! Recovery is checked here, before the engine sees it: the engine stops the process when a hard
//! state and a log contradict each other, and the caller deserves the reason instead.

use types::{Entry, GroupId, HardState, LogPosition, NodeId};

#[cfg(feature = "planted")]
use crate::planted::Planted;

/// One group's configuration on one node.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub group: GroupId,
    /// This node; one of `voters`.
    pub node: NodeId,
    /// All members.
    pub voters: Vec<NodeId>,
    /// Ticks without a leader's word before an election; the real timeout is drawn from
    /// `election_ticks..2 * election_ticks` (thesis 3.4).
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats; less than `election_ticks`.
    pub heartbeat_ticks: usize,
    /// Bytes of applied and checkpointed entries that stay in memory for followers that lag.
    pub log_cache_bytes_max: u64,
    /// Bytes of entries above the applied index beyond which proposals are refused.
    pub unapplied_bytes_max: u64,
    /// For how long this node gives no vote once it has heard from a leader, and once it started, in milliseconds of
    /// its own clock. Part of the protocol: every member of a group must have the same. See the `read_lease` module.
    pub vote_refusal_ms: u64,
    /// Seeds the election timeouts, together with group and node.
    pub seed: u64,
    /// The bug to run with.
    #[cfg(feature = "planted")]
    pub planted: Option<Planted>,
}

/// What recovery found on disk.
#[derive(Clone, Debug, Default)]
pub struct RecoveredLog {
    /// The last durable hard state.
    pub hard_state: HardState,
    /// The log begins after this position.
    pub start: LogPosition,
    /// The log's entries, consecutive from `start.index + 1`.
    pub entries: Vec<Entry>,
    /// Position of the checkpointed state: everything up to it is applied.
    pub applied: LogPosition,
}

/// Why a group cannot be made. Nothing was changed on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// The configuration contradicts itself. Correct it.
    #[error("group configuration: {reason}")]
    Config {
        /// What is wrong.
        reason: &'static str,
    },
    /// The recovered log and hard state contradict each other: the data directory is damaged, or
    /// another node's. Restore this node from its peers.
    #[error("recovered log: {reason} (at index {index})")]
    Log {
        /// What is wrong.
        reason: &'static str,
        /// Where.
        index: u64,
    },
}

/// A recovered log that the engine can start from.
pub(crate) struct CheckedLog {
    pub hard_state: HardState,
    pub start: LogPosition,
    pub entries: Vec<Entry>,
    pub applied: LogPosition,
    /// The log on disk does not connect to the checkpoint: before anything else is written, it must
    /// be emptied and begin at `start`.
    pub reset: bool,
}

impl GroupConfig {
    pub(crate) fn check(&self) -> Result<(), RecoverError> {
        let fail = |reason| Err(RecoverError::Config { reason });
        let mut voters = self.voters.clone();
        voters.sort_unstable();
        voters.dedup();
        if voters.len() != self.voters.len() {
            return fail("a voter is listed twice");
        }
        if !voters.contains(&self.node) {
            return fail("this node is not among the voters");
        }
        if voters.last().is_some_and(|voter| voter.0 == u64::MAX) {
            return fail("the highest node number is reserved");
        }
        if self.heartbeat_ticks == 0 {
            return fail("heartbeat_ticks is 0");
        }
        if self.election_ticks <= self.heartbeat_ticks {
            return fail("election_ticks must exceed heartbeat_ticks");
        }
        if self.vote_refusal_ms == 0 {
            return fail("vote_refusal_ms is 0");
        }
        if self.election_ticks > 1_000_000 {
            return fail("election_ticks exceeds 1000000");
        }
        Ok(())
    }
}

impl RecoveredLog {
    /// Whether nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        let nothing = LogPosition::default();
        let log = self.entries.is_empty() && self.start == nothing && self.applied == nothing;
        log && self.hard_state == HardState::default()
    }

    /// Connects log, hard state and checkpoint.
    ///
    /// A checkpoint beyond the log's end, or one whose term differs from the log's at that index,
    /// is a snapshot that was installed just before the crash: the log restarts from it.
    pub(crate) fn check(self, voters: &[NodeId]) -> Result<CheckedLog, RecoverError> {
        let RecoveredLog { hard_state: mut hard, mut start, mut entries, applied } = self;
        let fail = |reason, index| Err(RecoverError::Log { reason, index });
        let mut last = start;
        for entry in &entries {
            if entry.index != last.index + 1 {
                return fail("entries do not connect", entry.index);
            }
            if entry.term < last.term || entry.term == 0 {
                return fail("an entry's term is below its predecessor's", entry.index);
            }
            last = LogPosition { index: entry.index, term: entry.term };
        }
        if last.term > hard.term && !entries.is_empty() {
            return fail("an entry's term is above the hard state's", last.index);
        }
        if hard.vote != 0 && !voters.contains(&NodeId(hard.vote - 1)) {
            return fail("the recorded vote is for no member", last.index);
        }
        if start.index > applied.index {
            return fail("the log begins after the checkpoint", start.index);
        }
        let offset = applied.index - start.index;
        let term_at_applied = match offset {
            0 => Some(start.term),
            _ => entries.get(offset as usize - 1).map(|entry| entry.term),
        };
        if offset == 0 && start.term != applied.term {
            return fail("the log begins at another term than the checkpoint's", start.index);
        }
        let reset = term_at_applied != Some(applied.term);
        if reset {
            start = applied;
            entries.clear();
            last = applied;
        }
        if applied.term > hard.term {
            (hard.term, hard.vote) = (applied.term, 0);
        }
        hard.commit = hard.commit.max(applied.index);
        if hard.commit > last.index {
            return fail("committed entries are missing from the log", hard.commit);
        }
        Ok(CheckedLog { hard_state: hard, start, entries, applied, reset })
    }
}
