//! Frames, as they are sent: a batch of messages behind a checked, length-limited header.
//!
//! ```text
//! offset  bytes  field
//!      0      4  length    of the payload as sent, little-endian; 1 to PAYLOAD_BYTES_MAX
//!      4      4  crc32     little-endian, over length, flags and payload as sent
//!      8      1  flags     bit 0: the payload is compressed; other bits must be 0
//!      9      n  payload   protobuf `Frame { repeated PeerMessage messages = 1; }`, or, compressed,
//!                          its size (4 bytes, little-endian) and one LZ4 block
//! ```
//!
//! The checksum covers the bytes as sent, so that the decompressor and the parser only ever see
//! bytes that a peer really wrote.

use prost::Message;
use types::limits::{FRAME_BYTES_MAX, FRAME_MESSAGES_MAX};

use crate::{
    Features,
    message::{PeerBody, PeerMessage, RaftMessage},
};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 9;
/// Largest payload, as sent and also after decompression: a frame is at most `FRAME_BYTES_MAX`.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES;
/// Most log entries, and bytes of voter lists, in one frame. An entry takes several times more memory
/// decoded than its fewest bytes on the wire; this bounds what eight hostile megabytes can become.
/// A full 8 MiB frame of real entries (64 bytes and up each) stays below it.
pub const FRAME_ITEMS_MAX: usize = 128 * 1024;
/// Payloads below this are sent as they are: compression would cost more than it saves.
pub const COMPRESS_BYTES_MIN: usize = 512;

/// Flag: the payload is an LZ4 block behind its uncompressed size.
pub(crate) const FLAG_LZ4: u8 = 1;
/// Bytes of the size in front of an LZ4 block.
pub(crate) const LZ4_SIZE_BYTES: usize = 4;
/// Protobuf key of `Frame.messages`: field 1, length-delimited.
pub(crate) const MESSAGES_KEY: u8 = 0x0a;
/// Most bytes of one voter's number.
const VOTER_BYTES_MAX: usize = 10;

/// A message that no frame can carry. It was not sent and never will be; split it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message of {bytes} bytes and {items} entries cannot be sent: a frame holds at most \
     {PAYLOAD_BYTES_MAX} bytes and {FRAME_ITEMS_MAX} entries; split it"
)]
pub struct MessageTooLarge {
    /// Encoded bytes of the message.
    pub bytes: usize,
    /// Its log entries.
    pub items: usize,
}

/// A frame ready to be written to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// Header and payload.
    pub bytes: Vec<u8>,
    /// Bytes of the payload before compression.
    pub payload_bytes: usize,
    /// Messages inside.
    pub messages: usize,
}

/// What became of a message given to [`FrameBuilder::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It is in the frame.
    Added,
    /// It did not fit, and the frame is unchanged: finish this frame and push it to the next.
    Full,
}

/// Gathers messages into one frame within the limits.
///
/// Invariant: at most [`PAYLOAD_BYTES_MAX`] bytes, [`FRAME_MESSAGES_MAX`] messages and
/// [`FRAME_ITEMS_MAX`] items are inside.
#[derive(Debug)]
pub struct FrameBuilder {
    features: Features,
    /// Room for the header, then the payload.
    bytes: Vec<u8>,
    messages: usize,
    items: usize,
}

impl FrameBuilder {
    /// An empty frame for a connection that negotiated `features`.
    pub fn new(features: Features) -> FrameBuilder {
        FrameBuilder { features, bytes: vec![0; HEADER_BYTES], messages: 0, items: 0 }
    }

    /// Adds a message if it fits.
    ///
    /// # Errors
    /// [`MessageTooLarge`] if it would not fit an empty frame either. The frame is unchanged.
    pub fn push(&mut self, message: &PeerMessage) -> Result<Push, MessageTooLarge> {
        let bytes = message_bytes(message)?;
        let items = message_items(message);
        let full = self.payload_bytes() + bytes > PAYLOAD_BYTES_MAX
            || self.items + items > FRAME_ITEMS_MAX
            || self.messages == FRAME_MESSAGES_MAX;
        if full {
            return Ok(Push::Full);
        }
        self.bytes.push(MESSAGES_KEY);
        message.encode_length_delimited(&mut self.bytes).expect("a Vec grows");
        self.messages += 1;
        self.items += items;
        self.check_invariants();
        Ok(Push::Added)
    }

