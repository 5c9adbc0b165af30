//! What operations did and what a value shows, as JSON. Bytes are text where they are UTF-8, else
//! `{"base64": "..."}`.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyspace::ValueRow;
use serde_json::{Value as Json, json};
use types::Receipt;
use values::{Answer, Body, Counter, Field, Shown, Value};

/// The answer to operations.
pub(super) fn operated(numbers: [u64; 3], answers: &[Answer], receipt: &Receipt) -> Json {
    let [revision, create_revision, version] = numbers;
    let answers: Vec<Json> = answers.iter().map(answer).collect();
    json!({
        "revision": revision,
        "create_revision": create_revision,
        "version": version,
        "answers": answers,
        "receipt": receipt,
    })
}

fn answer(answer: &Answer) -> Json {
    match answer {
        Answer::Assigned { existed } => json!({"existed": existed}),
        Answer::Count { value } => json!({"value": value}),
        Answer::Inserted { members } => json!({"added": members}),
        Answer::Removed { members } => json!({"removed": members}),
        Answer::Scored { score, existed } => json!({"score": score.get(), "existed": existed}),
    }
}

/// The answer to a read; `None` if the value has no such part.
pub(super) fn shown(row: &ValueRow, receipt: &Receipt) -> Option<Json> {
    let mut json = match &row.shown {
        Shown::Value(value) => json!({"kind": value.kind().name(), "value": whole(value)}),
        Shown::Member { present, score, rank } => {
            json!({"present": present, "score": score.map(|score| score.get()), "rank": rank})
        }
        Shown::Members { members, total, next } => json!({
            "members": members.iter().map(|member| text(member)).collect::<Vec<_>>(),
            "total": total,
            "next": next.as_deref().map(text),
        }),
        Shown::Scores { scores, total, next } => json!({
            "scores": scores.iter().map(|(member, score)| scored(member, score.get())).collect::<Vec<_>>(),
            "total": total,
            "next": next,
        }),
        Shown::NotOf { .. } => return None,
    };
    json["create_revision"] = row.create_revision.into();
    json["mod_revision"] = row.mod_revision.into();
    json["version"] = row.version.into();
    json["receipt"] = json!(receipt);
    Some(json)
}

fn whole(value: &Value) -> Json {
    match value.body() {
        Body::Register(register) => json!(register.get().map(text)),
        Body::Counter(counter) => count(counter),
        Body::Set(set) => set.members_from(b"").map(text).collect(),
        Body::Map(map) => map.fields().flat_map(|(name, field)| fields(name, field)).collect(),
        Body::SortedSet(set) => {
            set.by_score().into_iter().map(|(member, score)| scored(member, score.get())).collect()
        }
    }
}

/// What is in a field, by kind: usually one.
fn fields(name: &[u8], field: &Field) -> Vec<Json> {
    let register = field.register.as_ref().map(|register| ("register", json!(register.get().map(text))));
    let counter = field.counter.as_ref().map(|counter| ("counter", count(counter)));
    let set = field.set.as_ref().map(|set| ("set", set.members_from(b"").map(text).collect()));
    let all = register.into_iter().chain(counter).chain(set);
    all.map(|(kind, value)| json!({"field": text(name), "kind": kind, "value": value})).collect()
}

/// A sum that does not fit 64 bits is text: few readers of JSON have such numbers.
fn count(counter: &Counter) -> Json {
    let sum = counter.get();
    i64::try_from(sum).map_or_else(|_| json!(sum.to_string()), Json::from)
}

fn scored(member: &[u8], score: f64) -> Json {
    json!({"member": text(member), "score": score})
}

fn text(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"base64": STANDARD.encode(bytes)}),
    }
}
