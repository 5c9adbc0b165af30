//! From the operations of one key, or of several that were read together, to a search problem that is as small as it can soundly be.
//!
//! The trouble is operations with an unknown outcome: each may take effect at any later moment or
//! never, so a search that tries them one by one grows exponentially with their number. Four steps
//! keep it small, and none changes the verdict:
//!
//! 1. **What was seen, happened.** If exactly one operation could have written a value and somebody
//!    read that value, the operation took effect, and before the first such read ended. It becomes a
//!    certain operation, at the revision that the read told. Most unknown writes that matter go here.
//! 2. **Unread values are one value.** Nothing tells apart two values that nobody read or asked for.
//! 3. **Unknown operations with the same effect are one class.** None has an end, so what is available
//!    once stays available: a search may always take the earliest of a class, and need only count how
//!    many it took.
//! 4. **What cannot help is dropped.** Taking a ghost (an unknown operation) only serves to make some
//!    other operation possible. An unread value is noticed only by a delete that found a key, by a
//!    compare-and-set that found another value than it expected, or by a revision that somebody saw and
//!    that is of no known change. If the history has none of them, unread writes and creations are
//!    dropped. A cas from a revision finds its key present and leaves it so: only such a loose revision
//!    can tell. A delete is noticed only by who found the key absent, or found another value, or made
//!    possible a ghost creation.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Answer, Completion, Op};
use crate::problem::{Certain, Ghosts, KeyFacts, KeyIndex, Problem, ValueUse};
use crate::register::{ABSENT, Revisions, Step, UNREAD, ValueId};
use crate::values::Values;

/// Prepares the operations of `keys`. Of a read of many keys the others are left out.
pub fn prepare(keys: &[&str], ops: &[&Op]) -> Problem {
    let values: Vec<Values<'_>> = keys
        .iter()
        .map(|key| {
            let concerned = |op: &&&Op| keys.len() == 1 || op.action.keys().any(|other| other == *key);
            Values::of(key, &ops.iter().filter(concerned).copied().collect::<Vec<_>>())
        })
        .collect();
    let mut certain = Vec::new();
    let mut ghosts: BTreeMap<(KeyIndex, u8, u64, ValueId), Ghosts> = BTreeMap::new();
    for op in ops {
        let from = op.invoked.position;
        match interpret(op, keys, &values) {
            None => {}
            Some(Meaning::Certain(mut parts, until)) => {
                let (key, step) = parts.remove(0);
                certain.push(Certain { op: op.id, key, step, also: parts.into(), from, until });
            }
            Some(Meaning::Ghost(key, step)) => {
                let class = match step {
                    Step::Write { value, .. } => (key, 0, 0, value),
                    Step::Cas { expected, value, .. } => (key, 1, expected, value),
                    Step::CasValue { expected, value, .. } => (key, 2, expected.into(), value),
                    _ => (key, 3, 0, 0),
                };
                let class = ghosts.entry(class).or_insert(Ghosts { key, step, ops: Vec::new() });
                class.ops.push((from, op.id));
            }
        }
    }
    certain.sort_by_key(|op| op.from);

    let ghosts: Vec<Ghosts> = ghosts.into_values().collect();
    let mut keys: Vec<KeyFacts> =
        (0..keys.len()).map(|key| key_facts(key, &values[key], &certain, &ghosts)).collect();
    let ghosts = useful(ghosts, &keys, &certain);
    note_values(&mut keys, &certain, &ghosts);
    let mut leaving: HashMap<(KeyIndex, ValueId), Vec<usize>> = HashMap::new();
    for (class, ghosts) in ghosts.iter().enumerate() {
        let value = ghosts.step.leaves().expect("a ghost is a change");
        leaving.entry((ghosts.key, value)).or_default().push(class);
    }
    Problem { keys, certain, ghosts, leaving }
}

fn key_facts(key: KeyIndex, values: &Values<'_>, certain: &[Certain], ghosts: &[Ghosts]) -> KeyFacts {
    let changes =
        || (0..certain.len()).filter(|&i| certain[i].key == key && certain[i].step.taken().is_some());
    let mut by_revision: Vec<usize> = changes().collect();
    by_revision.sort_by_key(|&i| certain[i].step.taken());
    let claimed = changes().filter_map(|i| certain[i].step.taken()).collect();
    let mut revisions = Revisions { named: !by_revision.is_empty(), claimed };

    let of_ghosts = ghosts.iter().filter(|class| class.key == key).map(|class| class.step);
    let steps: Vec<Step> = parts(certain, key).chain(of_ghosts).collect();
    revisions.named |= steps.iter().any(|step| step.seen().is_some());
    let loose_revisions =
        steps.iter().filter_map(|step| step.seen()).any(|seen| !revisions.claimed.contains(&seen));
    let differences = steps.iter().any(|step| matches!(step, Step::Differs { current: None, .. }));
    let presence = steps.iter().any(|step| step.excludes() == Some(ABSENT));
    let once = |(value, facts): (usize, &crate::values::ValueFacts)| ValueUse {
        once: if value == ABSENT as usize { !values.removed } else { facts.writers == 1 },
        needs: 0,
        needed_from: 0,
        named_until: 0,
    };
    KeyFacts {
        revisions,
        loose_revisions,
        by_revision,
        values: values.facts.iter().enumerate().map(|(value, facts)| once((value, facts))).collect(),
        unread_matters: presence || differences || loose_revisions,
        differences,
    }
}

fn parts(certain: &[Certain], key: KeyIndex) -> impl Iterator<Item = Step> {
    certain.iter().flat_map(Certain::parts).filter(move |(of, _)| *of == key).map(|(_, step)| step)
}

