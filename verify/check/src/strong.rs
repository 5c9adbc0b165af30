//! The part of a history that must have one order in real time: what weaker reads saw, and what was only
//! repeated, says nothing about that.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::facts::is_change;
use crate::history::{Action, Completion, History, Op};
use crate::terms::Terms;

/// The history, in which what is not strong says nothing: the outcome of a weaker read counts as unknown, as does
/// that of a change that was kept less well than promised, and told so; a change that repeated an earlier one
/// has failed, unless it is the only one of that value. Operations keep their numbers. `is_strong` says which reads are.
pub fn strong_part(history: &History, is_strong: impl Fn(&Op) -> bool) -> Cow<'_, History> {
    let ops = history.ops();
    if ops.iter().all(|op| op.receipt.is_none() && op.terms == Terms::default()) {
        return Cow::Borrowed(history);
    }
    let written: HashSet<(&str, &str)> = ops.iter().filter(|op| is_change(op)).filter_map(value).collect();
    let instead = |op: &Op| {
        op.answer()?;
        match op.action {
            Action::Read { .. } if is_strong(op) => None,
            Action::Read { .. } => Some(Completion::Unknown),
            _ if op.is_repetition() && value(op).is_some_and(|value| written.contains(&value)) => {
                Some(Completion::Fail { current: None })
            }
            _ if op.is_repetition() => Some(Completion::Unknown),
            _ if op.is_owed_strong() => None,
            _ => Some(Completion::Unknown),
        }
    };
    if ops.iter().all(|op| instead(op).is_none()) {
        return Cow::Borrowed(history);
    }
    let mut part = history.clone();
    for op in part.ops_mut() {
        if let (Some(completion), Some((_, completed))) = (instead(op), &mut op.completed) {
            *completed = completion;
            op.receipt = None;
        }
    }
    Cow::Owned(part)
}

/// The key and the value that a change leaves.
fn value(op: &Op) -> Option<(&str, &str)> {
    Some((op.action.key(), op.action.value()?))
}
