//! Contracts: what a keyspace promises. The words, what can hold together ([`Contract::check`]), what
//! this version keeps ([`Contract::unsupported`]), and what follows from it in plain words
//! ([`Contract::explain`]).

mod alter;
mod check;
mod explain;
mod parse;
mod support;

pub use alter::Changes;
pub use check::Refusal;
pub use explain::Explanation;
pub use support::Unsupported;

use std::fmt;

use crate::{ErrorCode, Guarantee, Problem, limits::KEYSPACE_NAME_BYTES_MAX};

/// A set of words, each with its name in contracts.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word in contracts.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// How replicas agree.
    Replication {
        /// A leader orders all changes.
        Raft = "raft",
        /// No leader; linearizable per key, compare-and-set only (CASPaxos).
        Paxos = "paxos",
        /// Every replica takes writes; values merge.
        Leaderless = "leaderless",
    }
}

words! {
    /// What happens on a side of a partition that has no majority.
    OnPartition {
        /// It answers `NO_QUORUM`.
        Reject = "reject",
        /// It serves; the sides reconcile when the partition heals.
        Accept = "accept",
        /// After a while it serves reads labelled with their age, and takes writes as provisional.
        Degrade = "degrade",
    }
}

words! {
    /// When a write is acknowledged.
    Ack {
        /// At once: fire and forget.
        None = "none",
        /// Durable on one replica.
        Leader = "leader",
        /// Durable on a majority.
        Quorum = "quorum",
        /// Durable on every replica.
        All = "all",
    }
}

words! {
    /// What values are.
    Values {
        /// Bytes.
        Register = "register",
        /// A number that is added to.
        Counter = "counter",
        /// A set of members.
        Set = "set",
        /// Fields with values.
        Map = "map",
        /// Members with scores.
        SortedSet = "sorted_set",
    }
}

words! {
    /// What becomes of a provisional write when the partition heals.
    Reconcile {
        /// It is merged with what the majority wrote.
        Merge = "merge",
        /// It is applied after what the majority wrote.
        Apply = "apply",
        /// It is refused if the majority wrote the same key.
        Refuse = "refuse",
    }
}

/// What a read guarantees unless it asks for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Linearizable.
    Strong,
    /// At least everything that the session has seen.
    Causal,
    /// No staler than this many milliseconds, or refused.
    Bounded(u64),
    /// Whatever the replica asked has.
    Eventual,
}

impl Read {
    /// What an answer to such a read guarantees.
    pub fn guarantee(self) -> Guarantee {
        match self {
            Read::Strong => Guarantee::Linearizable,
            Read::Causal => Guarantee::Causal,
            Read::Bounded(_) => Guarantee::Bounded,
            Read::Eventual => Guarantee::Eventual,
        }
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Read::Strong => f.write_str("strong"),
            Read::Causal => f.write_str("causal"),
            Read::Bounded(ms) if *ms > 0 && ms % 1_000 == 0 => write!(f, "bounded({}s)", ms / 1_000),
            Read::Bounded(ms) => write!(f, "bounded({ms}ms)"),
            Read::Eventual => f.write_str("eventual"),
        }
    }
}

/// What a keyspace promises. In JSON and TOML a table of the same field names; a field that is left
/// out has its default, and one that is not known is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// How replicas agree.
    pub replication: Replication,
    /// What a side without a majority does.
    pub on_partition: OnPartition,
    /// How many nodes hold it; `None`: every node of the cluster.
    pub replicas: Option<u32>,
    /// When a write is acknowledged.
    pub ack: Ack,
    /// What a read guarantees.
    pub read: Read,
    /// Whether a leader that has a lease answers strong reads without asking a majority: they then rest on the speed of
    /// clocks.
    pub lease_reads: bool,
    /// What values are.
    pub values: Values,
    /// Independent groups that the keys are spread over.
    pub shards: u32,
    /// Most bytes of keys and values; `None`: no limit.
    pub quota_bytes: Option<u64>,
    /// How long the answer to a request with an idempotency key is remembered, in seconds.
    pub idempotency_ttl_s: u64,
    /// For how long a revision can be watched and read at least, in seconds, unless the group has more newer
    /// ones than it keeps.
    pub history_ttl_s: u64,
    /// With [`OnPartition::Degrade`]: how long without a majority before it degrades, in milliseconds.
    pub degrade_after_ms: Option<u64>,
    /// With [`OnPartition::Degrade`]: what becomes of provisional writes.
    pub reconcile: Option<Reconcile>,
}

