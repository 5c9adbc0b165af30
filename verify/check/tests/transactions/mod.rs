//! What the tests of transactions share: histories as events, a store that is right, and a judge that is slow
//! and too simple to be wrong.

#![allow(dead_code, reason = "each test uses a part")]

pub mod runs;

use std::collections::BTreeMap;

use check::transactions::Transaction;
use check::{Isolation, Outcome, Seen, Step, TransactionHistory, TransactionVerdict, check_transactions};

/// An invocation or a completion; a completion's steps hold what was seen.
#[derive(Clone, Debug)]
pub struct Event {
    pub process: u64,
    pub end: Option<Outcome>,
    pub steps: Vec<Step>,
    pub revision: Option<u64>,
}

pub fn history(events: &[Event]) -> TransactionHistory {
    let mut history = TransactionHistory::new();
    for (event, time_us) in events.iter().zip(0..) {
        let Event { process, end, steps, revision } = event;
        let id = match end {
            None => history.invoke(*process, time_us, steps).unwrap(),
            Some(outcome) => history.complete(*process, time_us, *outcome, steps).unwrap(),
        };
        if let (Some(revision), Some(Outcome::Committed)) = (revision, end) {
            history.told_revision(id, *revision).unwrap();
        }
    }
    history
}

pub fn judge(events: &[Event], isolation: Isolation) -> TransactionVerdict {
    check_transactions(&history(events), isolation)
}

/// Lists and registers, as they are.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub lists: BTreeMap<String, Vec<String>>,
    pub registers: BTreeMap<String, String>,
    /// By key: how often it was written, and the last revision that was told of a version.
    pub writes: BTreeMap<String, u64>,
    pub revisions: BTreeMap<String, u64>,
}

impl Store {
    /// Carries out a transaction at once: its steps with what they see. `registers`: whether a read is of a
    /// register.
    pub fn execute(&mut self, steps: &[Step], registers: bool) -> Vec<Step> {
        let step = |step: &Step| match step {
            Step::Append { key, value } => {
                self.lists.entry(key.clone()).or_default().push(value.clone());
                step.clone()
            }
            Step::Write { key, value } => {
                self.registers.insert(key.clone(), value.clone());
                *self.writes.entry(key.clone()).or_default() += 1;
                step.clone()
            }
            Step::Read { key, .. } => {
                let seen = if registers {
                    Seen::Register { value: self.registers.get(key).cloned(), revision: None }
                } else {
                    Seen::List(self.lists.get(key).cloned().unwrap_or_default())
                };
                Step::Read { key: key.clone(), seen: Some(seen) }
            }
        };
        steps.iter().map(step).collect()
    }
}

/// The same steps without revisions, as [`Store::execute`] tells them.
fn plain(steps: &[Step]) -> Vec<Step> {
    let step = |step: &Step| match step {
        Step::Read { key, seen: Some(Seen::Register { value, .. }) } => Step::Read {
            key: key.clone(),
            seen: Some(Seen::Register { value: value.clone(), revision: None }),
        },
        step => step.clone(),
    };
    steps.iter().map(step).collect()
}

/// Tries everything: whether there is an order that explains a history. It takes a time that is exponential in
/// the number of transactions.
pub struct Slow<'a> {
    all: &'a [Transaction],
    registers: bool,
    isolation: Isolation,
    /// By key and value, which are unique then: the revision that was told.
    revisions: BTreeMap<(String, String), u64>,
}

impl<'a> Slow<'a> {
    /// Whether an order explains it.
    pub fn explains(history: &'a TransactionHistory, registers: bool, isolation: Isolation) -> bool {
        let all = history.transactions();
        let mut slow = Slow { all, registers, isolation, revisions: BTreeMap::new() };
        slow.note_revisions()
            && slow.any(&mut vec![None; all.len()], &mut vec![false; all.len()], &Store::default())
    }

