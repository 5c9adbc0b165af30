//! Typed values: registers, counters, sets, maps and sorted sets, with one set of operations.
//!
//! Each is a CRDT with causal context (Almeida, Shoker and Baquero 2018, "Delta state replicated data types"): a
//! *store* of what is there, each piece marked with the dot of the operation that put it there, and a *context*, the
//! history of all operations that the value has seen. A piece that one side has and the other lacks was either
//! removed there, if the other's context has its dot, or is new to it.
//!
//! Guarantee G-OPERATE, of one value: what operations do depends on the value, the operations and their stamp alone, and all of
//! them happen or none. No keyspace merges yet; merging is commutative, associative and idempotent, and loses no operation
//! that either side has seen; of an addition and a concurrent removal the addition wins.
//!
//! In a raft keyspace operations are applied in log order, with the group and revision as dot: there is one actor, so
//! that each piece has one dot, and merging is never needed. Leaderless keyspaces are to merge.
//!
//! Not promised of merging: that a reset of a counter undoes what a replica had added, if that replica adds more at the
//! same time; that both of two concurrent assignments, or changes of one score, survive (the greater stamp wins).

pub mod codec;
mod counter;
mod dots;
mod map;
mod operation;
mod read;
mod register;
mod score;
mod set;
mod sorted_set;
mod value;

pub use counter::Counter;
pub use map::{Field, Map};
pub use operation::{Answer, OPERATIONS_MAX, Operation, Refusal};
pub use read::{Part, Shown};
pub use register::Register;
pub use score::{NotFinite, Score};
pub use set::Set;
pub use sorted_set::SortedSet;
pub use types::contract::Values as Kind;
pub use value::{Body, MEMBER_BYTES_MAX, MEMBERS_MAX, Stamp, Value, number};
