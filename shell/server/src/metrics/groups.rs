//! The node's Raft groups, copied from its status when the figures are asked for.

use node::NodeStatus;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use types::Role;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Group {
    group: u64,
    keyspace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupRole {
    group: u64,
    keyspace: String,
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replica {
    group: u64,
    keyspace: String,
    replica: u64,
}

type PerGroup = Family<Group, Gauge>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GroupMetrics {
    role: Family<GroupRole, Gauge>,
    has_leader: PerGroup,
    term: PerGroup,
    commit_index: PerGroup,
    applied_index: PerGroup,
    last_index: PerGroup,
    revision: PerGroup,
    keys: PerGroup,
    bytes: PerGroup,
    lag_entries: Family<Replica, Gauge>,
    lag_ms: Family<Replica, Gauge>,
    staleness_ms: PerGroup,
    pending_requests: Gauge,
    disk_has_space: Gauge,
    hlc_refused: Gauge,
    lost_writes: Gauge,
}

impl GroupMetrics {
    pub(crate) fn register(registry: &mut Registry) -> GroupMetrics {
        let metrics = GroupMetrics::default();
        registry.register("raft_role", "1 for the role that this node has", metrics.role.clone());
        let per_group = [
            ("raft_has_leader", "Whether this node knows a leader", &metrics.has_leader),
            ("raft_term", "Term", &metrics.term),
            ("raft_commit_index", "Highest index known committed", &metrics.commit_index),
            ("raft_applied_index", "Highest index applied here", &metrics.applied_index),
            ("raft_last_index", "Last index of the log here", &metrics.last_index),
            ("keyspace_revision", "Revision", &metrics.revision),
            ("keyspace_keys", "Live keys", &metrics.keys),
            ("keyspace_live_bytes", "Bytes of live keys and values", &metrics.bytes),
        ];
        for (name, help, family) in per_group {
            registry.register(name, help, family.clone());
        }
        let lag = "Entries that a replica still lacks, on the leader";
        registry.register("raft_replica_lag_entries", lag, metrics.lag_entries.clone());
        let lag = "Milliseconds for which a replica has lacked the first of them, on the leader";
        registry.register("raft_replica_lag_milliseconds", lag, metrics.lag_ms.clone());
        let age = "Age of this node's replica at most; absent while nothing proves it";
        registry.register("replica_staleness_milliseconds", age, metrics.staleness_ms.clone());
        registry.register("pending_requests", "Client requests waiting", metrics.pending_requests.clone());
        let space = "Whether writes are accepted as far as disk space goes";
        registry.register("disk_has_space", space, metrics.disk_has_space.clone());
        let refused = "Timestamps of peers and sessions too far ahead of the wall clock to be followed";
        let lost = "Writes on the list of lost writes, as far as this node knows";
        registry.register("lost_writes", lost, metrics.lost_writes.clone());
        registry.register("hlc_refused_timestamps", refused, metrics.hlc_refused.clone());
        metrics
    }

    pub(crate) fn update(&self, status: &NodeStatus) {
        self.pending_requests.set(status.pending_requests as i64);
        self.disk_has_space.set(status.disk_has_space.into());
        self.hlc_refused.set(status.hlc_refused as i64);
        self.lost_writes.set(status.lost_writes as i64);
        // Only a leader knows of lag: what an earlier leadership left here would be wrong.
        self.lag_entries.clear();
        self.lag_ms.clear();
        self.staleness_ms.clear();
        for of in &status.groups {
            let group = Group { group: of.group.0, keyspace: of.keyspace.clone() };
            for role in [Role::Leader, Role::Follower, Role::Candidate] {
                let Group { group, keyspace } = group.clone();
                let labels = GroupRole { group, keyspace, role: role.name() };
                self.role.get_or_create(&labels).set((of.role == role).into());
            }
            self.has_leader.get_or_create(&group).set(of.leader.is_some().into());
            let numbers = [
                (&self.term, of.term),
                (&self.commit_index, of.commit_index),
                (&self.applied_index, of.applied_index),
                (&self.last_index, of.last_index),
                (&self.revision, of.revision),
                (&self.keys, of.keys),
                (&self.bytes, of.bytes),
            ];
            for (family, number) in numbers {
                family.get_or_create(&group).set(number as i64);
            }
            if let Some(staleness_ms) = of.staleness_ms {
                self.staleness_ms.get_or_create(&group).set(staleness_ms as i64);
            }
            for replica in &of.replicas {
                let Group { group, keyspace } = group.clone();
                let labels = Replica { group, keyspace, replica: replica.node.0 };
                self.lag_entries.get_or_create(&labels).set(replica.lag_entries as i64);
                self.lag_ms.get_or_create(&labels).set(replica.lag_ms as i64);
            }
        }
    }
}
