//! Which shard of a keyspace a key belongs to.
//!
//! Keys are spread by a hash, so that shards are alike in load whatever keys look like. Of a key with a
//! **tag**, a part in braces as in `{order-17}/lines/3`, the tag alone is hashed: keys with one tag are in
//! one shard, and can be changed by one transaction (as in Redis Cluster, "hash tags"). The hash and the
//! rule are part of the format of a cluster's data: they never change.

use xxhash_rust::xxh3::xxh3_64;

/// The shard of a key, from 0 to less than `shards`, which is at least 1.
pub fn shard_of(key: &[u8], shards: u32) -> u32 {
    if shards == 1 {
        return 0;
    }
    // Multiply and shift (Lemire 2019, "Fast random integer generation in an interval").
    ((u128::from(xxh3_64(hashed_part(key))) * u128::from(shards)) >> 64) as u32
}

/// Whether every key that begins with this name is in one shard: the name has a tag.
pub fn has_tag(name: &[u8]) -> bool {
    hashed_part(name).len() < name.len()
}

/// What of a key is hashed: what stands between its first `{` and the first `}` after it, if that is
/// something, else all of it.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|byte| *byte == b'}') {
        Some(close @ 1..) => &rest[..close],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_one_tag_are_in_one_shard() {
        let same: [(&str, &str); 4] =
            [("{order-17}/total", "{order-17}/lines/3"), ("a{x}b", "x"), ("{x}{y}", "{x}z"), ("{a}b}c", "a")];
        for (one, other) in same {
            assert_eq!(hashed_part(one.as_bytes()), hashed_part(other.as_bytes()), "{one} {other}");
        }
        for whole in ["", "plain", "{}a", "a{", "a{b", "}a{", "a}b"] {
            assert_eq!(hashed_part(whole.as_bytes()), whole.as_bytes());
        }
    }

    /// Data that is on disk was placed so: these numbers never change.
    #[test]
    fn places_are_fixed() {
        let placed = |key: &str| [1, 2, 3, 16, 64].map(|shards| shard_of(key.as_bytes(), shards));
        assert_eq!(placed("greeting"), [0, 0, 0, 1, 7]);
        assert_eq!(placed("{order-17}/total"), [0, 0, 0, 2, 8]);
        assert_eq!(placed(""), [0, 0, 0, 2, 11]);
    }

    #[test]
    fn shards_are_alike() {
        for shards in [2_u32, 3, 7, 16, 64] {
            let mut keys = vec![0_u32; shards as usize];
            for number in 0..64_000 {
                keys[shard_of(format!("user/{number}").as_bytes(), shards) as usize] += 1;
            }
            let (least, most) = (keys.iter().min().unwrap(), keys.iter().max().unwrap());
            assert!(least * 5 > most * 4, "{shards} shards: {least} to {most} keys");
        }
    }
}
