//! What an answer guarantees. A receipt is never stronger than the truth; what cannot be known is
//! said to be unknown.
//!
//! Guarantee G-RECEIPT: a receipt says no more than what was kept: who holds the write on disk, who led in which term, at
//! which revision, how old an answer may be.

use serde::{Deserialize, Serialize};

use crate::{Hlc, NodeId, SessionToken};

/// The consistency that an answer was asked for, or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// The operation took effect at one instant between its call and its answer (Herlihy and Wing 1990).
    Linearizable,
    /// The answer reflects all that the session token has seen (Terry et al. 1994), and perhaps no more.
    Causal,
    /// The answer is no older than the bound that was asked for.
    Bounded,
    /// The answer is of some earlier state.
    Eventual,
}

impl Guarantee {
    /// Every guarantee, the strongest first.
    pub const ALL: [Guarantee; 4] =
        [Guarantee::Linearizable, Guarantee::Causal, Guarantee::Bounded, Guarantee::Eventual];

    /// The lower-case name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Guarantee::Linearizable => "linearizable",
            Guarantee::Causal => "causal",
            Guarantee::Bounded => "bounded",
            Guarantee::Eventual => "eventual",
        }
    }
}

/// What a node is in the group that served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Orders writes in its term.
    Leader,
    /// Replicates.
    Follower,
    /// Asks for votes, or asks whether it could win them.
    Candidate,
}

impl Role {
    /// The lower-case name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
        }
    }
}

/// How many replicas hold a write at the moment it was answered. For a read: how many confirmed
/// that the leader still leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks {
    /// Replicas that had to hold it before the answer.
    pub required: u32,
    /// Replicas known to hold it when the answer left.
    pub got: u32,
    /// Replicas of the group.
    pub of: u32,
    /// Replicas known to hold it on disk (synced) when the answer left. 0 for reads.
    pub durable: u32,
}

/// Since when, and why, a keyspace keeps less than its contract promises without faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Milliseconds since the Unix epoch, by the clock of the node that answers.
    pub since_ms: u64,
    /// For a person.
    pub reason: String,
}

/// How a leader answered a strong read without asking anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLease {
    /// For how much longer it had its lease as it decided, by its own clock.
    pub left_ms: u64,
    /// By how much the speeds of two nodes' clocks may differ, in percent, that the answer is what it says.
    pub clock_drift_percent_max: u32,
}

/// What one answer guarantees. The JSON form is the `Quorate-Receipt` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The keyspace asked.
    pub keyspace: String,
    /// What was asked for.
    pub requested: Guarantee,
    /// What was kept.
    pub delivered: Guarantee,
    /// What the session has seen, with this answer: to be sent with its next request.
    #[serde(default)]
    pub session: SessionToken,
    /// When it was answered, by the hybrid clock of the node that did: greater than that of all answers of
    /// which the request's session knew, but for those too far ahead of that node's wall clock
    /// ([`crate::clock::HLC_DRIFT_MS_MAX`]). Nothing is decided by it.
    #[serde(default)]
    pub hlc: Hlc,
    /// Set of an answer given in a degraded state. Keyspaces that refuse without a majority have none.
    #[serde(default)]
    pub degraded: Option<Degraded>,
    /// The keyspace's revision that the answer reflects; `None` of a write that was answered before it was
    /// applied.
    pub revision: Option<u64>,
    /// Upper bound of the answer's age in milliseconds; 0 when linearizable.
    pub staleness_ms: Option<u64>,
    /// Replicas behind the answer.
    pub acks: Acks,
    /// The node that decided the answer (not one that merely forwarded it).
    pub served_by: NodeId,
    /// That node's role.
    pub role: Role,
    /// The term in which it was decided.
    pub term: u64,
    /// Times the request was tried inside the cluster, 1 when the first try was answered.
    pub attempts: u32,
    /// Whether this repeats the stored outcome of an earlier request with the same idempotency key:
    /// then nothing was changed this time.
    #[serde(default)]
    pub deduplicated: bool,
    /// Of an answer put together from several shards: how many. What the receipt says then holds for each
    /// shard's part by itself, as of a moment of its own: the answer is no snapshot of the keyspace.
    /// `revision` is null; the other fields are the weakest of the parts', and those of the node and term of
    /// the first shard's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// Set of a strong read that rests on the leader's lease, and so on clocks (`lease_reads` of the contract): no other
    /// replica was asked. Without, a linearizable read was confirmed by a majority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_lease: Option<ReadLease>,
}

impl Receipt {
    /// The receipt of what is put together from parts with these receipts, in the order of their shards;
    /// `None` if there are none.
    pub fn of_all(parts: Vec<Receipt>) -> Option<Receipt> {
        let shards = parts.len() as u32;
        let weaker = |one: Receipt, other: Receipt| Receipt {
            staleness_ms: one.staleness_ms.zip(other.staleness_ms).map(|(one, other)| one.max(other)),
            acks: Acks {
                required: one.acks.required.min(other.acks.required),
                got: one.acks.got.min(other.acks.got),
                of: one.acks.of.min(other.acks.of),
                durable: one.acks.durable.min(other.acks.durable),
            },
            attempts: one.attempts.max(other.attempts),
            hlc: one.hlc.max(other.hlc),
            degraded: one.degraded.or(other.degraded),
            delivered: one.delivered.max(other.delivered),
            read_lease: match (one.read_lease, other.read_lease) {
                (Some(one), Some(other)) if other.left_ms < one.left_ms => Some(other),
                (one, other) => one.or(other),
            },
            session: {
                let mut session = one.session;
                session.join(&other.session);
                session
            },
            ..one
        };
        let whole = parts.into_iter().reduce(weaker)?;
        Some(Receipt { revision: None, shards: Some(shards), ..whole })
    }
}
