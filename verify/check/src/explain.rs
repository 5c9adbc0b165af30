//! Telling a person why a history cannot be explained: the few operations that show it, which answer
//! made it impossible, and how everything before that answer can be understood.

use std::fmt::Write as _;

use crate::frontier::{Reached, reach};
use crate::history::{Answer, Completion, Op, OpId};
use crate::limits::Meter;
use crate::linearizable::{Decision, Violation, decide, name};
use crate::prepare::prepare;
use crate::problem::Problem;
use crate::register::{ABSENT, State};
use crate::search::Choice;
use crate::shrink::shrink;

/// How many operations of the order are shown, the last ones.
const SHOWN_MAX: usize = 12;
/// How many operations are few: they are all drawn.
const FEW_MAX: usize = 60;

/// Explains the operations on `keys`, of which it is certain that no order explains them. `budget` is
/// for each of the searches; one that is given up counts as no violation, and then more is shown than
/// it takes.
pub fn explain(keys: &[&str], ops: &[&Op], budget: u64) -> Violation {
    let prefix = impossible_prefix(keys, ops, budget);
    let few = shrink(keys, &prefix.iter().collect::<Vec<_>>());
    let few: Vec<&Op> = few.iter().collect();
    let (culprit, order) = if few.len() <= FEW_MAX {
        first_impossible(keys, &few, budget)
    } else {
        last_answer(keys, &few, &prefix, budget)
    };
    let explanation = describe(keys, ops, &few, &order, culprit);
    let shown = if few.len() <= FEW_MAX {
        few.iter().map(|op| op.id).collect()
    } else {
        order.tail().iter().copied().chain([culprit]).collect()
    };
    Violation { key: keys.join(", "), explanation, shown, linearized: order.ops, culprit }
}

/// Of a history that could not be made small: its last answer, and an order for what had ended before.
fn last_answer(keys: &[&str], few: &[&Op], prefix: &[Op], budget: u64) -> (OpId, Order) {
    let ended = prefix.iter().filter_map(|op| Some((end(op)?, op.id)));
    let (position, culprit) = ended.max().expect("what cannot be explained has answers");
    let before = cut(few, position - 1);
    let problem = prepare(keys, &before.iter().collect::<Vec<_>>());
    let order = match decide(&problem, budget) {
        Decision::Valid(Some(choices)) => replay(keys, &problem, &choices),
        _ => Order::before_all(keys),
    };
    (culprit, order)
}

/// What had happened when it had become impossible, or soon after.
fn impossible_prefix(keys: &[&str], ops: &[&Op], budget: u64) -> Vec<Op> {
    let mut ends: Vec<usize> = ops.iter().filter_map(|op| end(op)).collect();
    ends.sort_unstable();
    if let Reached::Nothing { position } = reach(&prepare(keys, ops), &mut Meter::new(budget)) {
        let (mut place, mut further) = (ends.partition_point(|end| *end < position), 1);
        while let Some(end) = ends.get(place) {
            let prefix = cut(ops, *end);
            if let Decision::Invalid = decide(&prepare(keys, &prefix.iter().collect::<Vec<_>>()), budget) {
                return prefix;
            }
            place += further;
            further *= 2;
        }
    }
    ops.iter().map(|op| (*op).clone()).collect()
}

/// The first answer that makes it impossible, and an order for what had ended before.
///
/// What is linearizable stays so when its end is cut off. So bisection finds that answer.
fn first_impossible(keys: &[&str], ops: &[&Op], budget: u64) -> (OpId, Order) {
    let mut answers: Vec<(usize, OpId)> = ops.iter().filter_map(|op| Some((end(op)?, op.id))).collect();
    answers.sort_unstable();
    let (mut impossible, mut unproven) = (answers.len() - 1, 0);
    let mut order = Order::before_all(keys);
    while unproven < impossible {
        let middle = unproven + (impossible - unproven) / 2;
        let (position, _) = answers[middle];
        let prefix = cut(ops, position);
        let prefix: Vec<&Op> = prefix.iter().collect();
        let problem = prepare(keys, &prefix);
        order = match decide(&problem, budget) {
            Decision::Invalid => {
                impossible = middle;
                continue;
            }
            Decision::Valid(Some(choices)) => replay(keys, &problem, &choices),
            Decision::Valid(None) | Decision::GivenUp(_) => Order::before_all(keys),
        };
        unproven = middle + 1;
    }
    (answers[impossible].1, order)
}

