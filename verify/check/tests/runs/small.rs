//! Random histories that are so small that all their orders can be tried.

use check::{Action, Answer, Completion, History};
use proptest::collection::vec;
use proptest::prelude::*;

/// One step of a random run: which process, what it does next, to which key, how it ends.
pub type Draw = (u64, u8, u8, u8, u64, u64, u8);

/// A random history of at most two keys and six operations, few values and revisions, so that many are
/// valid and many just not.
pub fn history(draws: &[Draw], unique: bool, keys: u8) -> History {
    let mut history = History::new();
    for &(process, kind, key, value, revision, expected, end) in draws {
        let name = |value: u8| format!("v{value}");
        let maybe = |value: u64| (value > 0).then(|| name(value as u8));
        let key = format!("k{}", key % keys);
        let Some(open) = history.open_op(process) else {
            if history.ops().len() == 6 {
                continue;
            }
            let fresh = if unique { history.ops().len() as u8 } else { value };
            let action = match kind {
                0..=2 => Action::Read { key },
                3..=5 => Action::Write { key, value: name(fresh) },
                6 => Action::Delete { key },
                7 => Action::Cas { key, expected_revision: expected, value: name(fresh) },
                8..=10 => Action::CasValue { key, expected: maybe(expected), value: name(fresh) },
                _ => Action::ReadMany { keys: (0..keys).map(|key| format!("k{key}")).collect() },
            };
            history.invoke(process, 0, action).unwrap();
            continue;
        };
        let told = (revision > 0 && end < 6).then_some(revision);
        let completion = match (&open.action, end) {
            (_, 8 | 9) => Completion::Unknown,
            (Action::ReadMany { keys }, _) => {
                let values =
                    (0..).zip(keys).map(|(place, _)| maybe((u64::from(value) + place * expected) % 5));
                Completion::Ok(Answer::ReadMany { values: values.collect() })
            }
            (Action::Cas { .. }, 4..=7) => Completion::Fail { current: Some(revision) },
            (Action::CasValue { .. }, 4) => Completion::Differs { current: None },
            (Action::CasValue { expected, .. }, 5) if *expected != maybe(revision) => {
                Completion::Differs { current: Some(maybe(revision)) }
            }
            (Action::CasValue { .. }, 6) => Completion::Fail { current: None },
            (Action::Read { .. }, 0) => Completion::Ok(Answer::Read { value: None, revision: None }),
            (Action::Read { .. }, _) => {
                Completion::Ok(Answer::Read { value: Some(name(value)), revision: told })
            }
            (Action::Delete { .. }, 0..=2) => {
                Completion::Ok(Answer::Deleted { existed: Some(true), revision: told })
            }
            (Action::Delete { .. }, 3..=4) => {
                Completion::Ok(Answer::Deleted { existed: Some(false), revision: None })
            }
            (Action::Delete { .. }, _) => Completion::Ok(Answer::Deleted { existed: None, revision: None }),
            _ => Completion::Ok(Answer::Written { revision: told }),
        };
        history.complete(process, 0, completion).unwrap();
    }
    history
}

pub fn draws() -> impl Strategy<Value = Vec<Draw>> {
    vec((0..4_u64, 0..12_u8, 0..2_u8, 0..5_u8, 0..6_u64, 0..4_u64, 0..10_u8), 0..16)
}
