//! The page of a run that is made up: whole, safe, and honest about what went wrong.

use std::collections::BTreeMap;

use super::html;
use crate::{
    cluster::Life,
    faults::{Fault, Happened},
    measure::Second,
    proxy::{Place, Way},
    record::Counts,
    run::Outcome,
    verdict::{Verdict, Word},
    watching::{LinkMark, Said, Sample},
    work::Manner,
};

fn outcome(word: Word, words: &str) -> Outcome {
    let said = Said { leads: true, stands: false, term: 3, commit: 9, applied: 7 };
    let sample = |ms, life, said| Sample { ms, life: Some(life), said };
    let samples = vec![sample(500, Life::Up, Some(said)), sample(1_000, Life::Down, None)];
    let silent = Way { silent: true, ..Way::default() };
    let mark = |ms, way| LinkMark { ms, from: Place::Node(0), to: Place::Node(1), way };
    let verdict = Verdict {
        judge: "linearizable".into(),
        of: "registers".into(),
        asks: "whether it is".into(),
        word,
        words: words.into(),
        svg: (word == Word::Invalid).then(|| "<svg>drawn</svg>".into()),
    };
    let troubles = BTreeMap::from([("NO_QUORUM".to_owned(), 4)]);
    Outcome {
        word,
        verdicts: vec![verdict],
        scenario: "</script><b>".into(),
        about: "a & b".into(),
        system: "quorate".into(),
        nodes: 2,
        seed: 7,
        again: "quorate chaos run x --seed 7".into(),
        planned: Vec::new(),
        happened: vec![Happened {
            fault: Fault::Split,
            lane: 0,
            began_ms: 600,
            ended_ms: None,
            words: "node 0 | node 1".into(),
        }],
        skipped: Vec::new(),
        clients: BTreeMap::from([("registers".to_owned(), 4)]),
        counts: BTreeMap::from([(
            "registers".to_owned(),
            Counts { invoked: 1_234, ok: 1_230, fail: 3, unknown: 1 },
        )]),
        seconds: vec![Second { latencies_us: vec![900, 1_100], done: 2, troubles }, Second::default()],
        samples: vec![samples.clone(), samples],
        marks: vec![mark(700, silent), mark(1_500, Way::default())],
        healed_ms: 2_000,
        ended_ms: 2_500,
        starts: vec![1, 2],
        interrupted: false,
        kept: None,
        manner: Manner { keys: 3, value_bytes: 40, think: std::time::Duration::ZERO, hot_key_per_mille: 0 },
    }
}

#[test]
fn it_needs_nothing_else_and_nothing_recorded_becomes_markup() {
    let page = html(&outcome(Word::Invalid, "<i>lost</i>"));
    for outside in ["http://", "https://", "src=", "@import", "url(http"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("<i>lost") && page.contains("&lt;i&gt;lost"));
    assert!(page.contains("&lt;/script&gt;&lt;b&gt;: a &amp; b") || page.contains("a &amp; b"));
    assert_eq!(page.matches("</script>").count(), 2, "only ours end");
    assert!(page.contains("<svg>drawn</svg>") && page.contains("What cannot be explained"));
}

#[test]
fn what_is_not_decided_is_no_pass() {
    let page = html(&outcome(Word::Unknown, "the search was given up"));
    assert!(page.contains("no pass") && page.contains("the search was given up"));
    assert!(!page.contains("badge valid"));
}

#[test]
fn every_panel_is_there_and_no_figure_is_broken() {
    let page = html(&outcome(Word::Valid, ""));
    for panel in [
        "Faults",
        "Requests per second",
        "Latency",
        "Nodes, with terms",
        "Entries behind",
        "Links that were hurt",
    ] {
        assert!(page.contains(panel), "{panel}");
    }
    assert!(page.contains("1,234 operations") && page.contains("NO_QUORUM") && page.contains("--seed 7"));
    assert!(!page.contains("NaN") && !page.contains("inf\""), "a figure is broken");
}
