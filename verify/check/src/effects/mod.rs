//! Requests under idempotency keys: sent again as often as it takes, carried out once.
//!
//! Judged is a history within the time for which keys are remembered. A key belongs to the body that took effect
//! under it, or was acknowledged; all of its answers are one answer.

mod form;

use std::collections::BTreeMap;

pub use form::EffectForm;

use crate::history::OpId;
use crate::judge::Judgement;
use crate::ledger::{End, Entry, Found, Ledger};

/// What was asked under idempotency keys, told, and seen to have taken effect.
pub type EffectHistory = Ledger<EffectForm>;

type Of = Entry<EffectForm>;

/// What is known of one key.
#[derive(Default)]
struct Key<'a> {
    attempts: Vec<Attempt<'a>>,
    /// Notes: the body, and what came of it.
    noted: Vec<(&'a Of, &'a str, Option<&'a str>)>,
    /// Reads of all bodies, in the order in which they were asked.
    reads: Vec<(&'a Of, &'a [String])>,
}

struct Attempt<'a> {
    entry: &'a Of,
    body: &'a str,
    result: Option<&'a str>,
    reused: bool,
}

/// Checks a history. Time grows with the number of operations as sorting does.
pub fn check_effects(history: &EffectHistory) -> Judgement {
    let mut keys: BTreeMap<&str, Key<'_>> = BTreeMap::new();
    let mut all_noted = false;
    for entry in history.entries() {
        match &entry.form {
            EffectForm::EffectTerms { all_noted: all } => all_noted = *all,
            EffectForm::Attempt { key, body, result, reused } => {
                let (result, reused) = (result.as_deref(), *reused == Some(true));
                keys.entry(key).or_default().attempts.push(Attempt { entry, body, result, reused });
            }
            EffectForm::Effect { key, body, result } => {
                keys.entry(key).or_default().noted.push((entry, body, result.as_deref()));
            }
            EffectForm::Effects { key, bodies: Some(bodies) } => {
                keys.entry(key).or_default().reads.push((entry, bodies));
            }
            EffectForm::Effects { bodies: None, .. } => {}
        }
    }
    let found = keys.iter().find_map(|(name, key)| check(name, key, all_noted));
    found.map_or(Judgement::Valid, |found| Judgement::Invalid(found.explained(history)))
}

fn check(name: &str, key: &Key<'_>, all_noted: bool) -> Option<Found> {
    invented(name, key)
        .or_else(|| repeated(name, key))
        .or_else(|| answers(name, key))
        .or_else(|| refusals(name, key))
        .or_else(|| lost(name, key))
        .or_else(|| all_noted.then(|| unnoted(name, key)).flatten())
}

impl<'a> Key<'a> {
    /// Every effect that was seen: who saw it, the body, and where that was known.
    fn effects(&self) -> impl Iterator<Item = (&'a Of, &'a str)> {
        let noted = self.noted.iter().map(|(entry, body, _)| (*entry, *body));
        noted.chain(self.reads.iter().flat_map(|(entry, bodies)| {
            let entry: &'a Of = entry;
            let bodies: &'a [String] = bodies;
            bodies.iter().map(move |body| (entry, body.as_str()))
        }))
    }

    /// Who first asked for a body that may have taken effect.
    fn asker(&self, body: &str) -> impl Iterator<Item = OpId> {
        let mut asked = self.attempts.iter().filter(|attempt| attempt.body == body);
        asked.find(|attempt| attempt.entry.possible()).map(|attempt| attempt.entry.id).into_iter()
    }

    /// Attempts that were acknowledged.
    fn acknowledged(&self) -> impl Iterator<Item = &Attempt<'a>> {
        self.attempts.iter().filter(|attempt| attempt.entry.end() == End::Ok)
    }
}

/// What took effect was asked for, and not refused every time.
fn invented(name: &str, key: &Key<'_>) -> Option<Found> {
    for (seen, body) in key.effects() {
        let asked = || key.attempts.iter().filter(|attempt| attempt.body == body);
        let before = |attempt: &&Attempt<'_>| attempt.entry.invoked.position < seen.known_at();
        if !asked().any(|attempt| before(&attempt)) {
            let text = format!("{body:?} took effect under key {name:?}, before or without being asked for.");
            let shown = asked().take(1).map(|attempt| attempt.entry.id).chain([seen.id]).collect();
            return Some(Found { anomaly: "invented-effect", text, shown, culprits: 1 });
        }
        if !asked().filter(before).any(|attempt| attempt.entry.possible()) {
            let text = format!("{body:?} took effect under key {name:?}, and every attempt at it failed.");
            let shown = asked().filter(before).map(|attempt| attempt.entry.id).chain([seen.id]).collect();
            return Some(Found { anomaly: "failed-effect", text, shown, culprits: 1 });
        }
    }
    None
}

