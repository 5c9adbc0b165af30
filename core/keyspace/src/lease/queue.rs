//! The queues of locks: who has a place in each, in the order of the places' creation.
//!
//! A key has a place from its creation until it is removed, if it was created bound to the lease that its name
//! ends with. A key that is bound to its lease only later gets none: its creation revision would be an older
//! token than one that was used meanwhile.
//!
//! The records, behind the reserved prefix:
//!
//! - `n`, `q`, the length of a lock's name (2 bytes, big-endian), the name and a creation revision (8 bytes,
//!   big-endian): the lease of the key that has this place (8 bytes, big-endian);
//! - `n`, `c`: how often a place was taken or left, or a key with a place changed (8 bytes, little-endian). Who
//!   waits at a leader looks again when it changes.

use storage::{ReadRows, RowMeta, StoreError};
use types::{GroupId, LeaseId, limits::LOCK_QUEUE_COUNT_MAX};

use super::LockHolder;
use super::records::{NAMED, Records, bad, number};
use crate::records::record_key;

const PLACE: &[u8] = b"q";
const CHANGES: &[u8] = b"c";

/// The key of a lock that belongs to a lease.
pub fn lock_key(name: &[u8], lease: LeaseId) -> Vec<u8> {
    [name, b"/", lease.to_string().as_bytes()].concat()
}

/// The lock and the lease that a key names, if it is so named.
fn names(key: &[u8]) -> Option<(&[u8], LeaseId)> {
    let slash = key.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0)?;
    let lease = std::str::from_utf8(&key[slash + 1..]).ok()?.parse().ok()?;
    Some((&key[..slash], lease))
}

/// How often the queues of a group have changed.
///
/// # Errors
/// When the store cannot be read. A record that is none counts as 0.
pub fn lock_changes(rows: &dyn ReadRows, group: GroupId) -> Result<u64, StoreError> {
    let row = rows.get(group, &record_key(NAMED, &[CHANGES]))?;
    Ok(row.and_then(|row| number(&row.value)).unwrap_or(0))
}

/// See [`Records::changed`]; `lease` is the one that the put names.
pub(super) fn changed(
    records: &mut Records<'_>,
    key: &[u8],
    old: Option<RowMeta>,
    new: Option<u64>,
    lease: Option<LeaseId>,
) -> Result<(), StoreError> {
    let Some((name, named)) = names(key) else { return Ok(()) };
    let concerned = match (old, new) {
        (None, Some(created)) if lease == Some(named) => {
            records.put(&place_key(name, created), named.0.to_be_bytes().to_vec())?;
            true
        }
        (Some(old), None) => records.delete(&place_key(name, old.create_revision))?,
        (Some(old), Some(_)) => token(records.rows, records.group, name, old)?.is_some(),
        (None, _) => false,
    };
    if concerned {
        let changes = lock_changes(records.rows, records.group)? + 1;
        records.put(&record_key(NAMED, &[CHANGES]), changes.to_le_bytes().to_vec())?;
    }
    Ok(())
}

/// The token of a key of a lock, given its row; `None` if it has no place.
pub(super) fn token(
    rows: &dyn ReadRows,
    group: GroupId,
    name: &[u8],
    row: RowMeta,
) -> Result<Option<u64>, StoreError> {
    let place = rows.meta(group, &place_key(name, row.create_revision))?;
    Ok(place.map(|_| row.create_revision))
}

/// Whether there is a place with this token.
pub(super) fn is_queued(
    rows: &dyn ReadRows,
    group: GroupId,
    name: &[u8],
    token: u64,
) -> Result<bool, StoreError> {
    Ok(rows.meta(group, &place_key(name, token))?.is_some())
}

/// The token and the lease of a lock's holder.
pub(super) fn first(
    rows: &dyn ReadRows,
    group: GroupId,
    name: &[u8],
) -> Result<Option<(u64, LeaseId)>, StoreError> {
    let mut found = None;
    let (start, end) = (place_key(name, 0), place_key(name, u64::MAX));
    rows.scan(group, &start, Some(&end), &mut |key, row| {
        let token = key[key.len() - 8..].try_into().map(u64::from_be_bytes);
        found = Some((token.ok(), row.value.try_into().map(u64::from_be_bytes).ok()));
        false
    })?;
    match found {
        None => Ok(None),
        Some((Some(token), Some(lease))) => Ok(Some((token, LeaseId(lease)))),
        Some(_) => Err(bad(group, "a place in a queue")),
    }
}

/// A lock's holder, and how many wait.
pub(super) fn look(
    rows: &dyn ReadRows,
    group: GroupId,
    name: &[u8],
) -> Result<(Option<LockHolder>, u64), StoreError> {
    let Some((token, lease)) = first(rows, group, name)? else { return Ok((None, 0)) };
    let row = rows.get(group, &lock_key(name, lease))?.ok_or_else(|| bad(group, "a lock without its key"))?;
    let mut places = 0;
    let (start, end) = (place_key(name, 0), place_key(name, u64::MAX));
    rows.scan_meta(group, &start, Some(&end), &mut |_, _| {
        places += 1;
        places <= LOCK_QUEUE_COUNT_MAX
    })?;
    let holder = LockHolder { token, lease, mod_revision: row.mod_revision, value: row.value };
    Ok((Some(holder), places - 1))
}

fn place_key(name: &[u8], token: u64) -> Vec<u8> {
    record_key(NAMED, &[PLACE, &(name.len() as u16).to_be_bytes(), name, &token.to_be_bytes()])
}
