//! Contracts that change and keyspaces that go, while nodes are down, restart and catch up by snapshots.

use node::{Altered, CatalogAnswer, CatalogOp, KeyspaceInfo, Op, ReplyBody};
use types::{
    Applied, Contract, ErrorCode, GroupId, Limits, NodeId,
    contract::{Ack, Changes, Read},
};

use super::keyspaces::{another, call, create, created, listed, meta_leader};
use crate::cluster::{Answer, Cluster, get, put};

fn small() -> Limits {
    Limits {
        segment_bytes: 64 * 1024,
        log_bytes_per_checkpoint: 1,
        log_cache_bytes_max: 256,
        ..Limits::default()
    }
}

pub fn changes(json: &str) -> Changes {
    serde_json::from_str(json).expect("it is one")
}

fn alter(json: &str, version: Option<u64>) -> Op {
    Op::Catalog(CatalogOp::Alter { to: Altered::But(changes(json)), version })
}

fn delete(version: Option<u64>) -> Op {
    Op::Catalog(CatalogOp::Delete { version })
}

fn altered(answer: Answer) -> (KeyspaceInfo, Vec<String>) {
    match answer.expect("it succeeds").body {
        ReplyBody::Catalog(CatalogAnswer::Altered { keyspace, changes }) => (keyspace, changes),
        other => panic!("not the answer to an alteration: {other:?}"),
    }
}

fn deleted(answer: Answer) -> KeyspaceInfo {
    match answer.expect("it succeeds").body {
        ReplyBody::Catalog(CatalogAnswer::Deleted(keyspace)) => keyspace,
        other => panic!("not the answer to a deletion: {other:?}"),
    }
}

/// Nothing of the group is left on this node.
fn assert_gone(cluster: &Cluster, node: NodeId, group: GroupId) {
    let machine = &cluster.machines[&node];
    assert!(!machine.node.groups().contains(&group), "node {node} runs it");
    assert_eq!(machine.node.group_state(group), storage::GroupState::default(), "node {node}");
    assert!(!machine.node.stored_groups().contains(&group), "node {node} has rows of it");
}

