//! Several keys that are only ever changed and read together, by transactions. To the history they are one
//! key, so the checker of linearizability judges transactions as well: every read must find all of them
//! with one value and one revision, as some one write left them.

use check::{Action, Answer, Completion};
use keyspace::{
    Compare, Keys, Outcome, QueryAnswer, Relation, Target, Txn, TxnOp, TxnOutcome, TxnResult, prefix_range,
};
use node::{Op, ReplyBody};
use storage::Row;

use crate::{clients::read, failure::Broken};

/// The key that the history has for all of them.
pub const TOGETHER: &str = "together";
const PARTS: usize = 3;
/// Longest value that they are given.
pub const VALUE_BYTES_MAX: usize = 256;

/// The keys.
pub fn parts() -> [String; PARTS] {
    std::array::from_fn(|number| format!("{TOGETHER}/{number}"))
}

fn key(part: String) -> Vec<u8> {
    part.into_bytes()
}

fn get_all() -> Vec<TxnOp> {
    parts().map(|part| TxnOp::Get { key: key(part) }).to_vec()
}

fn put_all(value: &str) -> Vec<TxnOp> {
    parts().map(|part| TxnOp::Put { key: key(part), value: value.as_bytes().to_vec(), lease: None }).to_vec()
}

/// What a node is asked.
pub fn op(action: &Action) -> Op {
    let txn = match action {
        Action::Read { .. } => Txn { then: get_all(), ..Txn::default() },
        Action::Write { value, .. } => Txn { then: put_all(value), ..Txn::default() },
        Action::Delete { .. } => {
            let keys = Keys::Range(prefix_range(format!("{TOGETHER}/").as_bytes()));
            Txn { then: vec![TxnOp::Delete { keys }], ..Txn::default() }
        }
        Action::CasValue { .. } | Action::ReadMany { .. } | Action::Final { .. } => {
            unreachable!("no client asks so")
        }
        Action::Cas { expected_revision, value, .. } => {
            let compare = |part| Compare {
                keys: Keys::One(key(part)),
                target: Target::ModRevision(*expected_revision),
                relation: Relation::Equal,
            };
            let compares = parts().map(compare).to_vec();
            // One level down, so that nested transactions are judged too.
            let then =
                vec![TxnOp::Txn(Txn { compares: compares.clone(), then: put_all(value), ..Txn::default() })];
            Txn { compares, then, otherwise: get_all() }
        }
    };
    Op::from(txn)
}

/// The row that all of them have in common.
///
/// # Errors
/// When they differ.
pub fn one(rows: [Option<&Row>; PARTS]) -> Result<Option<&Row>, Broken> {
    let [first, others @ ..] = rows;
    let seen = |row: Option<&Row>| row.map(|row| (row.mod_revision, row.value.clone()));
    if others.into_iter().all(|other| seen(other) == seen(first)) {
        return Ok(first);
    }
    Err(Broken::safety("transactions_are_atomic", format!("keys written together are read as {rows:?}")))
}

fn read_all(results: &[TxnResult]) -> Result<Option<Completion>, Broken> {
    let mut rows = [None; PARTS];
    if results.len() != PARTS {
        return Ok(None);
    }
    for (place, result) in rows.iter_mut().zip(results) {
        let TxnResult::Get { row } = result else { return Ok(None) };
        *place = row.as_ref();
    }
    Ok(Some(read(one(rows)?)))
}

/// What the answer says of the action; `None` if it is no answer to it.
///
/// # Errors
/// When it shows half of a transaction.
pub fn completion(action: &Action, body: &ReplyBody) -> Result<Option<Completion>, Broken> {
    let (ReplyBody::Outcome(Outcome::Txn(outcome)) | ReplyBody::Answer(QueryAnswer::Txn(outcome))) = body
    else {
        return Ok(None);
    };
    let TxnOutcome::Done { revision, succeeded, results } = outcome else { return Ok(None) };
    let written = Completion::Ok(Answer::Written { revision: Some(*revision) });
    let puts = |results: &[TxnResult]| {
        results.len() == PARTS && results.iter().all(|result| matches!(result, TxnResult::Put { .. }))
    };
    Ok(match (action, succeeded, results.as_slice()) {
        (Action::Read { .. }, true, results) => read_all(results)?,
        (Action::Write { .. }, true, results) => puts(results).then_some(written),
        (Action::Delete { .. }, true, [TxnResult::Deleted { keys }]) => match *keys as usize {
            0 => Some(Completion::Ok(Answer::Deleted { existed: Some(false), revision: None })),
            PARTS => Some(Completion::Ok(Answer::Deleted { existed: Some(true), revision: Some(*revision) })),
            _ => {
                let message = format!("{keys} of {PARTS} keys written together were deleted");
                return Err(Broken::safety("transactions_are_atomic", message));
            }
        },
        (Action::Cas { .. }, true, [TxnResult::Txn { succeeded: true, results }]) => {
            puts(results).then_some(written)
        }
        (Action::Cas { .. }, false, results) => match read_all(results)? {
            Some(Completion::Ok(Answer::Read { revision, .. })) => {
                Some(Completion::Fail { current: Some(revision.unwrap_or(0)) })
            }
            _ => None,
        },
        _ => None,
    })
}

/// Values that a transaction writes when its compares hold, each once.
pub fn values(txn: Txn) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for op in txn.then {
        match op {
            TxnOp::Put { value, .. } => values.push(value),
            TxnOp::Txn(nested) => values.extend(self::values(nested)),
            _ => {}
        }
    }
    values.dedup();
    values
}
