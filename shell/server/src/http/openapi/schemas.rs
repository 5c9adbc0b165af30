//! The JSON of bodies, as the document describes it.

use serde_json::{Value, json};
use types::{
    ErrorCode, Guarantee,
    contract::{Ack, OnPartition, Reconcile, Replication, Values},
};

use super::{txn, values, watch};

/// Every named schema.
pub(super) fn all() -> Value {
    json!({
        "Problem": problem(),
        "Receipt": receipt(),
        "PutAnswer": object(&[
            ("revision", number()),
            ("create_revision", number()),
            ("version", number()),
            ("receipt", reference("Receipt")),
        ]),
        "AcceptedAnswer": object(&[("revision", json!({"type": "null"})), ("receipt", reference("Receipt"))]),
        "LostWrites": object(&[
            ("items", list(json!({"type": "object", "required": ["kind", "id", "keyspace", "group"]}))),
            ("next", nullable("string")),
            ("receipt", reference("Receipt")),
        ]),
        "LostAcknowledged": object(&[("acknowledged", number()), ("receipt", reference("Receipt"))]),
        "DeleteAnswer": object(&[
            ("revision", number()),
            ("existed", boolean()),
            ("receipt", reference("Receipt")),
        ]),
        "Page": object(&[
            ("items", list(reference("Item"))),
            ("next", nullable("string")),
            ("receipt", reference("Receipt")),
        ]),
        "Item": optional(object(&[
            ("key", text()),
            ("key_base64", text()),
            ("create_revision", number()),
            ("mod_revision", number()),
            ("version", number()),
            ("value_bytes", number()),
        ]), &[("value_base64", text())]),
        "Contract": contract(),
        "Keyspaces": object(&[("keyspaces", list(reference("Keyspace"))), ("receipt", reference("Receipt"))]),
        "Keyspace": object(&keyspace()),
        "KeyspaceCreated": object(
            &[&keyspace()[..], &[("created", boolean()), ("receipt", reference("Receipt"))]].concat(),
        ),
        "KeyspaceAltered": object(
            &[&keyspace()[..], &[("changes", list(text())), ("receipt", reference("Receipt"))]].concat(),
        ),
        "KeyspaceDeleted": object(&[&keyspace()[..], &[("receipt", reference("Receipt"))]].concat()),
        "KeyspaceShown": object(
            &[&keyspace()[..], &[("explanation", reference("Explanation")), ("receipt", reference("Receipt"))]].concat(),
        ),
        "Explanation": object(&[
            ("replicas", number()),
            ("majority", number()),
            ("failures_survived", number()),
            ("failures_survived_with_one_slow", number()),
            ("one_failure", text()),
            ("two_failures", text()),
            ("partition", text()),
            ("slow_node", text()),
            ("notes", list(text())),
        ]),
        "Txn": txn::document(),
        "TxnCompare": txn::compare(),
        "TxnOp": txn::op(),
        "TxnAnswer": txn::answer(),
        "TxnResponse": txn::response(),
        "TxnItem": txn::item(),
        "Compaction": watch::compaction(),
        "Compacted": watch::compacted(),
        "Bytes": values::bytes(),
        "Operations": values::operations(),
        "Operation": values::operation(),
        "OperatedAnswer": values::operated(),
        "ValueAnswer": values::answer(),
        "Hash": optional(object(&[
            ("keyspace", text()),
            ("shard", number()),
            ("applied_index", number()),
            ("revision", number()),
            ("state_hash", hash()),
        ]), &[("verified", reference("Verified"))]),
        "Verified": object(&[
            ("applied_index", number()),
            ("expected_hash", hash()),
            ("computed_hash", hash()),
            ("matches", boolean()),
        ]),
        "Health": object(&[("alive", boolean())]),
        "Readiness": object(&[("ready", boolean()), ("reasons", list(text()))]),
        "Status": status(),
        "Group": group(),
        "Replica": object(&[
            ("node", number()),
            ("matched_index", number()),
            ("lag_entries", number()),
            ("lag_ms", number()),
            ("state", json!({"enum": ["probe", "replicate", "snapshot"]})),
            ("recent_active", boolean()),
        ]),
        "Member": object(&[("node", number()), ("peer", nullable("string")), ("http", nullable("string"))]),
    })
}

