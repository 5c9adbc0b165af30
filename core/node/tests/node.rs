//! A node seen from outside: what clients are answered as leaders come, go and are cut off.

mod cluster;
mod scenarios;

use cluster::{Answer, Cluster, get, put};
use keyspace::{Command, Expect, Outcome, QueryAnswer};
use node::{Op, ReplyBody};
use types::{Applied, ErrorCode, Guarantee, Limits, NodeId, Role};

fn value_of(answer: &Answer) -> Option<String> {
    match &answer.as_ref().expect("the read succeeds").body {
        ReplyBody::Answer(QueryAnswer::Get { row, .. }) => {
            row.as_ref().map(|row| String::from_utf8_lossy(&row.value).into_owned())
        }
        other => panic!("not the answer to a get: {other:?}"),
    }
}

#[test]
fn every_node_serves_and_says_who_decided() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    for (number, at) in [NodeId(0), NodeId(1), NodeId(2)].into_iter().enumerate() {
        let answer = cluster.call(at, put("k", &format!("v{number}")));
        let reply = answer.expect("the write succeeds");
        assert_eq!(reply.receipt.served_by, leader);
        assert_eq!(reply.receipt.role, Role::Leader);
        assert_eq!(reply.receipt.delivered, Guarantee::Linearizable);
        assert_eq!(reply.receipt.revision, Some(number as u64 + 1));
        let acks = reply.receipt.acks;
        assert!(acks.required == 2 && acks.of == 3 && acks.durable >= 2, "{acks:?}");
        for reader in [NodeId(0), NodeId(1), NodeId(2)] {
            assert_eq!(value_of(&cluster.call(reader, get("k"))), Some(format!("v{number}")));
        }
    }
}

#[test]
fn one_node_alone_leads_at_once() {
    let mut cluster = Cluster::new(1, Limits::default());
    assert!(cluster.call(NodeId(0), put("k", "v")).is_ok());
    assert_eq!(value_of(&cluster.call(NodeId(0), get("k"))), Some("v".into()));
}

#[test]
fn compare_and_set_refuses_the_wrong_revision() {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    cluster.call(NodeId(0), put("k", "v")).expect("the write succeeds");
    let cas = |revision| {
        Op::Command(Command::Put {
            key: "k".into(),
            value: "w".into(),
            expect: Expect::Revision(revision),
            lease: None,
        })
    };
    let refused = cluster.call(NodeId(1), cas(9)).expect("it is answered");
    assert_eq!(refused.body, ReplyBody::Outcome(Outcome::Conflict { revision: 1, current: 1 }));
    let taken = cluster.call(NodeId(1), cas(1)).expect("it is answered");
    assert!(matches!(taken.body, ReplyBody::Outcome(Outcome::Put { revision: 2, version: 2, .. })));
}

#[test]
fn without_a_majority_requests_are_refused_in_time() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    cluster.call(leader, put("k", "v")).expect("the write succeeds");
    let others: Vec<NodeId> = (0..3).map(NodeId).filter(|node| *node != leader).collect();
    let disks: Vec<_> = others.iter().map(|node| (*node, cluster.kill(*node))).collect();

    let write = cluster.call(leader, put("k", "lost?")).expect_err("no majority holds it");
    assert_eq!((write.code, write.applied), (ErrorCode::NoQuorum, Applied::Unknown));
    let read = cluster.call(leader, get("k")).expect_err("no majority confirms the leader");
    assert_eq!((read.code, read.applied), (ErrorCode::NoQuorum, Applied::NotApplied));
    cluster.run_ms(4_000);
    let token = cluster.ask(leader, put("k", "later"), 5_000);
    let prompt = cluster.answer(leader, token).expect("it is known by now").clone();
    let prompt = prompt.expect_err("there is no leader");
    assert_eq!((prompt.code, prompt.applied), (ErrorCode::NoQuorum, Applied::NotApplied));

    let (node, files) = disks.into_iter().next().expect("two were killed");
    cluster.boot(node, files);
    cluster.elect();
    assert!(cluster.call(node, put("k", "again")).is_ok());
}

#[test]
fn a_leader_that_is_cut_off_answers_unknown_and_its_write_may_be_replaced() {
    let mut cluster = Cluster::new(3, Limits::default());
    let old = cluster.elect();
    let others: Vec<NodeId> = (0..3).map(NodeId).filter(|node| *node != old).collect();
    for other in &others {
        cluster.cut.insert((old, *other));
        cluster.cut.insert((*other, old));
    }
    let doomed = cluster.ask(old, put("k", "doomed"), 20_000);
    cluster.run_ms(4_000);
    cluster.call(others[0], put("k", "kept")).expect("the majority serves");
    let answer = cluster.answer(old, doomed).expect("the old leader gave up").clone();
    let problem = answer.expect_err("nobody confirmed it");
    assert_eq!((problem.code, problem.applied), (ErrorCode::NoQuorum, Applied::Unknown));
    cluster.cut.clear();
    cluster.run_ms(1_000);
    assert_eq!(value_of(&cluster.call(old, get("k"))), Some("kept".into()));
}

