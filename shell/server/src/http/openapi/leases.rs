//! Leases, locks and elections, as the document describes them.

use serde_json::{Value, json};
use types::{
    lease::CHOSEN_LEASES_END,
    limits::{LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN, LOCK_QUEUE_COUNT_MAX, RANGE_ITEMS_MAX},
};

use super::parameters::{
    ACK, DEADLINE, FENCE, IDEMPOTENCY_KEY, KEYSPACE, Parameter, READ, SESSION, SHARD, lease_schema,
};
use super::responses;
use super::schemas::{boolean, list, number, object, optional, reference, text};
use super::with;

const LEASE: Parameter = Parameter {
    name: "lease",
    place: "path",
    description: "The lease, in hexadecimal, as granting it answered.",
    schema: lease_schema,
};

const OF_LEASE: Parameter = Parameter {
    name: "lease",
    place: "query",
    description: "The lease that the lock is held under, or waited for.",
    schema: lease_schema,
};

const TOKEN: Parameter = Parameter {
    name: "token",
    place: "query",
    description: "Only if the place has this token.",
    schema: some_number,
};

const AFTER: Parameter = Parameter {
    name: "after",
    place: "query",
    description: "Only leases after this one: `next` of the page before.",
    schema: lease_schema,
};

const MOST: Parameter = Parameter {
    name: "limit",
    place: "query",
    description: "Most leases of the page.",
    schema: || json!({"type": "integer", "minimum": 1, "maximum": RANGE_ITEMS_MAX, "default": RANGE_ITEMS_MAX}),
};

const NAME: Parameter = Parameter {
    name: "name",
    place: "path",
    description: "The name: 1 to 1024 bytes, percent-encoded. A `/` may be written as it is. In a keyspace of several \
        shards it needs a tag, as in `{order-17}/lock`.",
    schema: || json!({"type": "string", "minLength": 1, "example": "job"}),
};

const KNOWN_TOKEN: Parameter = Parameter {
    name: "known_token",
    place: "query",
    description: "Answer only once the leader is another than this one, or its value another; 0: none is known. With \
        known_mod_revision.",
    schema: some_number,
};

const KNOWN_REVISION: Parameter = Parameter {
    name: "known_mod_revision",
    place: "query",
    description: "See known_token.",
    schema: some_number,
};

fn some_number() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": i64::MAX})
}

fn body(schema: &str) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}})
}

const READ_PROBLEMS: [&str; 7] = ["400", "404", "405", "429", "500", "503", "504"];
const WRITE_PROBLEMS: [&str; 10] = ["400", "404", "405", "412", "422", "429", "500", "503", "504", "507"];

fn write_problems(more: &[&'static str]) -> Vec<&'static str> {
    [&WRITE_PROBLEMS, more].concat()
}

/// Every path, with what is there.
pub(super) fn paths() -> [(&'static str, Value); 5] {
    [
        ("/v1/keyspaces/{keyspace}/leases", leases()),
        ("/v1/keyspaces/{keyspace}/leases/{lease}", lease()),
        ("/v1/keyspaces/{keyspace}/leases/{lease}/keepalive", keep_alive()),
        ("/v1/keyspaces/{keyspace}/locks/{name}", lock()),
        ("/v1/keyspaces/{keyspace}/elections/{name}", election()),
    ]
}

fn leases() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "get": {
            "operationId": "listLeases",
            "summary": "The leases of a shard, in order of their ids",
            "parameters": [SHARD.get(), AFTER.get(), MOST.get(), READ.get(), SESSION.get(), DEADLINE.get()],
            "responses": with(json!({"200": responses::answer("A page.", "Leases")}), &READ_PROBLEMS),
        },
        "post": {
            "operationId": "grantLease",
            "summary": "Begin a lease: keys bound to it are removed when it ends",
            "parameters": [ACK.get(), SESSION.get(), FENCE.get(), IDEMPOTENCY_KEY.get(), DEADLINE.get()],
            "requestBody": body("LeaseGrant"),
            "responses": with(
                json!({"201": responses::answer("It is granted, for so long from when this request was sent.", "LeaseGranted")}),
                &write_problems(&["408", "409", "413"]),
            ),
        },
    })
}

fn lease() -> Value {
    json!({
        "parameters": [KEYSPACE.get(), LEASE.get()],
        "get": {
            "operationId": "getLease",
            "summary": "A lease, the time that it has left, and its keys",
            "parameters": [SESSION.get(), DEADLINE.get()],
            "responses": with(json!({"200": responses::answer("The lease.", "Lease")}), &READ_PROBLEMS),
        },
        "delete": {
            "operationId": "revokeLease",
            "summary": "End a lease: its keys are removed, all at one revision",
            "parameters": [ACK.get(), SESSION.get(), FENCE.get(), IDEMPOTENCY_KEY.get(), DEADLINE.get()],
            "responses": with(json!({"200": responses::answer("It is over.", "LeaseRevoked")}), &WRITE_PROBLEMS),
        },
    })
}

fn keep_alive() -> Value {
    json!({
        "parameters": [KEYSPACE.get(), LEASE.get()],
        "post": {
            "operationId": "keepLeaseAlive",
            "summary": "Give a lease its whole time again; nothing is written",
            "parameters": [SESSION.get(), DEADLINE.get()],
            "responses": with(
                json!({"200": responses::answer("It lives at least `remaining_ms` from when this request was sent.", "LeaseKept")}),
                &READ_PROBLEMS,
            ),
        },
    })
}

