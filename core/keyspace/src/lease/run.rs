//! Carrying out changes of leases and locks, and answering questions about them.

use storage::{GroupState, ReadRows, Row, RowMeta, StoreError, WriteRows};
use types::{GroupId, LeaseId, limits::RANGE_ITEMS_MAX, shard_of};

use super::records::{Leasing, Records, keys, lease_of, leases, record, refuse};
use super::{LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LeaseRecord, LockWait, lock_key, queue};
use crate::apply::{Bounds, add, subtract};
use crate::command::Outcome;

/// Runs a command of the log.
pub(crate) fn run(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    command: LeaseCommand,
    bounds: Bounds<'_>,
) -> Result<Outcome, StoreError> {
    let outcome = match command {
        LeaseCommand::Grant { id, ttl_ms, beside } => {
            let shard = shard_of(&beside, bounds.shards);
            match id.or_else(|| LeaseId::granted(bounds.position.index, shard, bounds.shards)) {
                None => LeaseOutcome::Full { revision: state.revision, id: None },
                Some(id) => grant(rows, group, state, id, ttl_ms, bounds.position.index)?,
            }
        }
        LeaseCommand::Revoke { id } => end(rows, group, state, id, |_| true)?,
        LeaseCommand::Expire { id, granted, term } => {
            let means_it = |record: LeaseRecord| record.granted == granted && term == bounds.position.term;
            end(rows, group, state, id, means_it)?
        }
        LeaseCommand::Enter { name, lease, value } => {
            return enter(rows, group, state, &name, lease, value, bounds);
        }
    };
    Ok(Outcome::Lease(outcome))
}

fn grant(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    id: LeaseId,
    ttl_ms: u64,
    granted: u64,
) -> Result<LeaseOutcome, StoreError> {
    let revision = state.revision;
    if record(rows, group, id)?.is_some() {
        return Ok(LeaseOutcome::Exists { revision, id });
    }
    let begun = Records { rows, group, state }.grant(id, LeaseRecord { ttl_ms, keys: 0, granted })?;
    Ok(match begun {
        true => LeaseOutcome::Granted { revision, id, ttl_ms, granted },
        false => LeaseOutcome::Full { revision, id: None },
    })
}

fn end(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    id: LeaseId,
    means_it: impl Fn(LeaseRecord) -> bool,
) -> Result<LeaseOutcome, StoreError> {
    if !record(rows, group, id)?.is_some_and(means_it) {
        return Ok(LeaseOutcome::NotFound { revision: state.revision, id });
    }
    let keys = Records { rows, group, state }.end(id)?;
    Ok(LeaseOutcome::Ended { revision: state.revision, id, keys })
}

fn enter(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    name: &[u8],
    lease: LeaseId,
    value: Option<Vec<u8>>,
    bounds: Bounds<'_>,
) -> Result<Outcome, StoreError> {
    let key = lock_key(name, lease);
    if let Some(refused) = refuse(rows, group, state, [(&key[..], lease)].into_iter())? {
        return Ok(Outcome::Lease(refused));
    }
    let mut old = rows.get(group, &key)?;
    let place = match &old {
        Some(row) => queue::token(rows, group, name, RowMeta::of(row))?,
        None => None,
    };
    let unchanged = |row: &Row| value.as_ref().is_none_or(|value| *value == row.value);
    let bound = lease_of(rows, group, &key)? == Some(lease);
    if place.is_none() || !bound || !old.as_ref().is_some_and(unchanged) {
        let kept = |row: &Row| row.value.clone();
        let value = value.or_else(|| old.as_ref().map(kept)).unwrap_or_default();
        let held = old.as_ref().map_or(0, |row| (key.len() + row.value.len()) as u64);
        let bytes_after = state.bytes - held + (key.len() + value.len()) as u64;
        if let Some(refused) = bounds.refuse(state, bytes_after) {
            return Ok(refused);
        }
        state.revision += 1;
        if place.is_none()
            && let Some(row) = old.take()
        {
            // Of a key that has no place: it is made anew, behind those that wait.
            subtract(state, &key, Some(RowMeta::of(&row)));
            let mut records = Records { rows, group, state };
            records.changed(&key, Some(RowMeta::of(&row)), None, Leasing::Keep)?;
        }
        let old = old.as_ref().map(RowMeta::of);
        let row = Row {
            create_revision: old.map_or(state.revision, |old| old.create_revision),
            mod_revision: state.revision,
            version: old.map_or(1, |old| old.version + 1),
            value,
        };
        let created = row.create_revision;
        subtract(state, &key, old);
        add(state, &key, RowMeta::of(&row));
        rows.put(group, &key, row);
        Records { rows, group, state }.changed(&key, old, Some(created), Leasing::Set(Some(lease)))?;
    }
    let row = rows.meta(group, &key)?;
    let token = row.map_or(0, |row| row.create_revision);
    let held = queue::first(rows, group, name)?.is_some_and(|(first, _)| first == token);
    Ok(Outcome::Lease(LeaseOutcome::Entered { revision: state.revision, token, held }))
}

/// Answers from the newest rows, as [`crate::query::answer`] does. What only a leader knows is left out.
pub(crate) fn answer(
    rows: &dyn ReadRows,
    group: GroupId,
    query: &LeaseQuery,
) -> Result<LeaseAnswer, StoreError> {
    let revision = rows.state(group).revision;
    match query {
        LeaseQuery::KeepAlive { id } | LeaseQuery::Show { id } => {
            let lease = record(rows, group, *id)?;
            let show = matches!(query, LeaseQuery::Show { .. });
            let keys = if show { keys(rows, group, *id)? } else { Vec::new() };
            Ok(LeaseAnswer::Lease { revision, id: *id, lease, remaining_ms: None, keys })
        }
        LeaseQuery::List { after, limit, .. } => {
            let (mut found, mut more) = (Vec::new(), false);
            leases(rows, group, *after, &mut |id, lease| {
                more = found.len() >= (*limit).min(RANGE_ITEMS_MAX) as usize;
                if !more {
                    found.push((id, lease));
                }
                !more
            })?;
            Ok(LeaseAnswer::List { revision, leases: found, more })
        }
        LeaseQuery::Lock { name, wait } => {
            let (holder, waiters) = queue::look(rows, group, name)?;
            let queued = match wait {
                LockWait::Turn { token } => queue::is_queued(rows, group, name, *token)?,
                _ => false,
            };
            Ok(LeaseAnswer::Lock { revision, holder, waiters, queued })
        }
    }
}
