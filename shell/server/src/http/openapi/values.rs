//! Typed values, as the document describes them.

use serde_json::{Value, json};
use types::limits::{RANGE_ITEMS_MAX, TXN_OPS_MAX};
use values::Kind;

use super::parameters::{
    ACK, DEADLINE, FENCE, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH_CREATE, KEY, KEYSPACE, READ, SESSION,
};
use super::responses;
use super::schemas::{boolean, list, nullable, number, object, optional, reference, text};
use super::with;

pub(super) fn path() -> Value {
    let of_part = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": RANGE_ITEMS_MAX});
    json!({
        "parameters": [KEYSPACE.get(), KEY.get()],
        "get": {
            "operationId": "getValue",
            "summary": "Read a typed value, or a part of it",
            "parameters": [
                of_part("part", "What of it.", json!({"enum": ["whole", "member", "members", "field", "scores"]})),
                of_part("member", "With part=member: which.", text()),
                of_part("field", "With part=field: which.", text()),
                of_part("start", "With part=members: this member and later ones.", text()),
                of_part("limit", "With part=members or scores: most of them.", limit),
                of_part("min", "With part=scores: no smaller score.", json!({"type": "number"})),
                of_part("max", "With part=scores: no greater score.", json!({"type": "number"})),
                of_part("skip", "With part=scores: how many to leave out first.", number()),
                of_part("descending", "With part=scores: the greatest first.", boolean()),
                READ.get(), SESSION.get(), DEADLINE.get(),
            ],
            "responses": with(
                json!({"200": responses::answer("What was asked for.", "ValueAnswer")}),
                &["400", "404", "405", "429", "500", "503", "504"],
            ),
        },
        "post": {
            "operationId": "operateOnValue",
            "summary": "Change a typed value: all operations happen, in order and at one revision, or none does",
            "parameters": [
                ACK.get(), SESSION.get(), FENCE.get(), IF_MATCH.get(), IF_NONE_MATCH_CREATE.get(), IDEMPOTENCY_KEY.get(),
                DEADLINE.get(),
            ],
            "requestBody": {
                "required": true,
                "content": {"application/json": {"schema": reference("Operations")}},
            },
            "responses": with(json!({
                "200": responses::answer("The value was changed.", "OperatedAnswer"),
                "201": responses::answer("The value was made.", "OperatedAnswer"),
            }), &["400", "404", "405", "408", "412", "413", "422", "429", "500", "503", "504", "507"]),
        },
    })
}

/// Bytes.
pub(super) fn bytes() -> Value {
    let base64 = json!({"type": "string", "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"});
    json!({"oneOf": [text(), object(&[("base64", base64)])]})
}

pub(super) fn operations() -> Value {
    let operations = json!({
        "type": "array", "minItems": 1, "maxItems": TXN_OPS_MAX, "items": reference("Operation"),
    });
    object(&[("operations", operations)])
}

fn nested() -> Vec<(&'static str, Value)> {
    let by = json!({"type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX});
    let members = object(&[("members", list(reference("Bytes")))]);
    vec![
        ("increment", object(&[("by", by)])),
        ("reset", object(&[])),
        ("add", members.clone()),
        ("remove", members),
    ]
}

fn one_of(operations: Vec<(&'static str, Value)>) -> Value {
    let all: Vec<Value> = operations.into_iter().map(|(name, schema)| object(&[(name, schema)])).collect();
    json!({"oneOf": all})
}

pub(super) fn operation() -> Value {
    let bytes = || reference("Bytes");
    let finite = || json!({"type": "number"});
    let mut operations = nested();
    operations.extend([
        ("set", object(&[("value", bytes())])),
        ("put", object(&[("field", bytes()), ("value", bytes())])),
        ("remove_field", object(&[("field", bytes())])),
        ("within", object(&[("field", bytes()), ("operation", one_of(nested()))])),
        ("score", object(&[("member", bytes()), ("score", finite())])),
        ("increment_score", object(&[("member", bytes()), ("by", finite())])),
    ]);
    one_of(operations)
}

pub(super) fn operated() -> Value {
    let answer = optional(
        object(&[]),
        &[
            ("existed", boolean()),
            ("value", json!({"type": "integer"})),
            ("added", number()),
            ("removed", number()),
            ("score", json!({"type": "number"})),
        ],
    );
    object(&[
        ("revision", number()),
        ("create_revision", number()),
        ("version", number()),
        ("answers", list(answer)),
        ("receipt", reference("Receipt")),
    ])
}

pub(super) fn answer() -> Value {
    let required = object(&[
        ("create_revision", number()),
        ("mod_revision", number()),
        ("version", number()),
        ("receipt", reference("Receipt")),
    ]);
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let scored = object(&[("member", reference("Bytes")), ("score", json!({"type": "number"}))]);
    optional(
        required,
        &[
            ("kind", json!({"enum": kinds})),
            ("value", json!({})),
            ("present", boolean()),
            ("score", nullable("number")),
            ("rank", nullable("integer")),
            ("members", list(reference("Bytes"))),
            ("scores", list(scored)),
            ("total", number()),
            ("next", json!({})),
        ],
    )
}
