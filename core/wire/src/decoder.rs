//! Frames, as they are received: bytes in any split go in, whole frames come out.
//!
//! Guarantees: never panics on any bytes; holds at most one frame; checks lengths before allocating by
//! them; a frame is decompressed and parsed only after its checksum matched.

use bytes::{Bytes, BytesMut};
use prost::Message;
use types::limits::FRAME_MESSAGES_MAX;

use crate::{
    Features, PeerMessage,
    frame::{FLAG_LZ4, FRAME_ITEMS_MAX, HEADER_BYTES, LZ4_SIZE_BYTES, PAYLOAD_BYTES_MAX, checksum},
    scan,
};

/// An LZ4 block never holds more than this many bytes per byte of its own.
const LZ4_RATIO_MAX: usize = 255;

/// Why a frame was refused. Nothing of it was delivered, and the connection cannot be used further:
/// where the next frame begins is not known. Close it; the peer dials again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame without a payload.
    #[error("the frame's length is 0")]
    BadLength,
    /// The payload, as sent or uncompressed, is over the limit.
    #[error("the frame's payload has {bytes} bytes; at most {PAYLOAD_BYTES_MAX} are allowed")]
    TooLarge {
        /// Bytes announced.
        bytes: u64,
    },
    /// Flags that this version does not know.
    #[error("the frame has unknown flags {flags:#04x}")]
    UnknownFlags {
        /// All flags of the frame.
        flags: u8,
    },
    /// Compressed, though that was not negotiated.
    #[error("the frame is compressed, which this connection did not negotiate")]
    NotNegotiated,
    /// Damaged on the way.
    #[error("the frame's checksum is {computed:08x}, its header says {stated:08x}")]
    BadChecksum {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The compressed payload is not an LZ4 block of the stated size.
    #[error("the frame's compressed payload is broken")]
    BadCompression,
    /// More messages than a frame may hold.
    #[error("the frame holds more than {FRAME_MESSAGES_MAX} messages")]
    TooManyMessages,
    /// More log entries than a frame may hold.
    #[error("the frame holds {items} entries; at most {FRAME_ITEMS_MAX} are allowed")]
    TooManyItems {
        /// Log entries and bytes of voter lists.
        items: usize,
    },
    /// The payload is not what the protocol says.
    #[error("the frame's payload is malformed")]
    Malformed,
}

/// A checked header.
#[derive(Clone, Copy, Debug)]
struct Header {
    length: u32,
    crc: u32,
    flags: u8,
}

/// Turns one connection's bytes into frames.
///
/// Invariant: `pending` holds at most one frame, and less than a whole one between calls.
#[derive(Debug)]
pub struct Decoder {
    features: Features,
    pending: BytesMut,
    failed: Option<FrameError>,
    #[cfg(feature = "planted")]
    careless: bool,
}

impl Decoder {
    /// A decoder for a connection that negotiated `features`.
    pub fn new(features: Features) -> Decoder {
        Decoder {
            features,
            pending: BytesMut::new(),
            failed: None,
            #[cfg(feature = "planted")]
            careless: false,
        }
    }

    /// A decoder with a bug: it takes frames whatever their checksum says.
    #[cfg(feature = "planted")]
    pub fn careless(features: Features) -> Decoder {
        Decoder { careless: true, ..Decoder::new(features) }
    }

    #[cfg(feature = "planted")]
    fn ignores_checksums(&self) -> bool {
        self.careless
    }

    #[cfg(not(feature = "planted"))]
    fn ignores_checksums(&self) -> bool {
        false
    }

    /// Takes bytes off the front of `input` until one frame is whole, and answers its messages.
    /// `None` means that all of `input` was taken. Call again, with the same `input`, until `None`.
    ///
    /// # Errors
    /// [`FrameError`], and the same one again on every later call.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<PeerMessage>>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let decoded = self.advance(input);
        if let Err(error) = &decoded {
            self.failed = Some(error.clone());
            self.pending = BytesMut::new();
        }
        assert!(self.pending.len() < HEADER_BYTES + PAYLOAD_BYTES_MAX);
        decoded
    }

    /// Whether part of a frame has come: the connection must not end here.
    pub fn is_inside_frame(&self) -> bool {
        !self.pending.is_empty()
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Vec<PeerMessage>>, FrameError> {
        if !self.fill(HEADER_BYTES, input) {
            return Ok(None);
        }
        let header = self.header()?;
        if !self.fill(HEADER_BYTES + header.length as usize, input) {
            return Ok(None);
        }
        let payload = self.pending.split().freeze().split_off(HEADER_BYTES);
        let computed = checksum(header.length.to_le_bytes(), header.flags, &payload);
        if computed != header.crc && !self.ignores_checksums() {
            return Err(FrameError::BadChecksum { stated: header.crc, computed });
        }
        let payload = if header.flags & FLAG_LZ4 == 0 { payload } else { decompress(&payload)? };
        messages(&payload).map(Some)
    }

    /// Moves bytes from `input` until `pending` has `bytes`; false if there are not enough.
    fn fill(&mut self, bytes: usize, input: &mut &[u8]) -> bool {
        let missing = bytes.saturating_sub(self.pending.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.pending.extend_from_slice(taken);
        *input = rest;
        self.pending.len() >= bytes
    }

    fn header(&self) -> Result<Header, FrameError> {
        let field = |at: usize| u32::from_le_bytes(self.pending[at..at + 4].try_into().expect("four bytes"));
        let header = Header { length: field(0), crc: field(4), flags: self.pending[8] };
        if header.length == 0 {
            return Err(FrameError::BadLength);
        }
        if header.length as usize > PAYLOAD_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: header.length.into() });
        }
        if header.flags & !FLAG_LZ4 != 0 {
            return Err(FrameError::UnknownFlags { flags: header.flags });
        }
        if header.flags & FLAG_LZ4 != 0 && !self.features.contains(Features::LZ4) {
            return Err(FrameError::NotNegotiated);
        }
        Ok(header)
    }
}

fn decompress(payload: &[u8]) -> Result<Bytes, FrameError> {
    let (size, block) = payload.split_first_chunk::<LZ4_SIZE_BYTES>().ok_or(FrameError::BadCompression)?;
    let size = u32::from_le_bytes(*size) as usize;
    if size > PAYLOAD_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: size as u64 });
    }
    if size == 0 || size > block.len().saturating_mul(LZ4_RATIO_MAX) {
        return Err(FrameError::BadCompression);
    }
    let mut plain = vec![0; size];
    match lz4_flex::block::decompress_into(block, &mut plain) {
        Ok(written) if written == size => Ok(plain.into()),
        Ok(_) | Err(_) => Err(FrameError::BadCompression),
    }
}

fn messages(payload: &Bytes) -> Result<Vec<PeerMessage>, FrameError> {
    let contents = scan::contents(payload, FRAME_MESSAGES_MAX).map_err(|_| FrameError::Malformed)?;
    if contents.messages.len() > FRAME_MESSAGES_MAX {
        return Err(FrameError::TooManyMessages);
    }
    if contents.items > FRAME_ITEMS_MAX {
        return Err(FrameError::TooManyItems { items: contents.items });
    }
    let decode = |message: Bytes| PeerMessage::decode(message).map_err(|_| FrameError::Malformed);
    contents.messages.into_iter().map(decode).collect()
}
