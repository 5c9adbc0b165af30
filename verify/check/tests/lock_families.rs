//! Locks: a service with leases, holders that stand still, and resources that fence them off.

mod families;

use std::collections::BTreeMap;

use check::ledger::Kind;
use check::locks::FencedBy;
use check::{LockForm, check_fencing, check_locks};
use families::{Dice, Event, append, family, operations};

type Events = Vec<Event<LockForm>>;

const LOCK: &str = "l";

/// A correct lock service with one lock, and one resource.
struct Service {
    fenced_by: FencedBy,
    tokens: bool,
    lives: bool,
    now_us: u64,
    holder: Option<(u64, u64, u64)>,
    next_token: u64,
    greatest: u64,
    value: Option<String>,
    revision: u64,
}

impl Service {
    /// Who holds the lock now: process, token, until when.
    fn held(&self) -> Option<(u64, u64, u64)> {
        self.holder.filter(|(_, _, until_us)| *until_us > self.now_us)
    }

    /// Carries out what is asked; answers how it ends.
    fn execute(&mut self, process: u64, form: &mut LockForm, ttl: u64) -> Kind {
        let until_us = if self.lives { self.now_us + ttl * 1_000 } else { u64::MAX };
        let told = self.lives.then_some(ttl);
        match form {
            LockForm::Acquire { token, ttl_ms, .. } => {
                match self.held() {
                    Some((holder, ..)) if holder != process => return Kind::Fail,
                    Some((_, held, before_us)) => {
                        self.holder = Some((process, held, until_us.max(before_us)));
                    }
                    None => {
                        self.next_token += 1;
                        self.holder = Some((process, self.next_token, until_us));
                    }
                }
                *token = self.tokens.then_some(self.holder.unwrap().1);
                *ttl_ms = told;
            }
            LockForm::KeepAlive { token, ttl_ms, .. } => match self.held() {
                Some((holder, held, before_us)) if token.map_or(holder == process, |token| token == held) => {
                    self.holder = Some((holder, held, until_us.max(before_us)));
                    *ttl_ms = told;
                }
                _ => return Kind::Fail,
            },
            LockForm::Release { token, .. } => match self.held() {
                Some((holder, held, _)) if token.map_or(holder == process, |token| token == held) => {
                    self.holder = None;
                }
                _ => return Kind::Fail,
            },
            LockForm::GuardedWrite { token, value, revision, .. } => {
                let accepted = match self.fenced_by {
                    FencedBy::Writes => *token >= self.greatest,
                    FencedBy::Holder => self.held().is_some_and(|(_, held, _)| held == *token),
                };
                if !accepted {
                    return Kind::Fail;
                }
                self.greatest = *token;
                self.value = Some(value.clone());
                self.revision += 1;
                *revision = Some(self.revision);
            }
            LockForm::GuardedRead { value, .. } => *value = Some(self.value.clone()),
            LockForm::LockTerms { .. } => unreachable!("nobody asks for terms"),
        }
        Kind::Ok
    }
}

/// A correct run of a few processes.
fn run(dice: &mut Dice) -> Events {
    let fenced_by = if dice.chance(50) { FencedBy::Writes } else { FencedBy::Holder };
    let tokens = dice.chance(75);
    let lives = tokens || dice.chance(50);
    let clock_error_per_mille = dice.below(2) * 20;
    let mut events: Events =
        vec![(0, Kind::Note, 0, LockForm::LockTerms { clock_error_per_mille, fenced_by })];
    let (now_us, next_token, greatest, revision) = (0, 30, 0, 0);
    let (holder, value) = (None, None);
    let mut service =
        Service { fenced_by, tokens, lives, now_us, holder, next_token, greatest, value, revision };
    // What each process asked, and how it ends once it was carried out; what was left may still be carried out.
    let mut open: BTreeMap<u64, (LockForm, Option<Kind>)> = BTreeMap::new();
    let mut left: Vec<(u64, LockForm)> = Vec::new();
    let mut known: BTreeMap<u64, u64> = BTreeMap::new();
    for number in 0..160 {
        service.now_us += dice.below(4_000);
        let (process, ttl) = (1 + dice.below(4), 5 + dice.below(60));
        if dice.chance(15)
            && let Some((process, mut form)) = left.pop()
        {
            service.execute(process, &mut form, ttl);
        }
        let Some((mut form, end)) = open.remove(&process) else {
            let form = ask(dice, &known, process, number, tokens);
            events.push((process, Kind::Invoke, service.now_us, form.clone()));
            open.insert(process, (form, None));
            continue;
        };
        match end {
            None if dice.chance(12) => {
                events.push((process, Kind::Unknown, service.now_us, form.clone()));
                if tokens {
                    left.push((process, form));
                }
            }
            None => {
                let end = service.execute(process, &mut form, ttl);
                open.insert(process, (form, Some(end)));
            }
            Some(_) if dice.chance(8) => {
                events.push((process, Kind::Unknown, service.now_us, check::ledger::Form::asked(&form)));
            }
            Some(end) => {
                if let LockForm::Acquire { token: Some(token), .. } = form {
                    known.insert(process, token);
                }
                events.push((process, end, service.now_us, form));
            }
        }
    }
    events
}

