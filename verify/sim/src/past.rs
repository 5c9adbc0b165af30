//! Every state that every group ever had, from the committed entries: what watches, reads at a revision and
//! histories are held against. It applies each entry once, to rows of its own, and keeps what came of it; it
//! knows no floor that it would read by, and reclaims nothing.

use std::{
    collections::{BTreeMap, btree_map::Entry as Place},
    ops::Bound,
};

use keyspace::{Command, KeyRange, entry::decode_entry};
use storage::{GroupState, ReadRows, Row, RowMeta, StoreError, WriteRows};
use types::{Entry, GroupId, LogPosition, limits::is_reserved_key};

/// One key's change: its row before and after.
pub type Change = (Vec<u8>, Option<Row>, Option<Row>);

/// See the module.
#[derive(Debug, Default)]
pub struct Past {
    groups: BTreeMap<GroupId, Line>,
}

/// One group, as far as its entries were seen without a gap.
#[derive(Debug, Default)]
pub struct Line {
    rows: Rows,
    /// Entries after a gap.
    held: BTreeMap<u64, Entry>,
    /// What each revision changed, in key order; those that changed nothing are absent.
    changes: BTreeMap<u64, Vec<Change>>,
    /// The highest revision that an entry compacted to.
    floor: u64,
}

/// A compaction by a leader of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The new floor.
    pub floor: u64,
    /// The group's revision then.
    pub revision: u64,
}

impl Past {
    /// An entry is committed. Answers the compactions of leaders among those that are now known.
    pub fn on_commit(&mut self, group: GroupId, entry: &Entry) -> Vec<Compaction> {
        let line = self.groups.entry(group).or_default();
        let mut compactions = Vec::new();
        if entry.index > line.rows.state.applied_index {
            line.held.entry(entry.index).or_insert_with(|| entry.clone());
        }
        while let Some(next) = line.held.remove(&(line.rows.state.applied_index + 1)) {
            compactions.extend(line.apply(group, &next));
        }
        compactions
    }

    /// A group's past.
    pub fn of(&self, group: GroupId) -> Option<&Line> {
        self.groups.get(&group)
    }
}

impl Line {
    fn apply(&mut self, group: GroupId, entry: &Entry) -> Option<Compaction> {
        let position = LogPosition { index: entry.index, term: entry.term };
        self.rows.changed.clear();
        let before = self.rows.state.revision;
        // One that cannot be applied stops the nodes too, which is noticed there.
        keyspace::apply(&mut self.rows, group, position, &entry.data).ok()?;
        let revision = self.rows.state.revision;
        let changed = std::mem::take(&mut self.rows.changed);
        if revision > before {
            let after = |key: &Vec<u8>| self.rows.rows.get(key).cloned();
            let changes: Vec<Change> =
                changed.into_iter().map(|(key, before)| (key.clone(), before, after(&key))).collect();
            self.changes.insert(revision, changes);
        }
        match decode_entry(&entry.data).map(|entry| entry.command) {
            Ok(Command::Compact { revision: floor, shard }) if floor <= revision && floor > self.floor => {
                self.floor = floor;
                shard.is_none().then_some(Compaction { floor, revision })
            }
            _ => None,
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.rows.state.revision
    }

    /// What was compacted.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// What the revisions from `from` to `to`, both included, changed of a range.
    pub fn changes(&self, range: &KeyRange, from: u64, to: u64) -> Vec<(u64, Vec<&Change>)> {
        if from > to {
            return Vec::new();
        }
        let inside = |key: &Vec<u8>| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        let of = |changes: &'_ [Change]| changes.iter().filter(|(key, ..)| inside(key)).count();
        let revisions = self.changes.range(from..=to).filter(|(_, changes)| of(changes) > 0);
        revisions
            .map(|(revision, changes)| (*revision, changes.iter().filter(|(key, ..)| inside(key)).collect()))
            .collect()
    }

    /// A key's row at a revision.
    pub fn at(&self, key: &[u8], revision: u64) -> Option<&Row> {
        let mut revisions = self.changes.range(..=revision).rev();
        let change = revisions.find_map(|(_, changes)| changes.iter().find(|(changed, ..)| changed == key));
        change.and_then(|(_, _, after)| after.as_ref())
    }

    /// Events and versions that the history has once everything up to the floor is reclaimed.
    pub fn records(&self) -> (u64, u64) {
        let above = self.changes.range(self.floor + 1..).flat_map(|(_, changes)| changes);
        let seen = above.filter(|(_, before, after)| before.is_some() || after.is_some());
        seen.fold((0, 0), |(events, versions), (_, before, _)| {
            (events + 1, versions + u64::from(before.is_some()))
        })
    }
}

/// Rows in an ordered map, with what the entry being applied changed of the clients' keys.
#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Vec<u8>, Row>,
    state: GroupState,
    /// The row of each changed key before the entry.
    changed: BTreeMap<Vec<u8>, Option<Row>>,
}

impl Rows {
    fn note(&mut self, key: &[u8]) {
        if !is_reserved_key(key)
            && let Place::Vacant(place) = self.changed.entry(key.to_vec())
        {
            place.insert(self.rows.get(key).cloned());
        }
    }
}

impl ReadRows for Rows {
    fn state(&self, _: GroupId) -> GroupState {
        self.state
    }

    fn meta(&self, _: GroupId, key: &[u8]) -> Result<Option<RowMeta>, StoreError> {
        Ok(self.rows.get(key).map(RowMeta::of))
    }

    fn get(&self, _: GroupId, key: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(
        &self,
        _: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], Row) -> bool,
    ) -> Result<(), StoreError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, row) in self.rows.range::<[u8], _>((Bound::Included(start), end)) {
            if !visit(key, row.clone()) {
                break;
            }
        }
        Ok(())
    }
}

impl WriteRows for Rows {
    fn put(&mut self, _: GroupId, key: &[u8], row: Row) {
        self.note(key);
        self.rows.insert(key.to_vec(), row);
    }

    fn delete(&mut self, _: GroupId, key: &[u8]) {
        self.note(key);
        self.rows.remove(key);
    }

    fn set_state(&mut self, _: GroupId, state: GroupState) {
        self.state = state;
    }
}
