//! The last durable checkpoint, readable: one read transaction of the database.
//!
//! A view keeps the pages it can read from being reused. The store's own view is replaced with every
//! checkpoint; one that is kept longer, as a snapshot does, makes the file grow meanwhile.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Arc};

use redb::{AccessGuard, Range, ReadOnlyTable, ReadableDatabase, ReadableTable};
use types::{GroupId, limits::is_reserved_key};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    GroupState, Row, RowMeta, StoreError,
    rows::row_hash,
    store::{
        engine::{Engine, GROUPS, ROWS, VALUES, corrupt, engine_error, guarded},
        format::{Head, Place, ValueKey, corrupt_row, decode_row, decode_stored_state, row_key},
    },
};

/// See the module.
pub(crate) struct View {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    values: ReadOnlyTable<&'static ValueKey, &'static [u8]>,
    states: BTreeMap<GroupId, GroupState>,
    engine: Arc<Engine>,
}

impl View {
    pub(super) fn open(engine: Arc<Engine>) -> Result<View, StoreError> {
        guarded(|| View::open_unguarded(engine))
    }

    fn open_unguarded(engine: Arc<Engine>) -> Result<View, StoreError> {
        let read = engine.database.begin_read().map_err(engine_error)?;
        let mut states = BTreeMap::new();
        for entry in read.open_table(GROUPS).map_err(engine_error)?.iter().map_err(engine_error)? {
            let (group, state) = entry.map_err(engine_error)?;
            let group = GroupId(group.value());
            states.insert(group, decode_stored_state(group, state.value())?);
        }
        let rows = read.open_table(ROWS).map_err(engine_error)?;
        let values = read.open_table(VALUES).map_err(engine_error)?;
        Ok(View { rows, values, states, engine })
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.states.keys().copied()
    }

    pub(crate) fn state(&self, group: GroupId) -> Option<GroupState> {
        self.states.get(&group).copied()
    }

    pub(super) fn meta(&self, group: GroupId, key: &[u8]) -> Result<Option<RowMeta>, StoreError> {
        let row_key = row_key(group, key);
        guarded(|| {
            let Some(row) = self.rows.get(row_key.as_slice()).map_err(engine_error)? else {
                return Ok(None);
            };
            Ok(Some(decode_row(&row_key, row.value())?.0.meta))
        })
    }

