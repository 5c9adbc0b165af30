//! Snapshots: one group's rows as a sequence of independent, checksummed pieces. The sender reads
//! them from its last checkpoint, the receiver checks every byte before it believes any.
//!
//! The layout is in `docs/internals/state-format.md`. A piece is bounded by one row more than
//! [`types::limits::SNAPSHOT_CHUNK_BYTES`]; neither side holds more than one piece in memory.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use types::{
    GroupId, LogPosition,
    limits::{ROW_KEY_BYTES_MAX, SNAPSHOT_CHUNK_BYTES, VALUE_BYTES_MAX},
};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    GroupState, Row, RowMeta, StoreError,
    store::{
        engine::corrupt,
        format::{STATE_BYTES, array, decode_state, encode_state, u64_at},
        view::{GroupSum, View, ViewRange},
    },
};

const MAGIC: [u8; 4] = *b"QRS1";
const FLAG_FIRST: u32 = 1;
const FLAG_LAST: u32 = 2;
/// Bytes of a piece before its compressed payload.
pub(crate) const HEADER_BYTES: usize = 28;
const OPENING_BYTES: usize = 8 + STATE_BYTES;
const ROW_HEAD_BYTES: usize = 32;
const TRAILER_BYTES: usize = 16;
const ROW_BYTES_MAX: usize = ROW_HEAD_BYTES + ROW_KEY_BYTES_MAX + VALUE_BYTES_MAX;
const PAYLOAD_BYTES_MAX: usize = OPENING_BYTES + SNAPSHOT_CHUNK_BYTES + ROW_BYTES_MAX + TRAILER_BYTES;
/// Longest piece, in bytes. Data that does not compress grows by less than one part in 128.
pub const PIECE_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX + PAYLOAD_BYTES_MAX / 128 + 1024;
/// Fast; values that matter for size are compressible at any level.
const ZSTD_LEVEL: i32 = 1;

/// One piece of a snapshot, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Header and compressed payload.
    pub data: Bytes,
    /// Whether the snapshot ends with it.
    pub last: bool,
}

/// Reads one group's snapshot from a checkpoint. While it lives, the state store reuses none of the
/// pages of that checkpoint: the owner bounds its age.
pub struct SnapshotReader {
    view: Arc<View>,
    group: GroupId,
    state: GroupState,
    range: ViewRange,
    sum: GroupSum,
    digest: Xxh3,
    pieces: u64,
    finished: bool,
}

impl SnapshotReader {
    pub(crate) fn open(view: Arc<View>, group: GroupId) -> Result<SnapshotReader, StoreError> {
        Ok(SnapshotReader {
            group,
            state: view.state(group).unwrap_or_default(),
            range: view.range(group, &[], None)?,
            view,
            sum: GroupSum::default(),
            digest: Xxh3::new(),
            pieces: 0,
            finished: false,
        })
    }

    /// The last entry in the snapshot.
    pub fn position(&self) -> LogPosition {
        LogPosition { index: self.state.applied_index, term: self.state.applied_term }
    }

    /// The group's state in the snapshot.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] also when the rows do not add up to the state: a damaged checkpoint is
    /// never handed to a peer as a whole.
    pub fn next_chunk(&mut self) -> Result<Option<SnapshotPiece>, StoreError> {
        if self.finished {
            return Ok(None);
        }
        let mut payload = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES + 4096);
        let mut flags = 0;
        if self.pieces == 0 {
            flags |= FLAG_FIRST;
            payload.extend_from_slice(&self.group.0.to_le_bytes());
            payload.extend_from_slice(&encode_state(&self.state));
        }
        let rows_begin = payload.len();
        while payload.len() - rows_begin < SNAPSHOT_CHUNK_BYTES {
            let Some(at) = self.range.next()? else {
                flags |= FLAG_LAST;
                break;
            };
            let row = self.view.row(self.group, &at)?;
            self.sum.add(at.key(), &RowMeta::of(&row));
            encode_row(&mut payload, at.key(), &row);
        }
        self.digest.update(&payload[rows_begin..]);
        if flags & FLAG_LAST != 0 {
            let group = self.group;
            self.sum.check(&self.state).map_err(|reason| corrupt(format!("group {group}: {reason}")))?;
            payload.extend_from_slice(&self.sum.keys.to_le_bytes());
            payload.extend_from_slice(&self.digest.digest().to_le_bytes());
            self.finished = true;
        }
        let data = encode_piece(flags, self.pieces, &payload);
        self.pieces += 1;
        Ok(Some(SnapshotPiece { data, last: self.finished }))
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("group", &self.group)
            .field("state", &self.state)
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}

