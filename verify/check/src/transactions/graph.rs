//! Who comes before whom.

use std::collections::HashMap;

use super::EDGES_MAX;
use super::history::{Outcome, TransactionHistory};
use super::lists::List;
use super::registers::Register;
use super::versions::{Key, Versions};
use crate::history::OpId;

/// How many that overlapped with one are looked at: more are found as that is followed on.
const OVERLAPS_MAX: usize = 64;

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The second overwrote what the first wrote.
    Ww = 1,
    /// The second saw what the first wrote.
    Wr = 2,
    /// The first saw what the second overwrote.
    Rw = 4,
    /// The first had ended before the second began.
    RealTime = 8,
}

/// What tells so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The list: how many of its elements come before.
    List(u32),
    /// The second read it.
    Seen,
    /// Nothing was there yet.
    Absent,
    /// The second writer had read what the first wrote.
    ReadBefore,
    /// The revisions of the two versions.
    Revisions,
    /// Both read one version and wrote; of a list, with how many elements.
    Both(u32),
    /// The order of time.
    Time,
    /// Edges of rounds before this one, by a rule; `split`: of starts and commits.
    Inferred { round: u32, rule: Rule, split: bool },
}

/// By which rule an edge follows from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The version comes before the second one's, so who read it does too.
    ReadEarlier,
    /// This reader came after the first, yet saw the second's.
    SeenLater(u32),
    /// Both wrote, and the first began before the second's commit.
    NoOverlap,
}

/// One comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: u32,
    pub to: u32,
    pub kind: Kind,
    /// By which key; 0 for real time.
    pub key: u32,
    pub why: Why,
}

impl Edge {
    /// In which round it was inferred; 0 if history itself tells it.
    pub fn round(&self) -> u32 {
        if let Why::Inferred { round, .. } = self.why { round } else { 0 }
    }
}

/// Transactions that took effect, and their order.
#[derive(Clone, Debug)]
pub struct Graph {
    /// In order of where they come from.
    pub edges: Vec<Edge>,
    /// By transaction: where its edges begin.
    starts: Vec<u32>,
}

impl Graph {
    /// `None` if there are too many edges.
    pub fn of(history: &TransactionHistory, versions: &Versions<'_>, real_time: bool) -> Option<Graph> {
        let mut edges = Edges(Vec::new());
        for ((_, key), number) in versions.keys.iter().zip(0..) {
            match key {
                Key::List(list) => edges.list(number, list)?,
                Key::Register(register) => {
                    edges.register(number, register)?;
                    if real_time {
                        edges.register_in_time(number, register, history)?;
                    }
                }
            }
        }
        if real_time {
            edges.real_time(history, &versions.happened)?;
        }
        Some(Graph::sorted(edges.0, history.transactions().len()))
    }

    fn sorted(mut edges: Vec<Edge>, transactions: usize) -> Graph {
        // Of several edges of a kind between two, what history itself tells stays.
        edges.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.kind, edge.why, edge.key));
        edges.dedup_by_key(|edge| (edge.from, edge.to, edge.kind));
        let mut starts = vec![0; transactions + 1];
        for edge in &edges {
            starts[edge.from as usize + 1] += 1;
        }
        for at in 0..transactions {
            starts[at + 1] += starts[at];
        }
        Graph { edges, starts }
    }

    /// Adds edges. `None`, and nothing is changed, if there are too many then.
    pub fn extend(&mut self, more: Vec<Edge>) -> Option<()> {
        if self.edges.len() + more.len() > EDGES_MAX {
            return None;
        }
        let mut edges = std::mem::take(&mut self.edges);
        edges.extend(more);
        *self = Graph::sorted(edges, self.transactions());
        Some(())
    }

    /// How many there are, with those that did not take effect.
    pub fn transactions(&self) -> usize {
        self.starts.len() - 1
    }

    /// The numbers of the edges from a transaction.
    pub fn out(&self, transaction: u32) -> std::ops::Range<u32> {
        self.starts[transaction as usize]..self.starts[transaction as usize + 1]
    }
}

/// A transaction's number in a graph.
pub fn node(id: OpId) -> u32 {
    u32::try_from(id.0).expect("a history has fewer events")
}

struct Edges(Vec<Edge>);

impl Edges {
    fn add(&mut self, from: OpId, to: OpId, kind: Kind, key: u32, why: Why) -> Option<()> {
        if from != to {
            self.0.push(Edge { from: node(from), to: node(to), kind, key, why });
        }
        (self.0.len() <= EDGES_MAX).then_some(())
    }

    fn list(&mut self, key: u32, list: &List<'_>) -> Option<()> {
        let at =
            |position: usize| Why::List(u32::try_from(position).expect("a list is shorter than a history"));
        let end = list.writers.len();
        for (pair, position) in list.writers.windows(2).zip(1..) {
            self.add(pair[0], pair[1], Kind::Ww, key, at(position))?;
        }
        for &writer in list.unseen.iter().filter(|_| end > 0) {
            self.add(list.writers[end - 1], writer, Kind::Ww, key, at(end))?;
        }
        for (reader, seen) in list.reads() {
            if seen > 0 {
                self.add(list.writers[seen - 1], reader, Kind::Wr, key, at(seen))?;
            }
            if seen < end {
                self.add(reader, list.writers[seen], Kind::Rw, key, at(seen))?;
            } else {
                for &writer in &list.unseen {
                    self.add(reader, writer, Kind::Rw, key, at(seen))?;
                }
            }
        }
        Some(())
    }

