//! Keyspaces created through any node, while leaders come and go, and kept through snapshots and restarts.

use keyspace::{Command, Expect};
use node::{CatalogAnswer, CatalogOp, KeyspaceInfo, Op, Options, ReplyBody, Request};
use types::{Applied, Contract, ErrorCode, GroupId, Limits, NodeId, Role};

use crate::cluster::{Answer, Cluster, get, put};

pub fn create(ttl_s: u64) -> Op {
    Op::Catalog(CatalogOp::Create(Contract { idempotency_ttl_s: ttl_s, ..Contract::default() }))
}

pub fn call(cluster: &mut Cluster, at: NodeId, name: &str, op: Op) -> Answer {
    call_with(cluster, at, name, op, Options::default())
}

pub fn call_with(cluster: &mut Cluster, at: NodeId, name: &str, op: Op, options: Options) -> Answer {
    let token = cluster.ask_request(at, Request { options, ..Request::new(name, op) }, 5_000);
    for _ in 0..251 {
        if let Some(answer) = cluster.answer(at, token) {
            return answer.clone();
        }
        cluster.run_ms(20);
    }
    panic!("no answer by the deadline");
}

pub fn created(answer: Answer) -> (KeyspaceInfo, bool) {
    match answer.expect("it succeeds").body {
        ReplyBody::Catalog(CatalogAnswer::Created { keyspace, created }) => (keyspace, created),
        other => panic!("not the answer to a creation: {other:?}"),
    }
}

pub fn listed(cluster: &mut Cluster, at: NodeId) -> Vec<KeyspaceInfo> {
    match call(cluster, at, "", Op::Catalog(CatalogOp::List)).expect("it succeeds").body {
        ReplyBody::Catalog(CatalogAnswer::Listed(found)) => found,
        other => panic!("not a list: {other:?}"),
    }
}

pub fn meta_leader(cluster: &Cluster) -> NodeId {
    let leads = |node: &NodeId| {
        cluster.machines[node].node.raft(GroupId::META).is_some_and(|raft| raft.role() == Role::Leader)
    };
    cluster.machines.keys().copied().find(leads).expect("the meta group has a leader")
}

pub fn another(node: NodeId) -> NodeId {
    NodeId((node.0 + 1) % 3)
}

#[test]
fn one_created_through_a_follower_serves_at_once_there_and_soon_everywhere() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    let at = another(meta_leader(&cluster));
    let (keyspace, new) = created(call(&mut cluster, at, "orders", create(60)));
    assert!(new);
    assert_eq!((keyspace.name.as_str(), keyspace.version), ("orders", 1));
    assert_eq!(keyspace.contract, Contract { idempotency_ttl_s: 60, ..Contract::default() }.resolved(3));
    let written = call(&mut cluster, at, "orders", put("k", "v")).expect("it serves at once");
    assert_eq!(written.receipt.keyspace, "orders");
    cluster.run_ms(200);
    for node in (0..3).map(NodeId) {
        assert_eq!(cluster.machines[&node].node.keyspace_group("orders"), Ok(keyspace.group));
        assert!(call(&mut cluster, node, "orders", get("k")).is_ok());
        let found = listed(&mut cluster, node);
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["default", "orders"]);
        assert_eq!(found[1], keyspace);
        let shown = call(&mut cluster, node, "orders", Op::Catalog(CatalogOp::Show)).expect("it exists");
        assert_eq!(shown.receipt.keyspace, "meta");
        assert_eq!(shown.body, ReplyBody::Catalog(CatalogAnswer::Shown(keyspace.clone())));
    }
}

#[test]
fn creating_again_is_success_under_an_equal_contract_and_a_conflict_under_another() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    let (first, _) = created(call(&mut cluster, NodeId(0), "orders", create(60)));
    let spelled = Contract { idempotency_ttl_s: 60, replicas: Some(3), ..Contract::default() };
    let again = call(&mut cluster, NodeId(1), "orders", Op::Catalog(CatalogOp::Create(spelled)));
    assert_eq!(created(again), (first.clone(), false));
    let refused = call(&mut cluster, NodeId(2), "orders", create(61)).expect_err("another contract");
    assert_eq!((refused.code, refused.applied), (ErrorCode::Conflict, Applied::NotApplied));
    assert!(refused.message.contains("idempotency_ttl_s: 60 -> 61"), "{refused}");
    assert_eq!(listed(&mut cluster, NodeId(0))[1], first);
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    let of = |contract| Op::Catalog(CatalogOp::Create(contract));
    let default = Contract::default();
    let cases = [
        ("meta", of(default), "the cluster's own"),
        ("Orders", of(default), "cannot name a keyspace"),
        ("orders", of(Contract { replicas: Some(5), ..default }), "needs 5 nodes"),
        ("orders", of(Contract { replicas: Some(1), ..default }), "does not keep replicas = 1"),
        (
            "orders",
            of(Contract { replication: types::contract::Replication::Paxos, ..default }),
            "does not keep replication = paxos",
        ),
    ];
    for (name, op, reason) in cases {
        let refused = call(&mut cluster, NodeId(0), name, op).expect_err(reason);
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
        assert!(refused.message.contains(reason), "{refused}");
    }
    let unknown =
        call(&mut cluster, NodeId(0), "nope", Op::Catalog(CatalogOp::Show)).expect_err("there is none");
    assert_eq!(unknown.code, ErrorCode::KeyspaceNotFound);
}

