//! Depth-first search for an order of one key's operations that explains what was seen: Wing and
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
//! - While reads of the present value remain, and nothing else could write that value again, the value
//!   is not changed.
//! - A ghost (an operation of unknown outcome) is not taken where it gives nothing that was not
//!   possible before; see [`Search::ghost_is_useful`].

use std::collections::HashSet;

use crate::prepare::Problem;
use crate::register::{ABSENT, State, Step, UNREAD};

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
    /// More steps than the budget.
    Exhausted,
}

struct Frame {
    choice: Choice,
    before: State,
    /// There was no alternative.
    forced: bool,
}

/// A search in one problem.
struct Search<'a> {
    problem: &'a Problem,
    state: State,
    /// Operations not ordered yet, as a list in order of invocation; index 0 is the anchor, operation
    /// `i` is at `i + 1`.
    next: Vec<usize>,
    previous: Vec<usize>,
    ordered: Vec<u64>,
    /// Per class, how many ghosts are taken.
    taken: Vec<u32>,
    reads_left: Vec<u32>,
    /// How many of [`Problem::by_revision`] are ordered.
    revisions_done: usize,
    stack: Vec<Frame>,
    visited: HashSet<Box<[u64]>>,
}

/// Searches, in at most `budget` steps.
pub fn search(problem: &Problem, budget: u64) -> Found {
    Search::new(problem).run(budget)
}

impl<'a> Search<'a> {
    fn run(mut self, budget: u64) -> Found {
        let mut resume = None;
        let mut steps = 0_u64;
        while self.next[0] != 0 {
            let forced = if resume.is_none() { self.forced() } else { None };
            let is_forced = forced.is_some();
            if let Some((choice, after)) = forced.or_else(|| self.pick(resume)) {
                steps += 1;
                if steps > budget {
                    return Found::Exhausted;
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
        Search {
            problem,
            state: State::INITIAL,
            next: (1..=count).chain([0]).collect(),
            previous: [count].into_iter().chain(0..count).collect(),
            ordered: vec![0; count.div_ceil(64)],
            taken: vec![0; problem.ghosts.len()],
            reads_left: problem.reads.clone(),
            revisions_done: 0,
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
        let fits = |i: &usize| {
            let step = self.problem.certain[*i].step;
            step.is_observation() && step.apply(self.state, &self.problem.claimed) == Some(self.state)
        };
        candidates.find(fits).map(|i| (Choice::Certain(i), self.state))
    }

    /// The next choice after `resume` that leads to a configuration not visited before.
    fn pick(&mut self, resume: Option<Choice>) -> Option<(Choice, State)> {
        let (candidates, bound) = self.candidates();
        let mut choices: Vec<Choice> = candidates.map(Choice::Certain).collect();
        choices.extend((0..self.problem.ghosts.len()).map(Choice::Ghost));
        let done = resume.and_then(|done| choices.iter().position(|choice| *choice == done));
        choices.drain(..done.map_or(0, |done| done + 1));
        for choice in choices {
            if let Some(after) = self.allowed(choice, bound)
                && self.is_new(choice, after)
            {
                return Some((choice, after));
            }
        }
        None
    }

    /// The state after `choice`, unless it is impossible or pointless.
    fn allowed(&self, choice: Choice, bound: usize) -> Option<State> {
        let problem = self.problem;
        let step = match choice {
            Choice::Certain(i) => {
                let step = problem.certain[i].step;
                if step.taken().is_some() && problem.by_revision[self.revisions_done] != i {
                    return None;
                }
                step
            }
            Choice::Ghost(class) => {
                let ghosts = &problem.ghosts[class];
                let (from, _) = ghosts.ops.get(self.taken[class] as usize)?;
                if *from >= bound {
                    return None;
                }
                ghosts.step
            }
        };
        let after = step.apply(self.state, &problem.claimed)?;
        let ghost = matches!(choice, Choice::Ghost(_));
        if ghost && !self.ghost_is_useful(step, after) {
            return None;
        }
        let value = self.state.value as usize;
        let changes = !step.is_observation() && after != self.state;
        if changes && problem.written_once[value] && self.reads_left[value] > 0 {
            return None;
        }
        let took = usize::from(!ghost && step.taken().is_some());
        let following = problem.by_revision.get(self.revisions_done + took);
        let following = following.and_then(|&i| problem.certain[i].step.taken());
        if following.is_some_and(|revision| revision <= after.revision_min) {
            return None;
        }
        Some(after)
    }

    /// Taking a ghost must change the state, and to one that can do what the old one could not. Where
    /// the old state holds any value at an unknown revision, or no revision is loose, a new value that
    /// nobody reads at an unknown revision gives nothing: whatever fits the new state fits the old.
    fn ghost_is_useful(&self, step: Step, after: State) -> bool {
        let before = self.state;
        let same_but_later = after.value == before.value && !before.exact;
        let settled = before.exact && self.problem.loose_revisions;
        match step {
            Step::Delete { .. } => before.value != ABSENT,
            _ if before.value == ABSENT => true,
            _ if after.value == UNREAD => settled,
            _ => !same_but_later,
        }
    }

    /// Whether the configuration after `choice` was not visited before; from now on it was.
    fn is_new(&mut self, choice: Choice, after: State) -> bool {
        self.mark(choice, true);
        let first = self.ordered.iter().position(|word| *word != u64::MAX);
        let first = first.unwrap_or(self.ordered.len());
        let last = self.ordered.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let window = self.ordered.get(first..last).unwrap_or_default();
        let flags = u64::from(after.value) << 1 | u64::from(after.exact);
        let key: Box<[u64]> = [first as u64, flags, after.revision_min]
            .into_iter()
            .chain(self.taken.iter().map(|&count| u64::from(count)))
            .chain(window.iter().copied())
            .collect();
        self.mark(choice, false);
        self.visited.insert(key)
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
            let step = self.problem.certain[i].step;
            self.revisions_done += usize::from(step.taken().is_some());
            if let Step::Read { value, .. } = step
                && value != ABSENT
            {
                self.reads_left[value as usize] -= 1;
            }
        }
        self.stack.push(Frame { choice, before: self.state, forced });
        self.state = after;
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.stack.pop()?;
        self.state = frame.before;
        self.mark(frame.choice, false);
        if let Choice::Certain(i) = frame.choice {
            let (previous, next) = (self.previous[i + 1], self.next[i + 1]);
            self.next[previous] = i + 1;
            self.previous[next] = i + 1;
            let step = self.problem.certain[i].step;
            self.revisions_done -= usize::from(step.taken().is_some());
            if let Step::Read { value, .. } = step
                && value != ABSENT
            {
                self.reads_left[value as usize] += 1;
            }
        }
        Some(frame)
    }
}
