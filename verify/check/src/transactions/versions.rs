//! What each list was in the course of time, and what is wrong with that without looking at any order.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Anomaly;
use super::history::{Outcome, Shown, Step, Transaction, TransactionHistory};
use crate::history::OpId;

/// An append.
#[derive(Clone, Copy, Debug)]
struct Append {
    by: OpId,
    /// Which of the transaction's appends to the key, from 0, and how many there are.
    nth: usize,
    of: usize,
}

/// One key.
#[derive(Clone, Debug, Default)]
pub struct Key<'a> {
    appends: HashMap<&'a str, Append>,
    /// Committed reads: by whom, and what.
    reads: Vec<(OpId, &'a [String])>,
    /// The longest of them: the order of versions as far as it is known.
    pub longest: &'a [String],
    longest_by: Option<OpId>,
}

impl Key<'_> {
    /// Who appended an element of the longest list.
    pub fn writer(&self, position: usize) -> OpId {
        self.appends[self.longest[position].as_str()].by
    }

    /// Committed reads: by whom, and of how many elements.
    pub fn reads(&self) -> impl Iterator<Item = (OpId, usize)> {
        self.reads.iter().map(|(by, seen)| (*by, seen.len()))
    }
}

/// An anomaly of one or two transactions.
#[derive(Clone, Debug)]
pub struct Direct {
    pub anomaly: Anomaly,
    pub text: String,
    pub transactions: Vec<OpId>,
}

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct Versions<'a> {
    pub keys: BTreeMap<&'a str, Key<'a>>,
    /// Whether a transaction took effect: it was told so, or what it appended was seen.
    happened: Vec<bool>,
    worst: Option<Direct>,
}

