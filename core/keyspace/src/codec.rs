//! Commands, queries and their answers as bytes. The layout is `docs/internals/command-format.md`:
//! one byte of format version, one byte of kind, then a Protocol Buffers body.
//!
//! An encoded command sits in the replicated log until the log is compacted, and every replica must
//! read it alike. So requests are read strictly: a field, kind or version that this build does not
//! know is an error, never skipped. A command whose meaning changes gets a new kind. Answers travel
//! between live nodes only and ignore unknown fields.
//!
//! Decoding allocates at most a small multiple of the input, whatever its length fields claim.

use prost::Message;
use types::{LeaseId, limits::RANGE_ITEMS_MAX};

use crate::command::{Command, Expect, Item, KeyRange, Outcome, Query, QueryAnswer};
use crate::history::{
    AtBody, CompactBody, CompactedBody, NotReadable, NotReadableBody, ReclaimBody, ReclaimedBody,
};
use crate::lease;
use crate::messages::{
    ConflictOutcomeBody, DeleteBody, DeletedOutcomeBody, FencedOutcomeBody, GetAnswerBody, GetBody, ItemBody,
    OverQuotaOutcomeBody, PutBody, PutOutcomeBody, RangeAnswerBody, RangeBody, RowBody, expect_from_wire,
    expect_to_wire,
};
use crate::operate;
use crate::txn;

/// The format version that this build writes, and the only one it reads.
pub const FORMAT_VERSION: u8 = 1;

/// The kind bytes. Never reused; commands, queries, outcomes and answers never share one.
pub mod kind {
    /// [`crate::Command::Put`].
    pub const PUT: u8 = 1;
    /// [`crate::Command::Delete`].
    pub const DELETE: u8 = 2;
    /// [`crate::Command::Txn`].
    pub const TXN: u8 = 16;
    /// A command with [`crate::Terms`]. Only in a log entry.
    pub const ENTRY: u8 = 32;
    /// [`crate::Command::Compact`].
    pub const COMPACT: u8 = 40;
    /// [`crate::Command::Reclaim`]. Only in a log entry.
    pub const RECLAIM: u8 = 41;
    /// [`crate::LeaseCommand::Grant`].
    pub const LEASE_GRANT: u8 = 48;
    /// [`crate::LeaseCommand::Revoke`].
    pub const LEASE_REVOKE: u8 = 49;
    /// [`crate::LeaseCommand::Expire`].
    pub const LEASE_EXPIRE: u8 = 50;
    /// [`crate::LeaseCommand::Enter`].
    pub const LOCK_ENTER: u8 = 51;
    /// [`crate::Command::Operate`].
    pub const OPERATE: u8 = 60;
    /// [`crate::Query::Get`].
    pub const GET: u8 = 64;
    /// [`crate::Query::Range`].
    pub const RANGE: u8 = 65;
    /// [`crate::Query::At`].
    pub const AT: u8 = 70;
    /// [`crate::LeaseQuery::KeepAlive`].
    pub const LEASE_KEEP_ALIVE: u8 = 72;
    /// [`crate::LeaseQuery::Show`].
    pub const LEASE_SHOW: u8 = 73;
    /// [`crate::LeaseQuery::List`].
    pub const LEASE_LIST: u8 = 74;
    /// [`crate::LeaseQuery::Lock`].
    pub const LOCK_SHOW: u8 = 75;
    /// [`crate::Query::Value`].
    pub const VALUE: u8 = 76;
    /// [`crate::Query::Txn`].
    pub const QUERY_TXN: u8 = 80;
    /// [`crate::Outcome::Put`].
    pub const OUTCOME_PUT: u8 = 128;
    /// [`crate::Outcome::Deleted`].
    pub const OUTCOME_DELETED: u8 = 129;
    /// [`crate::Outcome::Conflict`].
    pub const OUTCOME_CONFLICT: u8 = 130;
    /// [`crate::Outcome::OverQuota`].
    pub const OUTCOME_OVER_QUOTA: u8 = 131;
    /// [`crate::Outcome::Txn`].
    pub const OUTCOME_TXN: u8 = 144;
    /// [`crate::Outcome::Compacted`].
    pub const OUTCOME_COMPACTED: u8 = 150;
    /// [`crate::Outcome::Reclaimed`].
    pub const OUTCOME_RECLAIMED: u8 = 151;
    /// [`crate::LeaseOutcome::Granted`].
    pub const OUTCOME_LEASE_GRANTED: u8 = 154;
    /// [`crate::LeaseOutcome::Ended`].
    pub const OUTCOME_LEASE_ENDED: u8 = 155;
    /// [`crate::LeaseOutcome::Entered`].
    pub const OUTCOME_LOCK_ENTERED: u8 = 156;
    /// [`crate::LeaseOutcome::NotFound`].
    pub const OUTCOME_LEASE_NOT_FOUND: u8 = 157;
    /// [`crate::LeaseOutcome::Exists`].
    pub const OUTCOME_LEASE_EXISTS: u8 = 158;
    /// [`crate::LeaseOutcome::Full`].
    pub const OUTCOME_LEASE_FULL: u8 = 159;
    /// [`crate::Outcome::Fenced`].
    pub const OUTCOME_FENCED: u8 = 160;
    /// [`crate::Outcome::Operated`].
    pub const OUTCOME_OPERATED: u8 = 164;
    /// [`crate::Outcome::OperateRefused`].
    pub const OUTCOME_OPERATE_REFUSED: u8 = 165;
    /// [`crate::QueryAnswer::Get`].
    pub const ANSWER_GET: u8 = 192;
    /// [`crate::QueryAnswer::Range`].
    pub const ANSWER_RANGE: u8 = 193;
    /// [`crate::QueryAnswer::NotReadable`].
    pub const ANSWER_NOT_READABLE: u8 = 198;
    /// [`crate::LeaseAnswer::Lease`].
    pub const ANSWER_LEASE: u8 = 202;
    /// [`crate::LeaseAnswer::List`].
    pub const ANSWER_LEASES: u8 = 203;
    /// [`crate::LeaseAnswer::Lock`].
    pub const ANSWER_LOCK: u8 = 204;
    /// [`crate::QueryAnswer::Value`].
    pub const ANSWER_VALUE: u8 = 206;
    /// [`crate::QueryAnswer::Txn`].
    pub const ANSWER_TXN: u8 = 208;
}

