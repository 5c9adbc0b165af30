//! One node: many Raft groups, the state machines over them, and the clients that wait, behind
//! [`Node::handle`] and [`Node::poll`]. The server and the simulator drive this same code.
//!
//! Guarantee G-DETERMINISTIC: the same inputs, times and seed give the same outputs, to the byte. So a failure that was seen once
//! in the simulator can be seen again.
//!
//! The driver's loop: call [`Node::handle`] with whatever happened, any number of times; then
//! [`Node::poll`] once, and carry out every output in order. Nothing here blocks except reads of the
//! state store; nothing reads a clock, opens a file or draws entropy.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("feature `planted` contains deliberate bugs: it needs debug assertions");

mod acquire;
pub mod api;
pub mod catalog;
mod codec;
mod early;
mod forwards;
mod freshness;
mod gather;
mod gone;
mod group;
mod hand_over;
mod held;
mod hlc;
mod keeping;
mod lag;
mod leases;
pub mod lost;
mod meta;
mod node;
mod parked;
#[cfg(feature = "planted")]
mod planted;
mod problems;
mod pump;
mod read_leases;
mod reads;
mod requests;
mod routing;
mod snapshots;
mod state_jobs;
pub mod status;
mod typed;
pub mod watch;
mod writes;

pub use acquire::{Acquire, Acquired, Under, leave, proclaim};
pub use api::{
    CLIENT_BYTES_MAX, Fatal, Input, NodeConfig, NodeEvent, Op, Options, Output, Reply, ReplyBody, Request,
};
pub use catalog::{Altered, CatalogAnswer, CatalogOp, KeyspaceInfo};
pub use early::is_unconditional;
pub use node::{META_NAME, Node};
pub use status::{GroupStatus, NodeStatus, ReplicaStatus};
pub use types::Timing;
pub use watch::{WatchEvent, WatchRequest};