#[test]
fn a_forwarded_write_is_carried_out_once_though_the_network_repeats_it() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let follower = (0..3).map(NodeId).find(|node| *node != leader).expect("there are three");
    cluster.copies = 3;
    let reply = cluster.call(follower, put("k", "v")).expect("the write succeeds");
    assert_eq!(reply.receipt.revision, Some(1));
    cluster.copies = 1;
    let next = cluster.call(follower, put("k", "w")).expect("the write succeeds");
    assert_eq!(next.receipt.revision, Some(2), "a copy was carried out");
}

#[test]
fn bad_requests_are_refused_before_anything_happens() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let token = cluster.ask_keyspace(leader, "nowhere", get("k"), 5_000);
    let problem =
        cluster.answer(leader, token).expect("it is known at once").clone().expect_err("no such keyspace");
    assert_eq!(problem.code, ErrorCode::KeyspaceNotFound);
    let problem = cluster.call(leader, put("", "v")).expect_err("a key has at least a byte");
    assert_eq!((problem.code, problem.applied), (ErrorCode::InvalidArgument, Applied::NotApplied));
    let token = cluster.ask_keyspace(leader, "meta", put("keyspaces/x", "v"), 5_000);
    assert!(cluster.answer(leader, token).expect("it is known at once").is_err(), "meta is not a keyspace");
}

#[test]
fn checkpoints_restarts_and_snapshots_keep_everything() {
    let limits = Limits {
        segment_bytes: 64 * 1024,
        overlay_bytes: 8 * 1024,
        log_bytes_per_checkpoint: 16 * 1024,
        log_cache_bytes_max: 16 * 1024,
        ..Limits::default()
    };
    let mut cluster = Cluster::new(3, limits);
    let leader = cluster.elect();
    let lagging = (0..3).map(NodeId).find(|node| *node != leader).expect("there are three");
    let disk = cluster.kill(lagging);
    for number in 0..300 {
        cluster.call(leader, put(&format!("k{}", number % 50), &"x".repeat(number))).expect("it succeeds");
    }
    let first = cluster.machines[&leader].node.raft(cluster.group()).expect("it runs").status().first_index;
    assert!(first > 1, "the log in memory was cut");
    cluster.boot(lagging, disk);
    cluster.run_ms(3_000);
    let state = |cluster: &Cluster, node| cluster.machines[&node].node.group_state(cluster.group());
    assert_eq!(state(&cluster, lagging), state(&cluster, leader), "the snapshot caught it up");

    for node in (0..3).map(NodeId) {
        let files = cluster.kill(node);
        cluster.boot(node, files);
        cluster.elect();
    }
    for number in 250..300 {
        let value = value_of(&cluster.call(NodeId(number % 3), get(&format!("k{}", number % 50))));
        assert_eq!(value.map(|value| value.len()), Some(number as usize));
    }
    cluster.run_ms(500);
    for node in (0..3).map(NodeId) {
        let checkpointed =
            cluster.machines[&node].node.scrub(cluster.group()).expect("every checksum matches");
        assert_ne!(checkpointed, 0);
        assert_eq!(state(&cluster, node).state_hash, state(&cluster, NodeId(0)).state_hash);
    }
}

#[test]
fn a_leader_with_a_full_disk_hands_over_and_writes_go_on() {
    let mut cluster = Cluster::new(3, Limits::default());
    let full = cluster.elect();
    cluster.call(full, put("k", "v")).expect("the write succeeds");
    cluster.log_space(full, false);
    let token = cluster.ask(full, put("k", "refused"), 5_000);
    let refused = cluster.answer(full, token).expect("it is known at once").clone();
    let refused = refused.expect_err("the leader has no room");
    assert_eq!((refused.code, refused.applied), (ErrorCode::NoSpace, Applied::NotApplied));
    cluster.run_ms(1_000);
    let leader = cluster.leader().expect("another leads");
    assert_ne!(leader, full);
    let reply = cluster.call(full, put("k", "kept")).expect("the new leader has room");
    assert_eq!(reply.receipt.served_by, leader);
    assert_eq!(value_of(&cluster.call(full, get("k"))), Some("kept".into()));
    cluster.log_space(full, true);
    cluster.run_ms(1_000);
    let group = cluster.group();
    let state = |node| cluster.machines[&node].node.group_state(group);
    assert_eq!(state(full), state(leader), "it catches up once there is room");
}
