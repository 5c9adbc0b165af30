//! What a Raft group asks its log to keep: entries, hard state, and where the log begins.
//! Terms from Ongaro's thesis, chapter 3.

use std::sync::Arc;

use crate::GroupId;

/// One position of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log, from 1, without gaps.
    pub index: u64,
    /// The leader's term when the entry was made.
    pub term: u64,
    /// The encoded command. Empty for the entry with which a new leader opens its term.
    pub data: Arc<[u8]>,
}

/// What must survive a crash before a vote or an acknowledgement leaves the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Latest term seen.
    pub term: u64,
    /// The raft-internal id voted for in `term`: node number plus one; 0 for none.
    pub vote: u64,
    /// Highest index known to be committed. May lag behind the truth after a crash.
    pub commit: u64,
}

/// An index with its term: enough to match a log against another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Position in the log; 0 before the first entry.
    pub index: u64,
    /// Term of the entry at `index`; 0 at index 0.
    pub term: u64,
}

/// What one group adds to the write-ahead log in one batch.
///
/// Applied in this order: `reset`, then `entries` (an entry at index `i` replaces everything
/// from `i` on), then `hard_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWrite {
    /// The group that writes.
    pub group: GroupId,
    /// The log is emptied and begins after this position: a snapshot was installed.
    pub reset: Option<LogPosition>,
    /// Entries to append, consecutive in index.
    pub entries: Vec<Entry>,
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
}

/// Numbers the batches that one node asks its write-ahead log to write, from 1, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteSeq(pub u64);

/// Writes of many groups that become durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBatch {
    /// Completed batches are reported by this number, in order.
    pub seq: WriteSeq,
    /// At most one element per group.
    pub groups: Vec<GroupWrite>,
}

impl WriteBatch {
    /// Bytes of entry data in the batch: what limits and segment rotation count.
    pub fn entry_bytes(&self) -> u64 {
        let entries = self.groups.iter().flat_map(|group| &group.entries);
        entries.map(|entry| entry.data.len() as u64).sum()
    }
}