    fn register(&mut self, key: u32, register: &Register<'_>) -> Option<()> {
        // By version: who is known to have overwritten it, or what had overwritten it.
        let mut overwriters: HashMap<Option<OpId>, Vec<(OpId, Why)>> = HashMap::new();
        let mut revised: Vec<(u64, OpId)> = Vec::new();
        for writer in &register.writers {
            revised.extend(writer.revision.map(|revision| (revision, writer.by)));
            for version in writer.after.iter().filter(|version| **version != Some(writer.by)) {
                overwriters.entry(*version).or_default().push((writer.by, Why::ReadBefore));
            }
        }
        revised.sort_unstable();
        for pair in revised.windows(2) {
            overwriters.entry(Some(pair[0].1)).or_default().push((pair[1].1, Why::Revisions));
        }
        for writer in &register.writers {
            let first = revised.first().is_none_or(|(_, by)| *by == writer.by);
            if writer.after.is_empty() && (first || writer.revision.is_none()) {
                overwriters.entry(None).or_default().push((writer.by, Why::Absent));
            }
        }
        for (version, writers) in &overwriters {
            for &(writer, why) in writers {
                if let Some(before) = *version {
                    self.add(before, writer, Kind::Ww, key, why)?;
                }
            }
        }
        for &(reader, version) in &register.readings {
            if let Some(writer) = version {
                self.add(writer, reader, Kind::Wr, key, Why::Seen)?;
            }
            for &(writer, why) in overwriters.get(&version).into_iter().flatten() {
                self.add(reader, writer, Kind::Rw, key, why)?;
            }
        }
        Some(())
    }

    /// What real time alone tells of the order of versions, by the rules of `infer`: the first round. It is most
    /// of what follows, and costs little: only those who overlapped have to be looked at.
    fn register_in_time(
        &mut self,
        key: u32,
        register: &Register<'_>,
        history: &TransactionHistory,
    ) -> Option<()> {
        let span = |id: OpId| {
            let transaction = &history.transactions()[id.0];
            let ended = transaction.completed.filter(|(_, outcome)| *outcome == Outcome::Committed);
            (transaction.invoked.position, ended.map_or(usize::MAX, |(moment, _)| moment.position))
        };
        let why = |rule| Why::Inferred { round: 1, rule, split: false };
        let mut begins: Vec<(usize, OpId)> =
            register.writers.iter().map(|writer| (span(writer.by).0, writer.by)).collect();
        let mut ends: Vec<(usize, OpId)> =
            register.writers.iter().map(|writer| (span(writer.by).1, writer.by)).collect();
        begins.sort_unstable();
        ends.sort_unstable();
        for &(reader, version) in &register.readings {
            let Some(writer) = version else { continue };
            let ((began, ended), (read_from, read_until)) = (span(writer), span(reader));
            let first = begins.partition_point(|(begin, _)| *begin <= ended);
            let after = begins[first..].iter().take_while(|(begin, _)| *begin < read_until);
            for &(_, later) in after.take(OVERLAPS_MAX).filter(|(_, later)| *later != reader) {
                self.add(reader, later, Kind::Rw, key, why(Rule::ReadEarlier))?;
            }
            let last = ends.partition_point(|(end, _)| *end < read_from);
            let before = ends[..last].iter().rev().take_while(|(end, _)| *end > began);
            for &(_, earlier) in before.take(OVERLAPS_MAX).filter(|(_, earlier)| *earlier != writer) {
                self.add(earlier, writer, Kind::Ww, key, why(Rule::SeenLater(node(reader))))?;
            }
        }
        Some(())
    }

    /// Edges from those who ended before a transaction began, leaving out whoever also ended before another
    /// of those began: that follows.
    fn real_time(&mut self, history: &TransactionHistory, happened: &[bool]) -> Option<()> {
        let mut events: Vec<(usize, OpId, bool)> = Vec::new();
        for transaction in history.transactions().iter().filter(|transaction| happened[transaction.id.0]) {
            events.push((transaction.invoked.position, transaction.id, false));
            if let Some((moment, Outcome::Committed)) = transaction.completed {
                events.push((moment.position, transaction.id, true));
            }
        }
        events.sort_unstable_by_key(|(position, ..)| *position);
        // Those that ended, and nobody who began after that has ended; and what it was when each began.
        let mut frontier: Vec<OpId> = Vec::new();
        let mut before: HashMap<OpId, Vec<OpId>> = HashMap::new();
        for (_, id, ended) in events {
            if ended {
                let passed = before.remove(&id).expect("who ends has begun");
                frontier.retain(|earlier| !passed.contains(earlier));
                frontier.push(id);
            } else {
                for &from in &frontier {
                    self.add(from, id, Kind::RealTime, 0, Why::Time)?;
                }
                before.insert(id, frontier.clone());
            }
        }
        Some(())
    }
}
