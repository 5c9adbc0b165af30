//! The network: frames between nodes as they are on the wire, delayed, lost, repeated, overtaken, damaged, queued on slow
//! links, and blocked between whichever nodes a partition separates; and which clients reach which nodes.
//!
//! What one fault blocks stays blocked until that fault has passed, whatever others do meanwhile.

use std::collections::BTreeMap;

use types::NodeId;
use wire::{Decoder, Features, FrameBuilder, PeerMessage, Push};

use crate::{
    counts::Counts,
    dice::Dice,
    plan::{NetworkPlan, SECOND},
};

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Sender.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// The bytes that arrive.
    pub bytes: Vec<u8>,
    /// Whether a bit was flipped on the way.
    pub damaged: bool,
}

/// Bytes that wait for a slow link; beyond them frames are dropped.
const QUEUE_BYTES_MAX: u64 = 64 * 1024;

/// Which clients reach which nodes no more, and what gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// What the client asks never arrives.
    Requests,
    /// What it is answered never arrives: the request was carried out, and nobody is told.
    Answers,
}

/// The links, and what happens on them.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    plan: NetworkPlan,
    features: Features,
    /// Links, from and to, on which nothing passes, and how many faults block them.
    blocked: BTreeMap<(NodeId, NodeId), u64>,
    /// Clients and nodes, what is lost between them, and by how many faults.
    cut_off: BTreeMap<(usize, NodeId, Lost), u64>,
    /// What is worse than planned for a while: its number, and which node's links it is on, if not on all.
    episodes: Vec<(u64, Option<NodeId>, NetworkPlan)>,
    episodes_begun: u64,
    /// Until when a slow link is busy with what it was given.
    busy_until_us: BTreeMap<(NodeId, NodeId), u64>,
    /// Nodes that everything reaches so much later.
    late: BTreeMap<NodeId, u64>,
    /// By how much every frame to and from a node comes later than usual, in microseconds.
    slow: BTreeMap<NodeId, u64>,
    /// Whether receivers have the bug that checksums are ignored.
    careless: bool,
}

impl Network {
    /// All links work.
    pub fn new(mut dice: Dice, plan: NetworkPlan, careless: bool) -> Network {
        let features = dice.pick(&[Features::NONE, Features::ALL]);
        Network {
            dice,
            plan,
            features,
            blocked: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            episodes: Vec::new(),
            episodes_begun: 0,
            busy_until_us: BTreeMap::new(),
            late: BTreeMap::new(),
            slow: BTreeMap::new(),
            careless,
        }
    }

    /// Packs messages of one sender to one receiver into frames and says after how long each arrives;
    /// lost ones are left out.
    pub fn send(
        &mut self,
        now_us: u64,
        (from, to): (NodeId, NodeId),
        messages: &[PeerMessage],
        counts: &mut Counts,
    ) -> Vec<(u64, Frame)> {
        let mut arriving = Vec::new();
        let slow_us: u64 = [from, to].iter().filter_map(|node| self.slow.get(node)).sum();
        let here =
            self.episodes.iter().filter(|(_, node, _)| node.is_none_or(|node| node == from || node == to));
        let plan = here.fold(self.plan, |plan, (_, _, worse)| plan.and(*worse));
        for bytes in self.pack(messages) {
            counts.frames += 1;
            if self.blocked.contains_key(&(from, to)) {
                counts.add("network_blocked", 1);
                continue;
            }
            if self.dice.chance(plan.loss_per_mille) {
                counts.add("network_lost", 1);
                continue;
            }
            let Some(queued_us) = self.queue_us(now_us, (from, to), bytes.len() as u64, plan.bytes_per_s)
            else {
                counts.add("network_queue_full", 1);
                continue;
            };
            counts.add("network_throttled", (queued_us > 0).into());
            let copies = if self.dice.chance(plan.duplicate_per_mille) { 2 } else { 1 };
            counts.add("network_duplicated", copies - 1);
            for _ in 0..copies {
                let mut frame = Frame { from, to, bytes: bytes.clone(), damaged: false };
                if self.dice.chance(plan.corrupt_per_mille) {
                    let bit = self.dice.below(8 * frame.bytes.len() as u64);
                    frame.bytes[bit as usize / 8] ^= 1 << (bit % 8);
                    frame.damaged = true;
                    counts.add("network_corrupted", 1);
                }
                let late_us = self.late.get(&to).copied().unwrap_or(0);
                arriving.push((late_us + self.delay(&plan, counts) + queued_us + slow_us, frame));
            }
        }
        arriving
    }

