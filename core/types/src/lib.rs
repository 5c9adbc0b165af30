//! The words every other room uses: identifiers, time, log entries, limits, receipts and errors.
//!
//! Nothing here performs I/O, reads a clock or allocates without a stated bound.

pub mod clock;
pub mod contract;
pub mod entry;
pub mod error;
pub mod ids;
pub mod lease;
pub mod limits;
pub mod marks;
pub mod plan;
pub mod receipt;
pub mod session;
pub mod shard;
pub mod time;
pub mod timing;

pub use clock::{Hlc, HybridClock};
pub use contract::Contract;
pub use entry::{Entry, GroupWrite, HardState, LogPosition, WriteBatch, WriteSeq};
pub use error::{Applied, ErrorCode, Problem};
pub use ids::{ClusterId, GroupId, NodeId};
pub use lease::LeaseId;
pub use limits::Limits;
pub use receipt::{Acks, Degraded, Guarantee, ReadLease, Receipt, Role};
pub use session::SessionToken;
pub use shard::{has_tag, shard_of};
pub use time::Now;
pub use timing::{FORWARD_SILENCE_MS, Timing};
