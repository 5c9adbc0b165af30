//! The idempotency keys that a group remembers, and what ran under each.
//!
//! Guarantee G-ONCE: of all entries with one key, from the first until the key is forgotten, the
//! first alone runs; the others answer its outcome, or are refused if they ask for something else. A
//! key is forgotten when the group's clock is past its time to live, or when as many newer keys were
//! used as the entry allows, never sooner; it may be remembered longer.
//!
//! The group's clock is the sum of what leaders measured while they led (see [`Once::elapsed_ms`]). It
//! runs slower than time, never faster, whatever wall clocks do.
//!
//! The records are rows with reserved keys, written with the effect: a checkpoint, a snapshot and the
//! state hash have them as they have all rows. Behind [`RESERVED_KEY_PREFIX`] comes one byte:
//!
//! - `c`: the [`Clock`];
//! - `k` and an idempotency key: 16 bytes of fingerprint of the command, then its encoded outcome;
//! - `p`, an idempotency key's length (1 byte), the key and a number (2 bytes, big-endian): the next piece of an
//!   outcome that does not fit the record;
//! - `o`, the index of the entry that used the key first (8 bytes, big-endian) and the key: the
//!   clock then (8 bytes, little-endian). In this order keys are forgotten.

use storage::{GroupState, StoreError, WriteRows, rows::RECORD_BYTES_MAX};
use types::GroupId;
use types::limits::{OUTCOME_BYTES_MAX, RESERVED_KEY_PREFIX};
use xxhash_rust::xxh3::xxh3_128;

use crate::apply::{ApplyError, Bounds, Effect, run};
use crate::codec::{decode_outcome, encode_command, encode_outcome};
use crate::command::{Command, Outcome};
use crate::entry::Once;
use crate::records::{self, record_key};

const CLOCK: u8 = b'c';
const RECORD: u8 = b'k';
const ORDER: u8 = b'o';
const CHUNK: u8 = b'p';
/// Most keys forgotten by one entry: more than the one that it adds, so that a lowered limit is
/// reached, and few, so that no entry takes long.
const FORGOTTEN_MAX: usize = 4;
const CLOCK_BYTES: usize = 32;
const FINGERPRINT_BYTES: usize = 16;
/// Bytes of an outcome beside the fingerprint in one record.
const FIRST_BYTES_MAX: usize = RECORD_BYTES_MAX - FINGERPRINT_BYTES;

/// One group's records, while one entry is applied.
pub(crate) struct Remembered<'a> {
    rows: &'a mut dyn WriteRows,
    group: GroupId,
    index: u64,
    state: &'a mut GroupState,
}

/// What the group knows of its keys as a whole: four little-endian numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Clock {
    /// Milliseconds that leaders measured.
    now_ms: u64,
    /// Keys remembered.
    keys: u64,
    /// No key was first used by an entry before this.
    oldest_index: u64,
    /// When the oldest was used.
    oldest_ms: u64,
}

