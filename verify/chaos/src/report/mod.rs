//! The report: one HTML page that needs nothing else, for somebody who was not there. Verdicts in words come first,
//! then what happened on one time axis, then what cannot be explained, then lists.

mod axis;
mod map;
mod panels;
mod tables;
mod text;

use std::fmt::Write as _;

use crate::{
    run::Outcome,
    verdict::{Verdict, Word},
};
use text::{escape, number};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page.
pub fn html(outcome: &Outcome) -> String {
    let mut page = String::new();
    let title = format!("{}: {} under chaos", outcome.word, escape(&outcome.system));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main>"
    );
    head(&mut page, outcome);
    verdicts(&mut page, outcome);
    counterexamples(&mut page, outcome);
    section(&mut page, "What happened", TIMELINE);
    let _ = write!(page, r#"<div class="wide">{}</div>"#, panels::draw(outcome));
    section(&mut page, "Who heard whom", MAP);
    page.push_str(&map::draw(outcome));
    section(&mut page, "What clients were told", TOLD);
    page.push_str(&tables::operations(outcome));
    page.push_str(&tables::troubles(outcome));
    section(
        &mut page,
        "Faults",
        "In order of time. The schedule was drawn from the seed before anything began.",
    );
    page.push_str(&tables::faults(outcome));
    section(
        &mut page,
        "What was not done",
        "Of what the scenario names, this cannot be done to real processes, or not here.",
    );
    page.push_str(&tables::skipped(outcome));
    section(&mut page, "Nodes", "As each said of itself, twice a second.");
    page.push_str(&tables::nodes(outcome));
    let data = text::script_json(&map::data(outcome));
    let _ = writeln!(
        page,
        "<footer>Written by <code>quorate chaos run</code>. This page loads nothing from anywhere.</footer></main>\
         <div id=\"tip\" hidden></div>\
         <script type=\"application/json\" id=\"data\">{data}</script><script>{SCRIPT}</script></body></html>"
    );
    page
}

const TIMELINE: &str = "All panels share one time axis; grey bands are faults. Point at anything to read it. A cluster \
    is allowed to refuse requests while it cannot keep its promises, and it owes progress after the last fault: what is \
    never allowed is an answer that is not so.";
const MAP: &str = "Nodes and links at one moment. Move the slider, or point into the drawing above.";
const TOLD: &str = "An operation is done, or refused and never takes effect, or nobody knows, as after a lost \
    connection. The judges take each at its word.";

fn section(page: &mut String, title: &str, about: &str) {
    let _ = write!(page, "<h2>{title}</h2><p class=\"about\">{about}</p>");
}

fn head(page: &mut String, outcome: &Outcome) {
    let operations: u64 = outcome.counts.values().map(|counts| counts.invoked).sum();
    let clients: usize = outcome.clients.values().sum();
    let said = match outcome.word {
        Word::Valid => format!(
            "Everything that {clients} clients were told in {} operations can be explained by what the system promises.",
            number(operations)
        ),
        Word::Invalid => {
            "Something happened that the promises of the system do not allow: see below.".to_owned()
        }
        Word::Unknown => "It could not be decided, which is no pass: see below for the reason.".to_owned(),
    };
    let early = if outcome.interrupted { " It was ended early by whoever ran it." } else { "" };
    let _ = write!(
        page,
        "<header><div class=\"badge {word}\">{word}</div><div><h1>{system}, {nodes} nodes, {faults} faults</h1>\
         <p>{said}{early}</p></div></header><dl>",
        word = outcome.word,
        system = escape(&outcome.system),
        nodes = outcome.nodes,
        faults = outcome.happened.len(),
    );
    let facts = [
        ("Scenario", format!("<b>{}</b>: {}", escape(&outcome.scenario), escape(&outcome.about))),
        (
            "Took",
            format!(
                "{}, of which faults {}",
                text::seconds(outcome.ended_ms),
                text::seconds(outcome.healed_ms)
            ),
        ),
        (
            "Clients",
            format!(
                "{clients}, each on connections of its own, at a node drawn anew for each request; values of up to {} bytes",
                number(outcome.manner.value_bytes as u64)
            ),
        ),
        ("Seed", outcome.seed.to_string()),
        ("Run it again", format!("<code>{}</code>", escape(&outcome.again))),
    ];
    for (name, value) in facts {
        let _ = write!(page, "<dt>{name}</dt><dd>{value}</dd>");
    }
    page.push_str("</dl>");
}

fn verdicts(page: &mut String, outcome: &Outcome) {
    section(page, "Verdicts", "The whole is valid only if every judge says so; unknown is no pass.");
    page.push_str(
        "<div class=\"wide\"><table><tr><th>Judge</th><th>of</th><th>asks whether</th><th>says</th></tr>",
    );
    for verdict in &outcome.verdicts {
        let Verdict { judge, of, asks, word, .. } = verdict;
        let of = if of.is_empty() { "nodes" } else { of };
        let _ = write!(
            page,
            "<tr><td><b>{}</b></td><td>{}</td><td>{}</td><td><span class=\"word {word}\">{word}</span></td></tr>",
            escape(judge),
            escape(of),
            escape(asks)
        );
    }
    page.push_str("</table></div>");
}

fn counterexamples(page: &mut String, outcome: &Outcome) {
    let found: Vec<&Verdict> =
        outcome.verdicts.iter().filter(|verdict| verdict.word != Word::Valid).collect();
    if found.is_empty() {
        return;
    }
    section(
        page,
        "What cannot be explained",
        "In words, and as a drawing of the operations that it takes to see it.",
    );
    for verdict in found {
        let _ = write!(
            page,
            "<h3>{} <span class=\"word {word}\">{word}</span></h3><pre>{}</pre>",
            escape(&verdict.judge),
            escape(&verdict.words),
            word = verdict.word
        );
        if let Some(svg) = &verdict.svg {
            let _ = write!(page, "<div class=\"wide paper\">{svg}</div>");
        }
    }
}

#[cfg(test)]
mod tests;
