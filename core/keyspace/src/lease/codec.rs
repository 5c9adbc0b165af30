//! Leases and locks as bytes: bodies behind the kinds of [`crate::codec::kind`], as strict and as lenient as the
//! others there.

use types::LeaseId;

use super::messages::{
    EnterBody, GrantBody, HolderBody, LeaseAnswerBody, LeaseBody, ListAnswerBody, ListBody, LockAnswerBody,
    LockBody, OutcomeBody, RecordBody, WaitKind,
};
use super::{LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LeaseRecord, LockHolder, LockWait};
use crate::codec::{ANSWER, COMMAND, DecodeError, OUTCOME, QUERY, encode, kind, lenient, strict};

pub(crate) fn encode_command(command: &LeaseCommand) -> Vec<u8> {
    match command {
        LeaseCommand::Grant { id, ttl_ms, beside } => {
            let id = id.map_or(0, |id| id.0);
            encode(kind::LEASE_GRANT, &GrantBody { id, ttl_ms: *ttl_ms, beside: beside.clone() })
        }
        LeaseCommand::Revoke { id } => {
            encode(kind::LEASE_REVOKE, &LeaseBody { id: id.0, ..LeaseBody::default() })
        }
        LeaseCommand::Expire { id, granted, term } => {
            encode(kind::LEASE_EXPIRE, &LeaseBody { id: id.0, granted: *granted, term: *term })
        }
        LeaseCommand::Enter { name, lease, value } => {
            let (name, value) = (name.clone(), value.clone());
            encode(kind::LOCK_ENTER, &EnterBody { name, lease: lease.0, value })
        }
    }
}

/// The command of a kind; `None` if it is not one of these.
pub(crate) fn decode_command(kind: u8, body: &[u8]) -> Option<Result<LeaseCommand, DecodeError>> {
    let command = match kind {
        kind::LEASE_GRANT => strict(COMMAND, body).map(|GrantBody { id, ttl_ms, beside }| {
            let id = (id > 0).then_some(LeaseId(id));
            LeaseCommand::Grant { id, ttl_ms, beside }
        }),
        kind::LEASE_REVOKE => strict(COMMAND, body).and_then(|body: LeaseBody| match body {
            LeaseBody { id, granted: 0, term: 0 } => Ok(LeaseCommand::Revoke { id: LeaseId(id) }),
            _ => Err(DecodeError::NotCanonical { what: COMMAND }),
        }),
        kind::LEASE_EXPIRE => strict(COMMAND, body)
            .map(|LeaseBody { id, granted, term }| LeaseCommand::Expire { id: LeaseId(id), granted, term }),
        kind::LOCK_ENTER => strict(COMMAND, body).map(|EnterBody { name, lease, value }| {
            LeaseCommand::Enter { name, lease: LeaseId(lease), value }
        }),
        _ => return None,
    };
    Some(command)
}

pub(crate) fn encode_query(query: &LeaseQuery) -> Vec<u8> {
    let lease = |id: &LeaseId| LeaseBody { id: id.0, ..LeaseBody::default() };
    match query {
        LeaseQuery::KeepAlive { id } => encode(kind::LEASE_KEEP_ALIVE, &lease(id)),
        LeaseQuery::Show { id } => encode(kind::LEASE_SHOW, &lease(id)),
        LeaseQuery::List { shard, after, limit } => {
            let after = after.map(|after| after.0);
            encode(kind::LEASE_LIST, &ListBody { shard: *shard, after, limit: *limit })
        }
        LeaseQuery::Lock { name, wait } => {
            let (wait, token, mod_revision) = match *wait {
                LockWait::No => (WaitKind::No, 0, 0),
                LockWait::Turn { token } => (WaitKind::Turn, token, 0),
                LockWait::Change { token, mod_revision } => (WaitKind::Change, token, mod_revision),
            };
            let (name, wait) = (name.clone(), wait as i32);
            encode(kind::LOCK_SHOW, &LockBody { name, wait, token, mod_revision })
        }
    }
}

/// The query of a kind; `None` if it is not one of these.
pub(crate) fn decode_query(kind: u8, body: &[u8]) -> Option<Result<LeaseQuery, DecodeError>> {
    let lease = |body: &[u8]| strict(QUERY, body).map(|body: LeaseBody| LeaseId(body.id));
    let query = match kind {
        kind::LEASE_KEEP_ALIVE => lease(body).map(|id| LeaseQuery::KeepAlive { id }),
        kind::LEASE_SHOW => lease(body).map(|id| LeaseQuery::Show { id }),
        kind::LEASE_LIST => strict(QUERY, body).map(|ListBody { shard, after, limit }| LeaseQuery::List {
            shard,
            after: after.map(LeaseId),
            limit,
        }),
        kind::LOCK_SHOW => strict(QUERY, body).and_then(|LockBody { name, wait, token, mod_revision }| {
            let wait = match WaitKind::try_from(wait) {
                Ok(WaitKind::No) => LockWait::No,
                Ok(WaitKind::Turn) => LockWait::Turn { token },
                Ok(WaitKind::Change) => LockWait::Change { token, mod_revision },
                Err(_) => return Err(DecodeError::NotCanonical { what: QUERY }),
            };
            Ok(LeaseQuery::Lock { name, wait })
        }),
        _ => return None,
    };
    Some(query)
}

