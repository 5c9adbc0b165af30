//! What is read as a history of which kind, what is refused, and which line is named.

use check::json_lines::LINE_BYTES_MAX;
use check::{BUDGET_DEFAULT, Checker, Judgement, Recorded, judge};

const READ: &str = r#"{"process":1,"type":"invoke","time_us":1,"op":{"f":"read","key":"x"}}"#;
const TXN: &str =
    r#"{"process":1,"type":"invoke","time_us":1,"op":{"f":"txn","steps":[["append","x","a"],["read","x"]]}}"#;

const EFFECT: &str = r#"{"process":1,"type":"note","time_us":1,"op":{"f":"effect-terms","all_noted":true}}"#;
const LOG: &str = r#"{"process":1,"type":"invoke","time_us":1,"op":{"f":"send","log":"x","value":"a"}}"#;
const LOCK: &str = r#"{"process":1,"type":"invoke","time_us":1,"op":{"f":"acquire","lock":"x"}}"#;

fn refusal(lines: &[&str]) -> String {
    Recorded::parse(lines.join("\n").as_bytes()).expect_err("it is no history").to_string()
}

#[test]
fn the_first_event_says_which_kind_it_is() {
    assert!(matches!(Recorded::parse(READ.as_bytes()), Ok(Recorded::Operations(_))));
    assert!(matches!(Recorded::parse(TXN.as_bytes()), Ok(Recorded::Transactions(_))));
    assert!(matches!(Recorded::parse(LOCK.as_bytes()), Ok(Recorded::Locks(_))));
    let kinds = [
        (READ, "single operations"),
        (TXN, "transactions"),
        (LOCK, "locks"),
        (EFFECT, "effects"),
        (LOG, "ordered logs"),
    ];
    for (one, of) in kinds {
        for (other, is) in kinds.into_iter().filter(|(other, _)| *other != one) {
            let reason = format!("this is of {is}, and a history that began with {of} has nothing else");
            assert_eq!(refusal(&[one, "", other]), format!("line 3: {reason}"));
        }
    }
}

#[test]
fn the_wrong_line_is_named() {
    let end = |kind, steps| {
        format!(r#"{{"process":1,"type":"{kind}","time_us":2,"op":{{"f":"txn","steps":{steps}}}}}"#)
    };
    for (line, reason) in [
        (
            end("ok", r#"[["append","x","a"]]"#),
            "a transaction completes with other steps than it was invoked with",
        ),
        (
            end("ok", r#"[["append","x","a"],["read","x"]]"#),
            "a read of a transaction that committed needs what it saw",
        ),
        (
            end("fail", r#"[["append","x","a"],["read","x",["a"]]]"#),
            "only a transaction that committed has seen anything",
        ),
        (
            end("ok", r#"[["append","x","a"],["read","x","a",0]]"#),
            "a value has a revision above 0, and what is absent has none",
        ),
        (
            end("fail", r#"[["append","x","a"],["read","x"]],"revision":7"#),
            "only a transaction that committed has a revision",
        ),
        (TXN.to_owned(), "process 1 invokes an operation while another of its own is not complete"),
        (
            TXN.replace(":1,", ":2,").replace(r#"["read","x"]"#, r#"["read","x",[]]"#),
            "an invocation has no results",
        ),
    ] {
        assert_eq!(refusal(&[TXN, &line]), format!("line 2: {reason}"));
    }
    let step = refusal(&[TXN, &end("ok", r#"[["raed","x"]]"#)]);
    assert!(step.starts_with(r#"line 2: a step is ["append", key, value]"#), "{step}");
    assert!(!step.contains("line 1"), "{step}");
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    assert_eq!(refusal(&[TXN, &long]), format!("line 2 is longer than {LINE_BYTES_MAX} bytes"));
    assert!(refusal(&[TXN, &"[".repeat(LINE_BYTES_MAX)]).starts_with("line 2: "));
}

#[test]
fn a_checker_of_another_kind_does_not_pass() {
    let recorded = [READ, TXN, LOCK, EFFECT, LOG].map(|line| Recorded::parse(line.as_bytes()).unwrap());
    for checker in Checker::ALL {
        assert_eq!(Checker::named(checker.name()), Some(checker));
        for recorded in &recorded {
            let judgement = judge(recorded, checker, BUDGET_DEFAULT);
            // There are no final reads to judge.
            let judges = checker.judges() == recorded.of() && checker != Checker::Converged;
            assert_eq!(judgement == Judgement::Valid, judges, "{checker}: {judgement:?}");
            assert_eq!(matches!(judgement, Judgement::Unknown { .. }), !judges);
        }
    }
}
