//! The API's description, OpenAPI 3.1: complete, so that a tester can hold the server to it.

mod leases;
mod parameters;
mod responses;
mod schemas;
mod txn;
mod values;
mod watch;

use serde_json::{Value, json};

use parameters::{
    ACK_OF_KEY, CLIENT, CURSOR, DEADLINE, END, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH_CREATE,
    IF_NONE_MATCH_READ, IF_VERSION, KEY, KEYSPACE, LIMIT,
};
use parameters::{FENCE, OF_KEY, PREFIX, READ, REQUEST_ID, SESSION, SHARD, START, VALUES, VERIFY};
use responses::{answer, json_object, problems, text};

/// The whole document.
pub(super) fn document() -> Value {
    let mut document = most();
    for (path, item) in leases::paths() {
        document["paths"][path] = item;
    }
    for (name, schema) in leases::schemas() {
        document["components"]["schemas"][name] = schema;
    }
    document
}

fn most() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorate",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Keys and values, replicated by Raft. Every answer carries a receipt that says \
                what it guarantees; every failure says whether it was applied, whether a retry is safe, \
                and what to do next.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/v1/keyspaces/{keyspace}/keys/{key}": key_path(),
            "/v1/keyspaces/{keyspace}/keys": keys_path(),
            "/v1/keyspaces/{keyspace}/txn": txn::path(),
            "/v1/keyspaces/{keyspace}/watch": watch::path(),
            "/v1/keyspaces/{keyspace}/compact": watch::compact_path(),
            "/v1/keyspaces/{keyspace}/values/{key}": values::path(),
            "/v1/keyspaces/{keyspace}/hash": hash_path(),
            "/v1/keyspaces": keyspaces_path(),
            "/v1/keyspaces/{keyspace}": keyspace_path(),
            "/v1/lost-writes": lost_path(),
            "/v1/status": {"get": {
                "operationId": "getStatus",
                "summary": "What this node knows of itself and the cluster",
                "responses": with(json!({"200": answer("The node's view.", "Status")}), &["405", "429", "503"]),
            }},
            "/v1/openapi.json": {"get": {
                "operationId": "getDescription",
                "summary": "This document",
                "responses": with(json!({"200": json_object("This document.")}), &["405"]),
            }},
            "/errors/{code}": {"get": {
                "operationId": "getErrorPage",
                "summary": "What an error code means, and what to do about it",
                "parameters": [parameters::code()],
                "responses": with(json!({"200": text("The page.", "text/markdown")}), &["404", "405"]),
            }},
            "/healthz": {"get": {
                "operationId": "getHealth",
                "summary": "Whether the process lives",
                "responses": with(json!({"200": answer("It does.", "Health")}), &["405"]),
            }},
            "/readyz": {"get": {
                "operationId": "getReadiness",
                "summary": "Whether this node can serve every keyspace now",
                "responses": with(json!({
                    "200": answer("It can.", "Readiness"),
                    "503": answer("It cannot: the reasons are in the answer.", "Readiness"),
                }), &["405"]),
            }},
            "/metrics": {"get": {
                "operationId": "getMetrics",
                "summary": "Figures for Prometheus",
                "responses": with(json!({
                    "200": text("OpenMetrics text.", "application/openmetrics-text"),
                }), &["405"]),
            }},
        },
        "components": {"schemas": schemas::all(), "headers": responses::headers()},
    })
}

fn key_path() -> Value {
    let read = ["400", "404", "405", "410", "429", "500", "503", "504"];
    let write = ["400", "404", "405", "412", "422", "429", "500", "503", "504", "507"];
    let get = |id: &str, summary: &str, ok: Value| {
        json!({
            "operationId": id,
            "summary": summary,
            "parameters": [READ.get(), watch::REVISION.get(), SESSION.get(), IF_NONE_MATCH_READ.get(), DEADLINE.get()],
            "responses": with(json!({"200": ok, "304": responses::not_modified()}), &read),
        })
    };
    json!({
        "parameters": [KEYSPACE.get(), KEY.get()],
        "get": get("getKey", "Read a key", responses::value()),
        "head": get("headKey", "Read all of a key but its value", responses::value_head()),
        "put": {
            "operationId": "putKey",
            "summary": "Set a key, durably on a majority",
            "parameters": [
                ACK_OF_KEY.get(), OF_KEY.get(), SESSION.get(), FENCE.get(), IF_MATCH.get(), IF_NONE_MATCH_CREATE.get(), IDEMPOTENCY_KEY.get(),
                CLIENT.get(), REQUEST_ID.get(), DEADLINE.get(),
            ],
            "requestBody": {
                "required": false,
                "description": "The value: any bytes, up to 1 MiB. None: the empty value.",
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": with(json!({
                "200": answer("The key was changed.", "PutAnswer"),
                "201": answer("The key was created.", "PutAnswer"),
                "202": answer("It was taken, and is not committed yet.", "AcceptedAnswer"),
            }), &[&write[..], &["408", "413"]].concat()),
        },
        "delete": {
            "operationId": "deleteKey",
            "summary": "Remove a key, durably on a majority; removing what is not there is no error",
            "parameters": [
                ACK_OF_KEY.get(), SESSION.get(), FENCE.get(), IF_MATCH.get(), IDEMPOTENCY_KEY.get(), CLIENT.get(), REQUEST_ID.get(),
                DEADLINE.get(),
            ],
            "responses": with(json!({
                "200": answer("The key is gone.", "DeleteAnswer"),
                "202": answer("It was taken, and is not committed yet.", "AcceptedAnswer"),
            }), &write),
        },
    })
}

