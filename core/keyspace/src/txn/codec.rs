//! Transactions and their outcomes as bytes: a sequence of Protocol Buffers messages, each behind its
//! length. A head says how many parts follow it; a nested transaction is a part followed by a head and parts
//! of its own. Parts are read one by one, so that a few bytes cannot claim many.

use prost::Message;
use types::{LeaseId, limits::TXN_READ_BYTES_MAX};

use super::messages::{
    CompareBody, OpBody, OpKind, OutcomeHead, RefusalKind, RelationKind, ResultBody, TargetKind, TxnHead,
};
use super::{Compare, Keys, Relation, Target, Txn, TxnOp, TxnOutcome, TxnRefusal, TxnResult};
use crate::codec::DecodeError;
use crate::command::{Item, KeyRange};
use crate::messages::{ItemBody, RowBody};

/// Most parts of a transaction that is decoded: above every limit that ever held for proposing one.
const PARTS_MAX: usize = 4_096;
/// Most results and items of an outcome that is decoded. Each item counts 64 bytes as it is read.
const RESULTS_MAX: usize = PARTS_MAX + TXN_READ_BYTES_MAX as usize / 64;
/// How deep what is decoded may nest: above every limit that ever held for proposing.
const DEPTH_MAX: usize = 16;

/// Appends a transaction.
pub(crate) fn encode_txn(txn: &Txn, data: &mut Vec<u8>) {
    let Txn { compares, then, otherwise } = txn;
    let head = TxnHead {
        compares: compares.len() as u32,
        then: then.len() as u32,
        otherwise: otherwise.len() as u32,
    };
    append(data, &head);
    compares.iter().for_each(|compare| append(data, &CompareBody::from(compare)));
    for op in then.iter().chain(otherwise) {
        append(data, &OpBody::from(op));
        if let TxnOp::Txn(txn) = op {
            encode_txn(txn, data);
        }
    }
}

/// Reads what [`encode_txn`] wrote, and nothing else.
pub(crate) fn decode_txn(what: &'static str, body: &[u8]) -> Result<Txn, DecodeError> {
    let mut parts = Parts { what, body, left: PARTS_MAX, strict: true };
    let txn = parts.txn(1)?;
    parts.end()?;
    Ok(txn)
}

/// Appends an outcome.
pub(crate) fn encode_outcome(outcome: &TxnOutcome, data: &mut Vec<u8>) {
    match outcome {
        TxnOutcome::Done { revision, succeeded, results } => {
            let head = OutcomeHead {
                revision: *revision,
                succeeded: *succeeded,
                results: results.len() as u32,
                ..OutcomeHead::default()
            };
            append(data, &head);
            encode_results(results, data);
        }
        TxnOutcome::Refused { revision, refusal } => {
            let (kind, key) = match refusal {
                TxnRefusal::TooManyKeys => (RefusalKind::TooManyKeys, Vec::new()),
                TxnRefusal::TooManyBytes => (RefusalKind::TooManyBytes, Vec::new()),
                TxnRefusal::SupersedesTooMuch => (RefusalKind::SupersedesTooMuch, Vec::new()),
                TxnRefusal::OutcomeTooLarge => (RefusalKind::OutcomeTooLarge, Vec::new()),
                TxnRefusal::NotANumber { key } => (RefusalKind::NotANumber, key.clone()),
                TxnRefusal::Overflow { key } => (RefusalKind::Overflow, key.clone()),
            };
            let refusal = kind as i32;
            append(data, &OutcomeHead { revision: *revision, refusal, key, ..OutcomeHead::default() });
        }
    }
}

/// Reads what [`encode_outcome`] wrote; fields of newer versions are ignored.
pub(crate) fn decode_outcome(what: &'static str, body: &[u8]) -> Result<TxnOutcome, DecodeError> {
    let mut parts = Parts { what, body, left: RESULTS_MAX, strict: false };
    let head: OutcomeHead = parts.next()?;
    let refusal = match RefusalKind::try_from(head.refusal) {
        Ok(RefusalKind::None) => {
            let results = parts.results(head.results, 1)?;
            parts.end()?;
            return Ok(TxnOutcome::Done { revision: head.revision, succeeded: head.succeeded, results });
        }
        Ok(RefusalKind::TooManyKeys) => TxnRefusal::TooManyKeys,
        Ok(RefusalKind::TooManyBytes) => TxnRefusal::TooManyBytes,
        Ok(RefusalKind::SupersedesTooMuch) => TxnRefusal::SupersedesTooMuch,
        Ok(RefusalKind::OutcomeTooLarge) => TxnRefusal::OutcomeTooLarge,
        Ok(RefusalKind::NotANumber) => TxnRefusal::NotANumber { key: head.key },
        Ok(RefusalKind::Overflow) => TxnRefusal::Overflow { key: head.key },
        Err(_) => return Err(parts.malformed("a refusal of an unknown kind")),
    };
    parts.end()?;
    Ok(TxnOutcome::Refused { revision: head.revision, refusal })
}