/// The meta group is not a keyspace that clients can reach.
#[test]
fn clients_cannot_write_to_the_meta_group() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    let key = b"keyspaces/forged".to_vec();
    for op in [
        Op::Command(Command::Put { key: key.clone(), value: vec![], expect: Expect::Absent, lease: None }),
        Op::Command(Command::Delete { key: b"keyspaces/default".to_vec(), expect: Expect::Anything }),
        get("keyspaces/default"),
    ] {
        for node in (0..3).map(NodeId) {
            let refused = call(&mut cluster, node, "meta", op.clone()).expect_err("it is the cluster's own");
            assert_eq!(refused.code, ErrorCode::KeyspaceNotFound);
        }
    }
    assert_eq!(listed(&mut cluster, NodeId(0)).len(), 1);
}

#[test]
fn a_leader_that_dies_leaves_a_creation_that_can_be_repeated() {
    for wait_ms in [0, 60, 400] {
        let mut cluster = Cluster::new(3, Limits::default());
        cluster.elect();
        let leader = meta_leader(&cluster);
        let at = another(leader);
        cluster.slow.insert(leader);
        let token = cluster.ask_keyspace(at, "orders", create(60), 5_000);
        cluster.run_ms(wait_ms);
        let disk = cluster.kill(leader);
        cluster.slow.clear();
        cluster.run_ms(5_000);
        let first = cluster.answer(at, token).expect("it is answered by the deadline").clone();
        let (again, new) = created(call(&mut cluster, at, "orders", create(60)));
        match first {
            Ok(reply) => {
                assert!(!new);
                assert_eq!(created(Ok(reply)).0, again);
            }
            Err(problem) => assert!(!new || problem.applied != Applied::Applied, "{problem}"),
        }
        cluster.boot(leader, disk);
        cluster.run_ms(2_000);
        for node in (0..3).map(NodeId) {
            assert_eq!(listed(&mut cluster, node)[1], again);
            assert!(call(&mut cluster, node, "orders", put("k", "v")).is_ok());
        }
    }
}

#[test]
fn without_a_majority_nothing_is_created() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    cluster.isolate(NodeId(0));
    cluster.run_ms(3_000);
    let refused = call(&mut cluster, NodeId(0), "orders", create(60)).expect_err("no majority");
    assert_eq!((refused.code, refused.applied), (ErrorCode::NoQuorum, Applied::NotApplied));
    let unread = call(&mut cluster, NodeId(0), "", Op::Catalog(CatalogOp::List)).expect_err("no majority");
    assert_eq!(unread.code, ErrorCode::NoQuorum);
    cluster.cut.clear();
    cluster.run_ms(2_000);
    assert_eq!(listed(&mut cluster, NodeId(0)).len(), 1);
}

/// A node that was away learns of keyspaces by a snapshot of the meta group, and catches up in them.
#[test]
fn a_node_learns_of_keyspaces_by_a_snapshot() {
    let limits = Limits {
        segment_bytes: 64 * 1024,
        log_bytes_per_checkpoint: 1,
        log_cache_bytes_max: 256,
        ..Limits::default()
    };
    let mut cluster = Cluster::new(3, limits);
    cluster.elect();
    let away = another(meta_leader(&cluster));
    let disk = cluster.kill(away);
    let at = another(away);
    let mut made = Vec::new();
    for number in 0..20 {
        made.push(created(call(&mut cluster, at, &format!("made-{number:02}"), create(60))).0);
    }
    for number in 0..40 {
        call(&mut cluster, at, "made-07", put(&format!("k{number}"), &"x".repeat(100))).expect("it serves");
    }
    cluster.run_ms(2_000);
    cluster.boot(away, disk);
    cluster.run_ms(5_000);
    let meta_snapshots = cluster.sent.iter().filter(|(_, to, message)| {
        *to == away
            && message.group == GroupId::META.0
            && matches!(message.body, Some(wire::PeerBody::SnapshotChunk(_)))
    });
    assert!(meta_snapshots.count() > 0, "the meta group came by a snapshot");
    assert_eq!(cluster.machines[&away].node.known_keyspaces().expect("it reads")[1..], made);
    for keyspace in &made {
        let state = |node: NodeId| cluster.machines[&node].node.group_state(keyspace.group);
        assert_eq!(state(away), state(at), "{}", keyspace.name);
    }
    // And by its own disk, after a restart of everyone.
    let disks: Vec<_> = (0..3).map(NodeId).map(|node| (node, cluster.kill(node))).collect();
    for (node, disk) in disks {
        cluster.boot(node, disk);
    }
    cluster.run_ms(3_000);
    assert_eq!(listed(&mut cluster, away)[1..], made);
}

#[test]
fn their_number_is_limited() {
    let limit = types::limits::KEYSPACES_MAX;
    let mut cluster = Cluster::new(1, Limits::default());
    cluster.elect();
    let at = NodeId(0);
    // Many at once: each waits for its group's election, all together.
    for batch in [1..200, 200..limit] {
        let asked: Vec<u64> = batch
            .map(|number| cluster.ask_keyspace(at, &format!("made-{number}"), create(60), 5_000))
            .collect();
        cluster.run_ms(1_500);
        for token in asked {
            assert!(created(cluster.answer(at, token).expect("it is answered").clone()).1);
        }
    }
    let refused = call(&mut cluster, at, "one-more", create(60)).expect_err("the limit");
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    assert!(refused.message.contains("256"), "{refused}");
    assert!(!created(call(&mut cluster, at, "made-7", create(60))).1, "those that exist still do");
    assert_eq!(listed(&mut cluster, at).len(), limit);
}
