//! Writes under idempotency keys as leaders come and go: carried out once, and answered alike.

use crate::cluster::{Answer, Cluster, put};
use keyspace::{
    Command, Expect, IdempotencyKey, KeyRange, Keys, Outcome, Query, QueryAnswer, Txn, TxnOp, TxnOutcome,
    TxnRefusal,
};
use node::{CatalogOp, Input, Op, ReplyBody};
use types::{Applied, Contract, ErrorCode, Limits, NodeId};

use super::keyspaces::call;

fn once(idempotency_key: &str, key: &str, value: &str) -> Op {
    let command =
        Command::Put { key: key.into(), value: value.into(), expect: Expect::Anything, lease: None };
    Op::Once(IdempotencyKey::new(idempotency_key.into()).expect("it is within the limits"), command)
}

/// The revision of a put, and whether the answer is a repeated one.
fn put_at(answer: &Answer) -> (u64, bool) {
    let reply = answer.as_ref().expect("the write succeeds");
    match reply.body {
        ReplyBody::Outcome(Outcome::Put { revision, .. }) => (revision, reply.receipt.deduplicated),
        ref other => panic!("not the outcome of a put: {other:?}"),
    }
}

fn cluster() -> (Cluster, NodeId, NodeId, NodeId) {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let mut others = (0..3).map(NodeId).filter(|node| *node != leader);
    let (one, two) = (others.next().expect("there are three"), others.next().expect("there are three"));
    cluster.sent.clear();
    (cluster, leader, one, two)
}

#[test]
fn every_node_answers_a_repeated_request_alike() {
    let (mut cluster, leader, one, two) = cluster();
    assert_eq!(put_at(&cluster.call(one, once("a", "k", "v"))), (1, false));
    cluster.call(leader, put("k", "newer")).expect("the write succeeds");
    for at in [leader, one, two] {
        assert_eq!(put_at(&cluster.call(at, once("a", "k", "v"))), (1, true));
    }
    for at in [leader, one, two] {
        let problem = cluster.call(at, once("a", "k", "w")).expect_err("another request");
        assert_eq!((problem.code, problem.applied), (ErrorCode::IdempotencyKeyReused, Applied::NotApplied));
    }
    assert_eq!(put_at(&cluster.call(two, put("k", "next"))), (3, false));
}

#[test]
fn requests_at_the_same_time_run_once() {
    let (mut cluster, leader, one, two) = cluster();
    // Together in the leader's log before any is applied.
    cluster.slow.extend([leader, one, two]);
    let tokens: Vec<_> =
        [leader, leader, one, two].map(|at| (at, cluster.ask(at, once("a", "k", "v"), 5_000))).into();
    cluster.slow.clear();
    cluster.run_ms(200);
    let mut answers: Vec<_> = tokens
        .into_iter()
        .map(|(at, token)| put_at(cluster.answer(at, token).expect("it is answered")))
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [(1, false), (1, true), (1, true), (1, true)]);
}

#[test]
fn the_next_leader_knows_the_keys_of_the_last() {
    let (mut cluster, leader, one, two) = cluster();
    assert_eq!(put_at(&cluster.call(leader, once("a", "k", "v"))), (1, false));
    cluster.kill(leader);
    cluster.elect();
    for at in [one, two] {
        assert_eq!(put_at(&cluster.call(at, once("a", "k", "v"))), (1, true));
    }
}

#[test]
fn a_restarted_cluster_knows_its_keys_from_checkpoint_and_log() {
    let limits = Limits { log_bytes_per_checkpoint: 4 * 1024, overlay_bytes: 4 * 1024, ..Limits::default() };
    let mut cluster = Cluster::new(3, limits);
    let leader = cluster.elect();
    for number in 0..100 {
        let (key, value) = (format!("i{number}"), "x".repeat(100));
        assert_eq!(put_at(&cluster.call(leader, once(&key, "k", &value))), (number + 1, false));
    }
    cluster.run_ms(1_500);
    let files: Vec<_> = (0..3).map(NodeId).map(|node| (node, cluster.kill(node))).collect();
    for (node, files) in files {
        cluster.boot(node, files);
    }
    let leader = cluster.elect();
    for number in 0..100 {
        let (key, value) = (format!("i{number}"), "x".repeat(100));
        assert_eq!(put_at(&cluster.call(leader, once(&key, "k", &value))), (number + 1, true));
    }
}