/// Why bytes are not what they were taken for. Nothing was changed by trying.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than the two bytes that every encoding begins with.
    #[error("{bytes} bytes are too few to be a {what}")]
    TooShort {
        /// What was expected: command, query, outcome or answer.
        what: &'static str,
        /// How many bytes there were.
        bytes: usize,
    },
    /// Written by another version of the software. Use one that knows it.
    #[error("{what} has format version {version}, this build knows {FORMAT_VERSION}")]
    Version {
        /// What was expected.
        what: &'static str,
        /// The version found.
        version: u8,
    },
    /// A kind that this build does not know here: from a newer version, or not a `what` at all.
    #[error("kind {kind} is not a {what} that this build knows")]
    Kind {
        /// What was expected.
        what: &'static str,
        /// The kind found.
        kind: u8,
    },
    /// The body is damaged.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The body says more than this build understands, or says it in an unusual way.
    #[error("{what} has fields that this build does not know, or a spelling it does not write")]
    NotCanonical {
        /// What was expected.
        what: &'static str,
    },
}

pub(crate) const COMMAND: &str = "command";
pub(crate) const QUERY: &str = "query";
pub(crate) const OUTCOME: &str = "outcome";
pub(crate) const ANSWER: &str = "answer";

/// Encodes a command, as it is proposed to the log.
pub fn encode_command(command: &Command) -> Vec<u8> {
    match command {
        Command::Put { key, value, expect, lease } => {
            let (expect, expect_revision) = expect_to_wire(*expect);
            let lease = lease.map_or(0, |lease| lease.0);
            let body = PutBody { key: key.clone(), value: value.clone(), expect, expect_revision, lease };
            encode(kind::PUT, &body)
        }
        Command::Delete { key, expect } => {
            let (expect, expect_revision) = expect_to_wire(*expect);
            encode(kind::DELETE, &DeleteBody { key: key.clone(), expect, expect_revision })
        }
        Command::Operate { key, operations, expect } => operate::encode_command(key, operations, *expect),
        Command::Txn(txn) => encode_parts(kind::TXN, |data| txn::codec::encode_txn(txn, data)),
        &Command::Compact { revision, shard } => encode(kind::COMPACT, &CompactBody { revision, shard }),
        &Command::Reclaim { events_max } => encode(kind::RECLAIM, &ReclaimBody { events_max }),
        Command::Lease(command) => lease::encode_command(command),
    }
}

