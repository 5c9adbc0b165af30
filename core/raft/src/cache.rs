//! The entries of the log that are in memory, and the engine's view of them.
//!
//! Entries enter when they are handed to the write-ahead log, before they are durable: the engine
//! must be able to read whatever it has handed out. They leave from the front, by
//! [`LogCache::compact`], and from the back when a newer leader overwrites them.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{self, ConfState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};
use types::{Entry, HardState, LogPosition};

use crate::config::CheckedLog;
use crate::convert::{engine_entry, own_entry};

/// What one entry is counted for beside its data: its place in the cache and its allocation.
pub const ENTRY_OVERHEAD_BYTES: u64 = 48;

pub(crate) fn entry_bytes(data_bytes: usize) -> u64 {
    data_bytes as u64 + ENTRY_OVERHEAD_BYTES
}

/// Invariants: `entries` are consecutive from `start.index + 1`; `start.index <= applied`; `bytes` is
/// the sum over `entries`, `unapplied_bytes` over those above `applied`.
pub(crate) struct LogCache {
    voters: Vec<u64>,
    initial: HardState,
    start: LogPosition,
    entries: VecDeque<Entry>,
    bytes: u64,
    applied: u64,
    unapplied_bytes: u64,
    snapshot: LogPosition,
    wants_checkpoint: Cell<bool>,
}

impl LogCache {
    /// `voters` are engine ids.
    pub fn new(voters: Vec<u64>, log: CheckedLog) -> LogCache {
        let bytes = log.entries.iter().map(|entry| entry_bytes(entry.data.len())).sum();
        let mut cache = LogCache {
            voters,
            initial: log.hard_state,
            start: log.start,
            entries: log.entries.into(),
            bytes,
            applied: log.start.index,
            unapplied_bytes: bytes,
            snapshot: log.applied,
            wants_checkpoint: Cell::new(false),
        };
        cache.set_applied(log.applied.index);
        cache
    }

    /// Position before the first entry.
    pub fn start(&self) -> LogPosition {
        self.start
    }

