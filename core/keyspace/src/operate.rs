//! Operations on typed values, applied in log order.
//!
//! Guarantee G-OPERATE: all operations of a command happen, at one revision, or none does. The keyspace's kind of
//! values travels in the entry, so that what it does depends on rows and entry alone. Each takes effect exactly as
//! often as its command is in the log: sent twice without an idempotency key, an addition may happen twice.
//!
//! The row's value is the canonical encoding; in a keyspace of registers it is the bytes as they are. A key that is
//! bound to a lease stays bound to it.

use prost::Message;
use storage::{GroupState, ReadRows, Row, RowMeta, StoreError, WriteRows};
use types::GroupId;
use values::{Answer, Kind, Operation, Part, Refusal, Shown, Stamp, Value, codec, number};

use crate::apply::{Bounds, add, conflict, holds, subtract};
use crate::codec::{DecodeError, encode, encode_outcome, kind, lenient, strict};
use crate::command::{Command, Expect, Outcome, Query, QueryAnswer};
use crate::lease::{self, Bound, Leasing};
use crate::messages::{expect_from_wire, expect_to_wire};

/// A key with what it holds, as far as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRow {
    /// Revision of the key's creation.
    pub create_revision: u64,
    /// Revision of the last change.
    pub mod_revision: u64,
    /// Changes since creation, from 1.
    pub version: u64,
    /// What was asked for.
    pub shown: Shown,
}

/// Runs operations of the log on one key.
pub(crate) fn run(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    (key, operations, expect): (&[u8], &[Operation], Expect),
    bounds: Bounds<'_>,
) -> Result<Outcome, StoreError> {
    let old = rows.get(group, key)?;
    let meta = old.as_ref().map(RowMeta::of);
    if !holds(expect, meta) {
        return Ok(conflict(state, meta));
    }
    let revision = state.revision + 1;
    let stamp = Stamp::of_revision(group.0, revision);
    let applied = match bounds.values {
        Kind::Register => on_bytes(old.as_ref().map(|row| row.value.as_slice()), operations),
        kind => on_value(old.as_ref().map(|row| row.value.as_slice()), kind, operations, stamp),
    };
    let (answers, value) = match applied {
        Ok(applied) => applied,
        Err(refusal) => return Ok(Outcome::OperateRefused { revision: state.revision, refusal }),
    };
    let held = meta.map_or(0, |old| key.len() as u64 + old.value_bytes);
    let bytes_after = state.bytes - held + (key.len() + value.len()) as u64;
    if let Some(refused) = bounds.refuse(state, bytes_after) {
        return Ok(refused);
    }
    let row = Row {
        create_revision: meta.map_or(revision, |old| old.create_revision),
        mod_revision: revision,
        version: meta.map_or(1, |old| old.version + 1),
        value,
    };
    let (create_revision, version) = (row.create_revision, row.version);
    let outcome = Outcome::Operated { revision, create_revision, version, answers };
    if bounds.outcome_bytes_max.is_some_and(|max| encode_outcome(&outcome).len() > max) {
        let refusal = Refusal::AnswerTooLong;
        return Ok(Outcome::OperateRefused { revision: state.revision, refusal });
    }
    state.revision = revision;
    subtract(state, key, meta);
    add(state, key, RowMeta::of(&row));
    rows.put(group, key, row);
    let bound = Bound { old: meta, new: Some(create_revision), leasing: Leasing::Keep };
    lease::changed(rows, group, state, key, bound)?;
    Ok(outcome)
}

fn on_value(
    old: Option<&[u8]>,
    kind: Kind,
    operations: &[Operation],
    stamp: Stamp,
) -> Result<(Vec<Answer>, Vec<u8>), Refusal> {
    let mut value = match old {
        None => Value::new(kind),
        Some(bytes) => {
            let value = codec::decode_value(bytes).map_err(|_| Refusal::NotAValue { kind })?;
            if value.kind() == kind { value } else { return Err(Refusal::NotAValue { kind }) }
        }
    };
    value.apply(operations, stamp)
}

/// A register's bytes are the row's, as those that a plain put writes.
fn on_bytes(old: Option<&[u8]>, operations: &[Operation]) -> Result<(Vec<Answer>, Vec<u8>), Refusal> {
    let (mut bytes, mut answers) = (old.map(<[u8]>::to_vec), Vec::with_capacity(operations.len()));
    for operation in operations {
        let (answer, after) = match operation {
            Operation::Assign { value } => (Answer::Assigned { existed: bytes.is_some() }, value.clone()),
            Operation::Add { by } => {
                let value = number(bytes.as_deref())?.checked_add(*by).ok_or(Refusal::Overflow)?;
                (Answer::Count { value }, value.to_string().into_bytes())
            }
            _ => return Err(Refusal::WrongKind { kind: Kind::Register }),
        };
        answers.push(answer);
        bytes = Some(after);
    }
    Ok((answers, bytes.unwrap_or_default()))
}