/// At most one effect.
fn repeated(name: &str, key: &Key<'_>) -> Option<Found> {
    let twice = |first: OpId, second: OpId, bodies: (&str, &str)| {
        let (anomaly, text) = if bodies.0 == bodies.1 {
            ("repeated-effect", format!("{:?} took effect twice under key {name:?}.", bodies.0))
        } else {
            let text = format!(
                "{:?} and {:?} both took effect under key {name:?}, which can belong to one alone.",
                bodies.0, bodies.1
            );
            ("reused-key-carried-out", text)
        };
        let shown = key.asker(bodies.0).chain(key.asker(bodies.1)).chain([first, second]).collect();
        Some(Found { anomaly, text, shown, culprits: 1 })
    };
    if let [(first, body, _), (second, other, _), ..] = &key.noted[..] {
        return twice(first.id, second.id, (body, other));
    }
    if let Some((entry, [body, other, ..])) = key.reads.iter().find(|(_, bodies)| bodies.len() > 1) {
        return twice(entry.id, entry.id, (body, other));
    }
    // One each, but not the same.
    let mut effects = key.effects();
    let (first, body) = effects.next()?;
    let (second, other) = effects.find(|(_, other)| *other != body)?;
    twice(first.id, second.id, (body, other))
}

/// One answer, to one body: that which took effect.
fn answers(name: &str, key: &Key<'_>) -> Option<Found> {
    let mut acknowledged = key.acknowledged();
    let first = acknowledged.next()?;
    if let Some(other) = acknowledged.find(|other| other.body != first.body) {
        let text = format!(
            "{:?} and {:?} are both acknowledged under key {name:?}, which can belong to one alone.",
            first.body, other.body
        );
        let shown = vec![first.entry.id, other.entry.id];
        return Some(Found { anomaly: "reused-key-carried-out", text, shown, culprits: 1 });
    }
    if let Some((seen, body)) = key.effects().find(|(_, body)| *body != first.body) {
        let text =
            format!("{:?} is acknowledged under key {name:?}, under which {body:?} took effect.", first.body);
        let shown = key.asker(body).chain([first.entry.id, seen.id]).collect();
        return Some(Found { anomaly: "reused-key-carried-out", text, shown, culprits: 1 });
    }
    let told = key.acknowledged().filter_map(|attempt| Some((attempt.entry.id, attempt.result?)));
    let noted = key.noted.iter().filter_map(|(entry, _, result)| Some((entry.id, (*result)?)));
    let mut results = told.chain(noted);
    let (id, result) = results.next()?;
    let (other_id, other) = results.find(|(_, other)| *other != result)?;
    let text = format!("key {name:?} has two answers, {result:?} and {other:?}.");
    let shown = key.asker(first.body).chain([id, other_id]).collect();
    Some(Found { anomaly: "different-answers", text, shown, culprits: 1 })
}

/// A key is refused as another's only if it is.
fn refusals(name: &str, key: &Key<'_>) -> Option<Found> {
    for refused in key.attempts.iter().filter(|attempt| attempt.reused) {
        let own =
            key.acknowledged().find(|attempt| attempt.body == refused.body).map(|attempt| attempt.entry);
        let own = own.or_else(|| key.effects().find(|(_, body)| *body == refused.body).map(|(seen, _)| seen));
        let others = |attempt: &&Attempt<'_>| {
            attempt.body != refused.body
                && attempt.entry.invoked.position < refused.entry.known_at()
                && attempt.entry.possible()
        };
        let others = key.attempts.iter().find(others);
        if let (None, Some(_)) = (own, others) {
            continue;
        }
        let text = format!("key {name:?} is refused as another's, and is that of {:?}.", refused.body);
        let shown = key.asker(refused.body).chain(own.map(|own| own.id)).chain([refused.entry.id]).collect();
        return Some(Found { anomaly: "refused-without-reuse", text, shown, culprits: 1 });
    }
    None
}

/// What was acknowledged, or seen, is there ever after.
fn lost(name: &str, key: &Key<'_>) -> Option<Found> {
    let acknowledged = key.acknowledged().map(|attempt| (attempt.entry, attempt.body));
    let (first, body) = acknowledged.chain(key.effects()).min_by_key(|(entry, _)| entry.known_at())?;
    let without =
        |(read, bodies): &&(&Of, &[String])| read.invoked.position > first.known_at() && bodies.is_empty();
    let (read, _) = key.reads.iter().find(without)?;
    let text = format!("{body:?} was there under key {name:?}, or acknowledged, and is not there later.");
    let shown = key.asker(body).chain([first.id, read.id]).collect();
    Some(Found { anomaly: "lost-effect", text, shown, culprits: 1 })
}

/// Where every effect is noted: what was acknowledged has one.
fn unnoted(name: &str, key: &Key<'_>) -> Option<Found> {
    let first = key.acknowledged().next().filter(|_| key.noted.is_empty())?;
    let text = format!("{:?} is acknowledged under key {name:?}, and never took effect.", first.body);
    Some(Found { anomaly: "lost-effect", text, shown: vec![first.entry.id], culprits: 1 })
}