#[test]
fn an_altered_contract_holds_at_once_where_it_was_asked_for() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    let at = another(meta_leader(&cluster));
    let (first, _) = created(call(&mut cluster, at, "orders", create(60)));
    let (second, told) =
        altered(call(&mut cluster, at, "orders", alter(r#"{"ack":"all","read":"eventual"}"#, None)));
    assert_eq!((second.version, second.group), (2, first.group));
    assert_eq!(told, ["ack: quorum -> all", "read: strong -> eventual"]);
    let written = call(&mut cluster, at, "orders", put("k", "v")).expect("it serves");
    cluster.run_ms(200);
    let read = call(&mut cluster, at, "orders", get("k")).expect("it serves");
    assert_eq!(read.receipt.delivered, types::Guarantee::Eventual);
    assert_eq!(written.receipt.acks.required, 3);
    // Again: nothing changes, and the version stays.
    let (again, told) = altered(call(&mut cluster, NodeId(0), "orders", alter(r#"{"ack":"all"}"#, None)));
    assert_eq!((again.version, told), (2, Vec::new()));
    for node in (0..3).map(NodeId) {
        assert_eq!(listed(&mut cluster, node)[1], second);
    }
}

#[test]
fn alterations_are_compare_and_sets_on_the_version() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    created(call(&mut cluster, NodeId(0), "orders", create(60)));
    altered(call(&mut cluster, NodeId(1), "orders", alter(r#"{"quota_bytes":1000}"#, Some(1))));
    let late = call(&mut cluster, NodeId(2), "orders", alter(r#"{"quota_bytes":2000}"#, Some(1)));
    let late = late.expect_err("of another version");
    assert_eq!((late.code, late.applied), (ErrorCode::Conflict, Applied::NotApplied));
    assert!(late.message.contains("version 2"), "{late}");
    let late = call(&mut cluster, NodeId(2), "orders", delete(Some(1))).expect_err("of another version");
    assert_eq!(late.code, ErrorCode::Conflict);
    // At the same time through three nodes: one wins, the others are told.
    let asked: Vec<u64> = (0..3)
        .map(|node| {
            let change = format!(r#"{{"idempotency_ttl_s":{}}}"#, 100 + node);
            cluster.ask_keyspace(NodeId(node), "orders", alter(&change, Some(2)), 5_000)
        })
        .collect();
    cluster.run_ms(1_000);
    let answers = (0..3).map(NodeId).zip(asked).map(|(node, token)| cluster.answer(node, token).cloned());
    let answers: Vec<Answer> = answers.map(|answer| answer.expect("it is answered")).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let lost = answers.into_iter().filter_map(Result::err);
    assert!(lost.map(|problem| problem.code).all(|code| code == ErrorCode::Conflict));
}

#[test]
fn what_cannot_change_is_refused_with_the_reason() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    created(call(&mut cluster, NodeId(0), "orders", create(60)));
    let cases = [
        (r#"{"shards":2}"#, "every key would have to move"),
        (r#"{"replication":"paxos"}"#, "replicas of different kinds"),
        (r#"{"quota_bytes":0}"#, "refuses every write"),
        (r#"{"ack":"none","quota_bytes":100}"#, "cannot hold with quota_bytes"),
    ];
    for (change, reason) in cases {
        let refused = call(&mut cluster, NodeId(1), "orders", alter(change, None)).expect_err(reason);
        assert_eq!((refused.code, refused.applied), (ErrorCode::InvalidArgument, Applied::NotApplied));
        assert!(refused.message.contains(reason), "{refused}");
    }
    let none = call(&mut cluster, NodeId(1), "nope", alter("{}", None)).expect_err("there is none");
    assert_eq!(none.code, ErrorCode::KeyspaceNotFound);
    let configured = call(&mut cluster, NodeId(1), "default", delete(None)).expect_err("it is configured");
    assert!(configured.message.contains("configuration"), "{configured}");
    let whole = Contract { ack: Ack::All, read: Read::Causal, ..Contract::default() };
    let op = CatalogOp::Alter { to: Altered::Whole(whole), version: Some(1) };
    let (keyspace, _) = altered(call(&mut cluster, NodeId(1), "orders", Op::Catalog(op)));
    assert_eq!(keyspace.contract, whole.resolved(3), "what is left out has its default");
}

#[test]
fn a_deleted_keyspace_is_gone_everywhere_and_its_name_is_free() {
    let mut cluster = Cluster::new(3, small());
    cluster.elect();
    let (first, _) = created(call(&mut cluster, NodeId(0), "orders", create(60)));
    for number in 0..50 {
        call(&mut cluster, NodeId(1), "orders", put(&format!("k{number}"), &"x".repeat(100)))
            .expect("it serves");
    }
    assert_eq!(deleted(call(&mut cluster, NodeId(1), "orders", delete(None))).group, first.group);
    let refused = call(&mut cluster, NodeId(1), "orders", get("k1")).expect_err("it is deleted");
    assert_eq!(refused.code, ErrorCode::KeyspaceNotFound);
    cluster.run_ms(2_000);
    for node in (0..3).map(NodeId) {
        assert_gone(&cluster, node, first.group);
        assert_eq!(listed(&mut cluster, node).len(), 1);
    }
    let (second, new) = created(call(&mut cluster, NodeId(2), "orders", create(60)));
    assert!(new && second.group > first.group && second.version == 1);
    let empty = call(&mut cluster, NodeId(2), "orders", get("k1")).expect("it serves");
    assert!(matches!(empty.body, ReplyBody::Answer(keyspace::QueryAnswer::Get { revision: 0, row: None })));
    assert_eq!(
        call(&mut cluster, NodeId(2), "nope", delete(None)).expect_err("none").code,
        ErrorCode::KeyspaceNotFound
    );
}

/// Whoever waits when the keyspace goes is told so at once, and what may have become of the request.
#[test]
fn requests_that_wait_are_answered_when_their_keyspace_goes() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    created(call(&mut cluster, NodeId(0), "orders", create(60)));
    cluster.run_ms(500);
    let group = cluster.machines[&NodeId(0)].node.keyspace_group("orders").expect("it runs");
    let leader = cluster.machines[&NodeId(0)].node.raft(group).and_then(raft_group::RaftGroup::leader);
    let leader = leader.expect("it has one");
    // Messages of the keyspace's group vanish, those of the meta group do not: its requests can only wait.
    cluster.mute = Some(group);
    let (behind, at) = (another(leader), leader);
    let forwarded = cluster.ask_keyspace(behind, "orders", put("k", "v"), 5_000);
    let proposed = cluster.ask_keyspace(at, "orders", put("k", "w"), 5_000);
    let read = cluster.ask_keyspace(at, "orders", get("k"), 5_000);
    deleted(call(&mut cluster, at, "orders", delete(None)));
    cluster.run_ms(200);
    for (node, token, applied) in [
        (behind, forwarded, Applied::Unknown),
        (at, proposed, Applied::Unknown),
        (at, read, Applied::NotApplied),
    ] {
        let answer = cluster.answer(node, token).expect("at once").clone().expect_err("it is deleted");
        assert_eq!((answer.code, answer.applied), (ErrorCode::KeyspaceNotFound, applied), "{answer}");
    }
}

/// A node that was down while a keyspace was deleted, and another created under its name, serves the new one alone.
#[test]
fn a_node_that_was_down_learns_of_a_deletion_by_the_log_or_by_a_snapshot() {
    for limits in [Limits::default(), small()] {
        let mut cluster = Cluster::new(3, limits);
        cluster.elect();
        let (first, _) = created(call(&mut cluster, NodeId(0), "orders", create(60)));
        let away = another(meta_leader(&cluster));
        let at = another(away);
        call(&mut cluster, away, "orders", put("old", "data")).expect("it serves");
        cluster.run_ms(500);
        let disk = cluster.kill(away);
        cluster.run_ms(1_500);
        deleted(call(&mut cluster, at, "orders", delete(None)));
        let (second, _) = created(call(&mut cluster, at, "orders", create(60)));
        for number in 0..30 {
            created(call(&mut cluster, at, &format!("other-{number}"), create(60)));
        }
        call(&mut cluster, at, "orders", put("new", "data")).expect("it serves");
        cluster.boot(away, disk);
        cluster.run_ms(4_000);
        assert_eq!(cluster.machines[&away].node.keyspace_group("orders"), Ok(second.group));
        let found = call(&mut cluster, away, "orders", get("old")).expect("it serves");
        assert!(matches!(found.body, ReplyBody::Answer(keyspace::QueryAnswer::Get { row: None, .. })));
        // With a checkpoint its rows go too; and nothing comes back with a restart.
        for number in 0..20 {
            call(&mut cluster, at, "orders", put(&format!("k{number}"), "v")).expect("it serves");
        }
        cluster.run_ms(2_000);
        assert_gone(&cluster, away, first.group);
        let disk = cluster.kill(away);
        cluster.boot(away, disk);
        cluster.run_ms(2_000);
        assert_gone(&cluster, away, first.group);
        let found = call(&mut cluster, away, "orders", get("new")).expect("it serves");
        assert!(matches!(found.body, ReplyBody::Answer(keyspace::QueryAnswer::Get { row: Some(_), .. })));
    }
}

/// Restarted at every moment of a deletion, everything at once, all nodes end without the group.
#[test]
fn a_deletion_survives_the_loss_of_every_process() {
    for wait_ms in [0, 20, 60, 100, 200] {
        let mut cluster = Cluster::new(3, small());
        cluster.elect();
        let (first, _) = created(call(&mut cluster, NodeId(0), "orders", create(60)));
        for number in 0..20 {
            call(&mut cluster, NodeId(1), "orders", put(&format!("k{number}"), &"x".repeat(100)))
                .expect("it serves");
        }
        cluster.ask_keyspace(NodeId(0), "orders", delete(None), 5_000);
        cluster.run_ms(wait_ms);
        let disks: Vec<_> = (0..3).map(NodeId).map(|node| (node, cluster.kill(node))).collect();
        for (node, disk) in disks {
            cluster.boot(node, disk);
        }
        cluster.elect();
        cluster.run_ms(2_000);
        let known = listed(&mut cluster, NodeId(2)).len();
        if known == 2 {
            deleted(call(&mut cluster, NodeId(2), "orders", delete(None)));
            cluster.run_ms(2_000);
        }
        for node in (0..3).map(NodeId) {
            assert_gone(&cluster, node, first.group);
        }
    }
}
