//! Identifiers. Small newtypes, so that a node is never passed where a group is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits::SHARDS_MAX;

/// A member of the cluster, numbered from 0. Fixed for the life of its data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One Raft group: [`GroupId::META`], or one shard of one keyspace. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u64);

impl GroupId {
    /// The group that holds the cluster's own facts: which keyspaces exist, under which contract.
    pub const META: GroupId = GroupId(1);

    /// The group of a keyspace's first shard, given the revision of the meta group that created the
    /// keyspace, from 1. Those of its other shards follow it. No two keyspaces share a number, nor does any
    /// with the meta group, and none is used twice.
    pub fn of_keyspace(create_revision: u64) -> GroupId {
        GroupId(create_revision.saturating_mul(u64::from(SHARDS_MAX)))
    }

    /// The revision of the meta group that created the keyspace of this group.
    pub fn create_revision(self) -> u64 {
        self.0 / u64::from(SHARDS_MAX)
    }

    /// The group of a keyspace's shard, of which this is the first.
    pub fn shard(self, number: u32) -> GroupId {
        assert!(number < SHARDS_MAX, "shard {number} of a keyspace");
        GroupId(self.0.saturating_add(u64::from(number)))
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one cluster. Nodes of different clusters refuse each other, and each other's files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// The text was not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id is 32 hexadecimal digits")]
pub struct ClusterIdError;

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ClusterIdError);
        }
        let mut id = [0; 16];
        for (i, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| ClusterIdError)?;
        }
        Ok(ClusterId(id))
    }
}
