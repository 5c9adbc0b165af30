//! An order of the transactions that explains everything, found by carrying them out: each when all that must
//! come before it is done, when its reads see what they saw, and when nobody is left who has to read what it
//! overwrites. Of several the one is next that ended first, or for which one waits that did, as a store would most
//! likely have done it. There is no going back: what is found is an order, and what is not found may still have one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::cycles::ALL;
use super::graph::Graph;
use super::history::{Outcome, TransactionHistory};
use super::infer::Free;
use super::view::View;

/// What is next: commits first, then starts whose commits wait for nothing else, then those that ended first.
type Turn = Reverse<(u8, usize, u32)>;

/// A key, as it is at a moment.
#[derive(Default)]
struct State {
    /// Whose version it is, by place among the writers; `None`: what was there at first.
    version: Option<u32>,
    /// By version, the first one last: how many have yet to read it.
    pending: Vec<u32>,
    /// Who began, will write it, and has not committed.
    locked: Option<u32>,
    /// Writers, and those of them that read the key too: one of these may be whom the others wait for.
    waiting: [BinaryHeap<Turn>; 2],
}

/// What a transaction does to keys of which the order is searched.
#[derive(Default)]
struct Work {
    /// Key, and version by place among the writers.
    reads: Vec<(u32, Option<u32>)>,
    /// Key, and its own place among the writers.
    writes: Vec<(u32, u32)>,
}

/// Whether an order was found. For snapshot isolation (`split`), one of starts and commits.
pub fn found(
    history: &TransactionHistory,
    graph: &Graph,
    free: &[Free],
    split: bool,
    happened: &[bool],
) -> bool {
    let view = View { graph, kinds: ALL, split, rounds: u32::MAX };
    view.sorted().is_some_and(|order| Run::new(history, view, free, &order).all(happened))
}

struct Run<'g> {
    view: View<'g>,
    keys: Vec<State>,
    works: Vec<Work>,
    /// By moment: how many come before it and are not done.
    before: Vec<u32>,
    done: Vec<bool>,
    /// By moment: when it, or the first of those that come after it, ended.
    ends: Vec<usize>,
    ready: BinaryHeap<Turn>,
    /// By moment: which key it was waiting for when it got its turn.
    woken: HashMap<u32, u32>,
    steps: u64,
}

