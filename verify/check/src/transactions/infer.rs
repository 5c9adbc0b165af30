//! What the order of transactions tells of the order of versions, and the other way round, until nothing
//! follows any more. Of a register, or of appends that nobody read, the order of versions is known in part; let
//! W and V have written versions of one key.
//!
//! 1. R read W's version (or what was there at first) and W comes before V: then R read before V's commit.
//! 2. R read W's version and V's commit came before R read: then V's version came before W's.
//! 3. Under snapshot isolation two writers of a key do not overlap: if W began before V's commit, W's commit
//!    came before V began.
//!
//! Each holds in every run that the isolation allows, so a cycle that follows is a proof that it was none. To
//! find what comes before what, moments are sorted, and sets of bits are handed along the edges, a block of
//! writers at a time, so that memory is bounded.

use std::collections::HashMap;

use super::cycles::ALL;
use super::graph::{Edge, Graph, Kind, Rule, Why, node};
use super::versions::{Key, Versions};
use super::view::View;

/// Most words of bits held for a block of writers: 64 MiB, twice.
const BLOCK_WORDS: usize = 8 * 1024 * 1024;
/// Most words of bits handed along edges, in all: some seconds.
pub const WORDS_MAX: u64 = 4_000_000_000;

/// A key whose versions have no complete order.
#[derive(Clone, Debug)]
pub struct Free {
    pub key: u32,
    pub writers: Vec<u32>,
    /// Who read whose version, of the writers by their place; `None`: what was there at first.
    pub readings: Vec<(u32, Option<u32>)>,
}

/// The keys of which something can be inferred.
pub fn free(versions: &Versions<'_>) -> Vec<Free> {
    let mut found = Vec::new();
    for ((_, key), number) in versions.keys.iter().zip(0..) {
        match key {
            // Readers of a list come before what nobody read, and that is known.
            Key::List(list) if list.unseen.len() > 1 => {
                let writers = list.unseen.iter().copied().map(node).collect();
                found.push(Free { key: number, writers, readings: Vec::new() });
            }
            Key::Register(register) if !register.writers.is_empty() => {
                let writers: Vec<u32> = register.writers.iter().map(|writer| node(writer.by)).collect();
                let places: HashMap<u32, u32> = writers.iter().copied().zip(0..).collect();
                let reading = |(reader, version): &(_, Option<_>)| {
                    let version = version.map(|writer| places.get(&node(writer)).copied());
                    // A version of which it is not known that it took effect is dirty, and told as such.
                    Some((node(*reader), version.map_or(Some(None), |place| place.map(Some))?))
                };
                let readings = register.readings.iter().filter_map(reading).collect();
                found.push(Free { key: number, writers, readings });
            }
            Key::List(_) | Key::Register(_) => {}
        }
    }
    found
}

/// How inferring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inferred {
    /// Nothing more follows.
    All,
    /// There is a cycle.
    Cycle,
    /// There is too much of it.
    GaveUp,
}

/// Adds what follows to the graph. `round` counts on; `words` is what may still be spent.
pub fn infer(graph: &mut Graph, free: &[Free], split: bool, round: &mut u32, words: &mut u64) -> Inferred {
    loop {
        let view = View { graph, kinds: ALL, split, rounds: u32::MAX };
        let Some(order) = view.sorted() else { return Inferred::Cycle };
        *round += 1;
        let mut pass = Pass::new(view, &order, free, *round);
        if !pass.all(words) {
            return Inferred::GaveUp;
        }
        let mut more = pass.more;
        more.sort_unstable();
        more.dedup_by_key(|edge| (edge.from, edge.to, edge.kind));
        let before = graph.edges.len();
        if graph.extend(more).is_none() {
            return Inferred::GaveUp;
        }
        if graph.edges.len() == before {
            return Inferred::All;
        }
    }
}

/// One look at all keys.
struct Pass<'g> {
    view: View<'g>,
    order: &'g [u32],
    keys: Vec<Columns<'g>>,
    columns: usize,
    round: u32,
    more: Vec<Edge>,
}

/// A key's writers as columns of bits, in the order of their commits.
struct Columns<'g> {
    free: &'g Free,
    first: usize,
    /// By column from the first: the writer.
    writers: Vec<u32>,
    /// By transaction.
    by: HashMap<u32, usize>,
}

