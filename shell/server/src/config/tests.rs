//! Configurations that are understood, and what is said of those that are not.

use std::path::PathBuf;

use types::NodeId;

use super::*;

const CLUSTER: &str = "00112233445566778899aabbccddeeff";

fn minimal() -> String {
    format!("cluster = \"{CLUSTER}\"\nnode = 0\ndata_dir = \"/tmp/x\"\n")
}

const THREE: &str = r#"
cluster = "00112233445566778899aabbccddeeff"
node = 1
data_dir = "/var/lib/quorate"
http = "127.0.0.1:7401"
compress = true
keyspaces = ["default", "orders"]

[[members]]
node = 2
peer = "c:7502"

[[members]]
node = 0
peer = "a:7500"
http = "a:7400"

[[members]]
node = 1
peer = "b:7501"

[tls]
authority = "ca.pem"
certificate = "node.pem"
key = "node.key"

[limits]
pending_requests_max = 7

[timing]
tick_ms = 5
"#;

#[test]
fn a_minimal_file_is_a_cluster_of_one_on_loopback() {
    let config = ServerConfig::from_toml(&minimal()).unwrap();
    assert_eq!(config, ServerConfig::single(CLUSTER.parse().unwrap(), PathBuf::from("/tmp/x")));
    assert_eq!(config.member_ids(), [NodeId(0)]);
    assert!(!config.has_peers());
    assert!(config.http.starts_with("127.0.0.1:"));
}

#[test]
fn a_cluster_of_three_is_read_in_full() {
    let config = ServerConfig::from_toml(THREE).unwrap();
    assert_eq!(config.member_ids(), [NodeId(0), NodeId(1), NodeId(2)]);
    assert_eq!(config.peer_listen_address(), Some("b:7501"));
    assert_eq!(config.limits.limits().pending_requests_max, 7);
    assert_eq!(config.limits.limits().overlay_bytes, types::Limits::default().overlay_bytes);
    assert_eq!(config.timing.timing().tick_ms, 5);
    let text = toml::to_string(&config).unwrap();
    assert_eq!(ServerConfig::from_toml(&text).unwrap(), config);
}

#[test]
fn every_key_that_can_be_written_can_be_read() {
    let mut config = ServerConfig::from_toml(THREE).unwrap();
    config.peer_listen = Some("0.0.0.0:7501".into());
    let limits = config.limits.limits();
    config.limits = LimitsConfig {
        log_cache_bytes_max: Some(limits.log_cache_bytes_max),
        unapplied_bytes_max: Some(limits.unapplied_bytes_max),
        pending_requests_max: Some(limits.pending_requests_max),
        overlay_bytes: Some(limits.overlay_bytes),
        log_bytes_per_checkpoint: Some(limits.log_bytes_per_checkpoint),
        segment_bytes: Some(limits.segment_bytes),
        store_cache_bytes: Some(limits.store_cache_bytes),
        disk_free_bytes_min: Some(limits.disk_free_bytes_min),
        idempotency_keys_max: Some(limits.idempotency_keys_max),
        history_revisions_max: Some(limits.history_revisions_max),
        watchers_max: Some(limits.watchers_max),
    };
    let timing = config.timing.timing();
    config.timing = TimingConfig {
        tick_ms: Some(timing.tick_ms),
        heartbeat_ticks: Some(timing.heartbeat_ticks),
        election_ticks: Some(timing.election_ticks),
        no_quorum_after_ms: Some(timing.no_quorum_after_ms),
    };
    let text = toml::to_string(&config).unwrap();
    assert_eq!(ServerConfig::from_toml(&text).unwrap(), config);
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    let single = |more: &str| format!("{}{more}", minimal());
    let cases = [
        (single("data_dirs = 1"), "did you mean `data_dir`?"),
        (single("[limits]\nsegment_byte = 1"), "did you mean `limits.segment_bytes`?"),
        (single("[timing]\nxyz = 1"), "the keys here are tick_ms"),
        (single("[[members]]\nnode = 0\npeers = 'a:1'"), "did you mean `members.peer`?"),
        (single("[limits]\nsegment_bytes = 1000"), "limits.segment_bytes: must be a multiple of 4096"),
        (single("[limits]\noverlay_bytes = 0"), "limits.overlay_bytes: must be at least 1"),
        (single("[timing]\nelection_ticks = 2"), "timing.election_ticks: must be more than"),
        (single("keyspaces = []"), "keyspaces: name at least one"),
        (single("keyspaces = ['a b']"), "\"a b\" cannot name a keyspace"),
        (single("keyspaces = ['meta']"), "\"meta\" cannot name a keyspace"),
        (single("http_connections_max = 0"), "http_connections_max: must be at least 1"),
        (single("compress = 3"), "invalid type"),
        (single("not toml"), "configuration:"),
        (minimal().replace(CLUSTER, "12"), "32 hexadecimal digits"),
        (THREE.replace("node = 1\ndata", "node = 5\ndata"), "node 5 is not among them"),
        (THREE.replace("node = 2", "node = 0"), "node 0 is there twice"),
        (THREE.replace("peer = \"c:7502\"", ""), "node 2 has no `peer` address"),
        (THREE.replace("authority =", "authorities ="), "did you mean `tls.authority`?"),
    ];
    for (text, expected) in cases {
        let error = ServerConfig::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\n--> {error}");
    }
    let error = ServerConfig::from_file(std::path::Path::new("/no/such/file.toml")).unwrap_err();
    assert!(error.to_string().contains("/no/such/file.toml"), "{error}");
}

#[test]
fn several_nodes_need_certificates() {
    let mut config = ServerConfig::from_toml(THREE).unwrap();
    config.tls = None;
    assert!(config.check().unwrap_err().to_string().contains("certificates"));
}
