//! The cluster at one moment: nodes in a circle, and what is said between them. A script moves it in time; without
//! one it shows the moment at which most links were hurt.

use std::{f64::consts::PI, fmt::Write as _};

use serde_json::{Value, json};

use super::panels::{lags, link_state, place, state_of};
use crate::{
    faults::pairs,
    proxy::Place,
    run::Outcome,
    watching::{LinkMark, Sample},
};

const SIZE: f64 = 360.0;
const RADIUS: f64 = 120.0;
const NODE: f64 = 25.0;

/// Words stand away from the middle, where links are.
fn words_y(y: f64) -> f64 {
    if y < SIZE / 2.0 { y - NODE - 8.0 } else { y + NODE + 17.0 }
}

fn at(node: usize, nodes: usize) -> (f64, f64) {
    let angle = -PI / 2.0 + 2.0 * PI * node as f64 / nodes as f64;
    (SIZE / 2.0 + RADIUS * angle.cos(), SIZE / 2.0 + RADIUS * angle.sin())
}

/// The map, with its slider.
pub fn draw(outcome: &Outcome) -> String {
    let moment = worst_moment(&outcome.marks, outcome.ended_ms);
    let mut svg = String::new();
    for (from, to) in pairs(outcome.nodes) {
        let ((x1, y1), (x2, y2)) = (at(from, outcome.nodes), at(to, outcome.nodes));
        let length = (x2 - x1).hypot(y2 - y1).max(1.0);
        let (dx, dy) = ((x2 - x1) / length, (y2 - y1) / length);
        // Each direction has a line of its own, beside the other, that ends before its node.
        let (x1, y1) = (x1 + dx * (NODE + 4.0) - dy * 5.0, y1 + dy * (NODE + 4.0) + dx * 5.0);
        let (x2, y2) = (x2 - dx * (NODE + 9.0) - dy * 5.0, y2 - dy * (NODE + 9.0) + dx * 5.0);
        let class = link_class(outcome, Place::Node(from), Place::Node(to), moment);
        let _ = write!(
            svg,
            r#"<line id="l{from}-{to}" class="link {class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" marker-end="url(#arrow)"/>"#
        );
    }
    for node in 0..outcome.nodes {
        let (x, y) = at(node, outcome.nodes);
        let class = outcome.samples.get(node).and_then(|samples| sample_at(samples, moment)).map(state_of);
        let (class, words) = class.unwrap_or(("mute", "no answer"));
        let _ = write!(
            svg,
            r#"<g><circle id="n{node}" class="node {class}" cx="{x:.1}" cy="{y:.1}" r="{NODE}"/><text class="nodename on-{class}" id="t{node}" x="{x:.1}" y="{:.1}" text-anchor="middle">{node}</text><text class="tick" id="w{node}" x="{x:.1}" y="{:.1}" text-anchor="middle">{words}</text></g>"#,
            y + 5.0,
            words_y(y)
        );
    }
    format!(
        r#"<div class="map"><svg viewBox="0 -14 {SIZE} {}" role="img" aria-label="The cluster at one moment"><defs><marker id="arrow" viewBox="0 0 6 6" refX="4" refY="3" markerWidth="6" markerHeight="6" orient="auto-start-reverse"><path d="M0 0L6 3L0 6z" fill="context-stroke"/></marker></defs>{svg}</svg><div class="moment"><label for="when">Moment <output id="now">{:.1} s</output></label><input type="range" id="when" min="0" max="{}" step="100" value="{moment}"><ul id="facts"></ul></div></div>"#,
        SIZE + 14.0,
        moment as f64 / 1000.0,
        outcome.ended_ms
    )
}

fn link_class(outcome: &Outcome, from: Place, to: Place, moment: u64) -> &'static str {
    let mut marks =
        outcome.marks.iter().rev().filter(|mark| (mark.from, mark.to) == (from, to) && mark.ms <= moment);
    marks.next().and_then(|mark| link_state(&mark.way)).map_or("whole", |(class, _)| class)
}

fn sample_at(samples: &[Sample], moment: u64) -> Option<&Sample> {
    samples.iter().rev().find(|sample| sample.ms <= moment)
}

/// When most links were hurt.
fn worst_moment(marks: &[LinkMark], ended_ms: u64) -> u64 {
    let mut hurt = std::collections::BTreeSet::new();
    let (mut most, mut moment) = (0, ended_ms / 2);
    for (number, mark) in marks.iter().enumerate() {
        match link_state(&mark.way) {
            Some(("silent" | "refused", _)) => hurt.insert((mark.from, mark.to)),
            _ => hurt.remove(&(mark.from, mark.to)),
        };
        // Marks of one look belong together: the last of them counts.
        let last = marks.get(number + 1).is_none_or(|next| next.ms != mark.ms);
        if last && hurt.len() > most {
            (most, moment) = (hurt.len(), mark.ms);
        }
    }
    moment
}

/// What the script needs to move in time.
pub fn data(outcome: &Outcome) -> Value {
    let nodes: Vec<Value> = outcome
        .samples
        .iter()
        .zip(lags(outcome))
        .map(|(samples, lags)| {
            let behind: std::collections::BTreeMap<u64, u64> = lags.into_iter().collect();
            let seen = samples.iter().map(|sample| {
                let (class, words) = state_of(sample);
                let term = sample.said.map(|said| said.term);
                json!([sample.ms, class, words, term, behind.get(&sample.ms)])
            });
            Value::Array(seen.collect())
        })
        .collect();
    let links: Vec<Value> = outcome
        .marks
        .iter()
        .map(|mark| {
            let state = link_state(&mark.way);
            let (class, words) = state.unwrap_or(("whole", String::new()));
            json!([mark.ms, place(mark.from), place(mark.to), class, words])
        })
        .collect();
    let seconds: Vec<Value> = outcome
        .seconds
        .iter()
        .map(|second| {
            let ms = |per_mille| second.quantile_us(per_mille).map(|us| f64::from(us) / 1000.0);
            json!([second.done, second.troubles.values().sum::<u32>(), ms(500), ms(990)])
        })
        .collect();
    let faults: Vec<Value> = outcome
        .happened
        .iter()
        .map(|fault| {
            let ended = fault.ended_ms.unwrap_or(outcome.healed_ms);
            json!([fault.began_ms, ended, fault.fault.name(), fault.words])
        })
        .collect();
    json!({"nodes": nodes, "links": links, "seconds": seconds, "faults": faults})
}