fn ask(dice: &mut Dice, known: &BTreeMap<u64, u64>, process: u64, number: u64, tokens: bool) -> LockForm {
    let lock = LOCK.to_owned();
    let token = known.get(&process).copied();
    match dice.below(if tokens { 100 } else { 60 }) {
        10..25 if !tokens || token.is_some() => LockForm::KeepAlive { lock, token, ttl_ms: None },
        25..35 if !tokens || token.is_some() => LockForm::Release { lock, token },
        60..90 if token.is_some() => write(token.unwrap(), &format!("v{number}"), None),
        90..100 => read(None),
        _ => LockForm::Acquire { lock, token: None, ttl_ms: None },
    }
}

fn write(token: u64, value: &str, revision: Option<u64>) -> LockForm {
    let (lock, resource, value) = (LOCK.to_owned(), "file".to_owned(), value.to_owned());
    LockForm::GuardedWrite { lock, resource, token, value, revision }
}

fn read(value: Option<Option<String>>) -> LockForm {
    LockForm::GuardedRead { lock: LOCK.to_owned(), resource: "file".to_owned(), value }
}

/// Grants that were told: begin, end, process, token.
fn grants(events: &Events) -> Vec<(usize, usize, u64, Option<u64>)> {
    let all = operations(events).into_iter().filter_map(|(begin, end)| {
        let end = end.filter(|end| events[*end].1 == Kind::Ok)?;
        match events[end].3 {
            LockForm::Acquire { token, .. } => Some((begin, end, events[end].0, token)),
            _ => None,
        }
    });
    all.collect()
}

/// Writes that ended so: begin, end, token, value.
fn writes(events: &Events, kind: Kind) -> Vec<(usize, usize, u64, String)> {
    let all = operations(events).into_iter().filter_map(|(begin, end)| {
        let end = end.filter(|end| events[*end].1 == kind)?;
        match &events[end].3 {
            LockForm::GuardedWrite { token, value, .. } => Some((begin, end, *token, value.clone())),
            _ => None,
        }
    });
    all.collect()
}

/// All pairs of them for which something holds.
fn pair<T: Clone>(dice: &mut Dice, all: &[T], fits: impl Fn(&T, &T) -> bool) -> Option<(T, T)> {
    let pairs: Vec<(T, T)> = all
        .iter()
        .flat_map(|one| all.iter().map(move |other| (one, other)))
        .filter(|(one, other)| fits(one, other))
        .map(|(one, other)| (one.clone(), other.clone()))
        .collect();
    dice.pick(&pairs)
}

fn set_token(events: &mut Events, end: usize, to: Option<u64>) {
    let LockForm::Acquire { token, .. } = &mut events[end].3 else { panic!("a grant") };
    *token = to;
}

fn one_token_for_two(dice: &mut Dice, events: &mut Events) -> bool {
    let fits = |one: &(usize, usize, u64, Option<u64>), other: &(usize, usize, u64, Option<u64>)| {
        one.2 != other.2 && one.3.is_some()
    };
    let Some((one, other)) = pair(dice, &grants(events), fits) else { return false };
    set_token(events, other.1, one.3);
    true
}

fn tokens_go_back(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((one, other)) = pair(dice, &grants(events), |one, other| one.1 < other.0 && one.3 < other.3)
    else {
        return false;
    };
    set_token(events, one.1, other.3);
    set_token(events, other.1, one.3);
    true
}

