//! The records of leases: rows with reserved keys, written with the effect. Behind the prefix:
//!
//! - `l`: how many leases there are (8 bytes, little-endian);
//! - `l` and a lease (8 bytes, big-endian): its time to live in milliseconds, how many keys it has, and the
//!   index of the entry that granted it (8 bytes each, little-endian);
//! - `m`, a lease and a key: the key is bound to the lease;
//! - `n`, `k` and a key: the lease that the key is bound to (8 bytes, big-endian).
//!
//! Those of queues are in [`super::queue`].

use std::collections::BTreeMap;

use storage::{GroupState, ReadRows, RowMeta, StoreError, WriteRows};
use types::{
    GroupId, LeaseId,
    limits::{LEASE_KEYS_MAX, LEASES_MAX},
};

use super::{LeaseOutcome, queue};
use crate::{
    apply::subtract,
    records::{self, record_key},
};

const LEASE: u8 = b'l';
const BOUND: u8 = b'm';
/// What is behind the letter `n`, told apart by a second letter.
pub(super) const NAMED: u8 = b'n';
const OF_KEY: &[u8] = b"k";
const LEASE_BYTES: usize = 24;

/// What is recorded of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// How long it lives unless it is kept alive, in milliseconds.
    pub ttl_ms: u64,
    /// How many keys are bound to it.
    pub keys: u64,
    /// The entry that granted it.
    pub granted: u64,
}

impl LeaseRecord {
    fn encode(self) -> Vec<u8> {
        [self.ttl_ms, self.keys, self.granted].map(u64::to_le_bytes).concat()
    }

    fn decode(bytes: &[u8]) -> Option<LeaseRecord> {
        let bytes: &[u8; LEASE_BYTES] = bytes.try_into().ok()?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let [ttl_ms, keys, granted] = [0, 1, 2].map(|at| u64::from_le_bytes(numbers[at]));
        Some(LeaseRecord { ttl_ms, keys, granted })
    }
}

/// What a put says of the key's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leasing {
    /// Nothing: it stays bound as it is.
    Keep,
    /// It is bound to this one, or to none, from now on.
    Set(Option<LeaseId>),
}

/// One group's records, while an entry is applied.
pub(crate) struct Records<'a> {
    pub rows: &'a mut dyn WriteRows,
    pub group: GroupId,
    pub state: &'a mut GroupState,
}

impl Records<'_> {
    /// Writes a record.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        records::put(self.rows, self.group, self.state, key, value)
    }

    /// Removes a record; answers whether there was one.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        records::delete(self.rows, self.group, self.state, key)
    }

    /// Begins a lease that is not there, unless there are too many.
    pub fn grant(&mut self, id: LeaseId, record: LeaseRecord) -> Result<bool, StoreError> {
        let count = self.count()?;
        if count >= LEASES_MAX {
            return Ok(false);
        }
        self.put(&count_key(), (count + 1).to_le_bytes().to_vec())?;
        self.put(&lease_key(id), record.encode())?;
        Ok(true)
    }

    /// Ends a lease that is there: its keys go at one new revision, if it has any. Answers how many there were.
    pub fn end(&mut self, id: LeaseId) -> Result<u64, StoreError> {
        let keys = keys(self.rows, self.group, id)?;
        if !keys.is_empty() {
            self.state.revision += 1;
        }
        for key in &keys {
            let old = self.rows.meta(self.group, key)?;
            subtract(self.state, key, old);
            self.rows.delete(self.group, key);
            self.changed(key, old, None, Leasing::Keep)?;
        }
        self.delete(&lease_key(id))?;
        let count =
            self.count()?.checked_sub(1).ok_or_else(|| bad(self.group, "more leases than counted"))?;
        match count {
            0 => drop(self.delete(&count_key())?),
            count => self.put(&count_key(), count.to_le_bytes().to_vec())?,
        }
        Ok(keys.len() as u64)
    }

    fn count(&self) -> Result<u64, StoreError> {
        match self.rows.get(self.group, &count_key())? {
            None => Ok(0),
            Some(row) => number(&row.value).ok_or_else(|| bad(self.group, "the number of leases")),
        }
    }

    /// A client's key was changed: from a row, or none, to one of this creation revision, or none.
    pub fn changed(
        &mut self,
        key: &[u8],
        old: Option<RowMeta>,
        new: Option<u64>,
        leasing: Leasing,
    ) -> Result<(), StoreError> {
        let wanted = match (new, leasing) {
            (None, _) => None,
            (Some(_), Leasing::Set(lease)) => lease,
            (Some(_), Leasing::Keep) => return queue::changed(self, key, old, new, None),
        };
        let bound = if old.is_some() { lease_of(self.rows, self.group, key)? } else { None };
        if bound != wanted {
            if let Some(lease) = bound {
                self.delete(&bound_key(lease, key))?;
                self.recount(lease, |keys| keys.checked_sub(1))?;
            }
            match wanted {
                Some(lease) => {
                    self.put(&bound_key(lease, key), Vec::new())?;
                    self.put(&of_key(key), lease.0.to_be_bytes().to_vec())?;
                    self.recount(lease, |keys| keys.checked_add(1))?;
                }
                None => drop(self.delete(&of_key(key))?),
            }
        }
        queue::changed(self, key, old, new, wanted)
    }

    fn recount(&mut self, lease: LeaseId, change: impl Fn(u64) -> Option<u64>) -> Result<(), StoreError> {
        let record = record(self.rows, self.group, lease)?;
        let counted = record.and_then(|record| Some(LeaseRecord { keys: change(record.keys)?, ..record }));
        let counted =
            counted.ok_or_else(|| bad(self.group, "a key is bound to a lease that cannot have it"))?;
        self.put(&lease_key(lease), counted.encode())
    }
}

