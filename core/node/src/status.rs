//! What a node knows of itself, for `status`, metrics and the simulator's checks.

use serde::Serialize;
use types::{GroupId, Hlc, NodeId, Role, Timing};

/// One node's view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Who speaks.
    pub node: NodeId,
    /// All members.
    pub members: Vec<NodeId>,
    /// Its speeds.
    pub timing: Timing,
    /// Every group it hosts, meta first.
    pub groups: Vec<GroupStatus>,
    /// Client requests waiting.
    pub pending_requests: u64,
    /// Whether client writes are accepted as far as disk space goes.
    pub disk_has_space: bool,
    /// Writes on the list of lost writes, as far as this node knows.
    pub lost_writes: u64,
    /// Its hybrid logical clock.
    pub hlc: Hlc,
    /// Timestamps that peers and sessions brought and that were too far ahead of its wall clock to be followed.
    pub hlc_refused: u64,
}

/// One group on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// Its keyspace's name; `meta` for the meta group.
    pub keyspace: String,
    /// Which shard of the keyspace it is, from 0.
    pub shard: u32,
    /// This node's role.
    pub role: Role,
    /// This node's term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// Highest index known committed.
    pub commit_index: u64,
    /// Highest index applied here.
    pub applied_index: u64,
    /// Last index of the log here.
    pub last_index: u64,
    /// First index still in memory here.
    pub first_index: u64,
    /// The keyspace's revision here.
    pub revision: u64,
    /// Hash of the whole state at `applied_index`, 32 hexadecimal digits. Equal on all replicas at equal index.
    pub state_hash: String,
    /// Live keys.
    pub keys: u64,
    /// Bytes of live keys and values.
    pub bytes: u64,
    /// The age of this node's replica, at most, in milliseconds: what was committed before is in it. `None`
    /// while nothing proves it: proofs are asked for as reads that need not be strong are answered.
    pub staleness_ms: Option<u64>,
    /// On the leader: how far each replica is.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaStatus {
    /// Which.
    pub node: NodeId,
    /// Its log is known to match, durably, up to here.
    pub matched_index: u64,
    /// Entries it still lacks: the leader's last index less `matched_index`.
    pub lag_entries: u64,
    /// For how many milliseconds it has lacked the first of them; 0 when it lacks none. At least so long,
    /// when the leader was elected since.
    pub lag_ms: u64,
    /// `probe`, `replicate` or `snapshot`.
    pub state: String,
    /// Whether it answered within the last election timeout.
    pub recent_active: bool,
}
