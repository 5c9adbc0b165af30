//! Runs `testdata/transactions/*.txt`: histories of transactions in a short form, `----`, and the verdicts,
//! up to an empty line. `UPDATE=1` writes the verdicts anew.
//!
//! `1 txn append x a read x` invokes, for process 1; `1 ok [] [a,b]` (what its reads saw, in order), `1
//! fail`, `1 unknown` complete. A register is written with `write x a`, and seen as `a`, `a@7` (with its revision) or
//! `-` (absent); `1 ok a @8` tells the transaction's revision. The verdict is that of `serializable`; those of
//! the other checkers stand below it if they are other ones, without the explanation if they are weaker.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use check::{
    Isolation, Outcome, Recorded, Seen, Step, TransactionHistory, TransactionVerdict, check_transactions,
};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/transactions");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let actual = run(&script);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        assert_eq!(actual, expected, "{}; UPDATE=1 accepts", path.display());
    }
}

fn run(script: &str) -> String {
    let mut output = String::new();
    for case in script.split("\n\n") {
        let lines = case.trim().lines().take_while(|line| *line != "----");
        let mut history = TransactionHistory::new();
        let mut open = std::collections::BTreeMap::new();
        for (line, number) in lines.zip(0..) {
            writeln!(output, "{line}").unwrap();
            let time_us = number * 10;
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["#", ..] => {}
                [process, "txn", ref words @ ..] => {
                    let process = process.parse().unwrap();
                    let steps = parse_steps(words);
                    history.invoke(process, time_us, &steps).unwrap();
                    open.insert(process, steps);
                }
                [process, end, ref lists @ ..] => {
                    let process = process.parse().unwrap();
                    let mut steps = open.remove(&process).expect("an open transaction");
                    let outcome = match end {
                        "ok" => Outcome::Committed,
                        "fail" => Outcome::Aborted,
                        "unknown" => Outcome::Unknown,
                        _ => panic!("no such event: {line}"),
                    };
                    let reads = steps.iter_mut().filter_map(|step| match step {
                        Step::Read { seen, .. } => Some(seen),
                        Step::Append { .. } | Step::Write { .. } => None,
                    });
                    let (revision, told) = match lists {
                        [told @ .., last] if last.starts_with('@') => (last[1..].parse().ok(), told),
                        told => (None, told),
                    };
                    for (seen, told) in reads.zip(told) {
                        *seen = Some(parse_seen(told));
                    }
                    let id = history.complete(process, time_us, outcome, &steps).unwrap();
                    if let Some(revision) = revision {
                        history.told_revision(id, revision).unwrap();
                    }
                }
                _ => panic!("no such event: {line}"),
            }
        }
        writeln!(output, "----\n{}\n", judge(&history)).unwrap();
    }
    output.trim_end().to_owned() + "\n"
}

fn parse_steps(words: &[&str]) -> Vec<Step> {
    match *words {
        [] => Vec::new(),
        ["append", key, value, ref rest @ ..] => {
            let step = Step::Append { key: key.to_owned(), value: value.to_owned() };
            std::iter::once(step).chain(parse_steps(rest)).collect()
        }
        ["write", key, value, ref rest @ ..] => {
            let step = Step::Write { key: key.to_owned(), value: value.to_owned() };
            std::iter::once(step).chain(parse_steps(rest)).collect()
        }
        ["read", key, ref rest @ ..] => {
            let step = Step::Read { key: key.to_owned(), seen: None };
            std::iter::once(step).chain(parse_steps(rest)).collect()
        }
        _ => panic!("no such step: {words:?}"),
    }
}

fn parse_seen(text: &str) -> Seen {
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Seen::List(inside.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect());
    }
    let (value, revision) = match text.split_once('@') {
        Some((value, revision)) => (value, Some(revision.parse().unwrap())),
        None => (text, None),
    };
    Seen::Register { value: (value != "-").then(|| value.to_owned()), revision }
}

/// The verdicts of a history that must survive being written and read as JSON lines.
fn judge(history: &TransactionHistory) -> String {
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    assert_eq!(TransactionHistory::parse(lines.as_slice()).unwrap(), *history);
    assert_eq!(Recorded::parse(lines.as_slice()).unwrap(), Recorded::Transactions(history.clone()));

    let verdict = |isolation| check_transactions(history, isolation);
    let plain = verdict(Isolation::Serializable);
    let mut text = plain.to_string();
    let strict = verdict(Isolation::StrictSerializable);
    if strict != plain {
        write!(text, "\nstrict-serializable: {strict}").unwrap();
    }
    let weaker =
        [(Isolation::SnapshotIsolation, "snapshot-isolation"), (Isolation::ReadCommitted, "read-committed")];
    for (isolation, name) in weaker {
        let weak = verdict(isolation);
        if weak != plain {
            let short = match weak {
                TransactionVerdict::Valid => "valid".to_owned(),
                TransactionVerdict::Invalid(found) => format!("INVALID: {}", found.anomaly),
                TransactionVerdict::Unknown { reason } => format!("unknown: {reason}"),
            };
            write!(text, "\n{name}: {short}").unwrap();
        }
    }
    text
}