    /// `false` if one value has two revisions.
    fn note_revisions(&mut self) -> bool {
        for transaction in self.all {
            let mut own: Vec<&String> = Vec::new();
            for step in &transaction.steps {
                let told = match (step, transaction.revision) {
                    // No revision is there yet of what it wrote itself.
                    (Step::Read { key, .. }, _) if own.contains(&key) => None,
                    (Step::Write { key, value }, Some(revision)) => Some((key, value, revision)),
                    (Step::Read { key, seen: Some(Seen::Register { value: Some(value), revision }) }, _) => {
                        revision.map(|revision| (key, value, revision))
                    }
                    _ => None,
                };
                if let Step::Write { key, .. } = step {
                    own.push(key);
                }
                if let Some((key, value, revision)) = told {
                    let before = self.revisions.insert((key.clone(), value.clone()), revision);
                    if before.is_some_and(|before| before != revision) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Whether it was told to have committed.
    fn committed(&self, at: usize) -> bool {
        self.all[at].outcome() == Outcome::Committed
    }

    /// Whether what is left can be explained. `begun`: the store that each saw that has begun and not ended.
    fn any(&self, begun: &mut Vec<Option<Store>>, done: &mut Vec<bool>, store: &Store) -> bool {
        if (0..self.all.len()).all(|at| done[at] || (!self.committed(at) && begun[at].is_none())) {
            return true;
        }
        let ends =
            |at: usize| self.all[at].completed.filter(|_| self.committed(at)).map(|(end, _)| end.position);
        let bound = (0..self.all.len()).filter(|at| !done[*at]).filter_map(ends).min().unwrap_or(usize::MAX);
        for at in 0..self.all.len() {
            let strict = self.isolation == Isolation::StrictSerializable;
            let late = strict && self.all[at].invoked.position > bound;
            if done[at] || late || self.all[at].outcome() == Outcome::Aborted {
                continue;
            }
            let explained = if self.isolation == Isolation::SnapshotIsolation {
                self.moment(at, begun, done, store)
            } else {
                let mut after = store.clone();
                self.fits(at, &mut after) && {
                    done[at] = true;
                    let explained = self.any(begun, done, &after);
                    done[at] = false;
                    explained
                }
            };
            if explained {
                return true;
            }
        }
        false
    }

    /// Under snapshot isolation: it begins, or if it has, commits.
    fn moment(&self, at: usize, begun: &mut Vec<Option<Store>>, done: &mut Vec<bool>, store: &Store) -> bool {
        let Some(seen) = begun[at].take() else {
            if !self.fits(at, &mut store.clone()) {
                return false;
            }
            begun[at] = Some(store.clone());
            let explained = self.any(begun, done, store);
            begun[at] = None;
            return explained;
        };
        // Nobody else has written what it writes since it began.
        let untouched = self.all[at].steps.iter().all(|step| match step {
            Step::Append { key, .. } => seen.lists.get(key) == store.lists.get(key),
            Step::Write { key, .. } => seen.writes.get(key) == store.writes.get(key),
            Step::Read { .. } => true,
        });
        let mut after = store.clone();
        let explained = untouched && self.write(at, &mut after) && {
            done[at] = true;
            let explained = self.any(begun, done, &after);
            done[at] = false;
            explained
        };
        begun[at] = Some(seen);
        explained
    }

    /// Whether a transaction sees what it saw. The store is then as it leaves it.
    fn fits(&self, at: usize, store: &mut Store) -> bool {
        let told = store.clone().execute(&self.all[at].steps, self.registers);
        (!self.committed(at) || told == plain(&self.all[at].steps)) && self.write(at, store)
    }

    /// Carries out what it writes; `false` if revisions go back.
    fn write(&self, at: usize, store: &mut Store) -> bool {
        store.execute(&self.all[at].steps, self.registers);
        let mut last: BTreeMap<&String, &String> = BTreeMap::new();
        for step in &self.all[at].steps {
            if let Step::Write { key, value } = step {
                last.insert(key, value);
            }
        }
        last.into_iter().all(|(key, value)| {
            let Some(&revision) = self.revisions.get(&(key.clone(), value.clone())) else { return true };
            store.revisions.insert(key.clone(), revision).is_none_or(|before| before < revision)
        })
    }
}
