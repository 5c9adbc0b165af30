//! The figures of one process, for `/metrics` (OpenMetrics text). No global state.

mod groups;
mod http;
mod peers;

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};

use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

pub(crate) use groups::GroupMetrics;
pub(crate) use http::HttpMetrics;

use crate::peer::PeerMetrics;

/// Everything that is counted or measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    pub(crate) http: HttpMetrics,
    pub(crate) groups: GroupMetrics,
    pub(crate) log_syncs: Counter<u64, AtomicU64>,
    pub(crate) log_batches: Counter<u64, AtomicU64>,
    pub(crate) log_bytes: Counter<u64, AtomicU64>,
    pub(crate) log_append_seconds: Histogram,
    pub(crate) log_disk_bytes: Gauge,
    pub(crate) log_segments_freed: Counter<u64, AtomicU64>,
    pub(crate) checkpoints: Counter<u64, AtomicU64>,
    pub(crate) checkpoints_without_space: Counter<u64, AtomicU64>,
    pub(crate) checkpoint_seconds: Histogram,
    pub(crate) installs: Counter<u64, AtomicU64>,
    pub(crate) disk_free_bytes: Gauge,
}

impl Metrics {
    /// All figures at zero.
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("quorate");
        let of = &mut registry;
        let seconds = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        let metrics = Metrics {
            http: HttpMetrics::register(of),
            groups: GroupMetrics::register(of),
            log_syncs: counter(
                of,
                "log_syncs",
                "Appends to the write-ahead log, each one write and one sync",
            ),
            log_batches: counter(of, "log_batches", "Batches in these appends"),
            log_bytes: bytes_counter(of, "log_appended", "Bytes appended to the write-ahead log"),
            log_append_seconds: seconds(),
            log_disk_bytes: gauge(of, "log_disk", "Length of all log files", Unit::Bytes),
            log_segments_freed: counter(
                of,
                "log_segments_freed",
                "Log segments that checkpoints made needless",
            ),
            checkpoints: counter(of, "checkpoints", "Checkpoints that became durable"),
            checkpoints_without_space: counter(
                of,
                "checkpoints_without_space",
                "Checkpoints put off: disk full",
            ),
            checkpoint_seconds: seconds(),
            installs: counter(
                of,
                "snapshot_installs",
                "Snapshots from a leader that replaced a group's state",
            ),
            disk_free_bytes: gauge(of, "disk_free", "Free space of the data directory's disk", Unit::Bytes),
            registry: Mutex::default(),
        };
        let append = metrics.log_append_seconds.clone();
        registry.register_with_unit("log_append", "Time of one append with its sync", Unit::Seconds, append);
        let checkpoint = metrics.checkpoint_seconds.clone();
        registry.register_with_unit("checkpoint", "Time of one checkpoint", Unit::Seconds, checkpoint);
        Metrics { registry: Mutex::new(registry), ..metrics }
    }

    /// Adds what the peer transport counts.
    pub(crate) fn add_peers(&self, peers: Arc<PeerMetrics>) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(peers::PeerCollector(peers)));
    }

    /// All figures in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter<u64, AtomicU64> {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn bytes_counter(registry: &mut Registry, name: &str, help: &str) -> Counter<u64, AtomicU64> {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str, unit: Unit) -> Gauge {
    let gauge = Gauge::<i64>::default();
    registry.register_with_unit(name, help, unit, gauge.clone());
    gauge
}
