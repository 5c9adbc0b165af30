//! Bounds and speeds that differ from the defaults.

use node::Timing;
use serde::{Deserialize, Serialize};
use storage::wal::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use types::{
    Limits,
    limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

use super::{ConfigError, value};

/// Part of a segment that is kept for votes and commits when the disk is full.
const ENTRY_RESERVE_BYTES_MAX: u64 = 1024 * 1024;

/// [`Limits`], each of which may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// See [`Limits::log_cache_bytes_max`].
    pub log_cache_bytes_max: Option<u64>,
    /// See [`Limits::unapplied_bytes_max`].
    pub unapplied_bytes_max: Option<u64>,
    /// See [`Limits::pending_requests_max`].
    pub pending_requests_max: Option<usize>,
    /// See [`Limits::overlay_bytes`].
    pub overlay_bytes: Option<u64>,
    /// See [`Limits::log_bytes_per_checkpoint`].
    pub log_bytes_per_checkpoint: Option<u64>,
    /// See [`Limits::segment_bytes`].
    pub segment_bytes: Option<u64>,
    /// See [`Limits::store_cache_bytes`].
    pub store_cache_bytes: Option<usize>,
    /// See [`Limits::disk_free_bytes_min`].
    pub disk_free_bytes_min: Option<u64>,
    /// See [`Limits::idempotency_keys_max`].
    pub idempotency_keys_max: Option<u64>,
    /// See [`Limits::history_revisions_max`].
    pub history_revisions_max: Option<u64>,
    /// See [`Limits::watchers_max`].
    pub watchers_max: Option<usize>,
}

impl LimitsConfig {
    /// The defaults with these differences.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            log_cache_bytes_max: self.log_cache_bytes_max.unwrap_or(default.log_cache_bytes_max),
            unapplied_bytes_max: self.unapplied_bytes_max.unwrap_or(default.unapplied_bytes_max),
            pending_requests_max: self.pending_requests_max.unwrap_or(default.pending_requests_max),
            overlay_bytes: self.overlay_bytes.unwrap_or(default.overlay_bytes),
            log_bytes_per_checkpoint: self
                .log_bytes_per_checkpoint
                .unwrap_or(default.log_bytes_per_checkpoint),
            segment_bytes: self.segment_bytes.unwrap_or(default.segment_bytes),
            store_cache_bytes: self.store_cache_bytes.unwrap_or(default.store_cache_bytes),
            disk_free_bytes_min: self.disk_free_bytes_min.unwrap_or(default.disk_free_bytes_min),
            idempotency_keys_max: self.idempotency_keys_max.unwrap_or(default.idempotency_keys_max),
            history_revisions_max: self.history_revisions_max.unwrap_or(default.history_revisions_max),
            watchers_max: self.watchers_max.unwrap_or(default.watchers_max),
        }
    }

    /// Room in the log's last segment that entries may not take.
    pub(crate) fn entry_reserve_bytes(&self) -> u64 {
        (self.limits().segment_bytes / 8).min(ENTRY_RESERVE_BYTES_MAX)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limits = self.limits();
        // The largest entry, with room for what is around it, must fit a segment beside the reserve.
        let segment_bytes_min = SEGMENT_BYTES_MIN.max(4 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) as u64);
        let segments = segment_bytes_min..=SEGMENT_BYTES_MAX;
        if !limits.segment_bytes.is_multiple_of(4096) || !segments.contains(&limits.segment_bytes) {
            let (least, most) = (segments.start(), segments.end());
            let reason = format!("must be a multiple of 4096 from {least} to {most}");
            return Err(value("limits.segment_bytes", reason));
        }
        let positive = [
            ("limits.log_cache_bytes_max", limits.log_cache_bytes_max),
            ("limits.unapplied_bytes_max", limits.unapplied_bytes_max),
            ("limits.pending_requests_max", limits.pending_requests_max as u64),
            ("limits.overlay_bytes", limits.overlay_bytes),
            ("limits.log_bytes_per_checkpoint", limits.log_bytes_per_checkpoint),
            ("limits.store_cache_bytes", limits.store_cache_bytes as u64),
            ("limits.idempotency_keys_max", limits.idempotency_keys_max),
            ("limits.history_revisions_max", limits.history_revisions_max),
            ("limits.watchers_max", limits.watchers_max as u64),
        ];
        at_least_one(&positive)
    }
}

/// [`Timing`], each of which may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingConfig {
    /// See [`Timing::tick_ms`].
    pub tick_ms: Option<u64>,
    /// See [`Timing::heartbeat_ticks`].
    pub heartbeat_ticks: Option<u64>,
    /// See [`Timing::election_ticks`].
    pub election_ticks: Option<u64>,
    /// See [`Timing::no_quorum_after_ms`].
    pub no_quorum_after_ms: Option<u64>,
}

impl TimingConfig {
    /// The defaults with these differences.
    pub fn timing(&self) -> Timing {
        let default = Timing::default();
        Timing {
            tick_ms: self.tick_ms.unwrap_or(default.tick_ms),
            heartbeat_ticks: self.heartbeat_ticks.unwrap_or(default.heartbeat_ticks),
            election_ticks: self.election_ticks.unwrap_or(default.election_ticks),
            no_quorum_after_ms: self.no_quorum_after_ms.unwrap_or(default.no_quorum_after_ms),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let timing = self.timing();
        if timing.election_ticks <= timing.heartbeat_ticks {
            let reason = format!("must be more than heartbeat_ticks ({})", timing.heartbeat_ticks);
            return Err(value("timing.election_ticks", reason));
        }
        let positive = [
            ("timing.tick_ms", timing.tick_ms),
            ("timing.heartbeat_ticks", timing.heartbeat_ticks),
            ("timing.no_quorum_after_ms", timing.no_quorum_after_ms),
        ];
        at_least_one(&positive)
    }
}

fn at_least_one(numbers: &[(&'static str, u64)]) -> Result<(), ConfigError> {
    match numbers.iter().find(|(_, number)| *number == 0) {
        Some((key, _)) => Err(value(key, "must be at least 1".to_owned())),
        None => Ok(()),
    }
}
