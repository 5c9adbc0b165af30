//! What is asked of a value, and what is shown of it.

use super::{
    CodecError,
    bytes::{Reader, Writer},
    kind_number, kind_of_number, malformed,
    operations::read_score,
    values::{decode_value, encode_value},
};
use crate::read::{Part, Shown};

/// Encodes what is asked for.
pub fn encode_part(part: &Part) -> Vec<u8> {
    let mut to = Writer::default();
    match part {
        Part::Whole => to.byte(1),
        Part::Member { member } => {
            to.byte(2);
            to.bytes(member);
        }
        Part::Members { start, limit } => {
            to.byte(3);
            to.bytes(start);
            to.number((*limit).into());
        }
        Part::Field { field } => {
            to.byte(4);
            to.bytes(field);
        }
        Part::Scores { min, max, skip, limit, descending } => {
            to.byte(5);
            for bound in [min, max] {
                to.option(*bound, |to, bound| to.fixed(bound.to_bits()));
            }
            to.number(*skip);
            to.number((*limit).into());
            to.flag(*descending);
        }
    }
    to.0
}

/// Reads what [`encode_part`] wrote, and nothing else.
///
/// # Errors
/// When it is something else.
pub fn decode_part(data: &[u8]) -> Result<Part, CodecError> {
    let mut from = Reader(data);
    let limit = |from: &mut Reader<'_>| u32::try_from(from.number()?).map_err(|_| malformed("a limit"));
    let part = match from.byte()? {
        1 => Part::Whole,
        2 => Part::Member { member: from.bytes()?.to_vec() },
        3 => Part::Members { start: from.bytes()?.to_vec(), limit: limit(&mut from)? },
        4 => Part::Field { field: from.bytes()?.to_vec() },
        5 => Part::Scores {
            min: from.option(read_score)?,
            max: from.option(read_score)?,
            skip: from.number()?,
            limit: limit(&mut from)?,
            descending: from.flag()?,
        },
        _ => return Err(malformed("a part")),
    };
    from.end()?;
    Ok(part)
}

/// Encodes what is shown.
pub fn encode_shown(shown: &Shown) -> Vec<u8> {
    let mut to = Writer::default();
    match shown {
        Shown::Value(value) => {
            to.byte(1);
            to.bytes(&encode_value(value));
        }
        Shown::Member { present, score, rank } => {
            to.byte(2);
            to.flag(*present);
            to.option(*score, |to, score| to.fixed(score.to_bits()));
            to.option(*rank, Writer::number);
        }
        Shown::Members { members, total, next } => {
            to.byte(3);
            to.list(members.iter(), |to, member| to.bytes(member));
            to.number(*total);
            to.option(next.as_deref(), Writer::bytes);
        }
        Shown::Scores { scores, total, next } => {
            to.byte(4);
            to.list(scores.iter(), |to, (member, score)| {
                to.bytes(member);
                to.fixed(score.to_bits());
            });
            to.number(*total);
            to.option(*next, Writer::number);
        }
        Shown::NotOf { kind } => {
            to.byte(5);
            to.byte(kind_number(*kind));
        }
    }
    to.0
}

/// Reads what [`encode_shown`] wrote.
///
/// # Errors
/// When it is something else.
pub fn decode_shown(data: &[u8]) -> Result<Shown, CodecError> {
    let mut from = Reader(data);
    let shown = match from.byte()? {
        1 => Shown::Value(decode_value(from.bytes()?)?),
        2 => Shown::Member {
            present: from.flag()?,
            score: from.option(read_score)?,
            rank: from.option(Reader::number)?,
        },
        3 => Shown::Members {
            members: from.list(|from| Ok(from.bytes()?.to_vec()))?,
            total: from.number()?,
            next: from.option(|from| Ok(from.bytes()?.to_vec()))?,
        },
        4 => Shown::Scores {
            scores: from.list(|from| Ok((from.bytes()?.to_vec(), read_score(from)?)))?,
            total: from.number()?,
            next: from.option(Reader::number)?,
        },
        5 => Shown::NotOf { kind: kind_of_number(from.byte()?).ok_or(malformed("the kind of value"))? },
        _ => return Err(malformed("what is shown")),
    };
    from.end()?;
    Ok(shown)
}