impl Default for Contract {
    fn default() -> Contract {
        Contract {
            replication: Replication::Raft,
            on_partition: OnPartition::Reject,
            replicas: None,
            ack: Ack::Quorum,
            read: Read::Strong,
            lease_reads: false,
            values: Values::Register,
            shards: 1,
            quota_bytes: None,
            idempotency_ttl_s: 24 * 60 * 60,
            history_ttl_s: 60 * 60,
            degrade_after_ms: None,
            reconcile: None,
        }
    }
}

/// Before a keyspace that degrades does so, unless its contract says otherwise, in milliseconds.
const DEGRADE_AFTER_MS_DEFAULT: u64 = 10_000;

impl Contract {
    /// With everything spelled out that follows from the cluster's size: two contracts promise the same
    /// if they are equal after this.
    pub fn resolved(self, nodes: u32) -> Contract {
        let degrades = self.on_partition == OnPartition::Degrade;
        Contract {
            replicas: Some(self.replicas.unwrap_or(nodes)),
            degrade_after_ms: self.degrade_after_ms.or(if degrades {
                Some(DEGRADE_AFTER_MS_DEFAULT)
            } else {
                None
            }),
            reconcile: self.reconcile.or(if degrades { Some(Reconcile::Refuse) } else { None }),
            ..self
        }
    }

    /// Every field with its value, in the order of the documentation. `None`: it is not set.
    pub fn fields(&self) -> [(&'static str, Option<String>); 13] {
        let number = |value: u64| Some(value.to_string());
        [
            ("replication", Some(self.replication.to_string())),
            ("on_partition", Some(self.on_partition.to_string())),
            ("replicas", self.replicas.map(|replicas| replicas.to_string())),
            ("ack", Some(self.ack.to_string())),
            ("read", Some(self.read.to_string())),
            ("lease_reads", Some(self.lease_reads.to_string())),
            ("values", Some(self.values.to_string())),
            ("shards", number(self.shards.into())),
            ("quota_bytes", self.quota_bytes.map(|bytes| bytes.to_string())),
            ("idempotency_ttl_s", number(self.idempotency_ttl_s)),
            ("history_ttl_s", number(self.history_ttl_s)),
            ("degrade_after_ms", self.degrade_after_ms.map(|ms| ms.to_string())),
            ("reconcile", self.reconcile.map(|rule| rule.to_string())),
        ]
    }

    /// The fields in which `other` differs, each as `field: ours -> theirs`.
    pub fn differences(&self, other: &Contract) -> Vec<String> {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "none".into());
        let pairs = self.fields().into_iter().zip(other.fields());
        pairs
            .filter(|((_, ours), (_, theirs))| ours != theirs)
            .map(|((field, ours), (_, theirs))| format!("{field}: {} -> {}", shown(ours), shown(theirs)))
            .collect()
    }
}

/// Name of the group that holds the cluster's own facts; no keyspace may have it.
pub const RESERVED_NAME: &str = "meta";

/// Checks that a keyspace may be created under this name: 1 to [`KEYSPACE_NAME_BYTES_MAX`] of `a-z`, `0-9`,
/// `_` and `-`, and not [`RESERVED_NAME`].
///
/// # Errors
/// `INVALID_ARGUMENT`, with the rule.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let letters = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    let message = if name == RESERVED_NAME {
        format!("{RESERVED_NAME:?} is the cluster's own")
    } else if name.len() > KEYSPACE_NAME_BYTES_MAX {
        format!("a name of {} bytes is longer than the limit of {KEYSPACE_NAME_BYTES_MAX}", name.len())
    } else if name.is_empty() || !name.bytes().all(letters) {
        format!("{name:?} cannot name a keyspace")
    } else {
        return Ok(());
    };
    let next_step = "choose 1 to 64 characters out of a-z, 0-9, '_' and '-'";
    Err(Problem::not_applied(ErrorCode::InvalidArgument, message, next_step))
}
