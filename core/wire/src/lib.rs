//! The peer protocol as values: messages ([`message`]), the handshake that opens a connection
//! ([`hello`]), and the frames that carry messages after it ([`frame`]). No socket is touched here.
//!
//! Guarantees: bytes from a peer are errors, never panics; nothing is allocated from a length field
//! before that length was checked against a stated limit; a frame whose bytes changed on the way is
//! refused by its checksum before anything in it is interpreted.
//!
//! Byte drawings and the rules by which versions evolve: `docs/internals/wire-format.md`.

pub mod decoder;
pub mod features;
pub mod frame;
pub mod hello;
pub mod message;
mod scan;

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("feature `planted` contains deliberate bugs: it needs debug assertions");

pub use decoder::{Decoder, FrameError};
pub use features::Features;
pub use frame::{EncodedFrame, FrameBuilder, MessageTooLarge, Push, encode_frame};
pub use hello::{Hello, HelloError, Session, negotiate};
pub use message::{PeerBody, PeerMessage};
