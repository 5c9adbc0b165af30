//! Runs `testdata/on_terms/*.txt`: histories with sessions, levels and receipts in a short form, `----`, and the
//! verdicts that are not `valid`, up to an empty line. `UPDATE=1` writes the verdicts anew.
//!
//! Operations as in `scripts.rs`; an invocation may end with `in=SESSION`, `level=causal`, `bound_ms=500`, `once=KEY`
//! (an idempotency key), an `ok` with a receipt `{...}`. `wait 500` lets so many milliseconds pass.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use check::{Action, Answer, BUDGET_DEFAULT, Checker, Completion, History, Judgement, Level, Receipt};
use check::{Recorded, Terms, judge};

const CHECKERS: [Checker; 7] = [
    Checker::Linearizable,
    Checker::Revisions,
    Checker::Sessions,
    Checker::Causal,
    Checker::CausalConvergent,
    Checker::Bounded,
    Checker::Receipts,
];

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/on_terms");
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
        let (mut history, mut time_us) = (History::new(), 0);
        for line in lines {
            writeln!(output, "{line}").unwrap();
            time_us += 10;
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["#", ..] => {}
                ["wait", ms] => time_us += ms.parse::<u64>().unwrap() * 1000,
                [process, ..] => event(&mut history, process.parse().unwrap(), time_us, line),
                [] => panic!("an empty line ends a case"),
            }
        }
        writeln!(output, "----\n{}\n", verdicts(history)).unwrap();
    }
    output.trim_end().to_owned() + "\n"
}

/// The verdicts of a history, which must survive being written and read as JSON lines.
fn verdicts(history: History) -> String {
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    assert_eq!(History::parse(lines.as_slice()).unwrap(), history);
    let recorded = Recorded::Operations(history);
    let mut text = Vec::new();
    for checker in CHECKERS {
        match judge(&recorded, checker, BUDGET_DEFAULT) {
            Judgement::Valid => {}
            Judgement::Invalid(found) => text.push(format!("{checker}: {}", found.explanation)),
            Judgement::Unknown { reason } => text.push(format!("{checker}: UNKNOWN: {reason}")),
        }
    }
    if text.is_empty() { "valid".to_owned() } else { text.join("\n") }
}

fn event(history: &mut History, process: u64, time_us: u64, line: &str) {
    let (line, receipt) = line.split_once(" {").map_or((line, None), |(line, json)| {
        let receipt: Receipt = serde_json::from_str(&format!("{{{json}")).expect("a receipt");
        (line, Some(receipt))
    });
    let mut terms = Terms::default();
    let mut words = Vec::new();
    for word in line.split_whitespace().skip(1) {
        match word.split_once('=') {
            Some(("in", session)) => terms.session = Some(session.to_owned()),
            Some(("level", level)) => terms.level = Some(parse_level(level)),
            Some(("bound_ms", bound_ms)) => terms.bound_ms = Some(bound_ms.parse().unwrap()),
            Some(("once", key)) => terms.idempotency_key = Some(key.to_owned()),
            _ => words.push(word),
        }
    }
    let key = words.get(1).map(|key| (*key).to_owned()).unwrap_or_default();
    let action = match words[..] {
        ["read", _] => Some(Action::Read { key }),
        ["write", _, value] => Some(Action::Write { key, value: value.to_owned() }),
        ["delete", _] => Some(Action::Delete { key }),
        _ => None,
    };
    if let Some(action) = action {
        history.invoke_with(process, time_us, action, terms).unwrap();
        return;
    }
    let asked = history.open_op(process).expect("an open operation").action.clone();
    let completion = match words[..] {
        ["unknown"] => Completion::Unknown,
        ["fail"] => Completion::Fail { current: None },
        ["ok", ref results @ ..] => Completion::Ok(parse_answer(&asked, results)),
        _ => panic!("no such event: {line:?}"),
    };
    history.complete_with(process, time_us, completion, receipt).unwrap();
}

fn parse_level(text: &str) -> Level {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).expect("a level")
}

fn parse_answer(asked: &Action, results: &[&str]) -> Answer {
    let revision = results.last().and_then(|text| text.parse().ok());
    let first = results.first().copied().unwrap_or_default();
    match asked {
        Action::Read { .. } => Answer::Read { value: first.strip_prefix('=').map(str::to_owned), revision },
        Action::Write { .. } | Action::Cas { .. } => Answer::Written { revision },
        Action::Delete { .. } => {
            let existed = (!results.is_empty()).then_some(first == "existed");
            Answer::Deleted { existed, revision }
        }
        Action::CasValue { .. } | Action::ReadMany { .. } | Action::Final { .. } => {
            unreachable!("no script asks so")
        }
    }
}
