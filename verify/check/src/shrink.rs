//! As few operations as show that a history cannot be explained.
//!
//! An operation is left out by **loosening** it: what only tells something is dropped, and what changes
//! something counts as a write or delete of unknown outcome, which asks for nothing and may take effect at
//! any later moment or never. That allows more than the history did. So if what remains still cannot be
//! explained, then it cannot whatever the loosened operations did, and a person need not look at them.
//!
//! First the operations that ended last are kept, twice as many until they suffice; then they are
//! thinned out, in halves, quarters and so on to one by one (Zeller and Hildebrandt, "Simplifying and
//! Isolating Failure-Inducing Input", 2002). Loosened writes of what the rest saw are shown with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Answer, Completion, Op};
use crate::linearizable::{Decision, decide_counting};
use crate::prepare::prepare;

/// Operations looked at and steps of search, in all attempts together: a second or two. Then what is left
/// is shown.
const WORK_MAX: u64 = 2_000_000;
/// Steps of search in an attempt, beside some for each operation that is kept.
const STEPS_PER_ATTEMPT: u64 = 2_000;
/// Those for each that is kept.
const STEPS_PER_KEPT: u64 = 20;
/// A step looks at so many classes of ghosts in the time that it takes without.
const GHOSTS_PER_STEP: u64 = 16;
/// How many writes of one value are shown, if only one of many can have been seen.
const WRITERS_MAX: usize = 2;

struct Shrinking<'a> {
    keys: &'a [&'a str],
    ops: &'a [&'a Op],
    /// By index: the operation loosened, if anything remains of it.
    loose: Vec<Option<Op>>,
    work: u64,
}

/// Of `ops`, which no order explains, those that show it, in their order: as they were, and loosened if
/// they are there only because the others saw what they wrote.
pub fn shrink(keys: &[&str], ops: &[&Op]) -> Vec<Op> {
    let loose = ops.iter().map(|op| loosened(op)).collect();
    let mut shrinking = Shrinking { keys, ops, loose, work: 0 };
    let mut by_end: Vec<usize> = (0..ops.len()).filter(|&i| end(ops[i]).is_some()).collect();
    by_end.sort_by_key(|&i| end(ops[i]));
    let mut kept = shrinking.suffix(&by_end);
    shrinking.thin_out(&mut kept);
    let mut shown: BTreeMap<usize, Op> = kept.iter().map(|&i| (i, ops[i].clone())).collect();
    for &i in &kept {
        for (key, seen) in named(ops[i]) {
            let wrote =
                |&i: &usize| shrinking.loose[i].is_some() && ops[i].action.key() == key && seen.is_of(ops[i]);
            let writers: Vec<usize> = (0..ops.len()).filter(wrote).collect();
            if !writers.iter().any(|i| shown.contains_key(i)) {
                let few = writers.into_iter().rev().take(WRITERS_MAX);
                shown.extend(few.filter_map(|i| Some((i, shrinking.loose[i].clone()?))));
            }
        }
    }
    shown.into_values().collect()
}

/// What an operation saw or asked for.
enum Seen<'a> {
    Value(&'a str),
    Revision(u64),
}

impl Seen<'_> {
    fn is_of(&self, op: &Op) -> bool {
        let told = match &op.completed {
            Some((_, Completion::Ok(Answer::Written { revision } | Answer::Deleted { revision, .. }))) => {
                *revision
            }
            _ => None,
        };
        match self {
            Seen::Value(value) => op.action.value() == Some(value),
            Seen::Revision(revision) => told == Some(*revision),
        }
    }
}

