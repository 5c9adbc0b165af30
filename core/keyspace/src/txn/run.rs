//! Running a transaction: deciding its compares, then its operations, then writing what they changed.

use std::collections::{BTreeMap, VecDeque};

use storage::{GroupState, ReadRows, Row, RowMeta, StoreError, WriteRows};
use types::GroupId;
use types::limits::{RANGE_ITEMS_MAX, TXN_SUPERSEDED_BYTES_MAX};

use super::staged::{Change, Staged, Stop};
use super::{Compare, Keys, Relation, Target, Txn, TxnOp, TxnOutcome, TxnRefusal, TxnResult};
use crate::apply::{Bounds, add, subtract};
use crate::codec::encode_outcome;
use crate::command::{Item, KeyRange, Outcome};
use crate::lease::{self, Bound, Leasing};

/// Runs a transaction of the log. `state` takes a new revision if anything changed. One that would exceed
/// `bounds` does nothing.
pub(crate) fn apply(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    txn: &Txn,
    bounds: Bounds<'_>,
) -> Result<Outcome, StoreError> {
    let revision = state.revision + 1;
    let mut staged = Staged::new(rows, group);
    let (succeeded, results) = match run(&mut staged, revision, txn) {
        Ok(done) => done,
        Err(Stop::Refused(refusal)) => {
            return Ok(Outcome::Txn(TxnOutcome::Refused { revision: state.revision, refusal }));
        }
        Err(Stop::Store(error)) => return Err(error),
    };
    let changes = staged.into_changes();
    let changed = changes.values().any(|change| change.old.is_some() || change.new.is_some());
    let after = if changed { revision } else { state.revision };
    let done = Outcome::Txn(TxnOutcome::Done { revision: after, succeeded, results });
    if bounds.outcome_bytes_max.is_some_and(|max| encode_outcome(&done).len() > max) {
        let refusal = TxnRefusal::OutcomeTooLarge;
        return Ok(Outcome::Txn(TxnOutcome::Refused { revision: state.revision, refusal }));
    }
    let superseded = changes.values().filter_map(|change| Some(change.old?.value_bytes));
    if superseded.sum::<u64>() > TXN_SUPERSEDED_BYTES_MAX {
        let refusal = TxnRefusal::SupersedesTooMuch;
        return Ok(Outcome::Txn(TxnOutcome::Refused { revision: state.revision, refusal }));
    }
    let leased = changes.iter().filter_map(|(key, change)| match (&change.new, change.leasing) {
        (Some(_), Leasing::Set(Some(lease))) => Some((key.as_slice(), lease)),
        _ => None,
    });
    if let Some(refused) = lease::refuse_leased(rows, group, state, leased)? {
        return Ok(Outcome::Lease(refused));
    }
    if let Some(refused) = bounds.refuse(state, bytes_after(state.bytes, &changes)) {
        return Ok(refused);
    }
    for (key, change) in changes {
        if change.old.is_none() && change.new.is_none() {
            continue;
        }
        state.revision = revision;
        subtract(state, &key, change.old);
        let created = change.new.as_ref().map(|row| row.create_revision);
        match change.new {
            Some(row) => {
                add(state, &key, RowMeta::of(&row));
                rows.put(group, &key, row);
            }
            None => rows.delete(group, &key),
        }
        let bound = Bound { old: change.old, new: created, leasing: change.leasing };
        lease::changed(rows, group, state, &key, bound)?;
    }
    Ok(done)
}

/// Bytes of keys and values once the changes are made.
fn bytes_after(bytes: u64, changes: &BTreeMap<Vec<u8>, Change>) -> u64 {
    let of = |key: &[u8], value_bytes: u64| key.len() as u64 + value_bytes;
    let added =
        changes.iter().filter_map(|(key, change)| Some(of(key, change.new.as_ref()?.value.len() as u64)));
    let removed = changes.iter().filter_map(|(key, change)| Some(of(key, change.old?.value_bytes)));
    (bytes + added.sum::<u64>()).saturating_sub(removed.sum())
}

