//! The write-ahead log: the source of truth for the entries and hard states of all groups of a node.
//!
//! Guarantee G-LOG-DURABLE: what [`Wal::append`] answered `Ok` to is recovered, whole and in order,
//! by every later [`Wal::open`], until a segment is freed by [`Wal::retain`]. Recovery adds at most
//! the one append that a crash interrupted. Bytes that were durable and are now damaged are refused,
//! with the file and offset, and nothing is rewritten.
//!
//! Not promised: damage confined to the very last frame of the log looks like a torn write, and is
//! cut off; so does the loss of whole segment files at either end.
//!
//! The byte layout, and what each kind of crash leaves, are in `docs/internals/log-format.md`.

mod error;
mod groups;
mod layout;
mod log;
#[cfg(feature = "planted")]
mod planted;
mod record;
mod recovery;
mod spares;

pub use error::{AppendError, OpenError};
pub use layout::{FORMAT_VERSION, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
pub use log::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Wal, WalOptions, WalStats};
#[cfg(feature = "planted")]
pub use planted::AtDamage;
pub use recovery::{Recovered, RecoveredGroup, TornTail};
pub use spares::SPARES_MAX;
