//! The newest revisions of a group, of which all watches near the end share one copy.

use std::collections::VecDeque;

use keyspace::{
    KeyRange,
    history::{self, Events, KeyEvent, Revision, Wanted},
};
use storage::{ReadRows, StoreError};
use types::{GroupId, limits::WATCH_RECENT_BYTES_MAX};

use super::PAGE_EVENTS_MAX;

/// Invariant: every change of a revision from `from` up to, not including, `next` is here.
#[derive(Debug, Default)]
pub(super) struct Recent {
    revisions: VecDeque<Revision>,
    from: u64,
    next: u64,
    bytes: usize,
}

impl Recent {
    /// Begins after this revision.
    pub(super) fn after(revision: u64) -> Recent {
        Recent { from: revision + 1, next: revision + 1, ..Recent::default() }
    }

    /// The first revision that is here; those before must be read from the store.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// The first that is not here yet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reads what was applied since. What is new may be more than there is room for: then it begins anew after it.
    pub(super) fn fill(
        &mut self,
        rows: &dyn ReadRows,
        group: GroupId,
        revision: u64,
    ) -> Result<(), StoreError> {
        // While a snapshot is installed, the state is an older one for a moment.
        if revision < self.next {
            return Ok(());
        }
        if revision - self.next > PAGE_EVENTS_MAX as u64 {
            *self = Recent::after(revision);
            return Ok(());
        }
        let all = KeyRange::default();
        let wanted = Wanted {
            range: &all,
            prev: true,
            events_max: PAGE_EVENTS_MAX,
            bytes_max: WATCH_RECENT_BYTES_MAX,
        };
        match history::events(rows, group, self.next, wanted)? {
            Events::Page { revisions, next } if next > revision => {
                self.next = next;
                for revision in revisions {
                    self.bytes += revision.bytes;
                    self.revisions.push_back(revision);
                }
            }
            Events::Page { .. } | Events::Compacted(_) => *self = Recent::after(revision),
        }
        while self.bytes > WATCH_RECENT_BYTES_MAX
            && let Some(oldest) = self.revisions.pop_front()
        {
            self.bytes -= oldest.bytes;
            self.from = oldest.revision + 1;
        }
        self.check_invariants();
        Ok(())
    }

    /// The revisions from this one on, which is not before [`Recent::from`].
    pub(super) fn since(&self, revision: u64) -> impl Iterator<Item = &Revision> {
        assert!(revision >= self.from, "revision {revision} is not among the recent ones");
        let start = self.revisions.partition_point(|one| one.revision < revision);
        self.revisions.range(start..)
    }

    fn check_invariants(&self) {
        assert!(self.from <= self.next);
        assert!(self.revisions.front().is_none_or(|one| one.revision >= self.from));
        assert!(self.revisions.back().is_none_or(|one| one.revision < self.next));
    }
}

/// What of a revision's changes is in the range; `None` for nothing.
pub(super) fn within(revision: &Revision, range: &KeyRange, prev: bool) -> Option<Revision> {
    let inside =
        |event: &&KeyEvent| event.key >= range.start && range.end.as_ref().is_none_or(|end| event.key < *end);
    let mut events: Vec<KeyEvent> = revision.events.iter().filter(inside).cloned().collect();
    if events.is_empty() {
        return None;
    }
    if !prev {
        events.iter_mut().for_each(|event| event.prev = None);
    }
    Some(Revision::of(revision.revision, events))
}
