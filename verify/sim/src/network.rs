//! The network between nodes: frames as they are on the wire, delayed, lost, repeated, overtaken,
//! damaged, and blocked between whichever nodes a partition separates.

use std::collections::{BTreeMap, BTreeSet};

use types::NodeId;
use wire::{Decoder, Features, FrameBuilder, PeerMessage, Push};

use crate::{counts::Counts, dice::Dice, plan::NetworkPlan};

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

/// The links, and what happens on them.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    plan: NetworkPlan,
    features: Features,
    /// Links, from and to, on which nothing passes.
    blocked: BTreeSet<(NodeId, NodeId)>,
    /// Nodes that everything reaches so much later.
    late: BTreeMap<NodeId, u64>,
    /// By how much every frame to and from a node comes later than usual, in microseconds.
    slow: BTreeMap<NodeId, u64>,
}

impl Network {
    /// All links work.
    pub fn new(mut dice: Dice, plan: NetworkPlan) -> Network {
        let features = dice.pick(&[Features::NONE, Features::ALL]);
        Network {
            dice,
            plan,
            features,
            blocked: BTreeSet::new(),
            late: BTreeMap::new(),
            slow: BTreeMap::new(),
        }
    }

    /// Packs messages of one sender to one receiver into frames and says after how long each arrives;
    /// lost ones are left out.
    pub fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        messages: &[PeerMessage],
        counts: &mut Counts,
    ) -> Vec<(u64, Frame)> {
        let mut arriving = Vec::new();
        let slow_us: u64 = [from, to].iter().filter_map(|node| self.slow.get(node)).sum();
        for bytes in self.pack(messages) {
            counts.frames += 1;
            if self.blocked.contains(&(from, to)) {
                counts.add("network_blocked", 1);
                continue;
            }
            if self.dice.chance(self.plan.loss_per_mille) {
                counts.add("network_lost", 1);
                continue;
            }
            let copies = if self.dice.chance(self.plan.duplicate_per_mille) { 2 } else { 1 };
            counts.add("network_duplicated", copies - 1);
            for _ in 0..copies {
                let mut frame = Frame { from, to, bytes: bytes.clone(), damaged: false };
                if self.dice.chance(self.plan.corrupt_per_mille) {
                    let bit = self.dice.below(8 * frame.bytes.len() as u64);
                    frame.bytes[bit as usize / 8] ^= 1 << (bit % 8);
                    frame.damaged = true;
                    counts.add("network_corrupted", 1);
                }
                let late_us = self.late.get(&to).copied().unwrap_or(0);
                arriving.push((late_us + self.delay(counts) + slow_us, frame));
            }
        }
        arriving
    }

    /// What the receiver makes of a frame; `None` when it refuses it, or waits for bytes that its
    /// damaged length promises.
    pub fn receive(&self, frame: &Frame) -> Option<Vec<PeerMessage>> {
        let mut input = frame.bytes.as_slice();
        let decoded = Decoder::new(self.features).decode(&mut input).ok().flatten();
        decoded.filter(|_| input.is_empty())
    }

    /// Nothing passes from `from` to `to` until [`Network::unblock`].
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        self.blocked.insert((from, to));
    }

    /// The link works again.
    pub fn unblock(&mut self, from: NodeId, to: NodeId) {
        self.blocked.remove(&(from, to));
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
        self.late.clear();
        self.slow.clear();
        self.plan.loss_per_mille = 0;
        self.plan.duplicate_per_mille = 0;
        self.plan.reorder_per_mille = 0;
        self.plan.corrupt_per_mille = 0;
    }

    fn delay(&mut self, counts: &mut Counts) -> u64 {
        if self.plan.in_order {
            return self.plan.latency_us;
        }
        let usual = self.plan.latency_us / 2 + self.dice.delay_us(self.plan.latency_us / 2);
        if self.dice.chance(self.plan.reorder_per_mille) {
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
