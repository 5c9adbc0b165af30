//! Faults of the network: of links between nodes, and of those between clients and nodes.

use types::NodeId;

use super::kinds::FaultKind;
use crate::{
    event::{Event, Recovery},
    network::Lost,
    plan::{MS, NetworkPlan, SECOND},
    world::World,
};

/// Links, from and to.
pub(crate) type Links = Vec<(NodeId, NodeId)>;

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_network(&mut self, kind: FaultKind, node: NodeId) -> bool {
        let nodes = self.plan.nodes;
        match kind {
            FaultKind::Split => {
                let side: Vec<bool> = self.hosts.iter().map(|_| self.dice.chance(500)).collect();
                self.block(|from, to| side[from.0 as usize] != side[to.0 as usize])
            }
            FaultKind::MajorityRing => {
                let order = self.any_order();
                self.block(|from, to| !ring_hears(&order, from, to))
            }
            FaultKind::Bridge => {
                let order = self.any_order();
                let place = |node: NodeId| order[node.0 as usize];
                let middle = nodes / 2;
                self.block(|from, to| {
                    let (from, to) = (place(from), place(to));
                    from != middle && to != middle && (from < middle) != (to < middle)
                })
            }
            FaultKind::Partial => {
                let cut: Vec<bool> = (0..nodes * nodes).map(|_| self.dice.chance(400)).collect();
                self.block(|from, to| cut[(from.min(to).0 * nodes + from.max(to).0) as usize])
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
                let other = self.another(leader);
                self.block(|from, to| (from, to) == (leader, other) || (to, from) == (leader, other))
            }
            FaultKind::Flapping => {
                let side: Vec<bool> = self.hosts.iter().map(|_| self.dice.chance(500)).collect();
                let links = self.links(|from, to| side[from.0 as usize] != side[to.0 as usize]);
                let until_us = self.now_us + self.dice.between(300, 3_000) * MS;
                self.injector.passes_at(until_us);
                let any = !links.is_empty();
                self.flap(links, false, until_us);
                any
            }
            FaultKind::HalfOpen => {
                let to = self.another(node);
                if node == to {
                    return false;
                }
                // The other end knows at once, and connects anew; this one learns it when nobody answers for long.
                self.network.block(node, to);
                let delay = self.dice.delay_us(20 * MS);
                self.queue.push(self.now_us + delay, Event::PeerDown { node: to, peer: node });
                self.later(SECOND, Recovery::Notice(node, to));
                true
            }
            FaultKind::LateLinks => {
                let node = if self.dice.chance(500) { self.any_leader().unwrap_or(node) } else { node };
                let late_us = self.dice.between(20, 600) * MS;
                self.network.delay_to(node, late_us);
                self.later(SECOND, Recovery::Prompt(node));
                true
            }
            FaultKind::ClientCut => {
                let cut = self.cut_clients(node, &[Lost::Requests, Lost::Answers]);
                self.later(SECOND, Recovery::Reconnect(cut));
                true
            }
            FaultKind::LostAnswers => {
                let cut = self.cut_clients(node, &[Lost::Answers]);
                self.later(SECOND, Recovery::Reconnect(cut));
                true
            }
            kind => {
                let worse = self.worse(kind);
                let node = if self.dice.chance(500) { Some(node) } else { None };
                let episode = self.network.worsen(node, worse);
                self.later(SECOND, Recovery::Relent(episode));
                true
            }
        }
    }

    /// What an episode of this kind adds to what the network does.
    fn worse(&mut self, kind: FaultKind) -> NetworkPlan {
        let mut between = |low, high| self.dice.between(low, high);
        let usual = NetworkPlan::default();
        match kind {
            FaultKind::Latency => NetworkPlan { latency_us: between(5, 200) * MS, ..usual },
            FaultKind::Jitter => NetworkPlan { jitter_us: between(5, 300) * MS, ..usual },
            FaultKind::Loss => NetworkPlan { loss_per_mille: between(50, 700), ..usual },
            FaultKind::Duplication => NetworkPlan { duplicate_per_mille: between(100, 1_000), ..usual },
            FaultKind::Reordering => NetworkPlan { reorder_per_mille: between(100, 1_000), ..usual },
            FaultKind::Corruption => NetworkPlan { corrupt_per_mille: between(5, 200), ..usual },
            FaultKind::Throttle => NetworkPlan { bytes_per_s: 1_024 << between(3, 8), ..usual },
            kind => unreachable!("{kind} is no episode of the network"),
        }
    }

    /// Each node's place in some order.
    fn any_order(&mut self) -> Vec<u64> {
        let mut places: Vec<u64> = (0..self.plan.nodes).collect();
        for place in (1..places.len()).rev() {
            places.swap(place, self.dice.below(place as u64 + 1) as usize);
        }
        places
    }

    /// Some other node; the same where there is no other.
    fn another(&mut self, node: NodeId) -> NodeId {
        NodeId((node.0 + self.dice.between(1, self.plan.nodes.max(2) - 1)) % self.plan.nodes)
    }

    /// Cuts some of the clients, or all, off from one node, or from all.
    fn cut_clients(&mut self, node: NodeId, what: &[Lost]) -> Vec<(usize, NodeId, Lost)> {
        let (everyone, everywhere) = (self.dice.chance(300), self.dice.chance(200));
        let mut cut = Vec::new();
        for client in 0..self.clients.count() + self.watchers.count() {
            if everyone || self.dice.chance(500) {
                let nodes = (0..self.plan.nodes).map(NodeId).filter(|other| everywhere || *other == node);
                cut.extend(nodes.flat_map(|node| what.iter().map(move |lost| (client, node, *lost))));
            }
        }
        for (client, node, lost) in &cut {
            self.network.cut_off(*client, *node, *lost);
        }
        cut
    }

    fn links(&self, cut: impl Fn(NodeId, NodeId) -> bool) -> Links {
        let nodes: Vec<NodeId> = self.hosts.iter().map(|host| host.id).collect();
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
        pairs.filter(|(from, to)| from != to && cut(*from, *to)).collect()
    }

    /// Cuts the links that `cut` picks, for a while. Sometimes both ends notice at once.
    fn block(&mut self, cut: impl Fn(NodeId, NodeId) -> bool) -> bool {
        let links = self.links(cut);
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

    /// Links that come and go do so, until a virtual time from which on they stay.
    pub(super) fn flap(&mut self, links: Links, cut: bool, until_us: u64) {
        let over = self.now_us >= until_us || !self.in_chaos();
        for (from, to) in &links {
            match cut {
                true => self.network.unblock(*from, *to),
                false if over => {}
                false => self.network.block(*from, *to),
            }
        }
        if !over {
            self.counts.add("flaps", 1);
            self.later(30 * MS, Recovery::Flap { links, cut: !cut, until_us });
        }
    }

    /// A node finds that nobody has heard it on a connection, and connects anew.
    pub(super) fn notice(&mut self, node: NodeId, peer: NodeId) {
        self.network.unblock(node, peer);
        self.queue.push(self.now_us, Event::PeerDown { node, peer });
    }
}

/// Whether a frame passes when every node hears a majority, and no two the same one: in a ring, each hears those
/// before it.
fn ring_hears(places: &[u64], from: NodeId, to: NodeId) -> bool {
    let nodes = places.len() as u64;
    let (from, to) = (places[from.0 as usize], places[to.0 as usize]);
    (to + nodes - from) % nodes <= nodes / 2
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn in_a_majority_ring_all_hear_a_majority_and_no_two_the_same() {
        for places in [vec![0, 1, 2], vec![3, 1, 0, 2], vec![4, 0, 3, 1, 2]] {
            let nodes = places.len() as u64;
            let heard = |to: u64| -> BTreeSet<u64> {
                (0..nodes).filter(|from| ring_hears(&places, NodeId(*from), NodeId(to))).collect()
            };
            let all: BTreeSet<BTreeSet<u64>> = (0..nodes).map(heard).collect();
            assert_eq!(all.len() as u64, nodes, "{all:?}");
            for (to, heard) in (0..nodes).map(|to| (to, heard(to))) {
                assert!(heard.contains(&to) && heard.len() as u64 == nodes / 2 + 1, "{heard:?}");
            }
        }
    }
}