pub(crate) fn encode_outcome(outcome: &LeaseOutcome) -> Vec<u8> {
    let body = OutcomeBody { revision: outcome.revision(), ..OutcomeBody::default() };
    match *outcome {
        LeaseOutcome::Granted { id, ttl_ms, granted, .. } => {
            encode(kind::OUTCOME_LEASE_GRANTED, &OutcomeBody { id: id.0, ttl_ms, granted, ..body })
        }
        LeaseOutcome::Ended { id, keys, .. } => {
            encode(kind::OUTCOME_LEASE_ENDED, &OutcomeBody { id: id.0, keys, ..body })
        }
        LeaseOutcome::Entered { token, held, .. } => {
            encode(kind::OUTCOME_LOCK_ENTERED, &OutcomeBody { token, held, ..body })
        }
        LeaseOutcome::NotFound { id, .. } => {
            encode(kind::OUTCOME_LEASE_NOT_FOUND, &OutcomeBody { id: id.0, ..body })
        }
        LeaseOutcome::Exists { id, .. } => {
            encode(kind::OUTCOME_LEASE_EXISTS, &OutcomeBody { id: id.0, ..body })
        }
        LeaseOutcome::Full { id, .. } => {
            encode(kind::OUTCOME_LEASE_FULL, &OutcomeBody { id: id.map_or(0, |id| id.0), ..body })
        }
    }
}

/// The outcome of a kind; `None` if it is not one of these.
pub(crate) fn decode_outcome(kind: u8, body: &[u8]) -> Option<Result<LeaseOutcome, DecodeError>> {
    const KINDS: std::ops::RangeInclusive<u8> = kind::OUTCOME_LEASE_GRANTED..=kind::OUTCOME_LEASE_FULL;
    if !KINDS.contains(&kind) {
        return None;
    }
    Some(lenient(OUTCOME, body).map(|body: OutcomeBody| {
        let OutcomeBody { revision, id, ttl_ms, granted, keys, token, held } = body;
        let given = (id > 0).then_some(LeaseId(id));
        let id = LeaseId(id);
        match kind {
            kind::OUTCOME_LEASE_GRANTED => LeaseOutcome::Granted { revision, id, ttl_ms, granted },
            kind::OUTCOME_LEASE_ENDED => LeaseOutcome::Ended { revision, id, keys },
            kind::OUTCOME_LOCK_ENTERED => LeaseOutcome::Entered { revision, token, held },
            kind::OUTCOME_LEASE_NOT_FOUND => LeaseOutcome::NotFound { revision, id },
            kind::OUTCOME_LEASE_EXISTS => LeaseOutcome::Exists { revision, id },
            _ => LeaseOutcome::Full { revision, id: given },
        }
    }))
}

fn record_to_wire(id: LeaseId, record: &LeaseRecord) -> RecordBody {
    let LeaseRecord { ttl_ms, keys, granted } = *record;
    RecordBody { id: id.0, ttl_ms, keys, granted }
}

fn record_from_wire(body: RecordBody) -> (LeaseId, LeaseRecord) {
    let RecordBody { id, ttl_ms, keys, granted } = body;
    (LeaseId(id), LeaseRecord { ttl_ms, keys, granted })
}

pub(crate) fn encode_answer(answer: &LeaseAnswer) -> Vec<u8> {
    match answer {
        LeaseAnswer::Lease { revision, id, lease, remaining_ms, keys } => {
            let lease = lease.as_ref().map(|record| record_to_wire(*id, record));
            let (remaining_ms, keys) = (*remaining_ms, keys.clone());
            let body = LeaseAnswerBody { revision: *revision, id: id.0, lease, remaining_ms, keys };
            encode(kind::ANSWER_LEASE, &body)
        }
        LeaseAnswer::List { revision, leases, more } => {
            let leases = leases.iter().map(|(id, record)| record_to_wire(*id, record)).collect();
            encode(kind::ANSWER_LEASES, &ListAnswerBody { revision: *revision, leases, more: *more })
        }
        LeaseAnswer::Lock { revision, holder, waiters, queued } => {
            let holder = holder.as_ref().map(|holder| HolderBody {
                token: holder.token,
                lease: holder.lease.0,
                mod_revision: holder.mod_revision,
                value: holder.value.clone(),
            });
            let (waiters, queued) = (*waiters, *queued);
            encode(kind::ANSWER_LOCK, &LockAnswerBody { revision: *revision, holder, waiters, queued })
        }
    }
}

/// The answer of a kind; `None` if it is not one of these.
pub(crate) fn decode_answer(kind: u8, body: &[u8]) -> Option<Result<LeaseAnswer, DecodeError>> {
    let answer = match kind {
        kind::ANSWER_LEASE => lenient(ANSWER, body).map(|body: LeaseAnswerBody| LeaseAnswer::Lease {
            revision: body.revision,
            id: LeaseId(body.id),
            lease: body.lease.map(|record| record_from_wire(record).1),
            remaining_ms: body.remaining_ms,
            keys: body.keys,
        }),
        kind::ANSWER_LEASES => lenient(ANSWER, body).map(|body: ListAnswerBody| LeaseAnswer::List {
            revision: body.revision,
            leases: body.leases.into_iter().map(record_from_wire).collect(),
            more: body.more,
        }),
        kind::ANSWER_LOCK => lenient(ANSWER, body).map(|body: LockAnswerBody| LeaseAnswer::Lock {
            revision: body.revision,
            holder: body.holder.map(|holder| LockHolder {
                token: holder.token,
                lease: LeaseId(holder.lease),
                mod_revision: holder.mod_revision,
                value: holder.value,
            }),
            waiters: body.waiters,
            queued: body.queued,
        }),
        _ => return None,
    };
    Some(answer)
}
