//! The bytes of a segment: its name, its header block and the headers of its frames, as drawn in
//! `docs/internals/log-format.md`. All numbers are little-endian.

use types::{ClusterId, NodeId};
use xxhash_rust::xxh3::xxh3_64;

use crate::Identity;

/// Version of the log format that this build writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Length of the block at the start of each segment. Frames begin after it.
pub const SEGMENT_HEADER_BYTES: u64 = 4096;
/// Length of a frame's header.
pub const FRAME_HEADER_BYTES: u64 = 16;

const SEGMENT_MAGIC: [u8; 8] = *b"QRTEWAL\n";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"QFRM");
const ALIGNMENT_BYTES: u64 = 8;
const HEADER_CRC_AT: usize = SEGMENT_HEADER_BYTES as usize - 4;

/// What the header block of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub version: u32,
    pub owner: Identity,
    pub sequence: u64,
    pub epoch: u64,
    pub segment_bytes: u64,
}

impl SegmentHeader {
    /// The header of a new segment. Its epoch differs from that of every other segment, so that the
    /// old frames of a recycled file are never taken for frames of the new segment.
    pub fn new(owner: &Identity, sequence: u64, segment_bytes: u64, boot_nonce: u64) -> SegmentHeader {
        let mut seed = Vec::with_capacity(40);
        seed.extend(owner.cluster.0);
        seed.extend(owner.node.0.to_le_bytes());
        seed.extend(sequence.to_le_bytes());
        seed.extend(boot_nonce.to_le_bytes());
        let epoch = xxh3_64(&seed);
        SegmentHeader { version: FORMAT_VERSION, owner: *owner, sequence, epoch, segment_bytes }
    }

    /// The whole block.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        block.extend(SEGMENT_MAGIC);
        block.extend(self.version.to_le_bytes());
        block.extend([0; 4]);
        block.extend(self.owner.cluster.0);
        block.extend(self.owner.node.0.to_le_bytes());
        block.extend(self.sequence.to_le_bytes());
        block.extend(self.epoch.to_le_bytes());
        block.extend(self.segment_bytes.to_le_bytes());
        block.resize(HEADER_CRC_AT, 0);
        block.extend(crc32fast::hash(&block).to_le_bytes());
        block
    }

    /// Reads a block. Magic, version and checksum stay where they are in every version, so that a
    /// newer version is told from damage. The error says what is wrong.
    pub fn decode(block: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Result<SegmentHeader, &'static str> {
        if block[..8] != SEGMENT_MAGIC {
            return Err("the segment header does not begin as one");
        }
        if crc32fast::hash(&block[..HEADER_CRC_AT]) != u32_at(block, HEADER_CRC_AT) {
            return Err("the segment header does not match its checksum");
        }
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&block[16..32]);
        Ok(SegmentHeader {
            version: u32_at(block, 8),
            owner: Identity { cluster: ClusterId(cluster), node: NodeId(u64_at(block, 32)) },
            sequence: u64_at(block, 40),
            epoch: u64_at(block, 48),
            segment_bytes: u64_at(block, 56),
        })
    }
}

/// The file name of a segment.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("wal-{sequence:016x}.log")
}

/// The sequence number in a segment's file name; `None` for any other name.
pub(super) fn segment_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("wal-")?.strip_suffix(".log")?;
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(sequence) == name).then_some(sequence)
}

/// The checksum of a frame's header: it holds at one place of one segment only.
fn header_crc(epoch: u64, offset: u64, payload_bytes: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&epoch.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(&payload_bytes.to_le_bytes());
    crc.finalize()
}

fn payload_crc(epoch: u64, offset: u64, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(header_crc(epoch, offset, payload.len() as u32));
    crc.update(payload);
    crc.finalize()
}

/// Bytes that a frame with this much payload takes, padding included.
pub(super) fn frame_bytes(payload_bytes: u64) -> u64 {
    FRAME_HEADER_BYTES + payload_bytes.next_multiple_of(ALIGNMENT_BYTES)
}

/// Begins a frame in `out`: leaves room for the header. The payload is appended after it.
pub(super) fn begin_frame(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.resize(at + FRAME_HEADER_BYTES as usize, 0);
    at
}

/// Ends the frame begun at `at`, whose place in the segment is `offset`: fills in its header, pads it
/// and, where `segment_bytes` leaves room, ends with a zero header, which says that no frame follows.
pub(super) fn end_frame(out: &mut Vec<u8>, at: usize, epoch: u64, offset: u64, segment_bytes: u64) {
    let payload_at = at + FRAME_HEADER_BYTES as usize;
    let payload_bytes = u32::try_from(out.len() - payload_at).expect("a payload is smaller than a segment");
    let payload_crc = payload_crc(epoch, offset, &out[payload_at..]);
    out[at..at + 4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
    out[at + 4..at + 8].copy_from_slice(&payload_bytes.to_le_bytes());
    out[at + 8..at + 12].copy_from_slice(&header_crc(epoch, offset, payload_bytes).to_le_bytes());
    out[at + 12..at + 16].copy_from_slice(&payload_crc.to_le_bytes());
    let end = offset + frame_bytes(u64::from(payload_bytes));
    assert!(end <= segment_bytes, "a frame is written only where it fits");
    let terminator_bytes = FRAME_HEADER_BYTES.min(segment_bytes - end);
    out.resize(at + (end - offset + terminator_bytes) as usize, 0);
}

/// What is found where a frame may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole frame.
    Frame { payload: &'a [u8], end: u64 },
    /// The zero header behind the last frame, or no room for another frame.
    End,
    /// Neither. With the length that a good header gives to a frame whose payload is bad.
    Bad { frame_bytes: Option<u64> },
}

/// Looks at `offset` of a segment of which `segment` holds all bytes.
pub(super) fn look(segment: &[u8], epoch: u64, offset: u64) -> Found<'_> {
    let at = offset as usize;
    let payload_at = at + FRAME_HEADER_BYTES as usize;
    let Some(header) = segment.get(at..payload_at) else { return Found::End };
    if header.iter().all(|byte| *byte == 0) {
        return Found::End;
    }
    let payload_bytes = u32_at(header, 4);
    let frame_bytes = frame_bytes(u64::from(payload_bytes));
    let fits = frame_bytes <= segment.len() as u64 - offset;
    if u32_at(header, 0) != FRAME_MAGIC
        || !fits
        || u32_at(header, 8) != header_crc(epoch, offset, payload_bytes)
    {
        return Found::Bad { frame_bytes: None };
    }
    let payload = &segment[payload_at..payload_at + payload_bytes as usize];
    if u32_at(header, 12) != payload_crc(epoch, offset, payload) {
        return Found::Bad { frame_bytes: Some(frame_bytes) };
    }
    Found::Frame { payload, end: offset + frame_bytes }
}

/// The first place behind `offset` with a good frame header of this epoch. Since a frame is begun
/// only once all before it are synced, there is one only if the bytes at `offset` were synced too.
pub(super) fn next_header(segment: &[u8], epoch: u64, offset: u64) -> Option<u64> {
    let mut later = (offset + ALIGNMENT_BYTES..segment.len() as u64).step_by(ALIGNMENT_BYTES as usize);
    later.find(|&at| {
        matches!(look(segment, epoch, at), Found::Frame { .. } | Found::Bad { frame_bytes: Some(_) })
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(array)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(array)
}
