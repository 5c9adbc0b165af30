//! Families of histories: correct concurrent runs of a small model, each from a seed, and what is changed in them
//! so that no correct run could be that. Every one is judged.

use std::collections::BTreeMap;

use check::ledger::{Entry, Form, Kind, Ledger};
use check::{Judgement, OpId};

/// Most seeds that are tried to reach the counts.
const SEEDS_MAX: u64 = 4_000;
/// Good histories, and bad ones of each class.
const GOOD: usize = 150;
const OF_EACH_CLASS: usize = 20;

/// Randomness from a seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize].clone())
    }
}

/// Who, what kind of event, when, and what.
pub type Event<F> = (u64, Kind, u64, F);

pub fn ledger<F: Form>(events: &[Event<F>]) -> Ledger<F> {
    let mut ledger = Ledger::new();
    for (process, kind, time_us, form) in events {
        ledger.add(*process, *kind, *time_us, form.clone()).unwrap();
    }
    ledger
}

/// Each operation: its invocation, and its end if it has one, by place in the events.
pub fn operations<F: Form>(events: &[Event<F>]) -> Vec<(usize, Option<usize>)> {
    let (mut open, mut all) = (BTreeMap::new(), Vec::new());
    for (place, (process, kind, ..)) in events.iter().enumerate() {
        match kind {
            Kind::Invoke => {
                open.insert(*process, all.len());
                all.push((place, None));
            }
            Kind::Note => {}
            _ => all[open.remove(process).unwrap()].1 = Some(place),
        }
    }
    all
}

/// Something that is asked and told at the end, by a process of its own.
pub fn append<F: Form>(events: &mut Vec<Event<F>>, kind: Kind, form: F) {
    let time_us = events.last().map_or(0, |event| event.2) + 1;
    events.push((99, Kind::Invoke, time_us, form.asked()));
    events.push((99, kind, time_us + 1, form));
}

/// The part of a history with these entries alone, and its terms.
fn only<F: Form>(ledger: &Ledger<F>, ids: &[OpId]) -> Ledger<F> {
    let mut events = BTreeMap::new();
    let shown = |entry: &&Entry<F>| entry.form.is_terms() || ids.contains(&entry.id);
    for entry in ledger.entries().iter().filter(shown) {
        let kind = if entry.noted { Kind::Note } else { Kind::Invoke };
        let form = if entry.noted { entry.form.clone() } else { entry.form.asked() };
        events.insert(entry.invoked, (entry.process, kind, entry.invoked.time_us, form));
        if let Some((moment, end)) = entry.completed.filter(|_| !entry.noted) {
            let kind = match end {
                check::ledger::End::Ok => Kind::Ok,
                check::ledger::End::Fail => Kind::Fail,
                check::ledger::End::Unknown => Kind::Unknown,
            };
            events.insert(moment, (entry.process, kind, moment.time_us, entry.form.clone()));
        }
    }
    self::ledger(&events.into_values().collect::<Vec<_>>())
}

/// What is changed in a good history: whether it could be.
pub type Change<F> = fn(&mut Dice, &mut Vec<Event<F>>) -> bool;

/// A judge of such histories.
pub type Judge<F> = fn(&Ledger<F>) -> Judgement;

/// Judges a family. What is shown of a bad history is to be bad by itself, in the same way, if `shown_suffices`.
pub fn family<F: Form>(
    run: impl Fn(&mut Dice) -> Vec<Event<F>>,
    judges: &[Judge<F>],
    classes: &[(&str, Change<F>)],
    shown_suffices: bool,
) {
    let (mut good, mut bad) = (0, BTreeMap::new());
    for seed in 0..SEEDS_MAX {
        if good >= GOOD && bad.len() == classes.len() && bad.values().all(|count| *count >= OF_EACH_CLASS) {
            break;
        }
        let events = run(&mut Dice::new(seed));
        let history = ledger(&events);
        for judge in judges {
            let judgement = judge(&history);
            assert_eq!(judgement, Judgement::Valid, "seed {seed} is a correct run:\n{}", text(&history));
        }
        good += 1;
        for (class, change) in classes {
            let mut changed = events.clone();
            if !change(&mut Dice::new(seed), &mut changed) {
                continue;
            }
            let history = ledger(&changed);
            let found = judges.iter().find_map(|judge| match judge(&history) {
                Judgement::Invalid(found) => Some((judge, found)),
                _ => None,
            });
            let Some((judge, found)) = found else {
                panic!("seed {seed} is {class}, and passes:\n{}", text(&history));
            };
            *bad.entry(*class).or_insert(0) += 1;
            if shown_suffices {
                let Judgement::Invalid(again) = judge(&only(&history, &found.shown)) else {
                    panic!("seed {seed} {class}: what is shown is no violation:\n{}", found.explanation);
                };
                assert_eq!(again.anomaly, found.anomaly, "seed {seed} {class}");
            }
        }
    }
    println!("{good} good histories are valid; bad ones are invalid: {bad:?}");
    assert!(good >= GOOD, "{good} good histories");
    assert!(bad.values().sum::<usize>() >= 100);
    for (class, _) in classes {
        let count = bad.get(class).copied().unwrap_or(0);
        assert!(count >= OF_EACH_CLASS, "{count} histories of class {class}");
    }
}

fn text<F: Form>(history: &Ledger<F>) -> String {
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}
