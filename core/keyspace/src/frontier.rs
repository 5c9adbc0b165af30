//! What a group's state depends on in other groups.
//!
//! Guarantee G-FRONTIER: whoever sees an effect of an applied entry is told, with the group's frontier, at
//! least all that the entry's writer had seen of other groups. A read that waits for the frontier as for a
//! session token then never shows an effect without its cause, across keyspaces. The frontier is one number for
//! each other group, the greatest of all entries': it may make a read wait for more than its cause, never
//! for less.
//!
//! The records are rows with reserved keys: behind the prefix `s` and the other group's number (8 bytes,
//! big-endian), with the index as value (8 bytes, little-endian).

use storage::{ReadRows, Row, RowMeta, StoreError, WriteRows};
use types::{GroupId, SessionToken, limits::RESERVED_KEY_PREFIX};

use crate::apply::{add, subtract};

const FRONTIER: u8 = b's';

/// The frontier of a group's present state.
///
/// # Errors
/// When the store cannot be read. Records that are none are left out.
pub fn frontier(rows: &dyn ReadRows, group: GroupId) -> Result<SessionToken, StoreError> {
    let mut found = SessionToken::default();
    let (start, end) = (reserved(FRONTIER, &[]), reserved(FRONTIER + 1, &[]));
    rows.scan(group, &start, Some(&end), &mut |key, row| {
        let other = key[start.len()..].try_into().map(u64::from_be_bytes);
        let index = row.value.as_slice().try_into().map(u64::from_le_bytes);
        if let (Ok(other), Ok(index)) = (other, index) {
            found.see(GroupId(other), index);
        }
        true
    })?;
    Ok(found)
}

/// An entry whose writer had seen this is applied.
pub(crate) fn raise(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut storage::GroupState,
    seen: &SessionToken,
) -> Result<(), StoreError> {
    for (other, index) in seen.iter() {
        let key = reserved(FRONTIER, &other.0.to_be_bytes());
        let old = rows.get(group, &key)?;
        let known = old.as_ref().and_then(|row| row.value.as_slice().try_into().ok()).map(u64::from_le_bytes);
        if known.is_some_and(|known| known >= index) {
            continue;
        }
        let row = Row {
            create_revision: old.as_ref().map_or(state.revision, |old| old.create_revision),
            mod_revision: state.revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value: index.to_le_bytes().to_vec(),
        };
        subtract(state, &key, old.as_ref().map(RowMeta::of));
        add(state, &key, RowMeta::of(&row));
        rows.put(group, &key, row);
    }
    Ok(())
}

fn reserved(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&RESERVED_KEY_PREFIX, &[kind][..], rest].concat()
}
