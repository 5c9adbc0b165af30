//! Who was given one lock, when, and until when it was promised.
//!
//! A promise counts from when it was asked for, on the recorder's clock, less the clocks' error: the service
//! cannot have counted from earlier. It ends with the first release that may have taken effect.

use std::collections::BTreeMap;

use super::{LockForm, Of};
use crate::history::OpId;
use crate::ledger::{End, Found};

/// One holding of the lock, under a token or none.
struct Tenure<'a> {
    token: Option<u64>,
    acquire: &'a Of,
    /// What promised the most, and until when, in microseconds; for ever if there is neither token nor time.
    promise: (u64, &'a Of),
    /// The first release that may have taken effect.
    release: Option<&'a Of>,
    /// A release that did.
    released: Option<&'a Of>,
}

impl Tenure<'_> {
    /// Until when nobody else may be given the lock.
    fn until_us(&self) -> u64 {
        self.release.map_or(self.promise.0, |release| self.promise.0.min(release.invoked.time_us))
    }

    /// From when on, at the latest, it was held.
    fn held_us(&self) -> u64 {
        self.acquire.ok().map_or(u64::MAX, |moment| moment.time_us)
    }
}

/// Checks one lock.
pub fn check(entries: &[&Of], clock_error_per_mille: u64) -> Option<Found> {
    match tenures(entries, clock_error_per_mille) {
        Err(found) => Some(found),
        Ok(tenures) => {
            let (mut tokened, tokenless): (Vec<_>, Vec<_>) =
                tenures.iter().partition(|tenure| tenure.token.is_some());
            tokened.sort_by_key(|tenure| tenure.token);
            backwards(entries)
                .or_else(|| kept_after_loss(entries))
                .or_else(|| granted_while_promised(&tokened))
                .or_else(|| overlapping(tokenless))
        }
    }
}

/// All holdings, in the order in which they were told; or a token that is given twice, or kept alive after its end.
fn tenures<'a>(entries: &[&'a Of], clock_error_per_mille: u64) -> Result<Vec<Tenure<'a>>, Found> {
    let until = |entry: &Of, ttl_ms: u64| {
        let lives_us = u128::from(ttl_ms) * u128::from(1_000 - clock_error_per_mille);
        entry.invoked.time_us.saturating_add(u64::try_from(lives_us).unwrap_or(u64::MAX))
    };
    let mut ended: Vec<&'a Of> = entries.to_vec();
    ended.sort_by_key(|entry| entry.known_at());
    let mut tenures: Vec<Tenure<'a>> = Vec::new();
    // The newest holding of a token, or of a process without one.
    let mut known: BTreeMap<(Option<u64>, Option<u64>), usize> = BTreeMap::new();
    let name = |token: &Option<u64>, process: u64| (*token, token.is_none().then_some(process));
    for entry in ended.into_iter().filter(|entry| entry.end() == End::Ok) {
        match &entry.form {
            LockForm::Acquire { token, ttl_ms, .. } => {
                let promised = match (token, ttl_ms) {
                    (_, Some(ttl_ms)) => until(entry, *ttl_ms),
                    (Some(_), None) => 0,
                    (None, None) => u64::MAX,
                };
                let name = name(token, entry.process);
                let before = known.get(&name).map(|number| &mut tenures[*number]);
                if let (Some(token), Some(before)) = (token, before) {
                    shared(*token, before, entry)?;
                    before.promise = later(before.promise, (promised, entry));
                    continue;
                }
                known.insert(name, tenures.len());
                let promise = (promised, entry);
                tenures.push(Tenure {
                    token: *token,
                    acquire: entry,
                    promise,
                    release: None,
                    released: None,
                });
            }
            LockForm::KeepAlive { token, ttl_ms, .. } => {
                let Some(ttl_ms) = ttl_ms else { continue };
                let promise = (until(entry, *ttl_ms), entry);
                if token.is_none() {
                    // It was held then. Whether it was ever since it was acquired, no token tells.
                    let (token, acquire) = (None, entry);
                    tenures.push(Tenure { token, acquire, promise, release: None, released: None });
                } else if let Some(number) = known.get(&name(token, entry.process)) {
                    tenures[*number].promise = later(tenures[*number].promise, promise);
                }
            }
            LockForm::Release { token, .. } => {
                let tenure = known.get(&name(token, entry.process)).map(|number| &mut tenures[*number]);
                if let Some(tenure) = tenure {
                    tenure.released.get_or_insert(entry);
                }
            }
            _ => {}
        }
    }
    releases(entries, &mut tenures);
    Ok(tenures)
}

