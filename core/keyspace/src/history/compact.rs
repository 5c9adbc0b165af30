//! Giving up history: raising the floor at once, reclaiming what is below it in small steps.

use storage::{GroupState, ReadRows, StoreError, WriteRows};
use types::GroupId;

use super::{
    EVENT, EVENT_HEAD_BYTES, FLOOR, RECLAIM_EVENTS_MAX, VERSION, corrupt, events_after, split_event,
    version_key,
};
use crate::command::Outcome;
use crate::records::{self, record_key};

/// How far the history was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Revisions above it can be watched; it and those above can be read.
    pub revision: u64,
    /// No event of this revision or an earlier one is left. Never above `revision`.
    pub reclaimed: u64,
}

impl Floor {
    /// Whether records are left that nobody can ask for any more.
    pub fn has_garbage(self) -> bool {
        self.reclaimed < self.revision
    }
}

/// A group's floor.
///
/// # Errors
/// When the store cannot be read.
pub fn floor(rows: &dyn ReadRows, group: GroupId) -> Result<Floor, StoreError> {
    let Some(row) = rows.get(group, &floor_key())? else { return Ok(Floor::default()) };
    let numbers = row.value.as_chunks::<8>();
    let (&[revision, reclaimed], &[]) = numbers else {
        return Err(corrupt(group, "the floor is no two numbers"));
    };
    Ok(Floor { revision: u64::from_le_bytes(revision), reclaimed: u64::from_le_bytes(reclaimed) })
}

/// Events and versions that a group's history holds, counted one by one: for checks.
///
/// # Errors
/// When the store cannot be read.
pub fn count_records(rows: &dyn ReadRows, group: GroupId) -> Result<(u64, u64), StoreError> {
    let count = |kind: u8| {
        let mut count = 0;
        rows.scan_meta(group, &record_key(kind, &[]), Some(&record_key(kind + 1, &[])), &mut |_, _| {
            count += 1;
            true
        })?;
        Ok::<u64, StoreError>(count)
    };
    Ok((count(EVENT)?, count(VERSION)?))
}

/// Raises the floor to `revision`, unless it is there or above already.
pub(crate) fn compact(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    revision: u64,
) -> Result<Outcome, StoreError> {
    let found = floor(rows, group)?;
    if revision > state.revision {
        return Ok(Outcome::Compacted { revision: state.revision, floor: found.revision, ahead: true });
    }
    let raised = Floor { revision: found.revision.max(revision), ..found };
    if raised != found {
        set_floor(rows, group, state, raised)?;
    }
    Ok(Outcome::Compacted { revision: state.revision, floor: raised.revision, ahead: false })
}

/// Removes events up to the floor, the oldest first and at most so many, with the versions that they superseded.
pub(crate) fn reclaim(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    events_max: u32,
) -> Result<Outcome, StoreError> {
    let mut found = floor(rows, group)?;
    let events_max = events_max.min(RECLAIM_EVENTS_MAX) as usize;
    let mut events = Vec::new();
    let (start, end) = (events_after(found.reclaimed), events_after(found.revision));
    if found.has_garbage() {
        rows.scan(group, &start, Some(&end), &mut |key, row| {
            events.push((key.to_vec(), row));
            // One more than are removed, to know where the next step goes on.
            events.len() <= events_max
        })?;
    }
    let next = if events.len() > events_max { events.pop() } else { None };
    if next.is_some() {
        types::mark!("history_reclaimed_in_parts");
    }
    for (key, event) in &events {
        let (before, of) = split_event(&event.value).ok_or_else(|| corrupt(group, "an event has no key"))?;
        if before > 0 {
            delete(rows, group, state, &version_key(of, before))?;
        }
        delete(rows, group, state, key)?;
    }
    let reclaimed = match next {
        None => found.revision,
        Some((key, _)) => {
            let revision = key[EVENT_HEAD_BYTES - 8..EVENT_HEAD_BYTES].try_into().map(u64::from_be_bytes);
            revision.map_err(|_| corrupt(group, "an event has no revision"))? - 1
        }
    };
    if reclaimed != found.reclaimed {
        found.reclaimed = reclaimed;
        set_floor(rows, group, state, found)?;
    }
    let (revision, events) = (state.revision, events.len() as u64);
    Ok(Outcome::Reclaimed { revision, events, done: !found.has_garbage() })
}

fn floor_key() -> Vec<u8> {
    record_key(FLOOR, &[])
}

fn set_floor(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    floor: Floor,
) -> Result<(), StoreError> {
    assert!(floor.reclaimed <= floor.revision && floor.revision <= state.revision);
    let value = [floor.revision, floor.reclaimed].map(u64::to_le_bytes).concat();
    records::put(rows, group, state, &floor_key(), value)
}

fn delete(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    key: &[u8],
) -> Result<(), StoreError> {
    match records::delete(rows, group, state, key)? {
        true => Ok(()),
        false => Err(corrupt(group, "a version that was replaced is missing")),
    }
}
