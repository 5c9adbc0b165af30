//! Runs `testdata/transactions/*.txt`: histories of transactions in a short form, `----`, and the verdicts,
//! up to an empty line. `UPDATE=1` writes the verdicts anew.
//!
//! `1 txn append x a read x` invokes, for process 1; `1 ok [] [a,b]` (what its reads saw, in order), `1
//! fail`, `1 unknown` complete. The verdict of the strict checker stands there if it is another one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use check::{Isolation, Outcome, Recorded, Step, TransactionHistory, check_transactions};

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
                        Step::Append { .. } => None,
                    });
                    for (seen, list) in reads.zip(lists) {
                        *seen = Some(parse_list(list));
                    }
                    history.complete(process, time_us, outcome, &steps).unwrap();
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
        ["read", key, ref rest @ ..] => {
            let step = Step::Read { key: key.to_owned(), seen: None };
            std::iter::once(step).chain(parse_steps(rest)).collect()
        }
        _ => panic!("no such step: {words:?}"),
    }
}

fn parse_list(text: &str) -> Vec<String> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).expect("a list");
    inside.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// The verdicts of a history that must survive being written and read as JSON lines.
fn judge(history: &TransactionHistory) -> String {
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    assert_eq!(TransactionHistory::parse(lines.as_slice()).unwrap(), *history);
    assert_eq!(Recorded::parse(lines.as_slice()).unwrap(), Recorded::Transactions(history.clone()));

    let plain = check_transactions(history, Isolation::Serializable);
    let strict = check_transactions(history, Isolation::StrictSerializable);
    if plain == strict { plain.to_string() } else { format!("{plain}\nstrict: {strict}") }
}
