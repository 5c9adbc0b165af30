//! A follower that has no room for more.
//!
//! The story: a follower took an entry that filled its backlog, and its acknowledgement was lost. The leader sent the
//! entry once more, and the follower dropped it for want of room, unacknowledged. So the leader never told it that the
//! entry is committed, so it was never applied, so there was never room: the follower stood still for ever.

use node::Input;
use types::{Limits, NodeId};

use crate::cluster::{Cluster, get, put};

fn cluster() -> (Cluster, NodeId, NodeId) {
    let mut cluster = Cluster::new(3, Limits { unapplied_bytes_max: 1_000, ..Limits::default() });
    let leader = cluster.elect();
    let follower = (0..3).map(NodeId).find(|node| *node != leader).expect("there are three");
    (cluster, leader, follower)
}

fn applied(cluster: &Cluster, node: NodeId) -> u64 {
    cluster.machines[&node].node.group_state(cluster.group()).applied_index
}

/// It acknowledges what it has, and goes on.
#[test]
fn a_full_backlog_drains_after_a_lost_acknowledgement() {
    let (mut cluster, leader, follower) = cluster();
    // The follower has the entry before the leader's own disk does, so it cannot be told yet that it is committed.
    cluster.cut.insert((follower, leader));
    cluster.slow.insert(leader);
    let token = cluster.ask(leader, put("k", &"v".repeat(2_000)), 5_000);
    cluster.isolate(follower);
    cluster.slow.clear();
    cluster.run_ms(40);
    cluster.answer(leader, token).expect("it is answered").as_ref().expect("the other two are a majority");
    cluster.call(leader, put("k", "after it")).expect("the other two are a majority");
    cluster.cut.clear();
    let machine = cluster.machines.get_mut(&leader).expect("it runs");
    machine.node.handle(cluster.now, Input::PeerDown(follower)).expect("no node fails");
    cluster.run_ms(1_000);
    assert_eq!(applied(&cluster, follower), applied(&cluster, leader));
    cluster.call(follower, get("k")).expect("it serves");
}

/// Nor does it take what it has no room for.
#[test]
fn a_follower_without_room_takes_nothing_new() {
    let (mut cluster, leader, follower) = cluster();
    cluster.log_space(follower, false);
    let before = applied(&cluster, follower);
    cluster.call(leader, put("k", "v")).expect("the other two are a majority");
    cluster.run_ms(1_000);
    assert_eq!(applied(&cluster, follower), before);
    cluster.log_space(follower, true);
    cluster.run_ms(1_000);
    assert_eq!(applied(&cluster, follower), applied(&cluster, leader));
}
