//! Lists that are only appended to. A read shows every version before it, in order: so the longest list that
//! was read is the order of versions, as far as anything is known of it.

use std::collections::{HashMap, HashSet};

use super::history::{Outcome, Seen, Shown, Step, TransactionHistory};
use super::versions::{Direct, Told};
use super::{Anomaly, Isolation};
use crate::history::OpId;

/// An append.
#[derive(Clone, Copy, Debug)]
struct Append {
    by: OpId,
    /// Which of the transaction's appends to the key, from 0, and how many there are.
    nth: usize,
    of: usize,
}

/// The list of one key.
#[derive(Clone, Debug, Default)]
pub struct List<'a> {
    appends: HashMap<&'a str, Append>,
    /// Appends of what had been appended before.
    again: Vec<(&'a str, Append)>,
    /// Committed reads: by whom, and what.
    reads: Vec<(OpId, &'a [String])>,
    /// Who committed, having read the list and appended to it: by whom, and how many elements it found.
    updates: Vec<(OpId, usize)>,
    /// The longest list that was read: the order of versions as far as it is known.
    pub longest: &'a [String],
    longest_by: Option<OpId>,
    /// Who appended what, in order of the longest list.
    pub writers: Vec<OpId>,
    /// Transactions that took effect and appended what the longest list does not hold: they come after it.
    pub unseen: Vec<OpId>,
}

impl<'a> List<'a> {
    /// Committed reads: by whom, and of how many elements.
    pub fn reads(&self) -> impl Iterator<Item = (OpId, usize)> {
        self.reads.iter().map(|(by, seen)| (*by, seen.len()))
    }

    /// Notes what a transaction does to the list. Returns what is wrong within it.
    pub fn note(&mut self, name: &str, by: OpId, steps: &[&'a Step]) -> Option<Direct> {
        let appends = steps.iter().filter_map(|step| match step {
            Step::Append { value, .. } => Some(value.as_str()),
            _ => None,
        });
        let own: Vec<&str> = appends.collect();
        for (&value, nth) in own.iter().zip(0..) {
            let append = Append { by, nth, of: own.len() };
            if let Some(before) = self.appends.insert(value, append) {
                self.again.push((value, before));
            }
        }
        let mut appended = 0;
        let mut base: Option<&[String]> = None;
        let mut wrong = None;
        for step in steps {
            match step {
                Step::Append { .. } => appended += 1,
                Step::Read { seen: Some(Seen::List(seen)), .. } => {
                    wrong = wrong.or_else(|| internal(name, by, seen, &own, appended, base));
                    let found = seen.len().saturating_sub(appended);
                    if base.is_none() && !own.is_empty() {
                        self.updates.push((by, found));
                    }
                    base = base.or(Some(&seen[..found]));
                    if seen.len() > self.longest.len() {
                        (self.longest, self.longest_by) = (seen, Some(by));
                    }
                    self.reads.push((by, seen));
                }
                _ => {}
            }
        }
        wrong
    }

    /// Finds what is wrong with single reads, and who took effect because what it appended was read.
    pub fn resolve(&mut self, name: &str, history: &TransactionHistory, happened: &mut [bool]) -> Told {
        let twice: HashSet<&str> = self.again.iter().map(|(value, _)| *value).collect();
        let read_twice =
            |(_, seen): &(OpId, &'a [String])| seen.iter().find(|value| twice.contains(value.as_str()));
        if !twice.is_empty()
            && let Some(value) = self.reads.iter().find_map(read_twice)
        {
            let unclear = format!(
                "{value:?} is appended to {name:?} more than once, so who reads it cannot tell which; \
                 let what is appended to a key be unique"
            );
            *self = List::default();
            return Told { found: Vec::new(), unclear: Some(unclear) };
        }
        let longest = self.longest_by.and_then(|by| self.read(name, history, by, self.longest));
        let mut found: Vec<Direct> = longest.clone().into_iter().collect();
        for &(by, seen) in &self.reads {
            // The beginning of a list with which nothing is wrong may be wrong in its end alone.
            let beginning = longest.is_none() && self.longest.starts_with(seen);
            found.extend(if beginning {
                self.unfinished(name, by, seen)
            } else {
                self.read(name, history, by, seen)
            });
        }
        found.extend(self.own_order(name));
        let known = self.longest.iter().map_while(|element| self.appends.get(element.as_str()));
        self.writers = known.map(|append| append.by).collect();
        for by in &self.writers {
            happened[by.0] = true;
        }
        Told { found, unclear: None }
    }

    /// Finds who appended what nobody read, once it is known who took effect.
    pub fn find_unseen(&mut self, happened: &[bool]) {
        let seen: HashSet<&str> = self.longest.iter().map(String::as_str).collect();
        let appends =
            self.appends.iter().map(|(value, append)| (*value, *append)).chain(self.again.iter().copied());
        let unseen = appends.filter(|(value, append)| happened[append.by.0] && !seen.contains(value));
        self.unseen = unseen.map(|(_, append)| append.by).collect();
        self.unseen.sort_unstable();
        self.unseen.dedup();
    }

    /// Two who appended to the same version, which both had read, and how many elements that has.
    pub fn lost_update(&self) -> Option<([OpId; 2], usize)> {
        let mut first: HashMap<usize, OpId> = HashMap::new();
        self.updates.iter().find_map(|&(by, found)| first.insert(found, by).map(|other| ([other, by], found)))
    }

    /// What is wrong with one read.
    fn read(&self, name: &str, history: &TransactionHistory, by: OpId, seen: &[String]) -> Option<Direct> {
        let direct = |anomaly, text, transactions| Some(Direct::new(anomaly, text, transactions));
        if let Some(invented) = seen.iter().find(|element| !self.appends.contains_key(element.as_str())) {
            let text = format!("{name:?} is read with {invented:?}, which nobody appended to it");
            return direct(Anomaly::Invented, text, vec![by]);
        }
        let mut elements = HashSet::new();
        if let Some(twice) = seen.iter().find(|element| !elements.insert(element.as_str())) {
            let text = format!("{name:?} is read with {twice:?} twice, which was appended once");
            return direct(Anomaly::Duplicate, text, vec![by]);
        }
        if !self.longest.starts_with(seen) {
            let text = format!(
                "{name:?} is read as {} and as {}, and neither is the beginning of the other",
                Shown(seen),
                Shown(self.longest)
            );
            let transactions =
                std::iter::once(by).chain(self.longest_by.filter(|other| *other != by)).collect();
            return direct(Anomaly::IncompatibleOrder, text, transactions);
        }
        let append = |element: &String| self.appends[element.as_str()];
        let aborted = |id: OpId| history.transactions()[id.0].outcome() == Outcome::Aborted;
        if let Some(place) = seen.iter().position(|element| aborted(append(element).by)) {
            let element = &seen[place];
            let writer = append(element).by;
            if let Some(next) = seen[place..].iter().find(|next| !aborted(append(next).by)) {
                let text = format!(
                    "{next:?} was appended to {name:?} after {element:?}, whose transaction was aborted"
                );
                let mut transactions = vec![writer, append(next).by];
                transactions.extend((append(next).by != by).then_some(by));
                return direct(Anomaly::DirtyUpdate, text, transactions);
            }
            let text = format!("{name:?} is read with {element:?}, whose transaction was aborted");
            return direct(Anomaly::G1a, text, vec![writer, by]);
        }
        self.unfinished(name, by, seen)
    }

    /// Whether a read saw some appends of a transaction, and not yet the others.
    fn unfinished(&self, name: &str, by: OpId, seen: &[String]) -> Option<Direct> {
        let last = seen.last()?;
        let append = self.appends[last.as_str()];
        (append.by != by && append.nth + 1 < append.of).then(|| {
            let text = format!(
                "{name:?} is read with {last:?} at its end, after which its transaction appended more"
            );
            Direct::new(Anomaly::G1b, text, vec![append.by, by])
        })
    }

    /// Whether each transaction's appends are in the list in their order, none left out before another.
    fn own_order(&self, name: &str) -> Option<Direct> {
        let mut next: HashMap<OpId, usize> = HashMap::new();
        for append in self.longest.iter().filter_map(|element| self.appends.get(element.as_str())) {
            let expected = next.entry(append.by).or_default();
            if append.nth != *expected {
                let text = format!(
                    "a transaction's appends to {name:?} are not there in the order in which it made them: {}",
                    Shown(self.longest)
                );
                let transactions =
                    std::iter::once(append.by).chain(self.longest_by.filter(|by| *by != append.by));
                return Some(Direct::new(Anomaly::Internal, text, transactions.collect()));
            }
            *expected += 1;
        }
        None
    }
}

/// What is wrong with a read of a transaction that has made `appended` of its `own` appends, and found the list
/// as `base` before.
fn internal(
    name: &str,
    by: OpId,
    seen: &[String],
    own: &[&str],
    appended: usize,
    base: Option<&[String]>,
) -> Option<Direct> {
    let before = seen.len().checked_sub(appended);
    // Its own appends at the end, and nothing of its own before, least of all what it is yet to append.
    let sees_own = before.is_some_and(|before| {
        seen[before..].iter().map(String::as_str).eq(own[..appended].iter().copied())
            && !seen[..before].iter().any(|value| own.contains(&value.as_str()))
    });
    let repeats = sees_own && base.is_none_or(|base| before.is_some_and(|before| seen[..before] == *base));
    if repeats {
        return None;
    }
    let text = format!(
        "a transaction reads {name:?} as {}, which is not what it read or appended itself before",
        Shown(seen)
    );
    // Under read committed a list may grow between two reads.
    let from = if sees_own { Isolation::SnapshotIsolation } else { Isolation::ReadCommitted };
    Some(Direct { from, ..Direct::new(Anomaly::Internal, text, vec![by]) })
}
