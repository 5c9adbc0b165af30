//! A leader whose disk is full hands over: others may have room, and it cannot even apply what they
//! commit until its own log has it.

use raft_group::RaftGroup;
use types::{NodeId, Now, Role};

use crate::node::Node;

/// Pause between attempts, so that nodes that are all full do not keep changing leaders.
const HAND_OVER_EVERY_MS: u64 = 60_000;

impl Node {
    pub(crate) fn hand_over_when_full(&mut self, now: Now) {
        if self.entries_accepted || now.mono_ms < self.hand_over_not_before_ms {
            return;
        }
        self.hand_over_not_before_ms = now.mono_ms + HAND_OVER_EVERY_MS;
        let node = self.config.node;
        for group in self.groups.values_mut().filter(|group| group.raft.role() == Role::Leader) {
            if let Some(to) = successor(&group.raft, node) {
                group.raft.transfer_leader(to);
            }
        }
    }
}

/// The live replica that holds most of the log.
fn successor(raft: &RaftGroup, leader: NodeId) -> Option<NodeId> {
    let replicas = raft.status().progress.into_iter();
    let live = replicas.filter(|replica| replica.node != leader && replica.recent_active);
    live.max_by_key(|replica| replica.matched).map(|replica| replica.node)
}
