//! Rows of any number of groups in ordered maps: the simplest thing that keeps the traits' promises.

use std::collections::BTreeMap;
use std::ops::Bound;

use storage::{GroupState, ReadRows, Row, RowMeta, StoreError, WriteRows, rows::row_hash};
use types::{GroupId, limits::is_reserved_key};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRows {
    rows: BTreeMap<(GroupId, Vec<u8>), Row>,
    states: BTreeMap<GroupId, GroupState>,
}

impl MemoryRows {
    /// Hash, keys and bytes as they follow from the rows alone.
    pub fn recount(&self, group: GroupId) -> (u128, u64, u64) {
        let mut counts = (0_u128, 0, 0);
        for ((_, key), row) in self.rows.iter().filter(|((g, _), _)| *g == group) {
            counts.0 = counts.0.wrapping_add(row_hash(key, &RowMeta::of(row)));
            if is_reserved_key(key) {
                continue;
            }
            counts.1 += 1;
            counts.2 += (key.len() + row.value.len()) as u64;
        }
        counts
    }
}

impl ReadRows for MemoryRows {
    fn state(&self, group: GroupId) -> GroupState {
        self.states.get(&group).copied().unwrap_or_default()
    }

    fn meta(&self, group: GroupId, key: &[u8]) -> Result<Option<RowMeta>, StoreError> {
        Ok(self.get(group, key)?.as_ref().map(RowMeta::of))
    }

    fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(&(group, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], Row) -> bool,
    ) -> Result<(), StoreError> {
        let from = Bound::Included((group, start.to_vec()));
        let to = match end {
            Some(end) => Bound::Excluded((group, end.to_vec())),
            None => Bound::Excluded((GroupId(group.0 + 1), Vec::new())),
        };
        for ((_, key), row) in self.rows.range((from, to)) {
            if !visit(key, row.clone()) {
                break;
            }
        }
        Ok(())
    }
}

impl WriteRows for MemoryRows {
    fn put(&mut self, group: GroupId, key: &[u8], row: Row) {
        self.rows.insert((group, key.to_vec()), row);
    }

    fn delete(&mut self, group: GroupId, key: &[u8]) {
        self.rows.remove(&(group, key.to_vec()));
    }

    fn set_state(&mut self, group: GroupId, state: GroupState) {
        self.states.insert(group, state);
    }
}
