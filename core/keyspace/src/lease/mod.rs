//! Leases, and the locks and elections that rest on them.
//!
//! A **lease** is a promise for a time: keys that are bound to it are removed when it ends. A **lock** is the set of
//! keys `NAME/ID`, where ID is the lease of whoever made the key, in hexadecimal, as etcd's recipes have it; an
//! **election** is a lock whose keys have values. The first of them in the order of creation holds the lock, and
//! its creation revision is the **fencing token**.
//!
//! Guarantee G-LEASE, of keys: a key is bound to at most one lease, and while a lease lives, so do the keys bound to
//! it, unless somebody changes them; the entry that ends the lease removes them all, at one revision.
//! Guarantee G-FENCE, of tokens: those of a lock's holders only grow, in the order of the log. A key takes its place in
//! the queue as it is created, never later, so that whoever comes later has a greater token.
//! Of writes: an entry with a fence changes nothing unless its token is the present holder's.
//!
//! Nothing here knows the time: a leader counts it, and says in the log when a lease has ended (see
//! `core/node/src/leases.rs`). The entry names the term whose clock said so and the grant that it means: in any
//! other term, or of a lease that was granted anew under its id, it does nothing.
//!
//! The records are rows with reserved keys, as those of `remembered` are; see `records`.

mod codec;
mod fence;
mod messages;
mod queue;
mod records;
mod refusal;
mod run;

pub use fence::Fence;
pub use queue::{lock_changes, lock_key};
pub use records::{LeaseRecord, leases};
pub use refusal::{lease_not_found, refusal};

pub(crate) use codec::{
    decode_answer, decode_command, decode_outcome, decode_query, encode_answer, encode_command,
    encode_outcome, encode_query,
};
pub(crate) use fence::refuse as refuse_fenced;
pub(crate) use messages::FenceBody;
pub(crate) use records::{Bound, Leasing, changed, refuse as refuse_leased};
pub(crate) use refusal::{same_shard, validate_leased};
pub(crate) use run::{answer, run};

use types::LeaseId;

/// A change of leases or locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseCommand {
    /// Begins a lease.
    Grant {
        /// Its id; `None`: one that the store chooses.
        id: Option<LeaseId>,
        /// How long it lives unless it is kept alive, in milliseconds.
        ttl_ms: u64,
        /// If the store chooses the id: the lease can have keys of the shard that this one is in.
        beside: Vec<u8>,
    },
    /// Ends a lease.
    Revoke {
        /// Which.
        id: LeaseId,
    },
    /// The time of a lease is up. A leader proposes it, no client can.
    Expire {
        /// Which.
        id: LeaseId,
        /// The entry that granted it.
        granted: u64,
        /// The term of the leader whose clock says so.
        term: u64,
    },
    /// Takes a place in the queue of a lock; one that the lease has already is kept, with its token.
    Enter {
        /// The lock.
        name: Vec<u8>,
        /// The lease that the place is bound to.
        lease: LeaseId,
        /// The value of the key; `None`: as it is, or empty.
        value: Option<Vec<u8>>,
    },
}

/// What a change of leases or locks did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// For [`LeaseCommand::Grant`].
    Granted {
        /// The keyspace's revision.
        revision: u64,
        /// The lease.
        id: LeaseId,
        /// How long it lives unless it is kept alive.
        ttl_ms: u64,
        /// The entry that granted it.
        granted: u64,
    },
    /// For [`LeaseCommand::Revoke`] and [`LeaseCommand::Expire`].
    Ended {
        /// The keyspace's revision.
        revision: u64,
        /// The lease.
        id: LeaseId,
        /// How many keys went with it.
        keys: u64,
    },
    /// For [`LeaseCommand::Enter`].
    Entered {
        /// The keyspace's revision.
        revision: u64,
        /// The fencing token: the revision of the key's creation.
        token: u64,
        /// Whether it holds the lock now.
        held: bool,
    },
    /// There is no such lease; nothing changed.
    NotFound {
        /// The keyspace's revision.
        revision: u64,
        /// The lease.
        id: LeaseId,
    },
    /// There is such a lease already; nothing changed.
    Exists {
        /// The keyspace's revision.
        revision: u64,
        /// The lease.
        id: LeaseId,
    },
    /// A limit is reached; nothing changed.
    Full {
        /// The keyspace's revision.
        revision: u64,
        /// Which limit: of the leases of the group, or of the keys of this lease.
        id: Option<LeaseId>,
    },
}