fn release(id: &str, summary: &str) -> Value {
    let required = |parameter: &Parameter| {
        let mut parameter = parameter.get();
        parameter["required"] = json!(true);
        parameter
    };
    json!({
        "operationId": id,
        "summary": summary,
        "parameters": [
            required(&OF_LEASE), TOKEN.get(), ACK.get(), SESSION.get(), FENCE.get(), IDEMPOTENCY_KEY.get(),
            DEADLINE.get(),
        ],
        "responses": with(
            json!({"200": responses::answer("The lease has no place there any more.", "LockReleased")}),
            &WRITE_PROBLEMS,
        ),
    })
}

fn acquire(id: &str, summary: &str) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "parameters": [ACK.get(), SESSION.get(), FENCE.get(), DEADLINE.get()],
        "requestBody": body("LockAcquire"),
        "responses": with(
            json!({"200": responses::answer("It is held.", "LockHeld")}),
            &write_problems(&["408", "409", "413"]),
        ),
    })
}

fn lock() -> Value {
    json!({
        "parameters": [KEYSPACE.get(), NAME.get()],
        "post": acquire("acquireLock", "Wait in order until the lock is held, or the deadline"),
        "get": {
            "operationId": "getLock",
            "summary": "Who holds a lock, and how many wait",
            "parameters": [READ.get(), SESSION.get(), DEADLINE.get()],
            "responses": with(json!({"200": responses::answer("The lock.", "Lock")}), &READ_PROBLEMS),
        },
        "delete": release("releaseLock", "Release a lock, or leave its queue"),
    })
}

fn election() -> Value {
    json!({
        "parameters": [KEYSPACE.get(), NAME.get()],
        "post": acquire("campaign", "Wait in order until this candidate leads, or the deadline"),
        "put": {
            "operationId": "proclaim",
            "summary": "Set the value of a candidate, the leader or one that waits",
            "parameters": [ACK.get(), SESSION.get(), FENCE.get(), IDEMPOTENCY_KEY.get(), DEADLINE.get()],
            "requestBody": body("Proclaim"),
            "responses": with(
                json!({"200": responses::answer("The value is set.", "Proclaimed")}),
                &write_problems(&["408", "413"]),
            ),
        },
        "get": {
            "operationId": "observeElection",
            "summary": "Who leads; or, with what is known, the next leader or value",
            "parameters": [KNOWN_TOKEN.get(), KNOWN_REVISION.get(), READ.get(), SESSION.get(), DEADLINE.get()],
            "responses": with(
                json!({"200": responses::answer("The leader.", "Lock")}),
                &[&READ_PROBLEMS[..], &["422"]].concat(),
            ),
        },
        "delete": release("resign", "Resign, or leave the queue of candidates"),
    })
}

fn value_fields() -> [(&'static str, Value); 2] {
    let base64 = json!({"type": "string", "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"});
    [("value", text()), ("value_base64", base64)]
}

/// Without both spellings of the value.
fn one_value(mut schema: Value) -> Value {
    schema["not"] = json!({"required": ["value", "value_base64"]});
    schema
}

fn ttl() -> Value {
    json!({"type": "integer", "minimum": LEASE_TTL_MS_MIN, "maximum": LEASE_TTL_MS_MAX, "example": 10_000})
}

/// Every named schema.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let receipt = || ("receipt", reference("Receipt"));
    let mut chosen = lease_schema();
    chosen["maxLength"] = json!((CHOSEN_LEASES_END.ilog2() / 4) as usize);
    let fields = [("lease", lease_schema()), ("ttl_ms", ttl()), ("keep_place", boolean())];
    let acquire = [&fields[..], &value_fields()[..]].concat();
    let mut acquire = one_value(optional(object(&[]), &acquire));
    acquire["oneOf"] = json!([{"required": ["lease"]}, {"required": ["ttl_ms"]}]);
    let holder = object(&[
        ("lease", lease_schema()),
        ("token", number()),
        ("mod_revision", number()),
        ("value_base64", text()),
    ]);
    let waiters = json!({"type": "integer", "minimum": 0, "maximum": LOCK_QUEUE_COUNT_MAX});
    let key = object(&[("key", text()), ("key_base64", text())]);
    let granted = [("id", lease_schema()), ("ttl_ms", number())];
    let kept = [&granted[..], &[("remaining_ms", number())]].concat();
    let listed = object(&[&granted[..], &[("keys", number())]].concat());
    let next = json!({"anyOf": [lease_schema(), {"type": "null"}]});
    vec![
        ("LeaseGrant", optional(object(&[("ttl_ms", ttl())]), &[("id", chosen), ("beside", text())])),
        ("LeaseGranted", object(&[&granted[..], &[receipt()]].concat())),
        ("LeaseKept", object(&[&kept[..], &[receipt()]].concat())),
        ("Lease", object(&[&kept[..], &[("keys", list(key)), receipt()]].concat())),
        ("Leases", object(&[("leases", list(listed)), ("next", next), receipt()])),
        ("LeaseRevoked", object(&[("id", lease_schema()), ("keys", number()), receipt()])),
        ("LockAcquire", acquire),
        (
            "LockHeld",
            object(&[
                ("name", text()),
                ("lease", lease_schema()),
                ("token", number()),
                ("fence", text()),
                receipt(),
            ]),
        ),
        (
            "Lock",
            object(&[
                ("name", text()),
                ("holder", json!({"anyOf": [holder, {"type": "null"}]})),
                ("waiters", waiters),
                receipt(),
            ]),
        ),
        ("LockReleased", object(&[("name", text()), ("released", boolean()), receipt()])),
        (
            "Proclaim",
            one_value(optional(
                object(&[("lease", lease_schema()), ("token", some_number())]),
                &value_fields(),
            )),
        ),
        (
            "Proclaimed",
            object(&[("name", text()), ("token", number()), ("mod_revision", number()), receipt()]),
        ),
    ]
}
