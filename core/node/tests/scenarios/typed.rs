//! Typed values through any node, while leaders come and go: added once under one key, and kept by quotas, fences and leases.

use keyspace::{
    Command, Expect, Fence, IdempotencyKey, LeaseCommand, LeaseOutcome, Outcome, Query, QueryAnswer, Txn,
    TxnOp,
};
use node::{Acquire, CatalogOp, Op, Options, ReplyBody, Under};
use types::{
    Applied, Contract, ErrorCode, LeaseId, Limits, NodeId,
    contract::{Ack, Read, Values},
};
use values::{Answer, Body, Operation, Part, Refusal, Shown};

use super::keyspaces::{call, call_with};
use crate::cluster::{self, Cluster, put};

fn operate(key: &str, operations: Vec<Operation>) -> Command {
    Command::Operate { key: key.as_bytes().to_vec(), operations, expect: Expect::Anything }
}

fn add(key: &str, by: i64) -> Command {
    operate(key, vec![Operation::Add { by }])
}

fn once(idempotency_key: &str, command: Command) -> Op {
    Op::Once(IdempotencyKey::new(idempotency_key.into()).expect("it is within the limits"), command)
}

fn of_kind(cluster: &mut Cluster, name: &str, contract: Contract) {
    let at = cluster.elect();
    call(cluster, at, name, Op::Catalog(CatalogOp::Create(contract))).expect("it can be kept");
}

fn likes() -> Cluster {
    let mut cluster = Cluster::new(3, Limits::default());
    of_kind(&mut cluster, "likes", Contract { values: Values::Counter, ..Contract::default() });
    cluster
}