    pub fn last_index(&self) -> u64 {
        self.start.index + self.entries.len() as u64
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.start.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Bytes of the entries above the applied index.
    pub fn unapplied_bytes(&self) -> u64 {
        self.unapplied_bytes
    }

    /// Highest applied index.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The state machine has applied up to `index`, which is not below an earlier one.
    pub fn set_applied(&mut self, index: u64) {
        assert!(self.applied <= index && index <= self.last_index());
        self.unapplied_bytes -= self.bytes_between(self.applied, index);
        self.applied = index;
    }

    /// Puts entries at their indexes; what was there and after it is gone. Returns them in our form.
    pub fn append(&mut self, new: &[eraftpb::Entry]) -> Vec<Entry> {
        let Some(first) = new.first() else { return Vec::new() };
        assert!(first.index > self.applied, "the engine rewrote applied entries");
        assert!(first.index <= self.last_index() + 1, "the engine left a gap in the log");
        let overwritten = self.bytes_between(first.index - 1, self.last_index());
        if overwritten > 0 {
            types::mark!("log_truncated_by_conflict");
        }
        self.entries.truncate((first.index - 1 - self.start.index) as usize);
        let entries: Vec<Entry> = new.iter().map(own_entry).collect();
        let added = entries.iter().map(|entry| entry_bytes(entry.data.len())).sum::<u64>();
        self.entries.extend(entries.iter().cloned());
        self.bytes = self.bytes - overwritten + added;
        self.unapplied_bytes = self.unapplied_bytes - overwritten + added;
        entries
    }

    /// Empties the log; it begins after `position`, up to which everything counts as applied.
    pub fn reset(&mut self, position: LogPosition) {
        types::mark!("log_replaced_by_snapshot");
        self.start = position;
        self.applied = position.index;
        self.entries.clear();
        (self.bytes, self.unapplied_bytes) = (0, 0);
    }

    fn bytes_between(&self, after: u64, to: u64) -> u64 {
        let skip = after.saturating_sub(self.start.index) as usize;
        let take = to.saturating_sub(after.max(self.start.index)) as usize;
        let entries = self.entries.range(skip..).take(take);
        entries.map(|entry| entry_bytes(entry.data.len())).sum()
    }

    /// A checkpoint at `position` can be streamed. Older news changes nothing.
    pub fn set_snapshot(&mut self, position: LogPosition) {
        self.snapshot = self.snapshot.max(position);
    }

    pub fn snapshot_position(&self) -> LogPosition {
        self.snapshot
    }

    /// Whether a snapshot was asked for that is not available; asks once.
    pub fn take_wants_checkpoint(&self) -> bool {
        self.wants_checkpoint.take()
    }

    /// Drops entries up to `index`, not above the applied, while there are more than `bytes_max`.
    pub fn compact(&mut self, index: u64, bytes_max: u64) {
        while self.bytes > bytes_max && self.entries.front().is_some_and(|entry| entry.index <= index) {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry_bytes(entry.data.len());
            self.start = LogPosition { index: entry.index, term: entry.term };
        }
    }
}

impl Storage for LogCache {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard_state = eraftpb::HardState {
            term: self.initial.term,
            vote: self.initial.vote,
            commit: self.initial.commit,
            ..Default::default()
        };
        let conf_state = ConfState { voters: self.voters.clone(), ..Default::default() };
        Ok(RaftState::new(hard_state, conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.start.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last_index() + 1, "the engine reads past the log's end");
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let range = (low - self.start.index - 1) as usize..(high - self.start.index - 1) as usize;
        let mut bytes = 0_u64;
        let mut out = Vec::new();
        for entry in self.entries.range(range) {
            bytes = bytes.saturating_add(entry_bytes(entry.data.len()));
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(engine_entry(entry));
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing =
            if index < self.start.index { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_at(index).ok_or(Error::Store(missing))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(LogCache::last_index(self))
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let LogPosition { index, term } = self.snapshot;
        if index == 0 || index < request_index || index < self.start.index {
            types::mark!("snapshot_not_ready");
            self.wants_checkpoint.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, term);
        metadata.mut_conf_state().voters = self.voters.clone();
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(start: u64, terms: &[u64], applied: u64) -> LogCache {
        let entries = terms.iter().zip(start + 1..).map(|(term, index)| Entry {
            index,
            term: *term,
            data: b"x".as_slice().into(),
        });
        let log = CheckedLog {
            hard_state: HardState::default(),
            start: LogPosition { index: start, term: 1 },
            entries: entries.collect(),
            applied: LogPosition { index: applied, term: 1 },
            reset: false,
        };
        LogCache::new(vec![1, 2, 3], log)
    }

    /// The engine must not get a snapshot that leaves a gap before the log's first entry.
    #[test]
    fn a_snapshot_that_does_not_reach_the_log_is_not_available() {
        let mut cache = cache(2, &[1, 1], 3);
        cache.reset(LogPosition { index: 9, term: 2 });
        assert!(Storage::snapshot(&cache, 0, 2).is_err());
        assert!(cache.take_wants_checkpoint());
        assert!(!cache.take_wants_checkpoint());
        cache.set_snapshot(LogPosition { index: 9, term: 2 });
        let snapshot = Storage::snapshot(&cache, 0, 2).unwrap();
        assert_eq!((snapshot.get_metadata().index, snapshot.get_metadata().term), (9, 2));
        assert!(Storage::snapshot(&cache, 10, 2).is_err());
    }

    #[test]
    fn bytes_follow_what_is_kept() {
        let one = entry_bytes(1);
        let mut cache = cache(0, &[1, 1, 1, 2], 2);
        assert_eq!((cache.bytes(), cache.unapplied_bytes()), (4 * one, 2 * one));
        let replacement = eraftpb::Entry { index: 3, term: 3, ..Default::default() };
        cache.append(&[replacement]);
        assert_eq!((cache.last_index(), cache.term_at(3), cache.term_at(4)), (3, Some(3), None));
        assert_eq!((cache.bytes(), cache.unapplied_bytes()), (3 * one - 1, one - 1));
        cache.compact(2, one);
        assert_eq!((cache.start().index, cache.bytes()), (2, one - 1));
        cache.set_applied(3);
        assert_eq!(cache.unapplied_bytes(), 0);
    }

    #[test]
    fn reads_are_bounded_in_bytes_and_never_empty() {
        let cache = cache(0, &[1, 1, 1], 0);
        let read = |bytes_max| {
            Storage::entries(&cache, 1, 4, bytes_max, GetEntriesContext::empty(false)).unwrap().len()
        };
        assert_eq!([read(0), read(2 * entry_bytes(1)), read(u64::MAX)], [1, 2, 3]);
        assert!(Storage::entries(&cache, 0, 2, None, GetEntriesContext::empty(false)).is_err());
    }
}
