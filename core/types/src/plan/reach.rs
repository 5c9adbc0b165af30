//! Which replicas can talk, who of them can lead, and how much more may fail.

use std::collections::BTreeSet;

use super::faults::{Faults, pair};
use crate::{NodeId, Timing};

/// Most nodes for which a cut that does not fall into sides is planned: all ways to fail are tried then.
pub const UNEVEN_NODES_MAX: usize = 14;

/// One replica set under faults.
#[derive(Clone, Debug)]
pub(crate) struct Reach<'a> {
    pub replicas: &'a BTreeSet<NodeId>,
    pub faults: &'a Faults,
    pub timing: Timing,
    /// Who led when the faults began, if that is known.
    pub leader: Option<NodeId>,
}

/// Who leads once the faults have been there for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaders {
    /// One of these.
    pub who: Vec<NodeId>,
    /// Or nobody: those that could are too slow to win an election.
    pub maybe_none: bool,
    /// If an election may come first: by how much the votes that it needs are slower than usual, at least.
    pub election: Option<u64>,
}

impl Reach<'_> {
    /// Replicas that make a majority.
    pub fn majority(&self) -> usize {
        self.replicas.len() / 2 + 1
    }

    fn is_up(&self, node: NodeId) -> bool {
        !self.faults.is_down(node)
    }

    /// Whether messages pass between two nodes that are up.
    pub fn linked(&self, one: NodeId, other: NodeId) -> bool {
        let up = self.is_up(one) && self.is_up(other);
        up && (one == other || !self.faults.cut.contains(&pair(one, other)))
    }

    /// By how much an exchange of two nodes is slower than usual.
    pub fn delay_ms(&self, one: NodeId, other: NodeId) -> u64 {
        let slow = |node| self.faults.slow.get(&node).copied().unwrap_or(0);
        if one == other { 0 } else { slow(one) + slow(other) }
    }

    /// Replicas that this one can talk to, itself included, and by how much each answers later than usual; the
    /// fastest first.
    pub fn circle(&self, node: NodeId) -> Vec<u64> {
        let linked = self.replicas.iter().filter(|other| self.linked(node, **other));
        let mut delays: Vec<u64> = linked.map(|other| self.delay_ms(node, *other)).collect();
        delays.sort_unstable();
        delays
    }

    /// By how much the majority of a replica, were it the leader, answers later than usual; `None`: it has none.
    fn majority_ms(&self, node: NodeId) -> Option<u64> {
        let circle = self.circle(node);
        circle.get(self.majority() - 1).copied().filter(|_| self.replicas.contains(&node))
    }

    /// Whether votes that come so late still win an election.
    fn in_time(&self, delay_ms: u64) -> bool {
        self.timing.elected_within_ms(delay_ms).is_some()
    }

    /// Who may lead.
    pub fn leaders(&self) -> Leaders {
        let steady = |node: &NodeId| self.majority_ms(*node).is_some_and(|delay_ms| self.in_time(delay_ms));
        // A leader goes on while its heartbeats come in time to those that it needs.
        if let Some(leader) = self.leader.filter(steady) {
            return Leaders { who: vec![leader], maybe_none: false, election: None };
        }
        let who: Vec<NodeId> =
            self.replicas.iter().copied().filter(|node| self.majority_ms(*node).is_some()).collect();
        let fastest_ms = who.iter().filter_map(|node| self.majority_ms(*node)).min();
        let maybe_none = fastest_ms.is_some_and(|delay_ms| !self.in_time(delay_ms));
        let election = fastest_ms.filter(|_| !self.replicas.iter().all(steady));
        Leaders { who, maybe_none, election }
    }

    /// Nodes that are up, in groups that can talk, by way of others or not. Largest first.
    pub fn sides(&self) -> Vec<Vec<NodeId>> {
        let mut left: BTreeSet<NodeId> =
            self.replicas.iter().copied().filter(|node| self.is_up(*node)).collect();
        let mut sides = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut side = vec![first];
            let mut at = 0;
            while at < side.len() {
                let near: Vec<NodeId> =
                    left.iter().copied().filter(|node| self.linked(side[at], *node)).collect();
                near.iter().for_each(|node| _ = left.remove(node));
                side.extend(near);
                at += 1;
            }
            side.sort_unstable();
            sides.push(side);
        }
        sides.sort_by_key(|side| (std::cmp::Reverse(side.len()), side[0]));
        sides
    }

    /// Whether two nodes can talk, and soon enough to elect a leader.
    fn elects(&self, one: NodeId, other: NodeId) -> bool {
        self.linked(one, other) && self.in_time(self.delay_ms(one, other))
    }

    /// Whether all nodes of a side can talk to each other.
    fn is_whole(&self, side: &[NodeId]) -> bool {
        side.iter().all(|one| side.iter().all(|other| self.linked(*one, *other)))
    }

    /// Whether every side is whole: no node sees more of the cluster than its neighbours do.
    pub fn is_even(&self) -> bool {
        self.sides().iter().all(|side| self.is_whole(side))
    }

    /// Whether a node is too slow for another, slow too or not, to elect a leader with.
    fn is_too_slow(&self, node: NodeId) -> bool {
        self.replicas.iter().any(|other| self.linked(node, *other) && !self.elects(node, *other))
    }

    /// How many more nodes may fail, whichever they are, while some majority can talk; `None`: none can now. The
    /// nodes of `without` count as failed already.
    pub fn budget(&self, without: &BTreeSet<NodeId>) -> Option<u32> {
        let sides = self.sides();
        let slow = |node: &NodeId| self.is_too_slow(*node);
        let few = self.replicas.len() <= UNEVEN_NODES_MAX;
        // In a large cluster those that are too slow for some other count as failed.
        let counts = |node: &&NodeId| !without.contains(node) && (few || !slow(node));
        let rest = |side: &Vec<NodeId>| side.iter().filter(counts).count();
        let largest = sides.iter().map(rest).max().unwrap_or(0);
        let in_time = sides.iter().flatten().all(|node| !slow(node));
        if self.is_even() && (in_time || !few) {
            return largest.checked_sub(self.majority()).map(|more| more as u32);
        }
        let nodes: Vec<NodeId> = sides.concat().into_iter().filter(|node| !without.contains(node)).collect();
        let stopped = |failed: &u32| {
            let left: Vec<NodeId> = nodes
                .iter()
                .enumerate()
                .filter(|(at, _)| failed & (1 << at) == 0)
                .map(|(_, node)| *node)
                .collect();
            let circle = |leader: NodeId| left.iter().filter(|node| self.elects(leader, **node)).count();
            !left.iter().any(|leader| circle(*leader) >= self.majority())
        };
        let fewest = (0..1_u32 << nodes.len()).filter(stopped).map(u32::count_ones).min();
        fewest.and_then(|fewest| fewest.checked_sub(1))
    }
}
