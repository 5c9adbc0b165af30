//! Lists of what was drawn.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    panels::{family, lags},
    text::{escape, number, seconds},
};
use crate::{cluster::Life, run::Outcome};

fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut html = String::from("<div class=\"wide\"><table><tr>");
    for head in heads {
        let _ = write!(html, "<th>{head}</th>");
    }
    html.push_str("</tr>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html + "</table></div>"
}

/// Operations by history.
pub fn operations(outcome: &Outcome) -> String {
    let rows = outcome.counts.iter().map(|(name, counts)| {
        let clients = outcome.clients.get(name).copied().unwrap_or(0);
        let mut row = vec![format!("<b>{}</b>", escape(name)), clients.to_string()];
        row.extend([counts.invoked, counts.ok, counts.fail, counts.unknown].map(number));
        row
    });
    table(&["History", "clients", "operations", "done", "refused", "unknown"], rows)
}

/// Refusals and unknown outcomes by code.
pub fn troubles(outcome: &Outcome) -> String {
    let mut codes: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for second in &outcome.seconds {
        for (code, count) in &second.troubles {
            let (total, seconds) = codes.entry(code).or_default();
            *total += u64::from(*count);
            *seconds += 1;
        }
    }
    if codes.is_empty() {
        return "<p>Nothing was refused, and no outcome is unknown.</p>".to_owned();
    }
    let mut codes: Vec<_> = codes.into_iter().collect();
    codes.sort_by_key(|(_, (total, _))| std::cmp::Reverse(*total));
    let rows = codes.into_iter().map(|(code, (total, seconds))| {
        vec![
            format!("<code>{}</code>", escape(code)),
            number(total),
            seconds.to_string(),
            meaning(code).to_owned(),
        ]
    });
    table(&["Code", "times", "in seconds", ""], rows)
}

/// What a client's own codes mean, and the most frequent of the system's.
fn meaning(code: &str) -> &'static str {
    match code {
        "NO_CONNECTION" => "no connection came about: nothing was sent",
        "CONNECTION_LOST" => "the connection broke before the answer",
        "CLIENT_TIMEOUT" => "the client waited in vain",
        "NO_QUORUM" => "the node said that it reaches no majority",
        "DEADLINE_EXCEEDED" => "the node said that it cannot tell in time",
        "UNAVAILABLE" | "NOT_LEADER" => "the node said that it cannot serve now",
        "NO_SPACE" => "the node said that its disk is full",
        "CONFLICT" => "somebody else was faster",
        _ => "",
    }
}

/// Faults in order of time.
pub fn faults(outcome: &Outcome) -> String {
    if outcome.happened.is_empty() {
        return "<p>None: it was a quiet run.</p>".to_owned();
    }
    let mut happened = outcome.happened.clone();
    happened.sort_by_key(|fault| fault.began_ms);
    let rows = happened.iter().map(|fault| {
        let to = fault.ended_ms.unwrap_or(outcome.healed_ms);
        vec![
            seconds(fault.began_ms),
            seconds(to - fault.began_ms.min(to)),
            format!("<span class=\"dot {}\"></span>{}", family(fault.fault), fault.fault),
            escape(&fault.words),
            fault.fault.about().to_owned(),
        ]
    });
    table(&["At", "for", "fault", "whom", "what it is"], rows)
}

/// What was not done.
pub fn skipped(outcome: &Outcome) -> String {
    if outcome.skipped.is_empty() {
        return "<p>Nothing: all of the scenario was done.</p>".to_owned();
    }
    let rows = outcome.skipped.iter().map(|skipped| {
        let instead = skipped.instead.map_or("nothing", |fault| fault.name());
        vec![escape(&skipped.what), escape(&skipped.why), instead.to_owned()]
    });
    table(&["Name", "why not", "done instead"], rows)
}

/// Nodes in figures.
pub fn nodes(outcome: &Outcome) -> String {
    let lags = lags(outcome);
    let rows = outcome.samples.iter().enumerate().map(|(node, samples)| {
        let share = |wanted: &dyn Fn(&crate::watching::Sample) -> bool| {
            let count = samples.iter().filter(|sample| wanted(sample)).count();
            format!("{:.0} %", 100.0 * count as f64 / samples.len().max(1) as f64)
        };
        let term = samples.iter().rev().find_map(|sample| sample.said).map_or(0, |said| said.term);
        let most = lags.get(node).and_then(|lags| lags.iter().map(|(_, behind)| *behind).max());
        let last = lags.get(node).and_then(|lags| lags.last()).map_or(0, |(_, behind)| *behind);
        vec![
            format!("node {node}"),
            outcome.starts.get(node).map_or_else(|| "not ours".to_owned(), u32::to_string),
            share(&|sample| sample.said.is_some_and(|said| said.leads)),
            share(&|sample| sample.life == Some(Life::Down)),
            share(&|sample| sample.life == Some(Life::Paused)),
            number(most.unwrap_or(0)),
            number(last),
            term.to_string(),
        ]
    });
    let heads =
        ["Node", "starts", "led", "down", "paused", "entries behind, most", "at the end", "last term"];
    table(&heads, rows)
}