/// A grant is told to live until after another holder was told the lock; it was not released before.
fn given_away(dice: &mut Dice, events: &mut Events, tokens: bool) -> bool {
    let copy = events.clone();
    let releases = move |process: u64, token: Option<u64>, from: usize, to: usize| {
        copy[from..to].iter().any(|(by, kind, _, form)| {
            let own = |of: &Option<u64>| if token.is_some() { *of == token } else { *by == process };
            *kind == Kind::Invoke && matches!(form, LockForm::Release { token: of, .. } if own(of))
        })
    };
    let fits = |one: &(usize, usize, u64, Option<u64>), other: &(usize, usize, u64, Option<u64>)| {
        let apart = one.2 != other.2 && one.1 < other.0 && one.3.is_some() == tokens;
        let grows = !tokens || one.3 < other.3;
        // A release of unknown outcome, of whatever age, may still end what was told since.
        let from = if tokens { 0 } else { one.0 };
        apart && grows && !releases(one.2, one.3, from, other.1 + 1)
    };
    let Some((one, other)) = pair(dice, &grants(events), fits) else { return false };
    for (grant, spare_ms) in [(&one, 60_000), (&other, 60_000)] {
        let LockForm::Acquire { ttl_ms, .. } = &mut events[grant.1].3 else { panic!("a grant") };
        *ttl_ms = Some(2_000_000 + spare_ms);
    }
    true
}

fn promised_to_another(dice: &mut Dice, events: &mut Events) -> bool {
    given_away(dice, events, true)
}

fn two_without_tokens(dice: &mut Dice, events: &mut Events) -> bool {
    given_away(dice, events, false)
}

fn kept_alive_too_long(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((one, _)) = pair(dice, &grants(events), |one, other| one.3.is_some() && one.3 < other.3) else {
        return false;
    };
    append(events, Kind::Ok, LockForm::KeepAlive { lock: LOCK.to_owned(), token: one.3, ttl_ms: Some(1) });
    true
}

fn stale_write_accepted(dice: &mut Dice, events: &mut Events) -> bool {
    let (fenced, done) = (writes(events, Kind::Fail), writes(events, Kind::Ok));
    let late = |fenced: &&(usize, usize, u64, String)| {
        done.iter().any(|done| done.1 < fenced.0 && done.2 > fenced.2)
    };
    let all: Vec<_> = fenced.iter().filter(late).cloned().collect();
    let Some(one) = dice.pick(&all) else { return false };
    events[one.1].1 = Kind::Ok;
    true
}

fn fenced_write_read(dice: &mut Dice, events: &mut Events) -> bool {
    let Some(one) = dice.pick(&writes(events, Kind::Fail)) else { return false };
    append(events, Kind::Ok, read(Some(Some(one.3))));
    true
}

fn older_token_read(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((one, _)) = pair(dice, &writes(events, Kind::Ok), |one, other| one.2 < other.2) else {
        return false;
    };
    append(events, Kind::Ok, read(Some(Some(one.3))));
    true
}

fn overwritten_value_read(dice: &mut Dice, events: &mut Events) -> bool {
    let done = writes(events, Kind::Ok);
    let Some((one, _)) = pair(dice, &done, |one, other| one.2 == other.2 && one.1 < other.0) else {
        return false;
    };
    append(events, Kind::Ok, read(Some(Some(one.3))));
    true
}

fn revisions_swapped(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((one, other)) = pair(dice, &writes(events, Kind::Ok), |one, other| one.2 < other.2) else {
        return false;
    };
    let revision = |form: &LockForm| match form {
        LockForm::GuardedWrite { revision, .. } => *revision,
        _ => None,
    };
    let (first, second) = (revision(&events[one.1].3), revision(&events[other.1].3));
    events[one.1].3 = write(one.2, &one.3, second);
    events[other.1].3 = write(other.2, &other.3, first);
    true
}

fn invented(_: &mut Dice, events: &mut Events) -> bool {
    append(events, Kind::Ok, read(Some(Some("nobody's".to_owned()))));
    true
}

fn lost_holder_writes(dice: &mut Dice, events: &mut Events) -> bool {
    let holder = matches!(events[0].3, LockForm::LockTerms { fenced_by: FencedBy::Holder, .. });
    let given = grants(events);
    let Some((one, _)) = pair(dice, &given, |one, other| one.3.is_some() && one.3 < other.3) else {
        return false;
    };
    append(events, Kind::Ok, write(one.3.unwrap(), "late", None));
    holder
}

#[test]
fn locks_and_fencing() {
    family(
        run,
        &[check_locks, check_fencing],
        &[
            ("one token for two", one_token_for_two),
            ("tokens go back", tokens_go_back),
            ("promised to another", promised_to_another),
            ("two without tokens", two_without_tokens),
            ("kept alive too long", kept_alive_too_long),
            ("stale write accepted", stale_write_accepted),
            ("fenced write read", fenced_write_read),
            ("older token read", older_token_read),
            ("overwritten value read", overwritten_value_read),
            ("revisions swapped", revisions_swapped),
            ("invented", invented),
            ("lost holder writes", lost_holder_writes),
        ],
        true,
    );
}