impl Shrinking<'_> {
    /// Enough of the operations that ended last.
    fn suffix(&mut self, by_end: &[usize]) -> Vec<usize> {
        let mut count = 2;
        while count < by_end.len() {
            let kept = &by_end[by_end.len() - count..];
            if self.is_impossible(kept) {
                return kept.to_vec();
            }
            count *= 2;
        }
        by_end.to_vec()
    }

    fn thin_out(&mut self, kept: &mut Vec<usize>) {
        let mut size = kept.len().div_ceil(2);
        while size > 0 {
            let before = kept.len();
            let mut from = 0;
            while from < kept.len() {
                let to = (from + size).min(kept.len());
                let fewer = [&kept[..from], &kept[to..]].concat();
                if self.is_impossible(&fewer) {
                    *kept = fewer;
                } else {
                    from = to;
                }
            }
            // One by one, until nothing more can go.
            if size > 1 || kept.len() == before {
                size /= 2;
            }
        }
    }

    /// Whether it is certain that no order explains those, whatever the others did.
    fn is_impossible(&mut self, kept: &[usize]) -> bool {
        self.work += self.ops.len() as u64;
        if self.work > WORK_MAX {
            return false;
        }
        let budget = STEPS_PER_ATTEMPT + STEPS_PER_KEPT * kept.len() as u64;
        let kept: BTreeSet<usize> = kept.iter().copied().collect();
        let choose = |i: usize| if kept.contains(&i) { Some(self.ops[i]) } else { self.loose[i].as_ref() };
        let ops: Vec<&Op> = (0..self.ops.len()).filter_map(choose).collect();
        let problem = prepare(self.keys, &ops);
        let (decision, steps) = decide_counting(&problem, budget);
        self.work += steps * (1 + problem.ghosts.len() as u64 / GHOSTS_PER_STEP);
        matches!(decision, Decision::Invalid)
    }
}

fn end(op: &Op) -> Option<usize> {
    let (moment, completion) = op.completed.as_ref()?;
    (*completion != Completion::Unknown).then_some(moment.position)
}

fn may_happen(op: &Op) -> bool {
    !matches!(op.completed, Some((_, Completion::Fail { .. } | Completion::Differs { .. })))
}

fn loosened(op: &Op) -> Option<Op> {
    let found_nothing = Completion::Ok(Answer::Deleted { existed: Some(false), revision: None });
    let changed_nothing = op.completed.as_ref().is_some_and(|(_, completion)| *completion == found_nothing);
    if changed_nothing || !may_happen(op) {
        return None;
    }
    let key = op.action.key().to_owned();
    let action = match op.action.value() {
        Some(value) => Action::Write { key, value: value.to_owned() },
        None if matches!(op.action, Action::Delete { .. }) => Action::Delete { key },
        None => return None,
    };
    Some(Op { action, completed: None, ..op.clone() })
}

/// What an operation saw or asked for, of which key.
fn named(op: &Op) -> Vec<(&str, Seen<'_>)> {
    let mut seen = Vec::new();
    let key = op.action.key();
    match (&op.action, op.completed.as_ref().map(|(_, completion)| completion)) {
        (Action::Read { .. }, Some(Completion::Ok(Answer::Read { value: Some(value), .. }))) => {
            seen.push((key, Seen::Value(value)));
        }
        (Action::ReadMany { keys }, Some(Completion::Ok(Answer::ReadMany { values: told }))) => {
            let present =
                keys.iter().zip(told).filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
            seen.extend(present.map(|(key, value)| (key, Seen::Value(value))));
        }
        (Action::CasValue { .. }, Some(Completion::Differs { current: Some(Some(current)) })) => {
            seen.push((key, Seen::Value(current)));
        }
        (Action::CasValue { expected: Some(expected), .. }, Some(Completion::Ok(_))) => {
            seen.push((key, Seen::Value(expected)));
        }
        (Action::Cas { .. }, Some(Completion::Fail { current: Some(current) })) => {
            seen.push((key, Seen::Revision(*current)));
        }
        (Action::Cas { expected_revision, .. }, Some(Completion::Ok(_))) => {
            seen.push((key, Seen::Revision(*expected_revision)));
        }
        _ => {}
    }
    seen
}
