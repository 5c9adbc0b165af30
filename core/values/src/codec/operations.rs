//! Operations, as they are in the log, and what they answer.

use super::{
    CodecError,
    bytes::{Reader, Writer},
    kind_number, kind_of_number, malformed,
};
use crate::{
    Kind,
    operation::{Answer, OPERATIONS_MAX, Operation, Refusal},
    score::Score,
};

/// Encodes operations.
pub fn encode_operations(operations: &[Operation]) -> Vec<u8> {
    let mut to = Writer::default();
    to.list(operations.iter(), write_operation);
    to.0
}

/// Reads what [`encode_operations`] wrote, and nothing else. Of the limits only the number of operations is checked.
///
/// # Errors
/// When it is something else.
pub fn decode_operations(data: &[u8]) -> Result<Vec<Operation>, CodecError> {
    let mut from = Reader(data);
    let count = from.number()?;
    if !(1..=OPERATIONS_MAX as u64).contains(&count) {
        return Err(malformed("the number of operations"));
    }
    let operations = (0..count).map(|_| read_operation(&mut from, true)).collect::<Result<_, _>>()?;
    from.end()?;
    Ok(operations)
}

fn write_operation(to: &mut Writer, operation: &Operation) {
    let members = |to: &mut Writer, members: &[Vec<u8>]| {
        to.list(members.iter(), |to, member| to.bytes(member));
    };
    match operation {
        Operation::Assign { value } => {
            to.byte(1);
            to.bytes(value);
        }
        Operation::Add { by } => {
            to.byte(2);
            to.signed(*by);
        }
        Operation::Reset => to.byte(3),
        Operation::Insert { members: all } => {
            to.byte(4);
            members(to, all);
        }
        Operation::Remove { members: all } => {
            to.byte(5);
            members(to, all);
        }
        Operation::Put { field, value } => {
            to.byte(6);
            to.bytes(field);
            to.bytes(value);
        }
        Operation::RemoveField { field } => {
            to.byte(7);
            to.bytes(field);
        }
        Operation::Within { field, operation } => {
            to.byte(8);
            to.bytes(field);
            write_operation(to, operation);
        }
        Operation::Score { member, score } => {
            to.byte(9);
            to.bytes(member);
            to.fixed(score.to_bits());
        }
        Operation::AddScore { member, by } => {
            to.byte(10);
            to.bytes(member);
            to.fixed(by.to_bits());
        }
    }
}

fn read_operation(from: &mut Reader<'_>, outermost: bool) -> Result<Operation, CodecError> {
    let members = |from: &mut Reader<'_>| from.list(|from| Ok(from.bytes()?.to_vec()));
    let operation = match from.byte()? {
        1 => Operation::Assign { value: from.bytes()?.to_vec() },
        2 => Operation::Add { by: from.signed()? },
        3 => Operation::Reset,
        4 => Operation::Insert { members: members(from)? },
        5 => Operation::Remove { members: members(from)? },
        6 => Operation::Put { field: from.bytes()?.to_vec(), value: from.bytes()?.to_vec() },
        7 => Operation::RemoveField { field: from.bytes()?.to_vec() },
        8 if outermost => {
            let field = from.bytes()?.to_vec();
            let operation = Box::new(read_operation(from, false)?);
            Operation::Within { field, operation }
        }
        9 => Operation::Score { member: from.bytes()?.to_vec(), score: read_score(from)? },
        10 => Operation::AddScore { member: from.bytes()?.to_vec(), by: read_score(from)? },
        _ => return Err(malformed("an operation")),
    };
    if outermost || operation.may_be_within() {
        Ok(operation)
    } else {
        Err(malformed("an operation in a field"))
    }
}

pub(super) fn read_score(from: &mut Reader<'_>) -> Result<Score, CodecError> {
    Score::from_bits(from.fixed()?).ok_or(malformed("a score"))
}

/// Encodes answers.
pub fn encode_answers(answers: &[Answer]) -> Vec<u8> {
    let mut to = Writer::default();
    to.list(answers.iter(), |to, answer| match answer {
        Answer::Assigned { existed } => {
            to.byte(1);
            to.flag(*existed);
        }
        Answer::Count { value } => {
            to.byte(2);
            to.signed(*value);
        }
        Answer::Inserted { members } => {
            to.byte(3);
            to.number((*members).into());
        }
        Answer::Removed { members } => {
            to.byte(4);
            to.number((*members).into());
        }
        Answer::Scored { score, existed } => {
            to.byte(5);
            to.fixed(score.to_bits());
            to.flag(*existed);
        }
    });
    to.0
}

/// Reads what [`encode_answers`] wrote.
///
/// # Errors
/// When it is something else.
pub fn decode_answers(data: &[u8]) -> Result<Vec<Answer>, CodecError> {
    let mut from = Reader(data);
    let members = |from: &mut Reader<'_>| u32::try_from(from.number()?).map_err(|_| malformed("a count"));
    let answers = from.list(|from| {
        Ok(match from.byte()? {
            1 => Answer::Assigned { existed: from.flag()? },
            2 => Answer::Count { value: from.signed()? },
            3 => Answer::Inserted { members: members(from)? },
            4 => Answer::Removed { members: members(from)? },
            5 => Answer::Scored { score: read_score(from)?, existed: from.flag()? },
            _ => return Err(malformed("an answer")),
        })
    })?;
    from.end()?;
    Ok(answers)
}

/// Encodes a refusal.
pub fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    let mut to = Writer::default();
    match refusal {
        Refusal::WrongKind { kind } => {
            to.byte(1);
            to.byte(kind_number(*kind));
        }
        Refusal::FieldIs { field, is } => {
            to.byte(2);
            to.bytes(field);
            to.byte(kind_number(*is));
        }
        Refusal::Overflow => to.byte(3),
        Refusal::NotANumber => to.byte(4),
        Refusal::ScoreNotFinite => to.byte(5),
        Refusal::TooManyMembers => to.byte(6),
        Refusal::TooLarge { bytes } => {
            to.byte(7);
            to.number(*bytes);
        }
        Refusal::NotAValue { kind } => {
            to.byte(8);
            to.byte(kind_number(*kind));
        }
        Refusal::TooManyActors => to.byte(9),
        Refusal::AnswerTooLong => to.byte(10),
    }
    to.0
}

/// Reads what [`encode_refusal`] wrote.
///
/// # Errors
/// When it is something else.
pub fn decode_refusal(data: &[u8]) -> Result<Refusal, CodecError> {
    let mut from = Reader(data);
    let kind = |from: &mut Reader<'_>| -> Result<Kind, CodecError> {
        kind_of_number(from.byte()?).ok_or(malformed("the kind of value"))
    };
    let refusal = match from.byte()? {
        1 => Refusal::WrongKind { kind: kind(&mut from)? },
        2 => Refusal::FieldIs { field: from.bytes()?.to_vec(), is: kind(&mut from)? },
        3 => Refusal::Overflow,
        4 => Refusal::NotANumber,
        5 => Refusal::ScoreNotFinite,
        6 => Refusal::TooManyMembers,
        7 => Refusal::TooLarge { bytes: from.number()? },
        8 => Refusal::NotAValue { kind: kind(&mut from)? },
        9 => Refusal::TooManyActors,
        10 => Refusal::AnswerTooLong,
        _ => return Err(malformed("a refusal")),
    };
    from.end()?;
    Ok(refusal)
}
