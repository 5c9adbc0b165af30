//! Depth-first search for an order of the operations that explains what was seen: Wing and
//! Gong, "Testing and Verifying Concurrent Objects" (1993), with the memory of visited configurations
//! of Lowe, "Testing for Linearizability" (2017).
//!
//! A configuration is which operations are ordered so far, and the state they lead to. Operations are
//! sorted by invocation, so the ordered ones are a full prefix and a few bits behind it: remembering
//! one costs a few words however long the history is.
//!
//! Some choices are not choices, and are taken or skipped without branching:
//!
//! - An observation that fits the state exactly, and leaves it, is taken at once: whatever order comes
//!   later, it can be moved here without disturbing anything.
//! - Changes of known revision come in the order of their revisions.
//! - While operations that need the present value remain, and nothing else could write that value again,
//!   the value is not changed, but by one of them.
//! - A ghost (an operation of unknown outcome) is not taken where it helps nobody who waits (see
//!   [`Problem::helpful`]), or gives nothing that was not possible before (see [`KeyFacts::ghost_is_useful`]), nor where
//!   what comes next on its key asks for nothing: then it can as well never happen.

use std::collections::HashSet;

use crate::limits::{Limit, Meter};
use crate::problem::{KeyFacts, KeyIndex, Problem};
use crate::register::State;

/// One element of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// An index of [`Problem::certain`].
    Certain(usize),
    /// An index of [`Problem::ghosts`]: the earliest of the class not taken yet.
    Ghost(usize),
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This order.
    Order(Vec<Choice>),
    /// There is none.
    Nothing,
    /// It reached a limit.
    GivenUp(Limit),
}

struct Frame {
    choice: Choice,
    /// The key that it is about, and what that was.
    key: KeyIndex,
    before: State,
    /// There was no alternative.
    forced: bool,
}

/// A search in one problem.
struct Search<'a> {
    problem: &'a Problem,
    states: Vec<State>,
    /// Operations not ordered yet, as a list in order of invocation; index 0 is the anchor, operation
    /// `i` is at `i + 1`.
    next: Vec<usize>,
    previous: Vec<usize>,
    ordered: Vec<u64>,
    /// Per class, how many ghosts are taken.
    taken: Vec<u32>,
    /// Per key and value, how many operations must still find it.
    needs_left: Vec<Vec<u32>>,
    /// Per key, how many of those of known revision are ordered.
    revisions_done: Vec<usize>,
    stack: Vec<Frame>,
    visited: HashSet<Box<[u64]>>,
}

/// Searches, within the limits of `meter`.
pub fn search(problem: &Problem, meter: &mut Meter) -> Found {
    Search::new(problem).run(meter)
}

impl<'a> Search<'a> {
    fn run(mut self, meter: &mut Meter) -> Found {
        let mut resume = None;
        while self.next[0] != 0 {
            let forced = if resume.is_none() { self.forced() } else { None };
            let is_forced = forced.is_some();
            if let Some((choice, after)) = forced.or_else(|| self.pick(resume, meter)) {
                if let Err(limit) = meter.step() {
                    return Found::GivenUp(limit);
                }
                self.push(choice, after, is_forced);
                resume = None;
                continue;
            }
            resume = loop {
                match self.pop() {
                    None => return Found::Nothing,
                    Some(frame) if frame.forced => {}
                    Some(frame) => break Some(frame.choice),
                }
            };
        }
        Found::Order(self.stack.iter().map(|frame| frame.choice).collect())
    }