/// Answers a transaction that only reads.
pub(crate) fn read(rows: &dyn ReadRows, group: GroupId, txn: &Txn) -> Result<TxnOutcome, StoreError> {
    let revision = rows.state(group).revision;
    match run(&mut Staged::new(rows, group), revision + 1, txn) {
        Ok((succeeded, results)) => Ok(TxnOutcome::Done { revision, succeeded, results }),
        Err(Stop::Refused(refusal)) => Ok(TxnOutcome::Refused { revision, refusal }),
        Err(Stop::Store(error)) => Err(error),
    }
}

fn run(staged: &mut Staged<'_>, revision: u64, txn: &Txn) -> Result<(bool, Vec<TxnResult>), Stop> {
    let mut decisions = VecDeque::new();
    decide(staged, txn, &mut decisions)?;
    let taken = Run { staged, revision, decisions }.txn(txn)?;
    Ok(taken)
}

/// Decides a transaction and those nested in the branch that it takes, in the order in which they will run.
fn decide(staged: &mut Staged<'_>, txn: &Txn, decisions: &mut VecDeque<bool>) -> Result<(), Stop> {
    let mut holds = true;
    for compare in &txn.compares {
        holds = holds && compare_holds(staged, compare)?;
    }
    decisions.push_back(holds);
    for op in if holds { &txn.then } else { &txn.otherwise } {
        if let TxnOp::Txn(nested) = op {
            decide(staged, nested, decisions)?;
        }
    }
    Ok(())
}

fn compare_holds(staged: &mut Staged<'_>, compare: &Compare) -> Result<bool, Stop> {
    let range = match &compare.keys {
        Keys::One(key) => {
            let meta = staged.meta(key)?;
            return one_holds(staged, compare, key, meta);
        }
        Keys::Range(range) => range,
    };
    let mut found = Vec::new();
    let by_value = matches!(compare.target, Target::Value(_));
    let (mut any, mut holds) = (false, true);
    staged.scan(range, &mut |key, meta| {
        any = true;
        if by_value {
            found.push((key.to_vec(), meta));
        } else {
            holds = number_holds(compare, Some(meta));
        }
        holds
    })?;
    if !any {
        return Ok(number_holds(compare, None));
    }
    for (key, meta) in found {
        if !one_holds(staged, compare, &key, Some(meta))? {
            return Ok(false);
        }
    }
    Ok(holds)
}

fn one_holds(
    staged: &mut Staged<'_>,
    compare: &Compare,
    key: &[u8],
    meta: Option<RowMeta>,
) -> Result<bool, Stop> {
    match (&compare.target, meta) {
        (Target::Value(value), Some(_)) => {
            let row = staged.get(key)?;
            Ok(row.is_some_and(|row| relates(compare.relation, &row.value, value)))
        }
        (_, meta) => Ok(number_holds(compare, meta)),
    }
}

/// Compares a number of a key, or of one that does not exist; never holds for values.
fn number_holds(compare: &Compare, meta: Option<RowMeta>) -> bool {
    let (found, given) = match compare.target {
        Target::Version(version) => (meta.map_or(0, |meta| meta.version), version),
        Target::CreateRevision(revision) => (meta.map_or(0, |meta| meta.create_revision), revision),
        Target::ModRevision(revision) => (meta.map_or(0, |meta| meta.mod_revision), revision),
        Target::Value(_) => return false,
    };
    relates(compare.relation, &found, &given)
}

fn relates<T: Ord>(relation: Relation, found: &T, given: &T) -> bool {
    match relation {
        Relation::Equal => found == given,
        Relation::NotEqual => found != given,
        Relation::Greater => found > given,
        Relation::Less => found < given,
    }
}

/// Operations being run.
struct Run<'a, 'b> {
    staged: &'a mut Staged<'b>,
    /// The revision of whatever changes.
    revision: u64,
    decisions: VecDeque<bool>,
}

