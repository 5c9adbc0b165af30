//! The JSON document of a transaction. What is not known, or makes no sense, is refused with its path.

use std::{fmt, marker::PhantomData};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyspace::{Compare, KeyRange, Keys, Relation, Target, Txn, TxnOp, prefix_range};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Number;
use types::{LeaseId, limits::RANGE_ITEMS_MAX};

use crate::http::HttpProblem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    compares: Vec<Object<Condition>>,
    #[serde(default)]
    then: Vec<Step>,
    #[serde(default, rename = "else")]
    otherwise: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(default, deserialize_with = "given")]
    key: Option<String>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    range_end: Option<String>,
    #[serde(default, deserialize_with = "given")]
    range_end_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "given")]
    prefix_base64: Option<String>,
    target: Compared,
    result: Comparison,
    #[serde(default, deserialize_with = "given")]
    value: Option<NumberOrText>,
    #[serde(default, deserialize_with = "given")]
    value_base64: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Compared {
    Version,
    CreateRevision,
    ModRevision,
    Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number from 0, or text")]
enum NumberOrText {
    Number(Number),
    Text(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Put(Object<Put>),
    Increment(Object<Increment>),
    Get(Object<One>),
    Range(Object<Range>),
    Delete(Object<Many>),
    Txn(Object<Document>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    #[serde(default, deserialize_with = "given")]
    key: Option<String>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    value: Option<String>,
    #[serde(default, deserialize_with = "given")]
    value_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    lease: Option<LeaseId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Increment {
    #[serde(default, deserialize_with = "given")]
    key: Option<String>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<String>,
    #[serde(deserialize_with = "whole")]
    by: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    #[serde(default, deserialize_with = "given")]
    key: Option<String>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    #[serde(default, deserialize_with = "given")]
    key: Option<String>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    range_end: Option<String>,
    #[serde(default, deserialize_with = "given")]
    range_end_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "given")]
    prefix_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    #[serde(default, deserialize_with = "given")]
    key: Option<String>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    range_end: Option<String>,
    #[serde(default, deserialize_with = "given")]
    range_end_base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "given")]
    prefix_base64: Option<String>,
    #[serde(default = "limit_default", deserialize_with = "whole")]
    limit: u32,
    #[serde(default)]
    keys_only: bool,
}

fn limit_default() -> u32 {
    RANGE_ITEMS_MAX
}

/// A field that is there; `null` is no way to leave it out.
pub(in crate::http) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A whole number; `7.0` is one too, as JSON Schema has it.
pub(in crate::http) fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let number = Number::deserialize(deserializer)?;
    integer(&number)
        .ok_or_else(|| D::Error::custom(format!("{number} is not a whole number within the limits")))
}

fn integer<T: TryFrom<i128>>(number: &Number) -> Option<T> {
    // From there on the parser has rounded what did not fit 64 bits: it may have been another number.
    let is_whole = |float: &f64| float.fract() == 0.0 && float.abs() < 2_f64.powi(63);
    let float = || number.as_f64().filter(is_whole).map(|float| float as i128);
    T::try_from(number.as_i128().or_else(float)?).ok()
}

/// A JSON object, where an array of its fields would be taken too.
#[derive(Debug)]
pub(in crate::http) struct Object<T>(pub(in crate::http) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Bytes as text or in base64.
type Bytes = (Option<String>, Option<String>);

/// Reads the document.
pub(super) fn parse(document: &[u8]) -> Result<Txn, HttpProblem> {
    let mut json = serde_json::Deserializer::from_slice(document);
    let Object(parsed): Object<Document> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refused(&path, error.inner().to_string())
    })?;
    json.end().map_err(|error| refused(".", error.to_string()))?;
    txn(parsed, "")
}

fn txn(document: Document, path: &str) -> Result<Txn, HttpProblem> {
    let compares = document.compares.into_iter().enumerate();
    let compares =
        compares.map(|(number, Object(condition))| compare(condition, &format!("{path}compares[{number}]")));
    let steps = |name: &str, steps: Vec<Step>| {
        let steps = steps.into_iter().enumerate();
        let ops = steps.map(|(number, step)| op(step, &format!("{path}{name}[{number}]")));
        ops.collect::<Result<Vec<TxnOp>, HttpProblem>>()
    };
    Ok(Txn {
        compares: compares.collect::<Result<_, _>>()?,
        then: steps("then", document.then)?,
        otherwise: steps("else", document.otherwise)?,
    })
}

