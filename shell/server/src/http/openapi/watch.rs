//! Watches and compaction, as the document describes them.

use serde_json::{Value, json};
use types::limits::SHARDS_MAX;

use super::parameters::{ACK, DEADLINE, END, IDEMPOTENCY_KEY, KEYSPACE, PREFIX, Parameter, SESSION, START};
use super::responses;
use super::schemas::{number, object, optional, reference};
use super::with;

pub(super) const REVISION: Parameter = Parameter {
    name: "revision",
    place: "query",
    description: "Read as of this revision, instead of the newest.",
    schema: revision,
};

const KEY: Parameter = Parameter {
    name: "key",
    place: "query",
    description: "Watch this key alone. Not with prefix, start or end.",
    schema: || json!({"type": "string", "minLength": 1}),
};

const FROM: Parameter = Parameter {
    name: "from_revision",
    place: "query",
    description: "The first revision to be told of. Left out: the one after all that the node has applied.",
    schema: revision,
};

const PREV: Parameter = Parameter {
    name: "prev",
    place: "query",
    description: "With the versions before.",
    schema: || json!({"type": "boolean", "default": false}),
};

const SHARD: Parameter = Parameter {
    name: "shard",
    place: "query",
    description: "The shard to watch, which a range needs in a keyspace of several.",
    schema: || json!({"type": "integer", "minimum": 0, "maximum": SHARDS_MAX - 1}),
};

const FOR: Parameter = Parameter {
    name: "for_ms",
    place: "query",
    description: "End the stream after so many milliseconds. Left out: it goes on.",
    schema: revision,
};

const LAST_EVENT_ID: Parameter = Parameter {
    name: "Last-Event-ID",
    place: "header",
    description: "The id of the last event seen: watch from the revision after it, whatever from_revision says.",
    schema: || json!({"type": "string", "pattern": "^[0-9]{1,18}$"}),
};

fn revision() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": (1_u64 << 53) - 1})
}

pub(super) fn path() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "get": {
            "operationId": "watchKeys",
            "summary": "Every change of the keys, in order, as server-sent events; each id is a revision",
            "description": "Events: `started`, then `changes` (all changes of one revision), `progress` (all up to a \
                revision has been told), and, at the end, `error` with a problem. A comment breaks every silence.",
            "parameters": [
                KEY.get(), PREFIX.get(), START.get(), END.get(), FROM.get(), PREV.get(), SHARD.get(), FOR.get(),
                SESSION.get(), LAST_EVENT_ID.get(),
            ],
            "responses": with(
                json!({"200": responses::events("The stream.")}),
                &["400", "404", "405", "410", "429", "503"],
            ),
        },
    })
}

pub(super) fn compact_path() -> Value {
    json!({
        "parameters": [KEYSPACE.get()],
        "post": {
            "operationId": "compactHistory",
            "summary": "Give up the history up to a revision: it can then be neither watched nor read",
            "parameters": [ACK.get(), SESSION.get(), IDEMPOTENCY_KEY.get(), DEADLINE.get()],
            "requestBody": {
                "required": true,
                "content": {"application/json": {"schema": reference("Compaction")}},
            },
            "responses": with(
                json!({"200": responses::answer("It is given up, or was before.", "Compacted")}),
                &["400", "404", "405", "408", "413", "422", "429", "500", "503", "504", "507"],
            ),
        },
    })
}

pub(super) fn compaction() -> Value {
    let shard = json!({"type": ["integer", "null"], "minimum": 0, "maximum": SHARDS_MAX - 1});
    optional(object(&[("revision", revision())]), &[("shard", shard)])
}

pub(super) fn compacted() -> Value {
    object(&[("revision", number()), ("oldest_revision", number()), ("receipt", reference("Receipt"))])
}
