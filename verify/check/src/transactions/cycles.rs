//! The smallest cycle of the worst kind.

use std::collections::VecDeque;

use super::graph::{Edge, Graph, Kind};
use super::view::{Step, View};
use super::{Anomaly, Isolation, STEPS_MAX};

const WW: u8 = Kind::Ww as u8;
const WR: u8 = Kind::Wr as u8;
const RW: u8 = Kind::Rw as u8;
const REAL_TIME: u8 = Kind::RealTime as u8;
pub const ALL: u8 = WW | WR | RW | REAL_TIME;

/// A cycle, each edge's end the next one's start.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub anomaly: Anomaly,
    pub edges: Vec<Edge>,
}

/// A kind of cycle: at least one edge `through`, a way back along `path`.
struct Class {
    plain: Anomaly,
    real_time: Anomaly,
    /// The weakest isolation that excludes it.
    from: Isolation,
    through: u8,
    path: u8,
    /// Whether no two edges `Rw` follow each other.
    split: bool,
}

const CLASSES: &[Class] = &[
    Class {
        plain: Anomaly::G0,
        real_time: Anomaly::G0Realtime,
        from: Isolation::ReadCommitted,
        through: WW,
        path: WW,
        split: false,
    },
    Class {
        plain: Anomaly::G1c,
        real_time: Anomaly::G1cRealtime,
        from: Isolation::ReadCommitted,
        through: WR,
        path: WW | WR,
        split: false,
    },
    Class {
        plain: Anomaly::GSingle,
        real_time: Anomaly::GSingleRealtime,
        from: Isolation::SnapshotIsolation,
        through: RW,
        path: WW | WR,
        split: false,
    },
    Class {
        plain: Anomaly::GNonadjacent,
        real_time: Anomaly::GNonadjacentRealtime,
        from: Isolation::SnapshotIsolation,
        through: RW,
        path: WW | WR | RW,
        split: true,
    },
    Class {
        plain: Anomaly::G2Item,
        real_time: Anomaly::G2ItemRealtime,
        from: Isolation::Serializable,
        through: RW,
        path: WW | WR | RW,
        split: false,
    },
];

/// The smallest cycle of the worst kind that an isolation excludes, of what history itself tells. (If the search takes too long, the smallest
/// found by then.)
pub fn worst(graph: &Graph, isolation: Isolation, real_time: bool) -> Option<Cycle> {
    let time = if real_time { REAL_TIME } else { 0 };
    CLASSES.iter().filter(|class| class.from <= isolation).find_map(|class| {
        let view = View { graph, kinds: class.path | class.through | time, split: class.split, rounds: 0 };
        let through = |edge: &Edge| edge.kind as u8 & class.through != 0 && edge.round() == 0;
        let edges = smallest(view, through, class.path | time)?;
        let timed = edges.iter().any(|edge| edge.kind == Kind::RealTime);
        Some(Cycle { anomaly: if timed { class.real_time } else { class.plain }, edges })
    })
}

/// The smallest cycle with anything that was inferred for snapshot isolation (`split`), or for serializability.
pub fn inferred(graph: &Graph, split: bool) -> Option<Cycle> {
    let view = View { graph, kinds: ALL, split, rounds: u32::MAX };
    // Rather one that shows who missed what.
    let missed = |edge: &Edge| edge.kind == Kind::Rw && edge.round() > 0;
    let edges = smallest(view, missed, ALL).or_else(|| smallest(view, |edge| edge.round() > 0, ALL))?;
    let timed = edges.iter().any(|edge| edge.kind == Kind::RealTime);
    let missed = edges.iter().filter(|edge| edge.kind == Kind::Rw).count();
    let anomaly = match (split, missed, timed) {
        (true, 0 | 1, false) => Anomaly::GSingle,
        (true, 0 | 1, true) => Anomaly::GSingleRealtime,
        (true, _, false) => Anomaly::GNonadjacent,
        (true, _, true) => Anomaly::GNonadjacentRealtime,
        (false, _, false) => Anomaly::G2Item,
        (false, _, true) => Anomaly::G2ItemRealtime,
    };
    Some(Cycle { anomaly, edges })
}