impl LeaseOutcome {
    /// The keyspace's revision after the command.
    pub fn revision(&self) -> u64 {
        match self {
            LeaseOutcome::Granted { revision, .. }
            | LeaseOutcome::Ended { revision, .. }
            | LeaseOutcome::Entered { revision, .. }
            | LeaseOutcome::NotFound { revision, .. }
            | LeaseOutcome::Exists { revision, .. }
            | LeaseOutcome::Full { revision, .. } => *revision,
        }
    }
}

/// A question about leases or locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseQuery {
    /// Keeps a lease alive for its whole time from the moment at which the leader asked whether it still leads.
    /// A question, since nothing is written.
    KeepAlive {
        /// Which.
        id: LeaseId,
    },
    /// One lease. Answered by the leader, who alone knows the time that it has left.
    Show {
        /// Which.
        id: LeaseId,
    },
    /// The leases of a shard, in order of their ids.
    List {
        /// The shard.
        shard: u32,
        /// Only those after this one.
        after: Option<LeaseId>,
        /// Most of them, 1 to [`types::limits::RANGE_ITEMS_MAX`].
        limit: u32,
    },
    /// Who holds a lock, and how many wait.
    Lock {
        /// The lock.
        name: Vec<u8>,
        /// When to answer.
        wait: LockWait,
    },
}

/// When a question about a lock is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// At once.
    No,
    /// Once the place with this token holds the lock, or is gone.
    Turn {
        /// The token.
        token: u64,
    },
    /// Once the holder, or the value of its key, is another than this; zeros: there is none.
    Change {
        /// The token of the holder that is known.
        token: u64,
        /// The last change of its key that is known.
        mod_revision: u64,
    },
}

/// The holder of a lock: the leader of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// The fencing token.
    pub token: u64,
    /// The lease that its place is bound to.
    pub lease: LeaseId,
    /// The last change of its key.
    pub mod_revision: u64,
    /// The value of its key.
    pub value: Vec<u8>,
}

/// What a question about leases or locks answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// For [`LeaseQuery::KeepAlive`] and [`LeaseQuery::Show`].
    Lease {
        /// The keyspace's revision read at.
        revision: u64,
        /// The lease.
        id: LeaseId,
        /// What it is; `None`: there is no such lease.
        lease: Option<LeaseRecord>,
        /// It lives at least so long from when the request was sent, in milliseconds; `None` where it is not known.
        remaining_ms: Option<u64>,
        /// The keys bound to it, where they were asked for.
        keys: Vec<Vec<u8>>,
    },
    /// For [`LeaseQuery::List`].
    List {
        /// The keyspace's revision read at.
        revision: u64,
        /// The page.
        leases: Vec<(LeaseId, LeaseRecord)>,
        /// Whether there are more after these.
        more: bool,
    },
    /// For [`LeaseQuery::Lock`].
    Lock {
        /// The keyspace's revision read at.
        revision: u64,
        /// Who holds it.
        holder: Option<LockHolder>,
        /// How many wait, up to [`types::limits::LOCK_QUEUE_COUNT_MAX`].
        waiters: u64,
        /// Whether the place that was waited for is still there.
        queued: bool,
    },
}

impl LeaseAnswer {
    /// The keyspace's revision read at.
    pub fn revision(&self) -> u64 {
        match self {
            LeaseAnswer::Lease { revision, .. }
            | LeaseAnswer::List { revision, .. }
            | LeaseAnswer::Lock { revision, .. } => *revision,
        }
    }

    /// Whether this is what the question waits for.
    pub fn ends_wait(&self, query: &LeaseQuery) -> bool {
        let LeaseQuery::Lock { wait, .. } = query else { return true };
        let LeaseAnswer::Lock { holder, queued, .. } = self else { return true };
        let seen = holder.as_ref().map_or((0, 0), |holder| (holder.token, holder.mod_revision));
        match *wait {
            LockWait::No => true,
            LockWait::Turn { token } => seen.0 == token || !queued,
            LockWait::Change { token, mod_revision } => seen != (token, mod_revision),
        }
    }
}