impl<'g> Pass<'g> {
    fn new(view: View<'g>, order: &'g [u32], free: &'g [Free], round: u32) -> Pass<'g> {
        let mut places = vec![0; order.len()];
        for (&moment, place) in order.iter().zip(0..) {
            places[moment as usize] = place;
        }
        let (mut keys, mut columns) = (Vec::new(), 0);
        for free in free {
            let mut sorted: Vec<usize> = (0..free.writers.len()).collect();
            sorted.sort_unstable_by_key(|&place| places[view.commit(free.writers[place]) as usize]);
            let writers: Vec<u32> = sorted.iter().map(|&place| free.writers[place]).collect();
            let by = writers.iter().copied().zip(columns..).collect();
            keys.push(Columns { free, first: columns, writers, by });
            columns += sorted.len();
        }
        Pass { view, order, keys, columns, round, more: Vec::new() }
    }

    /// Applies the rules, a block of columns at a time. `false` if that takes too long.
    fn all(&mut self, words: &mut u64) -> bool {
        let width = self.columns.div_ceil(64).clamp(1, (BLOCK_WORDS / self.order.len().max(1)).max(1));
        let moved = (self.view.graph.edges.len() + self.order.len()) * width * 2;
        for from in (0..self.columns).step_by(width * 64) {
            let Some(left) = words.checked_sub(moved as u64) else { return false };
            *words = left;
            let block = Block { from, to: (from + width * 64).min(self.columns), width };
            let later = self.later(&block);
            self.read_earlier(&block, &later);
            if self.view.split {
                self.no_overlap(&block, &later);
            }
            drop(later);
            let earlier = self.earlier(&block);
            self.seen_later(&block, &earlier);
        }
        true
    }

    /// By moment: which commits come after it, or are it.
    fn later(&self, block: &Block) -> Bits {
        let mut bits = self.own(block);
        for &moment in self.order.iter().rev() {
            for (next, _) in self.view.after(moment) {
                bits.merge(moment, next);
            }
        }
        bits
    }

    /// By moment: which commits come before it, or are it.
    fn earlier(&self, block: &Block) -> Bits {
        let mut bits = self.own(block);
        for &moment in self.order {
            for (next, _) in self.view.after(moment) {
                bits.merge(next, moment);
            }
        }
        bits
    }

    fn own(&self, block: &Block) -> Bits {
        let mut bits = Bits { words: vec![0; self.order.len() * block.width], width: block.width };
        for key in &self.keys {
            for (&writer, column) in key.writers.iter().zip(key.first..) {
                if (block.from..block.to).contains(&column) {
                    bits.set(self.view.commit(writer), column - block.from);
                }
            }
        }
        bits
    }

    fn read_earlier(&mut self, block: &Block, later: &Bits) {
        let mut more = Vec::new();
        for key in &self.keys {
            let Some(range) = block.part(key) else { continue };
            for &(reader, version) in &key.free.readings {
                let from = version.map(|place| self.view.commit(key.free.writers[place as usize]));
                let mut rest = block.rest(&range, from.map(|moment| later.row(moment)));
                rest.clear(later.row(self.view.start(reader)));
                rest.take([Some(reader), version.map(|place| key.free.writers[place as usize])], key);
                while let Some(column) = rest.first() {
                    let writer = key.writers[column - key.first];
                    rest.clear(later.row(self.view.commit(writer)));
                    more.push(self.edge(reader, writer, Kind::Rw, key, Rule::ReadEarlier));
                }
            }
        }
        self.more.extend(more);
    }

    fn seen_later(&mut self, block: &Block, earlier: &Bits) {
        let mut more = Vec::new();
        for key in &self.keys {
            let Some(range) = block.part(key) else { continue };
            for &(reader, version) in &key.free.readings {
                let Some(place) = version else { continue };
                let wrote = key.free.writers[place as usize];
                let mut rest = block.rest(&range, Some(earlier.row(self.view.start(reader))));
                rest.clear(earlier.row(self.view.start(wrote)));
                rest.take([Some(reader), Some(wrote)], key);
                while let Some(column) = rest.last() {
                    let writer = key.writers[column - key.first];
                    rest.clear(earlier.row(self.view.start(writer)));
                    rest.take([Some(writer), None], key);
                    more.push(self.edge(writer, wrote, Kind::Ww, key, Rule::SeenLater(reader)));
                }
            }
        }
        self.more.extend(more);
    }

    fn no_overlap(&mut self, block: &Block, later: &Bits) {
        let mut more = Vec::new();
        for key in &self.keys {
            let Some(range) = block.part(key) else { continue };
            for &first in &key.writers {
                let mut rest = block.rest(&range, Some(later.row(self.view.start(first))));
                rest.take([Some(first), None], key);
                while let Some(column) = rest.first() {
                    let second = key.writers[column - key.first];
                    rest.clear(later.row(self.view.start(second)));
                    more.push(self.edge(first, second, Kind::Ww, key, Rule::NoOverlap));
                }
            }
        }
        self.more.extend(more);
    }

    fn edge(&self, from: u32, to: u32, kind: Kind, key: &Columns<'_>, rule: Rule) -> Edge {
        let why = Why::Inferred { round: self.round, rule, split: self.view.split };
        Edge { from, to, kind, key: key.free.key, why }
    }
}

/// Some columns.
struct Block {
    from: usize,
    to: usize,
    /// In words.
    width: usize,
}

impl Block {
    /// Which of the block's columns are a key's.
    fn part(&self, key: &Columns<'_>) -> Option<std::ops::Range<usize>> {
        let range = self.from.max(key.first)..self.to.min(key.first + key.writers.len());
        (range.start < range.end).then_some(range)
    }