fn encode_row(payload: &mut Vec<u8>, key: &[u8], row: &Row) {
    assert!(
        key.len() <= ROW_KEY_BYTES_MAX && row.value.len() <= VALUE_BYTES_MAX,
        "the store takes no such row"
    );
    payload.extend_from_slice(&(key.len() as u32).to_le_bytes());
    payload.extend_from_slice(&(row.value.len() as u32).to_le_bytes());
    payload.extend_from_slice(&row.create_revision.to_le_bytes());
    payload.extend_from_slice(&row.mod_revision.to_le_bytes());
    payload.extend_from_slice(&row.version.to_le_bytes());
    payload.extend_from_slice(key);
    payload.extend_from_slice(&row.value);
}

fn encode_piece(flags: u32, number: u64, payload: &[u8]) -> Bytes {
    let packed = zstd::bulk::compress(payload, ZSTD_LEVEL).expect("compressing into memory cannot fail");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    let crc = checksum(&bytes, &packed);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&packed);
    Bytes::from(bytes)
}

fn checksum(header: &[u8], packed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(packed);
    hasher.finalize()
}

/// Length of a whole piece by its header.
pub(crate) fn piece_bytes(header: &[u8; HEADER_BYTES]) -> usize {
    HEADER_BYTES.saturating_add(u32::from_le_bytes(array(header, 20)) as usize)
}

/// Takes the rows of a snapshot: key, description, value.
pub(crate) type RowSink<'a> = &'a mut dyn FnMut(&[u8], &RowMeta, &[u8]) -> Result<(), StoreError>;

/// Takes a snapshot's pieces in order and checks each. After an error it is of no more use.
pub(crate) struct SnapshotDecoder {
    group: GroupId,
    state: Option<GroupState>,
    sum: GroupSum,
    digest: Xxh3,
    pieces: u64,
    last_key: Option<Vec<u8>>,
    complete: bool,
}

impl SnapshotDecoder {
    pub(crate) fn new(group: GroupId) -> SnapshotDecoder {
        SnapshotDecoder {
            group,
            state: None,
            sum: GroupSum::default(),
            digest: Xxh3::new(),
            pieces: 0,
            last_key: None,
            complete: false,
        }
    }

    /// The state that the rows add up to, once the last piece was taken.
    pub(crate) fn complete(&self) -> Option<GroupState> {
        self.state.filter(|_| self.complete)
    }

    /// The state that the first piece claims.
    pub(crate) fn claimed(&self) -> Option<GroupState> {
        self.state
    }

    pub(crate) fn pieces(&self) -> u64 {
        self.pieces
    }

    pub(crate) fn sum(&self) -> &GroupSum {
        &self.sum
    }

    /// Checks one piece and gives its rows to `each`.
    pub(crate) fn piece(&mut self, data: &[u8], each: RowSink<'_>) -> Result<(), StoreError> {
        let (flags, payload) = self.unpack(data)?;
        let mut rows = payload.as_slice();
        if flags & FLAG_FIRST != 0 {
            rows = self.open(rows)?;
        }
        let mut trailer = None;
        if flags & FLAG_LAST != 0 {
            let at = rows.len().checked_sub(TRAILER_BYTES).ok_or_else(|| self.bad("it has no trailer"))?;
            let (before, after) = rows.split_at(at);
            rows = before;
            trailer = Some((u64_at(after, 0), u64_at(after, 8)));
        }
        self.digest.update(rows);
        while !rows.is_empty() {
            rows = self.row(rows, each)?;
        }
        self.pieces += 1;
        if let Some((keys, digest)) = trailer {
            if (keys, digest) != (self.sum.keys, self.digest.digest()) {
                return Err(self.bad("its rows do not match its trailer"));
            }
            let state = self.state.ok_or_else(|| self.bad("it has no state"))?;
            self.sum.check(&state).map_err(|reason| self.bad(&reason))?;
            self.complete = true;
        }
        Ok(())
    }

