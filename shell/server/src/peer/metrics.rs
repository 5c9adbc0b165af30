//! What the transport counts. Counters only grow; reading them takes no lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use types::NodeId;

use super::RefusalKind;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One peer's counters. "Sent" is over the connection that this node dialed, "received" over the
/// one that it accepted.
#[derive(Debug, Default)]
pub struct LinkMetrics {
    /// Whether this node can send to the peer now.
    pub connected: AtomicBool,
    /// Times it connected to the peer; the first is not a reconnect.
    pub connects: Counter,
    /// Times it could not reach the peer, or was refused, or refused the peer.
    pub dial_failures: Counter,
    /// Frames sent.
    pub frames_sent: Counter,
    /// Messages sent.
    pub messages_sent: Counter,
    /// Payload bytes sent, before compression.
    pub payload_bytes_sent: Counter,
    /// Bytes of frames sent, after compression.
    pub bytes_sent: Counter,
    /// Messages not sent: the queue was full, there was no connection, or it ended.
    pub messages_dropped: Counter,
    /// Times the peer connected to this node.
    pub accepts: Counter,
    /// Frames received.
    pub frames_received: Counter,
    /// Messages received.
    pub messages_received: Counter,
    /// Bytes received, still compressed.
    pub bytes_received: Counter,
    /// Connections closed because of a frame that was damaged, over a limit or malformed.
    pub frame_errors: Counter,
    /// Connections closed because a message in a good frame made no sense.
    pub message_errors: Counter,
}

impl LinkMetrics {
    /// Times this node connected to the peer again.
    pub fn reconnects(&self) -> u64 {
        self.connects.get().saturating_sub(1)
    }
}

/// All counters of a transport.
#[derive(Debug)]
pub struct PeerMetrics {
    links: BTreeMap<NodeId, Arc<LinkMetrics>>,
    refusals: [Counter; RefusalKind::ALL.len()],
    /// Messages for nodes that are not members; dropped.
    pub misaddressed: Counter,
}

impl PeerMetrics {
    pub(super) fn new(peers: impl Iterator<Item = NodeId>) -> PeerMetrics {
        PeerMetrics {
            links: peers.map(|peer| (peer, Arc::default())).collect(),
            refusals: Default::default(),
            misaddressed: Counter::default(),
        }
    }

    /// Every peer's counters, by node.
    pub fn links(&self) -> &BTreeMap<NodeId, Arc<LinkMetrics>> {
        &self.links
    }

    /// Handshakes that failed for this reason, dialed and accepted.
    pub fn refusals(&self, kind: RefusalKind) -> u64 {
        self.refusals[kind as usize].get()
    }

    pub(super) fn refused(&self, kind: RefusalKind) {
        self.refusals[kind as usize].add(1);
    }

    /// # Panics
    /// If `peer` is not a member: the caller has checked.
    pub(super) fn link(&self, peer: NodeId) -> Arc<LinkMetrics> {
        self.links[&peer].clone()
    }
}
