//! What the peer transport counts, read when the figures are asked for.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::peer::{LinkMetrics, PeerMetrics, RefusalKind};

/// See the module.
#[derive(Debug)]
pub(super) struct PeerCollector(pub(super) Arc<PeerMetrics>);

type Count = fn(&LinkMetrics) -> u64;

/// Name, meaning, and where the number is.
const COUNTS: [(&str, &str, Count); 13] = [
    ("peer_connects", "Times this node connected to the peer", |link| link.connects.get()),
    ("peer_dial_failures", "Times it failed to", |link| link.dial_failures.get()),
    ("peer_frames_sent", "Frames sent", |link| link.frames_sent.get()),
    ("peer_messages_sent", "Messages sent", |link| link.messages_sent.get()),
    ("peer_payload_sent_bytes", "Bytes before compression", |link| link.payload_bytes_sent.get()),
    ("peer_sent_bytes", "Bytes sent, compressed", |link| link.bytes_sent.get()),
    ("peer_messages_dropped", "Messages not sent", |link| link.messages_dropped.get()),
    ("peer_accepts", "Times the peer connected to this node", |link| link.accepts.get()),
    ("peer_frames_received", "Frames received", |link| link.frames_received.get()),
    ("peer_messages_received", "Messages received", |link| link.messages_received.get()),
    ("peer_received_bytes", "Bytes received, compressed", |link| link.bytes_received.get()),
    ("peer_frame_errors", "Connections closed for a bad frame", |link| link.frame_errors.get()),
    ("peer_message_errors", "Connections closed for a bad message", |link| link.message_errors.get()),
];

impl Collector for PeerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, count) in COUNTS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (peer, link) in self.0.links() {
                let labels = [("peer", peer.0)];
                ConstCounter::new(count(link)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Whether this node can send to the peer now";
        let mut family = encoder.encode_descriptor("peer_connected", help, None, MetricType::Gauge)?;
        for (peer, link) in self.0.links() {
            let labels = [("peer", peer.0)];
            let connected = i64::from(link.connected.load(Ordering::Relaxed));
            ConstGauge::new(connected).encode(family.encode_family(&labels)?)?;
        }
        let help = "Handshakes that failed, by reason";
        let mut family = encoder.encode_descriptor("peer_refusals", help, None, MetricType::Counter)?;
        for kind in RefusalKind::ALL {
            let labels = [("reason", kind.name())];
            ConstCounter::new(self.0.refusals(kind)).encode(family.encode_family(&labels)?)?;
        }
        let help = "Messages for nodes that are not members";
        let name = "peer_messages_misaddressed";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.0.misaddressed.get()).encode(family)
    }
}