fn later<'a>(one: (u64, &'a Of), other: (u64, &'a Of)) -> (u64, &'a Of) {
    if other.0 > one.0 { other } else { one }
}

/// One token is not for two holders, nor for two holdings of one with a release between. Who acquires what it holds
/// asked again.
fn shared(token: u64, before: &Tenure<'_>, entry: &Of) -> Result<(), Found> {
    let anew = before.released.filter(|released| released.known_at() < entry.invoked.position);
    if before.acquire.process == entry.process && anew.is_none() {
        return Ok(());
    }
    let text = match anew {
        Some(_) => format!("token {token} is given again, after it was released."),
        None => format!("token {token} is given to two holders."),
    };
    let shown = anew.map(|release| release.id).into_iter().chain([before.acquire.id, entry.id]).collect();
    Err(Found { anomaly: "shared-token", text, shown, culprits: 2 })
}

/// Finds the first release of each holding that may have taken effect.
fn releases<'a>(entries: &[&'a Of], tenures: &mut [Tenure<'a>]) {
    let mut of_token: BTreeMap<u64, &'a Of> = BTreeMap::new();
    let mut of_process: BTreeMap<u64, Vec<&'a Of>> = BTreeMap::new();
    for entry in entries.iter().copied().filter(|entry| entry.possible()) {
        match entry.form {
            LockForm::Release { token: Some(token), .. } => {
                of_token.entry(token).or_insert(entry);
            }
            LockForm::Release { token: None, .. } => of_process.entry(entry.process).or_default().push(entry),
            _ => {}
        }
    }
    for tenure in tenures {
        tenure.release = match tenure.token {
            Some(token) => of_token.get(&token).copied(),
            None => of_process.get(&tenure.acquire.process).and_then(|releases| {
                let held = tenure.acquire.known_at();
                let next = releases.partition_point(|release| release.invoked.position < held);
                releases.get(next).copied()
            }),
        };
    }
}

/// Tokens grow in real time.
fn backwards(entries: &[&Of]) -> Option<Found> {
    let token = |entry: &Of| match entry.form {
        LockForm::Acquire { token, .. } => token,
        _ => None,
    };
    let mut ended: Vec<(usize, u64, OpId)> = entries
        .iter()
        .filter_map(|entry| {
            Some((entry.known_at(), token(entry).filter(|_| entry.ok().is_some())?, entry.id))
        })
        .collect();
    ended.sort_unstable();
    let (mut ended, mut greatest) = (ended.into_iter().peekable(), None);
    for entry in entries {
        let Some(later) = token(entry) else { continue };
        while let Some((_, token, id)) = ended.next_if(|(end, ..)| *end < entry.invoked.position) {
            greatest = greatest.max(Some((token, id)));
        }
        if let Some((earlier, id)) = greatest
            && later < earlier
        {
            return Some(Found {
                anomaly: "tokens-backwards",
                text: format!("token {later} is given after token {earlier} had been given."),
                shown: vec![id, entry.id],
                culprits: 1,
            });
        }
    }
    None
}

