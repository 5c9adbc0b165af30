//! Parameters, as the document describes them and the handlers read them.

use serde_json::{Value, json};
use types::{
    ErrorCode,
    contract::Ack,
    limits::{RANGE_ITEMS_MAX, SHARDS_MAX},
};

use crate::http::params::{TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX};

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: fn() -> Value,
}

impl Parameter {
    /// As the document has it.
    pub(super) fn get(&self) -> Value {
        json!({
            "name": self.name,
            "in": self.place,
            "required": self.place == "path" || self.name == LOST_IDS.name,
            "description": self.description,
            "schema": (self.schema)(),
        })
    }
}

pub(super) const KEYSPACE: Parameter = Parameter {
    name: "keyspace",
    place: "path",
    description: "The keyspace's name.",
    schema: || json!({"type": "string", "minLength": 1, "example": "default"}),
};

pub(super) const SHARD: Parameter = Parameter {
    name: "shard",
    place: "query",
    description: "Which shard of the keyspace; the first, 0, unless said.",
    schema: || json!({"type": "integer", "minimum": 0, "maximum": SHARDS_MAX - 1}),
};

pub(super) const READ: Parameter = Parameter {
    name: "read",
    place: "query",
    description: "What the read guarantees; as the keyspace's contract says unless it is given.",
    schema: || json!({"type": "string", "pattern": READ_PATTERN, "example": "bounded(5s)"}),
};

/// A bound is from 1 ms to 1 hour.
const READ_PATTERN: &str = "^(strong|causal|eventual|bounded\\(([1-9][0-9]{0,2}s|[1-9][0-9]{0,5}ms)\\))$";

pub(super) const ACK: Parameter = Parameter {
    name: "ack",
    place: "query",
    description: "When the write is acknowledged; as the keyspace's contract says unless it is given.",
    schema: || json!({"enum": [Ack::Quorum.name(), Ack::All.name()]}),
};

pub(super) const ACK_OF_KEY: Parameter = Parameter {
    schema: || json!({"enum": Ack::ALL.iter().map(|ack| ack.name()).collect::<Vec<_>>()}),
    description: "When the write is acknowledged; as the keyspace's contract says unless it is given. `none` and `leader` \
        are for writes without a condition or an idempotency key.",
    ..ACK
};

pub(super) const CLIENT: Parameter = Parameter {
    name: "Quorate-Client",
    place: "header",
    description: "What the client calls itself, for the list of lost writes.",
    schema: || json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{0,64}$"}),
};

pub(super) const REQUEST_ID: Parameter = Parameter {
    name: "Quorate-Request-Id",
    place: "header",
    description: "What the client calls the request, for the list of lost writes.",
    schema: || json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{0,64}$"}),
};

pub(super) const AFTER: Parameter = Parameter {
    name: "after",
    place: "query",
    description: "Only what comes after this item: `next` of the page before.",
    schema: || json!({"type": "string", "pattern": LOST_ID}),
};

pub(super) const LOST_IDS: Parameter = Parameter {
    name: "ids",
    place: "query",
    description: "Names of the items, with commas between them; 128 at most.",
    schema: || json!({"type": "string", "pattern": LOST_ID}),
};

/// One item's name.
const LOST_ID: &str = "^(bound-[0-9]{1,9}-[0-9]{1,9}|(write|more)-[0-9]{1,9}-[0-9]{1,9}-[0-9]{1,9})$";

pub(super) const SESSION: Parameter = Parameter {
    name: "Quorate-Session",
    place: "header",
    description: "What the session has seen: the header of the same name of its last answer.",
    schema: || json!({"type": "string", "pattern": SESSION_PATTERN, "example": "64:1045"}),
};

const SESSION_PATTERN: &str = "^([1-9][0-9]{0,9}:[1-9][0-9]{0,9})?(@[1-9][0-9]{0,12}\\.[0-5][0-9]{4})?$";

pub(super) const KEY: Parameter = Parameter {
    name: "key",
    place: "path",
    description: "The key: 1 to 4096 bytes, percent-encoded. A `/` may be written as it is.",
    schema: || json!({"type": "string", "minLength": 1, "example": "greeting"}),
};

pub(super) const IF_MATCH: Parameter = Parameter {
    name: "If-Match",
    place: "header",
    description: "Only if the key exists (`*`), or is at this revision (`\"7\"`). Not with If-None-Match.",
    schema: || any_or(json!({"type": "string", "pattern": "^\"[1-9][0-9]{0,17}\"$"})),
};