fn keys_path() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "get": {
            "operationId": "listKeys",
            "summary": "List keys in order, a page at a time; all bounds that are given hold together",
            "parameters": [
                PREFIX.get(), START.get(), END.get(), LIMIT.get(), CURSOR.get(), VALUES.get(), READ.get(),
                watch::REVISION.get(), SESSION.get(), DEADLINE.get(),
            ],
            "responses": with(
                json!({"200": answer("A page.", "Page")}),
                &["400", "404", "405", "410", "429", "500", "503", "504"],
            ),
        },
    })
}

fn keyspaces_path() -> Value {
    json!({"get": {
        "operationId": "listKeyspaces",
        "summary": "Every keyspace with its contract, read linearizably from the meta group",
        "parameters": [DEADLINE.get()],
        "responses": with(
            json!({"200": answer("All keyspaces, in name order.", "Keyspaces")}),
            &["400", "405", "429", "500", "503", "504"],
        ),
    }})
}

fn keyspace_path() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "get": {
            "operationId": "getKeyspace",
            "summary": "A keyspace's contract, and what it means when something fails",
            "parameters": [DEADLINE.get()],
            "responses": with(
                json!({"200": answer("The keyspace.", "KeyspaceShown")}),
                &["400", "404", "405", "429", "500", "503", "504"],
            ),
        },
        "put": {
            "operationId": "createKeyspace",
            "summary": "Create a keyspace; that it exists under an equal contract is success too. With If-Match: replace \
                the contract of one that exists",
            "parameters": [IF_VERSION.get(), DEADLINE.get()],
            "requestBody": {
                "required": false,
                "description": "The contract. Fields that are left out have their default; none: all have.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Contract"}}},
            },
            "responses": with(json!({
                "200": answer("It existed already, and has this contract.", "KeyspaceCreated"),
                "201": answer("It was created, and can be used on this node.", "KeyspaceCreated"),
            }), &["400", "404", "405", "408", "409", "412", "413", "422", "429", "500", "503", "504", "507"]),
        },
        "patch": {
            "operationId": "alterKeyspace",
            "summary": "Change fields of a keyspace's contract while it serves",
            "parameters": [IF_VERSION.get(), DEADLINE.get()],
            "requestBody": {
                "required": true,
                "description": "The fields that change; null unsets one.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Contract"}}},
            },
            "responses": with(json!({
                "200": answer("The contract is so now, and this node goes by it.", "KeyspaceAltered"),
            }), &["400", "404", "405", "408", "409", "412", "413", "422", "429", "500", "503", "504", "507"]),
        },
        "delete": {
            "operationId": "deleteKeyspace",
            "summary": "Delete a keyspace with all that is in it",
            "parameters": [IF_VERSION.get(), DEADLINE.get()],
            "responses": with(json!({
                "200": answer("It is gone: this is what it was.", "KeyspaceDeleted"),
            }), &["400", "404", "405", "409", "412", "422", "429", "500", "503", "504", "507"]),
        },
    })
}

fn lost_path() -> Value {
    json!({
        "get": {
            "operationId": "listLostWrites",
            "summary": "What was acknowledged before it was committed and did not survive a failover, a page at a time",
            "parameters": [parameters::AFTER.get(), DEADLINE.get()],
            "responses": with(
                json!({"200": answer("The page.", "LostWrites")}),
                &["400", "405", "422", "429", "500", "503", "504"],
            ),
        },
        "delete": {
            "operationId": "acknowledgeLostWrites",
            "summary": "Take items off the list: somebody has seen them",
            "parameters": [parameters::LOST_IDS.get(), DEADLINE.get()],
            "responses": with(
                json!({"200": answer("They are off the list.", "LostAcknowledged")}),
                &["400", "405", "422", "429", "500", "503", "504", "507"],
            ),
        },
    })
}

fn hash_path() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "get": {
            "operationId": "getHash",
            "summary": "The hash of this node's replica: replicas at one applied index have one hash",
            "parameters": [VERIFY.get(), SHARD.get()],
            "responses": with(
                json!({"200": answer("The hash.", "Hash")}),
                &["400", "404", "405", "429", "500", "503"],
            ),
        },
    })
}

/// Adds problems by status.
fn with(mut responses: Value, statuses: &[&str]) -> Value {
    let all = responses.as_object_mut().expect("responses are an object");
    all.extend(problems(statuses));
    responses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("references stay in the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own_and_say_how_they_fail() {
        let document = document();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path} {method}");
                assert!(operation["responses"].get("405").is_some(), "{path} {method}");
            }
        }
    }
}