    /// Those columns of a range that are set in a row, or all.
    fn rest(&self, range: &std::ops::Range<usize>, row: Option<&[u64]>) -> Rest {
        let (start, end) = (range.start - self.from, range.end - self.from);
        let words = start / 64..end.div_ceil(64);
        let mut rest = Rest { from: self.from, at: words.start, words: vec![u64::MAX; words.len()] };
        if let Some(row) = row {
            rest.words.copy_from_slice(&row[words]);
        }
        if let Some(word) = rest.words.first_mut() {
            *word &= u64::MAX << (start % 64);
        }
        if let Some(word) = rest.words.last_mut().filter(|_| !end.is_multiple_of(64)) {
            *word &= (1 << (end % 64)) - 1;
        }
        rest
    }
}

/// Columns that are yet to be looked at.
struct Rest {
    /// The block's first column.
    from: usize,
    /// Which of its words is the first here.
    at: usize,
    words: Vec<u64>,
}

impl Rest {
    /// Leaves out what is set in a row.
    fn clear(&mut self, row: &[u64]) {
        for (word, other) in self.words.iter_mut().zip(&row[self.at..]) {
            *word &= !other;
        }
    }

    /// Leaves out the columns of transactions.
    fn take(&mut self, transactions: [Option<u32>; 2], key: &Columns<'_>) {
        for column in transactions.into_iter().flatten().filter_map(|transaction| key.by.get(&transaction)) {
            let word = column.checked_sub(self.from + self.at * 64).map(|place| place / 64);
            if let Some(word) = word.and_then(|word| self.words.get_mut(word)) {
                *word &= !(1 << ((column - self.from) % 64));
            }
        }
    }

    fn first(&self) -> Option<usize> {
        let (number, word) = self.words.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(self.from + (self.at + number) * 64 + word.trailing_zeros() as usize)
    }

    fn last(&self) -> Option<usize> {
        let (number, word) = self.words.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        Some(self.from + (self.at + number) * 64 + word.ilog2() as usize)
    }
}

/// A row of bits for each moment.
struct Bits {
    words: Vec<u64>,
    width: usize,
}

impl Bits {
    fn row(&self, moment: u32) -> &[u64] {
        let from = moment as usize * self.width;
        &self.words[from..from + self.width]
    }

    fn set(&mut self, moment: u32, column: usize) {
        self.words[moment as usize * self.width + column / 64] |= 1 << (column % 64);
    }

    /// Adds a row to another.
    fn merge(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize * self.width, from as usize * self.width);
        for at in 0..self.width {
            self.words[into + at] |= self.words[from + at];
        }
    }
}
