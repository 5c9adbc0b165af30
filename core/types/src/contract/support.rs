//! What this version keeps of what contracts can say. The rest is refused when a keyspace is created: a
//! promise that nothing keeps is none.

use super::{Contract, OnPartition, Replication};

/// A field that holds together with the others, and that this version cannot keep yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this version does not keep {field} = {asked} yet; what works is {field} = {works}")]
pub struct Unsupported {
    /// The field.
    pub field: &'static str,
    /// What was asked for.
    pub asked: String,
    /// What works.
    pub works: String,
}

impl Contract {
    /// The first field of a contract that this version cannot keep in a cluster of this many nodes.
    pub fn unsupported(&self, nodes: u32) -> Option<Unsupported> {
        let replicas = self.replicas.unwrap_or(nodes);
        let kept = [
            (
                "replication",
                self.replication == Replication::Raft,
                self.replication.to_string(),
                "raft".into(),
            ),
            (
                "on_partition",
                self.on_partition == OnPartition::Reject,
                self.on_partition.to_string(),
                "reject".into(),
            ),
            ("replicas", replicas == nodes, replicas.to_string(), format!("{nodes}, the number of nodes")),
        ];
        let refused = kept.into_iter().find(|(_, keeps, ..)| !keeps);
        refused.map(|(field, _, asked, works): (_, _, _, String)| Unsupported { field, asked, works })
    }
}
