//! Telling a person why transactions have no order: each dependency of a cycle, by what was seen, and what it
//! follows from.

use super::Anomaly;
use super::cycles::{ALL, Cycle, Search};
use super::graph::{Edge, Graph, Kind, Rule, Why};
use super::history::{Seen, Step, Transaction, TransactionHistory};
use super::registers::last_written;
use super::versions::{Key, Versions};
use super::view::View;
use crate::arrows::Arrow;
use crate::history::OpId;

/// Most lines that tell what follows from what.
const LINES_MAX: usize = 40;

/// Explains cycles of one history.
pub struct Words<'a> {
    pub history: &'a TransactionHistory,
    pub versions: &'a Versions<'a>,
    pub graph: &'a Graph,
}

/// What was explained.
pub struct Explained {
    pub text: String,
    /// All that are named, those of the cycle first.
    pub transactions: Vec<OpId>,
    pub arrows: Vec<Arrow>,
}

impl Words<'_> {
    /// Explains a cycle.
    pub fn explain(&self, cycle: &Cycle) -> Explained {
        let mut named: Vec<u32> = cycle.edges.iter().map(|edge| edge.from).collect();
        let mut lines = Vec::new();
        for edge in &cycle.edges {
            self.dependency(edge, 1, &mut named, &mut lines);
        }
        let mut text = format!("{}: {}\n", cycle.anomaly, meaning(cycle));
        for (&transaction, number) in named.iter().zip(1..) {
            text.push_str(&format!("  T{number} = {}\n", self.transaction(transaction)));
        }
        text.push_str("Each has to come before the next, and the last before the first:");
        for line in lines {
            text.push_str(&format!("\n{line}"));
        }
        let transactions = named.iter().map(|&number| OpId(number as usize)).collect();
        Explained { text, transactions, arrows: cycle.edges.iter().map(|edge| self.arrow(edge)).collect() }
    }

    fn transaction(&self, number: u32) -> &Transaction {
        &self.history.transactions()[number as usize]
    }

    fn key(&self, edge: &Edge) -> &str {
        self.versions.keys[edge.key as usize].0
    }

    fn arrow(&self, edge: &Edge) -> Arrow {
        let label = match edge.kind {
            Kind::Ww => format!("ww {}", self.key(edge)),
            Kind::Wr => format!("wr {}", self.key(edge)),
            Kind::Rw => format!("rw {}", self.key(edge)),
            Kind::RealTime => "real time".to_owned(),
        };
        Arrow { from: OpId(edge.from as usize), to: OpId(edge.to as usize), label }
    }

    /// One dependency, and below it those it follows from.
    fn dependency(&self, edge: &Edge, depth: usize, named: &mut Vec<u32>, lines: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        if lines.len() >= LINES_MAX {
            if lines.len() == LINES_MAX {
                lines.push(format!("{indent}(and so on)"));
            }
            return;
        }
        let [from, to] = [edge.from, edge.to].map(|transaction| name(transaction, named));
        if edge.kind == Kind::RealTime {
            lines.push(format!("{indent}{from} had ended before {to} began (real time)"));
            return;
        }
        let told = match &self.versions.keys[edge.key as usize].1 {
            Key::List(list) => self.list(edge, list.longest, &from, &to),
            Key::Register(_) => self.register(edge, &from, &to),
        };
        let Why::Inferred { round, rule, split } = edge.why else {
            lines.push(format!("{indent}{told}"));
            return;
        };
        let view = View { graph: self.graph, kinds: ALL, split, rounds: round - 1 };
        let (first, begin, end) = match rule {
            Rule::ReadEarlier => match self.source(edge) {
                Some(writer) => (writer, view.commit(writer), view.commit(edge.to)),
                None => {
                    lines.push(format!("{indent}{told}"));
                    return;
                }
            },
            Rule::SeenLater(reader) => (edge.from, view.commit(edge.from), view.start(reader)),
            Rule::NoOverlap => (edge.from, view.start(edge.from), view.commit(edge.to)),
        };
        let because = match rule {
            Rule::ReadEarlier => format!("that is of {}, which comes before {to}", name(first, named)),
            Rule::SeenLater(reader) => {
                format!("{} read the latter, and comes after {from}", name(reader, named))
            }
            Rule::NoOverlap => format!("both wrote it, and {from} began before {to} committed"),
        };
        lines.push(format!("{indent}{told}: {because}"));
        let way = Search::new(view).way(begin, end, usize::MAX, |_| true);
        for step in way.unwrap_or_default() {
            self.dependency(&step, depth + 1, named, lines);
        }
    }

    /// Whose version the reader of an edge saw.
    fn source(&self, edge: &Edge) -> Option<u32> {
        let Key::Register(register) = &self.versions.keys[edge.key as usize].1 else { return None };
        let reading = register.readings.iter().find(|(reader, _)| reader.0 == edge.from as usize)?;
        reading.1.map(super::graph::node)
    }

    fn register(&self, edge: &Edge, from: &str, to: &str) -> String {
        let key = self.key(edge);
        let written = |transaction: u32| {
            last_written(self.history, OpId(transaction as usize), key).unwrap_or_default()
        };
        let at = |transaction: u32| match (edge.why, self.transaction(transaction).revision) {
            (Why::Revisions, Some(revision)) => format!(" at revision {revision}"),
            _ => String::new(),
        };
        match (edge.kind, edge.why) {
            (Kind::Wr, _) => format!("{to} read {key:?} as {:?} of {from} (wr)", written(edge.from)),
            (Kind::Rw, Why::ReadBefore) => format!(
                "{from} read {key:?} as {}, which {to} had read too before it wrote {:?} (rw)",
                self.read(edge.from, key),
                written(edge.to)
            ),
            (Kind::Rw, _) => format!(
                "{from} read {key:?} as {}, before {to} wrote {:?}{} (rw)",
                self.read(edge.from, key),
                written(edge.to),
                at(edge.to)
            ),
            (_, Why::ReadBefore) => format!(
                "{from} wrote {:?} to {key:?}, and {to} had read that before it wrote {:?} (ww)",
                written(edge.from),
                written(edge.to)
            ),
            _ => format!(
                "{from} wrote {:?} to {key:?}{}, before {to} wrote {:?}{} (ww)",
                written(edge.from),
                at(edge.from),
                written(edge.to),
                at(edge.to)
            ),
        }
    }

    /// What a transaction saw in a register, before it wrote to it.
    fn read(&self, transaction: u32, name: &str) -> String {
        let seen = self.transaction(transaction).steps.iter().find_map(|step| match step {
            Step::Read { key, seen: Some(Seen::Register { value, .. }) } if key == name => Some(value),
            _ => None,
        });
        seen.and_then(Option::as_ref).map_or("absent".to_owned(), |value| format!("{value:?}"))
    }

    fn list(&self, edge: &Edge, list: &[String], from: &str, to: &str) -> String {
        let key = self.key(edge);
        // Past the longest list is what was appended, but never seen.
        let written = |position: usize| {
            list.get(position).map_or("what nobody read".to_owned(), |value| format!("{value:?}"))
        };
        let up_to = |position: usize| match position.checked_sub(1) {
            None => "as empty".to_owned(),
            Some(last) => format!("up to {}", written(last)),
        };
        match (edge.kind, edge.why) {
            (Kind::Wr, Why::List(position)) => {
                format!("{to} read {key:?} with {} of {from} (wr)", written(position as usize - 1))
            }
            (Kind::Rw, Why::Both(position)) => {
                format!("{from} read {key:?} {}, before {to} appended to it (rw)", up_to(position as usize))
            }
            (Kind::Rw, Why::List(position)) => format!(
                "{from} read {key:?} {}, before {to} appended {} (rw)",
                up_to(position as usize),
                written(position as usize)
            ),
            (Kind::Ww, Why::List(position)) => format!(
                "{from} appended {} to {key:?}, before {to} appended {} (ww)",
                written(position as usize - 1),
                written(position as usize)
            ),
            _ => format!("{from} appended to {key:?} before {to} did, what nobody read (ww)"),
        }
    }
}