    /// Bytes of payload so far, before compression.
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    /// Whether no message was added yet.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The frame; `None` when nothing was added. Compresses when the connection allows it, the
    /// payload is at least [`COMPRESS_BYTES_MIN`], and it shrinks.
    pub fn finish(mut self) -> Option<EncodedFrame> {
        if self.is_empty() {
            return None;
        }
        let payload_bytes = self.payload_bytes();
        let compressed = if self.features.contains(Features::LZ4) { self.compress() } else { None };
        let flags = if compressed.is_some() { FLAG_LZ4 } else { 0 };
        let mut bytes = compressed.unwrap_or_else(|| std::mem::take(&mut self.bytes));
        let length =
            u32::try_from(bytes.len() - HEADER_BYTES).expect("a payload is below 4 GiB").to_le_bytes();
        let crc = checksum(length, flags, &bytes[HEADER_BYTES..]);
        bytes[0..4].copy_from_slice(&length);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes[8] = flags;
        Some(EncodedFrame { bytes, payload_bytes, messages: self.messages })
    }

    /// Room for the header, the size and the LZ4 block, if that is shorter than the payload.
    fn compress(&self) -> Option<Vec<u8>> {
        let payload = &self.bytes[HEADER_BYTES..];
        if payload.len() < COMPRESS_BYTES_MIN {
            return None;
        }
        let start = HEADER_BYTES + LZ4_SIZE_BYTES;
        let mut bytes = vec![0; start + lz4_flex::block::get_maximum_output_size(payload.len())];
        let size = u32::try_from(payload.len()).expect("a payload is below 4 GiB");
        bytes[HEADER_BYTES..start].copy_from_slice(&size.to_le_bytes());
        let written = lz4_flex::block::compress_into(payload, &mut bytes[start..])
            .expect("the output has the maximum size");
        bytes.truncate(start + written);
        (bytes.len() < self.bytes.len()).then_some(bytes)
    }

    fn check_invariants(&self) {
        assert!(self.payload_bytes() <= PAYLOAD_BYTES_MAX);
        assert!(self.messages <= FRAME_MESSAGES_MAX);
        assert!(self.items <= FRAME_ITEMS_MAX);
    }
}

/// One frame of all `messages`.
///
/// # Errors
/// [`MessageTooLarge`] when they do not fit one frame together; use a [`FrameBuilder`] to split.
pub fn encode_frame(
    messages: &[PeerMessage],
    features: Features,
) -> Result<Option<EncodedFrame>, MessageTooLarge> {
    let mut frame = FrameBuilder::new(features);
    for message in messages {
        if frame.push(message)? == Push::Full {
            let bytes = messages.iter().map(Message::encoded_len).sum();
            return Err(MessageTooLarge { bytes, items: messages.iter().map(message_items).sum() });
        }
    }
    Ok(frame.finish())
}

/// Bytes that a message takes in a frame's payload.
///
/// # Errors
/// [`MessageTooLarge`] if no frame can carry it.
pub fn message_bytes(message: &PeerMessage) -> Result<usize, MessageTooLarge> {
    let bytes = message.encoded_len();
    let items = message_items(message);
    let framed = 1 + prost::length_delimiter_len(bytes) + bytes;
    if framed > PAYLOAD_BYTES_MAX || items > FRAME_ITEMS_MAX {
        return Err(MessageTooLarge { bytes, items });
    }
    Ok(framed)
}

/// What a message counts towards [`FRAME_ITEMS_MAX`]: never less than the receiver counts.
fn message_items(message: &PeerMessage) -> usize {
    let raft =
        |message: &RaftMessage| message.entries.len() + message.snapshot_voters.len() * VOTER_BYTES_MAX;
    match &message.body {
        Some(PeerBody::Raft(message)) => raft(message),
        Some(PeerBody::SnapshotChunk(chunk)) => chunk.announce.as_ref().map_or(0, raft),
        Some(PeerBody::Forward(_) | PeerBody::ForwardReply(_) | PeerBody::SnapshotAck(_)) | None => 0,
    }
}

/// The header's checksum.
pub(crate) fn checksum(length: [u8; 4], flags: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(&[flags]);
    hasher.update(payload);
    hasher.finalize()
}
