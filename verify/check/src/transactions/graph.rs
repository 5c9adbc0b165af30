//! Who comes before whom, and the smallest cycle of the worst kind.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::history::{Outcome, TransactionHistory};
use super::versions::Versions;
use super::{Anomaly, EDGES_MAX};
use crate::history::OpId;

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The second overwrote what the first wrote.
    Ww,
    /// The second saw what the first wrote.
    Wr,
    /// The first saw what the second overwrote.
    Rw,
    /// The first had ended before the second began.
    RealTime,
}

/// One comes before another.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    pub from: OpId,
    pub to: OpId,
    pub kind: Kind,
    /// By which key; empty for real time.
    pub key: &'a str,
    /// How many elements of the key's longest list come before the edge.
    pub position: usize,
}

/// A cycle, each edge's end the next one's start.
#[derive(Clone, Debug)]
pub struct Cycle<'a> {
    pub anomaly: Anomaly,
    pub edges: Vec<Edge<'a>>,
    /// The longest list of each edge's key.
    pub lists: BTreeMap<&'a str, &'a [String]>,
}

/// Transactions that took effect, and their order.
pub struct Graph<'a> {
    edges: Vec<Edge<'a>>,
    /// By transaction: its edges, by number.
    out: Vec<Vec<u32>>,
    versions: &'a Versions<'a>,
}

/// A kind of cycle: at least one edge `through`, a way back along `path`.
struct Class {
    plain: Anomaly,
    real_time: Anomaly,
    through: Kind,
    path: &'static [Kind],
}

const CLASSES: &[Class] = &[
    Class { plain: Anomaly::G0, real_time: Anomaly::G0Realtime, through: Kind::Ww, path: &[Kind::Ww] },
    Class {
        plain: Anomaly::G1c,
        real_time: Anomaly::G1cRealtime,
        through: Kind::Wr,
        path: &[Kind::Ww, Kind::Wr],
    },
    Class {
        plain: Anomaly::GSingle,
        real_time: Anomaly::GSingleRealtime,
        through: Kind::Rw,
        path: &[Kind::Ww, Kind::Wr],
    },
    Class {
        plain: Anomaly::G2Item,
        real_time: Anomaly::G2ItemRealtime,
        through: Kind::Rw,
        path: &[Kind::Ww, Kind::Wr, Kind::Rw],
    },
];

