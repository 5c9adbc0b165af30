//! The checker of transactions agrees with one that tries all orders of a few: what it calls invalid nothing
//! explains, what it calls valid something does, and it is undecided where it has to be alone.

mod transactions;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use check::{Anomaly, Isolation, Outcome, Seen, Step, TransactionVerdict};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use transactions::{Event, Slow, history, judge};

const KEYS: [&str; 2] = ["x", "y"];
const LEVELS: [Isolation; 3] =
    [Isolation::SnapshotIsolation, Isolation::Serializable, Isolation::StrictSerializable];

/// What a process does next: which, an ending, and the steps of a new transaction (whether a read, key).
type Draw = (u64, u8, Vec<(bool, usize)>);

fn draws() -> impl Strategy<Value = (Vec<Draw>, Vec<u8>)> {
    let draw = (0..4_u64, 0..14_u8, vec((any::<bool>(), 0..2_usize), 1..4));
    (vec(draw, 4..14), vec(any::<u8>(), 24))
}

/// How a history of registers is told.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// Every value once.
    Unique,
    /// And the revisions of some.
    Revisions,
    /// Some values more than once.
    Twice,
}

/// At most five transactions that were asked, and how each ended.
fn asked(draws: &[Draw], mut step: impl FnMut(bool, &str) -> Step) -> Vec<Event> {
    let (mut events, mut open): (Vec<Event>, BTreeMap<u64, Vec<Step>>) = (Vec::new(), BTreeMap::new());
    for (process, end, drawn) in draws {
        let Some(steps) = open.remove(process) else {
            if events.iter().filter(|event| event.end.is_none()).count() < 5 {
                let steps: Vec<Step> = drawn.iter().map(|(read, key)| step(*read, KEYS[*key])).collect();
                events.push(Event { process: *process, end: None, steps: steps.clone(), revision: None });
                open.insert(*process, steps);
            }
            continue;
        };
        let outcome = match end {
            0 => Outcome::Aborted,
            1 | 2 => Outcome::Unknown,
            _ => Outcome::Committed,
        };
        events.push(Event { process: *process, end: Some(outcome), steps, revision: None });
    }
    events
}

/// A few transactions over what may be any store of lists: each has some order, and reads see some of its
/// beginning.
fn lists(draws: &[Draw], picks: &[u8]) -> Vec<Event> {
    let (mut next, mut picks) = (0, picks.iter().cycle().copied());
    let mut events = asked(draws, |read, key| {
        next += 1;
        let (key, value) = (key.to_owned(), next.to_string());
        if read { Step::Read { key, seen: None } } else { Step::Append { key, value } }
    });
    let mut finals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.end.is_none()) {
        for step in &event.steps {
            if let Step::Append { key, value } = step {
                let list = finals.entry(key.clone()).or_default();
                let place = usize::from(picks.next().unwrap()) % 4;
                list.insert(list.len().saturating_sub(place / 2), value.clone());
            }
        }
    }
    for event in events.iter_mut().filter(|event| event.end == Some(Outcome::Committed)) {
        for step in &mut event.steps {
            if let Step::Read { key, seen } = step {
                let list = finals.get(key).cloned().unwrap_or_default();
                let length = usize::from(picks.next().unwrap()) % (list.len() + 1);
                *seen = Some(Seen::List(list[..length].to_vec()));
            }
        }
    }
    events
}

/// The same of registers: reads see anything that was written, or nothing.
fn registers(draws: &[Draw], picks: &[u8], told: Told) -> Vec<Event> {
    let (mut next, mut picks) = (0, picks.iter().cycle().copied());
    let mut events = asked(draws, |read, key| {
        next += 1;
        let value = if told == Told::Twice { next % 3 } else { next };
        let (key, value) = (key.to_owned(), value.to_string());
        if read { Step::Read { key, seen: None } } else { Step::Write { key, value } }
    });
    let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.end.is_none()) {
        for step in &event.steps {
            if let Step::Write { key, value } = step {
                written.entry(key.clone()).or_default().push(value.clone());
            }
        }
    }
    for event in events.iter_mut().filter(|event| event.end == Some(Outcome::Committed)) {
        // What it knows already, so that most transactions see their own writes.
        let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
        for step in &mut event.steps {
            match step {
                Step::Write { key, value } => drop(known.insert(key.clone(), Some(value.clone()))),
                Step::Read { key, seen } => {
                    let values = written.get(key).map_or(&[][..], Vec::as_slice);
                    let pick = usize::from(picks.next().unwrap());
                    let drawn = values.get(pick % (values.len() + 1)).cloned();
                    let value =
                        if pick < 230 { known.entry(key.clone()).or_insert(drawn).clone() } else { drawn };
                    let tell = told == Told::Revisions && value.is_some() && pick % 3 == 0;
                    let revision = tell
                        .then(|| 1 + value.as_ref().unwrap().parse::<u64>().unwrap() * (1 + pick as u64 % 2));
                    *seen = Some(Seen::Register { value, revision });
                }
                Step::Append { .. } => {}
            }
        }
        let pick = u64::from(picks.next().unwrap());
        event.revision = (told == Told::Revisions && pick.is_multiple_of(2)).then_some(1 + pick / 2 % 12);
    }
    events
}