    /// How long a frame takes to get through a slow link, behind what waits there already; `None`: its queue is full.
    fn queue_us(&mut self, now_us: u64, link: (NodeId, NodeId), bytes: u64, bytes_per_s: u64) -> Option<u64> {
        if bytes_per_s == 0 {
            return Some(0);
        }
        let free_us = self.busy_until_us.get(&link).copied().unwrap_or(0).max(now_us);
        // A queue that is empty takes any frame.
        if free_us > now_us && (free_us - now_us) * bytes_per_s / SECOND + bytes > QUEUE_BYTES_MAX {
            return None;
        }
        let through_us = free_us + bytes * SECOND / bytes_per_s;
        self.busy_until_us.insert(link, through_us);
        Some(through_us - now_us)
    }

    /// What the receiver makes of a frame; `None` when it refuses it, or waits for bytes that its
    /// damaged length promises.
    pub fn receive(&self, frame: &Frame) -> Option<Vec<PeerMessage>> {
        let mut input = frame.bytes.as_slice();
        let decoded = self.decoder().decode(&mut input).ok().flatten();
        decoded.filter(|_| input.is_empty())
    }

    #[cfg(feature = "planted")]
    fn decoder(&self) -> Decoder {
        if self.careless { Decoder::careless(self.features) } else { Decoder::new(self.features) }
    }

    #[cfg(not(feature = "planted"))]
    fn decoder(&self) -> Decoder {
        assert!(!self.careless, "only a planted bug is careless");
        Decoder::new(self.features)
    }

    /// Nothing passes from `from` to `to` until [`Network::unblock`] was called as often.
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        *self.blocked.entry((from, to)).or_default() += 1;
    }

    /// The link works again, as far as this fault goes.
    pub fn unblock(&mut self, from: NodeId, to: NodeId) {
        lift(&mut self.blocked, &(from, to));
    }

    /// From now on this is lost between a client and a node, until [`Network::reconnect`] was called as often.
    pub fn cut_off(&mut self, client: usize, node: NodeId, lost: Lost) {
        *self.cut_off.entry((client, node, lost)).or_default() += 1;
    }

    /// The client reaches the node again, as far as this fault goes.
    pub fn reconnect(&mut self, client: usize, node: NodeId, lost: Lost) {
        lift(&mut self.cut_off, &(client, node, lost));
    }

    /// Whether this is lost between a client and a node.
    pub fn loses(&self, client: usize, node: NodeId, lost: Lost) -> bool {
        self.cut_off.contains_key(&(client, node, lost))
    }

    /// From now on all links, or those of one node, are worse by so much. The answer is the episode's number.
    pub fn worsen(&mut self, node: Option<NodeId>, by: NetworkPlan) -> u64 {
        self.episodes_begun += 1;
        self.episodes.push((self.episodes_begun, node, by));
        self.episodes_begun
    }

    /// An episode is over.
    pub fn relent(&mut self, episode: u64) {
        self.episodes.retain(|(number, _, _)| *number != episode);
    }

    /// What is sent to a node arrives so much later; 0: as usual.
    pub fn delay_to(&mut self, node: NodeId, late_us: u64) {
        self.late.insert(node, late_us);
    }

    /// From now on frames to and from the node come so much later.
    pub fn slow_down(&mut self, node: NodeId, by_us: u64) {
        self.slow.insert(node, by_us);
    }

    /// From now on every message arrives, once, whole and soon.
    pub fn heal(&mut self) {
        self.blocked.clear();
        self.cut_off.clear();
        self.episodes.clear();
        self.busy_until_us.clear();
        self.late.clear();
        self.slow.clear();
        self.plan.loss_per_mille = 0;
        self.plan.duplicate_per_mille = 0;
        self.plan.reorder_per_mille = 0;
        self.plan.corrupt_per_mille = 0;
        self.plan.jitter_us = 0;
        self.plan.bytes_per_s = 0;
    }

    fn delay(&mut self, plan: &NetworkPlan, counts: &mut Counts) -> u64 {
        if plan.in_order {
            return plan.latency_us;
        }
        let usual = plan.latency_us / 2 + self.dice.delay_us(plan.latency_us / 2);
        let usual = if plan.jitter_us > 0 { usual + self.dice.below(plan.jitter_us) } else { usual };
        if self.dice.chance(plan.reorder_per_mille) {
            counts.add("network_reordered", 1);
            return usual + self.dice.between(0, 60_000);
        }
        usual
    }

    fn pack(&self, messages: &[PeerMessage]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut builder = FrameBuilder::new(self.features);
        for message in messages {
            if let Push::Full = builder.push(message).expect("a node sends what a frame can carry") {
                let full = std::mem::replace(&mut builder, FrameBuilder::new(self.features));
                frames.extend(full.finish());
                builder.push(message).expect("it fits an empty frame");
            }
        }
        frames.extend(builder.finish());
        frames.into_iter().map(|frame| frame.bytes).collect()
    }
}

