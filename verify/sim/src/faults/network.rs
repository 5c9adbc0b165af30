//! Faults of links between nodes.

use types::NodeId;

use super::kinds::FaultKind;
use crate::{
    event::{Event, Recovery},
    plan::{MS, SECOND},
    world::World,
};

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_network(&mut self, kind: FaultKind, node: NodeId) -> bool {
        match kind {
            FaultKind::Split => {
                let side: Vec<bool> = self.hosts.iter().map(|_| self.dice.chance(500)).collect();
                self.block(|from, to| side[from.0 as usize] != side[to.0 as usize])
            }
            FaultKind::OneWay => {
                let deaf = self.dice.chance(500);
                self.block(|from, to| if deaf { to == node } else { from == node })
            }
            FaultKind::IsolateLeader => {
                let leader = self.any_leader().unwrap_or(node);
                self.block(|from, to| from == leader || to == leader)
            }
            FaultKind::LostLink => {
                let leader = self.any_leader().unwrap_or(node);
                let other =
                    NodeId((leader.0 + self.dice.between(1, self.plan.nodes.max(2) - 1)) % self.plan.nodes);
                self.block(|from, to| (from, to) == (leader, other) || (to, from) == (leader, other))
            }
            FaultKind::LateLinks => {
                let node = if self.dice.chance(500) { self.any_leader().unwrap_or(node) } else { node };
                let late_us = self.dice.between(20, 600) * MS;
                self.network.delay_to(node, late_us);
                self.later(SECOND, Recovery::Prompt(node));
                true
            }
            kind => unreachable!("{kind} does not hit the network"),
        }
    }

    /// Cuts the links that `cut` picks, for a while. Sometimes both ends notice at once.
    fn block(&mut self, cut: impl Fn(NodeId, NodeId) -> bool) -> bool {
        let nodes: Vec<NodeId> = self.hosts.iter().map(|host| host.id).collect();
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
        let links: Vec<_> = pairs.filter(|(from, to)| from != to && cut(*from, *to)).collect();
        let noticed = self.dice.chance(500);
        for (from, to) in &links {
            self.network.block(*from, *to);
            if noticed {
                let delay = self.dice.delay_us(20 * MS);
                self.queue.push(self.now_us + delay, Event::PeerDown { node: *from, peer: *to });
            }
        }
        let any = !links.is_empty();
        self.later(SECOND, Recovery::Unblock(links));
        any
    }
}