/// Answers a question about a value.
pub(crate) fn read(
    rows: &dyn ReadRows,
    group: GroupId,
    revision: u64,
    key: &[u8],
    part: &Part,
) -> Result<QueryAnswer, StoreError> {
    let row = rows.get(group, key)?.map(|row| ValueRow {
        create_revision: row.create_revision,
        mod_revision: row.mod_revision,
        version: row.version,
        shown: match codec::decode_value(&row.value) {
            Ok(value) => part.of(&value),
            Err(_) => Shown::NotOf { kind: Kind::Register },
        },
    });
    Ok(QueryAnswer::Value { revision, row })
}

#[derive(Clone, PartialEq, Message)]
struct OperateBody {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    operations: Vec<u8>,
    #[prost(int32, tag = "3")]
    expect: i32,
    #[prost(uint64, tag = "4")]
    expect_revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct PartBody {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    part: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatedBody {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(uint64, tag = "2")]
    create_revision: u64,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", tag = "4")]
    answers: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RefusedBody {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(bytes = "vec", tag = "2")]
    refusal: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueAnswerBody {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(message, optional, tag = "2")]
    row: Option<ValueRowBody>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueRowBody {
    #[prost(uint64, tag = "1")]
    create_revision: u64,
    #[prost(uint64, tag = "2")]
    mod_revision: u64,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", tag = "4")]
    shown: Vec<u8>,
}

pub(crate) fn encode_command(key: &[u8], operations: &[Operation], expect: Expect) -> Vec<u8> {
    let (expect, expect_revision) = expect_to_wire(expect);
    let operations = codec::encode_operations(operations);
    encode(kind::OPERATE, &OperateBody { key: key.to_vec(), operations, expect, expect_revision })
}

pub(crate) fn decode_command(what: &'static str, body: &[u8]) -> Result<Command, DecodeError> {
    let body: OperateBody = strict(what, body)?;
    let operations =
        codec::decode_operations(&body.operations).map_err(|error| malformed(what, error.to_string()))?;
    let expect = expect_from_wire(body.expect, body.expect_revision)
        .ok_or_else(|| malformed(what, "a condition that no write has".to_owned()))?;
    Ok(Command::Operate { key: body.key, operations, expect })
}

pub(crate) fn encode_query(key: &[u8], part: &Part) -> Vec<u8> {
    encode(kind::VALUE, &PartBody { key: key.to_vec(), part: codec::encode_part(part) })
}

pub(crate) fn decode_query(what: &'static str, body: &[u8]) -> Result<Query, DecodeError> {
    let body: PartBody = strict(what, body)?;
    let part = codec::decode_part(&body.part).map_err(|error| malformed(what, error.to_string()))?;
    Ok(Query::Value { key: body.key, part })
}

pub(crate) fn encode_operated(numbers: [u64; 3], answers: &[Answer]) -> Vec<u8> {
    let [revision, create_revision, version] = numbers;
    let answers = codec::encode_answers(answers);
    encode(kind::OUTCOME_OPERATED, &OperatedBody { revision, create_revision, version, answers })
}

pub(crate) fn decode_operated(what: &'static str, body: &[u8]) -> Result<Outcome, DecodeError> {
    let OperatedBody { revision, create_revision, version, answers } = lenient(what, body)?;
    let answers = codec::decode_answers(&answers).map_err(|error| malformed(what, error.to_string()))?;
    Ok(Outcome::Operated { revision, create_revision, version, answers })
}

pub(crate) fn encode_refused(revision: u64, refusal: &Refusal) -> Vec<u8> {
    let refusal = codec::encode_refusal(refusal);
    encode(kind::OUTCOME_OPERATE_REFUSED, &RefusedBody { revision, refusal })
}

pub(crate) fn decode_refused(what: &'static str, body: &[u8]) -> Result<Outcome, DecodeError> {
    let RefusedBody { revision, refusal } = lenient(what, body)?;
    let refusal = codec::decode_refusal(&refusal).map_err(|error| malformed(what, error.to_string()))?;
    Ok(Outcome::OperateRefused { revision, refusal })
}

pub(crate) fn encode_answer(revision: u64, row: Option<&ValueRow>) -> Vec<u8> {
    let row = row.map(|row| ValueRowBody {
        create_revision: row.create_revision,
        mod_revision: row.mod_revision,
        version: row.version,
        shown: codec::encode_shown(&row.shown),
    });
    encode(kind::ANSWER_VALUE, &ValueAnswerBody { revision, row })
}

pub(crate) fn decode_answer(what: &'static str, body: &[u8]) -> Result<QueryAnswer, DecodeError> {
    let ValueAnswerBody { revision, row } = lenient(what, body)?;
    let row = row.map(|row| {
        let shown = codec::decode_shown(&row.shown).map_err(|error| malformed(what, error.to_string()))?;
        let ValueRowBody { create_revision, mod_revision, version, .. } = row;
        Ok(ValueRow { create_revision, mod_revision, version, shown })
    });
    Ok(QueryAnswer::Value { revision, row: row.transpose()? })
}

fn malformed(what: &'static str, reason: String) -> DecodeError {
    DecodeError::Malformed { what, reason }
}
