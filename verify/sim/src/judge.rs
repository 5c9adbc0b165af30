//! The last word: whether the clients' history is linearizable, and its revisions in order; whether locks, idempotency
//! keys and watches were, to those who used them, what they promise.

use check::{
    Action, Answer, BUDGET_DEFAULT, Completion, EffectForm, Judgement, Kind, check_delivery, check_effects,
    check_fencing, check_linearizable, check_locks, check_revisions,
};

use crate::{
    clients::Clients,
    counts::Counts,
    failure::{Broken, Verdict},
    invariants::{Judged, is_left_out},
    plan::{KEYSPACES, SHARDED},
    saw::{Saw, short},
};

/// Judges the histories of all keyspaces.
pub fn judge(clients: &Clients, counts: &mut Counts) -> Result<Verdict, Broken> {
    let mut verdict = Verdict::Passed;
    for (number, (name, history)) in KEYSPACES.iter().zip(&clients.histories).enumerate() {
        counts.add("operations_judged", history.ops().len() as u64);
        let judged = !is_left_out("linearizable");
        match judged.then(|| check_linearizable(history, BUDGET_DEFAULT / 4)) {
            None | Some(check::Verdict::Valid) => {}
            Some(check::Verdict::Invalid(violation)) => {
                let message = format!("keyspace {name}, key {}:\n{}", violation.key, violation.explanation);
                return Err(Broken::safety("linearizable", message));
            }
            Some(check::Verdict::Unknown { reason }) => {
                verdict = Verdict::Unknown(format!("keyspace {name}: {reason}"))
            }
        }
        // Each shard has revisions of its own.
        if number == SHARDED {
            continue;
        }
        let in_order = check_revisions(history).map_err(|violation| {
            Broken::safety("revisions_in_order", format!("keyspace {name}: {violation}"))
        });
        in_order.unless_left_out()?;
    }
    for (number, name) in KEYSPACES.iter().enumerate() {
        for (judgement, broken) in judgements(clients, number, counts) {
            match judgement {
                Judgement::Valid => {}
                Judgement::Unknown { reason } => {
                    verdict = Verdict::Unknown(format!("keyspace {name}: {reason}"));
                }
                Judgement::Invalid(found) => {
                    Err(broken(format!("keyspace {name}: {}", found.explanation))).unless_left_out()?;
                }
            }
        }
    }
    Ok(verdict)
}

/// What a judge says, and what is broken if that is no good.
type Word = (Judgement, fn(String) -> Broken);

/// What the histories of one keyspace come to, beside that of single operations.
fn judgements(clients: &Clients, number: usize, counts: &mut Counts) -> Vec<Word> {
    let Saw { locks, effects, logs, keyed, .. } = &clients.saw;
    let mut found: Vec<Word> = Vec::new();
    if let Some(history) = locks.get(number).filter(|_| !is_left_out("holders_history")) {
        counts.add("lock_operations_judged", history.entries().len() as u64);
        let broken = |what| Broken::safety("holders_history", what);
        found.push((check_locks(history), broken as fn(String) -> Broken));
        found.push((check_fencing(history), broken));
    }
    if !is_left_out("keyed_history") {
        // Where a value was read, or watched, its write took effect: at one revision.
        let reads =
            clients.histories[number].ops().iter().filter_map(|op| match (&op.action, &op.completed) {
                (
                    Action::Read { .. },
                    Some((_, Completion::Ok(Answer::Read { value: Some(value), revision: Some(revision) }))),
                ) => Some((short(value), *revision)),
                _ => None,
            });
        let watched = logs.values().filter(|(keyspace, ..)| *keyspace == number);
        let watched = watched.map(|(_, revision, value)| (value.to_owned(), revision));
        let seen: std::collections::BTreeSet<(String, u64)> = reads.chain(watched).collect();
        let mut history = effects[number].clone();
        let end_us = clients.histories[number].last_time_us().max(history.last_time_us());
        for (value, _) in seen {
            if let Some((key, body)) = keyed.get(&(number, value)).cloned() {
                let form = EffectForm::Effect { key, body, result: None };
                history.add(u64::MAX, Kind::Note, end_us, form).expect("a note at the end");
            }
        }
        counts.add("attempts_judged", history.entries().len() as u64);
        found.push((check_effects(&history), |what| Broken::safety("keyed_history", what)));
    }
    if !is_left_out("watched_history") {
        let history = logs.history(number, &clients.histories[number]);
        counts.add("watched_judged", history.entries().len() as u64);
        found.push((check_delivery(&history), |what| Broken::safety("watched_history", what)));
    }
    found
}
