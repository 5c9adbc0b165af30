//! Idempotent effects: a server that remembers keys, across crashes in which answers are lost, and clients that ask
//! again.

mod families;

use std::collections::BTreeMap;

use check::ledger::{Form, Kind};
use check::{EffectForm, check_effects};
use families::{Dice, Event, append, family, operations};

type Events = Vec<Event<EffectForm>>;

fn attempt(key: &str, body: &str, result: Option<String>, reused: Option<bool>) -> EffectForm {
    EffectForm::Attempt { key: key.to_owned(), body: body.to_owned(), result, reused }
}

fn effect(key: &str, body: &str, result: Option<String>) -> EffectForm {
    EffectForm::Effect { key: key.to_owned(), body: body.to_owned(), result }
}

fn read(key: &str, bodies: Option<Vec<String>>) -> EffectForm {
    EffectForm::Effects { key: key.to_owned(), bodies }
}

/// What the server remembers of each key: the body and its result.
type Memory = BTreeMap<String, (String, String)>;

/// Carries out what is asked; answers how it ends, and what is to be noted.
fn execute(memory: &mut Memory, form: &mut EffectForm) -> (Kind, Option<EffectForm>) {
    match form {
        EffectForm::Attempt { key, body, result, reused } => match memory.get(key) {
            Some((own, told)) if own == body => {
                *result = Some(told.clone());
                (Kind::Ok, None)
            }
            Some(_) => {
                *reused = Some(true);
                (Kind::Fail, None)
            }
            None => {
                let told = format!("r{}", memory.len());
                memory.insert(key.clone(), (body.clone(), told.clone()));
                *result = Some(told.clone());
                (Kind::Ok, Some(effect(key, body, Some(told))))
            }
        },
        EffectForm::Effects { key, bodies } => {
            *bodies = Some(memory.get(key).map(|(body, _)| body.clone()).into_iter().collect());
            (Kind::Ok, None)
        }
        other => unreachable!("nobody asks for {other:?}"),
    }
}

/// A correct run of a few clients.
fn run(dice: &mut Dice) -> Events {
    let all_noted = dice.chance(50);
    let mut events: Events = vec![(0, Kind::Note, 0, EffectForm::EffectTerms { all_noted })];
    let mut memory = Memory::new();
    let mut open: BTreeMap<u64, (EffectForm, Option<Kind>)> = BTreeMap::new();
    let mut left: Vec<EffectForm> = Vec::new();
    let keys = 2 + dice.below(6);
    for now_us in 1..120 {
        let process = 1 + dice.below(4);
        let mut carry_out = |form: &mut EffectForm, events: &mut Events| {
            let (kind, note) = execute(&mut memory, form);
            if let Some(note) = note.filter(|_| all_noted) {
                events.push((9, Kind::Note, now_us, note));
            }
            kind
        };
        if dice.chance(15)
            && let Some(mut form) = left.pop()
        {
            carry_out(&mut form, &mut events);
        }
        let Some((mut form, end)) = open.remove(&process) else {
            let key = format!("k{}", dice.below(keys));
            let body = format!("b{}", u64::from(dice.chance(15)));
            let form = if dice.chance(15) { read(&key, None) } else { attempt(&key, &body, None, None) };
            events.push((process, Kind::Invoke, now_us, form.clone()));
            open.insert(process, (form, None));
            continue;
        };
        match end {
            // No leader takes it in.
            None if dice.chance(10) => events.push((process, Kind::Fail, now_us, form)),
            // It crashes before it has it, or while it is on its way.
            None if dice.chance(15) => {
                events.push((process, Kind::Unknown, now_us, form.clone()));
                left.push(form);
            }
            None => {
                let end = carry_out(&mut form, &mut events);
                open.insert(process, (form, Some(end)));
            }
            // It crashes before it answers.
            Some(_) if dice.chance(25) => events.push((process, Kind::Unknown, now_us, form.asked())),
            Some(end) => events.push((process, end, now_us, form)),
        }
    }
    events
}

/// Attempts that ended so: the end, the key and the body.
fn attempts(events: &Events, kind: Kind) -> Vec<(usize, String, String)> {
    let all = operations(events).into_iter().filter_map(|(_, end)| {
        let end = end.filter(|end| events[*end].1 == kind)?;
        match &events[end].3 {
            EffectForm::Attempt { key, body, .. } => Some((end, key.clone(), body.clone())),
            _ => None,
        }
    });
    all.collect()
}