impl<'a> Versions<'a> {
    /// Reads the lists. `Err` is why that is not possible.
    pub fn of(history: &'a TransactionHistory) -> Result<Versions<'a>, String> {
        let mut versions = Versions::default();
        for transaction in history.transactions() {
            versions.happened.push(transaction.outcome() == Outcome::Committed);
            versions.note(transaction)?;
        }
        let mut found: Vec<Direct> = history.transactions().iter().filter_map(internal).collect();
        for (name, key) in &versions.keys {
            found.extend(key.reads.iter().filter_map(|&(by, seen)| read(name, key, history, by, seen)));
            found.extend(own_order(name, key));
            for append in key.longest.iter().filter_map(|element| key.appends.get(element.as_str())) {
                versions.happened[append.by.0] = true;
            }
        }
        // The first of the worst.
        versions.worst = found.into_iter().min_by_key(|direct| direct.anomaly);
        Ok(versions)
    }

    fn note(&mut self, transaction: &'a Transaction) -> Result<(), String> {
        let mut own: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for step in &transaction.steps {
            let key = self.keys.entry(step.key()).or_default();
            match step {
                Step::Append { key: name, value } => {
                    let before = own.entry(name).or_default();
                    let append = Append { by: transaction.id, nth: before.len(), of: 0 };
                    before.push(value);
                    if key.appends.insert(value, append).is_some() {
                        return Err(format!(
                            "{value:?} is appended to {name:?} more than once, so who reads it cannot tell which; \
                             let what is appended to a key be unique"
                        ));
                    }
                }
                Step::Read { seen: Some(seen), .. } => {
                    if seen.len() > key.longest.len() {
                        (key.longest, key.longest_by) = (seen, Some(transaction.id));
                    }
                    key.reads.push((transaction.id, seen));
                }
                Step::Read { seen: None, .. } => {}
            }
        }
        for (name, values) in own {
            let key = self.keys.get_mut(name).expect("noted above");
            for value in &values {
                key.appends.get_mut(value).expect("noted above").of = values.len();
            }
        }
        Ok(())
    }

    /// The worst that is wrong with single reads.
    pub fn worst(&self) -> Option<&Direct> {
        self.worst.as_ref()
    }

    /// Whether a transaction took effect, for certain.
    pub fn happened(&self, id: OpId) -> bool {
        self.happened[id.0]
    }

    /// Transactions that took effect and appended to the key what the longest list does not hold: they
    /// come after it.
    pub fn unseen(&self, key: &Key<'_>) -> Vec<OpId> {
        let seen: HashSet<&str> = key.longest.iter().map(String::as_str).collect();
        let unseen =
            key.appends.iter().filter(|(value, append)| self.happened(append.by) && !seen.contains(*value));
        let mut writers: Vec<OpId> = unseen.map(|(_, append)| append.by).collect();
        writers.sort_unstable();
        writers.dedup();
        writers
    }
}

/// Whether a transaction that committed sees each list grow by its own appends alone.
fn internal(transaction: &Transaction) -> Option<Direct> {
    let mut known: BTreeMap<&str, &[String]> = BTreeMap::new();
    let mut appended: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let appends = transaction.steps.iter().filter_map(|step| match step {
        Step::Append { key, value } => Some((key.as_str(), value.as_str())),
        Step::Read { .. } => None,
    });
    let all_own: HashSet<(&str, &str)> = appends.collect();
    for step in &transaction.steps {
        match step {
            Step::Append { key, value } => appended.entry(key).or_default().push(value),
            Step::Read { seen: None, .. } => {}
            Step::Read { key, seen: Some(seen) } => {
                let own = appended.entry(key).or_default();
                let fits = seen.len().checked_sub(own.len()).is_some_and(|before| {
                    seen[before..].iter().map(String::as_str).eq(own.iter().copied())
                        && match known.get(key.as_str()) {
                            Some(known) => seen[..before] == **known,
                            // Nothing of its own, least of all what it is yet to append.
                            None => seen[..before].iter().all(|value| !all_own.contains(&(key, value))),
                        }
                });
                if !fits {
                    let text = format!(
                        "a transaction reads {key:?} as {}, which is not what it read or appended itself before",
                        Shown(seen)
                    );
                    let transactions = vec![transaction.id];
                    return Some(Direct { anomaly: Anomaly::Internal, text, transactions });
                }
                known.insert(key, seen);
                own.clear();
            }
        }
    }
    None
}

/// What is wrong with one read.
fn read(
    name: &str,
    key: &Key<'_>,
    history: &TransactionHistory,
    by: OpId,
    seen: &[String],
) -> Option<Direct> {
    let direct = |anomaly, text, transactions| Some(Direct { anomaly, text, transactions });
    if let Some(invented) = seen.iter().find(|element| !key.appends.contains_key(element.as_str())) {
        let text = format!("{name:?} is read with {invented:?}, which nobody appended to it");
        return direct(Anomaly::Invented, text, vec![by]);
    }
    let mut elements = HashSet::new();
    if let Some(twice) = seen.iter().find(|element| !elements.insert(element.as_str())) {
        let text = format!("{name:?} is read with {twice:?} twice, which was appended once");
        return direct(Anomaly::Duplicate, text, vec![by]);
    }
    if !key.longest.starts_with(seen) {
        let text = format!(
            "{name:?} is read as {} and as {}, and neither is the beginning of the other",
            Shown(seen),
            Shown(key.longest)
        );
        let transactions = std::iter::once(by).chain(key.longest_by.filter(|other| *other != by)).collect();
        return direct(Anomaly::IncompatibleOrder, text, transactions);
    }
    let append = |element: &String| key.appends[element.as_str()];
    let aborted = |id: OpId| history.transactions()[id.0].outcome() == Outcome::Aborted;
    if let Some(element) = seen.iter().find(|element| aborted(append(element).by)) {
        let text = format!("{name:?} is read with {element:?}, whose transaction was aborted");
        return direct(Anomaly::G1a, text, vec![append(element).by, by]);
    }
    if let Some(last) = seen.last()
        && append(last).by != by
        && append(last).nth + 1 < append(last).of
    {
        let text =
            format!("{name:?} is read with {last:?} at its end, after which its transaction appended more");
        return direct(Anomaly::G1b, text, vec![append(last).by, by]);
    }
    None
}

/// Whether each transaction's appends are in the list in their order, none left out before another.
fn own_order(name: &str, key: &Key<'_>) -> Option<Direct> {
    let mut next: BTreeMap<OpId, usize> = BTreeMap::new();
    for append in key.longest.iter().filter_map(|element| key.appends.get(element.as_str())) {
        let expected = next.entry(append.by).or_default();
        if append.nth != *expected {
            let text = format!(
                "a transaction's appends to {name:?} are not there in the order in which it made them: {}",
                Shown(key.longest)
            );
            let transactions = std::iter::once(append.by).chain(key.longest_by.filter(|by| *by != append.by));
            return Some(Direct { anomaly: Anomaly::Internal, text, transactions: transactions.collect() });
        }
        *expected += 1;
    }
    None
}
