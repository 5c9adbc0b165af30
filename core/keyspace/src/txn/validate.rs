//! Limits on transactions, checked before one is proposed or read. A refusal names the field by its path
//! in the JSON form, such as `then[2].put.key`.

use std::collections::BTreeSet;

use types::Problem;
use types::limits::{
    RANGE_ITEMS_MAX, TXN_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPS_MAX, TXN_PARTS_MAX, VALUE_BYTES_MAX,
};

use super::{Keys, Target, Txn, TxnOp};
use crate::command::KeyRange;
use crate::lease::validate_leased;
use crate::validate::{invalid, validate_key, validate_range};

impl Txn {
    /// Checks the limits, and that no key is changed twice. `INVALID_ARGUMENT` names the field.
    pub fn validate(&self) -> Result<(), Problem> {
        let mut totals = Totals::default();
        totals.txn(self, "", 1)?;
        if totals.parts > TXN_PARTS_MAX {
            return Err(invalid(
                format!(
                    "the transaction has {} compares and operations in all, more than the limit of {TXN_PARTS_MAX}",
                    totals.parts
                ),
                "split it into several transactions",
            ));
        }
        if totals.bytes > TXN_BYTES_MAX {
            return Err(invalid(
                format!(
                    "the transaction has {} bytes of keys and values, more than the limit of {TXN_BYTES_MAX}",
                    totals.bytes
                ),
                "split it into several transactions",
            ));
        }
        Touched::of(&self.then, "then").and(Touched::of(&self.otherwise, "else"))?;
        Ok(())
    }
}

/// What counts towards the limits of the whole.
#[derive(Default)]
struct Totals {
    parts: usize,
    bytes: usize,
}

impl Totals {
    fn txn(&mut self, txn: &Txn, path: &str, depth: usize) -> Result<(), Problem> {
        if depth > TXN_DEPTH_MAX {
            return Err(at(
                path,
                invalid(
                    format!("transactions nest deeper than {TXN_DEPTH_MAX}"),
                    "write it with fewer transactions inside others",
                ),
            ));
        }
        let lists =
            [("compares", txn.compares.len()), ("then", txn.then.len()), ("else", txn.otherwise.len())];
        for (name, count) in lists {
            self.parts += count;
            if count > TXN_OPS_MAX {
                return Err(at(
                    &format!("{path}{name}"),
                    invalid(
                        format!("there are {count} elements, more than the limit of {TXN_OPS_MAX}"),
                        "split the transaction",
                    ),
                ));
            }
        }
        for (number, compare) in txn.compares.iter().enumerate() {
            let path = || format!("{path}compares[{number}]");
            self.keys(&compare.keys).map_err(|problem| at(&format!("{}.key", path()), problem))?;
            if let Target::Value(value) = &compare.target {
                self.value(value).map_err(|problem| at(&format!("{}.value", path()), problem))?;
            }
        }
        for (name, ops) in [("then", &txn.then), ("else", &txn.otherwise)] {
            for (number, op) in ops.iter().enumerate() {
                self.op(op, &format!("{path}{name}[{number}]."), depth)?;
            }
        }
        Ok(())
    }

    fn op(&mut self, op: &TxnOp, path: &str, depth: usize) -> Result<(), Problem> {
        match op {
            TxnOp::Put { key, value, lease } => {
                if lease.is_some() {
                    validate_leased(key).map_err(|problem| at(&format!("{path}put.key"), problem))?;
                }
                self.key(key).map_err(|problem| at(&format!("{path}put.key"), problem))?;
                self.value(value).map_err(|problem| at(&format!("{path}put.value"), problem))
            }
            TxnOp::Increment { key, .. } => {
                self.key(key).map_err(|problem| at(&format!("{path}increment.key"), problem))
            }
            TxnOp::Get { key } => self.key(key).map_err(|problem| at(&format!("{path}get.key"), problem)),
            TxnOp::Range { range, limit, .. } => {
                if !(1..=RANGE_ITEMS_MAX).contains(limit) {
                    return Err(at(
                        &format!("{path}range.limit"),
                        invalid(
                            format!("a limit of {limit} items is not within 1 to {RANGE_ITEMS_MAX}"),
                            "ask for that many",
                        ),
                    ));
                }
                self.range(range).map_err(|problem| at(&format!("{path}range.key"), problem))
            }
            TxnOp::Delete { keys } => {
                self.keys(keys).map_err(|problem| at(&format!("{path}delete.key"), problem))
            }
            TxnOp::Txn(txn) => self.txn(txn, &format!("{path}txn."), depth + 1),
        }
    }

