//! Applying log entries to rows.
//!
//! Guarantee G-QUOTA: no entry makes a group hold more bytes of clients' rows than its keyspace's part of the quota.
//!
//! Guarantee G-APPLY: what an entry does depends on the rows, the state and the entry alone.
//! A change takes the next revision of its keyspace; a conflict, and a delete of a key that is not
//! there, take none. As in etcd, `create_revision` and `version` begin anew when a deleted key is
//! put again.

use storage::{GroupState, Row, RowMeta, StoreError, WriteRows, rows::row_hash};
use types::{GroupId, LogPosition, contract::Values, limits::is_reserved_key};

use crate::codec::DecodeError;
use crate::command::{Command, Expect, Outcome};
use crate::entry::{LogCommand, decode_entry};
use crate::frontier;
use crate::history::{self, Recorder};
use crate::lease::{self, Bound, Fence, Leasing};
use crate::operate;
use crate::remembered::Remembered;
use crate::term_table;
use crate::txn;

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The command ran now, or, under its idempotency key, before.
    Done {
        /// What it did when it ran.
        outcome: Outcome,
        /// Whether it ran before, so that nothing was changed now.
        deduplicated: bool,
    },
    /// Nothing: its idempotency key is that of another command.
    KeyReused,
}

/// Why an entry was not applied; rows and state are as before. Either way the replica must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The entry is committed, so every replica must apply it alike, and this build does not
    /// understand it: it was written by a newer version, or damaged. Start a version that knows it.
    #[error("group {group} entry {index} cannot be understood: {source}")]
    Undecodable {
        /// The group.
        group: GroupId,
        /// The entry's index.
        index: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A record of the group's own is not one: the state is damaged, or of a newer version.
    #[error("group {group}: an idempotency record cannot be understood: {reason}")]
    BadRecord {
        /// The group.
        group: GroupId,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading the old row failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Applies the entry at `position`, and sets the group's state. Empty `data` is the entry with which
/// a new leader opens its term: it changes no row and has no outcome.
///
/// # Panics
///
/// If `position` does not follow the applied one directly: our own loop is broken.
pub fn apply(
    rows: &mut dyn WriteRows,
    group: GroupId,
    position: LogPosition,
    data: &[u8],
) -> Result<Option<Effect>, ApplyError> {
    let mut state = rows.state(group);
    assert_eq!(position.index, state.applied_index + 1, "group {group}: entries are applied in order");
    assert!(position.term >= state.applied_term, "group {group}: terms never go back");

    if position.term > state.applied_term {
        term_table::note_term(rows, group, &mut state, (position.term, position.index))?;
    }
    let effect = if data.is_empty() {
        None
    } else {
        let undecodable = |source| ApplyError::Undecodable { group, index: position.index, source };
        let LogCommand { terms, command } = decode_entry(data).map_err(undecodable)?;
        let bounds = Bounds {
            outcome_bytes_max: None,
            quota_bytes: terms.quota_bytes,
            fence: terms.fence.as_ref(),
            shards: terms.shards.unwrap_or(1),
            values: terms.values.unwrap_or(Values::Register),
            position,
        };
        let carry_out = |rows: &mut dyn WriteRows, state: &mut GroupState| match terms.once {
            None => run(rows, group, state, command, bounds)
                .map(|outcome| Effect::Done { outcome, deduplicated: false })
                .map_err(ApplyError::from),
            Some(once) => Remembered::of(rows, group, position.index, state).run_once(&once, command, bounds),
        };
        // What the cluster's own group knows is nobody's to watch.
        let effect = if group == GroupId::META {
            carry_out(rows, &mut state)?
        } else {
            let mut recorder = Recorder::new(rows, group);
            let effect = carry_out(&mut recorder, &mut state)?;
            recorder.finish(&mut state)?;
            effect
        };
        frontier::raise(rows, group, &mut state, &terms.seen)?;
        if terms.early.is_some() {
            term_table::note_early(rows, group, &mut state)?;
        }
        Some(effect)
    };
    state.applied_index = position.index;
    state.applied_term = position.term;
    rows.set_state(group, state);
    Ok(effect)
}

/// What a command may come to; beyond, it does nothing.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// Longest encoded outcome of a transaction, or of operations.
    pub outcome_bytes_max: Option<usize>,
    /// See [`crate::Terms::quota_bytes`].
    pub quota_bytes: Option<u64>,
    /// See [`crate::Terms::fence`].
    pub fence: Option<&'a Fence>,
    /// See [`crate::Terms::shards`].
    pub shards: u32,
    /// See [`crate::Terms::values`].
    pub values: Values,
    /// Of the entry.
    pub position: LogPosition,
}

impl Bounds<'_> {
    /// The refusal of a change that would leave the group with so many bytes.
    pub fn refuse(self, state: &GroupState, bytes_after: u64) -> Option<Outcome> {
        let quota_bytes = self.quota_bytes?;
        let over = bytes_after > quota_bytes && bytes_after > state.bytes;
        if over {
            types::mark!("quota_refused");
        }
        over.then_some(Outcome::OverQuota { revision: state.revision, bytes: state.bytes, quota_bytes })
    }
}

