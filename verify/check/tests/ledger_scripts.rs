//! Runs `testdata/ledgers/*.txt`: histories of locks, effects and logs in a short form, `----`, and the verdicts of
//! the default checkers, up to an empty line. `UPDATE=1` writes the verdicts anew.
//!
//! `1 acquire lock=l` invokes, for process 1; `1 ok token=7`, `1 fail`, `1 unknown` complete, with what was told; `0
//! note lock-terms fenced_by=holder` is a note. A field is JSON, or else a text. Each event is 10 us after the
//! one before, unless `@5000` before it tells its time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use check::{BUDGET_DEFAULT, Checker, Judgement, Recorded, judge, timeline};
use serde_json::{Map, Value, json};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ledgers");
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
        let (mut events, mut open, mut time_us) = (String::new(), BTreeMap::new(), 0);
        for line in lines {
            writeln!(output, "{line}").unwrap();
            let mut words = line.split_whitespace().peekable();
            if words.peek() == Some(&"#") {
                continue;
            }
            time_us += 10;
            if let Some(time) = words.peek().and_then(|word| word.strip_prefix('@')) {
                time_us = time.parse().unwrap();
                words.next();
            }
            let process: u64 = words.next().unwrap().parse().unwrap();
            let kind = match words.peek() {
                Some(&kind @ ("ok" | "fail" | "unknown" | "note")) => {
                    words.next();
                    kind
                }
                _ => "invoke",
            };
            let mut op: Map<String, Value> = match kind {
                "invoke" | "note" => Map::from_iter([("f".to_owned(), json!(words.next().unwrap()))]),
                _ => open.remove(&process).expect("something to complete"),
            };
            op.extend(words.map(|word| {
                let (field, value) = word.split_once('=').expect("FIELD=VALUE");
                let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
                (field.to_owned(), value)
            }));
            if kind == "invoke" {
                open.insert(process, op.clone());
            }
            let event = json!({"process": process, "type": kind, "time_us": time_us, "op": op});
            writeln!(events, "{event}").unwrap();
        }
        let recorded = Recorded::parse(events.as_bytes()).unwrap_or_else(|error| panic!("{error}:\n{case}"));
        writeln!(output, "----\n{}", verdicts(&recorded)).unwrap();
    }
    output.trim_end().to_owned() + "\n"
}

fn verdicts(recorded: &Recorded) -> String {
    let mut text = String::new();
    for &checker in Checker::of(recorded) {
        match judge(recorded, checker, BUDGET_DEFAULT) {
            Judgement::Valid => writeln!(text, "{checker}: valid").unwrap(),
            Judgement::Unknown { reason } => writeln!(text, "{checker}: UNKNOWN: {reason}").unwrap(),
            Judgement::Invalid(found) => {
                writeln!(text, "{checker}: INVALID: {}", found.explanation).unwrap();
                let svg = timeline(recorded, &found);
                assert_eq!(svg.matches("#b3261e").count(), found.culprits.len(), "each is drawn in red");
            }
        }
    }
    text
}
