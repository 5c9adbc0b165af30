//! Locks that are held for a time, and resources that refuse who holds them no longer.
//!
//! No lock service can promise that only one process believes to hold a lock: a holder that stands still does not
//! notice that its time is up (Kleppmann, "How to do distributed locking", 2016). What it can promise is
//! judged here: the tokens that it gives only grow, it gives a lock to nobody while it is promised to another,
//! and, together with the resource, that nothing written under a token takes effect after what was written
//! under a greater one. Where there are no tokens, holders that overlap are a violation: nothing makes up for it.

mod fencing;
mod form;
mod leases;

use std::collections::BTreeMap;

pub use form::{FencedBy, LockForm};

use crate::history::OpId;
use crate::judge::Judgement;
use crate::ledger::{Entry, Found, Ledger};

/// What was asked of locks, and told.
pub type LockHistory = Ledger<LockForm>;

type Of = Entry<LockForm>;

/// The terms of a history; the default if it tells none.
fn terms(history: &LockHistory) -> (u64, FencedBy) {
    match history.entries().first().map(|entry| &entry.form) {
        Some(LockForm::LockTerms { clock_error_per_mille, fenced_by }) => {
            (*clock_error_per_mille, *fenced_by)
        }
        _ => (0, FencedBy::default()),
    }
}

/// Checks that locks are given to one at a time. Time grows with the number of operations as sorting does.
pub fn check_locks(history: &LockHistory) -> Judgement {
    let (clock_error_per_mille, _) = terms(history);
    let mut locks: BTreeMap<&str, Vec<&Of>> = BTreeMap::new();
    for entry in history.entries() {
        if let LockForm::Acquire { lock, .. }
        | LockForm::KeepAlive { lock, .. }
        | LockForm::Release { lock, .. } = &entry.form
        {
            locks.entry(lock).or_default().push(entry);
        }
    }
    let found = locks.values().find_map(|entries| leases::check(entries, clock_error_per_mille));
    judgement(history, found)
}

/// Checks that what is written under tokens takes effect in their order. Time grows with the number of operations
/// as sorting does.
pub fn check_fencing(history: &LockHistory) -> Judgement {
    let (_, fenced_by) = terms(history);
    let mut resources: BTreeMap<(&str, &str), Vec<&Of>> = BTreeMap::new();
    let mut grants: BTreeMap<&str, Vec<(usize, u64, OpId)>> = BTreeMap::new();
    for entry in history.entries() {
        match &entry.form {
            LockForm::GuardedWrite { lock, resource, .. } | LockForm::GuardedRead { lock, resource, .. } => {
                resources.entry((lock, resource)).or_default().push(entry);
            }
            LockForm::Acquire { lock, token: Some(token), .. } if fenced_by == FencedBy::Holder => {
                let granted = (entry.known_at(), *token, entry.id);
                grants.entry(lock).or_default().push(granted);
            }
            _ => {}
        }
    }
    for ((lock, resource), entries) in &resources {
        let grants = grants.get(lock).map_or(&[][..], Vec::as_slice);
        match fencing::check(resource, entries, grants) {
            Ok(None) => {}
            Ok(found) => return judgement(history, found),
            Err(reason) => return Judgement::Unknown { reason },
        }
    }
    Judgement::Valid
}

fn judgement(history: &LockHistory, found: Option<Found>) -> Judgement {
    found.map_or(Judgement::Valid, |found| Judgement::Invalid(found.explained(history)))
}