/// Runs a command against the rows, whatever came before.
pub(crate) fn run(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    command: Command,
    bounds: Bounds<'_>,
) -> Result<Outcome, StoreError> {
    if let Some(fence) = bounds.fence
        && let Some(refused) = lease::refuse_fenced(rows, group, state, fence)?
    {
        types::mark!("fenced_out");
        return Ok(refused);
    }
    match command {
        Command::Put { key, value, expect, lease } => {
            let old = rows.meta(group, &key)?;
            if !holds(expect, old) {
                return Ok(conflict(state, old));
            }
            let leased = lease.map(|lease| (key.as_slice(), lease));
            if let Some(refused) = lease::refuse_leased(rows, group, state, leased.into_iter())? {
                return Ok(Outcome::Lease(refused));
            }
            let held = old.map_or(0, |old| key.len() as u64 + old.value_bytes);
            let bytes_after = state.bytes - held + (key.len() + value.len()) as u64;
            if let Some(refused) = bounds.refuse(state, bytes_after) {
                return Ok(refused);
            }
            state.revision += 1;
            let row = Row {
                create_revision: old.map_or(state.revision, |old| old.create_revision),
                mod_revision: state.revision,
                version: old.map_or(1, |old| old.version + 1),
                value,
            };
            let outcome = Outcome::Put {
                revision: row.mod_revision,
                create_revision: row.create_revision,
                version: row.version,
            };
            subtract(state, &key, old);
            add(state, &key, RowMeta::of(&row));
            let new = Some(row.create_revision);
            rows.put(group, &key, row);
            let bound = Bound { old, new, leasing: Leasing::Set(lease) };
            lease::changed(rows, group, state, &key, bound)?;
            Ok(outcome)
        }
        Command::Delete { key, expect } => {
            let old = rows.meta(group, &key)?;
            if !holds(expect, old) {
                return Ok(conflict(state, old));
            }
            let existed = old.is_some();
            if existed {
                state.revision += 1;
                subtract(state, &key, old);
                rows.delete(group, &key);
                let bound = Bound { old, new: None, leasing: Leasing::Keep };
                lease::changed(rows, group, state, &key, bound)?;
            }
            Ok(Outcome::Deleted { revision: state.revision, existed })
        }
        Command::Operate { key, operations, expect } => {
            operate::run(rows, group, state, (&key, &operations, expect), bounds)
        }
        Command::Txn(txn) => txn::apply(rows, group, state, &txn, bounds),
        Command::Compact { revision, .. } => history::compact(rows, group, state, revision),
        Command::Reclaim { events_max } => history::reclaim(rows, group, state, events_max),
        Command::Lease(command) => lease::run(rows, group, state, command, bounds),
    }
}

pub(crate) fn holds(expect: Expect, old: Option<RowMeta>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => old.is_none(),
        Expect::Present => old.is_some(),
        Expect::Revision(revision) => old.is_some_and(|old| old.mod_revision == revision),
    }
}

pub(crate) fn conflict(state: &GroupState, old: Option<RowMeta>) -> Outcome {
    let current = old.map_or(0, |old| old.mod_revision);
    Outcome::Conflict { revision: state.revision, current }
}

/// Takes a row out of the state's sums; a reserved one is in the hash alone.
pub(crate) fn subtract(state: &mut GroupState, key: &[u8], old: Option<RowMeta>) {
    if let Some(old) = old {
        state.state_hash = state.state_hash.wrapping_sub(row_hash(key, &old));
        if !is_reserved_key(key) {
            state.keys -= 1;
            state.bytes -= key.len() as u64 + old.value_bytes;
        }
    }
}

/// Adds a row to the state's sums; a reserved one to the hash alone.
pub(crate) fn add(state: &mut GroupState, key: &[u8], new: RowMeta) {
    state.state_hash = state.state_hash.wrapping_add(row_hash(key, &new));
    if !is_reserved_key(key) {
        state.keys += 1;
        state.bytes += key.len() as u64 + new.value_bytes;
    }
}
