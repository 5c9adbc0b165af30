//! Runs `testdata/*.txt`: histories in a short form, `----`, and the verdicts, up to an empty line.
//! `UPDATE=1` writes the verdicts anew.
//!
//! `1 write x a` invokes, for process 1 (also `read x`, `read x,y`, `delete x`, `cas x 4 b`, `cas x =a b`,
//! `cas x absent b`, `final n1 x`); `1 ok`, `1 ok 7` (a revision), `1 ok =a`, `1 ok =a 7` (a read's value),
//! `1 ok =a,absent` (of two keys), `1 ok absent`, `1 ok existed [7]`, `1 conflict 7`, `1 differs [=c]`,
//! `1 fail`, `1 unknown` complete. Where several keys are read at once, the history is judged as one map,
//! too; where there are final reads, those.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use check::{
    Action, Answer, BUDGET_DEFAULT, Checker, Completion, History, Judgement, Recorded, check_linearizable,
    check_linearizable_map, check_revisions, judge as judge_by,
};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
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
        let case = case.trim();
        let lines = case.lines().take_while(|line| *line != "----");
        let mut history = History::new();
        for (line, number) in lines.zip(0..) {
            writeln!(output, "{line}").unwrap();
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["#", ..] => {}
                [process, ref words @ ..] => {
                    event(&mut history, process.parse().unwrap(), number * 10, words);
                }
                [] => panic!("an empty line ends a case"),
            }
        }
        writeln!(output, "----\n{}\n", judge(&history)).unwrap();
    }
    output.trim_end().to_owned() + "\n"
}

/// The verdict, which must survive being written and read as JSON lines.
fn judge(history: &History) -> String {
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    let parsed = History::parse(lines.as_slice()).unwrap();
    assert_eq!(parsed, *history);

    let mut text = check_linearizable(&parsed, BUDGET_DEFAULT).to_string();
    let asks = |wanted: fn(&Action) -> bool| parsed.ops().iter().any(|op| wanted(&op.action));
    if asks(|action| matches!(action, Action::ReadMany { .. })) {
        write!(text, "\nas a map: {}", check_linearizable_map(&parsed, BUDGET_DEFAULT)).unwrap();
    }
    if let Err(violation) = check_revisions(&parsed) {
        write!(text, "\nrevisions: {violation}").unwrap();
    }
    if asks(|action| matches!(action, Action::Final { .. })) {
        match judge_by(&Recorded::Operations(parsed), Checker::Converged, BUDGET_DEFAULT) {
            Judgement::Valid => text.push_str("\nconverged: valid"),
            Judgement::Invalid(found) => {
                write!(text, "\nconverged: INVALID, {}: {}", found.anomaly, found.explanation).unwrap();
            }
            Judgement::Unknown { reason } => write!(text, "\nconverged: unknown, {reason}").unwrap(),
        }
    }
    text
}

fn event(history: &mut History, process: u64, time_us: u64, words: &[&str]) {
    let key = words.get(1).map(|key| (*key).to_owned()).unwrap_or_default();
    let action = match *words {
        ["read", keys] if keys.contains(',') => {
            Some(Action::ReadMany { keys: keys.split(',').map(str::to_owned).collect() })
        }
        ["read", _] => Some(Action::Read { key }),
        ["final", node, key] => Some(Action::Final { node: node.to_owned(), key: key.to_owned() }),
        ["write", _, value] => Some(Action::Write { key, value: value.to_owned() }),
        ["delete", _] => Some(Action::Delete { key }),
        ["cas", _, expected, value] if expected == "absent" || expected.starts_with('=') => {
            Some(Action::CasValue { key, expected: parse_value(expected), value: value.to_owned() })
        }
        ["cas", _, expected, value] => {
            Some(Action::Cas { key, expected_revision: expected.parse().unwrap(), value: value.to_owned() })
        }
        _ => None,
    };
    if let Some(action) = action {
        history.invoke(process, time_us, action).unwrap();
        return;
    }
    let asked = history.open_op(process).expect("an open operation").action.clone();
    let completion = match *words {
        ["unknown"] => Completion::Unknown,
        ["fail"] => Completion::Fail { current: None },
        ["conflict", current] => Completion::Fail { current: Some(current.parse().unwrap()) },
        ["differs"] => Completion::Differs { current: None },
        ["differs", current] => Completion::Differs { current: Some(parse_value(current)) },
        ["ok", ref results @ ..] => Completion::Ok(parse_answer(&asked, results)),
        _ => panic!("no such event: {words:?}"),
    };
    history.complete(process, time_us, completion).unwrap();
}

fn parse_answer(asked: &Action, results: &[&str]) -> Answer {
    let revision = results.last().and_then(|text| text.parse().ok());
    let first = results.first().copied().unwrap_or_default();
    match asked {
        Action::Read { .. } | Action::Final { .. } => Answer::Read { value: parse_value(first), revision },
        Action::ReadMany { .. } => Answer::ReadMany { values: first.split(',').map(parse_value).collect() },
        Action::Write { .. } | Action::Cas { .. } | Action::CasValue { .. } => Answer::Written { revision },
        Action::Delete { .. } => {
            let existed = (!results.is_empty()).then_some(first == "existed");
            Answer::Deleted { existed, revision }
        }
    }
}

fn parse_value(text: &str) -> Option<String> {
    text.strip_prefix('=').map(str::to_owned)
}