pub(super) const IF_VERSION: Parameter = Parameter {
    name: "If-Match",
    place: "header",
    description: "Only if the keyspace exists (`*`), or its contract is of this version (`\"2\"`).",
    schema: || any_or(json!({"type": "string", "pattern": "^\"[1-9][0-9]{0,17}\"$"})),
};

pub(super) const IF_NONE_MATCH_CREATE: Parameter = Parameter {
    name: "If-None-Match",
    place: "header",
    description: "Only if the key does not exist. Not with If-Match.",
    schema: || json!({"type": "string", "enum": ["*"]}),
};

pub(super) const IF_NONE_MATCH_READ: Parameter = Parameter {
    name: "If-None-Match",
    place: "header",
    description: "Answer 304 if the key is at one of these revisions, or, with `*`, if it exists.",
    schema: || {
        let tag = "(W/)?\"[1-9][0-9]{0,17}\"";
        any_or(json!({"type": "string", "pattern": format!("^{tag}(, *{tag})*$")}))
    },
};

pub(super) const IDEMPOTENCY_KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    place: "header",
    description: "Carry this request out at most once, however often it is sent with this key: 1 to 255 \
        bytes of printable ASCII in quotes, or a word without them. A new key for every new request.",
    schema: || json!({"type": "string", "pattern": r#"^("([ !#-\[\]-~]|\\["\\]){1,255}"|[A-Za-z0-9._~+/=:-]{1,255})$"#}),
};

pub(super) const FENCE: Parameter = Parameter {
    name: "Quorate-Fence",
    place: "header",
    description: "Carry this out only while the lock is held with this token: `fence` of acquiring it.",
    schema: || {
        let pattern = "^([A-Za-z0-9._~/-]{1,100}:[1-9][0-9]{0,17})$";
        json!({"anyOf": [{"type": "string", "pattern": pattern}, {"enum": ["job:17"]}]})
    },
};

pub(super) const OF_KEY: Parameter = Parameter {
    name: "lease",
    place: "query",
    description: "The lease that the key is bound to from now on; without, it is bound to none.",
    schema: lease_schema,
};

/// A lease's id.
pub(super) fn lease_schema() -> Value {
    json!({"type": "string", "pattern": "^([1-9a-f][0-9a-f]{0,14}|[1-7][0-9a-f]{15})$", "example": "4000000000000123"})
}

pub(super) const DEADLINE: Parameter = Parameter {
    name: "Quorate-Timeout-Ms",
    place: "header",
    description: "How long to wait for the answer, in milliseconds.",
    schema: || json!({"type": "integer", "minimum": 1, "maximum": TIMEOUT_MS_MAX, "default": TIMEOUT_MS_DEFAULT}),
};

pub(super) const PREFIX: Parameter = Parameter {
    name: "prefix",
    place: "query",
    description: "Only keys that begin with these bytes.",
    schema: text,
};

pub(super) const START: Parameter =
    Parameter { name: "start", place: "query", description: "Only this key and later ones.", schema: text };

pub(super) const END: Parameter = Parameter {
    name: "end",
    place: "query",
    description: "Only keys before this one. Empty: no end.",
    schema: text,
};

pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    place: "query",
    description: "Most items of the page. It may have fewer.",
    schema: || json!({"type": "integer", "minimum": 1, "maximum": RANGE_ITEMS_MAX, "default": RANGE_ITEMS_MAX}),
};

pub(super) const CURSOR: Parameter = Parameter {
    name: "cursor",
    place: "query",
    description: "`next` of the page before, unchanged; the other parameters stay as they were.",
    schema: || json!({"type": "string", "pattern": "^([0-9a-f]{2})+$"}),
};

pub(super) const VALUES: Parameter = Parameter {
    name: "values",
    place: "query",
    description: "With the values.",
    schema: || json!({"type": "boolean", "default": false}),
};

pub(super) const VERIFY: Parameter = Parameter {
    name: "verify",
    place: "query",
    description: "Read and check this node's whole checkpoint anew. Takes as long as reading it takes.",
    schema: || json!({"type": "boolean", "default": false}),
};

/// The name of an error code.
pub(super) fn code() -> Value {
    json!({
        "name": "code",
        "in": "path",
        "required": true,
        "description": "The code.",
        "schema": {"enum": ErrorCode::ALL.iter().map(|code| code.name()).collect::<Vec<_>>()},
    })
}

/// `*`, or what the schema says.
fn any_or(schema: Value) -> Value {
    json!({"anyOf": [{"enum": ["*"]}, schema]})
}

fn text() -> Value {
    json!({"type": "string"})
}