    fn new(problem: &'a Problem) -> Search<'a> {
        let count = problem.certain.len();
        let needs = |facts: &KeyFacts| facts.values.iter().map(|value| value.needs).collect();
        Search {
            problem,
            states: vec![State::INITIAL; problem.keys.len()],
            next: (1..=count).chain([0]).collect(),
            previous: [count].into_iter().chain(0..count).collect(),
            ordered: vec![0; count.div_ceil(64)],
            taken: vec![0; problem.ghosts.len()],
            needs_left: problem.keys.iter().map(needs).collect(),
            revisions_done: vec![0; problem.keys.len()],
            stack: Vec::new(),
            visited: HashSet::new(),
        }
    }

    /// Operations not ordered that can come next as far as time is concerned: invoked before any
    /// other one ended. With the position before which a ghost must be invoked.
    fn candidates(&self) -> (impl Iterator<Item = usize> + '_, usize) {
        let certain = &self.problem.certain;
        let mut bound = usize::MAX;
        let mut at = self.next[0];
        while at != 0 && certain[at - 1].from < bound {
            bound = bound.min(certain[at - 1].until);
            at = self.next[at];
        }
        let first = Some(self.next[0]).filter(|&at| at != 0);
        let list = std::iter::successors(first, |&at| Some(self.next[at]).filter(|&at| at != 0));
        let list = list.map(|at| at - 1).take_while(move |&i| certain[i].from < bound);
        (list, bound)
    }

    /// An observation that fits and leaves the state as it is.
    fn forced(&self) -> Option<(Choice, State)> {
        let (mut candidates, _) = self.candidates();
        candidates.find_map(|i| {
            let op = &self.problem.certain[i];
            let state = self.states[op.key];
            let fits = op.step.is_observation() && self.problem.after(&self.states, op) == Some(state);
            fits.then_some((Choice::Certain(i), state))
        })
    }

    /// The next choice after `resume` that leads to a configuration not visited before.
    fn pick(&mut self, resume: Option<Choice>, meter: &mut Meter) -> Option<(Choice, State)> {
        let (candidates, bound) = self.candidates();
        let candidates: Vec<usize> = candidates.collect();
        let waiting = candidates.iter().map(|&i| &self.problem.certain[i]);
        let helpful = self.problem.helpful(waiting, &self.states);
        let mut choices: Vec<Choice> = candidates.into_iter().map(Choice::Certain).collect();
        choices.extend(helpful.into_iter().map(Choice::Ghost));
        let done = resume.and_then(|done| choices.iter().position(|choice| *choice == done));
        choices.drain(..done.map_or(0, |done| done + 1));
        for choice in choices {
            if let Some(after) = self.allowed(choice, bound)
                && self.is_new(choice, after, meter)
            {
                return Some((choice, after));
            }
        }
        None
    }

    /// The state after `choice` of the key that it is about, unless it is impossible or pointless.
    fn allowed(&self, choice: Choice, bound: usize) -> Option<State> {
        let problem = self.problem;
        let (key, step, after) = match choice {
            Choice::Certain(i) => {
                let op = &problem.certain[i];
                let by_revision = &problem.keys[op.key].by_revision;
                if op.step.taken().is_some() && by_revision[self.revisions_done[op.key]] != i {
                    return None;
                }
                (op.key, op.step, problem.after(&self.states, op)?)
            }
            Choice::Ghost(class) => {
                let ghosts = &problem.ghosts[class];
                let (from, _) = ghosts.ops.get(self.taken[class] as usize)?;
                if *from >= bound {
                    return None;
                }
                (ghosts.key, ghosts.step, problem.apply(&self.states, ghosts.key, ghosts.step)?)
            }
        };
        let (facts, before) = (&problem.keys[key], self.states[key]);
        let ghost = matches!(choice, Choice::Ghost(_));
        if ghost && !facts.ghost_is_useful(step, before, after) {
            return None;
        }
        if step.is_blind() && self.stack.last().is_some_and(|last| last.is_ghost_of(key)) {
            return None;
        }
        let changes = !step.is_observation() && after != before;
        let needs_it = u32::from(!ghost && step.needs() == Some(before.value));
        let needs_left = self.needs_left[key][before.value as usize];
        if changes && facts.values[before.value as usize].once && needs_left > needs_it {
            return None;
        }
        let took = usize::from(!ghost && step.taken().is_some());
        let following = facts.by_revision.get(self.revisions_done[key] + took);
        let following = following.and_then(|&i| problem.certain[i].step.taken());
        if following.is_some_and(|revision| revision <= after.revision_min) {
            return None;
        }
        Some(after)
    }

    /// Whether the configuration after `choice` was not visited before; from now on it was.
    fn is_new(&mut self, choice: Choice, after: State, meter: &mut Meter) -> bool {
        self.mark(choice, true);
        let key = self.key_of(choice);
        let before = std::mem::replace(&mut self.states[key], after);
        let first = self.ordered.iter().position(|word| *word != u64::MAX);
        let first = first.unwrap_or(self.ordered.len());
        let last = self.ordered.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let window = self.ordered.get(first..last).unwrap_or_default();
        let state =
            |state: &State| [u64::from(state.value) << 1 | u64::from(state.exact), state.revision_min];
        // A blind change may not follow a ghost, so it matters whether this is one.
        let ghost = u64::from(matches!(choice, Choice::Ghost(_))) * (key as u64 + 1);
        let visit: Box<[u64]> = [first as u64, ghost]
            .into_iter()
            .chain(self.states.iter().flat_map(state))
            .chain(self.taken.iter().map(|&count| u64::from(count)))
            .chain(window.iter().copied())
            .collect();
        self.states[key] = before;
        self.mark(choice, false);
        let bytes = size_of_val::<[u64]>(&visit);
        let is_new = self.visited.insert(visit);
        if is_new {
            meter.hold(bytes);
        }
        is_new
    }

    fn key_of(&self, choice: Choice) -> KeyIndex {
        match choice {
            Choice::Certain(i) => self.problem.certain[i].key,
            Choice::Ghost(class) => self.problem.ghosts[class].key,
        }
    }

    fn mark(&mut self, choice: Choice, on: bool) {
        match choice {
            Choice::Certain(i) => self.ordered[i / 64] ^= 1 << (i % 64),
            Choice::Ghost(class) if on => self.taken[class] += 1,
            Choice::Ghost(class) => self.taken[class] -= 1,
        }
    }

    fn push(&mut self, choice: Choice, after: State, forced: bool) {
        self.mark(choice, true);
        if let Choice::Certain(i) = choice {
            let (previous, next) = (self.previous[i + 1], self.next[i + 1]);
            self.next[previous] = next;
            self.previous[next] = previous;
            let op = &self.problem.certain[i];
            self.revisions_done[op.key] += usize::from(op.step.taken().is_some());
            for (key, value) in op.parts().filter_map(|(key, step)| Some((key, step.needs()?))) {
                self.needs_left[key][value as usize] -= 1;
            }
        }
        let key = self.key_of(choice);
        let before = std::mem::replace(&mut self.states[key], after);
        self.stack.push(Frame { choice, key, before, forced });
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.stack.pop()?;
        self.states[frame.key] = frame.before;
        self.mark(frame.choice, false);
        if let Choice::Certain(i) = frame.choice {
            let (previous, next) = (self.previous[i + 1], self.next[i + 1]);
            self.next[previous] = i + 1;
            self.previous[next] = i + 1;
            let op = &self.problem.certain[i];
            self.revisions_done[op.key] -= usize::from(op.step.taken().is_some());
            for (key, value) in op.parts().filter_map(|(key, step)| Some((key, step.needs()?))) {
                self.needs_left[key][value as usize] += 1;
            }
        }
        Some(frame)
    }
}

impl Frame {
    fn is_ghost_of(&self, key: KeyIndex) -> bool {
        self.key == key && matches!(self.choice, Choice::Ghost(_))
    }
}
