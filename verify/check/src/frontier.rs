//! Breadth-first search, event by event: what can have happened so far? After Lowe's just-in-time
//! linearization ("Testing for Linearizability", 2017): an operation is ordered only when its end
//! forces somebody's hand, so a history that is impossible near its end costs no more than a valid one,
//! and memory is that of one moment, not of the whole history.
//!
//! The **frontier** holds every configuration in which all operations that have ended are ordered: what
//! the keys are, which of the open operations are ordered too, and how many ghosts (operations of unknown
//! outcome) were taken. When an operation ends, the configurations without it are carried on by open
//! operations and ghosts until it is in. If none is left, nothing explains the history.
//!
//! What cannot matter is not told apart:
//!
//! - A configuration that took more ghosts than another one, and has seen no more of the open
//!   observations, can do nothing that the other cannot: it is dropped.
//! - Each operation is helped by at most one ghost of a class. So where more of a class are left than
//!   operations that ghosts can help, they are as good as endless, and are not counted; nor are those
//!   that leave a value which nobody names from here on.
//! - A value that nobody names from here on is like any other such value.
//! - A write of such a value, where nobody can notice it, is ordered at no cost just before a write that
//!   covers it.
//!
//! The choices that are none, as the search in depth has them, hold here too.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::limits::{Limit, Meter};
use crate::problem::{Certain, KeyIndex, Problem};
use crate::register::{ABSENT, State, Step, UNREAD};

/// Most operations on a key that are open at once: a set of them is a number of so many bits.
pub const OPEN_MAX: usize = 128;

/// No key.
const NONE: KeyIndex = usize::MAX;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The end: there is an explanation.
    End,
    /// Not further than here: there is none. This answer need not be the first that is impossible, since
    /// what came later was taken into account, but it is near.
    Nothing {
        /// Where the operation ended that could not be ordered.
        position: usize,
    },
    /// A limit.
    Limit(Limit),
    /// More than [`OPEN_MAX`] open operations: this search is not for such histories.
    Crowded,
}

/// One way in which everything that ended can be explained.
#[derive(Clone, Debug)]
struct Config {
    group: Group,
    tail: Tail,
}

/// Configurations with the same group may dominate each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    states: Box<[State]>,
    /// Which open operations that change something are ordered.
    changes: u128,
    /// The key on which a ghost was taken that nobody has made use of yet.
    unused: KeyIndex,
}

#[derive(Clone, Debug)]
struct Tail {
    /// Which open operations that nobody can notice are ordered.
    seen: u128,
    /// Class and how many were taken, for those of which some were; ascending.
    ghosts: Box<[(u32, u32)]>,
}

impl Tail {
    /// Whether whatever can follow `other` can follow this.
    fn dominates(&self, other: &Tail) -> bool {
        if self.seen | other.seen != self.seen {
            return false;
        }
        let mut others = other.ghosts.iter();
        self.ghosts.iter().all(|(class, count)| {
            others.find(|(of, _)| of >= class).is_some_and(|(of, taken)| of == class && taken >= count)
        })
    }

    fn taken(&self, class: usize) -> u32 {
        let place = self.ghosts.binary_search_by_key(&(class as u32), |(of, _)| *of);
        place.map_or(0, |place| self.ghosts[place].1)
    }

    fn take(&mut self, class: usize) {
        let mut ghosts = std::mem::take(&mut self.ghosts).into_vec();
        match ghosts.binary_search_by_key(&(class as u32), |(of, _)| *of) {
            Ok(place) => ghosts[place].1 += 1,
            Err(place) => ghosts.insert(place, (class as u32, 1)),
        }
        self.ghosts = ghosts.into();
    }
}

/// Configurations none of which dominates another.
#[derive(Default)]
struct Set {
    /// The hasher has no entropy: a search always takes the same steps.
    groups: HashMap<Group, Vec<Tail>, BuildHasherDefault<DefaultHasher>>,
    bytes: usize,
}

impl Set {
    /// Whether it is new; from now on it is in.
    fn insert(&mut self, config: &Config, meter: &mut Meter) -> bool {
        let tails = match self.groups.get_mut(&config.group) {
            Some(tails) => tails,
            None => self.groups.entry(config.group.clone()).or_default(),
        };
        if tails.iter().any(|tail| tail.dominates(&config.tail)) {
            return false;
        }
        tails.retain(|tail| !config.tail.dominates(tail));
        tails.push(config.tail.clone());
        let bytes = config.bytes();
        meter.hold(bytes);
        self.bytes += bytes;
        true
    }

