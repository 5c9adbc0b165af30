//! The name of a lease.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Lease ids that clients choose are below this, those that the store chooses are not: neither takes the
/// other's. Both fit the 63 bits that etcd's clients have for them.
pub const CHOSEN_LEASES_END: u64 = 1 << 62;

/// A lease of one keyspace. Never 0. Written in hexadecimal, as in the keys of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl LeaseId {
    /// The shard of its keyspace that a lease lives in, with all of its keys.
    pub fn shard(self, shards: u32) -> u32 {
        (self.0 % u64::from(shards.max(1))) as u32
    }

    /// The id that a shard gives to the lease that it grants in the entry of this index: one that it never
    /// gave before, and that lives in it. `None` past the last of them, which no log reaches.
    pub fn granted(index: u64, shard: u32, shards: u32) -> Option<LeaseId> {
        let shards = u64::from(shards.max(1));
        let first = CHOSEN_LEASES_END.div_ceil(shards);
        let number = first.checked_add(index)?.checked_mul(shards)?.checked_add(u64::from(shard))?;
        (number <= i64::MAX as u64).then_some(LeaseId(number))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Not the name of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease is named by 1 to 16 lower-case hexadecimal digits without leading zeros, up to 7fffffffffffffff"
)]
pub struct LeaseIdError;

impl FromStr for LeaseId {
    type Err = LeaseIdError;

    /// One spelling for each lease: the key of a lock is found by it.
    fn from_str(text: &str) -> Result<LeaseId, LeaseIdError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let canonical = (1..=16).contains(&text.len()) && text.bytes().all(digit) && !text.starts_with('0');
        let number = if canonical { u64::from_str_radix(text, 16).ok() } else { None };
        number.filter(|number| *number <= i64::MAX as u64).map(LeaseId).ok_or(LeaseIdError)
    }
}

impl Serialize for LeaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LeaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LeaseId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lease_has_one_spelling() {
        for number in [1, 10, 0xabc, CHOSEN_LEASES_END, i64::MAX as u64] {
            assert_eq!(LeaseId(number).to_string().parse(), Ok(LeaseId(number)));
        }
        for text in ["", "0", "01", "A", "+1", "0x1", "g", "8000000000000000", "11111111111111111", " 1"] {
            assert_eq!(text.parse::<LeaseId>(), Err(LeaseIdError), "{text:?}");
        }
    }

    #[test]
    fn what_a_shard_grants_lives_in_it() {
        for (index, shard, shards) in [(1, 0, 1), (1, 0, 2), (1, 1, 2), (7, 41, 64), (1 << 50, 63, 64)] {
            let lease = LeaseId::granted(index, shard, shards).unwrap();
            assert_eq!(lease.shard(shards), shard);
            assert!(lease.0 >= CHOSEN_LEASES_END, "{lease}");
            assert_ne!(LeaseId::granted(index + 1, shard, shards), Some(lease));
        }
        assert_eq!(LeaseId::granted(u64::MAX, 0, 1), None);
    }
}
