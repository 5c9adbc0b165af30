//! The checker against another one that is too simple to be wrong: it tries all orders of tiny
//! histories, with every operation of unknown outcome in or out, and every revision that fits.

use std::time::Instant;

use check::{
    Action, Answer, BUDGET_DEFAULT, Completion, History, Op, ParseError, Verdict, check_linearizable,
    check_revisions,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Unknown revisions are tried up to here: more than any told one plus the number of operations.
const REVISION_MAX: u64 = 14;

#[derive(Clone, Default)]
struct Register {
    value: Option<String>,
    /// Of the last change, a delete included.
    revision: u64,
}

/// All states after `op`, for all revisions that it may have taken.
fn outcomes(register: &Register, op: &Op) -> Vec<Register> {
    let completion = op.completed.as_ref().map_or(&Completion::Unknown, |(_, completion)| completion);
    let current = if register.value.is_some() { register.revision } else { 0 };
    let same = vec![register.clone()];
    let changed = |value: Option<&String>, told: Option<u64>| -> Vec<Register> {
        (register.revision + 1..=REVISION_MAX)
            .filter(|revision| told.is_none_or(|told| told == *revision))
            .map(|revision| Register { value: value.cloned(), revision })
            .collect()
    };
    let told = match completion {
        Completion::Ok(Answer::Written { revision } | Answer::Deleted { revision, .. }) => *revision,
        _ => None,
    };
    match (&op.action, completion) {
        (Action::Cas { expected_revision, .. }, Completion::Fail { current: Some(seen) }) => {
            if *seen == current && current != *expected_revision { same } else { vec![] }
        }
        (_, Completion::Fail { .. }) => same,
        (Action::Read { .. }, Completion::Ok(Answer::Read { value, revision })) => {
            let fits = *value == register.value && revision.is_none_or(|r| r == current);
            if fits { same } else { vec![] }
        }
        (Action::Read { .. }, _) => same,
        (Action::Write { value, .. }, _) => changed(Some(value), told),
        (Action::Delete { .. }, completion) => {
            let existed = match completion {
                Completion::Ok(Answer::Deleted { existed, .. }) => *existed,
                _ => None,
            };
            match register.value {
                None => {
                    if existed == Some(true) {
                        vec![]
                    } else {
                        same
                    }
                }
                Some(_) => {
                    if existed == Some(false) {
                        vec![]
                    } else {
                        changed(None, told)
                    }
                }
            }
        }
        (Action::Cas { expected_revision, value, .. }, _) => {
            if current == *expected_revision {
                changed(Some(value), told)
            } else {
                vec![]
            }
        }
    }
}

fn brute_force(ops: &[Op], done: &mut Vec<bool>, register: &Register) -> bool {
    let end = |op: &Op| match &op.completed {
        Some((end, Completion::Ok(_) | Completion::Fail { .. })) => end.position,
        _ => usize::MAX,
    };
    let left = || (0..ops.len()).filter(|&i| !done[i]);
    if left().all(|i| end(&ops[i]) == usize::MAX) {
        return true;
    }
    let bound = left().map(|i| end(&ops[i])).min().unwrap_or(usize::MAX);
    let candidates: Vec<usize> = left().filter(|&i| ops[i].invoked.position < bound).collect();
    for i in candidates {
        done[i] = true;
        for after in outcomes(register, &ops[i]) {
            if brute_force(ops, done, &after) {
                done[i] = false;
                return true;
            }
        }
        done[i] = false;
    }
    false
}

/// One step of a random run: which process, what it does next, how it ends.
type Draw = (u64, u8, u8, u64, u64, u8);

/// A random history of one key, at most six operations, few values and revisions, so that many are
/// valid and many just not.
fn history(draws: &[Draw], unique: bool) -> History {
    let mut history = History::new();
    let key = || "k".to_owned();
    for &(process, kind, value, revision, expected, end) in draws {
        let name = |value: u8| format!("v{value}");
        let Some(open) = history.open_op(process) else {
            if history.ops().len() == 6 {
                continue;
            }
            let fresh = if unique { history.ops().len() as u8 } else { value };
            let action = match kind {
                0..=2 => Action::Read { key: key() },
                3..=5 => Action::Write { key: key(), value: name(fresh) },
                6 => Action::Delete { key: key() },
                _ => Action::Cas { key: key(), expected_revision: expected, value: name(fresh) },
            };
            history.invoke(process, 0, action).unwrap();
            continue;
        };
        let told = (revision > 0 && end < 6).then_some(revision);
        let completion = match (&open.action, end) {
            (_, 8 | 9) => Completion::Unknown,
            (Action::Cas { .. }, 4..=7) => Completion::Fail { current: Some(revision) },
            (Action::Read { .. }, 0) => Completion::Ok(Answer::Read { value: None, revision: None }),
            (Action::Read { .. }, _) => {
                Completion::Ok(Answer::Read { value: Some(name(value)), revision: told })
            }
            (Action::Delete { .. }, 0..=2) => {
                Completion::Ok(Answer::Deleted { existed: Some(true), revision: told })
            }
            (Action::Delete { .. }, 3..=4) => {
                Completion::Ok(Answer::Deleted { existed: Some(false), revision: None })
            }
            (Action::Delete { .. }, _) => Completion::Ok(Answer::Deleted { existed: None, revision: None }),
            _ => Completion::Ok(Answer::Written { revision: told }),
        };
        history.complete(process, 0, completion).unwrap();
    }
    history
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    vec((0..4_u64, 0..10_u8, 0..5_u8, 0..6_u64, 0..4_u64, 0..10_u8), 0..16)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_brute_force(draws in vec((draws(), any::<bool>()), 40)) {
        for (draws, unique) in draws {
            let history = history(&draws, unique);
            let ops = history.ops();
            let expected = brute_force(ops, &mut vec![false; ops.len()], &Register::default());
            let verdict = check_linearizable(&history, BUDGET_DEFAULT);
            prop_assert_eq!(verdict == Verdict::Valid, expected, "{}\n{:#?}", verdict, ops);
        }
    }

    #[test]
    fn json_lines_keep_a_history(draws in draws(), unique in any::<bool>()) {
        let history = history(&draws, unique);
        let mut text = Vec::new();
        history.write(&mut text).unwrap();
        prop_assert_eq!(History::parse(text.as_slice()).unwrap(), history);
    }

    #[test]
    fn any_text_is_a_history_or_an_error(text in vec(any::<u8>(), 0..200)) {
        let _ = History::parse(text.as_slice());
    }
}

/// A splitmix64 generator: the runs below are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// How a real run is drawn.
struct Run {
    ops: usize,
    keys: u64,
    processes: u64,
    /// Of a thousand operations, how many lose their answer.
    unknown_per_mille: u64,
    /// Whether answers tell revisions.
    revisions: bool,
    /// Whether keys are deleted, too.
    deletes: bool,
}

/// What a linearizable register would do, with operations taking effect at a random moment within
/// their interval; with unknown outcomes, at any later moment or never.
fn real_run(run: &Run, seed: u64) -> History {
    let mut random = Random(seed);
    let mut history = History::new();
    let mut store: std::collections::BTreeMap<String, (String, u64)> = Default::default();
    let mut revision = 0;
    // Per process: whether the open operation took effect, and what it answers.
    let mut pending: Vec<Option<Completion>> = vec![None; run.processes as usize];
    let mut late: Vec<Action> = Vec::new();
    let mut time_us = 0;
    let mut unique = 0;
    while history.ops().len() < run.ops || (0..run.processes).any(|p| history.open_op(p).is_some()) {
        time_us += 1;
        if !late.is_empty() && random.below(8) == 0 {
            let index = random.below(late.len() as u64) as usize;
            let action = late.swap_remove(index);
            effect(&mut store, &mut revision, &action, run.revisions);
        }
        let process = random.below(run.processes);
        let slot = &mut pending[process as usize];
        let Some(open) = history.open_op(process) else {
            if history.ops().len() < run.ops {
                let key = format!("k{}", random.below(run.keys));
                unique += 1;
                let value = format!("v{unique}");
                let at = store.get(&key).map_or(0, |(_, revision)| *revision);
                let action = match random.below(10) {
                    0..=3 => Action::Read { key },
                    4 if run.deletes => Action::Delete { key },
                    5 | 6 if run.revisions => {
                        let expected_revision = if random.below(4) == 0 { 0 } else { at };
                        Action::Cas { key, expected_revision, value }
                    }
                    _ => Action::Write { key, value },
                };
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
                *slot = Some(effect(&mut store, &mut revision, &open.action, run.revisions));
                continue;
            }
        };
        history.complete(process, time_us, completion).unwrap();
    }
    history
}

fn effect(
    store: &mut std::collections::BTreeMap<String, (String, u64)>,
    revision: &mut u64,
    action: &Action,
    revisions: bool,
) -> Completion {
    let key = action.key().to_owned();
    let current = store.get(&key).map_or(0, |(_, revision)| *revision);
    let told = |revision: u64| revisions.then_some(revision);
    match action {
        Action::Read { .. } => {
            let held = store.get(&key);
            let value = held.map(|(value, _)| value.clone());
            Completion::Ok(Answer::Read { value, revision: held.and_then(|held| told(held.1)) })
        }
        Action::Cas { expected_revision, .. } if *expected_revision != current => {
            Completion::Fail { current: Some(current) }
        }
        Action::Write { value, .. } | Action::Cas { value, .. } => {
            *revision += 1;
            store.insert(key, (value.clone(), *revision));
            Completion::Ok(Answer::Written { revision: told(*revision) })
        }
        Action::Delete { .. } => {
            let existed = store.remove(&key).is_some();
            *revision += u64::from(existed);
            let revision = if existed { told(*revision) } else { None };
            Completion::Ok(Answer::Deleted { existed: Some(existed), revision })
        }
    }
}

/// Real runs are valid, and one stale read in them is found.
fn judge(name: &str, run: &Run) {
    let history = real_run(run, 1);
    let began = Instant::now();
    assert_eq!(check_linearizable(&history, BUDGET_DEFAULT), Verdict::Valid, "{name}");
    assert_eq!(check_revisions(&history), Ok(()), "{name}");
    println!("{name}: {} operations judged in {:?}", history.ops().len(), began.elapsed());

    let stale = spoiled(&history);
    let began = Instant::now();
    let verdict = check_linearizable(&stale, BUDGET_DEFAULT);
    println!("{name}, spoiled: judged in {:?}: {verdict}", began.elapsed());
    assert!(matches!(verdict, Verdict::Invalid(_)), "{name}: {verdict}");
}

/// The history with one more read at its end, of the first value that was read and that the key no
/// longer held a thousand events later.
fn spoiled(history: &History) -> History {
    let first = history.ops().iter().find_map(|op| match &op.completed {
        Some((_, Completion::Ok(Answer::Read { value: Some(value), revision }))) => {
            Some((op.action.clone(), value.clone(), *revision))
        }
        _ => None,
    });
    let (action, value, revision) = first.expect("somebody read something");
    let mut history = history.clone();
    let (process, time_us) = (1_000_000, history.last_time_us());
    history.invoke(process, time_us, action).unwrap();
    let answer = Answer::Read { value: Some(value), revision };
    history.complete(process, time_us, Completion::Ok(answer)).unwrap();
    history
}

#[test]
fn many_keys() {
    let run =
        Run { ops: 100_000, keys: 500, processes: 16, unknown_per_mille: 20, revisions: true, deletes: true };
    judge("many keys", &run);
}

#[test]
fn one_key_with_revisions() {
    let run =
        Run { ops: 5_000, keys: 1, processes: 16, unknown_per_mille: 20, revisions: true, deletes: true };
    judge("one key with revisions", &run);
}

#[test]
fn one_key_without_revisions() {
    let run =
        Run { ops: 5_000, keys: 1, processes: 16, unknown_per_mille: 20, revisions: false, deletes: false };
    judge("one key without revisions", &run);
}

/// A search that is given up is no verdict.
#[test]
fn a_small_budget_gives_no_verdict() {
    let run = Run { ops: 100, keys: 1, processes: 4, unknown_per_mille: 0, revisions: true, deletes: true };
    let verdict = check_linearizable(&real_run(&run, 1), 10);
    let text = "UNKNOWN, which is no pass: key \"k0\" with 100 operations was not decided within 10 steps";
    assert_eq!(verdict.to_string(), text);
}

#[test]
fn errors_name_the_line() {
    let invoke = r#"{"process":1,"type":"invoke","time_us":5,"op":{"f":"write","key":"x","value":"a"}}"#;
    let cases = [
        ("nonsense", "line 1: expected ident (column 2)"),
        (
            r#"{"process":1,"type":"invoke","time_us":5,"op":{"f":"write","key":"x"}}"#,
            "line 1: `value` must be a text",
        ),
        (
            r#"{"process":1,"type":"invoke","time_us":5,"op":{"f":"cas","key":"x","value":"a"}}"#,
            "line 1: a cas needs `expected_revision`, 0 for absent",
        ),
        (
            r#"{"process":1,"type":"ok","time_us":5,"op":{"f":"write","key":"x","value":"a"}}"#,
            "line 1: process 1 completes an operation, but has none open",
        ),
        (
            &format!("{invoke}\n\n{invoke}"),
            "line 3: process 1 invokes an operation while another of its own is not complete",
        ),
        (
            &format!(
                "{invoke}\n{}",
                r#"{"process":1,"type":"ok","time_us":4,"op":{"f":"write","key":"x","value":"a"}}"#
            ),
            "line 2: time goes back from 5 us to 4 us",
        ),
        (
            &format!(
                "{invoke}\n{}",
                r#"{"process":1,"type":"ok","time_us":6,"op":{"f":"write","key":"x","value":"b"}}"#
            ),
            "line 2: process 1 completes another operation than it invoked (process 1: write \"x\" = \"a\" -> never answered [5 us ..])",
        ),
        (
            &format!(
                "{invoke}\n{}",
                r#"{"process":1,"type":"fail","time_us":6,"op":{"f":"write","key":"x","value":"a","current":3}}"#
            ),
            "line 2: only a cas fails with a current revision",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(History::parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }
    let long = vec![b' '; check::json_lines::LINE_BYTES_MAX + 1];
    assert!(matches!(History::parse(long.as_slice()), Err(ParseError::Long { line: 1 })));
}