    /// Checks the header and unpacks the payload.
    fn unpack(&self, data: &[u8]) -> Result<(u32, Vec<u8>), StoreError> {
        let Some((header, packed)) = data.split_first_chunk::<HEADER_BYTES>() else {
            return Err(self.bad("a piece is too short"));
        };
        let stored = u32::from_le_bytes(array(header, 24));
        if header[..4] != MAGIC {
            return Err(self.bad("a piece does not begin as one"));
        }
        if checksum(&header[..24], packed) != stored {
            return Err(self.bad("a piece's checksum does not match"));
        }
        if piece_bytes(header) != data.len() {
            return Err(self.bad("a piece's length does not match"));
        }
        let flags = u32::from_le_bytes(array(header, 4));
        if flags & !(FLAG_FIRST | FLAG_LAST) != 0 || self.complete {
            return Err(self.bad("a piece has unknown flags, or follows the last"));
        }
        if u64_at(header, 8) != self.pieces || (flags & FLAG_FIRST != 0) != (self.pieces == 0) {
            return Err(self.bad("a piece is out of order"));
        }
        let payload_bytes = u32::from_le_bytes(array(header, 16)) as usize;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(self.bad("a piece is too long"));
        }
        match zstd::bulk::decompress(packed, payload_bytes) {
            Ok(payload) if payload.len() == payload_bytes => Ok((flags, payload)),
            _ => Err(self.bad("a piece cannot be unpacked")),
        }
    }

    fn open<'a>(&mut self, payload: &'a [u8]) -> Result<&'a [u8], StoreError> {
        let Some((opening, rows)) = payload.split_first_chunk::<OPENING_BYTES>() else {
            return Err(self.bad("it has no state"));
        };
        if u64_at(opening, 0) != self.group.0 {
            return Err(self.bad("it is of another group"));
        }
        self.state = Some(decode_state(&array(opening, 8)));
        Ok(rows)
    }

    /// Takes the first row of `rows` and answers the rest.
    fn row<'a>(&mut self, rows: &'a [u8], each: RowSink<'_>) -> Result<&'a [u8], StoreError> {
        let Some((head, rest)) = rows.split_first_chunk::<ROW_HEAD_BYTES>() else {
            return Err(self.bad("a row is cut short"));
        };
        let key_bytes = u32::from_le_bytes(array(head, 0)) as usize;
        let value_bytes = u32::from_le_bytes(array(head, 4)) as usize;
        if key_bytes > ROW_KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(self.bad("a row is over the limits"));
        }
        let Some((key, rest)) = rest.split_at_checked(key_bytes) else {
            return Err(self.bad("a row is cut short"));
        };
        let Some((value, rest)) = rest.split_at_checked(value_bytes) else {
            return Err(self.bad("a row is cut short"));
        };
        let meta = RowMeta {
            create_revision: u64_at(head, 8),
            mod_revision: u64_at(head, 16),
            version: u64_at(head, 24),
            value_bytes: value_bytes as u64,
            value_hash: xxhash_rust::xxh3::xxh3_64(value),
        };
        let revision = self.state.map_or(0, |state| state.revision);
        if meta.create_revision > meta.mod_revision || meta.mod_revision > revision {
            return Err(self.bad("a row's revisions are out of order"));
        }
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            return Err(self.bad("its keys are out of order"));
        }
        self.last_key = Some(key.to_vec());
        self.sum.add(key, &meta);
        each(key, &meta, value)?;
        Ok(rest)
    }

    pub(crate) fn bad(&self, reason: &str) -> StoreError {
        StoreError::BadSnapshot { group: self.group, reason: reason.to_owned() }
    }
}

impl fmt::Debug for SnapshotDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotDecoder")
            .field("group", &self.group)
            .field("state", &self.state)
            .field("pieces", &self.pieces)
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}
