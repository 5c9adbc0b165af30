//! Which promises can hold together, and in a cluster of which size.
//!
//! A refusal comes with the nearest contract that would hold: all combinations of words are tried, and the one
//! that changes least is chosen. What is said of replication and partitions weighs most, and among
//! equals the stronger promise wins.

use std::fmt;

use crate::{ErrorCode, Problem, limits::SHARDS_MAX};

use super::{Ack, Contract, OnPartition, Read, Replication, Values};

/// Longest bound of a stale read, in milliseconds: an hour. Older than that, `eventual` says it better.
const BOUND_MS_MAX: u64 = 3_600_000;
/// Longest time that answers are remembered, in seconds: 30 days.
const IDEMPOTENCY_TTL_S_MAX: u64 = 30 * 24 * 60 * 60;
/// Longest time that history is kept, in seconds: 30 days.
const HISTORY_TTL_S_MAX: u64 = 30 * 24 * 60 * 60;
/// Longest time before a keyspace degrades, in milliseconds: an hour.
const DEGRADE_AFTER_MS_MAX: u64 = 3_600_000;

/// A contract that cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Why not.
    pub reason: String,
    /// What would hold, changing as little as possible.
    pub nearest: Box<Contract>,
    /// Where the nearest differs, each as `field: refused -> nearest`.
    pub changes: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; nearest that would hold: {}", self.reason, self.changes.join(", "))
    }
}

impl Read {
    /// Checks a bound that a request asks for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for one that no contract may have either.
    pub fn validate(self) -> Result<(), Problem> {
        match self {
            Read::Bounded(ms) if !(1..=BOUND_MS_MAX).contains(&ms) => Err(Problem::not_applied(
                ErrorCode::InvalidArgument,
                format!("read = {self} is not within 1 ms to 1 hour"),
                "ask for a bound within the limits, or for strong or eventual",
            )),
            _ => Ok(()),
        }
    }
}

impl Contract {
    /// Whether these promises can hold together in a cluster of this many nodes (at least 1).
    ///
    /// # Errors
    /// The reason why not, and the nearest contract that would hold.
    pub fn check(&self, nodes: u32) -> Result<(), Refusal> {
        let Some(reason) = self.contradiction(nodes) else { return Ok(()) };
        let nearest = Box::new(self.nearest(nodes));
        let changes = self.differences(&nearest);
        Err(Refusal { reason, nearest, changes })
    }

    /// The first reason why the promises cannot hold.
    fn contradiction(&self, nodes: u32) -> Option<String> {
        self.out_of_bounds(nodes).or_else(|| self.out_of_partition()).or_else(|| self.out_of_replication())
    }

    fn out_of_bounds(&self, nodes: u32) -> Option<String> {
        match *self {
            Contract { replicas: Some(0), .. } => Some("replicas = 0 keeps nothing".into()),
            Contract { replicas: Some(replicas), .. } if replicas > nodes => {
                Some(format!("replicas = {replicas} needs {replicas} nodes, and the cluster has {nodes}"))
            }
            Contract { shards, .. } if !(1..=SHARDS_MAX).contains(&shards) => {
                Some(format!("shards = {shards} is not within 1 to {SHARDS_MAX}"))
            }
            Contract { quota_bytes: Some(0), .. } => Some("quota_bytes = 0 refuses every write".into()),
            Contract { idempotency_ttl_s: ttl, .. } if !(1..=IDEMPOTENCY_TTL_S_MAX).contains(&ttl) => Some(
                format!("idempotency_ttl_s = {ttl} is not within 1 to {IDEMPOTENCY_TTL_S_MAX} (30 days)"),
            ),
            Contract { history_ttl_s: ttl, .. } if !(1..=HISTORY_TTL_S_MAX).contains(&ttl) => {
                Some(format!("history_ttl_s = {ttl} is not within 1 to {HISTORY_TTL_S_MAX} (30 days)"))
            }
            Contract { read: Read::Bounded(ms), .. } if !(1..=BOUND_MS_MAX).contains(&ms) => Some(format!(
                "read = {} is not within 1 ms to 1 hour: a bound of nothing is `strong`",
                self.read
            )),
            Contract { degrade_after_ms: Some(ms), .. } if !(1..=DEGRADE_AFTER_MS_MAX).contains(&ms) => {
                Some(format!("degrade_after_ms = {ms} is not within 1 to {DEGRADE_AFTER_MS_MAX} (1 hour)"))
            }
            _ => None,
        }
    }

