//! Bugs of the node itself, to prove that a checker catches them.

use keyspace::{
    Command, Txn, TxnOp,
    codec::{decode_command, encode_command},
};
use raft_group::Planted;
use types::Entry;

/// The entry as a node with the bug applies it.
pub(crate) fn damage(planted: Option<Planted>, entry: &Entry) -> Entry {
    match (planted, decode_command(&entry.data)) {
        (Some(Planted::TxnIgnoresCompares), Ok(Command::Txn(mut txn))) => {
            ignore_compares(&mut txn);
            Entry { data: encode_command(&Command::Txn(txn)).into(), ..entry.clone() }
        }
        _ => entry.clone(),
    }
}

fn ignore_compares(txn: &mut Txn) {
    txn.compares.clear();
    for op in &mut txn.then {
        if let TxnOp::Txn(nested) = op {
            ignore_compares(nested);
        }
    }
}
