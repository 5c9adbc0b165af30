//! Telling a person why transactions have no order: each dependency of a cycle, by what was seen.

use std::fmt::Write as _;

use super::Anomaly;
use super::graph::{Cycle, Edge, Kind};
use super::history::TransactionHistory;
use crate::arrows::Arrow;

/// Explains a cycle.
pub fn explain(history: &TransactionHistory, cycle: &Cycle<'_>) -> String {
    let mut text = format!("{}: {}\n", cycle.anomaly, meaning(cycle.anomaly));
    for (edge, number) in cycle.edges.iter().zip(1..) {
        let transaction = &history.transactions()[edge.from.0];
        writeln!(text, "  T{number} = {transaction}").expect("writing to a string cannot fail");
    }
    text.push_str("Each has to come before the next, and the last before the first:");
    for (edge, number) in cycle.edges.iter().zip(1..) {
        let next = number % cycle.edges.len() + 1;
        write!(text, "\n  {}", dependency(cycle, edge, number, next))
            .expect("writing to a string cannot fail");
    }
    text
}

/// A dependency, for the drawing.
pub fn arrow(edge: &Edge<'_>) -> Arrow {
    let label = match edge.kind {
        Kind::Ww => format!("ww {}", edge.key),
        Kind::Wr => format!("wr {}", edge.key),
        Kind::Rw => format!("rw {}", edge.key),
        Kind::RealTime => "real time".to_owned(),
    };
    Arrow { from: edge.from, to: edge.to, label }
}

fn meaning(anomaly: Anomaly) -> &'static str {
    match anomaly {
        Anomaly::G0 => "transactions overwrote each other in a cycle.",
        Anomaly::G1c => "what transactions overwrote and saw of each other goes in a cycle.",
        Anomaly::GSingle => "a transaction missed what it, by all else, came after.",
        Anomaly::G2Item => "several transactions missed what the others wrote.",
        Anomaly::G0Realtime => "transactions overwrote each other against real time.",
        Anomaly::G1cRealtime => "a transaction saw or overwrote what began after it had ended.",
        Anomaly::GSingleRealtime => "a transaction missed what had ended before it began.",
        Anomaly::G2ItemRealtime => "several transactions missed what the others wrote, against real time.",
        Anomaly::Invented
        | Anomaly::Duplicate
        | Anomaly::IncompatibleOrder
        | Anomaly::Internal
        | Anomaly::G1a
        | Anomaly::G1b => unreachable!("no cycle"),
    }
}

fn dependency(cycle: &Cycle<'_>, edge: &Edge<'_>, number: usize, next: usize) -> String {
    let Edge { kind, key, position, .. } = *edge;
    if kind == Kind::RealTime {
        return format!("T{number} had ended before T{next} began (real time)");
    }
    let list = cycle.lists[key];
    // Past the longest list is what was appended, but never seen.
    let written = |position: usize| {
        list.get(position).map_or("what nobody read".to_owned(), |value| format!("{value:?}"))
    };
    match kind {
        Kind::Wr => format!("T{next} read {key:?} with {} of T{number} (wr)", written(position - 1)),
        Kind::Rw if position == 0 => {
            format!("T{number} read {key:?} as empty, before T{next} appended {} (rw)", written(0))
        }
        Kind::Rw => format!(
            "T{number} read {key:?} up to {}, before T{next} appended {} (rw)",
            written(position - 1),
            written(position)
        ),
        Kind::Ww | Kind::RealTime => format!(
            "T{number} appended {} to {key:?}, before T{next} appended {} (ww)",
            written(position - 1),
            written(position)
        ),
    }
}
