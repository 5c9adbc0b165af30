//! The group's own records: rows with reserved keys, each kind behind a letter of its own.

use storage::{GroupState, Row, RowMeta, StoreError, WriteRows};
use types::{GroupId, limits::RESERVED_KEY_PREFIX};

use crate::apply::{add, subtract};

/// The key of a record of this kind.
pub(crate) fn record_key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&RESERVED_KEY_PREFIX, &[kind][..], &parts.concat()].concat()
}

/// Sets a record. It shares the revision of whatever entry it is written with.
pub(crate) fn put(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    key: &[u8],
    value: Vec<u8>,
) -> Result<(), StoreError> {
    let old = rows.meta(group, key)?;
    let row = Row {
        create_revision: old.map_or(state.revision, |old| old.create_revision),
        mod_revision: state.revision,
        version: old.map_or(1, |old| old.version + 1),
        value,
    };
    subtract(state, key, old);
    add(state, key, RowMeta::of(&row));
    rows.put(group, key, row);
    Ok(())
}

/// Removes a record. Answers whether there was one.
pub(crate) fn delete(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    key: &[u8],
) -> Result<bool, StoreError> {
    let old = rows.meta(group, key)?;
    subtract(state, key, old);
    rows.delete(group, key);
    Ok(old.is_some())
}
