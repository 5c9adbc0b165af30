//! A drawing of a counterexample: a lane for each process, a bar for each operation from its invocation to
//! its end, in the order of events. The scale is that of events, not of time, so that nothing is too small
//! to see; times are in the tooltips. The same counterexample is always the same SVG.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::arrows::{self, Place};
use crate::history::OpId;
use crate::judge::Counterexample;
use crate::recorded::{Described, Recorded};

const LEFT: usize = 110;
const TOP: usize = 60;
const LANE: usize = 52;
const BAR: usize = 30;
const EVENT_GAP: usize = 28;
const CHARACTER: usize = 7;
/// Longest text in a bar, in characters; the whole is its tooltip.
const LABEL_MAX: usize = 72;
const LEGEND: &str =
    "red: what contradicts; open at the right: outcome unknown; from left to right: the order of events";

/// Draws it: a self-contained SVG document.
pub fn timeline(recorded: &Recorded, found: &Counterexample) -> String {
    let ops: BTreeMap<OpId, Described> =
        found.shown.iter().chain(&found.culprits).map(|&id| (id, recorded.describe(id))).collect();
    let processes: BTreeSet<u64> = ops.values().map(|op| op.process).collect();
    let places = places(&ops);
    let right = (places.end + EVENT_GAP).max(LEFT + LEGEND.len() * CHARACTER);
    let (width, height) = (right + 20, TOP + LANE * processes.len() + 20);
    let (title, about) = (escape(&found.anomaly), escape(&found.explanation));

    let mut elements = vec![
        format!("<title>{title}</title>"),
        format!("<desc>{about}</desc>"),
        format!(r##"<rect width="{width}" height="{height}" fill="#ffffff"/>"##),
        format!(r##"<text x="16" y="26" font-size="15" fill="#1a1a1a">{title}</text>"##),
        format!(r##"<text x="16" y="46" fill="#666666">{LEGEND}</text>"##),
    ];
    for (process, lane) in processes.iter().zip(0..) {
        let y = TOP + lane * LANE + LANE / 2;
        elements.push(format!(
            r##"<text x="16" y="{}" fill="#1a1a1a">process {process}</text><line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#d0d0d0"/>"##,
            y + 4
        ));
    }
    let mut bars = BTreeMap::new();
    for (id, op) in &ops {
        let lane = processes.range(..op.process).count();
        let y = TOP + lane * LANE + (LANE - BAR) / 2;
        elements.push(bar(op, &places, right, y, found.culprits.contains(id)));
        let ended = op.ended.map_or(right, |moment| places.x[&moment.position]);
        let left = places.x[&op.invoked.position];
        bars.insert(*id, Place { left, right: ended, top: y, bottom: y + BAR });
    }
    elements.extend(arrows::draw(&found.arrows, &bars));
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">"#
    );
    for element in elements {
        write!(svg, "\n{element}").expect("writing to a string cannot fail");
    }
    svg + "\n</svg>\n"
}

fn bar(op: &Described, places: &Places, right: usize, y: usize, culprit: bool) -> String {
    let from = places.x[&op.invoked.position];
    let bottom = y + BAR;
    let (outline, dashes) = match op.ended {
        Some(moment) => (format!("M{from} {y}H{}V{bottom}H{from}Z", places.x[&moment.position]), ""),
        None => (format!("M{right} {y}H{from}V{bottom}H{right}"), r#" stroke-dasharray="5 3""#),
    };
    let (fill, stroke) = if culprit { ("#fde0dd", "#b3261e") } else { ("#e3edf7", "#4a6f94") };
    let (tooltip, label) = (escape(&op.text), escape(&label(op)));
    format!(
        r##"<g><title>{tooltip}</title><path d="{outline}" fill="{fill}" stroke="{stroke}" stroke-width="1.5"{dashes}/><text x="{}" y="{}" fill="#1a1a1a">{label}</text></g>"##,
        from + 7,
        y + BAR / 2 + 4,
    )
}

/// What stands in a bar: without the process, whose lane it is, and without times.
fn label(op: &Described) -> String {
    let text = op.text.split_once(": ").map_or(op.text.as_str(), |(_, rest)| rest);
    let text = text.rsplit_once(" [").map_or(text, |(text, _)| text);
    if text.chars().count() <= LABEL_MAX {
        return text.to_owned();
    }
    text.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

struct Places {
    /// By position of an event.
    x: BTreeMap<usize, usize>,
    end: usize,
}

/// Places each event so far to the right that every bar has room for its text.
fn places(ops: &BTreeMap<OpId, Described>) -> Places {
    let room = |op: &Described| label(op).chars().count() * CHARACTER + 14;
    // By position: where what ends there began, and its room.
    let mut events: BTreeMap<usize, Option<(usize, usize)>> = BTreeMap::new();
    for op in ops.values() {
        events.insert(op.invoked.position, None);
        if let Some(moment) = op.ended {
            events.insert(moment.position, Some((op.invoked.position, room(op))));
        }
    }
    let mut x = BTreeMap::new();
    let mut end = LEFT;
    for (position, began) in events {
        let least = began.map_or(0, |(began, room)| x[&began] + room);
        end = (end + EVENT_GAP).max(least);
        x.insert(position, end);
    }
    for op in ops.values().filter(|op| op.ended.is_none()) {
        end = end.max(x[&op.invoked.position] + room(op));
    }
    Places { x, end }
}

/// Text as XML; what XML cannot hold is shown as U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' | '\t' => escaped.push(character),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}
