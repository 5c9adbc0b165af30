//! A judge that is too simple to be wrong: it tries all orders of tiny histories, with every operation of
//! unknown outcome in or out, and every revision that fits.

use std::collections::BTreeMap;

use check::{Action, Answer, Completion, Op};

/// Unknown revisions are tried up to here: more than any told one plus the number of operations.
const REVISION_MAX: u64 = 14;

#[derive(Clone, Default)]
struct Register {
    value: Option<String>,
    /// Of the last change, a delete included.
    revision: u64,
}

/// Every key ever asked for.
#[derive(Clone, Default)]
struct Map(BTreeMap<String, Register>);

/// Whether some order explains the operations, as those of one map.
pub fn explained(ops: &[Op]) -> bool {
    try_orders(ops, &mut vec![false; ops.len()], &Map::default())
}

/// The operations on one key, of which a read of many is a read.
pub fn of_key(ops: &[Op], key: &str) -> Vec<Op> {
    let concerned = ops.iter().filter(|op| op.action.keys().any(|of| of == key));
    let one = concerned.map(|op| {
        let Action::ReadMany { keys } = &op.action else { return op.clone() };
        let place = keys.iter().position(|of| of == key).unwrap();
        let completed = op.completed.clone().map(|(moment, completion)| match completion {
            Completion::Ok(Answer::ReadMany { values }) => {
                let value = values[place].clone();
                (moment, Completion::Ok(Answer::Read { value, revision: None }))
            }
            other => (moment, other),
        });
        Op { action: Action::Read { key: key.to_owned() }, completed, ..op.clone() }
    });
    one.collect()
}

impl Map {
    fn value(&self, key: &str) -> Option<&String> {
        self.0.get(key).and_then(|register| register.value.as_ref())
    }

    /// All that it can be after `op`.
    fn outcomes(&self, op: &Op) -> Vec<Map> {
        if let Action::ReadMany { keys } = &op.action {
            let Some((_, Completion::Ok(Answer::ReadMany { values }))) = &op.completed else {
                return vec![self.clone()];
            };
            let fits = keys.iter().zip(values).all(|(key, value)| self.value(key) == value.as_ref());
            return if fits { vec![self.clone()] } else { vec![] };
        }
        let key = op.action.key().to_owned();
        let register = self.0.get(&key).cloned().unwrap_or_default();
        let after = |register| {
            let mut map = self.clone();
            map.0.insert(key.clone(), register);
            map
        };
        outcomes(&register, op).into_iter().map(after).collect()
    }
}

/// All states after `op`, for all revisions that it may have taken.
fn outcomes(register: &Register, op: &Op) -> Vec<Register> {
    let completion = op.completed.as_ref().map_or(&Completion::Unknown, |(_, completion)| completion);
    let current = if register.value.is_some() { register.revision } else { 0 };
    let same = vec![register.clone()];
    let changed = |value: Option<&String>, told: Option<u64>| -> Vec<Register> {
        (register.revision + 1..=REVISION_MAX)
            .filter(|revision| told.is_none_or(|told| told == *revision))
            .map(|revision| Register { value: value.cloned(), revision })
            .collect()
    };
    let told = match completion {
        Completion::Ok(Answer::Written { revision } | Answer::Deleted { revision, .. }) => *revision,
        _ => None,
    };
    match (&op.action, completion) {
        (Action::Cas { expected_revision, .. }, Completion::Fail { current: Some(seen) }) => {
            if *seen == current && current != *expected_revision { same } else { vec![] }
        }
        (Action::CasValue { expected, .. }, Completion::Differs { current }) => {
            let fits = *expected != register.value && current.as_ref().is_none_or(|c| *c == register.value);
            if fits { same } else { vec![] }
        }
        (_, Completion::Fail { .. } | Completion::Differs { .. }) => same,
        (Action::Read { .. }, Completion::Ok(Answer::Read { value, revision })) => {
            let fits = *value == register.value && revision.is_none_or(|r| r == current);
            if fits { same } else { vec![] }
        }
        (Action::Read { .. }, _) => same,
        (Action::Write { value, .. }, _) => changed(Some(value), told),
        (Action::Delete { .. }, completion) => {
            let existed = match completion {
                Completion::Ok(Answer::Deleted { existed, .. }) => *existed,
                _ => None,
            };
            match register.value {
                None => {
                    if existed == Some(true) {
                        vec![]
                    } else {
                        same
                    }
                }
                Some(_) => {
                    if existed == Some(false) {
                        vec![]
                    } else {
                        changed(None, told)
                    }
                }
            }
        }
        (Action::CasValue { expected, value, .. }, _) => {
            if register.value == *expected {
                changed(Some(value), told)
            } else {
                vec![]
            }
        }
        (Action::ReadMany { .. } | Action::Final { .. }, _) => unreachable!("no register knows of it"),
        (Action::Cas { expected_revision, value, .. }, _) => {
            if current == *expected_revision {
                changed(Some(value), told)
            } else {
                vec![]
            }
        }
    }
}

fn try_orders(ops: &[Op], done: &mut Vec<bool>, map: &Map) -> bool {
    let end = |op: &Op| match &op.completed {
        Some((end, Completion::Ok(_) | Completion::Fail { .. } | Completion::Differs { .. })) => end.position,
        _ => usize::MAX,
    };
    let left = || (0..ops.len()).filter(|&i| !done[i]);
    if left().all(|i| end(&ops[i]) == usize::MAX) {
        return true;
    }
    let bound = left().map(|i| end(&ops[i])).min().unwrap_or(usize::MAX);
    let candidates: Vec<usize> = left().filter(|&i| ops[i].invoked.position < bound).collect();
    for i in candidates {
        done[i] = true;
        for after in map.outcomes(&ops[i]) {
            if try_orders(ops, done, &after) {
                done[i] = false;
                return true;
            }
        }
        done[i] = false;
    }
    false
}
