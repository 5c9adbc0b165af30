//! The replicated state machine of one group: revisions over keys.
//!
//! Guarantee G-APPLY: two replicas that applied the same entries have the same rows and the same
//! state hash. Nothing here reads a clock, a random number or anything but its arguments.

pub mod apply;
pub mod codec;
pub mod command;
pub mod entry;
mod frontier;
pub mod history;
pub mod lease;
mod messages;
mod operate;
mod pages;
mod placement;
pub mod prefix;
pub mod query;
mod records;
mod remembered;
mod term_table;
pub mod txn;
pub mod validate;

pub use apply::{ApplyError, Effect, apply};
pub use codec::DecodeError;
pub use command::{Command, Expect, Item, KeyRange, Outcome, Query, QueryAnswer};
pub use entry::{Early, IdempotencyKey, LogCommand, Once, Terms};
pub use frontier::frontier;
pub use lease::{
    Fence, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LeaseRecord, LockHolder, LockWait,
};
pub use operate::ValueRow;
pub use pages::{Page, merge_pages, shard_limit};
pub use placement::{Placement, checked_shard};
pub use prefix::prefix_range;
pub use query::answer;
pub use term_table::{TERMS_MAX, TermOf, acknowledges_early, term_of};
pub use txn::{Compare, Keys, Relation, Target, Txn, TxnOp, TxnOutcome, TxnRefusal, TxnResult};
