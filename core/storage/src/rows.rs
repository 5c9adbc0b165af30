//! The rows of one group's state, as a state machine reads and changes them.

use types::GroupId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::StoreError;

/// One key's newest value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Revision that created the key (and since which it was not deleted).
    pub create_revision: u64,
    /// Revision of the last change.
    pub mod_revision: u64,
    /// Changes since creation, from 1.
    pub version: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// Longest value of a row with a reserved key, in bytes: it is stored in the row itself, so that
/// several records can share one revision. Records of the history have a revision that is new, and may be
/// as long as any value ([`types::limits::is_history_key`]).
pub const RECORD_BYTES_MAX: usize = 64;

/// A row without its value: what deciding about a write needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMeta {
    /// See [`Row::create_revision`].
    pub create_revision: u64,
    /// See [`Row::mod_revision`].
    pub mod_revision: u64,
    /// See [`Row::version`].
    pub version: u64,
    /// Length of the value in bytes.
    pub value_bytes: u64,
    /// `xxh3_64` of the value.
    pub value_hash: u64,
}

impl RowMeta {
    /// The description of `row`: its value replaced by length and hash.
    pub fn of(row: &Row) -> RowMeta {
        RowMeta {
            create_revision: row.create_revision,
            mod_revision: row.mod_revision,
            version: row.version,
            value_bytes: row.value.len() as u64,
            value_hash: xxh3_64(&row.value),
        }
    }
}

/// What one live row adds to [`GroupState::state_hash`]: `xxh3_128` of a canonical encoding of the
/// row. The bytes are fixed by `docs/internals/state-hash.md`; changing them would make replicas of
/// different versions disagree.
pub fn row_hash(key: &[u8], meta: &RowMeta) -> u128 {
    let mut bytes = Vec::with_capacity(48 + key.len());
    bytes.extend_from_slice(&(key.len() as u64).to_le_bytes());
    bytes.extend_from_slice(key);
    for field in [meta.create_revision, meta.mod_revision, meta.version, meta.value_bytes, meta.value_hash] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    xxh3_128(&bytes)
}

/// What a group's state machine carries beside its rows; stored with them atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// Term of the last applied entry.
    pub applied_term: u64,
    /// Revision of the last change; 0 before the first.
    pub revision: u64,
    /// Wrapping sum of the hashes of all live rows (see `docs/internals/state-hash.md`), those with a
    /// reserved key included.
    pub state_hash: u128,
    /// Live keys, without reserved ones.
    pub keys: u64,
    /// Bytes of live keys and values, without those of reserved keys.
    pub bytes: u64,
}

/// Reading one group's newest rows.
pub trait ReadRows {
    /// The group's state at this moment.
    fn state(&self, group: GroupId) -> GroupState;
    /// A key's row without its value.
    fn meta(&self, group: GroupId, key: &[u8]) -> Result<Option<RowMeta>, StoreError>;
    /// A key's row.
    fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<Row>, StoreError>;
    /// Rows with `start <= key`, and `key < end` when there is an end, in key order, until `visit`
    /// answers false.
    fn scan(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], Row) -> bool,
    ) -> Result<(), StoreError>;
    /// [`ReadRows::scan`] without the values, which an implementation need not read.
    fn scan_meta(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RowMeta) -> bool,
    ) -> Result<(), StoreError> {
        self.scan(group, start, end, &mut |key, row| visit(key, RowMeta::of(&row)))
    }
}

/// Changing one group's rows, while applying one entry.
pub trait WriteRows: ReadRows {
    /// Puts a row, whose `mod_revision` is above the revision of the group's state. The row of a
    /// reserved key, unless it is of the history, may have that revision itself, and has a value of at most
    /// [`RECORD_BYTES_MAX`] bytes.
    fn put(&mut self, group: GroupId, key: &[u8], row: Row);
    /// Removes a row; of a key that is not there, does nothing.
    fn delete(&mut self, group: GroupId, key: &[u8]);
    /// Ends the entry: from now on the group is in this state.
    fn set_state(&mut self, group: GroupId, state: GroupState);
}
