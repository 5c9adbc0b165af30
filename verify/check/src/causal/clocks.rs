//! Which changes are among the causes of what: vector clocks over chains of changes.
//!
//! The acknowledged changes of one process within one session are a chain: each has those before among its
//! causes. A change of unknown outcome that was read is put at the end of any chain of such that is among its
//! causes, or begins one. So a clock has about as many entries as there are processes, however long the history is.
//!
//! Events are gone through in their order. That is an order of causes too, since nothing is read before its write
//! was invoked; histories where it is are judged before.

use std::collections::{BTreeMap, HashMap};

use crate::facts::{Facts, Shown, is_change};
use crate::history::{Action, Op, OpId};
use crate::terms::Level;

use super::{CLOCK_ENTRIES_MAX, EDGES_MAX};

/// A limit was reached.
pub struct Full(pub String);

/// How many changes of each chain are among the causes; what is missing at the end is 0.
#[derive(Clone, Debug, Default)]
struct Clock(Vec<u32>);

impl Clock {
    fn get(&self, chain: usize) -> u32 {
        self.0.get(chain).copied().unwrap_or(0)
    }

    fn join(&mut self, other: &Clock) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = (*own).max(*other);
        }
    }

    fn see(&mut self, place: Place) {
        if self.0.len() <= place.chain {
            self.0.resize(place.chain + 1, 0);
        }
        self.0[place.chain] = self.0[place.chain].max(place.index);
    }
}

/// Where a change is: the `index`th of its chain, from 1.
#[derive(Clone, Copy, Debug)]
struct Place {
    chain: usize,
    index: u32,
}

/// The changes of one key in one chain: index and change, ascending.
type Line = Vec<(u32, OpId)>;

#[derive(Clone, Copy)]
enum Event {
    Invoked(OpId),
    Answered(OpId),
}

/// See the module.
pub struct Causes<'a> {
    facts: &'a Facts<'a>,
    events: Vec<(usize, Event)>,
    next: usize,
    /// The read that was answered last: its causes are forgotten when the next event is looked at.
    judged: Option<OpId>,
    /// Whether somebody read it, by operation.
    seen: Vec<bool>,
    /// By operation: the causes of a change, or of a read that has begun.
    clocks: Vec<Clock>,
    places: Vec<Option<Place>>,
    /// What each session knows.
    sessions: Vec<Clock>,
    /// The chain of a process in a session.
    chains: HashMap<(usize, u64), usize>,
    /// By chain, how many there are.
    lengths: Vec<u32>,
    /// Chains of changes of unknown outcome.
    unknown: Vec<usize>,
    /// By key, and whether it is a value: its changes, by chain.
    keys: HashMap<(&'a str, bool), BTreeMap<usize, Line>>,
    entries: usize,
    conflicts: Vec<Conflict>,
}

/// A change that must have come before another of its key, since a read that had it among its causes showed the other.
#[derive(Clone, Copy, Debug)]
pub struct Conflict {
    /// The earlier.
    pub before: OpId,
    /// The later.
    pub after: OpId,
    /// The read that tells.
    pub read: OpId,
}

