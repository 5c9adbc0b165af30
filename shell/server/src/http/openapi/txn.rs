//! Transactions, as the document describes them.

use serde_json::{Value, json};
use types::limits::{RANGE_ITEMS_MAX, TXN_OPS_MAX};

use super::parameters::{ACK, DEADLINE, FENCE, IDEMPOTENCY_KEY, KEYSPACE, READ, SESSION, lease_schema};
use super::responses;
use super::schemas::{boolean, list, nullable, number, object, optional, reference, text};
use super::with;

pub(super) fn path() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "post": {
            "operationId": "runTransaction",
            "summary": "Compare keys, then do one of two lists of operations, all at one point in time",
            "parameters": [
                READ.get(), ACK.get(), SESSION.get(), FENCE.get(), IDEMPOTENCY_KEY.get(), DEADLINE.get(),
            ],
            "requestBody": {
                "required": true,
                "content": {"application/json": {"schema": reference("Txn")}},
            },
            "responses": with(
                json!({"200": responses::answer("One of the branches was done, whole.", "TxnAnswer")}),
                &["400", "404", "405", "408", "412", "413", "422", "429", "500", "503", "504", "507"],
            ),
        },
    })
}

pub(super) fn document() -> Value {
    let most = |of: &str| json!({"type": "array", "maxItems": TXN_OPS_MAX, "items": reference(of)});
    let fields = [("compares", most("TxnCompare")), ("then", most("TxnOp")), ("else", most("TxnOp"))];
    let mut document = optional(object(&[]), &fields);
    document["description"] = json!(
        "If all compares hold, `then` is done, else `else`. Compares are decided on the state before, those of \
         nested transactions too; operations run in order. No key may be changed twice."
    );
    document
}

/// The fields of bytes: text, or base64.
fn bytes(name: &str, schema: Value) -> Vec<(String, Value)> {
    let base64 = json!({"type": "string", "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"});
    vec![(name.to_owned(), schema), (format!("{name}_base64"), base64)]
}

fn key() -> Vec<(String, Value)> {
    bytes("key", json!({"type": "string", "minLength": 1, "example": "greeting"}))
}

/// An object of these groups of fields, one of each group.
fn one_of_each(groups: &[Vec<(String, Value)>], more: &[(&str, Value)]) -> Value {
    let mut one = optional(object(&[]), &[]);
    let mut all_of = Vec::new();
    for group in groups {
        let required = group.iter().map(|(name, _)| json!({"required": [name]}));
        all_of.push(json!({"oneOf": required.collect::<Vec<_>>()}));
        for (name, schema) in group {
            one["properties"][name] = schema.clone();
        }
    }
    for (name, schema) in more {
        one["properties"][*name] = schema.clone();
    }
    one["allOf"] = json!(all_of);
    one
}

/// Objects that name one key, or a range, or either.
fn keyed(one: bool, range: bool, more: &[(&str, Value)]) -> Value {
    let mut any_of = Vec::new();
    if one {
        any_of.push(one_of_each(&[key()], more));
    }
    if range {
        any_of.push(one_of_each(&[bytes("key", text()), bytes("range_end", text())], more));
        any_of.push(one_of_each(&[bytes("prefix", text())], more));
    }
    if any_of.len() == 1 { any_of.remove(0) } else { json!({"anyOf": any_of}) }
}

pub(super) fn compare() -> Value {
    let result = ("result", json!({"enum": ["equal", "not_equal", "greater", "less"]}));
    let numbers = [
        ("target", json!({"enum": ["version", "create_revision", "mod_revision"]})),
        result.clone(),
        ("value", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})),
    ];
    let of_value = |name: &'static str| {
        let value = bytes("value", text()).into_iter().find(|(found, _)| found == name);
        let schema = value.expect("it is one of the two").1;
        [("target", json!({"enum": ["value"]})), result.clone(), (name, schema)]
    };
    let variants = [
        keyed(true, true, &numbers),
        keyed(true, true, &of_value("value")),
        keyed(true, true, &of_value("value_base64")),
    ];
    let names =
        [["target", "result", "value"], ["target", "result", "value"], ["target", "result", "value_base64"]];
    let any_of: Vec<Value> = variants
        .into_iter()
        .zip(names)
        .flat_map(|(variant, required)| {
            let variants = variant["anyOf"].as_array().cloned().unwrap_or_default();
            variants.into_iter().map(move |mut one| {
                one["required"] = json!(required);
                one
            })
        })
        .collect();
    json!({"description": "On a range it must hold for every key.", "anyOf": any_of})
}

pub(super) fn op() -> Value {
    let value = bytes("value", text());
    let limit =
        json!({"type": "integer", "minimum": 1, "maximum": RANGE_ITEMS_MAX, "default": RANGE_ITEMS_MAX});
    let mut increment = keyed(
        true,
        false,
        &[(
            "by",
            json!({"type": "integer", "format": "int64",
        "minimum": i64::MIN, "maximum": i64::MAX}),
        )],
    );
    increment["required"] = json!(["by"]);
    let operations = [
        ("put", one_of_each(&[key(), value], &[("lease", lease_schema())])),
        ("increment", increment),
        ("get", keyed(true, false, &[])),
        ("range", keyed(false, true, &[("limit", limit), ("keys_only", boolean())])),
        ("delete", keyed(true, true, &[])),
        ("txn", reference("Txn")),
    ];
    json!({"oneOf": operations.map(|(name, schema)| object(&[(name, schema)]))})
}

pub(super) fn answer() -> Value {
    object(&[
        ("succeeded", boolean()),
        ("revision", number()),
        ("responses", list(reference("TxnResponse"))),
        ("receipt", reference("Receipt")),
    ])
}

pub(super) fn response() -> Value {
    let responses = [
        ("put", object(&[("create_revision", number()), ("version", number())])),
        (
            "increment",
            object(&[
                ("value", json!({"type": "integer"})),
                ("create_revision", number()),
                ("version", number()),
            ]),
        ),
        ("get", object(&[("item", json!({"anyOf": [reference("TxnItem"), {"type": "null"}]}))])),
        ("range", object(&[("items", list(reference("Item"))), ("next_base64", nullable("string"))])),
        ("delete", object(&[("deleted", number())])),
        ("txn", object(&[("succeeded", boolean()), ("responses", list(reference("TxnResponse")))])),
    ];
    json!({"oneOf": responses.map(|(name, schema)| object(&[(name, schema)]))})
}

pub(super) fn item() -> Value {
    object(&[
        ("create_revision", number()),
        ("mod_revision", number()),
        ("version", number()),
        ("value_base64", text()),
    ])
}
