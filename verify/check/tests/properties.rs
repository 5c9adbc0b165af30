//! The checker against another one that is too simple to be wrong, and on runs of a store that is right.

use std::time::Instant;

use check::{
    BUDGET_DEFAULT, History, ParseError, Verdict, check_linearizable, check_linearizable_map, check_revisions,
};
use proptest::collection::vec;
use proptest::prelude::*;
use runs::small::{draws, history};
use runs::{Run, real_run};

mod brute;
mod runs;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_brute_force(draws in vec((draws(), any::<bool>(), 1..3_u8), 40)) {
        for (draws, unique, keys) in draws {
            let history = history(&draws, unique, keys);
            let ops = history.ops();
            let expected = (0..keys).all(|key| brute::explained(&brute::of_key(ops, &format!("k{key}"))));
            let verdict = check_linearizable(&history, BUDGET_DEFAULT);
            prop_assert_eq!(verdict == Verdict::Valid, expected, "{}\n{:#?}", verdict, ops);
            let expected = brute::explained(ops);
            let verdict = check_linearizable_map(&history, BUDGET_DEFAULT);
            prop_assert_eq!(verdict == Verdict::Valid, expected, "as a map: {}\n{:#?}", verdict, ops);
        }
    }

    #[test]
    fn json_lines_keep_a_history(draws in draws(), unique in any::<bool>()) {
        let history = history(&draws, unique, 2);
        let mut text = Vec::new();
        history.write(&mut text).unwrap();
        prop_assert_eq!(History::parse(text.as_slice()).unwrap(), history);
    }

    #[test]
    fn any_text_is_a_history_or_an_error(text in vec(any::<u8>(), 0..200)) {
        let _ = History::parse(text.as_slice());
    }
}

/// Runs of a correct store are valid, and one stale read at their end is found.
fn judge(name: &str, run: &Run) {
    let history = real_run(run, 1);
    let began = Instant::now();
    assert_eq!(check_linearizable(&history, BUDGET_DEFAULT), Verdict::Valid, "{name}");
    assert_eq!(check_revisions(&history), Ok(()), "{name}");
    println!("{name}: {} operations judged in {:?}", history.ops().len(), began.elapsed());

    let stale = runs::spoiled(&history);
    let began = Instant::now();
    let verdict = check_linearizable(&stale, BUDGET_DEFAULT);
    println!("{name}, spoiled: judged in {:?}: {verdict}", began.elapsed());
    assert!(matches!(verdict, Verdict::Invalid(_)), "{name}: {verdict}");
}

#[test]
fn many_keys() {
    let run = Run { ops: 100_000, keys: 500, processes: 16, deletes: true, ..Run::WITH_REVISIONS };
    judge("many keys", &run);
}

#[test]
fn one_key_with_revisions() {
    let run = Run { ops: 5_000, keys: 1, processes: 16, deletes: true, ..Run::WITH_REVISIONS };
    judge("one key with revisions", &run);
}

#[test]
fn one_key_without_revisions() {
    judge("one key without revisions", &Run { ops: 5_000, keys: 1, processes: 16, ..Run::PLAIN });
}

#[test]
fn one_key_whose_values_come_again() {
    let run = Run { ops: 5_000, keys: 1, processes: 4, values: Some(20), cas_by_value: true, ..Run::PLAIN };
    judge("one key whose values come again", &run);
}

/// A search that is given up is no verdict.
#[test]
fn a_small_budget_gives_no_verdict() {
    let run = Run { ops: 100, keys: 1, processes: 4, unknown_per_mille: 0, ..Run::WITH_REVISIONS };
    let verdict = check_linearizable(&real_run(&run, 1), 10);
    let text =
        "UNKNOWN, which is no pass: time: key \"k0\" with 100 operations was not decided within 10 steps";
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
            "line 1: a cas needs either `expected_revision`, 0 for absent, or `expected`, null for absent",
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