/// Decodes what [`encode_command`] wrote. Limits are not checked: see [`Command::validate`].
pub fn decode_command(data: &[u8]) -> Result<Command, DecodeError> {
    let (kind, body) = open(COMMAND, data)?;
    match kind {
        kind::PUT => {
            let body: PutBody = strict(COMMAND, body)?;
            let expect = expect(body.expect, body.expect_revision)?;
            let lease = (body.lease > 0).then_some(LeaseId(body.lease));
            Ok(Command::Put { key: body.key, value: body.value, expect, lease })
        }
        kind::DELETE => {
            let body: DeleteBody = strict(COMMAND, body)?;
            let expect = expect(body.expect, body.expect_revision)?;
            Ok(Command::Delete { key: body.key, expect })
        }
        kind::OPERATE => operate::decode_command(COMMAND, body),
        kind::TXN => Ok(Command::Txn(txn::codec::decode_txn(COMMAND, body)?)),
        kind::COMPACT => {
            let CompactBody { revision, shard } = strict(COMMAND, body)?;
            Ok(Command::Compact { revision, shard })
        }
        kind::RECLAIM => {
            let ReclaimBody { events_max } = strict(COMMAND, body)?;
            Ok(Command::Reclaim { events_max })
        }
        kind => match lease::decode_command(kind, body) {
            Some(command) => Ok(Command::Lease(command?)),
            None => Err(DecodeError::Kind { what: COMMAND, kind }),
        },
    }
}

/// Encodes a query, as it is sent on to the leader.
pub fn encode_query(query: &Query) -> Vec<u8> {
    match query {
        Query::Get { key } => encode(kind::GET, &GetBody { key: key.clone() }),
        Query::Range { range, limit, keys_only } => {
            let (start, end) = (range.start.clone(), range.end.clone());
            let body = RangeBody { start, end, limit: *limit, keys_only: *keys_only };
            encode(kind::RANGE, &body)
        }
        Query::Value { key, part } => operate::encode_query(key, part),
        Query::Txn(txn) => encode_parts(kind::QUERY_TXN, |data| txn::codec::encode_txn(txn, data)),
        Query::At { revision, query } => {
            encode(kind::AT, &AtBody { revision: *revision, query: encode_query(query) })
        }
        Query::Lease(query) => lease::encode_query(query),
    }
}

/// Decodes what [`encode_query`] wrote. Limits are not checked: see [`Query::validate`].
pub fn decode_query(data: &[u8]) -> Result<Query, DecodeError> {
    let (kind, body) = open(QUERY, data)?;
    match kind {
        kind::GET => {
            let body: GetBody = strict(QUERY, body)?;
            Ok(Query::Get { key: body.key })
        }
        kind::RANGE => {
            let body: RangeBody = strict(QUERY, body)?;
            let range = KeyRange { start: body.start, end: body.end };
            Ok(Query::Range { range, limit: body.limit, keys_only: body.keys_only })
        }
        kind::VALUE => operate::decode_query(QUERY, body),
        kind::QUERY_TXN => Ok(Query::Txn(txn::codec::decode_txn(QUERY, body)?)),
        kind::AT => {
            let AtBody { revision, query } = strict(QUERY, body)?;
            // Looked at before it is decoded, so that one in another in another cannot exhaust the stack.
            match open(QUERY, &query)? {
                (kind::GET | kind::RANGE, _) => {
                    Ok(Query::At { revision, query: Box::new(decode_query(&query)?) })
                }
                (kind, _) => Err(DecodeError::Kind { what: QUERY, kind }),
            }
        }
        kind => match lease::decode_query(kind, body) {
            Some(query) => Ok(Query::Lease(query?)),
            None => Err(DecodeError::Kind { what: QUERY, kind }),
        },
    }
}

