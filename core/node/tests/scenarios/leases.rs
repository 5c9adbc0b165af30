//! Leases, locks and fences: who counts the time, who waits, and what a change of leaders changes.

use keyspace::{
    Command, Expect, Fence, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LockWait, Outcome, Query,
    QueryAnswer,
};
use node::{Acquire, Acquired, CatalogOp, Input, Op, Options, ReplyBody, Request, Under, leave};
use types::{Contract, ErrorCode, LeaseId, Limits, NodeId, contract};

use super::keyspaces::call;
use crate::cluster::{Answer, Cluster, get, put};

const TTL_MS: u64 = 1_000;

fn grant(cluster: &mut Cluster, at: NodeId, ttl_ms: u64) -> LeaseId {
    let command = LeaseCommand::Grant { id: None, ttl_ms, beside: Vec::new() };
    match cluster.call(at, Op::Command(Command::Lease(command))).expect("there is a leader").body {
        ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { id, .. })) => id,
        other => panic!("{other:?}"),
    }
}

fn put_leased(key: &str, lease: LeaseId) -> Op {
    let (key, value) = (key.as_bytes().to_vec(), b"v".to_vec());
    Op::Command(Command::Put { key, value, expect: Expect::Anything, lease: Some(lease) })
}

fn keep_alive(id: LeaseId) -> Op {
    Op::Query(Query::Lease(LeaseQuery::KeepAlive { id }))
}

fn exists(cluster: &mut Cluster, key: &str) -> bool {
    let at = cluster.elect();
    match cluster.call(at, get(key)).expect("there is a leader").body {
        ReplyBody::Answer(QueryAnswer::Get { row, .. }) => row.is_some(),
        other => panic!("{other:?}"),
    }
}

/// What a keep-alive came to: how long the lease lives from when it was sent.
fn alive_ms(answer: &Answer) -> Option<u64> {
    match &answer.as_ref().expect("it was confirmed").body {
        ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lease { lease, remaining_ms, .. })) => {
            assert_eq!(lease.is_some(), remaining_ms.is_some());
            *remaining_ms
        }
        other => panic!("{other:?}"),
    }
}

fn acquire(name: &str, under: Under) -> Op {
    Op::Acquire(Acquire { name: name.into(), under, value: None, keep_place: false })
}

fn acquired(answer: &Answer) -> Acquired {
    match &answer.as_ref().expect("the lock is held").body {
        ReplyBody::Acquired(acquired) => acquired.clone(),
        other => panic!("{other:?}"),
    }
}

fn fenced(cluster: &mut Cluster, at: NodeId, op: Op, name: &str, token: u64) -> Answer {
    let fence = Some(Fence { name: name.into(), token });
    let request = Request { options: Options { fence, ..Options::default() }, ..Request::new("default", op) };
    let deadline_ms = cluster.now.mono_ms + 5_000;
    let machine = cluster.machines.get_mut(&at).expect("it runs");
    let input = Input::Client { token: 1_000_000 + token, request, deadline_ms };
    machine.node.handle(cluster.now, input).expect("no node fails");
    cluster.settle();
    cluster.run_ms(100);
    cluster
        .machines
        .get_mut(&at)
        .expect("it runs")
        .answers
        .remove(&(1_000_000 + token))
        .expect("it is answered")
}

fn others(leader: NodeId) -> [NodeId; 2] {
    let others: Vec<NodeId> = (0..3).map(NodeId).filter(|node| *node != leader).collect();
    [others[0], others[1]]
}

#[test]
fn a_lease_ends_with_its_keys_unless_it_is_kept_alive() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let [other, _] = others(leader);
    let (kept, left) = (grant(&mut cluster, other, TTL_MS), grant(&mut cluster, leader, TTL_MS));
    cluster.call(leader, put_leased("kept", kept)).expect("there is a leader");
    cluster.call(leader, put_leased("left", left)).expect("there is a leader");
    for _ in 0..4 {
        cluster.run_ms(TTL_MS / 2);
        let answer = cluster.call(other, keep_alive(kept));
        assert_eq!(alive_ms(&answer), Some(TTL_MS));
    }
    assert!(exists(&mut cluster, "kept") && !exists(&mut cluster, "left"));
    let answer = cluster.call(other, keep_alive(left));
    assert_eq!(alive_ms(&answer), None);
    let refused = cluster.call(other, put_leased("late", left)).expect("it is answered");
    assert!(matches!(refused.body, ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::NotFound { .. }))));
}

#[test]
fn a_new_leader_gives_the_whole_time_again_and_the_old_one_acknowledges_nothing() {
    let mut cluster = Cluster::new(3, Limits::default());
    assert!(!the_old_leader_acknowledges(&mut cluster), "a leader that was deposed acknowledged");
}