/// Notes who needs and names which value.
fn note_values(keys: &mut [KeyFacts], certain: &[Certain], ghosts: &[Ghosts]) {
    for op in certain {
        for (key, step) in op.parts() {
            if let Some(value) = step.needs() {
                let uses = &mut keys[key].values[value as usize];
                uses.needs += 1;
                uses.needed_from = uses.needed_from.max(op.from);
            }
            for value in step.needs().into_iter().chain(step.excludes()) {
                let uses = &mut keys[key].values[value as usize];
                uses.named_until = uses.named_until.max(op.until);
            }
        }
    }
    for class in ghosts {
        if let Some(value) = class.step.needs() {
            keys[class.key].values[value as usize].named_until = usize::MAX;
        }
    }
}

enum Meaning {
    /// It took effect, before the position.
    Certain(Vec<(KeyIndex, Step)>, usize),
    /// It may take effect.
    Ghost(KeyIndex, Step),
}

/// What an operation means; `None` if it neither changed nor tells anything.
fn interpret(op: &Op, keys: &[&str], values: &[Values<'_>]) -> Option<Meaning> {
    let unknown = (usize::MAX, &Completion::Unknown);
    let (until, completion) =
        op.completed.as_ref().map_or(unknown, |(moment, completion)| (moment.position, completion));
    let find = |key: &str| keys.iter().position(|of| *of == key);
    let key = match (&op.action, completion) {
        (Action::ReadMany { keys: read }, Completion::Ok(Answer::ReadMany { values: told })) => {
            let parts = read.iter().zip(told).filter_map(|(read, value)| {
                let key = find(read)?;
                Some((key, Step::Read { value: values[key].named(value.as_deref()), revision: None }))
            });
            return Some(Meaning::Certain(parts.collect(), until));
        }
        (Action::ReadMany { .. } | Action::Final { .. }, _) => return None,
        (action, _) => find(action.key())?,
    };
    let values = &values[key];
    let certain = |step| Some(Meaning::Certain(vec![(key, step)], until));
    let written = |value: &str, step: &dyn Fn(ValueId, Option<u64>) -> Step| {
        let (value, facts) = values.written(value);
        let revision = told(completion).or(facts.revision.filter(|_| facts.is_sure()));
        match completion {
            Completion::Unknown if facts.is_sure() => {
                Some(Meaning::Certain(vec![(key, step(value, revision))], facts.seen_until))
            }
            Completion::Unknown => Some(Meaning::Ghost(key, step(value, None))),
            _ => certain(step(value, revision)),
        }
    };
    match (&op.action, completion) {
        (Action::Cas { expected_revision, .. }, Completion::Fail { current: Some(current) }) => {
            certain(Step::Conflict { expected: *expected_revision, current: *current })
        }
        (Action::CasValue { expected, .. }, Completion::Differs { current }) => {
            let current = current.as_ref().map(|current| values.named(current.as_deref()));
            certain(Step::Differs { expected: values.named(expected.as_deref()), current })
        }
        (_, Completion::Fail { .. }) | (Action::Read { .. }, Completion::Unknown) => None,
        (Action::Read { .. }, Completion::Ok(Answer::Read { value, revision })) => {
            certain(Step::Read { value: values.named(value.as_deref()), revision: *revision })
        }
        (Action::Delete { .. }, Completion::Ok(Answer::Deleted { existed, revision })) => {
            certain(Step::Delete { existed: *existed, revision: *revision })
        }
        (Action::Delete { .. }, _) => {
            Some(Meaning::Ghost(key, Step::Delete { existed: None, revision: None }))
        }
        (Action::Write { value, .. }, _) => {
            written(value, &|value, revision| Step::Write { value, revision })
        }
        (Action::Cas { expected_revision: expected, value, .. }, _) => {
            written(value, &|value, revision| Step::Cas { expected: *expected, value, revision })
        }
        (Action::CasValue { expected, value, .. }, _) => {
            let expected = values.named(expected.as_deref());
            written(value, &|value, revision| Step::CasValue { expected, value, revision })
        }
        (Action::Read { .. } | Action::ReadMany { .. } | Action::Final { .. }, _) => {
            unreachable!("a history holds fitting answers only")
        }
    }
}

fn told(completion: &Completion) -> Option<u64> {
    match completion {
        Completion::Ok(Answer::Written { revision }) => *revision,
        _ => None,
    }
}

/// Step 4 of the module's argument.
fn useful(classes: Vec<Ghosts>, keys: &[KeyFacts], certain: &[Certain]) -> Vec<Ghosts> {
    let (deletes, mut kept): (Vec<_>, Vec<_>) =
        classes.into_iter().partition(|class| matches!(class.step, Step::Delete { .. }));
    kept.retain(|class| {
        let facts = &keys[class.key];
        match class.step {
            Step::Write { value: UNREAD, .. } | Step::Cas { expected: 0, value: UNREAD, .. } => {
                facts.unread_matters
            }
            Step::Cas { value: UNREAD, .. } => facts.loose_revisions,
            Step::CasValue { expected: ABSENT, value: UNREAD, .. } => facts.unread_matters,
            Step::CasValue { value: UNREAD, .. } => facts.loose_revisions || facts.differences,
            _ => true,
        }
    });
    let absence = |key: KeyIndex| {
        let ghosts = kept.iter().filter(|class| class.key == key).map(|class| class.step);
        let mut steps = parts(certain, key).chain(ghosts);
        steps.any(|step| step.needs() == Some(ABSENT) || matches!(step, Step::Differs { current: None, .. }))
    };
    let absences: Vec<bool> = (0..keys.len()).map(absence).collect();
    kept.extend(deletes.into_iter().filter(|class| absences[class.key]));
    kept
}