#[test]
fn a_node_that_caught_up_by_snapshot_knows_the_keys() {
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
    for number in 0..200 {
        let key = format!("i{number}");
        assert_eq!(put_at(&cluster.call(leader, once(&key, "k", &"x".repeat(500)))), (number + 1, false));
    }
    let first = cluster.machines[&leader].node.raft(cluster.group()).expect("it runs").status().first_index;
    assert!(first > 1, "the log in memory was cut");
    cluster.boot(lagging, disk);
    cluster.run_ms(3_000);
    let state = |cluster: &Cluster, node| cluster.machines[&node].node.group_state(cluster.group());
    assert_eq!(state(&cluster, lagging), state(&cluster, leader), "the snapshot caught it up");
    assert_eq!(state(&cluster, lagging).keys, 1, "only the client's key is counted");

    // Of the two left, only the one with the snapshot is asked: it must lead.
    cluster.kill(leader);
    for _ in 0..200 {
        if cluster.elect() == lagging {
            break;
        }
        let other = cluster.leader().expect("it was just elected");
        cluster.isolate(other);
        cluster.run_ms(1_000);
        cluster.cut.clear();
    }
    assert_eq!(cluster.leader(), Some(lagging));
    for number in 0..200 {
        let key = format!("i{number}");
        assert_eq!(put_at(&cluster.call(lagging, once(&key, "k", &"x".repeat(500)))), (number + 1, true));
    }
}

#[test]
fn a_lost_leader_is_no_reason_to_give_up() {
    let (mut cluster, leader, asker, _) = cluster();
    // The leader carries it out, and its answer is lost with it.
    cluster.cut.insert((leader, asker));
    let token = cluster.ask(asker, once("a", "k", "v"), 10_000);
    cluster.run_ms(100);
    assert_eq!(cluster.answer(asker, token), None);
    cluster.cut.clear();
    cluster.kill(leader);
    cluster.run_ms(4_000);
    let answer = cluster.answer(asker, token).expect("the next leader answers").clone();
    let repeated = put_at(&answer);
    assert!(answer.expect("it succeeded").receipt.attempts > 1);
    let (next, _) = put_at(&cluster.call(asker, put("k", "next")));
    assert_eq!((repeated.0, next), (1, 2), "it was carried out once");
}

#[test]
fn a_leader_that_vanished_is_no_reason_to_wait() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.isolate(leader);
    let token = cluster.ask(asker, once("a", "k", "v"), 10_000);
    let plain = cluster.ask(asker, put("other", "v"), 10_000);
    cluster.run_ms(4_000);
    assert_eq!(put_at(cluster.answer(asker, token).expect("the next leader answers")), (1, false));
    assert_eq!(cluster.answer(asker, plain), None, "without a key, it may not be sent again");
}

#[test]
fn what_may_have_been_applied_is_never_said_not_to_be() {
    let (mut cluster, leader, asker, other) = cluster();
    cluster.cut.insert((leader, asker));
    let token = cluster.ask(asker, once("a", "k", "v"), 4_000);
    cluster.run_ms(100);
    // The asker is alone from now on: its second try finds no leader.
    cluster.kill(leader);
    cluster.kill(other);
    cluster.run_ms(4_000);
    let problem = cluster.answer(asker, token).expect("it was told").clone().expect_err("nobody is there");
    assert_eq!((problem.code, problem.applied), (ErrorCode::NoQuorum, Applied::Unknown));
    assert!(problem.next_step.contains("same idempotency key"), "{}", problem.next_step);
}

#[test]
fn a_leader_that_restarted_is_asked_again() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((leader, asker));
    let token = cluster.ask(asker, once("a", "k", "v"), 20_000);
    cluster.run_ms(100);
    let files = cluster.kill(leader);
    cluster.boot(leader, files);
    cluster.cut.clear();
    let asking = &mut cluster.machines.get_mut(&asker).expect("it runs").node;
    asking.handle(cluster.now, Input::PeerDown(leader)).expect("no node fails");
    cluster.run_ms(5_000);
    assert_eq!(put_at(cluster.answer(asker, token).expect("it is answered")).0, 1);
    assert_eq!(put_at(&cluster.call(asker, put("k", "next"))).0, 2, "it was carried out once");
}