/// What a count came to, and whether the answer is a repeated one.
fn counted(answer: &cluster::Answer) -> (i64, bool) {
    let reply = answer.as_ref().expect("it is done");
    match &reply.body {
        ReplyBody::Outcome(Outcome::Operated { answers, .. }) => match answers[..] {
            [Answer::Count { value }] => (value, reply.receipt.deduplicated),
            ref other => panic!("not one count: {other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn count(cluster: &mut Cluster, at: NodeId, keyspace: &str, key: &str, options: Options) -> i128 {
    let query = Query::Value { key: key.as_bytes().to_vec(), part: Part::Whole };
    let answer = call_with(cluster, at, keyspace, Op::Query(query), options);
    match answer.expect("it is read").body {
        ReplyBody::Answer(QueryAnswer::Value { row: Some(row), .. }) => match row.shown {
            Shown::Value(value) => match value.body() {
                Body::Counter(counter) => counter.get(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn refused(answer: &cluster::Answer) -> &str {
    let problem = answer.as_ref().expect_err("it cannot be done");
    assert_eq!((problem.code, problem.applied), (ErrorCode::InvalidArgument, Applied::NotApplied));
    &problem.message
}

#[test]
fn every_node_adds_and_reads() {
    let mut cluster = likes();
    for (number, node) in (1..).zip([0, 1, 2, 0].map(NodeId)) {
        let answer = call(&mut cluster, node, "likes", Op::Command(add("post", 1)));
        assert_eq!(counted(&answer), (number, false));
    }
    cluster.run_ms(200);
    for node in (0..3).map(NodeId) {
        assert_eq!(count(&mut cluster, node, "likes", "post", Options::default()), 4);
        let here = Options { read: Some(Read::Eventual), ..Options::default() };
        assert_eq!(count(&mut cluster, node, "likes", "post", here), 4);
    }
}

#[test]
fn a_repeated_addition_adds_once_also_under_the_next_leader() {
    let mut cluster = likes();
    let leader = cluster.elect();
    let ask = |cluster: &mut Cluster, at| call(cluster, at, "likes", once("like-17", add("post", 5)));
    assert_eq!(counted(&ask(&mut cluster, leader)), (5, false));
    for node in (0..3).map(NodeId) {
        assert_eq!(counted(&ask(&mut cluster, node)), (5, true));
    }
    let more = call(&mut cluster, leader, "likes", once("like-17", add("post", 6))).expect_err("another");
    assert_eq!(more.code, ErrorCode::IdempotencyKeyReused);
    cluster.kill(leader);
    cluster.elect();
    for node in (0..3).map(NodeId).filter(|node| *node != leader) {
        assert_eq!(counted(&ask(&mut cluster, node)), (5, true));
        assert_eq!(count(&mut cluster, node, "likes", "post", Options::default()), 5);
    }
    // Without a key each is another addition.
    let next = cluster.elect();
    for total in [10, 15] {
        assert_eq!(counted(&call(&mut cluster, next, "likes", Op::Command(add("post", 5)))), (total, false));
    }
}

#[test]
fn additions_in_one_proposal_see_each_other() {
    let mut cluster = likes();
    let leader = cluster.elect();
    cluster.slow.extend((0..3).map(NodeId));
    let op = Op::Command(add("post", 1));
    let tokens: Vec<u64> = (0..5).map(|_| cluster.ask_keyspace(leader, "likes", op.clone(), 5_000)).collect();
    cluster.slow.clear();
    cluster.run_ms(200);
    let counts =
        tokens.iter().map(|token| counted(cluster.answer(leader, *token).expect("it is answered")).0);
    assert_eq!(counts.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn what_a_keyspace_does_not_hold_is_refused_before_it_is_in_the_log() {
    let mut cluster = likes();
    let leader = cluster.elect();
    for node in (0..3).map(NodeId) {
        let member = operate("post", vec![Operation::Insert { members: vec![b"a".to_vec()] }]);
        let answer = call(&mut cluster, node, "likes", Op::Command(member));
        assert!(refused(&answer).starts_with("add is no operation of a counter"));
        let answer = call(&mut cluster, node, "likes", put("post", "7"));
        assert!(refused(&answer).starts_with("a plain write cannot make a counter"));
        let unheard = Options { ack: Some(Ack::None), ..Options::default() };
        let answer = call_with(&mut cluster, node, "likes", put("post", "7"), unheard);
        assert!(refused(&answer).starts_with("a plain write cannot make a counter"));
        let txn = Txn { then: vec![TxnOp::Increment { key: b"post".to_vec(), by: 1 }], ..Txn::default() };
        let answer = call(&mut cluster, node, "likes", Op::from(txn));
        assert!(refused(&answer).starts_with("a plain write cannot make a counter"));
        let part = Part::Member { member: b"a".to_vec() };
        let query = Query::Value { key: b"post".to_vec(), part };
        let answer = call(&mut cluster, node, "likes", Op::Query(query));
        assert!(refused(&answer).starts_with("a counter has no such part"));
        let query = Query::Value { key: b"post".to_vec(), part: Part::Whole };
        let answer = call(&mut cluster, node, "default", Op::Query(query));
        assert!(refused(&answer).starts_with("a register has no parts"));
        // What an addition came to is known only once it is applied.
        for ack in [Ack::None, Ack::Leader] {
            let early = Options { ack: Some(ack), ..Options::default() };
            let answer = call_with(&mut cluster, node, "likes", Op::Command(add("post", 1)), early);
            assert!(refused(&answer).starts_with(&format!("ack = {ack} is for puts and deletes")));
        }
    }
    assert_eq!(counted(&call(&mut cluster, leader, "likes", Op::Command(add("post", 1)))), (1, false));
    // A transaction may remove what it cannot make.
    let txn =
        Txn { then: vec![TxnOp::Delete { keys: keyspace::Keys::One(b"post".to_vec()) }], ..Txn::default() };
    call(&mut cluster, leader, "likes", Op::from(txn)).expect("it is removed");
    assert_eq!(counted(&call(&mut cluster, leader, "likes", Op::Command(add("post", 1)))), (1, false));
}

#[test]
fn a_contract_that_acknowledges_early_waits_for_additions() {
    let mut cluster = Cluster::new(3, Limits::default());
    let contract = Contract { values: Values::Counter, ack: Ack::Leader, ..Contract::default() };
    of_kind(&mut cluster, "likes", contract);
    let leader = cluster.elect();
    let answer = call(&mut cluster, leader, "likes", Op::Command(add("post", 1)));
    assert_eq!(counted(&answer), (1, false));
    assert!(answer.expect("it was counted").receipt.acks.durable >= 2);
}

#[test]
fn quotas_count_values_as_they_are_stored() {
    let mut cluster = Cluster::new(3, Limits::default());
    let contract = Contract { values: Values::Set, quota_bytes: Some(2_000), ..Contract::default() };
    of_kind(&mut cluster, "tags", contract);
    let leader = cluster.elect();
    let members =
        |from: u32| (from..from + 20).map(|member| format!("member {member:04}").into_bytes()).collect();
    let mut outcomes = (0..10).map(|number| {
        let insert = operate("post", vec![Operation::Insert { members: members(20 * number) }]);
        call(&mut cluster, leader, "tags", Op::Command(insert)).expect("it is answered").body
    });
    let over = outcomes.find_map(|body| match body {
        ReplyBody::Outcome(Outcome::OverQuota { bytes, quota_bytes, .. }) => Some((bytes, quota_bytes)),
        _ => None,
    });
    let (bytes, quota_bytes) = over.expect("the set outgrows the quota");
    assert!(bytes <= 2_000 && quota_bytes == 2_000);
    let remove = operate("post", vec![Operation::Remove { members: members(0) }]);
    let answer = call(&mut cluster, leader, "tags", Op::Command(remove)).expect("it is answered");
    assert!(matches!(answer.body, ReplyBody::Outcome(Outcome::Operated { .. })));
}

#[test]
fn an_addition_under_a_token_that_is_not_the_holders_is_refused() {
    let mut cluster = likes();
    let leader = cluster.elect();
    let acquire =
        Acquire { name: b"lock".to_vec(), under: Under::Ttl(60_000), value: None, keep_place: false };
    let token = match call(&mut cluster, leader, "likes", Op::Acquire(acquire)).expect("it is free").body {
        ReplyBody::Acquired(acquired) => acquired.token,
        other => panic!("{other:?}"),
    };
    let under =
        |token| Options { fence: Some(Fence { name: b"lock".to_vec(), token }), ..Options::default() };
    let add = || Op::Command(add("post", 1));
    assert_eq!(counted(&call_with(&mut cluster, leader, "likes", add(), under(token))), (1, false));
    let late = call_with(&mut cluster, leader, "likes", add(), under(token - 1)).expect("it is answered");
    assert!(matches!(late.body, ReplyBody::Outcome(Outcome::Fenced { .. })), "{late:?}");
    assert_eq!(count(&mut cluster, leader, "likes", "post", Options::default()), 1);
}

#[test]
fn a_key_of_a_lock_is_no_value_and_is_not_changed_into_one() {
    let mut cluster = likes();
    let leader = cluster.elect();
    let acquire =
        Acquire { name: b"lock".to_vec(), under: Under::Ttl(60_000), value: None, keep_place: false };
    let lease = match call(&mut cluster, leader, "likes", Op::Acquire(acquire)).expect("it is free").body {
        ReplyBody::Acquired(acquired) => acquired.lease,
        other => panic!("{other:?}"),
    };
    let key = format!("lock/{lease}");
    let answer = call(&mut cluster, leader, "likes", Op::Command(add(&key, 1))).expect("it is answered");
    assert!(matches!(
        answer.body,
        ReplyBody::Outcome(Outcome::OperateRefused {
            refusal: Refusal::NotAValue { kind: Values::Counter },
            ..
        })
    ));
}

#[test]
fn a_number_that_is_added_to_stays_bound_to_its_lease() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let id = LeaseId(7);
    let grant = LeaseCommand::Grant { id: Some(id), ttl_ms: 1_000, beside: Vec::new() };
    let granted = cluster.call(leader, Op::Command(Command::Lease(grant))).expect("it is new");
    assert!(matches!(granted.body, ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { .. }))));
    let (key, value) = (b"n".to_vec(), b"41".to_vec());
    let put = Command::Put { key, value, expect: Expect::Anything, lease: Some(id) };
    cluster.call(leader, Op::Command(put)).expect("the lease is there");
    assert_eq!(counted(&cluster.call(leader, Op::Command(add("n", 1)))), (42, false));
    cluster.run_ms(3_000);
    // Its lease has ended, and it went with it: an addition begins anew.
    let leader = cluster.elect();
    assert_eq!(counted(&cluster.call(leader, Op::Command(add("n", 1)))), (1, false));
}