impl Run<'_, '_> {
    fn txn(&mut self, txn: &Txn) -> Result<(bool, Vec<TxnResult>), Stop> {
        let succeeded = self.decisions.pop_front().expect("every transaction that runs was decided");
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let results: Result<Vec<TxnResult>, Stop> = ops.iter().map(|op| self.op(op)).collect();
        Ok((succeeded, results?))
    }

    fn op(&mut self, op: &TxnOp) -> Result<TxnResult, Stop> {
        match op {
            TxnOp::Put { key, value, lease } => {
                let (create_revision, version) = self.put(key, value.clone(), Leasing::Set(*lease))?;
                Ok(TxnResult::Put { create_revision, version })
            }
            TxnOp::Increment { key, by } => {
                let value = self.sum(key, *by)?;
                let (create_revision, version) =
                    self.put(key, value.to_string().into_bytes(), Leasing::Keep)?;
                Ok(TxnResult::Increment { value, create_revision, version })
            }
            TxnOp::Get { key } => Ok(TxnResult::Get { row: self.staged.get(key)? }),
            TxnOp::Range { range, limit, keys_only } => self.range(range, *limit, *keys_only),
            TxnOp::Delete { keys } => self.delete(keys),
            TxnOp::Txn(txn) => {
                let (succeeded, results) = self.txn(txn)?;
                Ok(TxnResult::Txn { succeeded, results })
            }
        }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>, leasing: Leasing) -> Result<(u64, u64), Stop> {
        let old = self.staged.meta(key)?;
        let create_revision = old.map_or(self.revision, |old| old.create_revision);
        let version = old.map_or(1, |old| old.version + 1);
        let row = Row { create_revision, mod_revision: self.revision, version, value };
        self.staged.set(key, Some(row), leasing)?;
        Ok((create_revision, version))
    }

    fn sum(&mut self, key: &[u8], by: i64) -> Result<i64, Stop> {
        let refused = |refusal: TxnRefusal| Stop::Refused(refusal);
        let held = match self.staged.get(key)? {
            None => 0,
            Some(row) => {
                number(&row.value).ok_or_else(|| refused(TxnRefusal::NotANumber { key: key.to_vec() }))?
            }
        };
        held.checked_add(by).ok_or_else(|| refused(TxnRefusal::Overflow { key: key.to_vec() }))
    }

    fn range(&mut self, range: &KeyRange, limit: u32, keys_only: bool) -> Result<TxnResult, Stop> {
        let items_max = limit.clamp(1, RANGE_ITEMS_MAX) as usize;
        let (mut found, mut next) = (Vec::new(), None);
        self.staged.scan(range, &mut |key, meta| {
            if found.len() == items_max {
                next = Some(key.to_vec());
                return false;
            }
            found.push((key.to_vec(), meta));
            true
        })?;
        let mut items = Vec::with_capacity(found.len());
        for (key, meta) in found {
            let row = if keys_only {
                self.staged.count_bytes(&key, 0)?;
                let RowMeta { create_revision, mod_revision, version, .. } = meta;
                Row { create_revision, mod_revision, version, value: Vec::new() }
            } else {
                self.staged.get(&key)?.expect("the scan found it, and nothing ran since")
            };
            items.push(Item { key, row, value_bytes: meta.value_bytes });
        }
        Ok(TxnResult::Range { items, next })
    }

    fn delete(&mut self, keys: &Keys) -> Result<TxnResult, Stop> {
        let mut found = Vec::new();
        match keys {
            Keys::One(key) => found.extend(self.staged.meta(key)?.map(|meta| (key.clone(), meta))),
            Keys::Range(range) => self.staged.scan(range, &mut |key, meta| {
                found.push((key.to_vec(), meta));
                true
            })?,
        }
        let keys = found.len() as u64;
        for (key, meta) in found {
            self.staged.remove(key, meta);
        }
        Ok(TxnResult::Deleted { keys })
    }
}

/// The number that a value spells: digits, with a `-` before them or not.
fn number(value: &[u8]) -> Option<i64> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
