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

use storage::{ReadRows, StoreError, WriteRows};
use types::{GroupId, SessionToken};

use crate::records::{self, record_key};

const FRONTIER: u8 = b's';

/// The frontier of a group's present state.
///
/// # Errors
/// When the store cannot be read. Records that are none are left out.
pub fn frontier(rows: &dyn ReadRows, group: GroupId) -> Result<SessionToken, StoreError> {
    let mut found = SessionToken::default();
    let (start, end) = (record_key(FRONTIER, &[]), record_key(FRONTIER + 1, &[]));
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
        let key = record_key(FRONTIER, &[&other.0.to_be_bytes()]);
        let old = rows.get(group, &key)?;
        let known = old.as_ref().and_then(|row| row.value.as_slice().try_into().ok()).map(u64::from_le_bytes);
        if known.is_some_and(|known| known >= index) {
            continue;
        }
        records::put(rows, group, state, &key, index.to_le_bytes().to_vec())?;
    }
    Ok(())
}
