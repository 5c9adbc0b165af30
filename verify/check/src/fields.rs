//! The fields of a single operation in JSON: what was asked, and in its completion what was told.
//!
//! `f` is `read`, `write`, `delete`, `cas`, `read-many` or `final`. Told are `value` (null for a key that
//! is absent) and `revision` to a read, `values` to a read of many, `revision` to a write or cas,
//! `existed` and `revision` to a delete, `current` or `not_equal` to a cas that was refused.

use serde::{Deserialize, Deserializer, Serialize};

use crate::history::{Action, Answer, Completion, Op};
use crate::json_lines::Kind;
use crate::receipt::Receipt;
use crate::terms::{Level, Terms};

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Function {
    Read,
    Write,
    Delete,
    Cas,
    ReadMany,
    Final,
}

/// Those that are left out are `None`.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    f: Function,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    /// The outer option: whether there is such a field.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    expected: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Option<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected_revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    existed: Option<bool>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    current: Option<Current>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_equal: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Of a cas by revision, its key's revision; of one by value, its key's value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Current {
    Revision(u64),
    Value(Option<String>),
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<Option<T>, D::Error> {
    T::deserialize(source).map(Some)
}

impl Fields {
    fn new(f: Function) -> Fields {
        Fields {
            f,
            node: None,
            key: None,
            keys: None,
            expected: None,
            value: None,
            values: None,
            expected_revision: None,
            revision: None,
            existed: None,
            current: None,
            not_equal: None,
            session: None,
            level: None,
            bound_ms: None,
            idempotency_key: None,
            receipt: None,
        }
    }

    /// An operation as it is written: what was asked, and what was told if that is `completed`.
    pub(crate) fn of_op(op: &Op, completed: bool) -> Fields {
        let Terms { session, level, bound_ms, idempotency_key } = op.terms.clone();
        let completion = op.completed.as_ref().filter(|_| completed).map(|(_, completion)| completion);
        let receipt = op.receipt.clone().filter(|_| completed);
        let told = Fields::of(&op.action, completion);
        Fields { session, level, bound_ms, idempotency_key, receipt, ..told }
    }

    /// On which terms it was asked.
    pub(crate) fn terms(&self) -> Terms {
        let (session, idempotency_key) = (self.session.clone(), self.idempotency_key.clone());
        Terms { session, level: self.level, bound_ms: self.bound_ms, idempotency_key }
    }

    /// Whether a completion says again on which terms it was asked; it may leave that out.
    pub(crate) fn repeats(&self, asked: &Terms) -> bool {
        fn same<T: PartialEq>(asked: &Option<T>, told: &Option<T>) -> bool {
            told.is_none() || asked == told
        }
        same(&asked.session, &self.session)
            && same(&asked.level, &self.level)
            && same(&asked.bound_ms, &self.bound_ms)
            && same(&asked.idempotency_key, &self.idempotency_key)
    }

