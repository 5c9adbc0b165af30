//! One Raft group: a consensus engine wrapped so that time and randomness come in from outside.
//!
//! The engine is the `raft` crate. [`RaftGroup`] drives it: the caller brings ticks, peers'
//! messages and proposals, and drains [`GroupOutput`]; nothing here reads a clock, a disk or a
//! socket. Words and rules are those of Ongaro's thesis "Consensus: Bridging Theory and Practice".
//!
//! Guarantees, each with a script under `testdata/` or a property under `tests/`:
//! - G-ELECTION: at most one leader per term (thesis 3.6);
//! - G-COMMIT: a committed entry is on the disks of a majority, and in every later leader's log (thesis 3.6);
//! - votes and acknowledgements leave only after what they promise is durable (thesis 3.8, 10.2.1);
//! - a read index is never behind what was committed when the read was asked for (thesis 6.4);
//! - a leader that has a lease is the only one, within a stated bound of clocks (`read_lease`);
//! - no peer message panics the process, and none reaches a Protocol Buffers parser of the engine;
//! - the same inputs with the same seed give the same outputs.
//!
//! Membership is fixed when the group is made.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("feature `planted` contains deliberate bugs: it needs debug assertions");

mod cache;
mod check;
mod config;
mod convert;
mod group;
mod output;
#[cfg(feature = "planted")]
mod planted;
mod read_lease;
mod ready;
mod status;
mod timeout;

pub use config::{GroupConfig, RecoverError, RecoveredLog};
pub use group::{ProposeError, Proposed, RaftGroup, ReadError};
pub use output::{GroupOutput, GroupReady};
#[cfg(feature = "planted")]
pub use planted::Planted;
pub use read_lease::LeasedRead;
pub use status::{GroupStatus, Progress};

pub use check::{CONTEXT_BYTES_MAX, INDEX_MAX, StepError, TERM_MAX};
pub use group::READS_WAITING_MAX;
