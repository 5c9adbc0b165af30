//! What a transaction did, as JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyspace::{Item, Txn, TxnOp, TxnResult};
use serde::Serialize;
use types::Receipt;

use crate::http::list::{Listed, listed};

#[derive(Serialize)]
pub(super) struct Answer {
    succeeded: bool,
    revision: u64,
    responses: Vec<Response>,
    receipt: Receipt,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Response {
    Put { create_revision: u64, version: u64 },
    Increment { value: i64, create_revision: u64, version: u64 },
    Get { item: Option<Found> },
    Range { items: Vec<Listed>, next_base64: Option<String> },
    Delete { deleted: u64 },
    Txn { succeeded: bool, responses: Vec<Response> },
}

#[derive(Serialize)]
struct Found {
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    value_base64: String,
}

/// The answer to `txn`; `None` if the results are none of its branch.
pub(super) fn of(
    txn: &Txn,
    revision: u64,
    succeeded: bool,
    results: Vec<TxnResult>,
    receipt: Receipt,
) -> Option<Answer> {
    Some(Answer { succeeded, revision, responses: responses(txn, succeeded, results)?, receipt })
}

fn responses(txn: &Txn, succeeded: bool, results: Vec<TxnResult>) -> Option<Vec<Response>> {
    let ops = if succeeded { &txn.then } else { &txn.otherwise };
    if ops.len() != results.len() {
        return None;
    }
    ops.iter().zip(results).map(|(op, result)| response(op, result)).collect()
}

fn response(op: &TxnOp, result: TxnResult) -> Option<Response> {
    Some(match (op, result) {
        (TxnOp::Put { .. }, TxnResult::Put { create_revision, version }) => {
            Response::Put { create_revision, version }
        }
        (TxnOp::Increment { .. }, TxnResult::Increment { value, create_revision, version }) => {
            Response::Increment { value, create_revision, version }
        }
        (TxnOp::Get { .. }, TxnResult::Get { row }) => Response::Get {
            item: row.map(|row| Found {
                create_revision: row.create_revision,
                mod_revision: row.mod_revision,
                version: row.version,
                value_base64: STANDARD.encode(&row.value),
            }),
        },
        (TxnOp::Range { keys_only, .. }, TxnResult::Range { items, next }) => Response::Range {
            items: items.into_iter().map(|item: Item| listed(item, !keys_only)).collect(),
            next_base64: next.map(|key| STANDARD.encode(key)),
        },
        (TxnOp::Delete { .. }, TxnResult::Deleted { keys }) => Response::Delete { deleted: keys },
        (TxnOp::Txn(txn), TxnResult::Txn { succeeded, results }) => {
            Response::Txn { succeeded, responses: responses(txn, succeeded, results)? }
        }
        _ => return None,
    })
}
