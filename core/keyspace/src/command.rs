//! What can be asked of a keyspace, and what it answers.

use storage::Row;
use types::LeaseId;
use values::{Answer, Operation, Part, Refusal};

use crate::history::NotReadable;
use crate::lease::{LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery};
use crate::operate::ValueRow;
use crate::txn::{Txn, TxnOutcome};

/// What a write demands of the key's present state (compare-and-set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    #[default]
    Anything,
    /// The key does not exist (`If-None-Match: *`).
    Absent,
    /// The key exists, at any revision (`If-Match: *`).
    Present,
    /// The key's modification revision is this one (`If-Match: "7"`). Never 0.
    Revision(u64),
}

/// A change; replicated, then applied by every replica in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets a key.
    Put {
        /// The key, 1 to [`types::limits::KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// The value, up to [`types::limits::VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
        /// Condition.
        expect: Expect,
        /// The lease that it is bound to from now on; `None`: to none.
        lease: Option<LeaseId>,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Vec<u8>,
        /// Condition.
        expect: Expect,
    },
    /// Changes the typed value of a key, which is made if there is none.
    Operate {
        /// The key.
        key: Vec<u8>,
        /// What is done, in order; all of it or nothing.
        operations: Vec<Operation>,
        /// Condition.
        expect: Expect,
    },
    /// Many keys at once.
    Txn(Txn),
    /// Gives up the history up to a revision.
    Compact {
        /// The newest revision that can then not be watched any more.
        revision: u64,
        /// The shard whose revision it is; `None` where there is but one.
        shard: Option<u32>,
    },
    /// Removes records that no reader can ask for any more: a leader proposes it, no client can.
    Reclaim {
        /// Most events to remove, up to [`crate::history::RECLAIM_EVENTS_MAX`].
        events_max: u32,
    },
    /// Of leases and locks.
    Lease(LeaseCommand),
}

/// What applying a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was set.
    Put {
        /// Its revision now, which is also the keyspace's.
        revision: u64,
        /// Revision of its creation.
        create_revision: u64,
        /// Changes since its creation, from 1.
        version: u64,
    },
    /// The key is gone.
    Deleted {
        /// The keyspace's revision after it.
        revision: u64,
        /// Whether there was such a key. If not, no revision was used.
        existed: bool,
    },
    /// The condition did not hold; nothing changed.
    Conflict {
        /// The keyspace's revision.
        revision: u64,
        /// The key's modification revision; 0 when it does not exist.
        current: u64,
    },
    /// The keyspace would have had more bytes than its quota; nothing changed.
    OverQuota {
        /// The keyspace's revision.
        revision: u64,
        /// Bytes of keys and values that it has.
        bytes: u64,
        /// Bytes that it may have.
        quota_bytes: u64,
    },
    /// The operations were done.
    Operated {
        /// The key's revision now, which is also the keyspace's.
        revision: u64,
        /// Revision of its creation.
        create_revision: u64,
        /// Changes since its creation, from 1.
        version: u64,
        /// Of each operation, in order.
        answers: Vec<Answer>,
    },
    /// No operation was done.
    OperateRefused {
        /// The keyspace's revision.
        revision: u64,
        /// Why.
        refusal: Refusal,
    },
    /// For [`Command::Txn`].
    Txn(TxnOutcome),
    /// For [`Command::Compact`].
    Compacted {
        /// The keyspace's revision.
        revision: u64,
        /// Revisions above it can be watched.
        floor: u64,
        /// The revision asked for does not exist yet; nothing changed.
        ahead: bool,
    },
    /// For [`Command::Reclaim`].
    Reclaimed {
        /// The keyspace's revision.
        revision: u64,
        /// Events removed.
        events: u64,
        /// Nothing is left to remove.
        done: bool,
    },
    /// For [`Command::Lease`], and for what names a lease that cannot have the key.
    Lease(LeaseOutcome),
    /// The entry's fence is not that of the lock's holder; nothing changed.
    Fenced {
        /// The keyspace's revision.
        revision: u64,
        /// The holder's token, if anyone holds the lock.
        current: Option<u64>,
    },
}

impl Outcome {
    /// The keyspace's revision after the command.
    pub fn revision(&self) -> u64 {
        match self {
            Outcome::Put { revision, .. }
            | Outcome::Deleted { revision, .. }
            | Outcome::Conflict { revision, .. }
            | Outcome::OverQuota { revision, .. }
            | Outcome::Compacted { revision, .. }
            | Outcome::Reclaimed { revision, .. }
            | Outcome::Fenced { revision, .. }
            | Outcome::Operated { revision, .. }
            | Outcome::OperateRefused { revision, .. }
            | Outcome::Txn(TxnOutcome::Done { revision, .. } | TxnOutcome::Refused { revision, .. }) => {
                *revision
            }
            Outcome::Lease(outcome) => outcome.revision(),
        }
    }
}

/// Keys from `start` up to, not including, `end`; no end means to the last key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Vec<u8>,
    /// End, exclusive.
    pub end: Option<Vec<u8>>,
}

/// A question; answered by one replica, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One key.
    Get {
        /// The key.
        key: Vec<u8>,
    },
    /// A page of a range, in key order.
    Range {
        /// Which keys.
        range: KeyRange,
        /// Most items to answer, 1 to [`types::limits::RANGE_ITEMS_MAX`].
        limit: u32,
        /// Leave the values out.
        keys_only: bool,
    },
    /// The typed value of a key, or a part of it.
    Value {
        /// The key.
        key: Vec<u8>,
        /// What of it.
        part: Part,
    },
    /// A transaction that only reads.
    Txn(Txn),
    /// A key or a range as it was.
    At {
        /// At this revision.
        revision: u64,
        /// [`Query::Get`] or [`Query::Range`].
        query: Box<Query>,
    },
    /// Of leases and locks.
    Lease(LeaseQuery),
}

/// A key with its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Vec<u8>,
    /// Its row; the value is empty when it was not asked for.
    pub row: Row,
    /// Length of the value in bytes, also when it was left out.
    pub value_bytes: u64,
}

/// What a query answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// For [`Query::Get`].
    Get {
        /// The keyspace's revision read at.
        revision: u64,
        /// The row, if there is such a key.
        row: Option<Row>,
    },
    /// For [`Query::Range`].
    Range {
        /// The keyspace's revision read at.
        revision: u64,
        /// The page.
        items: Vec<Item>,
        /// Where the next page starts; `None` after the last.
        next: Option<Vec<u8>>,
    },
    /// For [`Query::Value`].
    Value {
        /// The keyspace's revision read at.
        revision: u64,
        /// The key, if there is one.
        row: Option<ValueRow>,
    },
    /// For [`Query::Txn`].
    Txn(TxnOutcome),
    /// For [`Query::At`], when there is no such revision any more, or yet.
    NotReadable(NotReadable),
    /// For [`Query::Lease`].
    Lease(LeaseAnswer),
}

impl QueryAnswer {
    /// The keyspace's revision read at.
    pub fn revision(&self) -> u64 {
        match self {
            QueryAnswer::Get { revision, .. }
            | QueryAnswer::Range { revision, .. }
            | QueryAnswer::NotReadable(NotReadable { revision, .. })
            | QueryAnswer::Value { revision, .. }
            | QueryAnswer::Txn(TxnOutcome::Done { revision, .. } | TxnOutcome::Refused { revision, .. }) => {
                *revision
            }
            QueryAnswer::Lease(answer) => answer.revision(),
        }
    }
}
