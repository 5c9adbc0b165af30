//! What an answer said of itself. The JSON form is that of the header `Quorate-Receipt`, of which every field
//! may be left out.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::terms::Level;

/// How many replicas stand behind an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acks {
    /// That had to, before the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<u64>,
    /// That are known to hold the write; of a read, that confirmed the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<u64>,
    /// That there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// That are known to have the write on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<u64>,
}

/// Why less was kept than promised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degraded {
    /// Since when, in milliseconds of the answerer's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// For a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A lease by which a leader answered a read without asking anyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadLease {
    /// For how much longer it had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// By how much clocks may differ in speed for it to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_drift_percent_max: Option<u64>,
}

/// A hybrid timestamp: milliseconds and a counter, as text `1763990000123.00007`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hlc {
    /// Milliseconds.
    pub wall_ms: u64,
    /// Of those with equal milliseconds.
    pub counter: u32,
}

impl Serialize for Hlc {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}.{:05}", self.wall_ms, self.counter))
    }
}

impl<'de> Deserialize<'de> for Hlc {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Hlc, D::Error> {
        let text = String::deserialize(source)?;
        let parts = text.split_once('.').and_then(|(wall_ms, counter)| {
            Some(Hlc { wall_ms: wall_ms.parse().ok()?, counter: counter.parse().ok()? })
        });
        parts.ok_or_else(|| D::Error::custom("`hlc` is milliseconds, a point and a counter"))
    }
}

/// Receipts call what is strong `linearizable`.
fn as_guarantee<S: Serializer>(level: &Option<Level>, to: S) -> Result<S::Ok, S::Error> {
    match level {
        Some(Level::Strong) => to.serialize_str("linearizable"),
        level => level.serialize(to),
    }
}

/// What the answerer is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders the writes of its term.
    Leader,
    /// Replicates.
    Follower,
    /// Asks for votes.
    Candidate,
}

/// What an answer said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// The level that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "as_guarantee")]
    pub requested: Option<Level>,
    /// The level that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "as_guarantee")]
    pub delivered: Option<Level>,
    /// What the session has seen, in the store's own words: not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Greater than that of every answer that the session had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hlc: Option<Hlc>,
    /// Set when less is kept than promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// The revision of the state that the answer reflects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How old that state was at most when the answer left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness_ms: Option<u64>,
    /// Replicas behind the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<Acks>,
    /// Who decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<u64>,
    /// As what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// In which term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// Tries inside the store, with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// Whether it repeats the outcome of an earlier operation under the same idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplicated: Option<bool>,
    /// Set when put together from so many parts, each of a state of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u64>,
    /// Set of a read that rests on a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_lease: Option<ReadLease>,
}

impl Receipt {
    /// Whether it says that less is kept than promised.
    pub fn is_degraded(&self) -> bool {
        self.degraded.is_some()
    }
}
