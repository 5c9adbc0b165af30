//! Writes that are acknowledged early, and what becomes of them when their leader is deposed.

use keyspace::{Command, Expect};
use node::{
    Input, Op, Options, ReplyBody, Request,
    lost::{LostItem, LostWrite},
};
use types::{ErrorCode, Limits, NodeId, contract::Ack};

use crate::cluster::{Cluster, get, put};

/// A log of which little stays in memory: who is far behind gets a snapshot.
fn limits() -> Limits {
    Limits {
        segment_bytes: 64 * 1024,
        log_bytes_per_checkpoint: 1,
        log_cache_bytes_max: 16 * 1024,
        ..Limits::default()
    }
}

/// A put with an acknowledgement of its own; answers its token.
fn early(cluster: &mut Cluster, at: NodeId, token: u64, key: &str, ack: Ack) -> u64 {
    let options =
        Options { ack: Some(ack), client: "test".into(), request_id: key.into(), ..Options::default() };
    let request = Request { keyspace: "default".into(), op: put(key, "v"), options };
    let deadline_ms = cluster.now.mono_ms + 60_000;
    let machine = cluster.machines.get_mut(&at).expect("it runs");
    let client = Input::Client { token, request, deadline_ms };
    machine.node.handle(cluster.now, client).expect("no node fails");
    cluster.settle();
    token
}

fn accepted(cluster: &Cluster, at: NodeId, token: u64) -> bool {
    let answer = cluster.answer(at, token).map(|answer| answer.as_ref().expect("it is no refusal"));
    answer.is_some_and(|reply| matches!(reply.body, ReplyBody::Accepted))
}

/// A cluster whose leader was cut off, acknowledged `a` and `b`, and has another leader beside it.
fn deposed() -> (Cluster, NodeId, NodeId) {
    let mut cluster = Cluster::new(3, limits());
    let old = cluster.elect();
    // The first tells all that from now on some are acknowledged early.
    let first = early(&mut cluster, old, 1_000, "first", Ack::Leader);
    assert!(matches!(
        cluster.answer(old, first),
        Some(Ok(reply)) if matches!(reply.body, ReplyBody::Outcome(_)) && reply.receipt.acks.required == 2
    ));
    cluster.isolate(old);
    for (token, key) in [(1_001, "a"), (1_002, "b")] {
        let token = early(&mut cluster, old, token, key, Ack::Leader);
        assert!(accepted(&cluster, old, token), "its own disk is enough");
    }
    cluster.run_ms(4_000);
    let new = cluster.leader().expect("the others elect one");
    assert_ne!(new, old);
    (cluster, old, new)
}

fn listed(cluster: &Cluster, at: NodeId) -> Vec<LostItem> {
    cluster.machines[&at].node.known_lost().expect("the list can be read")
}

fn writes(cluster: &Cluster, at: NodeId) -> Vec<LostWrite> {
    let items = listed(cluster, at).into_iter();
    items.filter_map(|item| if let LostItem::Write(write) = item { Some(write) } else { None }).collect()
}

fn assert_both_are_listed(cluster: &mut Cluster, old: NodeId, new: NodeId, acknowledged: bool) {
    let found = writes(cluster, new);
    let keys: Vec<_> = found.iter().map(|write| write.key.as_slice()).collect();
    assert_eq!(keys, [b"a", b"b"]);
    for write in &found {
        assert_eq!((write.leader, write.decided, write.acknowledged), (old, true, acknowledged), "{write:?}");
        assert_eq!((write.client.as_str(), write.request_id.as_bytes()), ("test", write.key.as_slice()));
    }
    assert_eq!(writes(cluster, old), found, "every node has the list");
    assert!(!listed(cluster, new).iter().any(|item| matches!(item, LostItem::Bound(_))), "all are back");
    for key in ["a", "b"] {
        let answer = cluster.call(new, get(key)).expect("it can be read");
        assert!(matches!(answer.body, ReplyBody::Answer(keyspace::QueryAnswer::Get { row: None, .. })));
    }
}

#[test]
fn what_an_append_overwrites_is_listed() {
    let (mut cluster, old, new) = deposed();
    let bound = listed(&cluster, new);
    assert!(
        matches!(&bound[..], [LostItem::Bound(bound)] if bound.nodes == [old]),
        "until the old leader is back there is a bound: {bound:?}"
    );
    cluster.cut.clear();
    cluster.run_ms(3_000);
    assert_both_are_listed(&mut cluster, old, new, true);
}

/// A restarted node does not know what it had answered: it says so, and lists the same.
#[test]
fn what_an_append_overwrites_after_a_restart_is_listed() {
    let (mut cluster, old, new) = deposed();
    let disk = cluster.kill(old);
    cluster.cut.clear();
    cluster.boot(old, disk);
    cluster.run_ms(3_000);
    assert_both_are_listed(&mut cluster, old, new, false);
}

#[test]
fn what_a_snapshot_replaces_is_listed() {
    let (mut cluster, old, new) = deposed();
    for number in 0..100 {
        cluster.call(new, put(&format!("k{number}"), &"x".repeat(600))).expect("it succeeds");
    }
    cluster.sent.clear();
    cluster.cut.clear();
    cluster.run_ms(5_000);
    let chunks = cluster.sent.iter().filter(|(_, to, message)| {
        *to == old && matches!(message.body, Some(wire::PeerBody::SnapshotChunk(_)))
    });
    assert!(chunks.count() > 0, "it was too far behind for entries");
    assert_both_are_listed(&mut cluster, old, new, true);
}

/// While the meta group cannot be asked, the old leader keeps its entries rather than forget them.
#[test]
fn without_the_meta_group_nothing_is_let_go() {
    let (mut cluster, old, new) = deposed();
    cluster.mute = Some(types::GroupId::META);
    cluster.cut.clear();
    cluster.run_ms(3_000);
    let group = cluster.group();
    let applied = |cluster: &Cluster, node| cluster.machines[&node].node.group_state(group).applied_index;
    assert!(applied(&cluster, old) < applied(&cluster, new), "it takes nothing that would remove them");
    cluster.mute = None;
    cluster.run_ms(6_000);
    assert_eq!(applied(&cluster, old), applied(&cluster, new));
    assert_both_are_listed(&mut cluster, old, new, true);
}

#[test]
fn an_early_write_that_survives_is_not_listed() {
    let mut cluster = Cluster::new(3, limits());
    let leader = cluster.elect();
    early(&mut cluster, leader, 1_000, "first", Ack::Leader);
    for number in 0..20 {
        early(&mut cluster, leader, 1_001 + number, "k", Ack::Leader);
    }
    cluster.run_ms(500);
    cluster.isolate(leader);
    cluster.run_ms(4_000);
    cluster.cut.clear();
    cluster.run_ms(3_000);
    assert_eq!(listed(&cluster, leader), []);
}

#[test]
fn what_cannot_be_told_early_is_not_answered_early() {
    let mut cluster = Cluster::new(3, limits());
    let leader = cluster.elect();
    let command = Command::Put { key: b"k".to_vec(), value: Vec::new(), expect: Expect::Absent, lease: None };
    let options = Options { ack: Some(Ack::None), ..Options::default() };
    let request = Request { keyspace: "default".into(), op: Op::Command(command), options };
    let deadline_ms = cluster.now.mono_ms + 1_000;
    let machine = cluster.machines.get_mut(&leader).expect("it runs");
    machine
        .node
        .handle(cluster.now, Input::Client { token: 1_000, request, deadline_ms })
        .expect("no node fails");
    cluster.settle();
    let refused = cluster.answer(leader, 1_000).expect("at once").clone().expect_err("it is refused");
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
}