fn note(events: &mut Events, form: EffectForm) {
    let time_us = events.last().map_or(0, |event| event.2);
    events.push((9, Kind::Note, time_us, form));
}

fn carried_out_twice(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, key, body)) = dice.pick(&attempts(events, Kind::Ok)) else { return false };
    append(events, Kind::Ok, read(&key, Some(vec![body.clone(), body])));
    true
}

fn noted_twice(dice: &mut Dice, events: &mut Events) -> bool {
    let noted = events.iter().filter(|event| matches!(event.3, EffectForm::Effect { .. }));
    let noted: Vec<EffectForm> = noted.map(|event| event.3.clone()).collect();
    let Some(form) = dice.pick(&noted) else { return false };
    note(events, form);
    true
}

fn another_answer(dice: &mut Dice, events: &mut Events) -> bool {
    let acknowledged = attempts(events, Kind::Ok);
    let repeated: Vec<_> = acknowledged
        .iter()
        .filter(|one| acknowledged.iter().any(|other| one.0 != other.0 && one.1 == other.1))
        .collect();
    let Some((end, key, body)) = dice.pick(&repeated) else { return false };
    events[*end].3 = attempt(key, body, Some("another".to_owned()), None);
    true
}

fn acknowledged_and_lost(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, key, _)) = dice.pick(&attempts(events, Kind::Ok)) else { return false };
    append(events, Kind::Ok, read(&key, Some(Vec::new())));
    true
}

fn acknowledged_and_not_noted(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, key, _)) = dice.pick(&attempts(events, Kind::Ok)) else { return false };
    let before = events.len();
    events.retain(|event| !matches!(&event.3, EffectForm::Effect { key: of, .. } if *of == key));
    events.len() < before
}

fn failed_and_carried_out(_: &mut Dice, events: &mut Events) -> bool {
    append(events, Kind::Fail, attempt("new", "b0", None, None));
    append(events, Kind::Ok, read("new", Some(vec!["b0".to_owned()])));
    true
}

fn another_body_carried_out(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, key, _)) = dice.pick(&attempts(events, Kind::Ok)) else { return false };
    append(events, Kind::Unknown, attempt(&key, "b2", None, None));
    note(events, effect(&key, "b2", None));
    true
}

fn another_body_acknowledged(dice: &mut Dice, events: &mut Events) -> bool {
    let refused: Vec<_> = attempts(events, Kind::Fail)
        .into_iter()
        .filter(|one| attempts(events, Kind::Ok).iter().any(|own| own.1 == one.1 && own.2 != one.2))
        .collect();
    let Some((end, key, body)) = dice.pick(&refused) else { return false };
    events[end].1 = Kind::Ok;
    events[end].3 = attempt(&key, &body, Some("done".to_owned()), None);
    true
}

fn own_body_refused(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, key, body)) = dice.pick(&attempts(events, Kind::Ok)) else { return false };
    append(events, Kind::Fail, attempt(&key, &body, None, Some(true)));
    true
}

fn invented(dice: &mut Dice, events: &mut Events) -> bool {
    let key = format!("k{}", dice.below(3));
    append(events, Kind::Ok, read(&key, Some(vec!["nobody's".to_owned()])));
    true
}

fn seen_and_gone(dice: &mut Dice, events: &mut Events) -> bool {
    let seen = events.iter().filter_map(|event| match &event.3 {
        EffectForm::Effects { key, bodies: Some(bodies) } if !bodies.is_empty() => Some(key.clone()),
        _ => None,
    });
    let seen: Vec<String> = seen.collect();
    let Some(key) = dice.pick(&seen) else { return false };
    append(events, Kind::Ok, read(&key, Some(Vec::new())));
    true
}

#[test]
fn idempotent_effects() {
    family(
        run,
        &[check_effects],
        &[
            ("carried out twice", carried_out_twice),
            ("noted twice", noted_twice),
            ("another answer", another_answer),
            ("acknowledged and lost", acknowledged_and_lost),
            ("acknowledged and not noted", acknowledged_and_not_noted),
            ("failed and carried out", failed_and_carried_out),
            ("another body carried out", another_body_carried_out),
            ("another body acknowledged", another_body_acknowledged),
            ("own body refused", own_body_refused),
            ("invented", invented),
            ("seen and gone", seen_and_gone),
        ],
        true,
    );
}
