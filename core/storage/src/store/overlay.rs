//! Applied writes that are not in a checkpoint yet: an ordered table in memory.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

use bytes::Bytes;
use types::GroupId;

use crate::{GroupState, Row, RowMeta};

/// Counted for each change beside its key and value: nodes of the table and their slack.
const CHANGE_BYTES: u64 = 160;

/// The newest change of one key.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(StoredRow),
    Delete,
}

/// A row whose copies share the value.
#[derive(Clone, Debug)]
pub(super) struct StoredRow {
    pub meta: RowMeta,
    pub value: Bytes,
}

impl StoredRow {
    pub fn to_row(&self) -> Row {
        Row {
            create_revision: self.meta.create_revision,
            mod_revision: self.meta.mod_revision,
            version: self.meta.version,
            value: self.value.to_vec(),
        }
    }
}

/// One group's changes.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupOverlay {
    /// `None` until the first entry ended.
    pub state: Option<GroupState>,
    pub changes: BTreeMap<Bytes, Change>,
    bytes: u64,
}

fn counted_bytes(key_bytes: usize, change: &Change) -> u64 {
    let value_bytes = match change {
        Change::Put(row) => row.value.len(),
        Change::Delete => 0,
    };
    CHANGE_BYTES + (key_bytes + value_bytes) as u64
}

/// All groups' changes since some checkpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    pub groups: BTreeMap<GroupId, GroupOverlay>,
    bytes: u64,
}

impl Overlay {
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Memory held, about.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changed keys.
    pub fn changes(&self) -> u64 {
        self.groups.values().map(|group| group.changes.len() as u64).sum()
    }

    pub fn state(&self, group: GroupId) -> Option<GroupState> {
        self.groups.get(&group)?.state
    }

    pub fn change(&self, group: GroupId, key: &[u8]) -> Option<&Change> {
        self.groups.get(&group)?.changes.get(key)
    }

    /// A group's changes from `start` to before `end`, in key order. `start` is not above `end`.
    pub fn range<'a>(
        &'a self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Option<btree_map::Range<'a, Bytes, Change>> {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        Some(self.groups.get(&group)?.changes.range::<[u8], _>((Bound::Included(start), end)))
    }

    pub fn put(&mut self, group: GroupId, key: &[u8], row: Row) {
        let meta = RowMeta::of(&row);
        let row = StoredRow { meta, value: Bytes::from(row.value) };
        self.set(group, Bytes::copy_from_slice(key), Change::Put(row));
    }

    pub fn delete(&mut self, group: GroupId, key: &[u8]) {
        self.set(group, Bytes::copy_from_slice(key), Change::Delete);
    }

    pub fn set_state(&mut self, group: GroupId, state: GroupState) {
        self.groups.entry(group).or_default().state = Some(state);
    }

    pub fn remove_group(&mut self, group: GroupId) {
        if let Some(removed) = self.groups.remove(&group) {
            self.bytes -= removed.bytes;
        }
    }

    /// Lays `newer` over this.
    pub fn merge(&mut self, newer: Overlay) {
        for (id, newer) in newer.groups {
            let group = self.groups.entry(id).or_default();
            group.state = newer.state.or(group.state);
            for (key, change) in newer.changes {
                self.set(id, key, change);
            }
        }
    }

    fn set(&mut self, group: GroupId, key: Bytes, change: Change) {
        let group = self.groups.entry(group).or_default();
        let key_bytes = key.len();
        let added = counted_bytes(key_bytes, &change);
        let old = group.changes.insert(key, change);
        let removed = old.map_or(0, |old| counted_bytes(key_bytes, &old));
        group.bytes = group.bytes + added - removed;
        self.bytes = self.bytes + added - removed;
    }
}