    fn out_of_partition(&self) -> Option<String> {
        let Contract { replication, on_partition, ack, read, .. } = *self;
        if on_partition != OnPartition::Degrade {
            let set = [
                ("degrade_after_ms", self.degrade_after_ms.is_some()),
                ("reconcile", self.reconcile.is_some()),
            ];
            if let Some((field, _)) = set.into_iter().find(|(_, set)| *set) {
                return Some(format!(
                    "{field} means nothing with on_partition = {on_partition}: it belongs to `degrade`"
                ));
            }
        }
        match on_partition {
            OnPartition::Accept if replication != Replication::Leaderless => Some(format!(
                "on_partition = accept cannot hold with replication = {replication}, which decides by majority: two \
                 sides of a partition cannot both have one"
            )),
            OnPartition::Accept if read == Read::Strong => Some(
                "read = strong with on_partition = accept cannot both hold during a partition: a side cannot see \
                 what the other has written"
                    .into(),
            ),
            OnPartition::Accept if matches!(ack, Ack::Quorum | Ack::All) => Some(format!(
                "ack = {ack} with on_partition = accept cannot both hold during a partition: a side without a \
                 majority has nobody to wait for"
            )),
            OnPartition::Degrade if replication != Replication::Raft => Some(format!(
                "on_partition = degrade cannot hold with replication = {replication}: falling back, and applying \
                 provisional writes afterwards, needs the one order that raft keeps"
            )),
            _ => None,
        }
    }

    fn out_of_replication(&self) -> Option<String> {
        let Contract { replication, ack, read, values, .. } = *self;
        match replication {
            Replication::Paxos | Replication::Leaderless if self.lease_reads => Some(format!(
                "lease_reads = true cannot hold with replication = {replication}, which has no leader that could have a lease"
            )),
            Replication::Raft if matches!(ack, Ack::None | Ack::Leader) && self.quota_bytes.is_some() => Some(format!(
                "ack = {ack} cannot hold with quota_bytes: whether a write fits is known only once it is committed"
            )),
            Replication::Leaderless if read == Read::Strong => Some(
                "read = strong cannot hold with replication = leaderless: writes meet on no replica in one order".into(),
            ),
            Replication::Paxos if ack == Ack::Leader => {
                Some("ack = leader cannot hold with replication = paxos, which has no leader".into())
            }
            Replication::Paxos if values != Values::Register => Some(format!(
                "values = {values} cannot hold with replication = paxos, which does compare-and-set only: use register"
            )),
            _ => None,
        }
    }

    fn nearest(&self, nodes: u32) -> Contract {
        const REPLICATIONS: [Replication; 3] =
            [Replication::Raft, Replication::Paxos, Replication::Leaderless];
        const PARTITIONS: [OnPartition; 3] = [OnPartition::Reject, OnPartition::Degrade, OnPartition::Accept];
        const ACKS: [Ack; 4] = [Ack::Quorum, Ack::All, Ack::Leader, Ack::None];
        let bound_ms = match self.read {
            Read::Bounded(ms) => ms.clamp(1, BOUND_MS_MAX),
            _ => 5_000,
        };
        let reads = [Read::Strong, Read::Causal, Read::Bounded(bound_ms), Read::Eventual];
        let mut best: Option<(u32, Contract)> = None;
        for replication in REPLICATIONS {
            for on_partition in PARTITIONS {
                for ack in ACKS {
                    for read in reads {
                        for values in [self.values, Values::Register] {
                            let words = Contract { replication, on_partition, ack, read, values, ..*self };
                            let candidate = words.within_bounds(nodes);
                            let distance = self.distance(&candidate);
                            let nearer = best.is_none_or(|(known, _)| distance < known);
                            if nearer && candidate.contradiction(nodes).is_none() {
                                best = Some((distance, candidate));
                            }
                        }
                    }
                }
            }
        }
        best.expect("the default words hold in every cluster").1
    }

    /// Numbers within their limits, and nothing that belongs to other words.
    fn within_bounds(self, nodes: u32) -> Contract {
        let degrades = self.on_partition == OnPartition::Degrade;
        Contract {
            replicas: self.replicas.map(|replicas| replicas.clamp(1, nodes.max(1))),
            shards: self.shards.clamp(1, SHARDS_MAX),
            quota_bytes: self.quota_bytes.filter(|bytes| *bytes > 0),
            idempotency_ttl_s: self.idempotency_ttl_s.clamp(1, IDEMPOTENCY_TTL_S_MAX),
            history_ttl_s: self.history_ttl_s.clamp(1, HISTORY_TTL_S_MAX),
            degrade_after_ms: self
                .degrade_after_ms
                .filter(|_| degrades)
                .map(|ms| ms.clamp(1, DEGRADE_AFTER_MS_MAX)),
            reconcile: self.reconcile.filter(|_| degrades),
            lease_reads: self.lease_reads && self.replication == Replication::Raft,
            ..self
        }
    }

    fn distance(&self, other: &Contract) -> u32 {
        let weighed = [
            (self.replication != other.replication, 3),
            (self.on_partition != other.on_partition, 2),
            (self.values != other.values, 2),
            (self.ack != other.ack, 1),
            (self.read != other.read, 1),
            (self.lease_reads != other.lease_reads, 1),
            (self.degrade_after_ms != other.degrade_after_ms, 1),
            (self.reconcile != other.reconcile, 1),
        ];
        weighed.into_iter().map(|(differs, weight)| u32::from(differs) * weight).sum()
    }
}