#[cfg(feature = "planted")]
#[test]
fn a_keep_alive_that_no_majority_confirmed_is_noticed() {
    let mut cluster = Cluster::planted(3, Limits::default(), raft_group::Planted::KeepAliveUnconfirmed);
    assert!(the_old_leader_acknowledges(&mut cluster), "the bug was not noticed");
}

/// Cuts the leader off, asks it to keep a lease alive, and waits until the others have ended the lease.
fn the_old_leader_acknowledges(cluster: &mut Cluster) -> bool {
    let leader = cluster.elect();
    let lease = grant(cluster, leader, 2_000);
    cluster.call(leader, put_leased("key", lease)).expect("there is a leader");
    cluster.run_ms(1_500);
    cluster.isolate(leader);
    let token = cluster.ask(leader, keep_alive(lease), 3_000);
    cluster.run_ms(900);
    // Its time was up some 400 ms ago, by the clock of the leader that was lost.
    let next = cluster
        .machines
        .values()
        .map(|machine| machine.node.status(cluster.now))
        .find(|status| status.node != leader && status.groups[1].role == types::Role::Leader);
    let next = next.expect("the others elected a leader").node;
    let answer = cluster.call(next, get("key")).expect("it leads");
    assert!(matches!(answer.body, ReplyBody::Answer(QueryAnswer::Get { row: Some(_), .. })));
    cluster.run_ms(2_500);
    let answer = cluster.call(next, get("key")).expect("it leads");
    assert!(matches!(answer.body, ReplyBody::Answer(QueryAnswer::Get { row: None, .. })));
    matches!(cluster.answer(leader, token), Some(Ok(_)))
}

#[test]
fn locks_are_had_in_the_order_of_asking() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let [one, two] = others(leader);
    let leases = [leader, one, two].map(|node| grant(&mut cluster, node, 60_000));
    let first = cluster.call(leader, acquire("job", Under::Lease(leases[0])));
    let first = acquired(&first);
    let second = cluster.ask(one, acquire("job", Under::Lease(leases[1])), 5_000);
    cluster.run_ms(40);
    let third = cluster.ask(two, acquire("job", Under::Lease(leases[2])), 5_000);
    cluster.run_ms(500);
    assert!(cluster.answer(one, second).is_none() && cluster.answer(two, third).is_none());
    // Asking again under the lease that holds it answers the same token.
    let again = cluster.call(two, acquire("job", Under::Lease(leases[0])));
    assert_eq!(acquired(&again), first);
    let written = fenced(&mut cluster, one, put("data", "1"), "job", first.token).expect("it is answered");
    assert!(matches!(written.body, ReplyBody::Outcome(Outcome::Put { .. })));
    cluster.call(leader, Op::from(leave(b"job", leases[0], Some(first.token)))).expect("it is released");
    cluster.run_ms(40);
    let held = acquired(cluster.answer(one, second).expect("its turn has come"));
    assert!(held.token > first.token && held.lease == leases[1]);
    let late = fenced(&mut cluster, two, put("data", "2"), "job", first.token).expect("it is answered");
    assert!(
        matches!(late.body, ReplyBody::Outcome(Outcome::Fenced { current: Some(current), .. }) if current == held.token)
    );
    // The holder's lease ends: the next has it, through a change of leaders.
    cluster.kill(leader);
    cluster.elect();
    cluster
        .call(one, Op::Command(Command::Lease(LeaseCommand::Revoke { id: leases[1] })))
        .expect("it is revoked");
    cluster.run_ms(400);
    let last = acquired(cluster.answer(two, third).expect("its turn has come"));
    assert!(last.token > held.token);
}

#[test]
fn who_gives_up_leaves_no_place_behind() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let [one, _] = others(leader);
    let holder = acquired(&cluster.call(leader, acquire("job", Under::Ttl(10_000))));
    let lease = grant(&mut cluster, one, 60_000);
    for under in [Under::Lease(lease), Under::Ttl(500)] {
        let token = cluster.ask(one, acquire("job", under), 2_000);
        cluster.run_ms(1_700);
        assert!(cluster.answer(one, token).is_none(), "a lease that waits is kept alive");
        cluster.run_ms(600);
        let problem =
            cluster.answer(one, token).expect("its deadline passed").as_ref().expect_err("it is held");
        assert_eq!(problem.code, ErrorCode::DeadlineExceeded, "{problem:?}");
        let query = Query::Lease(LeaseQuery::Lock { name: b"job".to_vec(), wait: LockWait::No });
        match cluster.call(leader, Op::Query(query)).expect("there is a leader").body {
            ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lock {
                holder: Some(found), waiters, ..
            })) => {
                assert_eq!((found.token, waiters), (holder.token, 0));
            }
            other => panic!("{other:?}"),
        }
    }
    let answer = cluster.call(one, keep_alive(lease));
    assert_eq!(alive_ms(&answer), Some(60_000));
}

