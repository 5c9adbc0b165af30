//! Keys that are not known, with the nearest known one.

use toml::{Table, Value};

use super::ConfigError;

/// How alike (0 to 1, Jaro-Winkler) two names are before one is suggested for the other.
const ALIKE_MIN: f64 = 0.7;

const SERVER: &[&str] = &[
    "cluster",
    "node",
    "data_dir",
    "http",
    "http_connections_max",
    "peer_listen",
    "compress",
    "keyspaces",
    "members",
    "tls",
    "limits",
    "timing",
];
const MEMBER: &[&str] = &["node", "peer", "http"];
const TLS: &[&str] = &["authority", "certificate", "key"];
const LIMITS: &[&str] = &[
    "log_cache_bytes_max",
    "unapplied_bytes_max",
    "pending_requests_max",
    "overlay_bytes",
    "log_bytes_per_checkpoint",
    "segment_bytes",
    "store_cache_bytes",
    "disk_free_bytes_min",
    "idempotency_keys_max",
    "history_revisions_max",
    "watchers_max",
];
const TIMING: &[&str] = &["tick_ms", "heartbeat_ticks", "election_ticks", "no_quorum_after_ms"];

/// Refuses the first key that no table has.
pub(super) fn check(table: &Table) -> Result<(), ConfigError> {
    check_keys("", table, SERVER)?;
    for (name, known) in [("tls", TLS), ("limits", LIMITS), ("timing", TIMING)] {
        if let Some(Value::Table(inner)) = table.get(name) {
            check_keys(&format!("{name}."), inner, known)?;
        }
    }
    if let Some(Value::Array(members)) = table.get("members") {
        for member in members.iter().filter_map(Value::as_table) {
            check_keys("members.", member, MEMBER)?;
        }
    }
    Ok(())
}

fn check_keys(prefix: &str, table: &Table, known: &[&str]) -> Result<(), ConfigError> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let likeness = |name: &&&str| strsim::jaro_winkler(key, name);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let advice = match nearest {
        Some(name) if likeness(&name) >= ALIKE_MIN => format!("did you mean `{prefix}{name}`?"),
        _ => format!("the keys here are {}", known.join(", ")),
    };
    Err(ConfigError::UnknownKey { key: format!("{prefix}{key}"), advice })
}