/// One of the faults that hold something up has passed.
fn lift<K: Ord>(held: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(times) = held.get_mut(key) {
        *times -= 1;
        if *times == 0 {
            held.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: (NodeId, NodeId) = (NodeId(0), NodeId(1));

    fn network() -> Network {
        let plan = NetworkPlan { latency_us: 1_000, in_order: true, ..NetworkPlan::default() };
        Network::new(Dice::new(1), plan, false)
    }

    fn sent(network: &mut Network, now_us: u64) -> (Vec<u64>, Counts) {
        let (chunk, mut counts) = (
            wire::message::SnapshotChunk { data: random(16 * 1024).into(), ..Default::default() },
            Counts::default(),
        );
        let message = PeerMessage {
            group: 1,
            body: Some(wire::PeerBody::SnapshotChunk(chunk)),
            ..PeerMessage::default()
        };
        let arriving = network.send(now_us, LINK, &[message], &mut counts);
        (arriving.into_iter().map(|(delay_us, _)| delay_us).collect(), counts)
    }

    fn random(bytes: usize) -> Vec<u8> {
        let mut dice = Dice::new(2);
        (0..bytes).map(|_| dice.next() as u8).collect()
    }

    #[test]
    fn a_link_stays_blocked_until_every_fault_has_passed() {
        let mut network = network();
        network.block(LINK.0, LINK.1);
        network.block(LINK.0, LINK.1);
        network.unblock(LINK.0, LINK.1);
        assert!(sent(&mut network, 0).0.is_empty());
        network.unblock(LINK.0, LINK.1);
        assert_eq!(sent(&mut network, 0).0, [1_000]);
    }

    #[test]
    fn a_throttled_link_takes_its_time_and_drops_what_its_queue_does_not_hold() {
        let mut network = network();
        let throttled = NetworkPlan { bytes_per_s: 16 * 1024, ..NetworkPlan::default() };
        let episode = network.worsen(Some(LINK.1), throttled);
        let mut last_us = 0;
        for _ in 0..3 {
            let (delays_us, counts) = sent(&mut network, 0);
            assert!(delays_us[0] >= last_us + SECOND, "{delays_us:?} after {last_us}");
            assert_eq!(counts.named.get("network_throttled"), Some(&1));
            last_us = delays_us[0];
        }
        let (delays_us, counts) = sent(&mut network, 0);
        assert_eq!((delays_us.len(), counts.named.get("network_queue_full")), (0, Some(&1)));
        network.relent(episode);
        assert_eq!(sent(&mut network, 0).0, [1_000]);
    }

    #[test]
    fn a_client_is_cut_off_from_one_node_in_one_direction() {
        let mut network = network();
        network.cut_off(3, NodeId(1), Lost::Answers);
        assert!(network.loses(3, NodeId(1), Lost::Answers));
        assert!(!network.loses(3, NodeId(1), Lost::Requests) && !network.loses(3, NodeId(0), Lost::Answers));
        network.reconnect(3, NodeId(1), Lost::Answers);
        assert!(!network.loses(3, NodeId(1), Lost::Answers));
    }
}