/// Where the operation ended with an answer that says something.
fn end(op: &Op) -> Option<usize> {
    let (moment, completion) = op.completed.as_ref()?;
    (*completion != Completion::Unknown).then_some(moment.position)
}

/// The history up to and including the event at `position`.
fn cut(ops: &[&Op], position: usize) -> Vec<Op> {
    let begun = ops.iter().filter(|op| op.invoked.position <= position);
    let cut = begun.map(|op| {
        let completed = op.completed.clone().filter(|(end, _)| end.position <= position);
        Op { completed, ..(*op).clone() }
    });
    cut.collect()
}

fn find<'a>(ops: &[&'a Op], id: OpId) -> &'a Op {
    let index = ops.binary_search_by_key(&id, |op| op.id).expect("an operation on these keys");
    ops[index]
}

/// An order, and what the keys are after it.
struct Order {
    ops: Vec<OpId>,
    states: Vec<State>,
    /// The last change of each.
    holders: Vec<Option<OpId>>,
}

impl Order {
    fn before_all(keys: &[&str]) -> Order {
        let (states, holders) = (vec![State::INITIAL; keys.len()], vec![None; keys.len()]);
        Order { ops: Vec::new(), states, holders }
    }

    fn tail(&self) -> &[OpId] {
        &self.ops[self.ops.len().saturating_sub(SHOWN_MAX)..]
    }
}

fn replay(keys: &[&str], problem: &Problem, choices: &[Choice]) -> Order {
    let mut order = Order::before_all(keys);
    let mut taken = vec![0; problem.ghosts.len()];
    for choice in choices {
        let (key, step, op) = match *choice {
            Choice::Certain(i) => (problem.certain[i].key, problem.certain[i].step, problem.certain[i].op),
            Choice::Ghost(class) => {
                let ghosts = &problem.ghosts[class];
                taken[class] += 1;
                (ghosts.key, ghosts.step, ghosts.ops[taken[class] - 1].1)
            }
        };
        let before = order.states[key];
        let after = problem.apply(&order.states, key, step).expect("the search takes possible steps only");
        if !step.is_observation() && (after != before || step.leaves().is_some_and(|left| left != ABSENT)) {
            order.holders[key] = Some(op);
        }
        order.states[key] = after;
        order.ops.push(op);
    }
    order
}

fn describe(keys: &[&str], ops: &[&Op], few: &[&Op], order: &Order, culprit: OpId) -> String {
    let its = if keys.len() == 1 { "its operations" } else { "their operations" };
    let mut text = format!("{}: no order of {its} explains what clients saw.\n", name(keys));
    if few.len() < ops.len() {
        let (few, all) = (few.len(), ops.len());
        let show = if few == 1 { "shows" } else { "show" };
        writeln!(text, "Of {all}, {few} {show} it already, whatever effect the others had.")
            .expect("writing to a string cannot fail");
    }
    if !order.ops.is_empty() {
        text.push_str("What had ended before is explained, for example by an order that ends with\n");
        for op in order.tail() {
            writeln!(text, "  {}", find(ops, *op)).expect("writing to a string cannot fail");
        }
        let concerned = |key: &&str| keys.len() == 1 || find(ops, culprit).action.keys().any(|of| of == *key);
        let states: Vec<String> = (0..keys.len())
            .filter(|&i| concerned(&keys[i]))
            .map(|i| {
                let key = if keys.len() == 1 { "the key".to_owned() } else { format!("{:?}", keys[i]) };
                describe_state(&key, order.states[i], order.holders[i].map(|id| find(ops, id)))
            })
            .collect();
        text.push_str(&format!("after which {}. ", states.join(", ")));
    }
    text + &format!("This answer makes it impossible:\n  {}", find(ops, culprit))
}

/// What a key is, in words.
fn describe_state(key: &str, state: State, holder: Option<&Op>) -> String {
    let Some(holder) = holder.filter(|_| state.value != ABSENT) else {
        return format!("{key} is absent");
    };
    let value = holder.action.value().expect("only writes give a value");
    let answered = matches!(holder.completed, Some((_, Completion::Ok(Answer::Written { .. }))));
    if state.exact {
        format!("{key} holds {value:?} at revision {}", state.revision_min)
    } else if answered {
        format!("{key} holds {value:?}")
    } else {
        format!("{key} holds {value:?}, whose write was never answered")
    }
}