#[test]
fn an_election_is_observed() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let [one, two] = others(leader);
    let wait = |token, mod_revision| {
        let wait = LockWait::Change { token, mod_revision };
        Op::Query(Query::Lease(LeaseQuery::Lock { name: b"chief".to_vec(), wait }))
    };
    let seen = |answer: &Answer| match &answer.as_ref().expect("there is a leader").body {
        ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lock { holder, .. })) => holder.clone(),
        other => panic!("{other:?}"),
    };
    let observer = cluster.ask(two, wait(0, 0), 5_000);
    let lease = grant(&mut cluster, one, 60_000);
    let campaign = Acquire {
        name: b"chief".to_vec(),
        under: Under::Lease(lease),
        value: Some(b"me".to_vec()),
        keep_place: false,
    };
    let won = acquired(&cluster.call(one, Op::Acquire(campaign)));
    cluster.run_ms(40);
    let elected = seen(cluster.answer(two, observer).expect("a leader was elected")).expect("it leads");
    assert_eq!((elected.token, &elected.value[..]), (won.token, &b"me"[..]));
    let observer = cluster.ask(two, wait(elected.token, elected.mod_revision), 5_000);
    cluster.run_ms(200);
    assert!(cluster.answer(two, observer).is_none());
    let proclaim = node::proclaim(b"chief", lease, won.token, b"still me".to_vec());
    cluster.call(one, Op::from(proclaim)).expect("it is written");
    cluster.run_ms(40);
    let proclaimed = seen(cluster.answer(two, observer).expect("the value changed")).expect("it leads");
    assert_eq!((proclaimed.token, &proclaimed.value[..]), (won.token, &b"still me"[..]));
    let observer = cluster.ask(two, wait(proclaimed.token, proclaimed.mod_revision), 5_000);
    cluster.call(one, Op::from(leave(b"chief", lease, Some(won.token)))).expect("it resigns");
    cluster.run_ms(40);
    assert_eq!(seen(cluster.answer(two, observer).expect("it resigned")), None);
}

#[test]
fn leases_locks_and_fences_are_of_one_shard() {
    let mut cluster = Cluster::new(3, Limits::default());
    let at = cluster.elect();
    let contract = Contract { shards: 5, ..Contract::default() };
    call(&mut cluster, at, "wide", Op::Catalog(CatalogOp::Create(contract))).expect("it can be kept");
    let ttl_ms = 60_000;
    for tag in ["{a}", "{b}", "{c}"] {
        let name = format!("{tag}/lock");
        let held = call(&mut cluster, NodeId(1), "wide", acquire(&name, Under::Ttl(ttl_ms)));
        let held = acquired(&held);
        let key = format!("{tag}/data");
        call(&mut cluster, NodeId(2), "wide", put_leased(&key, held.lease)).expect("they have one tag");
    }
    let refused = call(&mut cluster, NodeId(1), "wide", acquire("lock", Under::Ttl(ttl_ms)));
    assert_eq!(refused.expect_err("it has no tag").code, ErrorCode::InvalidArgument);
    let beside = b"{a}".to_vec();
    let grant = Op::Command(Command::Lease(LeaseCommand::Grant { id: None, ttl_ms, beside }));
    let ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { id, .. })) =
        call(&mut cluster, NodeId(1), "wide", grant).expect("there is a leader").body
    else {
        panic!("no lease")
    };
    let elsewhere = (0..)
        .map(|number| format!("key{number}"))
        .find(|key| types::shard_of(key.as_bytes(), 5) != types::shard_of(b"{a}", 5));
    let refused = call(&mut cluster, NodeId(1), "wide", put_leased(&elsewhere.expect("there is one"), id));
    assert_eq!(refused.expect_err("it is in another shard").code, ErrorCode::InvalidArgument);
}

#[test]
fn what_only_a_leader_can_answer_needs_one_whatever_the_contract_says_of_reads() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let contract = Contract { read: contract::Read::Bounded(5_000), ..Contract::default() };
    call(&mut cluster, leader, "near", Op::Catalog(CatalogOp::Create(contract))).expect("it can be kept");
    let grant =
        Op::Command(Command::Lease(LeaseCommand::Grant { id: None, ttl_ms: TTL_MS, beside: Vec::new() }));
    let ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { id, .. })) =
        call(&mut cluster, leader, "near", grant).expect("there is a leader").body
    else {
        panic!("no lease")
    };
    let alone = others(leader)[0];
    cluster.isolate(alone);
    cluster.run_ms(2_000);
    let refused = call(&mut cluster, alone, "near", keep_alive(id)).expect_err("nobody leads it");
    assert_eq!(refused.code, ErrorCode::NoQuorum);
}