impl<'a> Causes<'a> {
    /// Nothing has happened yet.
    pub fn new(facts: &'a Facts<'a>) -> Causes<'a> {
        let ops = facts.history.ops();
        let (mut seen, mut events) = (vec![false; ops.len()], Vec::new());
        for op in ops {
            if let Shown::Version(change) = facts.shown[op.id.0] {
                seen[change.0] = true;
            }
            events.push((op.invoked.position, Event::Invoked(op.id)));
            if let Some((end, _)) = op.answer() {
                events.push((end.position, Event::Answered(op.id)));
            }
        }
        events.sort_unstable_by_key(|(position, _)| *position);
        Causes {
            facts,
            events,
            next: 0,
            judged: None,
            seen,
            clocks: vec![Clock::default(); ops.len()],
            places: vec![None; ops.len()],
            sessions: vec![Clock::default(); facts.session_count],
            chains: HashMap::new(),
            lengths: Vec::new(),
            unknown: Vec::new(),
            keys: HashMap::new(),
            entries: 0,
            conflicts: Vec::new(),
        }
    }

    /// Goes on to the next answer to a read that must be causal, and whose causes are known now.
    pub fn next_read(&mut self) -> Result<Option<&'a Op>, Full> {
        while let Some((_, event)) = self.events.get(self.next) {
            self.next += 1;
            if let Some(read) = self.judged.take() {
                self.clocks[read.0] = Clock::default();
            }
            match *event {
                Event::Invoked(id) => self.invoked(id)?,
                Event::Answered(id) => {
                    let op = self.facts.op(id);
                    self.answered(op);
                    if matches!(op.action, Action::Read { .. }) {
                        self.judged = Some(id);
                        if op.owes(Level::Causal) {
                            return Ok(Some(op));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    fn invoked(&mut self, id: OpId) -> Result<(), Full> {
        let op = self.facts.op(id);
        let session = self.facts.sessions[id.0];
        let acknowledged = self.facts.shown[id.0] == Shown::Version(id);
        let happened = acknowledged || (is_change(op) && self.seen[id.0]);
        if self.facts.shown[id.0] == Shown::Nothing && !happened {
            return Ok(());
        }
        self.clocks[id.0] = self.sessions[session].clone();
        if !happened {
            return Ok(());
        }
        self.entries += self.clocks[id.0].0.len();
        if self.entries > CLOCK_ENTRIES_MAX {
            let reason = format!(
                "the causes of {} changes of {} chains need more than {CLOCK_ENTRIES_MAX} entries",
                self.facts.history.ops().len(),
                self.lengths.len()
            );
            return Err(Full(reason));
        }
        let chain = if acknowledged { self.chain_of(session, op.process) } else { self.chain_of_unknown(id) };
        self.lengths[chain] += 1;
        let place = Place { chain, index: self.lengths[chain] };
        self.places[id.0] = Some(place);
        let lines = self.keys.entry((op.action.key(), self.facts.is_value(id))).or_default();
        lines.entry(chain).or_default().push((place.index, id));
        Ok(())
    }

    fn chain_of(&mut self, session: usize, process: u64) -> usize {
        let next = self.lengths.len();
        let chain = *self.chains.entry((session, process)).or_insert(next);
        if chain == next {
            self.lengths.push(0);
        }
        chain
    }

    fn chain_of_unknown(&mut self, id: OpId) -> usize {
        let clock = &self.clocks[id.0];
        if let Some(chain) = self.unknown.iter().find(|chain| clock.get(**chain) == self.lengths[**chain]) {
            return *chain;
        }
        self.unknown.push(self.lengths.len());
        self.lengths.push(0);
        self.lengths.len() - 1
    }

    fn answered(&mut self, op: &Op) {
        let Shown::Version(change) = self.facts.shown[op.id.0] else {
            if self.facts.shown[op.id.0] != Shown::Nothing {
                self.sessions[self.facts.sessions[op.id.0]].join(&self.clocks[op.id.0]);
            }
            return;
        };
        let place = self.places[change.0].expect("what was seen has its place from its invocation on");
        let mut clock = if change == op.id {
            self.clocks[op.id.0].clone()
        } else {
            std::mem::take(&mut self.clocks[op.id.0])
        };
        clock.join(&self.clocks[change.0]);
        clock.see(place);
        self.sessions[self.facts.sessions[op.id.0]].join(&clock);
        if change != op.id {
            self.clocks[op.id.0] = clock;
        }
    }

    /// Whether one change is among the causes of another.
    pub fn is_before(&self, one: OpId, other: OpId) -> bool {
        self.places[one.0].is_some_and(|place| self.clocks[other.0].get(place.chain) >= place.index)
    }

    /// Of the changes of a read's key that are among its causes, the last of each chain, and perhaps others.
    pub fn known(&self, read: &Op) -> impl Iterator<Item = OpId> {
        [true, false].into_iter().flat_map(|values| self.last_known(read, values))
    }

    /// Of those that left a value.
    pub fn known_values(&self, read: &Op) -> impl Iterator<Item = OpId> {
        self.last_known(read, true)
    }

    fn last_known(&self, read: &Op, values: bool) -> impl Iterator<Item = OpId> {
        let clock = &self.clocks[read.id.0];
        // The lookup needs the history's own text.
        let lines = self.keys.get(&(self.facts.op(read.id).action.key(), values));
        lines.into_iter().flatten().filter_map(move |(chain, line)| {
            let known = line.partition_point(|(index, _)| *index <= clock.get(*chain));
            Some(line[known.checked_sub(1)?].1)
        })
    }

    /// Notes which changes a read tells to have come before what it shows.
    pub fn note_conflicts(&mut self, read: &Op) -> Result<(), Full> {
        let Shown::Version(after) = self.facts.shown[read.id.0] else { return Ok(()) };
        let earlier = self.known(read).filter(|&before| before != after && !self.is_before(before, after));
        let new: Vec<OpId> = earlier.collect();
        self.conflicts.extend(new.into_iter().map(|before| Conflict { before, after, read: read.id }));
        if self.conflicts.len() > EDGES_MAX {
            let reason = format!("what reads tell of the order of changes is more than {EDGES_MAX} pairs");
            return Err(Full(reason));
        }
        Ok(())
    }

    /// All that was noted.
    pub fn conflicts(self) -> Vec<Conflict> {
        self.conflicts
    }
}
