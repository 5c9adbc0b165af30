//! The JSON document of operations. What is not known, or makes no sense, is refused with its path.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error};
use values::{Operation, Score};

use crate::http::{
    HttpProblem,
    txn::{Object, whole},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    operations: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Set(Object<Assign>),
    Increment(Object<Add>),
    Reset(Object<Nothing>),
    Add(Object<Members>),
    Remove(Object<Members>),
    Put(Object<Put>),
    RemoveField(Object<Field>),
    Within(Object<Within>),
    Score(Object<Scored>),
    IncrementScore(Object<MoreScore>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assign {
    value: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    #[serde(deserialize_with = "whole")]
    by: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    members: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    field: Text,
    value: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    field: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Within {
    field: Text,
    operation: Inner,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Inner {
    Increment(Object<Add>),
    Reset(Object<Nothing>),
    Add(Object<Members>),
    Remove(Object<Members>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scored {
    member: Text,
    #[serde(deserialize_with = "finite")]
    score: Score,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoreScore {
    member: Text,
    #[serde(deserialize_with = "finite")]
    by: Score,
}

fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Score, D::Error> {
    Score::new(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Bytes: text, or `{"base64": "..."}`.
#[derive(Debug)]
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct InBase64 {
            base64: String,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected text, or an object with `base64`")]
        enum Either {
            Plain(String),
            Encoded(Object<InBase64>),
        }
        match Either::deserialize(deserializer)? {
            Either::Plain(text) => Ok(Text(text.into_bytes())),
            Either::Encoded(Object(InBase64 { base64 })) => {
                let bytes = STANDARD.decode(base64);
                bytes.map(Text).map_err(|error| D::Error::custom(format!("it is not base64: {error}")))
            }
        }
    }
}

/// Reads the document.
pub(super) fn parse(document: &[u8]) -> Result<Vec<Operation>, HttpProblem> {
    let mut json = serde_json::Deserializer::from_slice(document);
    let Object(parsed): Object<Document> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refused(&path, error.inner().to_string())
    })?;
    json.end().map_err(|error| refused(".", error.to_string()))?;
    Ok(parsed.operations.into_iter().map(operation).collect())
}

fn operation(step: Step) -> Operation {
    match step {
        Step::Set(Object(Assign { value })) => Operation::Assign { value: value.0 },
        Step::Put(Object(Put { field, value })) => Operation::Put { field: field.0, value: value.0 },
        Step::RemoveField(Object(Field { field })) => Operation::RemoveField { field: field.0 },
        Step::Within(Object(Within { field, operation })) => {
            let operation = match operation {
                Inner::Increment(add) => increment(&add),
                Inner::Reset(_) => Operation::Reset,
                Inner::Add(members) => Operation::Insert { members: all(members) },
                Inner::Remove(members) => Operation::Remove { members: all(members) },
            };
            Operation::Within { field: field.0, operation: Box::new(operation) }
        }
        Step::Score(Object(Scored { member, score })) => Operation::Score { member: member.0, score },
        Step::IncrementScore(Object(MoreScore { member, by })) => {
            Operation::AddScore { member: member.0, by }
        }
        Step::Increment(add) => increment(&add),
        Step::Reset(_) => Operation::Reset,
        Step::Add(members) => Operation::Insert { members: all(members) },
        Step::Remove(members) => Operation::Remove { members: all(members) },
    }
}

fn increment(add: &Object<Add>) -> Operation {
    Operation::Add { by: add.0.by }
}

fn all(members: Object<Members>) -> Vec<Vec<u8>> {
    members.0.members.into_iter().map(|member| member.0).collect()
}

fn refused(path: &str, reason: String) -> HttpProblem {
    let path = if matches!(path, "." | "?") { "the document" } else { path };
    HttpProblem::invalid(
        format!("{path}: {reason}"),
        "correct the operations; their form is described at GET /v1/openapi.json",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_objects_of_one_name() {
        let document = br#"{"operations": [
            {"increment": {"by": -2}}, {"reset": {}}, {"add": {"members": ["a", {"base64": "/w=="}]}},
            {"within": {"field": "tags", "operation": {"remove": {"members": ["x"]}}}},
            {"score": {"member": "m", "score": 1}}]}"#;
        let expected = vec![
            Operation::Add { by: -2 },
            Operation::Reset,
            Operation::Insert { members: vec![b"a".to_vec(), vec![0xff]] },
            Operation::Within {
                field: b"tags".to_vec(),
                operation: Box::new(Operation::Remove { members: vec![b"x".to_vec()] }),
            },
            Operation::Score { member: b"m".to_vec(), score: Score::new(1.0).unwrap() },
        ];
        assert_eq!(parse(document).unwrap(), expected);
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for operation in [
            r#"{"increment": {}}"#,
            r#"{"increment": {"by": 0.5}}"#,
            r#"{"increment": [1]}"#,
            r#"{"increment": {"by": 9223372036854775808}}"#,
            r#"{"increment": {"by": -9223372036854775809}}"#,
            r#"{"reset": null}"#,
            r#"{"add": {"members": "a"}}"#,
            r#"{"add": {"members": [{"base64": "?"}]}}"#,
            r#"{"add": {"members": [{"base64": "", "more": 1}]}}"#,
            r#"{"add": {"members": []}, "reset": {}}"#,
            r#"{"within": {"field": "f", "operation": {"put": {"field": "g", "value": "h"}}}}"#,
            r#"{"score": {"member": "m", "score": "1"}}"#,
            r#"{"score": {"member": "m", "score": 1e999}}"#,
            r#"{"drop": {}}"#,
            "[]",
        ] {
            assert!(parse(format!("{{\"operations\": [{operation}]}}").as_bytes()).is_err(), "{operation}");
        }
        for document in ["", "{}", "[]", "{\"operations\": {}}", "{\"operations\": [], \"more\": 1}"] {
            assert!(parse(document.as_bytes()).is_err(), "{document}");
        }
    }
}
