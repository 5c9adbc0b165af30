//! The history of a group: which revision changed which keys, and the versions that are no longer the newest.
//!
//! Guarantee G-HISTORY: every change of a client's key, whatever command made it, is recorded in the entry that
//! makes it. Revisions above the group's *floor* can be watched, and those from the floor on can be read, exactly
//! as they were. The floor never goes back; what only revisions up to it need is reclaimed in steps of a few rows.
//!
//! The records are rows with reserved keys: a checkpoint, a snapshot, the state hash and a scrub have them as
//! they have all rows. A quota does not count them. Behind the prefix comes one byte:
//!
//! - `h`, a revision (8 bytes, big-endian) and a number (4 bytes, big-endian): one key that the revision
//!   changed, in key order. The value is the modification revision of the version before (8 bytes, little-endian; 0
//!   when there was none) and the key; the row's `create_revision` and `version` are those of the new version,
//!   both 0 when the key was deleted. Its `mod_revision` is the revision.
//! - `v`, the escaped key and the modification revision (8 bytes, big-endian): a version that was replaced or
//!   deleted, with its value. The row's `create_revision` and `version` are the version's own; its
//!   `mod_revision` is the revision that superseded it. The newest version of a key is never here.
//! - `w`: the [`Floor`].
//!
//! In an escaped key each `0x00` is followed by `0xff`, and `0x00 0x00` ends it: escaped keys are in the order
//! of the keys, and none begins another.

mod at;
mod compact;
mod events;
mod messages;
mod record;

pub use at::{NotReadable, at};
pub use compact::{Floor, count_records, floor};
pub use events::{Events, KeyEvent, Revision, Version, Wanted, events};
pub use messages::RECLAIM_EVENTS_MAX;

pub(crate) use compact::{compact, reclaim};
pub(crate) use messages::{AtBody, CompactBody, CompactedBody, NotReadableBody, ReclaimBody, ReclaimedBody};
pub(crate) use record::Recorder;

use types::limits::RESERVED_KEY_PREFIX;

use crate::records::record_key;

const EVENT: u8 = b'h';
const VERSION: u8 = b'v';
const FLOOR: u8 = b'w';
/// Bytes of an event's key before its number.
const EVENT_HEAD_BYTES: usize = RESERVED_KEY_PREFIX.len() + 1 + 8;

/// Key of the event with this number in a revision.
fn event_key(revision: u64, number: u32) -> Vec<u8> {
    record_key(EVENT, &[&revision.to_be_bytes(), &number.to_be_bytes()])
}

/// Where the events after a revision begin.
fn events_after(revision: u64) -> Vec<u8> {
    match revision.checked_add(1) {
        Some(next) => event_key(next, 0),
        None => record_key(EVENT + 1, &[]),
    }
}

/// Key of one version of a key.
fn version_key(key: &[u8], mod_revision: u64) -> Vec<u8> {
    let mut bytes = versions_from(key);
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&mod_revision.to_be_bytes());
    bytes
}

/// Where the versions of this key and of those after it begin.
fn versions_from(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RESERVED_KEY_PREFIX.len() + 1 + key.len() + 10);
    bytes.extend_from_slice(&RESERVED_KEY_PREFIX);
    bytes.push(VERSION);
    for &byte in key {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes
}

/// The key and the modification revision of a version's key; `None` if it is no such key.
fn split_version_key(bytes: &[u8]) -> Option<(Vec<u8>, u64)> {
    let rest = bytes.strip_prefix(&RESERVED_KEY_PREFIX)?.strip_prefix(&[VERSION])?;
    let (escaped, revision) = rest.split_last_chunk::<8>()?;
    let escaped = escaped.strip_suffix(&[0, 0])?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        if byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
        key.push(byte);
    }
    Some((key, u64::from_be_bytes(*revision)))
}

/// An event's row, taken apart: the revision before, and the key. `None` if it is none.
fn split_event(value: &[u8]) -> Option<(u64, &[u8])> {
    let (before, key) = value.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*before), key))
}

/// The error for records that contradict each other: the state is damaged.
fn corrupt(group: types::GroupId, reason: impl Into<String>) -> storage::StoreError {
    storage::StoreError::Corrupt { file: format!("history of group {group}"), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xfe), Just(0xff)], 0..6)
    }

    proptest! {
        #[test]
        fn a_versions_key_is_taken_apart_as_it_was_put_together(key in keys(), revision in any::<u64>()) {
            prop_assert_eq!(split_version_key(&version_key(&key, revision)), Some((key, revision)));
        }

        #[test]
        fn versions_are_in_the_order_of_keys_then_of_revisions(
            one in (keys(), any::<u64>()),
            other in (keys(), any::<u64>()),
        ) {
            let order = version_key(&one.0, one.1).cmp(&version_key(&other.0, other.1));
            prop_assert_eq!(order, one.cmp(&other));
        }

        #[test]
        fn a_range_of_keys_is_a_range_of_versions(bound in keys(), key in keys(), revision in any::<u64>()) {
            prop_assert_eq!(versions_from(&bound) <= version_key(&key, revision), bound <= key);
        }
    }
}