impl<'g> Run<'g> {
    fn new(history: &TransactionHistory, view: View<'g>, free: &[Free], order: &[u32]) -> Run<'g> {
        let mut works: Vec<Work> = Vec::new();
        works.resize_with(view.graph.transactions(), Work::default);
        let mut keys = Vec::new();
        for (key, number) in free.iter().zip(0..) {
            let mut state = State { pending: vec![0; key.writers.len() + 1], ..State::default() };
            for (&writer, place) in key.writers.iter().zip(0..) {
                works[writer as usize].writes.push((number, place));
            }
            for &(reader, version) in &key.readings {
                works[reader as usize].reads.push((number, version));
                state.pending[slot(version, key.writers.len())] += 1;
            }
            keys.push(state);
        }
        let mut before = vec![0; view.moments()];
        for moment in 0..view.moments() {
            for (next, _) in view.after(u32::try_from(moment).expect("a history has fewer events")) {
                before[next as usize] += 1;
            }
        }
        let ends = ends(history, view, order);
        let done = vec![false; view.moments()];
        Run {
            view,
            keys,
            works,
            before,
            done,
            ends,
            ready: BinaryHeap::new(),
            woken: HashMap::new(),
            steps: 0,
        }
    }

    fn all(&mut self, happened: &[bool]) -> bool {
        let mut left = 0;
        for (transaction, _) in (0_u32..).zip(happened).filter(|(_, happened)| **happened) {
            left += 1 + u32::from(self.view.split);
            if self.before[self.view.start(transaction) as usize] == 0 {
                self.queue(self.view.start(transaction));
            }
        }
        let steps_max = 1_000_000 + 50 * (self.done.len() + self.view.graph.edges.len()) as u64;
        while left > 0 {
            self.steps += 1;
            let moment = match self.ready.pop() {
                Some(Reverse((.., moment))) if self.done[moment as usize] => continue,
                Some(Reverse((.., moment))) => match self.blocked(moment, false) {
                    None => moment,
                    Some(key) => {
                        self.wait(moment, key);
                        continue;
                    }
                },
                None => match self.forced() {
                    Some(moment) => moment,
                    None => return false,
                },
            };
            if self.steps > steps_max {
                return false;
            }
            self.carry_out(moment);
            left -= 1;
        }
        true
    }

    fn is_commit(&self, moment: u32) -> bool {
        self.view.split && moment % 2 == 1
    }

    fn transaction(&self, moment: u32) -> u32 {
        moment >> u8::from(self.view.split)
    }

    fn turn(&self, moment: u32) -> Turn {
        let transaction = self.transaction(moment);
        let waits = self.view.split && self.before[self.view.commit(transaction) as usize] > 1;
        let class = if self.is_commit(moment) { 0 } else { 1 + u8::from(waits) };
        Reverse((class, self.ends[moment as usize], moment))
    }

    fn queue(&mut self, moment: u32) {
        self.ready.push(self.turn(moment));
    }

    /// Waits for a key; who also waited for the key that had woken this one is next.
    fn wait(&mut self, moment: u32, key: u32) {
        let turn = self.turn(moment);
        let work = &self.works[self.transaction(moment) as usize];
        let reads = work.reads.iter().any(|(other, _)| *other == key);
        self.keys[key as usize].waiting[usize::from(reads)].push(turn);
        if let Some(other) = self.woken.remove(&moment).filter(|other| *other != key) {
            self.wake(other);
        }
    }

    fn wake(&mut self, key: u32) {
        for reads in [0, 1] {
            if let Some(Reverse((.., moment))) = self.keys[key as usize].waiting[reads].pop() {
                self.woken.insert(moment, key);
                self.queue(moment);
            }
        }
    }

    /// For which key a moment has to wait. `forced`: even if its commit would have to wait.
    fn blocked(&self, moment: u32, forced: bool) -> Option<u32> {
        let transaction = self.transaction(moment);
        let work = &self.works[transaction as usize];
        let commit = self.is_commit(moment);
        if !commit {
            let other = |&&(key, version): &&(u32, Option<u32>)| self.keys[key as usize].version != version;
            if let Some(&(key, _)) = work.reads.iter().find(other) {
                return Some(key);
            }
            let locked = |&&(key, _): &&(u32, u32)| self.keys[key as usize].locked.is_some();
            if let Some(&(key, _)) = work.writes.iter().find(locked) {
                return Some(key);
            }
        }
        if forced {
            return None;
        }
        let read = |&&(key, _): &&(u32, u32)| {
            let state = &self.keys[key as usize];
            let own = !commit && work.reads.iter().any(|(other, _)| *other == key);
            state.pending[slot(state.version, state.pending.len() - 1)] > u32::from(own)
        };
        work.writes.iter().find(read).map(|(key, _)| *key)
    }

    /// Somebody who can at least begin, when nobody can do both.
    fn forced(&mut self) -> Option<u32> {
        if !self.view.split {
            return None;
        }
        let waiting = self.keys.iter().flat_map(|state| state.waiting.iter().flatten());
        self.steps += waiting.clone().count() as u64;
        let able = waiting.filter(|Reverse((.., moment))| {
            !self.done[*moment as usize] && !self.is_commit(*moment) && self.blocked(*moment, true).is_none()
        });
        able.max().map(|Reverse((.., moment))| *moment)
    }

    fn carry_out(&mut self, moment: u32) {
        self.done[moment as usize] = true;
        let (view, transaction) = (self.view, self.transaction(moment));
        let work = std::mem::take(&mut self.works[transaction as usize]);
        let mut touched: Vec<u32> = self.woken.remove(&moment).into_iter().collect();
        if !self.is_commit(moment) {
            for &(key, version) in &work.reads {
                let state = &mut self.keys[key as usize];
                let slot = slot(version, state.pending.len() - 1);
                state.pending[slot] -= 1;
                touched.push(key);
            }
        }
        for &(key, place) in &work.writes {
            let state = &mut self.keys[key as usize];
            if self.view.split && moment.is_multiple_of(2) {
                state.locked = Some(moment);
            } else {
                state.locked = None;
                state.version = Some(place);
                touched.push(key);
            }
        }
        self.works[transaction as usize] = work;
        for (next, _) in view.after(moment) {
            self.before[next as usize] -= 1;
            if self.before[next as usize] == 0 {
                self.queue(next);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for key in touched {
            self.wake(key);
        }
    }
}

/// Where the pending readers of a version are counted.
fn slot(version: Option<u32>, first: usize) -> usize {
    version.map_or(first, |place| place as usize)
}

/// By moment: when it, or the first of those that come after it, ended.
fn ends(history: &TransactionHistory, view: View<'_>, order: &[u32]) -> Vec<usize> {
    let mut ends = vec![usize::MAX; order.len()];
    for &moment in order.iter().rev() {
        let transaction = &history.transactions()[(moment >> u8::from(view.split)) as usize];
        let own = match transaction.completed {
            Some((end, Outcome::Committed)) => end.position,
            _ => usize::MAX,
        };
        let after = view.after(moment).map(|(next, _)| ends[next as usize]).min().unwrap_or(usize::MAX);
        ends[moment as usize] = own.min(after);
    }
    ends
}
