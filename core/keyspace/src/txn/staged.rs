//! Changes of a transaction before they are made: rows as they will be, over rows as they are. Nothing
//! is written until the whole transaction is known to go through.

use std::cell::Cell;
use std::collections::BTreeMap;

use storage::{ReadRows, Row, RowMeta, StoreError};
use types::{
    GroupId,
    limits::{TXN_KEYS_MAX, TXN_READ_BYTES_MAX},
};

use super::TxnRefusal;
use crate::command::KeyRange;
use crate::lease::Leasing;
use crate::query::visible_end;

/// Counted for each row read beside its key and value: its numbers in the answer.
const ROW_BYTES: u64 = 64;

/// Why a transaction does not go on.
pub(super) enum Stop {
    Refused(TxnRefusal),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

/// One key's change.
pub(super) struct Change {
    /// The row that is there.
    pub old: Option<RowMeta>,
    /// The row that will be.
    pub new: Option<Row>,
    /// What was said of its lease.
    pub leasing: Leasing,
}

/// See the module.
pub(super) struct Staged<'a> {
    rows: &'a dyn ReadRows,
    group: GroupId,
    changes: BTreeMap<Vec<u8>, Change>,
    keys_left: u64,
    bytes_left: u64,
}

impl<'a> Staged<'a> {
    pub fn new(rows: &'a dyn ReadRows, group: GroupId) -> Staged<'a> {
        let (keys_left, bytes_left) = (TXN_KEYS_MAX, TXN_READ_BYTES_MAX);
        Staged { rows, group, changes: BTreeMap::new(), keys_left, bytes_left }
    }

    /// What must be written.
    pub fn into_changes(self) -> BTreeMap<Vec<u8>, Change> {
        self.changes
    }

    pub fn meta(&self, key: &[u8]) -> Result<Option<RowMeta>, Stop> {
        match self.changes.get(key) {
            Some(change) => Ok(change.new.as_ref().map(RowMeta::of)),
            None => Ok(self.rows.meta(self.group, key)?),
        }
    }

    /// A row with its value, counted.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Row>, Stop> {
        let Some(meta) = self.meta(key)? else { return Ok(None) };
        self.count_bytes(key, meta.value_bytes)?;
        match self.changes.get(key) {
            Some(change) => Ok(change.new.clone()),
            None => Ok(self.rows.get(self.group, key)?),
        }
    }

    /// Rows of a range in key order, without their values, until `visit` answers false. Counted in keys.
    pub fn scan(
        &mut self,
        range: &KeyRange,
        visit: &mut dyn FnMut(&[u8], RowMeta) -> bool,
    ) -> Result<(), Stop> {
        let end = visible_end(range);
        if end <= range.start.as_slice() {
            return Ok(());
        }
        let Staged { rows, group, changes, keys_left, .. } = self;
        let mut changed =
            changes.range(range.start.clone()..).take_while(|(key, _)| key.as_slice() < end).peekable();
        let (over, going_on) = (Cell::new(false), Cell::new(true));
        let mut count = |key: &[u8], meta: RowMeta| {
            over.set(*keys_left == 0);
            going_on.set(!over.get() && visit(key, meta));
            *keys_left = keys_left.saturating_sub(1);
            going_on.get()
        };
        rows.scan_meta(*group, &range.start, Some(end), &mut |key, meta| {
            while let Some((earlier, change)) = changed.next_if(|(changed, _)| changed.as_slice() < key) {
                if let Some(new) = &change.new
                    && !count(earlier, RowMeta::of(new))
                {
                    return false;
                }
            }
            match changed.next_if(|(changed, _)| changed.as_slice() == key) {
                Some((_, Change { new: None, .. })) => true,
                Some((_, Change { new: Some(new), .. })) => count(key, RowMeta::of(new)),
                None => count(key, meta),
            }
        })?;
        if going_on.get() {
            for (key, change) in changed {
                if let Some(new) = &change.new
                    && !count(key, RowMeta::of(new))
                {
                    break;
                }
            }
        }
        if over.get() { Err(Stop::Refused(TxnRefusal::TooManyKeys)) } else { Ok(()) }
    }

    /// Counts what is read of one row.
    pub fn count_bytes(&mut self, key: &[u8], value_bytes: u64) -> Result<(), Stop> {
        let bytes = ROW_BYTES + key.len() as u64 + value_bytes;
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or(Stop::Refused(TxnRefusal::TooManyBytes))?;
        Ok(())
    }

    /// A key will be so.
    pub fn set(&mut self, key: &[u8], new: Option<Row>, leasing: Leasing) -> Result<(), Stop> {
        match self.changes.get_mut(key) {
            Some(change) => (change.new, change.leasing) = (new, leasing),
            None => {
                let old = self.rows.meta(self.group, key)?;
                self.changes.insert(key.to_vec(), Change { old, new, leasing });
            }
        }
        Ok(())
    }

    /// A key that is there, in its staged form, is removed.
    pub fn remove(&mut self, key: Vec<u8>, meta: RowMeta) {
        self.changes
            .entry(key)
            .or_insert(Change { old: Some(meta), new: None, leasing: Leasing::Keep })
            .new = None;
    }
}
