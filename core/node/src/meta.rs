//! The meta group's rows: which keyspaces exist. The meta group is itself a keyspace, so that its
//! facts are revisioned, hashed and snapshotted like any other.

use prost::Message;
use storage::{ReadRows, StoreError};
use types::GroupId;

const KEYSPACES: &[u8] = b"keyspaces/";

/// One keyspace, as the meta group records it under `keyspaces/<name>`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyspaceRecord {
    /// `raft`.
    #[prost(string, tag = "1")]
    pub replication: String,
    /// `reject`.
    #[prost(string, tag = "2")]
    pub on_partition: String,
    /// Number of shards, each a Raft group: 1.
    #[prost(uint32, tag = "3")]
    pub shards: u32,
}

impl KeyspaceRecord {
    pub(crate) fn raft() -> KeyspaceRecord {
        KeyspaceRecord { replication: "raft".into(), on_partition: "reject".into(), shards: 1 }
    }
}

/// The row that records a keyspace.
pub(crate) fn keyspace_key(name: &str) -> Vec<u8> {
    [KEYSPACES, name.as_bytes()].concat()
}

/// The group of a keyspace whose record was created at this meta revision. Revisions start at 1, so
/// no keyspace shares the meta group's number.
pub(crate) fn group_of(create_revision: u64) -> GroupId {
    GroupId(create_revision + GroupId::META.0)
}

/// All keyspaces in the meta group's present state, in name order.
pub(crate) fn keyspaces(rows: &dyn ReadRows) -> Result<Vec<(String, GroupId)>, StoreError> {
    let mut found = Vec::new();
    let range = keyspace::prefix_range(KEYSPACES);
    rows.scan(GroupId::META, &range.start, range.end.as_deref(), &mut |key, row| {
        let name = String::from_utf8_lossy(&key[KEYSPACES.len()..]).into_owned();
        found.push((name, group_of(row.create_revision)));
        true
    })?;
    Ok(found)
}
