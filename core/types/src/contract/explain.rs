//! What a contract means when something fails, in plain words and exact numbers: those of the planner ([`crate::plan`]),
//! asked about one failure, two failures, and one slow node.

use serde::Serialize;

use crate::limits::READ_LEASE_DRIFT;

use super::{Ack, Contract, OnPartition, Read, Replication};
use crate::{
    NodeId,
    plan::{self, Asked, Budget, Case, Faults, Outcome},
};

/// What happens under failures. `f = floor((n - 1) / 2)` of `n` replicas may fail and a majority is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Replicas that hold the keyspace.
    pub replicas: u32,
    /// Replicas that make a majority.
    pub majority: u32,
    /// Replicas that may be down while a majority is left.
    pub failures_survived: u32,
    /// The same while one replica is slow: one less, since the slow one is needed for the majority then.
    pub failures_survived_with_one_slow: u32,
    /// When one replica is down.
    pub one_failure: String,
    /// When two are.
    pub two_failures: String,
    /// When the network splits.
    pub partition: String,
    /// When one replica is slow.
    pub slow_node: String,
    /// What is easily believed otherwise.
    pub notes: Vec<String>,
}

impl Contract {
    /// What happens on failures, in a cluster of this many nodes.
    pub fn explain(&self, nodes: u32) -> Explanation {
        let replicas = self.replicas.unwrap_or(nodes).max(1);
        let size = self.planned(replicas, &Faults::default(), |case| Size {
            replicas,
            majority: case.reach().majority() as u32,
            budget: case.budget(),
        });
        Explanation {
            replicas,
            majority: size.majority,
            failures_survived: size.survived(),
            failures_survived_with_one_slow: size.budget.majority_with_one_slow.unwrap_or(0),
            one_failure: self.failures(1, size),
            two_failures: self.failures(2, size),
            partition: self.partition(size),
            slow_node: self.slow(size),
            notes: self.notes(size),
        }
    }

