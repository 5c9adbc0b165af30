//! Families of histories of single operations: for each kind at least a hundred good ones, runs of a store that
//! is right, are judged valid, and at least a hundred bad ones, the same and then something impossible, invalid.

use std::collections::BTreeMap;

use check::{
    Action, Answer, BUDGET_DEFAULT, Checker, Completion, History, Judgement, Recorded, Verdict,
    check_linearizable, check_linearizable_map, judge,
};
use runs::{Random, Run, real_run};

mod runs;

const HISTORIES: u64 = 120;

/// Asks and is answered, after everything else.
fn then(history: &mut History, action: Action, answer: Answer) {
    let (process, time_us) = (1_000_000, history.last_time_us() + 1);
    history.invoke(process, time_us, action).unwrap();
    history.complete(process, time_us, Completion::Ok(answer)).unwrap();
}

fn key() -> String {
    "k0".to_owned()
}

fn write(value: &str) -> Action {
    Action::Write { key: key(), value: value.to_owned() }
}

fn written() -> Answer {
    Answer::Written { revision: None }
}

fn saw(value: Option<&str>) -> Answer {
    Answer::Read { value: value.map(str::to_owned), revision: None }
}

/// Something impossible, whatever the operations of unknown outcome did.
fn spoil(history: &mut History, kind: u64) {
    let cas = |expected: &str, value: &str| Action::CasValue {
        key: key(),
        expected: Some(expected.to_owned()),
        value: value.to_owned(),
    };
    then(history, write("first"), written());
    match kind % 6 {
        0 => {
            then(history, write("second"), written());
            then(history, Action::Read { key: key() }, saw(Some("first")));
        }
        1 => then(history, Action::Read { key: key() }, saw(Some("nobody wrote it"))),
        // Seen, then unseen.
        2 => {
            then(history, write("second"), written());
            then(history, Action::Read { key: key() }, saw(Some("second")));
            then(history, Action::Read { key: key() }, saw(Some("first")));
        }
        // A lost update: both came from the first.
        3 => {
            then(history, cas("first", "second"), written());
            then(history, cas("first", "third"), written());
        }
        // It came back after it was replaced.
        4 => {
            then(history, cas("first", "second"), written());
            then(history, Action::Read { key: key() }, saw(Some("first")));
        }
        // Refused, and told the very revision that it expected.
        _ => {
            let (process, time_us) = (1_000_001, history.last_time_us() + 1);
            let action = Action::Cas { key: key(), expected_revision: 7, value: "x".to_owned() };
            history.invoke(process, time_us, action).unwrap();
            let completion = Completion::Fail { current: Some(7) };
            history.complete(process, time_us, completion).unwrap();
        }
    }
}

fn family(name: &str, run: &Run, judged: fn(&History, u64) -> Verdict, spoil: fn(&mut History, u64)) {
    for seed in 0..HISTORIES {
        let mut history = real_run(run, seed);
        assert_eq!(judged(&history, BUDGET_DEFAULT), Verdict::Valid, "{name}, seed {seed}");
        spoil(&mut history, seed);
        let verdict = judged(&history, BUDGET_DEFAULT);
        let Verdict::Invalid(found) = verdict else { panic!("{name}, spoiled, seed {seed}: {verdict}") };
        assert!(found.shown.len() <= 8, "{name}, seed {seed}: {}", found.explanation);
    }
    println!("{name}: {HISTORIES} good ones are valid, {HISTORIES} bad ones invalid (seeds from 0)");
}

#[test]
fn registers() {
    let run = Run { ops: 60, keys: 2, processes: 5, unknown_per_mille: 60, deletes: true, ..Run::PLAIN };
    family("registers", &run, check_linearizable, spoil);
}