    pub(super) fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let row_key = row_key(group, key);
        guarded(|| {
            let Some(row) = self.rows.get(row_key.as_slice()).map_err(engine_error)? else {
                return Ok(None);
            };
            let (head, inline) = decode_row(&row_key, row.value())?;
            Ok(Some(self.load(group, &row_key, &head, inline)?))
        })
    }

    /// A group's rows from `start` to before `end`, in key order. `start` is not above `end`.
    pub(crate) fn range(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<ViewRange, StoreError> {
        let start = row_key(group, start);
        let end = match (end, group.0.checked_add(1)) {
            (Some(end), _) => Some(row_key(group, end)),
            (None, Some(next)) => Some(row_key(GroupId(next), &[])),
            (None, None) => None,
        };
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = guarded(|| {
            self.rows.range::<&[u8]>((Bound::Included(start.as_slice()), end)).map_err(engine_error)
        });
        Ok(ViewRange { range: range? })
    }

    /// The row at a range's position, with its value.
    pub(crate) fn row(&self, group: GroupId, at: &ViewRow) -> Result<Row, StoreError> {
        guarded(|| {
            let (head, inline) = decode_row(at.key.value(), at.row.value())?;
            self.load(group, at.key.value(), &head, inline)
        })
    }

    /// The row at a range's position, without its value.
    pub(crate) fn row_meta(&self, at: &ViewRow) -> Result<RowMeta, StoreError> {
        guarded(|| Ok(decode_row(at.key.value(), at.row.value())?.0.meta))
    }

    fn load(&self, group: GroupId, row_key: &[u8], head: &Head, inline: &[u8]) -> Result<Row, StoreError> {
        let value = match head.place {
            None => inline.to_vec(),
            Some(place) => self.value(group, row_key, place)?,
        };
        let meta = &head.meta;
        if value.len() as u64 != meta.value_bytes || xxh3_64(&value) != meta.value_hash {
            return Err(corrupt_row(row_key, "its value does not match its hash"));
        }
        Ok(Row {
            create_revision: meta.create_revision,
            mod_revision: meta.mod_revision,
            version: meta.version,
            value,
        })
    }

    fn value(&self, group: GroupId, row_key: &[u8], place: Place) -> Result<Vec<u8>, StoreError> {
        let value = self.values.get(&place.key(group)).map_err(engine_error)?;
        Ok(value.ok_or_else(|| corrupt_row(row_key, "its value is missing"))?.value().to_vec())
    }

    /// Reads all of a group and answers its state hash, which is that of its state.
    pub(super) fn scrub(&self, group: GroupId) -> Result<u128, StoreError> {
        guarded(|| self.scrub_unguarded(group))
    }

    fn scrub_unguarded(&self, group: GroupId) -> Result<u128, StoreError> {
        let mut sum = GroupSum::default();
        let mut placed = 0u64;
        let mut range = self.range(group, &[], None)?;
        while let Some(at) = range.next()? {
            let (head, inline) = decode_row(at.key.value(), at.row.value())?;
            self.load(group, at.key.value(), &head, inline)?;
            sum.add(at.key(), &head.meta);
            placed += u64::from(head.place.is_some());
        }
        let first = Place { revision: 0, number: 0 }.key(group);
        let last = Place { revision: u64::MAX, number: u64::MAX }.key(group);
        let mut values = 0u64;
        for value in self.values.range::<&ValueKey>(&first..=&last).map_err(engine_error)? {
            value.map_err(engine_error)?;
            values += 1;
        }
        if values != placed {
            return Err(corrupt(format!("group {group} has {values} values for {placed} rows")));
        }
        let state = self.state(group).unwrap_or_default();
        sum.check(&state).map_err(|reason| corrupt(format!("group {group}: {reason}")))?;
        Ok(sum.state_hash)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("states", &self.states).finish_non_exhaustive()
    }
}

/// A position in a [`ViewRange`].
pub(crate) struct ViewRow {
    key: AccessGuard<'static, &'static [u8]>,
    row: AccessGuard<'static, &'static [u8]>,
}

impl ViewRow {
    /// The key, without its group.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key.value()[8..]
    }
}

/// Rows of one group in key order.
pub(crate) struct ViewRange {
    range: Range<'static, &'static [u8], &'static [u8]>,
}

impl ViewRange {
    pub(crate) fn next(&mut self) -> Result<Option<ViewRow>, StoreError> {
        guarded(|| {
            let Some(entry) = self.range.next() else { return Ok(None) };
            let (key, row) = entry.map_err(engine_error)?;
            if key.value().len() < 8 {
                return Err(corrupt("a row has no group".into()));
            }
            Ok(Some(ViewRow { key, row }))
        })
    }
}

/// Rows summed up (reserved ones in the hash alone), to compare with the group's state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupSum {
    pub state_hash: u128,
    pub keys: u64,
    pub bytes: u64,
}

impl GroupSum {
    pub fn add(&mut self, key: &[u8], meta: &RowMeta) {
        self.state_hash = self.state_hash.wrapping_add(row_hash(key, meta));
        if is_reserved_key(key) {
            return;
        }
        self.keys = self.keys.saturating_add(1);
        self.bytes = self.bytes.saturating_add(key.len() as u64).saturating_add(meta.value_bytes);
    }

    /// Says what differs from `state`.
    pub fn check(&self, state: &GroupState) -> Result<(), String> {
        if (self.keys, self.bytes) != (state.keys, state.bytes) {
            return Err(format!(
                "{} rows of {} bytes, but its state says {} of {}",
                self.keys, self.bytes, state.keys, state.bytes
            ));
        }
        if self.state_hash != state.state_hash {
            return Err(format!(
                "its rows hash to {:032x}, but its state says {:032x}",
                self.state_hash, state.state_hash
            ));
        }
        Ok(())
    }
}