    fn planned<T>(&self, replicas: u32, faults: &Faults, look: impl FnOnce(&Case<'_>) -> T) -> T {
        plan::of_size(replicas, *self, faults, look)
    }

    fn failures(&self, down: u32, size: Size) -> String {
        let Size { replicas, majority, .. } = size;
        if down > replicas {
            return format!("There is only {replicas} replica.");
        }
        let left = replicas - down;
        // All nodes are alike: those with the lowest numbers fail.
        let faults = Faults { lost: (0..u64::from(down)).map(NodeId).collect(), ..Faults::default() };
        let survivor = NodeId(u64::from(replicas) - 1);
        let (goes_on, serves_all, may_lose) = self.planned(replicas, &faults, |case| {
            let all = case.outcome(survivor, Asked::Write(Ack::All));
            (!case.reach().leaders().who.is_empty(), all.is_served(), plan::loss(case, self.ack).possible)
        });
        if self.on_partition == OnPartition::Accept {
            return match left {
                0 => "Nothing is served until a replica is back.".into(),
                _ => format!("The {left} left go on serving reads and writes; those that are back catch up."),
            };
        }
        if !goes_on && left > 0 && self.on_partition == OnPartition::Degrade {
            return format!(
                "{left} of {replicas} replicas are no majority ({majority} are). After {} ms the {left} left serve reads \
                 labelled with their age, and take writes as provisional.",
                self.degrade_after_ms.unwrap_or(super::DEGRADE_AFTER_MS_DEFAULT)
            );
        }
        if !goes_on {
            let back = majority - left;
            return format!(
                "It stops: {left} of {replicas} replicas are no majority ({majority} are). Requests are refused \
                 with NO_QUORUM until {back} more {} back. What is on the disks stays and is served again then.",
                if back == 1 { "is" } else { "are" }
            );
        }
        let who = match self.replication {
            Replication::Raft => {
                " If the leader is among those down, requests wait until another is elected, about a second."
            }
            Replication::Paxos | Replication::Leaderless => {
                " There is no leader whose failure could cause a pause."
            }
        };
        let loss = match may_lose {
            false => " No acknowledged write is lost.",
            true => " Writes acknowledged before a majority had them may be lost.",
        };
        let all = match self.ack {
            Ack::All if !serves_all => {
                " Writes wait, or fail at their deadline: ack = all needs every replica."
            }
            _ => "",
        };
        format!(
            "It goes on: {left} of {replicas} replicas are left, and {majority} are a majority.{who}{loss}{all}"
        )
    }

    fn partition(&self, size: Size) -> String {
        let Size { replicas, majority, .. } = size;
        if replicas == 1 {
            return "The one replica serves whoever can reach it; nobody else is served.".into();
        }
        let split = if replicas % 2 == 0 {
            format!(
                " Two halves of {} have no majority either of them: both sides are without one.",
                replicas / 2
            )
        } else {
            String::new()
        };
        match self.on_partition {
            OnPartition::Reject => format!(
                "The side with {majority} or more of the {replicas} replicas goes on; every other side refuses with \
                 NO_QUORUM, and never hangs.{split} When it heals, the others catch up; there is nothing to reconcile."
            ),
            OnPartition::Accept => {
                "Every side serves reads and takes writes. When it heals, what was written on all sides is merged.".into()
            }
            OnPartition::Degrade => format!(
                "The side with {majority} or more of the {replicas} replicas goes on. Every other side refuses with \
                 NO_QUORUM for {} ms, then serves reads labelled with their age and takes writes as provisional.{split} When \
                 it heals, each provisional write meets its fate by the rule `{}`.",
                self.degrade_after_ms.unwrap_or(super::DEGRADE_AFTER_MS_DEFAULT),
                self.reconcile.unwrap_or(super::Reconcile::Refuse)
            ),
        }
    }

    fn slow(&self, size: Size) -> String {
        let Size { replicas, majority, .. } = size;
        if replicas == 1 {
            return "Every request is as slow as the one replica.".into();
        }
        // All nodes are alike: another leads, or the slow one does.
        let faults = Faults { slow: [(NodeId(0), 1)].into(), ..Faults::default() };
        let write = Asked::Write(self.ack);
        let added_ms = self.planned(replicas, &faults, |case| {
            let led_by = |leader| Case { leader: Some(leader), ..case.clone() }.outcome(leader, write);
            match led_by(NodeId(1)) {
                Outcome::Served { added_ms_min, .. } => added_ms_min,
                _ => 0,
            }
        });
        if added_ms > 0 && self.ack == Ack::All {
            return "Every write is as slow as the slow replica: ack = all waits for it.".into();
        }
        if size.survived() == 0 {
            return format!(
                "Every write is as slow as the slow replica: all {replicas} are needed for a majority."
            );
        }
        let leader = match self.replication {
            Replication::Raft => " A slow leader slows every request for as long as it leads.",
            Replication::Paxos | Replication::Leaderless => "",
        };
        let left = size.budget.majority_with_one_slow.unwrap_or(0);
        format!(
            "A slow replica delays nothing while the {majority} fastest answer.{leader} While one is slow, the budget \
             is one less: {left} more can fail before requests become as slow as it is."
        )
    }

    fn notes(&self, size: Size) -> Vec<String> {
        let (replicas, survived) = (size.replicas, size.survived());
        let mut notes = Vec::new();
        if replicas > 1 && replicas % 2 == 0 {
            notes.push(format!(
                "{replicas} replicas survive {survived} failed, as many as {} do: an even number is allowed, an odd \
                 one is more economical.",
                replicas - 1
            ));
        }
        if self.on_partition == OnPartition::Reject && replicas > 1 {
            notes.push(
                "That the majority's side goes on is not availability in the sense of CAP: live nodes on the other \
                 side refuse."
                    .into(),
            );
        }
        if replicas > 1
            && self.replication == Replication::Raft
            && (self.lease_reads || self.read == Read::Strong)
        {
            notes.push(
                match self.lease_reads {
                    false => {
                        "Two nodes can believe that they lead, in different terms; a strong read is answered only after a \
                         majority confirmed the leader."
                            .into()
                    }
                    true => format!(
                        "Two nodes can believe that they lead, in different terms; only one of them can have a lease, by which it \
                         answers strong reads without asking anyone (lease_reads = true). That trusts that the clocks of two \
                         nodes differ in speed by no more than {}%, and that no machine's clock stands still while it sleeps, as \
                         that of a suspended virtual machine does: beyond that a strong read can be stale.",
                        100 / READ_LEASE_DRIFT
                    ),
                },
            );
        }
        notes.push("A timeout leaves a write's outcome unknown: read before you write again.".into());
        notes
    }
}

#[derive(Clone, Copy)]
struct Size {
    replicas: u32,
    majority: u32,
    budget: Budget,
}

impl Size {
    /// Replicas that may fail while a majority is left.
    fn survived(&self) -> u32 {
        self.budget.majority.unwrap_or(0)
    }
}