#[test]
fn keys_are_forgotten_by_the_time_that_leaders_measure() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let contract = Contract { idempotency_ttl_s: 2, ..Contract::default() };
    call(&mut cluster, leader, "brief", Op::Catalog(CatalogOp::Create(contract))).expect("it can be kept");
    let once =
        |cluster: &mut Cluster, name: &str| put_at(&call(cluster, leader, "brief", once(name, "k", "v")));
    assert_eq!(once(&mut cluster, "a"), (1, false));
    // A jump of the wall clock is not time that passed.
    cluster.now.wall_ms += 1_000_000_000;
    assert_eq!(once(&mut cluster, "b"), (2, false));
    assert_eq!(once(&mut cluster, "a"), (1, true));
    cluster.run_ms(2_100);
    assert_eq!(once(&mut cluster, "c"), (3, false));
    assert_eq!(once(&mut cluster, "a"), (4, false));
}

#[test]
fn only_so_many_keys_are_remembered() {
    let limits = Limits { idempotency_keys_max: 10, ..Limits::default() };
    let mut cluster = Cluster::new(1, limits);
    let leader = cluster.elect();
    for number in 0..30 {
        assert_eq!(put_at(&cluster.call(leader, once(&format!("i{number}"), "k", "v"))), (number + 1, false));
    }
    for number in 20..30 {
        assert_eq!(put_at(&cluster.call(leader, once(&format!("i{number}"), "k", "v"))), (number + 1, true));
    }
    assert_eq!(put_at(&cluster.call(leader, once("i19", "k", "v"))), (31, false));
}

#[test]
fn a_transaction_neither_sees_nor_deletes_what_is_remembered() {
    let (mut cluster, leader, one, _) = cluster();
    assert_eq!(put_at(&cluster.call(one, once("a", "k", "v"))), (1, false));
    let everything = || KeyRange { start: b"a".to_vec(), end: None };
    let delete_all = Txn {
        compares: Vec::new(),
        then: vec![TxnOp::Delete { keys: Keys::Range(everything()) }],
        otherwise: Vec::new(),
    };
    let deleted = cluster.call(leader, Op::from(delete_all)).expect("it is done");
    assert!(
        matches!(deleted.body, ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Done { revision: 2, .. }))),
        "{deleted:?}"
    );
    let list = Op::Query(Query::Range { range: everything(), limit: 10, keys_only: false });
    let listed = cluster.call(leader, list).expect("it is read");
    assert!(matches!(&listed.body, ReplyBody::Answer(QueryAnswer::Range { items, .. }) if items.is_empty()));
    assert_eq!(put_at(&cluster.call(leader, once("a", "k", "v"))), (1, true), "the key is remembered");
}

fn txn_once(idempotency_key: &str, then: Vec<TxnOp>) -> Op {
    let key = IdempotencyKey::new(idempotency_key.into()).expect("it is within the limits");
    Op::Once(key, Command::Txn(Txn { then, ..Txn::default() }))
}

/// Its answer is kept in several pieces, and given again whole, by every node, after a failover too; and it
/// happened once.
#[test]
fn a_transaction_is_answered_again_as_it_was() {
    let (mut cluster, leader, one, two) = cluster();
    let increment = |key: String| TxnOp::Increment { key: key.into_bytes(), by: 5 };
    let many = || txn_once("t", (0..100).map(|number| increment(format!("n{number}"))).collect());
    let first = cluster.call(one, many()).expect("it is done");
    assert!(!first.receipt.deduplicated);
    cluster.isolate(leader);
    cluster.run_ms(3_000);
    for at in [one, two] {
        let again = cluster.call(at, many()).expect("it was done");
        assert_eq!((again.body, again.receipt.deduplicated), (first.body.clone(), true));
    }
    let reused =
        cluster.call(one, txn_once("t", vec![increment("n0".into())])).expect_err("it is another one");
    assert_eq!((reused.code, reused.applied), (ErrorCode::IdempotencyKeyReused, Applied::NotApplied));
}

/// What cannot be remembered is not done.
#[test]
fn a_transaction_whose_answer_is_too_long_does_nothing_under_a_key() {
    let (mut cluster, leader, one, _) = cluster();
    cluster.call(leader, put("long", &"x".repeat(5_000))).expect("the write succeeds");
    let read_and_write = || {
        vec![
            TxnOp::Get { key: b"long".to_vec() },
            TxnOp::Put { key: b"other".to_vec(), value: b"v".to_vec(), lease: None },
        ]
    };
    for _ in 0..2 {
        let refused = cluster.call(one, txn_once("t", read_and_write())).expect("it is answered");
        let refusal = TxnRefusal::OutcomeTooLarge;
        let expected = ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Refused { revision: 1, refusal }));
        assert_eq!(refused.body, expected);
    }
}