impl<'a> Graph<'a> {
    /// `None` if there are too many edges.
    pub fn of(
        history: &'a TransactionHistory,
        versions: &'a Versions<'a>,
        real_time: bool,
    ) -> Option<Graph<'a>> {
        let mut building = Building { edges: Vec::new(), known: HashSet::new() };
        for (name, key) in &versions.keys {
            let unseen = versions.unseen(key);
            let end = key.longest.len();
            let edge = |from, to, kind, position| Edge { from, to, kind, key: name, position };
            for position in 1..end {
                building.add(edge(key.writer(position - 1), key.writer(position), Kind::Ww, position))?;
            }
            for &writer in unseen.iter().filter(|_| end > 0) {
                building.add(edge(key.writer(end - 1), writer, Kind::Ww, end))?;
            }
            for (reader, seen) in key.reads() {
                if seen > 0 {
                    building.add(edge(key.writer(seen - 1), reader, Kind::Wr, seen))?;
                }
                if seen < end {
                    building.add(edge(reader, key.writer(seen), Kind::Rw, seen))?;
                } else {
                    for &writer in &unseen {
                        building.add(edge(reader, writer, Kind::Rw, seen))?;
                    }
                }
            }
        }
        if real_time {
            building.real_time(history, versions)?;
        }
        let mut out = vec![Vec::new(); history.transactions().len()];
        for (edge, number) in building.edges.iter().zip(0..) {
            out[edge.from.0].push(number);
        }
        Some(Graph { edges: building.edges, out, versions })
    }

    /// The smallest cycle of the worst kind there is. (If the search takes too long, the smallest found by
    /// then.)
    pub fn worst_cycle(&self, real_time: bool) -> Option<Cycle<'a>> {
        for class in CLASSES {
            let mut path = class.path.to_vec();
            path.extend(real_time.then_some(Kind::RealTime));
            if let Some(edges) = self.smallest_cycle(class.through, &path) {
                let timed = edges.iter().any(|edge| edge.kind == Kind::RealTime);
                let anomaly = if timed { class.real_time } else { class.plain };
                let lists = edges.iter().filter(|edge| edge.kind != Kind::RealTime);
                let lists = lists.map(|edge| (edge.key, self.versions.keys[edge.key].longest)).collect();
                return Some(Cycle { anomaly, edges, lists });
            }
        }
        None
    }

    fn smallest_cycle(&self, through: Kind, path: &[Kind]) -> Option<Vec<Edge<'a>>> {
        let mut kinds = path.to_vec();
        kinds.push(through);
        let component = self.components(&kinds);
        let mut smallest: Option<Vec<Edge<'a>>> = None;
        let mut steps = 0;
        for edge in self.edges.iter().filter(|edge| edge.kind == through) {
            if component[edge.from.0] != component[edge.to.0] {
                continue;
            }
            let found = smallest.as_ref().map_or(usize::MAX, Vec::len);
            if found == 2 || (smallest.is_some() && steps > EDGES_MAX) {
                break;
            }
            if let Some(back) = self.way(edge.to, edge.from, path, &component, found - 1, &mut steps) {
                smallest = Some(std::iter::once(*edge).chain(back).collect());
            }
        }
        smallest
    }

    /// A shortest way, of fewer than `below` edges.
    fn way(
        &self,
        from: OpId,
        to: OpId,
        path: &[Kind],
        component: &[usize],
        below: usize,
        steps: &mut usize,
    ) -> Option<Vec<Edge<'a>>> {
        let mut reached: HashMap<OpId, Option<u32>> = HashMap::from([(from, None)]);
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((here, length)) = queue.pop_front() {
            if length + 1 >= below {
                break;
            }
            for &number in &self.out[here.0] {
                *steps += 1;
                let edge = &self.edges[number as usize];
                let usable = path.contains(&edge.kind) && component[edge.to.0] == component[here.0];
                if !usable || reached.contains_key(&edge.to) {
                    continue;
                }
                reached.insert(edge.to, Some(number));
                if edge.to == to {
                    let mut way = Vec::new();
                    let mut at = to;
                    while let Some(number) = reached[&at] {
                        way.push(self.edges[number as usize]);
                        at = self.edges[number as usize].from;
                    }
                    way.reverse();
                    return Some(way);
                }
                queue.push_back((edge.to, length + 1));
            }
        }
        None
    }

    /// By transaction: the number of its strongly connected component (Tarjan, 1972), along edges of some
    /// kinds. Without recursion: a history is long.
    fn components(&self, kinds: &[Kind]) -> Vec<usize> {
        const NEW: usize = usize::MAX;
        let nodes = self.out.len();
        let (mut index, mut low, mut component) = (vec![NEW; nodes], vec![0; nodes], vec![NEW; nodes]);
        let (mut count, mut components) = (0, 0);
        let mut stack = Vec::new();
        for root in 0..nodes {
            // A node, and which of its edges is next.
            let mut calls = vec![(root, 0)];
            if index[root] != NEW {
                continue;
            }
            while let Some((node, next)) = calls.pop() {
                if index[node] == NEW {
                    (index[node], low[node]) = (count, count);
                    count += 1;
                    stack.push(node);
                }
                if let Some(&number) = self.out[node].get(next) {
                    let edge = &self.edges[number as usize];
                    let child = edge.to.0;
                    if kinds.contains(&edge.kind) && index[child] == NEW {
                        // The same edge is looked at again when the child is done.
                        calls.extend([(node, next), (child, 0)]);
                        continue;
                    }
                    if kinds.contains(&edge.kind) && component[child] == NEW {
                        low[node] = low[node].min(low[child]);
                    }
                    calls.push((node, next + 1));
                } else if low[node] == index[node] {
                    while let Some(member) = stack.pop() {
                        component[member] = components;
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        component
    }
}

struct Building<'a> {
    edges: Vec<Edge<'a>>,
    known: HashSet<(OpId, OpId, Kind)>,
}

impl<'a> Building<'a> {
    /// Adds an edge that is not there yet.
    fn add(&mut self, edge: Edge<'a>) -> Option<()> {
        if edge.from != edge.to && self.known.insert((edge.from, edge.to, edge.kind)) {
            self.edges.push(edge);
        }
        (self.edges.len() <= EDGES_MAX).then_some(())
    }

    /// Edges from those who ended before a transaction began, leaving out whoever also ended before another
    /// of those began: that follows.
    fn real_time(&mut self, history: &TransactionHistory, versions: &Versions<'_>) -> Option<()> {
        let mut events: Vec<(usize, OpId, bool)> = Vec::new();
        for transaction in history.transactions().iter().filter(|t| versions.happened(t.id)) {
            events.push((transaction.invoked.position, transaction.id, false));
            if let Some((moment, Outcome::Committed)) = transaction.completed {
                events.push((moment.position, transaction.id, true));
            }
        }
        events.sort_unstable_by_key(|(position, ..)| *position);
        // Those that ended, and nobody who began after that has ended; and what it was when each began.
        let mut frontier: Vec<OpId> = Vec::new();
        let mut before: HashMap<OpId, HashSet<OpId>> = HashMap::new();
        for (_, id, ended) in events {
            if ended {
                let passed = before.remove(&id).expect("who ends has begun");
                frontier.retain(|earlier| !passed.contains(earlier));
                frontier.push(id);
            } else {
                for &from in &frontier {
                    self.add(Edge { from, to: id, kind: Kind::RealTime, key: "", position: 0 })?;
                }
                before.insert(id, frontier.iter().copied().collect());
            }
        }
        Some(())
    }
}
