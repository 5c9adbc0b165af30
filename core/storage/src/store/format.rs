//! How rows and group states look inside the state store. See `docs/internals/state-format.md`.
//!
//! Everything read is verified: a row's head by its crc32, which also covers group and key, and its
//! value by the length and hash in the head. Malformed bytes are errors.

use types::GroupId;

use crate::{GroupState, RowMeta, StoreError, rows::RECORD_BYTES_MAX, store::engine::corrupt};

/// The version of the layout that this build writes and reads.
pub(super) const FORMAT: u32 = 1;
/// Values up to this long are stored in the row itself.
pub(super) const INLINE_BYTES_MAX: u64 = RECORD_BYTES_MAX as u64;
/// Bytes of a row before an inline value.
pub(super) const HEAD_BYTES: usize = 56;
/// Bytes of an encoded [`GroupState`], without checksum.
pub(crate) const STATE_BYTES: usize = 56;

/// Key in the `values` table: group, revision, number, all big-endian.
pub(super) type ValueKey = [u8; 24];

/// Where a value that is not inline is kept. New values have growing places, so that they are
/// inserted at the end of their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The revision that wrote the value, or that of the snapshot it came with.
    pub revision: u64,
    /// Tells values of one revision apart.
    pub number: u64,
}

impl Place {
    pub(super) fn key(self, group: GroupId) -> ValueKey {
        let mut key = [0; 24];
        key[..8].copy_from_slice(&group.0.to_be_bytes());
        key[8..16].copy_from_slice(&self.revision.to_be_bytes());
        key[16..].copy_from_slice(&self.number.to_be_bytes());
        key
    }
}

/// A row without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub meta: RowMeta,
    /// `None` when the value is inline.
    pub place: Option<Place>,
}

/// Whether a value of this length is stored in its row.
pub(super) fn is_inline(value_bytes: u64) -> bool {
    value_bytes <= INLINE_BYTES_MAX
}

/// Key in the `rows` table: the group big-endian, then the key.
pub(super) fn row_key(group: GroupId, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + key.len());
    bytes.extend_from_slice(&group.0.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// Encodes a row; `value` is stored only if it is inline.
pub(super) fn encode_row(row_key: &[u8], head: &Head, value: &[u8]) -> Vec<u8> {
    let inline = is_inline(head.meta.value_bytes);
    assert_eq!(inline, head.place.is_none(), "a value is either inline or has a place");
    let place = head.place.unwrap_or(Place { revision: 0, number: 0 });
    let value_bytes = u32::try_from(head.meta.value_bytes).expect("values are shorter than 4 GiB");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + if inline { value.len() } else { 0 });
    bytes.extend_from_slice(&head.meta.create_revision.to_le_bytes());
    bytes.extend_from_slice(&head.meta.mod_revision.to_le_bytes());
    bytes.extend_from_slice(&head.meta.version.to_le_bytes());
    bytes.extend_from_slice(&value_bytes.to_le_bytes());
    bytes.extend_from_slice(&head.meta.value_hash.to_le_bytes());
    bytes.extend_from_slice(&place.revision.to_le_bytes());
    bytes.extend_from_slice(&place.number.to_le_bytes());
    bytes.extend_from_slice(&checksum(row_key, &bytes).to_le_bytes());
    if inline {
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Decodes a row and the value in it, which is empty unless it is inline. Does not verify the value.
pub(super) fn decode_row<'a>(row_key: &[u8], bytes: &'a [u8]) -> Result<(Head, &'a [u8]), StoreError> {
    let Some((head, value)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Err(corrupt_row(row_key, "it is too short"));
    };
    let (fields, stored) = head.split_at(HEAD_BYTES - 4);
    if checksum(row_key, fields).to_le_bytes() != stored {
        return Err(corrupt_row(row_key, "its checksum does not match"));
    }
    let value_bytes = u64::from(u32::from_le_bytes(array(fields, 24)));
    let inline = is_inline(value_bytes);
    if value.len() as u64 != if inline { value_bytes } else { 0 } {
        return Err(corrupt_row(row_key, "its length does not match"));
    }
    let meta = RowMeta {
        create_revision: u64_at(fields, 0),
        mod_revision: u64_at(fields, 8),
        version: u64_at(fields, 16),
        value_bytes,
        value_hash: u64_at(fields, 28),
    };
    let place = Place { revision: u64_at(fields, 36), number: u64_at(fields, 44) };
    Ok((Head { meta, place: (!inline).then_some(place) }, value))
}

/// The error for a damaged row.
pub(super) fn corrupt_row(row_key: &[u8], reason: &str) -> StoreError {
    let (group, key) = row_key.split_at_checked(8).unwrap_or((&[], row_key));
    let shown = &key[..key.len().min(64)];
    corrupt(format!("row {} of group {}: {reason}", shown.escape_ascii(), group_text(group)))
}

fn group_text(bytes: &[u8]) -> String {
    match bytes.try_into() {
        Ok(bytes) => u64::from_be_bytes(bytes).to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

fn checksum(row_key: &[u8], fields: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(row_key);
    hasher.update(fields);
    hasher.finalize()
}

/// A group state's fields, little-endian, in order of declaration.
pub(crate) fn encode_state(state: &GroupState) -> [u8; STATE_BYTES] {
    let mut bytes = [0; STATE_BYTES];
    bytes[..8].copy_from_slice(&state.applied_index.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.applied_term.to_le_bytes());
    bytes[16..24].copy_from_slice(&state.revision.to_le_bytes());
    bytes[24..40].copy_from_slice(&state.state_hash.to_le_bytes());
    bytes[40..48].copy_from_slice(&state.keys.to_le_bytes());
    bytes[48..].copy_from_slice(&state.bytes.to_le_bytes());
    bytes
}

/// The reverse of [`encode_state`].
pub(crate) fn decode_state(bytes: &[u8; STATE_BYTES]) -> GroupState {
    GroupState {
        applied_index: u64_at(bytes, 0),
        applied_term: u64_at(bytes, 8),
        revision: u64_at(bytes, 16),
        state_hash: u128::from_le_bytes(array(bytes, 24)),
        keys: u64_at(bytes, 40),
        bytes: u64_at(bytes, 48),
    }
}

/// A group state as the `groups` table has it: followed by a crc32 over the group and the state.
pub(super) fn encode_stored_state(group: GroupId, state: &GroupState) -> [u8; STATE_BYTES + 4] {
    let mut bytes = [0; STATE_BYTES + 4];
    let encoded = encode_state(state);
    bytes[..STATE_BYTES].copy_from_slice(&encoded);
    bytes[STATE_BYTES..].copy_from_slice(&checksum(&group.0.to_be_bytes(), &encoded).to_le_bytes());
    bytes
}

/// The reverse of [`encode_stored_state`].
pub(super) fn decode_stored_state(group: GroupId, bytes: &[u8]) -> Result<GroupState, StoreError> {
    let Some((fields, stored)) = bytes.split_first_chunk::<STATE_BYTES>() else {
        return Err(corrupt(format!("state of group {group}: it is too short")));
    };
    if checksum(&group.0.to_be_bytes(), fields).to_le_bytes() != stored {
        return Err(corrupt(format!("state of group {group}: its checksum does not match")));
    }
    Ok(decode_state(fields))
}

/// The little-endian number at `offset`.
///
/// # Panics
/// If `bytes` is shorter: callers have checked the length.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}

/// The `N` bytes at `offset`.
///
/// # Panics
/// If `bytes` is shorter: callers have checked the length.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("a slice of N bytes is an array of N bytes")
}