#[test]
fn compare_and_set_by_value() {
    let run = Run { ops: 60, keys: 2, processes: 5, cas_by_value: true, ..Run::PLAIN };
    family("compare-and-set by value", &run, check_linearizable, spoil);
    let run = Run { values: Some(4), processes: 3, ..run };
    family("compare-and-set by value, values repeated", &run, check_linearizable, spoil);
}

#[test]
fn compare_and_set_by_revision() {
    let run = Run { ops: 60, keys: 2, processes: 5, deletes: true, ..Run::WITH_REVISIONS };
    family("compare-and-set by revision", &run, check_linearizable, spoil);
}

/// Each key was so at some moment of the read, but never both.
fn tear(history: &mut History, _: u64) {
    let keys = || vec![key(), "k1".to_owned()];
    then(history, write("first"), written());
    let reader = 1_000_001;
    history.invoke(reader, history.last_time_us(), Action::ReadMany { keys: keys() }).unwrap();
    then(history, write("second"), written());
    then(history, Action::Write { key: "k1".to_owned(), value: "other".to_owned() }, written());
    let values = vec![Some("first".to_owned()), Some("other".to_owned())];
    let completion = Completion::Ok(Answer::ReadMany { values });
    history.complete(reader, history.last_time_us(), completion).unwrap();
    assert_eq!(check_linearizable(history, BUDGET_DEFAULT), Verdict::Valid, "each key by itself");
}

#[test]
fn maps() {
    let run = Run { ops: 40, keys: 3, processes: 4, read_many: true, deletes: true, ..Run::PLAIN };
    family("maps", &run, check_linearizable_map, tear);
}

/// What one process did, one after another, and what three replicas hold then: what was written last, or
/// something `wrong`.
fn settled(seed: u64, wrong: Option<&str>) -> History {
    let mut random = Random(seed);
    let mut history = History::new();
    let mut rows: BTreeMap<String, Option<String>> = BTreeMap::new();
    for number in 0..20 + random.below(20) {
        let key = format!("k{}", random.below(3));
        let value = format!("v{number}");
        if random.below(4) == 0 {
            let existed = rows.insert(key.clone(), None).flatten().is_some();
            then(
                &mut history,
                Action::Delete { key },
                Answer::Deleted { existed: Some(existed), revision: None },
            );
        } else {
            rows.insert(key.clone(), Some(value.clone()));
            then(&mut history, Action::Write { key, value }, written());
        }
    }
    // One more write of one key, so that each way of being wrong is one.
    then(&mut history, write("last but one"), written());
    then(&mut history, write("last"), written());
    rows.insert(key(), Some("last".to_owned()));
    for node in ["n1", "n2", "n3"] {
        for (of, value) in &rows {
            let mut value = value.clone();
            if *of == key() {
                match wrong {
                    Some("lost") => value = None,
                    Some("older") => value = Some("last but one".to_owned()),
                    Some("invented") => value = Some("nobody wrote it".to_owned()),
                    Some("one replica is behind") if node == "n3" => value = Some("last but one".to_owned()),
                    Some("one replica has nothing") if node == "n2" => value = None,
                    _ => {}
                }
            }
            let action = Action::Final { node: node.to_owned(), key: of.clone() };
            then(&mut history, action, Answer::Read { value, revision: None });
        }
    }
    history
}

#[test]
fn convergence() {
    let ways = ["lost", "older", "invented", "one replica is behind", "one replica has nothing"];
    let converged = |history| judge(&Recorded::Operations(history), Checker::Converged, BUDGET_DEFAULT);
    for seed in 0..HISTORIES {
        assert_eq!(converged(settled(seed, None)), Judgement::Valid, "seed {seed}");
        let way = ways[(seed % 5) as usize];
        let judgement = converged(settled(seed, Some(way)));
        assert!(matches!(judgement, Judgement::Invalid(_)), "{way}, seed {seed}: {judgement:?}");
    }
    println!("convergence: {HISTORIES} good ones are valid, {HISTORIES} bad ones invalid (seeds from 0)");
}
