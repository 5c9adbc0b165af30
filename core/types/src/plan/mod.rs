//! The planner: what each node of a cluster answers under faults that are named, what could be lost, and how much more
//! may fail.
//!
//! Guarantee G-PLAN: what is predicted is what happens. [`Plan`] is a function of the nodes, a keyspace's contract and the
//! faults; the simulator sets the same faults up around real nodes, asks for every operation at every node, and compares
//! (`verify/sim/tests/plan.rs`). `Contract::explain` speaks from the same numbers.
//!
//! Assumed: replicas had caught up when the faults began, and nothing else fails meanwhile. Said of the time after: the
//! operation is asked once the faults are there; `wait_ms` and `within_ms` say how much longer it takes at first.
//! Latency is what comes on top of that of the healthy cluster.
//!
//! One replica set today: all nodes. The functions take any set.

mod asked;
mod faults;
mod losses;
mod outcome;
mod reach;
pub(crate) mod words;

use std::collections::BTreeSet;

use serde::Serialize;

pub use asked::Asked;
pub use faults::{FaultError, Faults, SLOW_MS_MAX};
pub use losses::Loss;
pub(crate) use losses::of as loss;
pub use outcome::{Outcome, Stale};
pub(crate) use reach::Reach;
pub use reach::UNEVEN_NODES_MAX;

use crate::{Contract, NodeId, Timing, contract::Ack};

/// What a plan is made of.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Nodes that hold the keyspace.
    pub replicas: &'a BTreeSet<NodeId>,
    /// What it promises.
    pub contract: Contract,
    /// Who leads its group, if that is known: it goes on leading if it can.
    pub leader: Option<NodeId>,
    /// The nodes' speeds.
    pub timing: Timing,
    /// What fails.
    pub faults: &'a Faults,
}

/// What is predicted for one keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Nodes that hold it.
    pub replicas: u32,
    /// How many of them make a majority.
    pub majority: u32,
    /// Nodes that are up, in groups that can talk; the largest first.
    pub sides: Vec<Vec<NodeId>>,
    /// Who may lead; empty: nobody can.
    pub leaders: Vec<NodeId>,
    /// Whether somebody is sure to lead; otherwise those that can talk may be too slow to elect a leader.
    pub led: bool,
    /// Whether an election may come first, and how long it takes at most.
    pub election_within_ms: Option<u64>,
    /// What each node answers.
    pub nodes: Vec<NodePlan>,
    /// What could be lost of what was acknowledged, for each way to acknowledge.
    pub losses: Vec<Loss>,
    /// How much more may fail.
    pub budget: Budget,
    /// The same in plain words.
    pub says: Vec<String>,
}

/// One node's answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodePlan {
    /// Which.
    pub node: NodeId,
    /// To each operation.
    pub answers: Vec<Answer>,
}

/// What a node answers to one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The operation.
    #[serde(serialize_with = "asked::as_text")]
    pub asked: Asked,
    /// Whether the contract asks for it of whoever says nothing.
    pub by_contract: bool,
    /// What comes of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How many more nodes may fail, whichever they are. `None`: it is so already without another failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Before writes and strong reads stop.
    pub majority: Option<u32>,
    /// The same without counting on the slow nodes, or on any one node that may become slow: before all
    /// that needs a majority is as slow as it.
    pub majority_with_one_slow: Option<u32>,
    /// Before writes with `ack = all` stop.
    pub all: Option<u32>,
    /// Before no node answers an eventual read.
    pub eventual: Option<u32>,
    /// Disks that may be destroyed, with those that are, before a write that a majority acknowledged may be lost.
    pub disks: Option<u32>,
}

impl Case<'_> {
    pub(crate) fn reach(&self) -> Reach<'_> {
        Reach { replicas: self.replicas, faults: self.faults, timing: self.timing, leader: self.leader }
    }

    /// Predicts.
    ///
    /// # Errors
    /// When the faults are not of these nodes, or too many nodes see different parts of the cluster.
    pub fn plan(&self) -> Result<Plan, FaultError> {
        self.faults.check(self.replicas)?;
        let reach = self.reach();
        if !reach.is_even() && self.replicas.len() > UNEVEN_NODES_MAX {
            return Err(FaultError {
                message: format!(
                    "the cut leaves nodes that see more than their neighbours do: that is planned for up to \
                     {UNEVEN_NODES_MAX} nodes"
                ),
                next_step: "name every node on one side of the cut".into(),
            });
        }
        let leaders = reach.leaders();
        let election_within_ms = Some(self.wait_ms()).filter(|ms| *ms > 0);
        let nodes = self.replicas.iter().map(|node| NodePlan { node: *node, answers: self.answers(*node) });
        let mut plan = Plan {
            replicas: self.replicas.len() as u32,
            majority: reach.majority() as u32,
            sides: reach.sides(),
            led: !leaders.who.is_empty() && !leaders.maybe_none,
            leaders: leaders.who,
            election_within_ms,
            nodes: nodes.collect(),
            losses: Ack::ALL.iter().map(|ack| loss(self, *ack)).collect(),
            budget: self.budget(),
            says: Vec::new(),
        };
        plan.says = words::of(self, &plan);
        Ok(plan)
    }

    fn answers(&self, node: NodeId) -> Vec<Answer> {
        let all = Asked::all(self.contract.read).into_iter();
        all.map(|asked| Answer {
            asked,
            by_contract: asked.is_by_contract(&self.contract),
            outcome: self.outcome(node, asked),
        })
        .collect()
    }

    /// How long an operation that needs a leader may wait for one at first. If that is longer than
    /// [`Timing::no_quorum_after_ms`], some are refused meanwhile.
    pub fn wait_ms(&self) -> u64 {
        let Some(delay_ms) = self.reach().leaders().election else { return 0 };
        let elected_ms = self.timing.elected_within_ms(delay_ms);
        // A leader that hears no majority is believed until it steps down by those between that it still reaches.
        let unheard_ms = if self.reach().is_even() { 0 } else { self.timing.election_max_ms() };
        elected_ms.map_or(0, |elected_ms| elected_ms + unheard_ms)
    }

    /// What is left.
    pub(crate) fn budget(&self) -> Budget {
        let reach = self.reach();
        let (faults, majority) = (self.faults, reach.majority() as u32);
        let none = BTreeSet::new();
        let slow: BTreeSet<NodeId> = faults.slow.keys().copied().collect();
        let without_any_one = || {
            let one = |node: &NodeId| reach.budget(&BTreeSet::from([*node]));
            // `None` is the least.
            self.replicas.iter().map(one).min().flatten()
        };
        let up = self.replicas.iter().filter(|node| !faults.is_down(**node)).count() as u32;
        let whole = up == self.replicas.len() as u32 && reach.sides().len() == 1 && reach.is_even();
        Budget {
            majority: reach.budget(&none),
            majority_with_one_slow: if slow.is_empty() { without_any_one() } else { reach.budget(&slow) },
            all: whole.then_some(0),
            eventual: up.checked_sub(1),
            disks: (majority - 1).checked_sub(faults.destroyed.len() as u32),
        }
    }
}

/// Looks at a replica set of so many nodes, numbered from 0, under faults.
pub(crate) fn of_size<T>(
    count: u32,
    contract: Contract,
    faults: &Faults,
    look: impl FnOnce(&Case<'_>) -> T,
) -> T {
    let replicas: BTreeSet<NodeId> = (0..u64::from(count)).map(NodeId).collect();
    look(&Case { replicas: &replicas, contract, leader: None, timing: Timing::default(), faults })
}