/// Compares, for many histories, and returns which anomalies there were.
fn compare(
    cases: u32,
    registers: bool,
    all_decided: bool,
    make: impl Fn(&[Draw], &[u8]) -> Vec<Event>,
) -> BTreeSet<Anomaly> {
    // By level: how many are valid, invalid, undecided though explained, and undecided though not.
    let counts = RefCell::new(BTreeMap::<Isolation, [u32; 4]>::new());
    let found = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&draws(), |(draws, picks)| {
        let events = make(&draws, &picks);
        let history = history(&events);
        for isolation in LEVELS {
            let explained = Slow::explains(&history, registers, isolation);
            let verdict = judge(&events, isolation);
            let place = match (&verdict, explained) {
                (TransactionVerdict::Valid, true) => 0,
                (TransactionVerdict::Invalid(_), false) => 1,
                // The appends that nobody read may have to begin in an order that is looked for without going back.
                (TransactionVerdict::Unknown { .. }, true)
                    if !all_decided || isolation == Isolation::SnapshotIsolation =>
                {
                    2
                }
                (TransactionVerdict::Unknown { .. }, false) if !all_decided => 3,
                _ => {
                    let shown: Vec<String> = history.transactions().iter().map(ToString::to_string).collect();
                    prop_assert!(false, "{isolation:?}, explained {explained}: {verdict}\n{shown:#?}");
                    unreachable!()
                }
            };
            counts.borrow_mut().entry(isolation).or_default()[place] += 1;
            if let TransactionVerdict::Invalid(contradiction) = verdict {
                found.borrow_mut().insert(contradiction.anomaly);
            }
        }
        // What a weaker isolation excludes, every stronger one does.
        let verdicts =
            [Isolation::ReadCommitted, LEVELS[0], LEVELS[1], LEVELS[2]].map(|level| judge(&events, level));
        for pair in verdicts.windows(2) {
            let invalid = |verdict: &TransactionVerdict| matches!(verdict, TransactionVerdict::Invalid(_));
            prop_assert!(!invalid(&pair[0]) || invalid(&pair[1]), "{} then {}", pair[0], pair[1]);
        }
        Ok(())
    });
    result.unwrap();
    let counts = counts.into_inner();
    println!("valid, invalid, undecided: {counts:?}");
    for (isolation, [valid, invalid, undecided, _]) in counts {
        assert!(!all_decided || undecided <= cases / 200, "{isolation:?}: {undecided} undecided");
        assert!(
            valid > cases / 20 && invalid > cases / 20,
            "{isolation:?}: {valid} valid, {invalid} invalid"
        );
    }
    found.into_inner()
}

fn all_found(found: &BTreeSet<Anomaly>, expected: &[Anomaly]) {
    for anomaly in expected {
        assert!(found.contains(anomaly), "no {anomaly} among {found:?}");
    }
}

#[test]
fn lists_agree_with_trying_all_orders() {
    let found = compare(3000, false, true, lists);
    all_found(
        &found,
        &[
            Anomaly::Internal,
            Anomaly::DirtyUpdate,
            Anomaly::G0,
            Anomaly::G1a,
            Anomaly::G1b,
            Anomaly::G1c,
            Anomaly::LostUpdate,
            Anomaly::GSingle,
            Anomaly::G2Item,
            Anomaly::GSingleRealtime,
        ],
    );
}

#[test]
fn registers_agree_with_trying_all_orders() {
    let found = compare(3000, true, false, |draws, picks| registers(draws, picks, Told::Unique));
    all_found(
        &found,
        &[
            Anomaly::Internal,
            Anomaly::DirtyUpdate,
            Anomaly::G1a,
            Anomaly::G1b,
            Anomaly::G1c,
            Anomaly::LostUpdate,
            Anomaly::GSingle,
            Anomaly::G2Item,
            Anomaly::GSingleRealtime,
        ],
    );
}

#[test]
fn registers_with_revisions_agree_with_trying_all_orders() {
    let found = compare(2000, true, false, |draws, picks| registers(draws, picks, Told::Revisions));
    all_found(&found, &[Anomaly::IncompatibleOrder, Anomaly::G0, Anomaly::GSingle]);
}

#[test]
fn registers_written_twice_agree_with_trying_all_orders() {
    compare(2000, true, false, |draws, picks| registers(draws, picks, Told::Twice));
}
