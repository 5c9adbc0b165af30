//! Telling a person why a key's history cannot be explained: which answer made it impossible, and how
//! everything before that answer can be understood.

use std::fmt::Write as _;

use crate::history::{Action, Answer, Completion, Op, OpId};
use crate::linearizable::Violation;
use crate::prepare::{Problem, prepare};
use crate::register::{ABSENT, State};
use crate::search::{Choice, Found, search};

/// How many operations of the order are shown, the last ones.
const SHOWN_MAX: usize = 6;

/// Explains the operations of one key, of which it is certain that no order explains them.
///
/// What is linearizable stays so when its end is cut off. So bisection finds the first answer with
/// which it is not. `budget` is for each of the searches; one that is given up counts as no violation,
/// and then a later answer is found.
pub fn explain(key: &str, ops: &[&Op], budget: u64) -> Violation {
    let mut answers: Vec<(usize, OpId)> = ops.iter().filter_map(|op| Some((end(op)?, op.id))).collect();
    answers.sort_unstable();
    let (mut impossible, mut unproven) = (answers.len() - 1, 0);
    let mut order = Order::default();
    while unproven < impossible {
        let middle = unproven + (impossible - unproven) / 2;
        let (position, _) = answers[middle];
        let prefix = cut(ops, position);
        let prefix: Vec<&Op> = prefix.iter().collect();
        let problem = prepare(&prefix);
        match search(&problem, budget) {
            Found::Nothing => impossible = middle,
            Found::Order(choices) => {
                order = replay(&problem, &choices);
                unproven = middle + 1;
            }
            Found::Exhausted => {
                order = Order::default();
                unproven = middle + 1;
            }
        }
    }
    let (_, culprit) = answers[impossible];
    let explanation = describe(key, ops, &order, culprit);
    Violation { key: key.to_owned(), explanation, linearized: order.ops, culprit }
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

/// An order, and what the key is after it.
struct Order {
    ops: Vec<OpId>,
    state: State,
    /// The last change.
    holder: Option<OpId>,
}

impl Default for Order {
    fn default() -> Order {
        Order { ops: Vec::new(), state: State::INITIAL, holder: None }
    }
}

fn replay(problem: &Problem, choices: &[Choice]) -> Order {
    let mut order = Order::default();
    let mut taken = vec![0; problem.ghosts.len()];
    for choice in choices {
        let (step, op) = match *choice {
            Choice::Certain(i) => (problem.certain[i].step, problem.certain[i].op),
            Choice::Ghost(class) => {
                let ghosts = &problem.ghosts[class];
                taken[class] += 1;
                (ghosts.step, ghosts.ops[taken[class] - 1].1)
            }
        };
        let before = order.state;
        order.state = step.apply(before, &problem.claimed).expect("the search takes possible steps only");
        if !step.is_observation() && order.state != before {
            order.holder = Some(op);
        }
        order.ops.push(op);
    }
    order
}

fn describe(key: &str, ops: &[&Op], order: &Order, culprit: OpId) -> String {
    let find = |id: OpId| {
        let index = ops.binary_search_by_key(&id, |op| op.id).expect("an operation of this key");
        ops[index]
    };
    let mut text = format!("key {key:?}: no order of its operations explains what clients saw.\n");
    if !order.ops.is_empty() {
        text.push_str("What had ended before is explained, for example by an order that ends with\n");
        for op in &order.ops[order.ops.len().saturating_sub(SHOWN_MAX)..] {
            writeln!(text, "  {}", find(*op)).expect("writing to a string cannot fail");
        }
        let state = describe_state(order.state, order.holder.map(find));
        text.push_str(&format!("after which {state}. "));
    }
    text + &format!("This answer makes it impossible:\n  {}", find(culprit))
}

/// What the key is, in words.
fn describe_state(state: State, holder: Option<&Op>) -> String {
    let Some(holder) = holder.filter(|_| state.value != ABSENT) else {
        return "the key is absent".to_owned();
    };
    let (Action::Write { value, .. } | Action::Cas { value, .. }) = &holder.action else {
        unreachable!("only writes give a value");
    };
    let answered = matches!(holder.completed, Some((_, Completion::Ok(Answer::Written { .. }))));
    if state.exact {
        format!("the key holds {value:?} at revision {}", state.revision_min)
    } else if answered {
        format!("the key holds {value:?}")
    } else {
        format!("the key holds {value:?}, whose write was never answered")
    }
}