    fn into_configs(self) -> impl Iterator<Item = Config> {
        self.groups.into_iter().flat_map(|(group, tails)| {
            tails.into_iter().map(move |tail| Config { group: group.clone(), tail })
        })
    }
}

impl Config {
    /// What it takes to hold it in a set and in a list.
    fn bytes(&self) -> usize {
        2 * (size_of::<Config>() + size_of_val(&*self.group.states) + size_of_val(&*self.tail.ghosts))
    }
}

/// A search in one problem.
struct Frontier<'a> {
    problem: &'a Problem,
    /// By certain operation: its place among those of its key with known revision.
    rank: Vec<usize>,
    closed: Vec<bool>,
    /// By key: all changes of known revision before this place are closed.
    closed_rank: Vec<usize>,
    /// By key: how many operations are not closed that a ghost can help.
    helped: Vec<usize>,
    /// By class: how many ghosts were invoked by now.
    invoked: Vec<usize>,
    /// Which operation has a bit, and which bits are free.
    open: Vec<(usize, u32)>,
    free: Vec<u32>,
    /// Where the operation whose end is being handled ended.
    now: usize,
}

/// Searches, within the limits of `meter`.
pub fn reach(problem: &Problem, meter: &mut Meter) -> Reached {
    let mut rank = vec![0; problem.certain.len()];
    for facts in &problem.keys {
        (0..).zip(&facts.by_revision).for_each(|(place, &i)| rank[i] = place);
    }
    let mut helped = vec![0; problem.keys.len()];
    for (key, step) in problem.certain.iter().flat_map(Certain::parts) {
        helped[key] += usize::from(!step.is_blind());
    }
    let frontier = Frontier {
        problem,
        rank,
        helped,
        invoked: vec![0; problem.ghosts.len()],
        closed: vec![false; problem.certain.len()],
        closed_rank: vec![0; problem.keys.len()],
        open: Vec::new(),
        free: (0..OPEN_MAX as u32).rev().collect(),
        now: 0,
    };
    frontier.run(meter).unwrap_or_else(Reached::Limit)
}

