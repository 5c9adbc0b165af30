//! What clients that hold locks, clients that send again under idempotency keys, and watches saw, as histories that
//! `verify/check` judges at the end of a world. Its judges know nothing of nodes and logs: they see what clients see.
//!
//! Each key of a keyspace is an ordered log, of which the writes to it are the messages and a watch a consumer;
//! revisions are offsets.

use std::collections::BTreeMap;

use check::{Action, EffectForm, EffectHistory, Kind, LockForm, LockHistory, locks::FencedBy};
use keyspace::{LeaseAnswer, LeaseQuery, Outcome, Query, QueryAnswer, TxnOutcome, history::Revision};
use node::{Acquired, Op, Reply, ReplyBody};
use types::{Applied, ErrorCode, LeaseId, Problem};

use crate::{
    clients::{Waiting, Wish},
    holders::{GUARDED, Hold, LOCK},
    plan::{CONFIGURED, KEYSPACES},
    saw_logs::SawLogs,
};

/// Clocks differ by a part in a hundred at most where clients hold locks, and holders allow for twice that.
const CLOCK_ERROR_PER_MILLE: u64 = 20;

/// See the module.
#[derive(Debug)]
pub struct Saw {
    /// By keyspace, of those in which locks are held.
    pub(crate) locks: Vec<LockHistory>,
    /// By keyspace.
    pub(crate) effects: Vec<EffectHistory>,
    /// What was sent to logs, and told of them.
    pub(crate) logs: SawLogs,
    /// The lease and token of each holder, and whether it asked to be rid of them, until that is answered.
    held: BTreeMap<usize, (LeaseId, u64, bool)>,
    /// By keyspace and value: the key that it is written under, and what is asked with it.
    pub(crate) keyed: BTreeMap<(usize, String), (String, String)>,
}

impl Default for Saw {
    fn default() -> Saw {
        let terms =
            LockForm::LockTerms { clock_error_per_mille: CLOCK_ERROR_PER_MILLE, fenced_by: FencedBy::Holder };
        let mut locks = LockHistory::new();
        locks.add(0, Kind::Note, 0, terms).expect("they are the first");
        Saw {
            locks: vec![locks; CONFIGURED],
            effects: KEYSPACES.map(|_| EffectHistory::new()).to_vec(),
            logs: SawLogs::default(),
            held: BTreeMap::new(),
            keyed: BTreeMap::new(),
        }
    }
}

impl Saw {
    /// A client is about to ask.
    pub fn asks(&mut self, now_us: u64, waiting: &Waiting) {
        let (client, process) = (waiting.client, waiting.client as u64);
        if let Some(form) = attempt(waiting) {
            if let (Wish::One(Action::Write { value, .. } | Action::Cas { value, .. }), Some(attempt)) =
                (&waiting.wish, key_and_body(waiting))
            {
                self.keyed.insert((waiting.keyspace, short(value)), attempt);
            }
            add(&mut self.effects[waiting.keyspace], process, Kind::Invoke, now_us, form);
        }
        if let Wish::Early { key, value, .. } = &waiting.wish {
            self.logs.sent_early(now_us, waiting.keyspace, key, short(value));
        }
        let Wish::Hold(hold) = &waiting.wish else { return };
        let held = self.held.get(&client).copied();
        let form = match hold {
            Hold::Grant => None,
            Hold::Acquire => Some(acquire(None)),
            Hold::KeepAlive => match (held, &waiting.request.op) {
                // Of a lease that holds nothing, or perhaps nothing any more, the lock's history has nothing.
                (Some((lease, token, false)), Op::Query(Query::Lease(LeaseQuery::KeepAlive { id })))
                    if *id == lease =>
                {
                    Some(keep_alive(token, None))
                }
                _ => None,
            },
            Hold::Write(token) => guarded(waiting, *token, None),
            Hold::Release => held.map(|(_, token, _)| release(token)),
        };
        if *hold == Hold::Release
            && let Some((.., going)) = self.held.get_mut(&client)
        {
            *going = true;
        }
        if let Some(form) = form {
            add(&mut self.locks[waiting.keyspace], process, Kind::Invoke, now_us, form);
        }
    }