fn encode_results(results: &[TxnResult], data: &mut Vec<u8>) {
    for result in results {
        append(data, &ResultBody::from(result));
        match result {
            TxnResult::Range { items, .. } => {
                items.iter().for_each(|item| append(data, &ItemBody::from(item)))
            }
            TxnResult::Txn { results, .. } => encode_results(results, data),
            _ => {}
        }
    }
}

fn append(data: &mut Vec<u8>, message: &impl Message) {
    prost::encode_length_delimiter(message.encoded_len(), data).expect("a Vec takes all");
    message.encode_raw(data);
}

/// What remains to be read.
struct Parts<'a> {
    what: &'static str,
    body: &'a [u8],
    left: usize,
    strict: bool,
}

impl Parts<'_> {
    fn malformed(&self, reason: &str) -> DecodeError {
        DecodeError::Malformed { what: self.what, reason: reason.to_owned() }
    }

    fn next<M: Message + Default>(&mut self) -> Result<M, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(self.malformed("more parts than any transaction has"));
        };
        self.left = left;
        let before = self.body;
        let message = M::decode_length_delimited(&mut self.body)
            .map_err(|error| DecodeError::Malformed { what: self.what, reason: error.to_string() })?;
        let read = &before[..before.len() - self.body.len()];
        if self.strict && message.encode_length_delimited_to_vec() != read {
            return Err(DecodeError::NotCanonical { what: self.what });
        }
        Ok(message)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.body.is_empty() { Ok(()) } else { Err(self.malformed("bytes after its last part")) }
    }

    fn check_depth(&self, depth: usize) -> Result<(), DecodeError> {
        if depth > DEPTH_MAX { Err(self.malformed("transactions nest too deep")) } else { Ok(()) }
    }

    fn txn(&mut self, depth: usize) -> Result<Txn, DecodeError> {
        self.check_depth(depth)?;
        let head: TxnHead = self.next()?;
        let mut txn = Txn::default();
        for _ in 0..head.compares {
            let body: CompareBody = self.next()?;
            txn.compares.push(compare(body).ok_or_else(|| self.malformed("a compare that makes no sense"))?);
        }
        for (count, ops) in [(head.then, &mut txn.then), (head.otherwise, &mut txn.otherwise)] {
            for _ in 0..count {
                let body: OpBody = self.next()?;
                let op = op(body).ok_or_else(|| self.malformed("an operation that makes no sense"))?;
                ops.push(match op {
                    TxnOp::Txn(_) => TxnOp::Txn(self.txn(depth + 1)?),
                    op => op,
                });
            }
        }
        Ok(txn)
    }

    fn results(&mut self, count: u32, depth: usize) -> Result<Vec<TxnResult>, DecodeError> {
        self.check_depth(depth)?;
        let mut results = Vec::new();
        for _ in 0..count {
            let body: ResultBody = self.next()?;
            let ResultBody { create_revision, version, value, keys, succeeded, .. } = body;
            results.push(match OpKind::try_from(body.kind) {
                Ok(OpKind::Put) => TxnResult::Put { create_revision, version },
                Ok(OpKind::Increment) => TxnResult::Increment { value, create_revision, version },
                Ok(OpKind::Get) => TxnResult::Get { row: body.row.map(Into::into) },
                Ok(OpKind::Range) => TxnResult::Range { items: self.items(body.items)?, next: body.next },
                Ok(OpKind::Delete) => TxnResult::Deleted { keys },
                Ok(OpKind::Txn) => {
                    TxnResult::Txn { succeeded, results: self.results(body.results, depth + 1)? }
                }
                Err(_) => return Err(self.malformed("a result of an unknown kind")),
            });
        }
        Ok(results)
    }

    fn items(&mut self, count: u32) -> Result<Vec<Item>, DecodeError> {
        let mut items = Vec::new();
        for _ in 0..count {
            let item: ItemBody = self.next()?;
            let row = item.row.ok_or_else(|| self.malformed("an item without a row"))?;
            items.push(Item { key: item.key, row: row.into(), value_bytes: item.value_bytes });
        }
        Ok(items)
    }
}

/// Fields of a key or range.
fn keys_to_wire(keys: &Keys) -> (Vec<u8>, Option<Vec<u8>>, bool) {
    match keys {
        Keys::One(key) => (key.clone(), None, false),
        Keys::Range(range) => (range.start.clone(), range.end.clone(), true),
    }
}

fn keys_from_wire(key: Vec<u8>, end: Option<Vec<u8>>, range: bool) -> Keys {
    if range { Keys::Range(KeyRange { start: key, end }) } else { Keys::One(key) }
}