/// A smallest cycle with an edge `through`, which else is of edges of the kinds of `path`.
fn smallest(view: View<'_>, through: impl Fn(&Edge) -> bool, path: u8) -> Option<Vec<Edge>> {
    let component = view.components();
    let mut search = Search::new(View { kinds: path, ..view });
    let mut smallest: Option<Vec<Edge>> = None;
    for edge in view.graph.edges.iter().filter(|edge| through(edge)) {
        let (from, to) = view.ends(edge);
        if component[from as usize] != component[to as usize] {
            continue;
        }
        let found = smallest.as_ref().map_or(usize::MAX, Vec::len);
        if found == 2 || (smallest.is_some() && search.steps > STEPS_MAX) {
            break;
        }
        let inside = |moment: u32| component[moment as usize] == component[from as usize];
        if let Some(back) = search.way(to, from, found - 1, inside) {
            smallest = Some(std::iter::once(*edge).chain(back).collect());
        }
    }
    smallest
}

/// A search for ways, many times in one graph.
pub struct Search<'g> {
    view: View<'g>,
    /// By moment: in which search it was reached, and how.
    reached: Vec<(u32, u32, Step)>,
    number: u32,
    steps: u64,
}

impl<'g> Search<'g> {
    pub fn new(view: View<'g>) -> Search<'g> {
        Search { view, reached: vec![(0, 0, Step::Within); view.moments()], number: 0, steps: 0 }
    }

    /// A shortest way, of fewer than `below` edges, through moments `inside`.
    pub fn way(
        &mut self,
        from: u32,
        to: u32,
        below: usize,
        inside: impl Fn(u32) -> bool,
    ) -> Option<Vec<Edge>> {
        self.number += 1;
        self.reached[from as usize] = (self.number, from, Step::Within);
        if from == to {
            return Some(Vec::new());
        }
        let mut queue = VecDeque::from([(from, 0)]);
        // A commit is as far away as its start.
        if let Some(commit) = self.commit(from).filter(|commit| inside(*commit)) {
            self.reached[commit as usize] = (self.number, from, Step::Within);
            queue.push_back((commit, 0));
        }
        while let Some((here, length)) = queue.pop_front() {
            if self.reached[to as usize].0 == self.number {
                return Some(self.told(from, to));
            }
            if length + 1 >= below {
                break;
            }
            for (next, step) in self.view.after(here) {
                self.steps += 1;
                let new = self.reached[next as usize].0 != self.number;
                if step == Step::Within || !new || !inside(next) {
                    continue;
                }
                self.reached[next as usize] = (self.number, here, step);
                queue.push_back((next, length + 1));
                let commit = self.commit(next).filter(|commit| inside(*commit));
                if let Some(commit) = commit.filter(|commit| self.reached[*commit as usize].0 != self.number)
                {
                    self.reached[commit as usize] = (self.number, next, Step::Within);
                    queue.push_back((commit, length + 1));
                }
            }
        }
        (self.reached[to as usize].0 == self.number).then(|| self.told(from, to))
    }

    /// Of a start: the commit, if it is another moment.
    fn commit(&self, moment: u32) -> Option<u32> {
        (self.view.split && moment.is_multiple_of(2)).then_some(moment + 1)
    }

    fn told(&self, from: u32, to: u32) -> Vec<Edge> {
        let mut way = Vec::new();
        let mut at = to;
        while at != from {
            let (_, before, step) = self.reached[at as usize];
            if let Step::Edge(number) = step {
                way.push(self.view.graph.edges[number as usize]);
            }
            at = before;
        }
        way.reverse();
        way
    }
}