/// What a transaction is called, from now on.
fn name(transaction: u32, named: &mut Vec<u32>) -> String {
    let place = named.iter().position(|other| *other == transaction).unwrap_or_else(|| {
        named.push(transaction);
        named.len() - 1
    });
    format!("T{}", place + 1)
}

fn meaning(cycle: &Cycle) -> &'static str {
    let two = cycle.edges.len() == 2;
    let missed = cycle.edges.iter().filter(|edge| edge.kind == Kind::Rw).count();
    match cycle.anomaly {
        Anomaly::G0 => "transactions overwrote each other in a cycle (dirty write).",
        Anomaly::G1c => "what transactions overwrote and saw of each other goes in a cycle.",
        Anomaly::LostUpdate => "two transactions read the same version, and both wrote.",
        Anomaly::GSingle if two && cycle.edges.iter().any(|edge| edge.kind == Kind::Wr) => {
            "a transaction saw a part of what another wrote, and missed a part (read skew)."
        }
        Anomaly::GSingle => "a transaction missed what it, by all else, came after.",
        Anomaly::GNonadjacent if cycle.edges.len() == 4 && missed == 2 => {
            "two transactions saw two others in opposite orders (long fork)."
        }
        Anomaly::GNonadjacent => {
            "several transactions missed what others wrote, and no two of them in a row."
        }
        Anomaly::G2Item if two && missed == 2 => "two transactions missed what the other wrote (write skew).",
        Anomaly::G2Item => "several transactions missed what the others wrote.",
        Anomaly::G0Realtime => "transactions overwrote each other against real time.",
        Anomaly::G1cRealtime => "a transaction saw or overwrote what began after it had ended.",
        Anomaly::GSingleRealtime => "a transaction missed what had ended before it began.",
        Anomaly::GNonadjacentRealtime | Anomaly::G2ItemRealtime => {
            "several transactions missed what the others wrote, against real time."
        }
        Anomaly::Invented
        | Anomaly::Duplicate
        | Anomaly::IncompatibleOrder
        | Anomaly::Internal
        | Anomaly::DirtyUpdate
        | Anomaly::G1a
        | Anomaly::G1b => unreachable!("no cycle"),
    }
}