/// Encodes what a command did.
pub fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    match outcome {
        &Outcome::Put { revision, create_revision, version } => {
            let body = PutOutcomeBody { revision, create_revision, version };
            encode(kind::OUTCOME_PUT, &body)
        }
        &Outcome::Deleted { revision, existed } => {
            encode(kind::OUTCOME_DELETED, &DeletedOutcomeBody { revision, existed })
        }
        &Outcome::Conflict { revision, current } => {
            encode(kind::OUTCOME_CONFLICT, &ConflictOutcomeBody { revision, current })
        }
        &Outcome::OverQuota { revision, bytes, quota_bytes } => {
            encode(kind::OUTCOME_OVER_QUOTA, &OverQuotaOutcomeBody { revision, bytes, quota_bytes })
        }
        Outcome::Operated { revision, create_revision, version, answers } => {
            operate::encode_operated([*revision, *create_revision, *version], answers)
        }
        Outcome::OperateRefused { revision, refusal } => operate::encode_refused(*revision, refusal),
        Outcome::Txn(outcome) => {
            encode_parts(kind::OUTCOME_TXN, |data| txn::codec::encode_outcome(outcome, data))
        }
        &Outcome::Compacted { revision, floor, ahead } => {
            encode(kind::OUTCOME_COMPACTED, &CompactedBody { revision, floor, ahead })
        }
        &Outcome::Reclaimed { revision, events, done } => {
            encode(kind::OUTCOME_RECLAIMED, &ReclaimedBody { revision, events, done })
        }
        Outcome::Lease(outcome) => lease::encode_outcome(outcome),
        &Outcome::Fenced { revision, current } => {
            encode(kind::OUTCOME_FENCED, &FencedOutcomeBody { revision, current })
        }
    }
}

/// Decodes what [`encode_outcome`] wrote.
pub fn decode_outcome(data: &[u8]) -> Result<Outcome, DecodeError> {
    let (kind, body) = open(OUTCOME, data)?;
    match kind {
        kind::OUTCOME_PUT => {
            let PutOutcomeBody { revision, create_revision, version } = lenient(OUTCOME, body)?;
            Ok(Outcome::Put { revision, create_revision, version })
        }
        kind::OUTCOME_DELETED => {
            let DeletedOutcomeBody { revision, existed } = lenient(OUTCOME, body)?;
            Ok(Outcome::Deleted { revision, existed })
        }
        kind::OUTCOME_CONFLICT => {
            let ConflictOutcomeBody { revision, current } = lenient(OUTCOME, body)?;
            Ok(Outcome::Conflict { revision, current })
        }
        kind::OUTCOME_OVER_QUOTA => {
            let OverQuotaOutcomeBody { revision, bytes, quota_bytes } = lenient(OUTCOME, body)?;
            Ok(Outcome::OverQuota { revision, bytes, quota_bytes })
        }
        kind::OUTCOME_OPERATED => operate::decode_operated(OUTCOME, body),
        kind::OUTCOME_OPERATE_REFUSED => operate::decode_refused(OUTCOME, body),
        kind::OUTCOME_TXN => Ok(Outcome::Txn(txn::codec::decode_outcome(OUTCOME, body)?)),
        kind::OUTCOME_COMPACTED => {
            let CompactedBody { revision, floor, ahead } = lenient(OUTCOME, body)?;
            Ok(Outcome::Compacted { revision, floor, ahead })
        }
        kind::OUTCOME_RECLAIMED => {
            let ReclaimedBody { revision, events, done } = lenient(OUTCOME, body)?;
            Ok(Outcome::Reclaimed { revision, events, done })
        }
        kind::OUTCOME_FENCED => {
            let FencedOutcomeBody { revision, current } = lenient(OUTCOME, body)?;
            Ok(Outcome::Fenced { revision, current })
        }
        kind => match lease::decode_outcome(kind, body) {
            Some(outcome) => Ok(Outcome::Lease(outcome?)),
            None => Err(DecodeError::Kind { what: OUTCOME, kind }),
        },
    }
}

/// Encodes an answer. A page holds at most [`RANGE_ITEMS_MAX`] items; one with more would be refused
/// by [`decode_answer`].
pub fn encode_answer(answer: &QueryAnswer) -> Vec<u8> {
    match answer {
        QueryAnswer::Get { revision, row } => {
            let row = row.as_ref().map(RowBody::from);
            encode(kind::ANSWER_GET, &GetAnswerBody { revision: *revision, row })
        }
        QueryAnswer::Range { revision, items, next } => {
            let head = RangeAnswerBody { revision: *revision, next: next.clone() };
            let mut data = vec![FORMAT_VERSION, kind::ANSWER_RANGE];
            data.extend_from_slice(&head.encode_length_delimited_to_vec());
            for item in items {
                data.extend_from_slice(&ItemBody::from(item).encode_length_delimited_to_vec());
            }
            data
        }
        QueryAnswer::Value { revision, row } => operate::encode_answer(*revision, row.as_ref()),
        QueryAnswer::Txn(outcome) => {
            encode_parts(kind::ANSWER_TXN, |data| txn::codec::encode_outcome(outcome, data))
        }
        &QueryAnswer::NotReadable(NotReadable { asked, revision, floor }) => {
            encode(kind::ANSWER_NOT_READABLE, &NotReadableBody { revision, floor, asked })
        }
        QueryAnswer::Lease(answer) => lease::encode_answer(answer),
    }
}