    /// What the answer says of itself.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        self.receipt.clone()
    }

    /// An operation, with what was told of it if it is completed.
    pub(crate) fn of(action: &Action, completion: Option<&Completion>) -> Fields {
        let value = action.value().map(|value| Some(value.to_owned()));
        let key = Some(action.key().to_owned());
        let one = |f| Fields { key, value, ..Fields::new(f) };
        let mut fields = match action {
            Action::Read { .. } => one(Function::Read),
            Action::Write { .. } => one(Function::Write),
            Action::Delete { .. } => one(Function::Delete),
            Action::Cas { expected_revision, .. } => {
                Fields { expected_revision: Some(*expected_revision), ..one(Function::Cas) }
            }
            Action::CasValue { expected, .. } => {
                Fields { expected: Some(expected.clone()), ..one(Function::Cas) }
            }
            Action::ReadMany { keys } => {
                Fields { keys: Some(keys.clone()), ..Fields::new(Function::ReadMany) }
            }
            Action::Final { node, .. } => Fields { node: Some(node.clone()), ..one(Function::Final) },
        };
        match completion {
            Some(Completion::Ok(Answer::Read { value, revision })) => {
                fields.value = Some(value.clone());
                fields.revision = *revision;
            }
            Some(Completion::Ok(Answer::ReadMany { values })) => fields.values = Some(values.clone()),
            Some(Completion::Ok(Answer::Written { revision })) => fields.revision = *revision,
            Some(Completion::Ok(Answer::Deleted { existed, revision })) => {
                fields.existed = *existed;
                fields.revision = *revision;
            }
            Some(Completion::Fail { current }) => fields.current = current.map(Current::Revision),
            Some(Completion::Differs { current: None }) => fields.not_equal = Some(true),
            Some(Completion::Differs { current }) => fields.current = current.clone().map(Current::Value),
            Some(Completion::Unknown) | None => {}
        }
        fields
    }

    /// Whether these say that, and nothing else.
    pub(crate) fn is(&self, action: &Action, completion: Option<&Completion>) -> bool {
        let Terms { session, level, bound_ms, idempotency_key } = self.terms();
        let receipt = self.receipt.clone().filter(|_| completion.is_some());
        let told = Fields::of(action, completion);
        let mut expected = Fields { session, level, bound_ms, idempotency_key, receipt, ..told };
        // What is told twice, or as null, is told.
        if self.not_equal == Some(true) && matches!(expected.current, Some(Current::Value(_))) {
            expected.not_equal = self.not_equal;
        }
        if self.expected_revision.is_some() && self.current == Some(Current::Value(None)) {
            expected.current = self.current.clone();
        }
        *self == expected
    }

    /// What was asked.
    pub(crate) fn action(&self) -> Result<Action, String> {
        let key = || self.key.clone().ok_or_else(|| "missing field `key`".to_owned());
        let value = || match &self.value {
            Some(Some(value)) => Ok(value.clone()),
            _ => Err("`value` must be a text".to_owned()),
        };
        Ok(match self.f {
            Function::Read => Action::Read { key: key()? },
            Function::Write => Action::Write { key: key()?, value: value()? },
            Function::Delete => Action::Delete { key: key()? },
            Function::Cas => match (self.expected_revision, self.expected.clone()) {
                (Some(expected_revision), None) => {
                    Action::Cas { key: key()?, expected_revision, value: value()? }
                }
                (None, Some(expected)) => Action::CasValue { key: key()?, expected, value: value()? },
                _ => {
                    return Err(
                        "a cas needs either `expected_revision`, 0 for absent, or `expected`, null for absent"
                            .to_owned(),
                    );
                }
            },
            Function::ReadMany => {
                Action::ReadMany { keys: self.keys.clone().ok_or("a read of many needs `keys`")? }
            }
            Function::Final => {
                Action::Final { node: self.node.clone().ok_or("a final read needs `node`")?, key: key()? }
            }
        })
    }

    /// What was told.
    pub(crate) fn completion(&self, kind: Kind) -> Result<Completion, String> {
        let revision = self.revision;
        Ok(match kind {
            Kind::Ok => Completion::Ok(match self.f {
                Function::Read | Function::Final => {
                    let value = self.value.clone().ok_or("a read needs `value`, null for absent")?;
                    Answer::Read { value, revision }
                }
                Function::Write | Function::Cas => Answer::Written { revision },
                Function::Delete => Answer::Deleted { existed: self.existed, revision },
                Function::ReadMany => {
                    Answer::ReadMany { values: self.values.clone().ok_or("a read of many needs `values`")? }
                }
            }),
            Kind::Fail => match &self.current {
                Some(Current::Revision(current)) => Completion::Fail { current: Some(*current) },
                Some(Current::Value(None)) if self.expected_revision.is_some() => {
                    Completion::Fail { current: None }
                }
                Some(Current::Value(current)) => Completion::Differs { current: Some(current.clone()) },
                None if self.not_equal == Some(true) => Completion::Differs { current: None },
                None => Completion::Fail { current: None },
            },
            Kind::Unknown | Kind::Invoke => Completion::Unknown,
        })
    }
}