fn keyspace() -> [(&'static str, Value); 4] {
    [("name", text()), ("group", number()), ("version", number()), ("contract", reference("Contract"))]
}

fn contract() -> Value {
    fn words<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Value {
        json!({"enum": all.iter().map(|word| name(*word)).collect::<Vec<_>>()})
    }
    /// Whole numbers up to this one are exact in JSON, whoever reads it (RFC 8259, section 6).
    const EXACT_MAX: u64 = (1 << 53) - 1;
    fn most(max: u64, nullable: bool) -> Value {
        let kind = if nullable { json!(["integer", "null"]) } else { json!("integer") };
        json!({"type": kind, "minimum": 0, "maximum": max})
    }
    let fields = [
        ("replication", words(Replication::ALL, Replication::name)),
        ("on_partition", words(OnPartition::ALL, OnPartition::name)),
        ("replicas", most(u32::MAX.into(), true)),
        ("ack", words(Ack::ALL, Ack::name)),
        (
            "read",
            json!({"type": "string", "pattern": "^(strong|causal|eventual|bounded\\([0-9]{1,9}m?s\\))$"}),
        ),
        ("lease_reads", boolean()),
        ("values", words(Values::ALL, Values::name)),
        ("shards", most(u32::MAX.into(), false)),
        ("quota_bytes", most(EXACT_MAX, true)),
        ("idempotency_ttl_s", most(EXACT_MAX, false)),
        ("history_ttl_s", most(EXACT_MAX, false)),
        ("degrade_after_ms", most(EXACT_MAX, true)),
        ("reconcile", words(Reconcile::ALL, Reconcile::name)),
    ];
    optional(object(&[]), &fields)
}

fn problem() -> Value {
    let required = object(&[
        ("type", json!({"type": "string", "format": "uri-reference"})),
        ("title", text()),
        ("status", number()),
        ("detail", text()),
        ("code", json!({"enum": ErrorCode::ALL.iter().map(|code| code.name()).collect::<Vec<_>>()})),
        ("applied", json!({"enum": ["not_applied", "applied", "unknown"]})),
        ("retry_safe", boolean()),
        ("next_step", text()),
    ]);
    optional(
        required,
        &[("current_revision", number()), ("oldest_revision", number()), ("receipt", reference("Receipt"))],
    )
}

fn receipt() -> Value {
    let guarantee = json!({"enum": Guarantee::ALL.map(Guarantee::name)});
    let required = object(&[
        ("keyspace", text()),
        ("requested", guarantee.clone()),
        ("delivered", guarantee),
        ("session", text()),
        ("hlc", json!({"type": "string", "pattern": "^[0-9]+\\.[0-9]{5}$"})),
        ("degraded", json!({"type": "null"})),
        ("revision", nullable("integer")),
        ("staleness_ms", nullable("integer")),
        (
            "acks",
            object(&[("required", number()), ("got", number()), ("of", number()), ("durable", number())]),
        ),
        ("served_by", number()),
        ("role", role()),
        ("term", number()),
        ("attempts", number()),
        ("deduplicated", boolean()),
    ]);
    let read_lease = object(&[("left_ms", number()), ("clock_drift_percent_max", number())]);
    optional(required, &[("shards", number()), ("read_lease", read_lease)])
}

fn status() -> Value {
    object(&[
        ("node", number()),
        ("pid", number()),
        ("version", text()),
        ("cluster", text()),
        ("uptime_ms", number()),
        ("http", text()),
        ("ready", boolean()),
        ("healthy", boolean()),
        ("role", json!({"enum": ["leader", "follower", "candidate", null]})),
        ("term", nullable("integer")),
        ("leader", nullable("integer")),
        ("commit_index", nullable("integer")),
        ("applied_index", nullable("integer")),
        ("pending_requests", number()),
        ("disk_has_space", boolean()),
        ("hlc", text()),
        ("hlc_refused", number()),
        ("timing", timing()),
        ("members", list(reference("Member"))),
        ("groups", list(reference("Group"))),
    ])
}

fn timing() -> Value {
    object(&[
        ("tick_ms", number()),
        ("heartbeat_ticks", number()),
        ("election_ticks", number()),
        ("no_quorum_after_ms", number()),
    ])
}

fn group() -> Value {
    object(&[
        ("group", number()),
        ("keyspace", text()),
        ("shard", number()),
        ("role", role()),
        ("term", number()),
        ("leader", nullable("integer")),
        ("commit_index", number()),
        ("applied_index", number()),
        ("last_index", number()),
        ("first_index", number()),
        ("revision", number()),
        ("state_hash", hash()),
        ("keys", number()),
        ("bytes", number()),
        ("staleness_ms", nullable("integer")),
        ("replicas", list(reference("Replica"))),
    ])
}

/// An object with exactly these fields, all required.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "additionalProperties": false, "required": names, "properties": properties})
}

/// An object that may have these fields as well.
pub(super) fn optional(mut object: Value, fields: &[(&str, Value)]) -> Value {
    for (name, schema) in fields {
        object["properties"][*name] = schema.clone();
    }
    object
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(super) fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

pub(super) fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn boolean() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn nullable(kind: &str) -> Value {
    json!({"type": [kind, "null"]})
}

fn hash() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
}

fn role() -> Value {
    json!({"enum": ["leader", "follower", "candidate"]})
}