fn compare(condition: Condition, path: &str) -> Result<Compare, HttpProblem> {
    let Condition { key, key_base64, range_end, range_end_base64, prefix, prefix_base64, .. } = condition;
    let keys = keys((key, key_base64), (range_end, range_end_base64), (prefix, prefix_base64), path)?;
    let wrong = |wanted: &str| refused(&format!("{path}.value"), wanted.to_owned());
    let number = match (&condition.value, &condition.value_base64) {
        (Some(NumberOrText::Number(number)), None) => {
            integer(number).ok_or_else(|| wrong("with this target it must be a whole number from 0"))
        }
        _ => Err(wrong("with this target it must be a whole number from 0")),
    };
    let target = match condition.target {
        Compared::Version => Target::Version(number?),
        Compared::CreateRevision => Target::CreateRevision(number?),
        Compared::ModRevision => Target::ModRevision(number?),
        Compared::Value => match condition.value {
            Some(NumberOrText::Number(_)) => return Err(wrong("with this target it must be text")),
            Some(NumberOrText::Text(text)) => {
                Target::Value(bytes((Some(text), condition.value_base64), path, "value")?)
            }
            None => Target::Value(bytes((None, condition.value_base64), path, "value")?),
        },
    };
    let relation = match condition.result {
        Comparison::Equal => Relation::Equal,
        Comparison::NotEqual => Relation::NotEqual,
        Comparison::Greater => Relation::Greater,
        Comparison::Less => Relation::Less,
    };
    Ok(Compare { keys, target, relation })
}

fn op(step: Step, path: &str) -> Result<TxnOp, HttpProblem> {
    Ok(match step {
        Step::Put(Object(Put { key, key_base64, value, value_base64, lease })) => {
            let path = format!("{path}.put");
            let key = bytes((key, key_base64), &path, "key")?;
            TxnOp::Put { key, value: bytes((value, value_base64), &path, "value")?, lease }
        }
        Step::Increment(Object(Increment { key, key_base64, by })) => {
            TxnOp::Increment { key: bytes((key, key_base64), &format!("{path}.increment"), "key")?, by }
        }
        Step::Get(Object(One { key, key_base64 })) => {
            TxnOp::Get { key: bytes((key, key_base64), &format!("{path}.get"), "key")? }
        }
        Step::Range(Object(range)) => {
            let path = format!("{path}.range");
            let Range { key, key_base64, range_end, range_end_base64, prefix, prefix_base64, .. } = range;
            let found =
                keys((key, key_base64), (range_end, range_end_base64), (prefix, prefix_base64), &path)?;
            let Keys::Range(found) = found else {
                return Err(refused(
                    &format!("{path}.range_end"),
                    "it is missing; a get reads one key".to_owned(),
                ));
            };
            TxnOp::Range { range: found, limit: range.limit, keys_only: range.keys_only }
        }
        Step::Delete(Object(Many {
            key,
            key_base64,
            range_end,
            range_end_base64,
            prefix,
            prefix_base64,
        })) => {
            let (end, prefix) = ((range_end, range_end_base64), (prefix, prefix_base64));
            TxnOp::Delete { keys: keys((key, key_base64), end, prefix, &format!("{path}.delete"))? }
        }
        Step::Txn(Object(document)) => TxnOp::Txn(txn(document, &format!("{path}.txn."))?),
    })
}

/// One key, all from a key up to an end (none when it is empty), or all with a prefix.
fn keys(key: Bytes, end: Bytes, prefix: Bytes, path: &str) -> Result<Keys, HttpProblem> {
    let given = |bytes: &Bytes| bytes.0.is_some() || bytes.1.is_some();
    if given(&prefix) {
        if given(&key) || given(&end) {
            return Err(refused(
                &format!("{path}.prefix"),
                "it goes with no key and no range_end".to_owned(),
            ));
        }
        return Ok(Keys::Range(prefix_range(&bytes(prefix, path, "prefix")?)));
    }
    let key = bytes(key, path, "key")?;
    if !given(&end) {
        return Ok(Keys::One(key));
    }
    let end = Some(bytes(end, path, "range_end")?).filter(|end| !end.is_empty());
    Ok(Keys::Range(KeyRange { start: key, end }))
}

fn bytes(given: Bytes, path: &str, name: &str) -> Result<Vec<u8>, HttpProblem> {
    match given {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| refused(&format!("{path}.{name}_base64"), format!("it is not base64: {error}"))),
        (None, None) => Err(refused(&format!("{path}.{name}"), "it is missing".to_owned())),
        (Some(_), Some(_)) => Err(refused(
            &format!("{path}.{name}"),
            format!("{name}_base64 is there as well: send one of them"),
        )),
    }
}

fn refused(path: &str, reason: String) -> HttpProblem {
    let path = if matches!(path, "." | "?") { "the document" } else { path };
    HttpProblem::invalid(
        format!("{path}: {reason}"),
        "correct the transaction; its form is described at GET /v1/openapi.json",
    )
}

#[cfg(test)]
mod tests;
