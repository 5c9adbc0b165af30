//! Transactions over many keys of one group: compares, then one of two lists of operations, in etcd's
//! model.
//!
//! Guarantee G-TXN: all of a transaction happens at one point of the log, or nothing does. Its changes
//! share one revision. All compares, those of nested transactions included, are decided on the state
//! before it; operations run in order, and each sees what those before it did. No key is changed
//! twice. What it may touch is bounded, and the bounds depend on rows and entry alone, so that every
//! replica refuses alike.

pub(crate) mod codec;
mod messages;
mod run;
mod staged;
mod validate;

pub(crate) use run::{apply, read};

use storage::Row;
use types::LeaseId;
use types::limits::{OUTCOME_BYTES_MAX, TXN_KEYS_MAX, TXN_READ_BYTES_MAX, TXN_SUPERSEDED_BYTES_MAX};

use crate::command::{Item, KeyRange};

/// One key, or all keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This key.
    One(Vec<u8>),
    /// These keys.
    Range(KeyRange),
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The version; 0 for a key that does not exist.
    Version(u64),
    /// The revision of the key's creation; 0 for a key that does not exist.
    CreateRevision(u64),
    /// The revision of the key's last change; 0 for a key that does not exist.
    ModRevision(u64),
    /// The value, in the order of its bytes. Of a key that does not exist no such compare holds.
    Value(Vec<u8>),
}

/// How what is found must relate to what is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Found is equal.
    Equal,
    /// Found differs.
    NotEqual,
    /// Found is greater.
    Greater,
    /// Found is less.
    Less,
}

/// A condition. On a range it must hold for every key in it; a range without keys compares as a key that
/// does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which keys.
    pub keys: Keys,
    /// What of them.
    pub target: Target,
    /// How.
    pub relation: Relation,
}

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The lease that it is bound to from now on; `None`: to none.
        lease: Option<LeaseId>,
    },
    /// Adds to the decimal whole number that a key holds; a key that does not exist counts as 0, and its lease
    /// stays as it is. Sent
    /// twice, it adds twice: not safe to retry when the outcome is unknown.
    Increment {
        /// The key.
        key: Vec<u8>,
        /// What is added.
        by: i64,
    },
    /// Reads a key.
    Get {
        /// The key.
        key: Vec<u8>,
    },
    /// Reads a page of a range, in key order.
    Range {
        /// Which keys.
        range: KeyRange,
        /// Most items, 1 to [`types::limits::RANGE_ITEMS_MAX`].
        limit: u32,
        /// Leave the values out.
        keys_only: bool,
    },
    /// Removes keys; those that are not there are no error.
    Delete {
        /// Which.
        keys: Keys,
    },
    /// A transaction inside; its compares are decided together with the outer ones.
    Txn(Txn),
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// If all of these hold (none always hold) ...
    pub compares: Vec<Compare>,
    /// ... these are done,
    pub then: Vec<TxnOp>,
    /// else these.
    pub otherwise: Vec<TxnOp>,
}

impl Txn {
    /// Whether neither branch, at any depth, changes anything.
    pub fn is_read_only(&self) -> bool {
        self.then.iter().chain(&self.otherwise).all(|op| match op {
            TxnOp::Put { .. } | TxnOp::Increment { .. } | TxnOp::Delete { .. } => false,
            TxnOp::Get { .. } | TxnOp::Range { .. } => true,
            TxnOp::Txn(txn) => txn.is_read_only(),
        })
    }
}

/// What a step answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnResult {
    /// For [`TxnOp::Put`]. The key's modification revision is the transaction's.
    Put {
        /// Revision of the key's creation.
        create_revision: u64,
        /// Changes since its creation, from 1.
        version: u64,
    },
    /// For [`TxnOp::Increment`].
    Increment {
        /// The number now.
        value: i64,
        /// Revision of the key's creation.
        create_revision: u64,
        /// Changes since its creation, from 1.
        version: u64,
    },
    /// For [`TxnOp::Get`].
    Get {
        /// The row, if there is such a key.
        row: Option<Row>,
    },
    /// For [`TxnOp::Range`].
    Range {
        /// The page.
        items: Vec<Item>,
        /// Where the next page starts; `None` after the last.
        next: Option<Vec<u8>>,
    },
    /// For [`TxnOp::Delete`].
    Deleted {
        /// How many keys there were.
        keys: u64,
    },
    /// For [`TxnOp::Txn`].
    Txn {
        /// Whether its compares held.
        succeeded: bool,
        /// Of the branch that was taken, in order.
        results: Vec<TxnResult>,
    },
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// One of its branches, whole.
    Done {
        /// The keyspace's revision after it: a new one exactly if something changed.
        revision: u64,
        /// Whether its compares held.
        succeeded: bool,
        /// Of the branch that was taken, in order.
        results: Vec<TxnResult>,
    },
    /// Nothing.
    Refused {
        /// The keyspace's revision.
        revision: u64,
        /// Why.
        refusal: TxnRefusal,
    },
}

/// Why a transaction did nothing, found only as it ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxnRefusal {
    /// See [`TXN_KEYS_MAX`].
    #[error("the transaction's ranges hold more than {TXN_KEYS_MAX} keys")]
    TooManyKeys,
    /// See [`TXN_READ_BYTES_MAX`].
    #[error("the transaction reads more than {TXN_READ_BYTES_MAX} bytes")]
    TooManyBytes,
    /// See [`TXN_SUPERSEDED_BYTES_MAX`].
    #[error("the transaction replaces or deletes more than {TXN_SUPERSEDED_BYTES_MAX} bytes of values")]
    SupersedesTooMuch,
    /// See [`OUTCOME_BYTES_MAX`]; only under an idempotency key.
    #[error(
        "the transaction's answer is longer than the {OUTCOME_BYTES_MAX} bytes remembered under an idempotency key"
    )]
    OutcomeTooLarge,
    /// The value is not a decimal whole number within 64 bits.
    #[error("the key {} does not hold a decimal whole number of 64 bits", key.escape_ascii())]
    NotANumber {
        /// The key.
        key: Vec<u8>,
    },
    /// The sum does not fit.
    #[error("adding to the key {} leaves the range of 64 bits", key.escape_ascii())]
    Overflow {
        /// The key.
        key: Vec<u8>,
    },
}

impl TxnRefusal {
    /// What to do next, for a person.
    pub fn next_step(&self) -> &'static str {
        match self {
            TxnRefusal::TooManyKeys => "use smaller ranges, in several transactions",
            TxnRefusal::TooManyBytes => {
                "read less at once, or keys only; compare revisions instead of values"
            }
            TxnRefusal::SupersedesTooMuch => "delete less at once, in several transactions",
            TxnRefusal::OutcomeTooLarge => "read less in it, or send it without an idempotency key",
            TxnRefusal::NotANumber { .. } => "put a number there first, or name another key",
            TxnRefusal::Overflow { .. } => "add less",
        }
    }
}
