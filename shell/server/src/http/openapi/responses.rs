//! Answers, as the document describes them.

use serde_json::{Map, Value, json};

/// JSON of a named schema.
pub(super) fn answer(description: &str, schema: &str) -> Value {
    let mut answer = json!({
        "description": description,
        "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}},
    });
    let with_receipt = ["PutAnswer", "DeleteAnswer", "AcceptedAnswer", "Page", "TxnAnswer", "Compacted"];
    let named = ["Keyspace", "Lost", "Lease", "Lock", "Proclaimed", "OperatedAnswer", "ValueAnswer"];
    if with_receipt.contains(&schema) || named.iter().any(|name| schema.starts_with(name)) {
        answer["headers"] = receipt_headers();
    }
    answer
}

/// Plain text of some kind.
pub(super) fn text(description: &str, kind: &str) -> Value {
    json!({"description": description, "content": {kind: {"schema": {"type": "string"}}}})
}

/// Any JSON object.
pub(super) fn json_object(description: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": {"type": "object"}}}})
}

/// A key's value.
pub(super) fn value() -> Value {
    json!({
        "description": "The value.",
        "headers": key_headers(),
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    })
}

/// A key without its value.
pub(super) fn value_head() -> Value {
    json!({"description": "The key exists.", "headers": key_headers()})
}

/// A stream of server-sent events.
pub(super) fn events(description: &str) -> Value {
    json!({
        "description": description,
        "headers": {
            "Quorate-Receipt": {
                "description": "As the first event has it; absent when that comes later than the head.",
                "required": false,
                "schema": {"type": "string"},
            },
        },
        "content": {"text/event-stream": {"schema": {}}},
    })
}

/// The client has it already.
pub(super) fn not_modified() -> Value {
    json!({"description": "The key is at a revision that the request names.", "headers": key_headers()})
}

/// Problems by status.
pub(super) fn problems(statuses: &[&str]) -> Map<String, Value> {
    statuses.iter().map(|status| ((*status).to_owned(), problem(status))).collect()
}

fn problem(status: &str) -> Value {
    let (codes, description) = match status {
        "400" => ("INVALID_ARGUMENT, UNSUPPORTED_VERSION", "The request makes no sense, or is over a limit."),
        "404" => (
            "KEY_NOT_FOUND, KEYSPACE_NOT_FOUND, LEASE_NOT_FOUND, INVALID_ARGUMENT",
            "There is no such thing.",
        ),
        "405" => ("INVALID_ARGUMENT", "The path has other methods: the Allow header names them."),
        "408" => ("DEADLINE_EXCEEDED", "The body did not arrive by the deadline. Nothing was applied."),
        "409" => (
            "CONFLICT",
            "The keyspace exists under another contract, there is such a lease, or somebody else changed it at the same time. Nothing was applied.",
        ),
        "410" => ("COMPACTED", "The revision was compacted. Nothing was applied."),
        "412" => ("CONFLICT, FENCED", "The condition, or the fence, did not hold. Nothing was applied."),
        "413" => ("INVALID_ARGUMENT", "The body is over the limit. Nothing was applied."),
        "422" => (
            "IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT",
            "The idempotency key was used with another request; or the contract cannot hold, this version \
             cannot keep it, or a field of it never changes. Nothing was applied.",
        ),
        "429" => ("OVERLOADED", "A limit of queued work is reached. Nothing was applied."),
        "500" => ("CORRUPT", "This node's data failed its checksum."),
        "503" => ("NO_QUORUM, NOT_LEADER, UNAVAILABLE", "It cannot be served now; `applied` says the rest."),
        "504" => ("DEADLINE_EXCEEDED", "The deadline passed first; `applied` says the rest."),
        "507" => ("NO_SPACE", "The disk is too full to accept writes. Nothing was applied."),
        other => panic!("no problem has status {other}"),
    };
    let mut headers = json!({"Quorate-Error": header("Error")});
    match status {
        "405" => headers["Allow"] = header("Allow"),
        "429" | "503" => headers["Retry-After"] = header("RetryAfter"),
        _ => {}
    }
    json!({
        "description": format!("{description} Codes: {codes}."),
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn receipt_headers() -> Value {
    json!({
        "Quorate-Receipt": header("Receipt"),
        "Quorate-Revision": header("ReadRevision"),
        "Quorate-Session": header("Session"),
    })
}

fn key_headers() -> Value {
    let mut headers = receipt_headers();
    headers["ETag"] = header("EntityTag");
    for name in ["Quorate-Create-Revision", "Quorate-Mod-Revision", "Quorate-Version"] {
        headers[name] = header("Revision");
    }
    headers
}

/// The headers that answers carry.
pub(super) fn headers() -> Value {
    let number = json!({"type": "integer", "minimum": 0});
    let text = json!({"type": "string"});
    json!({
        "Receipt": {"description": "What the answer guarantees: JSON.", "required": true, "schema": text},
        "ReadRevision": {"description": "The revision that the answer reflects, if there is one.", "required": false, "schema": number},
        "Revision": {"description": "A revision, or a count of changes.", "required": true, "schema": number},
        "Session": {"description": "What the session has seen: send it with the next request.", "required": true, "schema": text},
        "EntityTag": {"description": "The key's modification revision, in quotes.", "required": true, "schema": text},
        "Error": {"description": "The error code.", "required": true, "schema": text},
        "Allow": {"description": "The methods of the path.", "required": true, "schema": text},
        "RetryAfter": {"description": "Seconds to wait.", "required": true, "schema": number},
    })
}
