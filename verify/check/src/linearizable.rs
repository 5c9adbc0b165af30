//! Is there an order of the operations, respecting which ended before which began, in which a register
//! with keys would have answered as it did? (Herlihy and Wing, "Linearizability", 1990.)
//!
//! Linearizability is local: a history is linearizable if that of every key is. So each key is
//! searched alone, and of a read of several keys each is judged by itself. As one map, keys that were
//! read together are searched together; that is stronger, and takes exponentially longer the more
//! happens at once.
//!
//! Two searches share a budget of steps. One in depth finds an order at once where there are many, as
//! in most valid histories. If it is not done soon, one in breadth takes over, whose cost is the same
//! whether there is an order or not. Only if that runs out of memory, the first has another, longer try.

use std::collections::BTreeMap;
use std::fmt;

use crate::explain::explain;
use crate::frontier::{Reached, reach};
use crate::history::{History, Op, OpId};
use crate::limits::{Limit, MEMORY_BYTES_MAX, Meter};
use crate::prepare::prepare;
use crate::problem::Problem;
use crate::search::{Choice, Found, search};
use crate::strong::strong_part;

/// Steps of search per key that are ample for tens of thousands of operations, and take seconds.
pub const BUDGET_DEFAULT: u64 = 2_000_000;
/// Steps of the first search in depth, per operation: with few wrong turns it is done by then.
const TRIED_PER_OP: u64 = 4;

/// What a judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// There is an explanation.
    Valid,
    /// There is none.
    Invalid(Violation),
    /// The search was given up: neither a pass nor a failure.
    Unknown {
        /// Which limit was reached, where.
        reason: String,
    },
}

/// One key's history that nothing explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key; of a map, its keys.
    pub key: String,
    /// For people: what fits, and what does not. Several lines.
    pub explanation: String,
    /// As few operations as could be found that no order explains, whatever the others did.
    pub shown: Vec<OpId>,
    /// An order that explains those of them that had ended before `culprit` did. Empty if it could not
    /// be found within the budget.
    pub linearized: Vec<OpId>,
    /// Of those shown, the one with whose answer it became impossible.
    pub culprit: OpId,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Valid => f.write_str("valid"),
            Verdict::Invalid(violation) => write!(f, "INVALID: {}", violation.explanation),
            Verdict::Unknown { reason } => write!(f, "UNKNOWN, which is no pass: {reason}"),
        }
    }
}

/// Checks a history, that is its strong part (see [`Op::is_owed_strong`]), key by key in order, in at most `budget` steps of search per key (see
/// [`BUDGET_DEFAULT`]) and [`MEMORY_BYTES_MAX`] of memory beside the history. A violation found is
/// reported even if another key's search was given up.
pub fn check_linearizable(history: &History, budget: u64) -> Verdict {
    let history = strong_part(history, Op::is_owed_strong);
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in history.ops() {
        for key in op.action.keys() {
            keys.entry(key).or_default().push(op);
        }
    }
    check_parts(keys.into_iter().map(|(key, ops)| (vec![key], ops)), budget)
}

/// As [`check_linearizable`], but what was read of several keys was there at one moment.
pub fn check_linearizable_map(history: &History, budget: u64) -> Verdict {
    let history = strong_part(history, Op::is_owed_strong);
    check_parts(read_together(&history).into_iter(), budget)
}

fn check_parts<'a>(parts: impl Iterator<Item = (Vec<&'a str>, Vec<&'a Op>)>, budget: u64) -> Verdict {
    let mut verdict = Verdict::Valid;
    for (keys, ops) in parts {
        match decide(&prepare(&keys, &ops), budget) {
            Decision::Valid(_) => {}
            Decision::Invalid => {
                return Verdict::Invalid(explain(&keys, &ops, budget));
            }
            Decision::GivenUp(limit) if verdict == Verdict::Valid => {
                verdict = Verdict::Unknown { reason: reason(limit, &keys, ops.len(), budget) };
            }
            Decision::GivenUp(_) => {}
        }
    }
    verdict
}

fn reason(limit: Limit, keys: &[&str], ops: usize, budget: u64) -> String {
    let what = format!("{} with {ops} operations was not decided within", name(keys));
    match limit {
        Limit::Time => format!("time: {what} {budget} steps"),
        Limit::Memory => format!("memory: {what} {} MiB", MEMORY_BYTES_MAX >> 20),
    }
}

/// What the keys are called in sentences.
pub(crate) fn name(keys: &[&str]) -> String {
    match keys {
        [key] => format!("key {key:?}"),
        keys => {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            format!("the map of keys {}", keys.join(", "))
        }
    }
}

/// The keys that some read saw together, directly or by way of others, with all operations on them.
fn read_together(history: &History) -> Vec<(Vec<&str>, Vec<&Op>)> {
    let mut group_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for op in history.ops() {
        let mut together = None;
        for key in op.action.keys() {
            let group = *group_of.entry(key).or_insert_with(|| {
                groups.push(vec![key]);
                groups.len() - 1
            });
            let into = *together.get_or_insert(group);
            if group != into {
                let moved = std::mem::take(&mut groups[group]);
                moved.iter().for_each(|key| {
                    group_of.insert(key, into);
                });
                groups[into].extend(moved);
            }
        }
    }
    let mut parts: Vec<(Vec<&str>, Vec<&Op>)> = groups.into_iter().map(|keys| (keys, Vec::new())).collect();
    for op in history.ops() {
        parts[group_of[op.action.key()]].1.push(op);
    }
    parts.retain(|(keys, _)| !keys.is_empty());
    parts.iter_mut().for_each(|(keys, _)| keys.sort_unstable());
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    parts
}

/// What was found of one problem.
pub(crate) enum Decision {
    /// There is an order; this one, if it was asked for by its steps.
    Valid(Option<Vec<Choice>>),
    Invalid,
    GivenUp(Limit),
}

/// Decides a problem in at most `budget` steps.
pub(crate) fn decide(problem: &Problem, budget: u64) -> Decision {
    decide_counting(problem, budget).0
}

/// The same, and how many steps it took.
pub(crate) fn decide_counting(problem: &Problem, budget: u64) -> (Decision, u64) {
    let tried = budget.min(problem.certain.len() as u64 * TRIED_PER_OP + 1_000);
    let mut meter = Meter::new(tried);
    let first = search(problem, &mut meter);
    let mut steps = tried - meter.steps_left();
    let half = (budget - tried) / 2;
    let limit = match first {
        Found::Order(order) => return (Decision::Valid(Some(order)), steps),
        Found::Nothing => return (Decision::Invalid, steps),
        Found::GivenUp(limit) if half == 0 => return (Decision::GivenUp(limit), steps),
        Found::GivenUp(limit) => limit,
    };
    let mut meter = Meter::new(half);
    let reached = reach(problem, &mut meter);
    steps += half - meter.steps_left();
    let limit = match reached {
        Reached::End => return (Decision::Valid(None), steps),
        Reached::Nothing { .. } => return (Decision::Invalid, steps),
        Reached::Limit(Limit::Time) => return (Decision::GivenUp(Limit::Time), steps),
        Reached::Limit(Limit::Memory) => Limit::Memory,
        Reached::Crowded => limit,
    };
    let mut meter = Meter::new(half);
    let last = search(problem, &mut meter);
    steps += half - meter.steps_left();
    let decision = match last {
        Found::Order(order) => Decision::Valid(Some(order)),
        Found::Nothing => Decision::Invalid,
        Found::GivenUp(_) => Decision::GivenUp(limit),
    };
    (decision, steps)
}