    /// A client is answered.
    pub fn told(&mut self, now_us: u64, waiting: &Waiting, reply: &Reply) {
        let process = waiting.client as u64;
        if let Some(EffectForm::Attempt { key, body, .. }) = attempt(waiting) {
            let result = Some(format!("{:?}", reply.body));
            let form = EffectForm::Attempt { key, body, result, reused: None };
            add(&mut self.effects[waiting.keyspace], process, Kind::Ok, now_us, form);
        }
        let Wish::Hold(hold) = &waiting.wish else { return };
        let Some(asked) = self.locks[waiting.keyspace].open(process).map(|entry| entry.form.clone()) else {
            return;
        };
        let (kind, form) = match (hold, &reply.body) {
            (Hold::Acquire, ReplyBody::Acquired(Acquired { lease, token })) => {
                self.held.insert(waiting.client, (*lease, *token, false));
                (Kind::Ok, acquire(Some(*token)))
            }
            (
                Hold::KeepAlive,
                ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lease { lease, remaining_ms, .. })),
            ) => match (&asked, lease, remaining_ms) {
                (LockForm::KeepAlive { token: Some(token), .. }, Some(_), Some(remaining_ms)) => {
                    (Kind::Ok, keep_alive(*token, Some(*remaining_ms)))
                }
                _ => (Kind::Fail, asked),
            },
            (Hold::Write(token), ReplyBody::Outcome(Outcome::Put { revision, .. })) => {
                (Kind::Ok, guarded(waiting, *token, Some(*revision)).unwrap_or(asked))
            }
            (Hold::Write(_), ReplyBody::Outcome(Outcome::Fenced { .. })) => (Kind::Fail, asked),
            // Until it is answered it may have to be asked for again.
            (Hold::Release, ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Done { succeeded, .. }))) => {
                self.held.remove(&waiting.client);
                (if *succeeded { Kind::Ok } else { Kind::Fail }, asked)
            }
            _ => (Kind::Unknown, asked),
        };
        add(&mut self.locks[waiting.keyspace], process, kind, now_us, form);
    }

    /// A client's key is refused because it was used for something else.
    pub fn refused(&mut self, now_us: u64, waiting: &Waiting, problem: &Problem) {
        if problem.code != ErrorCode::IdempotencyKeyReused {
            return;
        }
        if let Some(EffectForm::Attempt { key, body, .. }) = attempt(waiting) {
            let form = EffectForm::Attempt { key, body, result: None, reused: Some(true) };
            add(&mut self.effects[waiting.keyspace], waiting.client as u64, Kind::Fail, now_us, form);
        }
    }

    /// What a client asked came to nothing, or nobody knows to what.
    pub fn lost(&mut self, now_us: u64, waiting: &Waiting, applied: Applied) {
        let kind = if applied == Applied::NotApplied { Kind::Fail } else { Kind::Unknown };
        let process = waiting.client as u64;
        let effects = &mut self.effects[waiting.keyspace];
        if let Some(asked) = effects.open(process).map(|entry| entry.form.clone()) {
            add(effects, process, kind, now_us, asked);
        }
        let Some(locks) = self.locks.get_mut(waiting.keyspace) else { return };
        if let Some(asked) = locks.open(process).map(|entry| entry.form.clone()) {
            add(locks, process, kind, now_us, asked);
        }
    }

    /// A watch is told of all changes of these keys from one revision to another.
    pub fn watched(
        &mut self,
        now_us: u64,
        (watcher, keyspace): (usize, usize),
        keys: impl Iterator<Item = String>,
        (from, to): (u64, u64),
        changed: Option<&Revision>,
    ) {
        for key in keys {
            let events = changed.iter().flat_map(|revision| &revision.events);
            let event = events.into_iter().find(|event| event.key == key.as_bytes());
            let told = event.map(|event| {
                let value = event.put.as_ref().map(|put| String::from_utf8_lossy(&put.value).into_owned());
                (to, value.as_deref().map(short))
            });
            self.logs.told(now_us, watcher, keyspace, &key, (from, to + 1), told);
        }
    }
}

fn add<F: check::ledger::Form>(
    history: &mut check::Ledger<F>,
    process: u64,
    kind: Kind,
    now_us: u64,
    form: F,
) {
    history.add(process, kind, now_us, form).expect("a client does one thing at a time");
}

/// A value without what only makes it long.
pub fn short(value: &str) -> String {
    value.trim_end_matches('.').to_owned()
}

/// The idempotency key of a request, and what is asked under it.
fn key_and_body(waiting: &Waiting) -> Option<(String, String)> {
    let (Wish::One(action), Op::Once(key, _), Some(_)) = (&waiting.wish, &waiting.request.op, waiting.try_of)
    else {
        return None;
    };
    let body = match action {
        Action::Write { key, value } => format!("write {key} = {}", short(value)),
        Action::Cas { key, expected_revision, value } => {
            format!("cas {key} from {expected_revision} to {}", short(value))
        }
        Action::Delete { key } => format!("delete {key}"),
        Action::Read { key } => format!("read {key}"),
        Action::CasValue { .. } | Action::ReadMany { .. } | Action::Final { .. } => return None,
    };
    Some((String::from_utf8_lossy(key.as_bytes()).into_owned(), body))
}

fn attempt(waiting: &Waiting) -> Option<EffectForm> {
    let (key, body) = key_and_body(waiting)?;
    Some(EffectForm::Attempt { key, body, result: None, reused: None })
}

fn lock() -> String {
    String::from_utf8_lossy(LOCK).into_owned()
}

fn acquire(token: Option<u64>) -> LockForm {
    LockForm::Acquire { lock: lock(), token, ttl_ms: None }
}

fn keep_alive(token: u64, ttl_ms: Option<u64>) -> LockForm {
    LockForm::KeepAlive { lock: lock(), token: Some(token), ttl_ms }
}

fn release(token: u64) -> LockForm {
    LockForm::Release { lock: lock(), token: Some(token) }
}

/// The write that a holder asks for.
fn guarded(waiting: &Waiting, token: u64, revision: Option<u64>) -> Option<LockForm> {
    let Op::Command(keyspace::Command::Put { value, .. }) = &waiting.request.op else { return None };
    let value = short(&String::from_utf8_lossy(value));
    let resource = String::from_utf8_lossy(GUARDED).into_owned();
    Some(LockForm::GuardedWrite { lock: lock(), resource, token, value, revision })
}
