//! The new leader's part: until every node that may have led before has rejoined, it lists what may be lost as a bound.
//!
//! A node whose log matches the leader's up to the first entry of the leader's term holds nothing else any more: what it
//! had acknowledged early is in the history or on the list. A bound is listed only where a write was ever acknowledged early,
//! and only when some node is not back after [`GRACE_MS`].

use keyspace::{Keys, Txn, TxnOp};
use types::{GroupId, NodeId, Now, Role};

use super::records::{self, LostBound};
use crate::{group::Group, node::Node, requests::Origin};

/// How long after an election nodes may take to rejoin before a bound is listed.
const GRACE_MS: u64 = 1_000;

/// What the leader of a group does about its bound.
#[derive(Debug, Default)]
pub(crate) struct BoundOfGroup {
    /// When this node last heard of a leader other than itself, by its wall clock; 0: it has not since it started.
    heard_wall_ms: u64,
    led: Option<Led>,
}

#[derive(Clone, Copy, Debug)]
struct Led {
    term: u64,
    since_ms: u64,
    elected_wall_ms: u64,
    /// Its log ended here when it was elected.
    after_index: u64,
    listed: bool,
    done: bool,
}

impl BoundOfGroup {
    /// A leader spoke.
    pub fn heard(&mut self, now: Now) {
        self.heard_wall_ms = now.wall_ms;
    }

    /// This node was elected; the first entry of its term is at `opened`.
    pub fn elected(&mut self, now: Now, term: u64, opened: u64) {
        self.led = Some(Led {
            term,
            since_ms: now.mono_ms,
            elected_wall_ms: now.wall_ms,
            after_index: opened.saturating_sub(1),
            listed: false,
            done: false,
        });
    }
}

impl Node {
    /// On every tick: lists the bounds of the groups that this node leads, and takes them off when all are back.
    pub(crate) fn bound_lost(&mut self, now: Now) {
        let ids: Vec<GroupId> = self.groups.keys().copied().filter(|id| *id != GroupId::META).collect();
        for id in ids {
            let group = self.groups.get_mut(&id).expect("its id was just listed");
            let leads = |led: &Led| group.raft.role() == Role::Leader && group.raft.term() == led.term;
            let Some(led) = group.lost.bound.led.filter(leads) else { continue };
            let early = now.mono_ms < led.since_ms + GRACE_MS;
            if led.done || early || !group.early.open || group.lost.reporting.is_some() {
                continue;
            }
            let missing = missing(group, led.after_index + 1);
            let change = match (missing.is_empty(), led.listed) {
                (true, _) => TxnOp::Delete { keys: Keys::Range(records::bounds_of(id)) },
                (false, false) => {
                    let bound = LostBound {
                        group: id,
                        keyspace: group.name.clone(),
                        term: led.term,
                        after_index: led.after_index,
                        nodes: missing,
                        since_wall_ms: group.lost.bound.heard_wall_ms,
                        elected_wall_ms: led.elected_wall_ms,
                    };
                    TxnOp::Put { key: bound.row_key(), value: bound.row_value(), lease: None }
                }
                (false, true) => continue,
            };
            let now_led = Led { listed: true, done: matches!(change, TxnOp::Delete { .. }), ..led };
            group.lost.bound.led = Some(now_led);
            let txn = Txn { then: vec![change], ..Txn::default() };
            self.change_list(now, Origin::LostBound { group: id }, txn);
        }
    }

    /// The meta group took a bound, or its end, or did not: then it is asked again.
    pub(crate) fn on_lost_bound(&mut self, group: GroupId, taken: bool) {
        let group = self.groups.get_mut(&group);
        if let Some(led) = group.and_then(|group| group.lost.bound.led.as_mut()).filter(|_| !taken) {
            (led.listed, led.done) = (false, false);
        }
    }
}

/// Nodes that may hold something else than the leader's log up to `opened`.
fn missing(group: &Group, opened: u64) -> Vec<NodeId> {
    let status = group.raft.status();
    status.progress.iter().filter(|at| at.matched < opened).map(|at| at.node).collect()
}