/// See [`Records::changed`].
pub(crate) fn changed(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    key: &[u8],
    bound: Bound,
) -> Result<(), StoreError> {
    Records { rows, group, state }.changed(key, bound.old, bound.new, bound.leasing)
}

/// What became of a client's key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// The row that was there.
    pub old: Option<RowMeta>,
    /// The creation revision of the one that is there.
    pub new: Option<u64>,
    /// What the put says of its lease.
    pub leasing: Leasing,
}

/// Why keys cannot be bound to the leases that their puts name; `None` if they can.
pub(crate) fn refuse<'a>(
    rows: &dyn ReadRows,
    group: GroupId,
    state: &GroupState,
    puts: impl Iterator<Item = (&'a [u8], LeaseId)>,
) -> Result<Option<LeaseOutcome>, StoreError> {
    let revision = state.revision;
    let mut bound: BTreeMap<LeaseId, u64> = BTreeMap::new();
    for (key, id) in puts {
        let keys = match bound.get(&id) {
            Some(keys) => *keys,
            None => match record(rows, group, id)? {
                Some(record) => record.keys,
                None => return Ok(Some(LeaseOutcome::NotFound { revision, id })),
            },
        };
        let more = u64::from(lease_of(rows, group, key)? != Some(id));
        if keys + more > LEASE_KEYS_MAX {
            return Ok(Some(LeaseOutcome::Full { revision, id: Some(id) }));
        }
        bound.insert(id, keys + more);
    }
    Ok(None)
}

/// A lease's record.
pub(crate) fn record(
    rows: &dyn ReadRows,
    group: GroupId,
    id: LeaseId,
) -> Result<Option<LeaseRecord>, StoreError> {
    let Some(row) = rows.get(group, &lease_key(id))? else { return Ok(None) };
    LeaseRecord::decode(&row.value).map(Some).ok_or_else(|| bad(group, "a lease"))
}

/// The lease that a key is bound to.
pub(crate) fn lease_of(
    rows: &dyn ReadRows,
    group: GroupId,
    key: &[u8],
) -> Result<Option<LeaseId>, StoreError> {
    let Some(row) = rows.get(group, &of_key(key))? else { return Ok(None) };
    let lease = row.value.try_into().map(u64::from_be_bytes);
    lease.map(|lease| Some(LeaseId(lease))).map_err(|_| bad(group, "the lease of a key"))
}

/// The keys bound to a lease, in order.
pub(crate) fn keys(rows: &dyn ReadRows, group: GroupId, id: LeaseId) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    let start = bound_key(id, &[]);
    let end = bound_key(LeaseId(id.0 + 1), &[]);
    rows.scan_meta(group, &start, Some(&end), &mut |key, _| {
        keys.push(key[start.len()..].to_vec());
        true
    })?;
    Ok(keys)
}

/// The leases of a group after one of them, in order of their ids, until `visit` answers false.
///
/// # Errors
/// When the store cannot be read. Records that are none are left out.
pub fn leases(
    rows: &dyn ReadRows,
    group: GroupId,
    after: Option<LeaseId>,
    visit: &mut dyn FnMut(LeaseId, LeaseRecord) -> bool,
) -> Result<(), StoreError> {
    let start = lease_key(LeaseId(after.map_or(0, |after| after.0) + 1));
    let end = record_key(LEASE + 1, &[]);
    rows.scan(group, &start, Some(&end), &mut |key, row| {
        let id = key[count_key().len()..].try_into().map(u64::from_be_bytes);
        match (id, LeaseRecord::decode(&row.value)) {
            (Ok(id), Some(record)) => visit(LeaseId(id), record),
            _ => true,
        }
    })
}

fn count_key() -> Vec<u8> {
    record_key(LEASE, &[])
}

fn lease_key(id: LeaseId) -> Vec<u8> {
    record_key(LEASE, &[&id.0.to_be_bytes()])
}

fn bound_key(id: LeaseId, key: &[u8]) -> Vec<u8> {
    record_key(BOUND, &[&id.0.to_be_bytes(), key])
}

fn of_key(key: &[u8]) -> Vec<u8> {
    record_key(NAMED, &[OF_KEY, key])
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_le_bytes).ok()
}

/// A record that is none: the state is damaged, or of a newer version. The replica must stop.
pub(super) fn bad(group: GroupId, what: &str) -> StoreError {
    let (file, reason) =
        (format!("the state of group {group}"), format!("{what} is not as this version writes it"));
    StoreError::Corrupt { file, reason }
}