impl Frontier<'_> {
    fn run(mut self, meter: &mut Meter) -> Result<Reached, Limit> {
        let mut ends: Vec<usize> = (0..self.problem.certain.len()).collect();
        ends.sort_by_key(|&i| self.problem.certain[i].until);
        let states = vec![State::INITIAL; self.problem.keys.len()].into();
        let group = Group { states, changes: 0, unused: NONE };
        let mut configs = vec![Config { group, tail: Tail { seen: 0, ghosts: Box::default() } }];
        let mut begun = 0;
        for ending in ends {
            self.now = self.problem.certain[ending].until;
            while self.problem.certain.get(begun).is_some_and(|op| op.from < self.now) {
                let Some(bit) = self.free.pop() else { return Ok(Reached::Crowded) };
                self.open.push((begun, bit));
                begun += 1;
            }
            for (class, ghosts) in self.problem.ghosts.iter().enumerate() {
                let later = &ghosts.ops[self.invoked[class]..];
                self.invoked[class] += later.iter().take_while(|(from, _)| *from < self.now).count();
            }
            configs = self.carry_past(ending, configs, meter)?;
            if configs.is_empty() {
                return Ok(Reached::Nothing { position: self.now });
            }
        }
        Ok(Reached::End)
    }

    /// Every configuration, carried on until `ending` is ordered; then that is closed.
    fn carry_past(
        &mut self,
        ending: usize,
        configs: Vec<Config>,
        meter: &mut Meter,
    ) -> Result<Vec<Config>, Limit> {
        let place = self.open.iter().position(|(i, _)| *i == ending).expect("what ends is open");
        let (_, bit) = self.open[place];
        let (mut arrived, mut passed) = (Set::default(), Set::default());
        let mut left = Vec::new();
        for mut config in configs {
            meter.step()?;
            self.settle(&mut config);
            if config.has(bit) {
                config.clear(bit);
                arrived.insert(&config, meter);
            } else if passed.insert(&config, meter) {
                left.push(config);
            }
        }
        let mut next = 0;
        while next < left.len() {
            let config = left[next].clone();
            next += 1;
            for mut config in self.moves(&config) {
                meter.step()?;
                self.settle(&mut config);
                if config.has(bit) {
                    config.clear(bit);
                    // A ghost that nobody has made use of can as well be taken later.
                    if config.group.unused == NONE {
                        arrived.insert(&config, meter);
                    }
                } else if passed.insert(&config, meter) {
                    left.push(config);
                }
            }
        }
        self.open.swap_remove(place);
        self.free.push(bit);
        self.closed[ending] = true;
        for (key, step) in self.problem.certain[ending].parts() {
            self.helped[key] -= usize::from(!step.is_blind());
        }
        let key = self.problem.certain[ending].key;
        let by_revision = &self.problem.keys[key].by_revision;
        while by_revision.get(self.closed_rank[key]).is_some_and(|&i| self.closed[i]) {
            self.closed_rank[key] += 1;
        }
        meter.release(arrived.bytes + passed.bytes);
        Ok(arrived.into_configs().collect())
    }

    /// What follows without a choice: values that nobody names any more are alike, and what can be
    /// ordered without changing anything is.
    fn settle(&self, config: &mut Config) {
        for (state, facts) in config.group.states.iter_mut().zip(&self.problem.keys) {
            if state.value != ABSENT && facts.values[state.value as usize].named_until < self.now {
                state.value = UNREAD;
            }
        }
        if config.tail.ghosts.iter().any(|&(class, taken)| !self.counts(class as usize, taken)) {
            let ghosts = config.tail.ghosts.iter().copied();
            config.tail.ghosts =
                ghosts.filter(|&(class, taken)| self.counts(class as usize, taken)).collect();
        }
        for &(i, bit) in &self.open {
            let op = &self.problem.certain[i];
            let state = config.group.states[op.key];
            let leaves_it = match op.step.is_observation() {
                true => self.problem.after(&config.group.states, op) == Some(state),
                false => state.value == UNREAD && self.is_idle(op),
            };
            if leaves_it && !config.has(bit) {
                self.order(config, i, bit);
            }
        }
    }

    /// Whether how many of the class were taken still matters.
    fn counts(&self, class: usize, taken: u32) -> bool {
        let ghosts = &self.problem.ghosts[class];
        let left = self.invoked[class] - taken as usize;
        let value = ghosts.step.leaves().filter(|&value| value != ABSENT && value != UNREAD);
        let unnamed = value
            .is_some_and(|value| self.problem.keys[ghosts.key].values[value as usize].named_until < self.now);
        left < self.helped[ghosts.key] && !unnamed
    }

    /// Whether it writes what nobody names, and nobody can notice.
    fn is_idle(&self, op: &Certain) -> bool {
        let facts = &self.problem.keys[op.key];
        match op.step {
            Step::Write { value, revision: None } => {
                let unnamed = facts.values[value as usize].named_until < self.now;
                unnamed && !facts.unread_matters && !facts.revisions.named
            }
            _ => false,
        }
    }

    /// Notes that the operation is ordered.
    fn order(&self, config: &mut Config, i: usize, bit: u32) {
        let op = &self.problem.certain[i];
        let facts = &self.problem.keys[op.key];
        // Always the same for one operation, or sets could not be compared.
        let unread = matches!(op.step, Step::Write { value: UNREAD, revision: None });
        let unnoticed = unread && !facts.unread_matters && !facts.revisions.named;
        if op.step.is_observation() || unnoticed {
            config.tail.seen |= 1 << bit;
        } else {
            config.group.changes |= 1 << bit;
        }
        if op.parts().any(|(key, _)| key == config.group.unused) {
            config.group.unused = NONE;
        }
    }

    /// Every configuration one step further.
    fn moves(&self, config: &Config) -> Vec<Config> {
        let mut moves = Vec::new();
        for &(i, bit) in &self.open {
            let op = &self.problem.certain[i];
            if config.has(bit) || op.step.is_blind() && config.group.unused == op.key {
                continue;
            }
            let Some(after) = self.problem.after(&config.group.states, op) else { continue };
            if !self.may_change(config, op.key, op.step, Some(i), after) {
                continue;
            }
            let mut next = config.clone();
            next.group.states[op.key] = after;
            self.order(&mut next, i, bit);
            if op.step.is_blind() {
                self.cover(&mut next, op.key);
            }
            moves.push(next);
        }
        let waiting = self.open.iter().filter(|&&(_, bit)| !config.has(bit));
        let waiting = waiting.map(|&(i, _)| &self.problem.certain[i]);
        for class in self.problem.helpful(waiting, &config.group.states) {
            let ghosts = &self.problem.ghosts[class];
            let taken = config.tail.taken(class);
            let waits = (taken as usize) < self.invoked[class];
            if !waits || config.group.unused == ghosts.key && ghosts.step.is_blind() {
                continue;
            }
            let (key, step) = (ghosts.key, ghosts.step);
            let before = config.group.states[key];
            let Some(after) = self.problem.apply(&config.group.states, key, step) else { continue };
            if !self.problem.keys[key].ghost_is_useful(step, before, after)
                || !self.may_change(config, key, step, None, after)
            {
                continue;
            }
            let mut next = config.clone();
            next.group.states[key] = after;
            next.group.unused = key;
            next.tail.take(class);
            moves.push(next);
        }
        moves
    }

    /// What nobody can notice is ordered just before a blind change of the key.
    fn cover(&self, config: &mut Config, key: KeyIndex) {
        for &(i, bit) in &self.open {
            let op = &self.problem.certain[i];
            if op.key == key && !config.has(bit) && self.is_idle(op) {
                self.order(config, i, bit);
            }
        }
    }

    /// Whether the key may change so, of what is possible: not while somebody needs the value that is
    /// never there again, and changes of known revision come in the order of these.
    fn may_change(
        &self,
        config: &Config,
        key: KeyIndex,
        step: Step,
        certain: Option<usize>,
        after: State,
    ) -> bool {
        let (facts, before) = (&self.problem.keys[key], config.group.states[key]);
        let uses = facts.values[before.value as usize];
        let changes = !step.is_observation() && after != before;
        if changes && uses.once && uses.needs > 0 {
            let needed_later = uses.needed_from >= self.now;
            let needed_now = || {
                self.open.iter().any(|&(other, bit)| {
                    let needs =
                        |(of, step): (KeyIndex, Step)| of == key && step.needs() == Some(before.value);
                    Some(other) != certain
                        && !config.has(bit)
                        && self.problem.certain[other].parts().any(needs)
                })
            };
            if needed_later || needed_now() {
                return false;
            }
        }
        if facts.by_revision.is_empty() {
            return true;
        }
        let ordered =
            |i: usize| self.closed[i] || self.open.iter().any(|&(open, bit)| open == i && config.has(bit));
        let from = self.closed_rank[key];
        let next = facts.by_revision[from..].iter().position(|&i| !ordered(i));
        let mut next = next.map_or(facts.by_revision.len(), |next| from + next);
        if let Some(i) = certain.filter(|_| step.taken().is_some()) {
            if self.rank[i] != next {
                return false;
            }
            next += 1;
        }
        let following = facts.by_revision.get(next).and_then(|&i| self.problem.certain[i].step.taken());
        following.is_none_or(|revision| revision > after.revision_min)
    }
}

impl Config {
    fn has(&self, bit: u32) -> bool {
        (self.group.changes | self.tail.seen) >> bit & 1 == 1
    }

    fn clear(&mut self, bit: u32) {
        self.group.changes &= !(1 << bit);
        self.tail.seen &= !(1 << bit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::history::Op;
    use crate::prepare::prepare;
    use crate::runs::small::{draws, history};
    use crate::search::{Found, search};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Tiny histories are always decided in depth, which is compared with trying all orders.
        #[test]
        fn finds_what_the_search_in_depth_finds(draws in vec((draws(), any::<bool>(), 1..3_u8), 40)) {
            for (draws, unique, keys) in draws {
                let history = history(&draws, unique, keys);
                let ops: Vec<&Op> = history.ops().iter().collect();
                let problem = prepare(&["k0", "k1"][..keys.into()], &ops);
                let there_is_one = matches!(search(&problem, &mut Meter::new(1_000_000)), Found::Order(_));
                let reached = reach(&problem, &mut Meter::new(1_000_000));
                prop_assert_eq!(reached == Reached::End, there_is_one, "{:?} {:#?}", reached, ops);
            }
        }
    }
}