/// Decodes what [`encode_answer`] wrote.
pub fn decode_answer(data: &[u8]) -> Result<QueryAnswer, DecodeError> {
    let (kind, body) = open(ANSWER, data)?;
    match kind {
        kind::ANSWER_GET => {
            let GetAnswerBody { revision, row } = lenient(ANSWER, body)?;
            Ok(QueryAnswer::Get { revision, row: row.map(Into::into) })
        }
        kind::ANSWER_RANGE => decode_page(body),
        kind::ANSWER_VALUE => operate::decode_answer(ANSWER, body),
        kind::ANSWER_TXN => Ok(QueryAnswer::Txn(txn::codec::decode_outcome(ANSWER, body)?)),
        kind::ANSWER_NOT_READABLE => {
            let NotReadableBody { revision, floor, asked } = lenient(ANSWER, body)?;
            Ok(QueryAnswer::NotReadable(NotReadable { asked, revision, floor }))
        }
        kind => match lease::decode_answer(kind, body) {
            Some(answer) => Ok(QueryAnswer::Lease(answer?)),
            None => Err(DecodeError::Kind { what: ANSWER, kind }),
        },
    }
}

/// Items are read one at a time, so that many empty ones in few bytes cannot swell in memory.
fn decode_page(mut body: &[u8]) -> Result<QueryAnswer, DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed { what: ANSWER, reason };
    let head =
        RangeAnswerBody::decode_length_delimited(&mut body).map_err(|error| malformed(error.to_string()))?;
    let mut items = Vec::new();
    while !body.is_empty() {
        if items.len() == RANGE_ITEMS_MAX as usize {
            return Err(malformed(format!("a page of more than {RANGE_ITEMS_MAX} items")));
        }
        let item =
            ItemBody::decode_length_delimited(&mut body).map_err(|error| malformed(error.to_string()))?;
        let row = item.row.ok_or_else(|| malformed("an item without a row".to_owned()))?;
        items.push(Item { key: item.key, row: row.into(), value_bytes: item.value_bytes });
    }
    Ok(QueryAnswer::Range { revision: head.revision, items, next: head.next })
}

pub(crate) fn encode(kind: u8, body: &impl Message) -> Vec<u8> {
    let mut data = Vec::with_capacity(2 + body.encoded_len());
    data.extend_from_slice(&[FORMAT_VERSION, kind]);
    body.encode_raw(&mut data);
    data
}

fn encode_parts(kind: u8, append: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut data = vec![FORMAT_VERSION, kind];
    append(&mut data);
    data
}

/// Checks the version; the kind and the body remain.
pub(crate) fn open<'a>(what: &'static str, data: &'a [u8]) -> Result<(u8, &'a [u8]), DecodeError> {
    match data {
        [FORMAT_VERSION, kind, body @ ..] => Ok((*kind, body)),
        [version, _, ..] => Err(DecodeError::Version { what, version: *version }),
        _ => Err(DecodeError::TooShort { what, bytes: data.len() }),
    }
}

pub(crate) fn lenient<M: Message + Default>(what: &'static str, body: &[u8]) -> Result<M, DecodeError> {
    M::decode(body).map_err(|error| DecodeError::Malformed { what, reason: error.to_string() })
}

/// Refuses unknown fields. Skipping one, repeating one, or spelling a number or a default at length
/// all leave a message whose own encoding is shorter than the input, so comparing lengths suffices.
pub(crate) fn strict<M: Message + Default>(what: &'static str, body: &[u8]) -> Result<M, DecodeError> {
    let message: M = lenient(what, body)?;
    if message.encoded_len() != body.len() {
        return Err(DecodeError::NotCanonical { what });
    }
    Ok(message)
}

fn expect(kind: i32, revision: u64) -> Result<Expect, DecodeError> {
    expect_from_wire(kind, revision).ok_or_else(|| DecodeError::Malformed {
        what: COMMAND,
        reason: format!("no condition has number {kind} and revision {revision}"),
    })
}
