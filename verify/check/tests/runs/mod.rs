//! Runs of a store that is right: operations take effect at a random moment within their interval; those
//! with unknown outcome at any later moment, or never.

// Not every test, nor the benchmark, needs all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use check::{Action, Answer, Completion, History};

#[cfg(test)]
pub mod small;

/// A splitmix64 generator: the runs are the same every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// How a run is drawn.
#[derive(Clone, Debug)]
pub struct Run {
    pub ops: usize,
    pub keys: u64,
    pub processes: u64,
    /// Of a thousand operations, how many lose their answer.
    pub unknown_per_mille: u64,
    /// Whether answers tell revisions, and compare-and-sets expect them.
    pub revisions: bool,
    /// Whether keys are deleted, too.
    pub deletes: bool,
    /// Whether compare-and-sets expect values.
    pub cas_by_value: bool,
    /// Whether several keys are read at once.
    pub read_many: bool,
    /// How many values a key has; `None`: no value is written twice.
    pub values: Option<u64>,
}

impl Run {
    /// Reads and writes, without revisions.
    pub const PLAIN: Run = Run {
        ops: 1_000,
        keys: 10,
        processes: 20,
        unknown_per_mille: 20,
        revisions: false,
        deletes: false,
        cas_by_value: false,
        read_many: false,
        values: None,
    };
    /// Reads, writes and compare-and-sets, with revisions.
    pub const WITH_REVISIONS: Run = Run { revisions: true, ..Run::PLAIN };
}

#[derive(Default)]
struct Store {
    rows: BTreeMap<String, (String, u64)>,
    revision: u64,
}

/// Draws a run.
pub fn real_run(run: &Run, seed: u64) -> History {
    let mut random = Random(seed);
    let mut history = History::new();
    let mut store = Store::default();
    // Per process: what the open operation answers, once it took effect.
    let mut pending: Vec<Option<Completion>> = vec![None; run.processes as usize];
    let mut late: Vec<Action> = Vec::new();
    let mut time_us = 0;
    while history.ops().len() < run.ops || (0..run.processes).any(|p| history.open_op(p).is_some()) {
        time_us += 1;
        if !late.is_empty() && random.below(8) == 0 {
            let index = random.below(late.len() as u64) as usize;
            let action = late.swap_remove(index);
            store.effect(&action, run.revisions);
        }
        let process = random.below(run.processes);
        let slot = &mut pending[process as usize];
        let Some(open) = history.open_op(process) else {
            if history.ops().len() < run.ops {
                let action = asked(run, &mut random, history.ops().len() as u64, &store);
                history.invoke(process, time_us, action).unwrap();
            }
            continue;
        };
        let completion = match slot.take() {
            Some(completion) => completion,
            None if random.below(1000) < run.unknown_per_mille => {
                late.push(open.action.clone());
                Completion::Unknown
            }
            None => {
                *slot = Some(store.effect(&open.action, run.revisions));
                continue;
            }
        };
        history.complete(process, time_us, completion).unwrap();
    }
    history
}

fn asked(run: &Run, random: &mut Random, unique: u64, store: &Store) -> Action {
    let key = format!("k{}", random.below(run.keys));
    let value = format!("v{}", run.values.map_or(unique, |values| random.below(values)));
    let held = store.rows.get(&key);
    match random.below(10) {
        3 if run.read_many => Action::ReadMany { keys: (0..run.keys).map(|key| format!("k{key}")).collect() },
        0..=3 => Action::Read { key },
        4 if run.deletes => Action::Delete { key },
        5 | 6 if run.revisions => {
            let at = held.map_or(0, |(_, revision)| *revision);
            let expected_revision = if random.below(4) == 0 { 0 } else { at };
            Action::Cas { key, expected_revision, value }
        }
        5..=7 if run.cas_by_value => {
            let expected = held.map(|(value, _)| value.clone()).filter(|_| random.below(4) > 0);
            Action::CasValue { key, expected, value }
        }
        _ => Action::Write { key, value },
    }
}

impl Store {
    fn effect(&mut self, action: &Action, revisions: bool) -> Completion {
        let value = |key: &str| self.rows.get(key).map(|(value, _)| value.clone());
        let key = action.key().to_owned();
        let current = self.rows.get(&key).map_or(0, |(_, revision)| *revision);
        let told = |revision: u64| revisions.then_some(revision);
        match action {
            Action::Read { .. } | Action::Final { .. } => {
                let value = value(&key);
                let revision = value.as_ref().and_then(|_| told(current));
                Completion::Ok(Answer::Read { value, revision })
            }
            Action::ReadMany { keys } => {
                Completion::Ok(Answer::ReadMany { values: keys.iter().map(|key| value(key)).collect() })
            }
            Action::Cas { expected_revision, .. } if *expected_revision != current => {
                Completion::Fail { current: Some(current) }
            }
            Action::CasValue { expected, .. } if *expected != value(&key) => {
                // Some stores tell what they hold, some do not.
                let current = self.revision.is_multiple_of(2).then(|| value(&key));
                Completion::Differs { current }
            }
            Action::Write { value, .. } | Action::Cas { value, .. } | Action::CasValue { value, .. } => {
                self.revision += 1;
                self.rows.insert(key, (value.clone(), self.revision));
                Completion::Ok(Answer::Written { revision: told(self.revision) })
            }
            Action::Delete { .. } => {
                let existed = self.rows.remove(&key).is_some();
                self.revision += u64::from(existed);
                let revision = if existed { told(self.revision) } else { None };
                Completion::Ok(Answer::Deleted { existed: Some(existed), revision })
            }
        }
    }
}

/// The history with two more writes at its end, of which the first is read after the second.
pub fn spoiled(history: &History) -> History {
    let key = || "k0".to_owned();
    let written = || Completion::Ok(Answer::Written { revision: None });
    let write = |value: &str| (Action::Write { key: key(), value: value.to_owned() }, written());
    let stale = Answer::Read { value: Some("first".to_owned()), revision: None };
    let mut history = history.clone();
    let (process, time_us) = (1_000_000, history.last_time_us());
    for (action, completion) in
        [write("first"), write("second"), (Action::Read { key: key() }, Completion::Ok(stale))]
    {
        history.invoke(process, time_us, action).unwrap();
        history.complete(process, time_us, completion).unwrap();
    }
    history
}
