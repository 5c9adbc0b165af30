//! A graph as one isolation sees it. Serializable transactions happen at one moment each. Under snapshot
//! isolation each has two, its start, when it reads, and its commit, when others can see what it wrote; who
//! overwrote what another saw committed after the other's start, and may have begun before it.

use super::graph::{Edge, Graph, Kind};

/// Moments and what comes before what. Of transaction `t` they are `t`, or `2t` (start) and `2t + 1` (commit).
#[derive(Clone, Copy)]
pub struct View<'g> {
    pub graph: &'g Graph,
    /// Edges of these kinds alone.
    pub kinds: u8,
    /// Whether each transaction has two moments.
    pub split: bool,
    /// Edges that were inferred in a later round are left out.
    pub rounds: u32,
}

/// What leads from a moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// From a start to the commit.
    Within,
    /// An edge, by number.
    Edge(u32),
}

impl View<'_> {
    /// How many moments there are.
    pub fn moments(&self) -> usize {
        self.graph.transactions() << u8::from(self.split)
    }

    /// When a transaction reads.
    pub fn start(&self, transaction: u32) -> u32 {
        transaction << u8::from(self.split)
    }

    /// When a transaction's writes are there.
    pub fn commit(&self, transaction: u32) -> u32 {
        if self.split { 2 * transaction + 1 } else { transaction }
    }

    /// Between which moments an edge is.
    pub fn ends(&self, edge: &Edge) -> (u32, u32) {
        match edge.kind {
            Kind::Rw => (self.start(edge.from), self.commit(edge.to)),
            Kind::Ww | Kind::Wr | Kind::RealTime => (self.commit(edge.from), self.start(edge.to)),
        }
    }

    /// What comes right after a moment. `cursor` is where to look, 0 at first.
    pub fn next(&self, moment: u32, cursor: &mut u32) -> Option<(u32, Step)> {
        let transaction = moment >> u8::from(self.split);
        let out = self.graph.out(transaction);
        if self.split && moment.is_multiple_of(2) && *cursor == 0 {
            *cursor = 1;
            return Some((moment + 1, Step::Within));
        }
        let first = u32::from(self.split && moment.is_multiple_of(2));
        while out.start + (*cursor - first) < out.end {
            let number = out.start + (*cursor - first);
            *cursor += 1;
            let edge = &self.graph.edges[number as usize];
            if edge.kind as u8 & self.kinds != 0 && edge.round() <= self.rounds {
                let (from, to) = self.ends(edge);
                if from == moment {
                    return Some((to, Step::Edge(number)));
                }
            }
        }
        None
    }

    /// All that come right after a moment.
    pub fn after(&self, moment: u32) -> impl Iterator<Item = (u32, Step)> {
        let mut cursor = 0;
        std::iter::from_fn(move || self.next(moment, &mut cursor))
    }

    /// The moments, each after all that come before it; `None` if there is a cycle.
    pub fn sorted(&self) -> Option<Vec<u32>> {
        let moments = u32::try_from(self.moments()).expect("a history has fewer events");
        let mut before = vec![0_u32; moments as usize];
        for moment in 0..moments {
            for (to, _) in self.after(moment) {
                before[to as usize] += 1;
            }
        }
        let mut order: Vec<u32> = (0..moments).filter(|&moment| before[moment as usize] == 0).collect();
        let mut at = 0;
        while let Some(&moment) = order.get(at) {
            for (to, _) in self.after(moment) {
                before[to as usize] -= 1;
                if before[to as usize] == 0 {
                    order.push(to);
                }
            }
            at += 1;
        }
        (order.len() == moments as usize).then_some(order)
    }

    /// By moment: the number of its strongly connected component (Tarjan, 1972). Without recursion: a history
    /// is long.
    pub fn components(&self) -> Vec<u32> {
        const NEW: u32 = u32::MAX;
        let moments = self.moments();
        let (mut index, mut low, mut component) = (vec![NEW; moments], vec![0; moments], vec![NEW; moments]);
        let (mut count, mut components) = (0, 0);
        let mut stack: Vec<u32> = Vec::new();
        // Moments, and what comes next of each; the last is looked at.
        let mut calls: Vec<(u32, u32)> = Vec::new();
        for root in 0..u32::try_from(moments).expect("a history has fewer events") {
            if index[root as usize] == NEW {
                calls.push((root, 0));
            }
            while let Some((moment, mut cursor)) = calls.pop() {
                let here = moment as usize;
                if index[here] == NEW {
                    (index[here], low[here]) = (count, count);
                    count += 1;
                    stack.push(moment);
                }
                let again = cursor;
                if let Some((to, _)) = self.next(moment, &mut cursor) {
                    let child = to as usize;
                    if index[child] == NEW {
                        // The same is looked at again when the child is done.
                        calls.extend([(moment, again), (to, 0)]);
                    } else {
                        if component[child] == NEW {
                            low[here] = low[here].min(low[child]);
                        }
                        calls.push((moment, cursor));
                    }
                } else if low[here] == index[here] {
                    while let Some(member) = stack.pop() {
                        component[member as usize] = components;
                        if member == moment {
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