impl<'a> Remembered<'a> {
    pub(crate) fn of(
        rows: &'a mut dyn WriteRows,
        group: GroupId,
        index: u64,
        state: &'a mut GroupState,
    ) -> Remembered<'a> {
        Remembered { rows, group, index, state }
    }

    /// Runs the command unless it ran under this key.
    pub(crate) fn run_once(
        &mut self,
        once: &Once,
        command: Command,
        bounds: Bounds<'_>,
    ) -> Result<Effect, ApplyError> {
        let bounds = Bounds { outcome_bytes_max: Some(OUTCOME_BYTES_MAX), ..bounds };
        let mut clock = self.clock()?;
        let clock_before = clock;
        clock.now_ms = clock.now_ms.saturating_add(once.elapsed_ms);
        let fingerprint = xxh3_128(&encode_command(&command)).to_le_bytes();
        let own_key = record_key(RECORD, &[once.key.as_bytes()]);
        let effect = match self.rows.get(self.group, &own_key)? {
            Some(record) => self.replay(once.key.as_bytes(), &record.value, fingerprint)?,
            None => {
                let outcome = run(self.rows, self.group, self.state, command, bounds)?;
                if matches!(outcome, Outcome::OverQuota { .. } | Outcome::Fenced { .. }) {
                    types::mark!("key_not_used_up");
                    // The key is not used up: once there is room, or under the lock, the same request may be
                    // sent again.
                    return Ok(Effect::Done { outcome, deduplicated: false });
                }
                let encoded = encode_outcome(&outcome);
                let (first, rest) = encoded.split_at(encoded.len().min(FIRST_BYTES_MAX));
                self.put(&own_key, [&fingerprint[..], first].concat())?;
                for (number, chunk) in (0_u16..).zip(rest.chunks(RECORD_BYTES_MAX)) {
                    self.put(&chunk_key(once.key.as_bytes(), number), chunk.to_vec())?;
                }
                let order_key = record_key(ORDER, &[&self.index.to_be_bytes(), once.key.as_bytes()]);
                self.put(&order_key, clock.now_ms.to_le_bytes().to_vec())?;
                if clock.keys == 0 {
                    (clock.oldest_index, clock.oldest_ms) = (self.index, clock.now_ms);
                }
                clock.keys = clock.keys.saturating_add(1);
                self.forget(&mut clock, once)?;
                Effect::Done { outcome, deduplicated: false }
            }
        };
        if clock != clock_before {
            self.put(&record_key(CLOCK, &[]), clock.encode())?;
        }
        Ok(effect)
    }

    fn replay(
        &self,
        key: &[u8],
        record: &[u8],
        fingerprint: [u8; FINGERPRINT_BYTES],
    ) -> Result<Effect, ApplyError> {
        let Some((recorded, outcome)) = record.split_first_chunk::<FINGERPRINT_BYTES>() else {
            return Err(self.bad("it has no fingerprint"));
        };
        if *recorded != fingerprint {
            return Ok(Effect::KeyReused);
        }
        let mut outcome = outcome.to_vec();
        self.rows.scan(self.group, &chunk_key(key, 0), Some(&chunk_key(key, u16::MAX)), &mut |_, row| {
            outcome.extend(row.value);
            true
        })?;
        let outcome: Outcome = decode_outcome(&outcome).map_err(|error| self.bad(error.to_string()))?;
        types::mark!("dedup_hit");
        Ok(Effect::Done { outcome, deduplicated: true })
    }

    /// Forgets the oldest keys that are over the time or the number that the entry allows.
    fn forget(&mut self, clock: &mut Clock, once: &Once) -> Result<(), ApplyError> {
        let expired = |used_ms: u64, now_ms: u64| now_ms.saturating_sub(used_ms) > once.ttl_ms;
        if clock.keys <= once.keys_max && !expired(clock.oldest_ms, clock.now_ms) {
            return Ok(());
        }
        let start = record_key(ORDER, &[&clock.oldest_index.to_be_bytes()]);
        let end = record_key(ORDER + 1, &[]);
        let mut oldest = Vec::new();
        self.rows.scan(self.group, &start, Some(&end), &mut |key, row| {
            oldest.push((key.to_vec(), row.value));
            oldest.len() <= FORGOTTEN_MAX
        })?;
        for (number, (order_key, used)) in oldest.into_iter().enumerate() {
            let (index, key) = order_key[RESERVED_KEY_PREFIX.len() + 1..]
                .split_first_chunk::<8>()
                .ok_or_else(|| self.bad("it has no index"))?;
            let used = used.as_slice().try_into().map_err(|_| self.bad("it has no time"))?;
            clock.oldest_index = u64::from_be_bytes(*index);
            clock.oldest_ms = u64::from_le_bytes(used);
            let over = clock.keys > once.keys_max || expired(clock.oldest_ms, clock.now_ms);
            if !over || number == FORGOTTEN_MAX {
                break;
            }
            types::mark!("key_forgotten");
            self.delete(&record_key(RECORD, &[key]))?;
            let mut chunks = Vec::new();
            let (first, last) = (chunk_key(key, 0), chunk_key(key, u16::MAX));
            self.rows.scan_meta(self.group, &first, Some(&last), &mut |chunk, _| {
                chunks.push(chunk.to_vec());
                true
            })?;
            for chunk in chunks {
                self.delete(&chunk)?;
            }
            self.delete(&order_key)?;
            clock.keys = clock.keys.checked_sub(1).ok_or_else(|| self.bad("there are more than counted"))?;
        }
        Ok(())
    }

    fn clock(&self) -> Result<Clock, ApplyError> {
        match self.rows.get(self.group, &record_key(CLOCK, &[]))? {
            None => Ok(Clock::default()),
            Some(row) => Clock::decode(&row.value).ok_or_else(|| self.bad("the clock has another length")),
        }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        records::put(self.rows, self.group, self.state, key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        records::delete(self.rows, self.group, self.state, key).map(|_| ())
    }

    fn bad(&self, reason: impl Into<String>) -> ApplyError {
        ApplyError::BadRecord { group: self.group, reason: reason.into() }
    }
}

impl Clock {
    fn encode(self) -> Vec<u8> {
        [self.now_ms, self.keys, self.oldest_index, self.oldest_ms].map(u64::to_le_bytes).concat()
    }

    fn decode(bytes: &[u8]) -> Option<Clock> {
        let bytes: &[u8; CLOCK_BYTES] = bytes.try_into().ok()?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let [now_ms, keys, oldest_index, oldest_ms] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(numbers[at]));
        Some(Clock { now_ms, keys, oldest_index, oldest_ms })
    }
}

/// Where a piece of an outcome is that does not fit the record. The length before the key keeps the pieces of
/// one key apart from those of every other.
fn chunk_key(key: &[u8], number: u16) -> Vec<u8> {
    record_key(CHUNK, &[&[key.len() as u8], key, &number.to_be_bytes()])
}
