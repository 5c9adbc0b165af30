//! After everything has settled: is what the store holds explained by what clients did? Nothing
//! acknowledged is missing, nothing is there that nobody wrote.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Answer, Completion, History};
use crate::linearizable::{Verdict, check_linearizable};

/// What a key holds at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalValue {
    /// The value.
    pub value: String,
    /// The revision of its last change, if known.
    pub revision: Option<u64>,
}

/// Checks `history` followed by a read of every key, by a process of its own, that saw `contents`:
/// the whole final state, in which a key that is not named is absent. Every key of the history and of
/// the contents is read, so a key that nobody wrote is found too. `budget` is as for
/// [`check_linearizable`].
pub fn check_converged(history: &History, contents: &BTreeMap<String, FinalValue>, budget: u64) -> Verdict {
    let mut extended = history.clone();
    let processes: BTreeSet<u64> = history.ops().iter().map(|op| op.process).collect();
    let process = (0..).find(|process| !processes.contains(process)).expect("one is free");
    let time_us = history.last_time_us();
    let written = history.ops().iter().map(|op| op.action.key());
    let keys: BTreeSet<&str> = written.chain(contents.keys().map(String::as_str)).collect();
    for key in keys {
        let held = contents.get(key);
        let answer = Answer::Read {
            value: held.map(|held| held.value.clone()),
            revision: held.and_then(|held| held.revision),
        };
        let read = extended
            .invoke(process, time_us, Action::Read { key: key.to_owned() })
            .and_then(|_| extended.complete(process, time_us, Completion::Ok(answer)));
        if let Err(error) = read {
            return Verdict::Unknown { reason: format!("final read of key {key:?}: {error}") };
        }
    }
    check_linearizable(&extended, budget)
}
