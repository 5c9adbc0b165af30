//! From one key's operations to a search problem that is as small as it can soundly be.
//!
//! The trouble is operations with an unknown outcome: each may take effect at any later moment or
//! never, so a search that tries them one by one grows exponentially with their number. Four steps
//! keep it small, and none changes the verdict:
//!
//! 1. **What was seen, happened.** If exactly one operation could have written a value and somebody
//!    read that value, the operation took effect, and before the first such read ended. It becomes a
//!    certain operation, at the revision that the read told. Most unknown writes that matter go here.
//! 2. **Unread values are one value.** Nothing tells apart two values that nobody read.
//! 3. **Unknown operations with the same effect are one class.** None has an end, so what is available
//!    once stays available: a search may always take the earliest of a class, and need only count how
//!    many it took.
//! 4. **What cannot help is dropped.** Taking a ghost (an unknown operation) only serves to make some
//!    other operation possible. An unread value is noticed only by a delete that found a key, or by a
//!    revision that somebody saw and that is of no known change. If the history has neither, unread
//!    writes and creations are dropped. A cas from a revision finds its key present and leaves it so:
//!    only such a loose revision can tell. A delete is noticed only by who found the key absent, or
//!    made possible a ghost creation.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Action, Answer, Completion, Op, OpId};
use crate::register::{Step, UNREAD, ValueId};

/// An operation that took effect within an interval.
#[derive(Clone, Copy, Debug)]
pub struct Certain {
    pub op: OpId,
    pub step: Step,
    /// Position of its invocation.
    pub from: usize,
    /// Position before which it took effect.
    pub until: usize,
}

/// Operations with unknown outcome and the same effect.
#[derive(Clone, Debug)]
pub struct Ghosts {
    pub step: Step,
    /// Position of the invocation, and which; ascending.
    pub ops: Vec<(usize, OpId)>,
}

/// What is to be searched.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Ascending in `from`.
    pub certain: Vec<Certain>,
    pub ghosts: Vec<Ghosts>,
    /// Revisions known to be of a certain change.
    pub claimed: HashSet<u64>,
    /// Whether somebody saw a revision that is of no certain change.
    pub loose_revisions: bool,
    /// By value: whether one operation alone could have written it.
    pub written_once: Vec<bool>,
    /// By value: how many reads saw it.
    pub reads: Vec<u32>,
    /// Certain changes of known revision, ascending in it: they can happen in no other order.
    pub by_revision: Vec<usize>,
}

/// What the history tells of one value.
#[derive(Clone, Copy, Default)]
struct ValueFacts {
    writers: u32,
    reads: u32,
    /// Where the first read that saw it ended.
    seen_until: usize,
    revision: Option<u64>,
}

struct Values<'a> {
    ids: HashMap<&'a str, ValueId>,
    facts: Vec<ValueFacts>,
}

