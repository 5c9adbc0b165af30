//! The checker of transactions on lists: runs that were carried out one transaction after another are valid,
//! and what is then changed in them is found.

use std::cell::Cell;
use std::collections::BTreeMap;

use check::{
    Arrow, Counterexample, Isolation, Outcome, Recorded, Seen, Step, TransactionHistory, TransactionVerdict,
    check_transactions, timeline,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Invocations and completions, in order; a completion's steps hold what was seen.
type Events = Vec<(u64, Option<Outcome>, Vec<Step>)>;

/// What a process does next: which, an ending, and the steps of a new transaction (whether a read, key).
type Draw = (u64, u8, Vec<(bool, usize)>);

fn draws(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Draw>> {
    vec((0..4_u64, 0..12_u8, vec((any::<bool>(), 0..2_usize), 1..5)), count)
}

const KEYS: [&str; 2] = ["x", "y"];

/// Steps to be asked; every append has a value of its own.
fn steps(drawn: &[(bool, usize)], next: &mut u32) -> Vec<Step> {
    let step = |&(read, key): &(bool, usize)| {
        let key = KEYS[key].to_owned();
        if read {
            return Step::Read { key, seen: None };
        }
        *next += 1;
        Step::Append { key, value: next.to_string() }
    };
    drawn.iter().map(step).collect()
}

/// Carries out a transaction at once.
fn execute(lists: &mut BTreeMap<String, Vec<String>>, steps: &[Step]) -> Vec<Step> {
    let step = |step: &Step| match step {
        Step::Append { key, value } => {
            lists.entry(key.clone()).or_default().push(value.clone());
            step.clone()
        }
        Step::Read { key, .. } => {
            let seen = Seen::List(lists.get(key).cloned().unwrap_or_default());
            Step::Read { key: key.clone(), seen: Some(seen) }
        }
        Step::Write { .. } => panic!("lists alone"),
    };
    steps.iter().map(step).collect()
}

/// A run of a store that carries out each transaction at the moment of its completion: strictly
/// serializable. Some fail, some have an unknown outcome.
fn run(draws: &[Draw]) -> Events {
    let (mut events, mut open, mut lists) = (Events::new(), BTreeMap::new(), BTreeMap::new());
    let mut next = 0;
    for (process, end, drawn) in draws {
        let Some(asked) = open.remove(process) else {
            let asked = steps(drawn, &mut next);
            events.push((*process, None, asked.clone()));
            open.insert(*process, asked);
            continue;
        };
        match end {
            0 => events.push((*process, Some(Outcome::Aborted), asked)),
            1 => events.push((*process, Some(Outcome::Unknown), asked)),
            2 => {
                execute(&mut lists, &asked);
                events.push((*process, Some(Outcome::Unknown), asked));
            }
            _ => {
                let told = execute(&mut lists, &asked);
                events.push((*process, Some(Outcome::Committed), told));
            }
        }
    }
    events
}

fn history(events: &Events) -> TransactionHistory {
    let mut history = TransactionHistory::new();
    for ((process, end, steps), time_us) in events.iter().zip(0..) {
        match end {
            None => history.invoke(*process, time_us, steps).unwrap(),
            Some(outcome) => history.complete(*process, time_us, *outcome, steps).unwrap(),
        };
    }
    history
}

/// Every list that a committed transaction read: event, step, key, list.
fn reads(events: &Events) -> Vec<(usize, usize, String, Vec<String>)> {
    let mut reads = Vec::new();
    for (event, (_, _, steps)) in events.iter().enumerate() {
        for (number, step) in steps.iter().enumerate() {
            if let Step::Read { key, seen: Some(Seen::List(seen)) } = step {
                reads.push((event, number, key.clone(), seen.clone()));
            }
        }
    }
    reads
}

fn set(events: &mut Events, event: usize, step: usize, list: Vec<String>) {
    let Step::Read { seen, .. } = &mut events[event].2[step] else { panic!("a read") };
    *seen = Some(Seen::List(list));
}

fn judge(events: &Events, isolation: Isolation) -> TransactionVerdict {
    check_transactions(&history(events), isolation)
}

fn is_invalid(verdict: &TransactionVerdict) -> bool {
    matches!(verdict, TransactionVerdict::Invalid(_))
}

/// Changes one read of a good run, until 300 changed runs were found invalid: all that were changed.
fn changed_runs_are_invalid(isolation: Isolation, change: impl Fn(&mut Events, usize) -> bool) {
    let changed = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let cases = (draws(10..50), any::<usize>());
    let result = runner.run(&cases, |(draws, choice)| {
        let mut events = run(&draws);
        if change(&mut events, choice) {
            changed.set(changed.get() + 1);
            let verdict = judge(&events, isolation);
            prop_assert!(is_invalid(&verdict), "{verdict}: {events:#?}");
        }
        Ok(())
    });
    result.unwrap();
    assert!(changed.get() >= 300, "only {} runs were changed", changed.get());
}

/// Applies `change` to one of the reads for which `fits`.
fn change_one(
    events: &mut Events,
    choice: usize,
    fits: impl Fn(&Events, usize, &str, &[String]) -> bool,
    change: impl Fn(&mut Vec<String>),
) -> bool {
    let mut candidates = reads(events);
    candidates.retain(|(event, _, key, seen)| fits(events, *event, key, seen));
    if candidates.is_empty() {
        return false;
    }
    let (event, step, _, mut list) = candidates.swap_remove(choice % candidates.len());
    change(&mut list);
    set(events, event, step, list);
    true
}

/// Whether another transaction read at least so many elements of the key.
fn read_elsewhere(events: &Events, event: usize, key: &str, length: usize) -> bool {
    reads(events).iter().any(|(other, _, k, seen)| *other != event && k == key && seen.len() >= length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn sequential_runs_are_valid(draws in draws(0..80)) {
        let events = run(&draws);
        prop_assert_eq!(judge(&events, Isolation::Serializable), TransactionVerdict::Valid);
        prop_assert_eq!(judge(&events, Isolation::StrictSerializable), TransactionVerdict::Valid);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "[\\[\\]{}\":,a-z0-9\n]{0,200}") {
        let _ = Recorded::parse(text.as_bytes());
    }
}

#[test]
fn swapped_elements_are_found() {
    changed_runs_are_invalid(Isolation::Serializable, |events, choice| {
        change_one(
            events,
            choice,
            |events, event, key, seen| seen.len() >= 2 && read_elsewhere(events, event, key, seen.len()),
            |list| list.swap(0, 1),
        )
    });
}

#[test]
fn dropped_elements_are_found() {
    changed_runs_are_invalid(Isolation::Serializable, |events, choice| {
        change_one(
            events,
            choice,
            |events, event, key, seen| seen.len() >= 2 && read_elsewhere(events, event, key, 1),
            |list| drop(list.remove(0)),
        )
    });
}

#[test]
fn repeated_and_invented_elements_are_found() {
    changed_runs_are_invalid(Isolation::Serializable, |events, choice| {
        let fits = |_: &Events, _: usize, _: &str, seen: &[String]| !seen.is_empty();
        change_one(events, choice, fits, |list| list.push(list[0].clone()))
    });
    changed_runs_are_invalid(Isolation::Serializable, |events, choice| {
        change_one(events, choice, |_, _, _, _| true, |list| list.push("invented".to_owned()))
    });
}

#[test]
fn stale_reads_are_found() {
    // Whoever appended the last element had been told so before the reader began.
    let fits = |events: &Events, event: usize, _: &str, seen: &[String]| {
        let process = events[event].0;
        let began = events[..event].iter().rposition(|(p, ..)| *p == process).expect("it was invoked");
        seen.last().is_some_and(|last| {
            events[..began].iter().any(|(_, end, steps)| {
                let appends = |step: &Step| matches!(step, Step::Append { value, .. } if value == last);
                *end == Some(Outcome::Committed) && steps.iter().any(appends)
            })
        })
    };
    changed_runs_are_invalid(Isolation::StrictSerializable, |events, choice| {
        change_one(events, choice, fits, |list| drop(list.pop()))
    });
}

#[test]
fn a_retracted_commit_is_found() {
    changed_runs_are_invalid(Isolation::Serializable, |events, choice| {
        let read = reads(events);
        let elements: Vec<&String> = read.iter().flat_map(|(_, _, _, seen)| seen).collect();
        let Some(element) = elements.get(choice % elements.len().max(1)).map(|text| (*text).clone()) else {
            return false;
        };
        let reader =
            |event: usize| read.iter().any(|(at, _, _, seen)| *at == event && seen.contains(&element));
        let writer = events.iter().position(|(_, end, steps)| {
            let appends = |step: &Step| matches!(step, Step::Append { value, .. } if *value == element);
            end.is_some() && steps.iter().any(appends)
        });
        let Some(writer) = writer else { return false };
        if !(0..events.len()).any(|event| event != writer && reader(event)) {
            return false;
        }
        let (_, end, steps) = &mut events[writer];
        *end = Some(Outcome::Aborted);
        for step in steps {
            if let Step::Read { seen, .. } = step {
                *seen = None;
            }
        }
        true
    });
}

#[test]
fn a_drawing_is_the_same_every_time_and_holds_no_markup_of_its_own() {
    let read = |seen| vec![Step::Read { key: "<&\"".to_owned(), seen }];
    let append = vec![Step::Append { key: "<&\"".to_owned(), value: "</svg>\u{1}".to_owned() }];
    let events: Events = vec![
        (1, None, append.clone()),
        (1, Some(Outcome::Committed), append),
        (2, None, read(None)),
        (2, Some(Outcome::Committed), read(Some(Seen::List(vec!["<b>".to_owned()])))),
    ];
    let recorded = Recorded::Transactions(history(&events));
    let ids = vec![check::OpId(0), check::OpId(1)];
    let found = Counterexample {
        anomaly: "<script>".to_owned(),
        explanation: "a < b & c\nd".to_owned(),
        shown: ids.clone(),
        culprits: ids[1..].to_vec(),
        arrows: vec![Arrow { from: ids[0], to: ids[1], label: "rw <i>".to_owned() }],
    };
    let svg = timeline(&recorded, &found);
    assert_eq!(svg, timeline(&recorded, &found));
    assert_eq!((svg.matches("<svg").count(), svg.matches("</svg>").count()), (1, 1));
    assert!(
        !svg.contains("<script>") && !svg.contains("<b>") && !svg.contains("<i>") && !svg.contains('\u{1}'),
        "{svg}"
    );
    // Two bars, an arrow, and the form of its head.
    assert_eq!((svg.matches("#b3261e").count(), svg.matches("<path").count()), (1, 4));
    assert_eq!(svg.matches("marker-end").count(), 1);
}
