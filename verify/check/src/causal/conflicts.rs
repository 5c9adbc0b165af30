//! Can all replicas have agreed on one order of the changes of each key? It would have to respect causes, what
//! reads tell of two changes that they knew (the relation `cf` of Bouajjani et al.), and revisions.

use std::collections::{HashMap, VecDeque};

use crate::facts::{Facts, Shown, is_change};
use crate::history::OpId;

use super::clocks::{Conflict, Full};
use super::words::{self, Link};
use super::{CausalViolation, EDGES_MAX};

/// Cycles that are compared to show a short one.
const CYCLES_MAX: usize = 200;

/// What must come before what.
struct Graph {
    /// By operation.
    edges: Vec<Vec<(OpId, Link)>>,
    count: usize,
}

impl Graph {
    fn add(&mut self, from: OpId, to: OpId, link: Link) {
        self.edges[from.0].push((to, link));
        self.count += 1;
    }

    /// Which operations are on a cycle, or after one.
    fn unordered(&self) -> Vec<bool> {
        let mut before = vec![0; self.edges.len()];
        for (to, _) in self.edges.iter().flatten() {
            before[to.0] += 1;
        }
        let mut free: Vec<usize> = (0..before.len()).filter(|op| before[*op] == 0).collect();
        while let Some(op) = free.pop() {
            for (to, _) in &self.edges[op] {
                before[to.0] -= 1;
                if before[to.0] == 0 {
                    free.push(to.0);
                }
            }
        }
        before.into_iter().map(|before| before > 0).collect()
    }

    /// A shortest way, among `unordered` operations.
    fn way(&self, from: OpId, to: OpId, unordered: &[bool]) -> Option<Vec<(OpId, Link)>> {
        let mut reached: HashMap<OpId, (OpId, Link)> = HashMap::new();
        let mut waiting = VecDeque::from([from]);
        while let Some(id) = waiting.pop_front() {
            if id == to {
                break;
            }
            for (next, link) in &self.edges[id.0] {
                if unordered[next.0] && *next != from && !reached.contains_key(next) {
                    reached.insert(*next, (id, *link));
                    waiting.push_back(*next);
                }
            }
        }
        let (mut way, mut at) = (Vec::new(), to);
        while at != from {
            let (before, link) = *reached.get(&at)?;
            way.push((before, link));
            at = before;
        }
        way.reverse();
        Some(way)
    }
}

/// A cycle, if there is one.
pub fn find(facts: &Facts<'_>, conflicts: Vec<Conflict>) -> Result<Option<CausalViolation>, Full> {
    let mut graph = Graph { edges: vec![Vec::new(); facts.history.ops().len()], count: 0 };
    causes(facts, &mut graph)?;
    let mut told = revisions(facts);
    told.extend(conflicts.iter().map(|c| (c.before, c.after, Link::Shown(c.read))));
    for (before, after, link) in &told {
        graph.add(*before, *after, *link);
    }
    let unordered = graph.unordered();
    let among = told.iter().filter(|(before, after, _)| unordered[before.0] && unordered[after.0]);
    let mut shortest: Option<Vec<(OpId, Link)>> = None;
    let mut cycles = 0;
    for (before, after, link) in among {
        if let Some(way) = graph.way(*after, *before, &unordered) {
            let cycle = joined(facts, [(*before, *link)].into_iter().chain(way).collect());
            if shortest.as_ref().is_none_or(|shortest| cycle.len() < shortest.len()) {
                shortest = Some(cycle);
            }
            cycles += 1;
            if cycles == CYCLES_MAX {
                break;
            }
        }
    }
    Ok(shortest.map(|cycle| words::conflicting(facts, &cycle)))
}

/// Several steps within a session are one.
fn joined(facts: &Facts<'_>, cycle: Vec<(OpId, Link)>) -> Vec<(OpId, Link)> {
    let mut joined: Vec<(OpId, Link)> = Vec::new();
    for (id, link) in cycle {
        match joined.last() {
            Some((last, Link::Session))
                if link == Link::Session && facts.sessions[last.0] == facts.sessions[id.0] => {}
            _ => joined.push((id, link)),
        }
    }
    joined
}

/// What sessions did one after the other, and what they read.
fn causes(facts: &Facts<'_>, graph: &mut Graph) -> Result<(), Full> {
    let mut events = Vec::new();
    for op in facts.history.ops() {
        events.push((op.invoked.position, false, op));
        if let Some((end, _)) = op.answer()
            && facts.shown[op.id.0] != Shown::Nothing
        {
            events.push((end.position, true, op));
        }
    }
    events.sort_unstable_by_key(|(position, ..)| *position);
    // By session: what each of its processes was answered last.
    let mut last: Vec<Vec<(u64, OpId)>> = vec![Vec::new(); facts.session_count];
    for (_, answered, op) in events {
        let last = &mut last[facts.sessions[op.id.0]];
        if !answered {
            for (_, before) in last.iter() {
                graph.add(*before, op.id, Link::Session);
            }
            if graph.count > EDGES_MAX {
                let reason = format!("sessions of many processes have more than {EDGES_MAX} steps");
                return Err(Full(reason));
            }
            continue;
        }
        match last.iter_mut().find(|(process, _)| *process == op.process) {
            Some((_, before)) => *before = op.id,
            None => last.push((op.process, op.id)),
        }
        if let Shown::Version(change) = facts.shown[op.id.0]
            && change != op.id
        {
            graph.add(change, op.id, Link::Read);
        }
    }
    Ok(())
}

/// Changes of one key in the order of their revisions.
fn revisions(facts: &Facts<'_>) -> Vec<(OpId, OpId, Link)> {
    let ops = facts.history.ops().iter().filter(|op| is_change(op));
    let mut told: Vec<(&str, u64, OpId)> =
        ops.filter_map(|op| Some((op.action.key(), facts.revision(op.id)?, op.id))).collect();
    told.sort_unstable();
    let pairs = told.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1);
    pairs.map(|pair| (pair[0].2, pair[1].2, Link::Revision)).collect()
}