impl<'a> Values<'a> {
    fn of(ops: &[&'a Op]) -> Values<'a> {
        // Numbers 0 and 1 are ABSENT and UNREAD.
        let mut values = Values { ids: HashMap::new(), facts: vec![ValueFacts::default(); 2] };
        for op in ops {
            match (&op.action, &op.completed) {
                (_, Some((_, Completion::Fail { .. }))) => {}
                (Action::Write { value, .. } | Action::Cas { value, .. }, _) => {
                    values.entry(value).writers += 1;
                }
                (_, Some((end, Completion::Ok(Answer::Read { value: Some(value), revision })))) => {
                    let facts = values.entry(value);
                    let earlier = if facts.reads == 0 { usize::MAX } else { facts.seen_until };
                    facts.seen_until = earlier.min(end.position);
                    facts.reads += 1;
                    facts.revision = facts.revision.or(*revision);
                }
                _ => {}
            }
        }
        values
    }

    fn entry(&mut self, value: &'a str) -> &mut ValueFacts {
        let next = self.facts.len();
        let id = *self.ids.entry(value).or_insert(next as ValueId);
        if id as usize == next {
            self.facts.push(ValueFacts::default());
        }
        &mut self.facts[id as usize]
    }

    /// The value's number, [`UNREAD`] if nobody read it, and what is known of it.
    fn written(&self, value: &str) -> (ValueId, ValueFacts) {
        let id = self.ids[value];
        let facts = self.facts[id as usize];
        (if facts.reads == 0 { UNREAD } else { id }, facts)
    }
}

/// Prepares the operations of one key.
pub fn prepare(ops: &[&Op]) -> Problem {
    let values = Values::of(ops);
    let mut certain = Vec::new();
    let mut ghosts: BTreeMap<(u8, u64, ValueId), Ghosts> = BTreeMap::new();
    for op in ops {
        let from = op.invoked.position;
        match interpret(op, &values) {
            Meaning::Nothing => {}
            Meaning::Certain(step, until) => {
                certain.push(Certain { op: op.id, step, from, until });
            }
            Meaning::Ghost(step) => {
                let class = match step {
                    Step::Write { value, .. } => (0, 0, value),
                    Step::Cas { expected, value, .. } => (1, expected, value),
                    _ => (2, 0, 0),
                };
                let class = ghosts.entry(class).or_insert(Ghosts { step, ops: Vec::new() });
                class.ops.push((from, op.id));
            }
        }
    }
    certain.sort_by_key(|op| op.from);

    let claimed: HashSet<u64> = certain.iter().filter_map(|op| op.step.taken()).collect();
    let steps = || certain.iter().map(|op| op.step).chain(ghosts.values().map(|class| class.step));
    let loose_revisions = steps().filter_map(Step::seen).any(|seen| !claimed.contains(&seen));
    let ghosts = useful(ghosts.into_values().collect(), &certain, loose_revisions);

    let mut by_revision: Vec<usize> =
        (0..certain.len()).filter(|&i| certain[i].step.taken().is_some()).collect();
    by_revision.sort_by_key(|&i| certain[i].step.taken());
    Problem {
        certain,
        ghosts,
        claimed,
        loose_revisions,
        written_once: values.facts.iter().map(|facts| facts.writers == 1).collect(),
        reads: values.facts.iter().map(|facts| facts.reads).collect(),
        by_revision,
    }
}

enum Meaning {
    /// It neither changed nor tells anything.
    Nothing,
    /// It took effect, before the position.
    Certain(Step, usize),
    /// It may take effect.
    Ghost(Step),
}

fn interpret(op: &Op, values: &Values<'_>) -> Meaning {
    let unknown = (usize::MAX, &Completion::Unknown);
    let (until, completion) =
        op.completed.as_ref().map_or(unknown, |(moment, completion)| (moment.position, completion));
    let written = |told: Option<u64>, value: &str, step: &dyn Fn(ValueId, Option<u64>) -> Step| {
        let (value, facts) = values.written(value);
        let seen = facts.writers == 1 && facts.reads > 0;
        let revision = told.or(facts.revision.filter(|_| seen));
        match completion {
            Completion::Unknown if seen => Meaning::Certain(step(value, revision), facts.seen_until),
            Completion::Unknown => Meaning::Ghost(step(value, None)),
            _ => Meaning::Certain(step(value, revision), until),
        }
    };
    match (&op.action, completion) {
        (Action::Cas { expected_revision, .. }, Completion::Fail { current: Some(current) }) => {
            let step = Step::Conflict { expected: *expected_revision, current: *current };
            Meaning::Certain(step, until)
        }
        (_, Completion::Fail { .. }) | (Action::Read { .. }, Completion::Unknown) => Meaning::Nothing,
        (Action::Read { .. }, Completion::Ok(Answer::Read { value, revision })) => {
            let value = value.as_deref().map_or(crate::register::ABSENT, |value| values.ids[value]);
            Meaning::Certain(Step::Read { value, revision: *revision }, until)
        }
        (Action::Delete { .. }, Completion::Ok(Answer::Deleted { existed, revision })) => {
            let step = Step::Delete { existed: *existed, revision: *revision };
            Meaning::Certain(step, until)
        }
        (Action::Delete { .. }, _) => Meaning::Ghost(Step::Delete { existed: None, revision: None }),
        (Action::Write { value, .. }, completion) => {
            written(told(completion), value, &|value, revision| Step::Write { value, revision })
        }
        (Action::Cas { expected_revision, value, .. }, completion) => {
            let expected = *expected_revision;
            written(told(completion), value, &|value, revision| Step::Cas { expected, value, revision })
        }
        (Action::Read { .. }, Completion::Ok(_)) => unreachable!("a history holds fitting answers only"),
    }
}

fn told(completion: &Completion) -> Option<u64> {
    match completion {
        Completion::Ok(Answer::Written { revision }) => *revision,
        _ => None,
    }
}

/// Step 4 of the module's argument.
fn useful(classes: Vec<Ghosts>, certain: &[Certain], loose_revisions: bool) -> Vec<Ghosts> {
    let presence = certain.iter().any(|op| op.step.needs_presence());
    let absence = certain.iter().any(|op| op.step.needs_absence());
    let (deletes, writes): (Vec<_>, Vec<_>) =
        classes.into_iter().partition(|class| matches!(class.step, Step::Delete { .. }));
    let mut kept: Vec<Ghosts> = writes
        .into_iter()
        .filter(|class| match class.step {
            Step::Write { value: UNREAD, .. } | Step::Cas { expected: 0, value: UNREAD, .. } => {
                presence || loose_revisions
            }
            Step::Cas { value: UNREAD, .. } => loose_revisions,
            _ => true,
        })
        .collect();
    if absence || kept.iter().any(|class| class.step.needs_absence()) {
        kept.extend(deletes);
    }
    kept
}