impl From<&Compare> for CompareBody {
    fn from(compare: &Compare) -> CompareBody {
        let (key, end, range) = keys_to_wire(&compare.keys);
        let (target, number, value) = match &compare.target {
            Target::Version(version) => (TargetKind::Version, *version, Vec::new()),
            Target::CreateRevision(revision) => (TargetKind::CreateRevision, *revision, Vec::new()),
            Target::ModRevision(revision) => (TargetKind::ModRevision, *revision, Vec::new()),
            Target::Value(value) => (TargetKind::Value, 0, value.clone()),
        };
        let relation = match compare.relation {
            Relation::Equal => RelationKind::Equal,
            Relation::NotEqual => RelationKind::NotEqual,
            Relation::Greater => RelationKind::Greater,
            Relation::Less => RelationKind::Less,
        };
        let (target, relation) = (target as i32, relation as i32);
        CompareBody { key, end, range, target, relation, number, value }
    }
}

/// The compare that a body is of; `None` if none is written so.
fn compare(body: CompareBody) -> Option<Compare> {
    let written = body.clone();
    let target = match TargetKind::try_from(body.target).ok()? {
        TargetKind::Version => Target::Version(body.number),
        TargetKind::CreateRevision => Target::CreateRevision(body.number),
        TargetKind::ModRevision => Target::ModRevision(body.number),
        TargetKind::Value => Target::Value(body.value),
    };
    let relation = match RelationKind::try_from(body.relation).ok()? {
        RelationKind::Equal => Relation::Equal,
        RelationKind::NotEqual => Relation::NotEqual,
        RelationKind::Greater => Relation::Greater,
        RelationKind::Less => Relation::Less,
    };
    let compare = Compare { keys: keys_from_wire(body.key, body.end, body.range), target, relation };
    (CompareBody::from(&compare) == written).then_some(compare)
}

impl From<&TxnOp> for OpBody {
    fn from(op: &TxnOp) -> OpBody {
        let body = OpBody::default();
        match op {
            TxnOp::Put { key, value, lease } => OpBody {
                kind: OpKind::Put as i32,
                key: key.clone(),
                value: value.clone(),
                lease: lease.map_or(0, |lease| lease.0),
                ..body
            },
            TxnOp::Increment { key, by } => {
                OpBody { kind: OpKind::Increment as i32, key: key.clone(), by: *by, ..body }
            }
            TxnOp::Get { key } => OpBody { kind: OpKind::Get as i32, key: key.clone(), ..body },
            TxnOp::Range { range, limit, keys_only } => OpBody {
                kind: OpKind::Range as i32,
                key: range.start.clone(),
                end: range.end.clone(),
                limit: *limit,
                keys_only: *keys_only,
                ..body
            },
            TxnOp::Delete { keys } => {
                let (key, end, range) = keys_to_wire(keys);
                OpBody { kind: OpKind::Delete as i32, key, end, range, ..body }
            }
            TxnOp::Txn(_) => OpBody { kind: OpKind::Txn as i32, ..body },
        }
    }
}

/// The operation that a body is of, a nested transaction still empty; `None` if none is written so.
fn op(body: OpBody) -> Option<TxnOp> {
    let written = body.clone();
    let OpBody { key, end, range, value, by, limit, keys_only, .. } = body;
    let op = match OpKind::try_from(body.kind).ok()? {
        OpKind::Put => TxnOp::Put { key, value, lease: (body.lease > 0).then_some(LeaseId(body.lease)) },
        OpKind::Increment => TxnOp::Increment { key, by },
        OpKind::Get => TxnOp::Get { key },
        OpKind::Range => TxnOp::Range { range: KeyRange { start: key, end }, limit, keys_only },
        OpKind::Delete => TxnOp::Delete { keys: keys_from_wire(key, end, range) },
        OpKind::Txn => TxnOp::Txn(Txn::default()),
    };
    (OpBody::from(&op) == written).then_some(op)
}

impl From<&TxnResult> for ResultBody {
    fn from(result: &TxnResult) -> ResultBody {
        let body = ResultBody::default();
        match result {
            TxnResult::Put { create_revision, version } => ResultBody {
                kind: OpKind::Put as i32,
                create_revision: *create_revision,
                version: *version,
                ..body
            },
            TxnResult::Increment { value, create_revision, version } => ResultBody {
                kind: OpKind::Increment as i32,
                create_revision: *create_revision,
                version: *version,
                value: *value,
                ..body
            },
            TxnResult::Get { row } => {
                ResultBody { kind: OpKind::Get as i32, row: row.as_ref().map(RowBody::from), ..body }
            }
            TxnResult::Range { items, next } => ResultBody {
                kind: OpKind::Range as i32,
                items: items.len() as u32,
                next: next.clone(),
                ..body
            },
            TxnResult::Deleted { keys } => ResultBody { kind: OpKind::Delete as i32, keys: *keys, ..body },
            TxnResult::Txn { succeeded, results } => ResultBody {
                kind: OpKind::Txn as i32,
                succeeded: *succeeded,
                results: results.len() as u32,
                ..body
            },
        }
    }
}