    fn keys(&mut self, keys: &Keys) -> Result<(), Problem> {
        match keys {
            Keys::One(key) => self.key(key),
            Keys::Range(range) => self.range(range),
        }
    }

    fn key(&mut self, key: &[u8]) -> Result<(), Problem> {
        self.bytes += key.len();
        validate_key(key)
    }

    fn range(&mut self, range: &KeyRange) -> Result<(), Problem> {
        self.bytes += range.start.len() + range.end.as_ref().map_or(0, Vec::len);
        validate_range(range)
    }

    fn value(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.bytes += value.len();
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid(
                format!("the value has {} bytes, more than the limit of {VALUE_BYTES_MAX}", value.len()),
                "store a smaller value, or split it over several keys",
            ));
        }
        Ok(())
    }
}

/// Keys that a list of operations may change, whichever branches its nested transactions take.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a Keys>,
}

impl<'a> Touched<'a> {
    /// Fails if two of the operations would change one key, unless both only delete it. Branches of one
    /// nested transaction exclude each other and may share keys.
    fn of(ops: &'a [TxnOp], path: &str) -> Result<Touched<'a>, Problem> {
        let mut touched = Touched::default();
        for (number, op) in ops.iter().enumerate() {
            let path = format!("{path}[{number}]");
            match op {
                TxnOp::Put { key, .. } => touched.put(key, &format!("{path}.put.key"))?,
                TxnOp::Increment { key, .. } => touched.put(key, &format!("{path}.increment.key"))?,
                TxnOp::Delete { keys } => touched.delete(keys, &format!("{path}.delete.key"))?,
                TxnOp::Get { .. } | TxnOp::Range { .. } => {}
                TxnOp::Txn(txn) => {
                    let then = Touched::of(&txn.then, &format!("{path}.txn.then"))?;
                    let otherwise = Touched::of(&txn.otherwise, &format!("{path}.txn.else"))?;
                    let path = format!("{path}.txn");
                    let puts: BTreeSet<&[u8]> = then.puts.union(&otherwise.puts).copied().collect();
                    let deletes: Vec<&Keys> = then.deletes.into_iter().chain(otherwise.deletes).collect();
                    // Both are held against what was before them, and joined only then.
                    let before = std::mem::take(&mut touched);
                    for key in &puts {
                        before.check_put(key, &path)?;
                    }
                    for keys in &deletes {
                        before.check_delete(keys, &path)?;
                    }
                    touched.puts = before.puts.into_iter().chain(puts).collect();
                    touched.deletes = before.deletes.into_iter().chain(deletes).collect();
                }
            }
        }
        Ok(touched)
    }

    fn put(&mut self, key: &'a [u8], path: &str) -> Result<(), Problem> {
        self.check_put(key, path)?;
        self.puts.insert(key);
        Ok(())
    }

    fn delete(&mut self, keys: &'a Keys, path: &str) -> Result<(), Problem> {
        self.check_delete(keys, path)?;
        self.deletes.push(keys);
        Ok(())
    }

    fn check_put(&self, key: &[u8], path: &str) -> Result<(), Problem> {
        let twice = self.puts.contains(key) || self.deletes.iter().any(|keys| holds(keys, key));
        if twice { Err(duplicate(path, key)) } else { Ok(()) }
    }

    fn check_delete(&self, keys: &Keys, path: &str) -> Result<(), Problem> {
        match self.puts.iter().find(|key| holds(keys, key)) {
            Some(key) => Err(duplicate(path, key)),
            None => Ok(()),
        }
    }
}

fn holds(keys: &Keys, key: &[u8]) -> bool {
    match keys {
        Keys::One(one) => one == key,
        Keys::Range(range) => {
            key >= range.start.as_slice() && range.end.as_ref().is_none_or(|end| key < end.as_slice())
        }
    }
}

fn duplicate(path: &str, key: &[u8]) -> Problem {
    at(
        path,
        invalid(
            format!("duplicate key given in txn request: {}", key.escape_ascii()),
            "change each key once in a transaction",
        ),
    )
}

fn at(path: &str, problem: Problem) -> Problem {
    let path = path.trim_end_matches('.');
    Problem { message: format!("{path}: {}", problem.message), ..problem }
}