/// A keep-alive says that the lock is held under its token; but it was given to another, or released.
fn kept_after_loss(entries: &[&Of]) -> Option<Found> {
    // What had ended by then: the greatest token given, and the tokens released.
    let mut ended: Vec<&Of> = entries.iter().copied().filter(|entry| entry.ok().is_some()).collect();
    ended.sort_by_key(|entry| entry.known_at());
    let (mut ended, mut greatest, mut released) = (ended.into_iter().peekable(), None, BTreeMap::new());
    for entry in entries {
        while let Some(before) = ended.next_if(|before| before.known_at() < entry.invoked.position) {
            match before.form {
                LockForm::Acquire { token: Some(token), .. } => {
                    greatest = greatest.max(Some((token, before.id)));
                }
                LockForm::Release { token: Some(token), .. } => {
                    released.entry(token).or_insert(before.id);
                }
                _ => {}
            }
        }
        let LockForm::KeepAlive { token: Some(token), .. } = entry.form else { continue };
        if entry.ok().is_none() {
            continue;
        }
        if let Some((other, id)) = greatest
            && other > token
        {
            let text = format!("token {token} is kept alive, after token {other} had been given.");
            return Some(Found { anomaly: "kept-after-loss", text, shown: vec![id, entry.id], culprits: 1 });
        }
        if let Some(id) = released.get(&token) {
            let text = format!("token {token} is kept alive, after it was released.");
            return Some(Found { anomaly: "kept-after-loss", text, shown: vec![*id, entry.id], culprits: 1 });
        }
    }
    None
}

/// The lock is given under a greater token, while it is promised under a smaller one. In order of tokens.
fn granted_while_promised(tenures: &[&Tenure<'_>]) -> Option<Found> {
    let mut longest: Option<&Tenure<'_>> = None;
    for tenure in tenures {
        if let Some(before) = longest
            && before.until_us() > tenure.held_us()
        {
            let (until_us, promise) = before.promise;
            let text = format!(
                "token {} is given by {} us, while the lock was promised under token {} until {until_us} us.",
                tenure.token.unwrap_or(0),
                tenure.held_us(),
                before.token.unwrap_or(0),
            );
            let shown = vec![before.acquire.id, promise.id, tenure.acquire.id];
            return Some(Found { anomaly: "granted-while-promised", text, shown, culprits: 1 });
        }
        if longest.is_none_or(|longest| longest.until_us() < tenure.until_us()) {
            longest = Some(tenure);
        }
    }
    None
}

/// Two held the lock at once, and no token tells them apart.
fn overlapping(mut tenures: Vec<&Tenure<'_>>) -> Option<Found> {
    tenures.sort_by_key(|tenure| tenure.acquire.known_at());
    // Who holds it longest, and who of all others does.
    let (mut longest, mut second): (Option<&Tenure<'_>>, Option<&Tenure<'_>>) = (None, None);
    for tenure in tenures {
        let same = |other: &&Tenure<'_>| other.acquire.process == tenure.acquire.process;
        let other = if longest.as_ref().is_some_and(same) { second } else { longest };
        if let Some(before) = other
            && before.until_us() > tenure.held_us()
            && tenure.until_us() > tenure.held_us()
        {
            let released = before.release.filter(|release| release.known_at() != usize::MAX);
            let ended = released.map(|release| release.id);
            let text =
                "two hold the lock at once, and there are no tokens to fence one of them off.".to_owned();
            let shown = ended.into_iter().chain([before.acquire.id, before.promise.1.id, tenure.acquire.id]);
            return Some(Found { anomaly: "overlapping-holders", text, shown: shown.collect(), culprits: 1 });
        }
        if longest.is_none_or(|longest| longest.until_us() <= tenure.until_us()) {
            second = if longest.as_ref().is_some_and(same) { second } else { longest };
            longest = Some(tenure);
        } else if !longest.as_ref().is_some_and(same)
            && second.is_none_or(|second| second.until_us() <= tenure.until_us())
        {
            second = Some(tenure);
        }
    }
    None
}
