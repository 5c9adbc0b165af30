//! What each key was in the course of time, as far as reads tell, and what is wrong with that without
//! looking at any order.

use std::collections::{BTreeMap, HashMap};

use super::history::{Outcome, Seen, Step, Transaction, TransactionHistory};
use super::lists::List;
use super::registers::Register;
use super::{Anomaly, Isolation};
use crate::history::OpId;

/// An anomaly of one or two transactions.
#[derive(Clone, Debug)]
pub struct Direct {
    pub anomaly: Anomaly,
    /// The weakest isolation that excludes it.
    pub from: Isolation,
    pub text: String,
    pub transactions: Vec<OpId>,
}

impl Direct {
    /// What even read committed excludes.
    pub fn new(anomaly: Anomaly, text: String, transactions: Vec<OpId>) -> Direct {
        Direct { anomaly, from: Isolation::ReadCommitted, text, transactions }
    }
}

/// A key that was used.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    List(List<'a>),
    Register(Register<'a>),
}

/// Two transactions that read one version of a key, and both wrote the key.
#[derive(Clone, Copy, Debug)]
pub struct LostUpdate {
    pub key: usize,
    pub transactions: [OpId; 2],
    /// Of a list: how many elements both saw.
    pub position: usize,
}

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct Versions<'a> {
    /// In order of their names.
    pub keys: Vec<(&'a str, Key<'a>)>,
    /// Whether a transaction took effect: it was told so, or what it wrote was seen.
    pub happened: Vec<bool>,
    found: Vec<Direct>,
    /// Why the history does not say enough to be called valid.
    pub unclear: Option<String>,
}

impl<'a> Versions<'a> {
    /// Reads the lists and registers. `Err` is why that is not possible.
    pub fn of(history: &'a TransactionHistory) -> Result<Versions<'a>, String> {
        let mut versions = Versions::default();
        let numbers = versions.name_keys(history)?;
        for transaction in history.transactions() {
            versions.happened.push(transaction.outcome() == Outcome::Committed);
            versions.note(transaction, &numbers);
        }
        for (name, key) in &mut versions.keys {
            let told = match key {
                Key::List(list) => list.resolve(name, history, &mut versions.happened),
                Key::Register(register) => register.resolve(name, history, &mut versions.happened),
            };
            versions.found.extend(told.found);
            versions.unclear = versions.unclear.take().or(told.unclear);
        }
        for (name, key) in &mut versions.keys {
            match key {
                Key::List(list) => list.find_unseen(&versions.happened),
                Key::Register(register) => {
                    versions.found.extend(register.find_writers(name, history, &versions.happened));
                }
            }
        }
        Ok(versions)
    }

    /// The keys in order of their names, and which is a list and which a register.
    fn name_keys(&mut self, history: &'a TransactionHistory) -> Result<HashMap<&'a str, usize>, String> {
        let mut uses: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
        for step in history.transactions().iter().flat_map(|transaction| &transaction.steps) {
            let used = uses.entry(step.key()).or_default();
            match step {
                Step::Append { .. } | Step::Read { seen: Some(Seen::List(_)), .. } => used[0] = true,
                Step::Write { .. } | Step::Read { seen: Some(Seen::Register { .. }), .. } => used[1] = true,
                Step::Read { seen: None, .. } => {}
            }
        }
        for (name, used) in uses {
            let key = match used {
                [true, true] => {
                    return Err(format!("{name:?} is used as a list and as a register; let a key be one"));
                }
                [true, false] => Key::List(List::default()),
                [false, _] => Key::Register(Register::default()),
            };
            self.keys.push((name, key));
        }
        Ok(self.keys.iter().enumerate().map(|(number, (name, _))| (*name, number)).collect())
    }

    fn note(&mut self, transaction: &'a Transaction, numbers: &HashMap<&'a str, usize>) {
        let mut steps: BTreeMap<usize, Vec<&'a Step>> = BTreeMap::new();
        for step in &transaction.steps {
            steps.entry(numbers[step.key()]).or_default().push(step);
        }
        for (number, steps) in steps {
            let (name, key) = &mut self.keys[number];
            let found = match key {
                Key::List(list) => list.note(name, transaction.id, &steps),
                Key::Register(register) => register.note(name, transaction.id, &steps),
            };
            self.found.extend(found);
        }
    }

    /// The first of the worst that is wrong with single reads.
    pub fn worst(&self, isolation: Isolation) -> Option<&Direct> {
        let excluded = self.found.iter().filter(|direct| direct.from <= isolation);
        excluded.min_by_key(|direct| direct.anomaly)
    }

    /// Two transactions that updated the same version of a key.
    pub fn lost_update(&self) -> Option<LostUpdate> {
        self.keys.iter().enumerate().find_map(|(key, (_, versions))| {
            let (transactions, position) = match versions {
                Key::List(list) => list.lost_update()?,
                Key::Register(register) => (register.lost_update()?, 0),
            };
            Some(LostUpdate { key, transactions, position })
        })
    }
}

/// What a key's reads come to.
#[derive(Debug, Default)]
pub struct Told {
    pub found: Vec<Direct>,
    pub unclear: Option<String>,
}
