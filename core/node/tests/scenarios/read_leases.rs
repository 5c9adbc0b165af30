//! Strong reads by the leader's lease: which keyspaces have them, what their receipts say, and when there are none.

use keyspace::QueryAnswer;
use node::{Altered, CatalogOp, Op, Reply, ReplyBody};
use types::{
    Contract, Guarantee, Limits, NodeId, ReadLease, Role,
    contract::Changes,
    limits::{READ_LEASE_DRIFT, VOTE_REFUSAL_MS},
};

use super::keyspaces::{another, call, created};
use crate::cluster::{Cluster, get, put};

fn create(lease_reads: bool) -> Op {
    Op::Catalog(CatalogOp::Create(Contract { lease_reads, ..Contract::default() }))
}

fn change(lease_reads: bool) -> Op {
    let changes: Changes =
        serde_json::from_str(&format!(r#"{{"lease_reads":{lease_reads}}}"#)).expect("a change");
    Op::Catalog(CatalogOp::Alter { to: Altered::But(changes), version: None })
}

/// A cluster with a keyspace "quotes", and the leader of its group.
fn cluster(lease_reads: bool) -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(3, Limits::default());
    cluster.elect();
    created(call(&mut cluster, NodeId(0), "quotes", create(lease_reads)));
    cluster.run_ms(1_500);
    let leader = leader(&cluster).expect("somebody leads");
    call(&mut cluster, leader, "quotes", put("k", "v")).expect("it is written");
    (cluster, leader)
}

fn leader(cluster: &Cluster) -> Option<NodeId> {
    let group = cluster.machines.values().next()?.node.keyspace_group("quotes").ok()?;
    let leads = |node: &NodeId| {
        cluster.machines[node].node.raft(group).is_some_and(|raft| raft.role() == Role::Leader)
    };
    let term = |node: &NodeId| cluster.machines[node].node.raft(group).map(raft_group::RaftGroup::term);
    cluster.machines.keys().copied().filter(leads).max_by_key(term)
}

fn read(cluster: &mut Cluster, at: NodeId) -> Reply {
    call(cluster, at, "quotes", get("k")).expect("it is read")
}

/// Lets so much time pass that no lease is left.
fn outlive(cluster: &mut Cluster) {
    cluster.run_ms(VOTE_REFUSAL_MS + 40);
}

#[test]
fn the_first_read_asks_a_majority_and_those_after_it_nobody() {
    let (mut cluster, leader) = cluster(true);
    outlive(&mut cluster);
    let first = read(&mut cluster, leader);
    assert_eq!(first.receipt.read_lease, None);
    assert_eq!((first.receipt.acks.required, first.receipt.acks.got), (2, 2));
    cluster.isolate(leader);
    let second = read(&mut cluster, leader);
    let surely_ms = VOTE_REFUSAL_MS - 1;
    let left_ms = surely_ms - surely_ms.div_ceil(READ_LEASE_DRIFT);
    let lease = ReadLease { left_ms, clock_drift_percent_max: 10 };
    assert_eq!(second.receipt.read_lease, Some(lease));
    assert_eq!((second.receipt.acks.required, second.receipt.acks.got, second.receipt.acks.of), (0, 0, 3));
    assert_eq!(second.receipt.delivered, Guarantee::Linearizable);
    assert_eq!((second.receipt.served_by, second.receipt.role), (leader, Role::Leader));
    assert!(matches!(second.body, ReplyBody::Answer(QueryAnswer::Get { row: Some(_), .. })));
}

#[test]
fn a_contract_that_does_not_say_so_has_none() {
    let (mut cluster, leader) = cluster(false);
    for _ in 0..3 {
        let reply = read(&mut cluster, leader);
        assert_eq!((reply.receipt.read_lease, reply.receipt.acks.got), (None, 2));
    }
}

#[test]
fn a_read_that_is_passed_on_is_answered_by_the_lease_too() {
    let (mut cluster, leader) = cluster(true);
    read(&mut cluster, leader);
    let reply = read(&mut cluster, another(leader));
    assert!(reply.receipt.read_lease.is_some());
    assert_eq!(reply.receipt.served_by, leader);
}

#[test]
fn a_leader_that_is_cut_off_stops_when_its_lease_ends() {
    let (mut cluster, leader) = cluster(true);
    read(&mut cluster, leader);
    cluster.isolate(leader);
    let mut by_lease = 0;
    for _ in 0..50 {
        let token = cluster.ask_keyspace(leader, "quotes", get("k"), 100);
        by_lease += u64::from(matches!(cluster.answer(leader, token), Some(Ok(_))));
        cluster.run_ms(20);
    }
    assert_eq!(by_lease, VOTE_REFUSAL_MS.div_ceil(20) - 1, "one every 20 ms for 323 ms");
}

/// Reads keep the lease: with a read every 20 ms, none after the first waits for a round.
#[test]
fn reads_renew_the_lease_before_it_ends() {
    let (mut cluster, leader) = cluster(true);
    read(&mut cluster, leader);
    let rounds = cluster.sent.len();
    for _ in 0..100 {
        assert!(read(&mut cluster, leader).receipt.read_lease.is_some());
        cluster.run_ms(20);
    }
    assert_eq!(cluster.sent.len(), rounds, "nothing but consensus was sent");
    outlive(&mut cluster);
    assert_eq!(read(&mut cluster, leader).receipt.read_lease, None, "nobody renews what nobody reads");
}

#[test]
fn what_counts_the_time_of_leases_asks_a_majority() {
    let (mut cluster, leader) = cluster(true);
    let grant = Op::Command(keyspace::Command::Lease(keyspace::LeaseCommand::Grant {
        id: None,
        ttl_ms: 10_000,
        beside: Vec::new(),
    }));
    let granted = call(&mut cluster, leader, "quotes", grant).expect("it is granted");
    let ReplyBody::Outcome(keyspace::Outcome::Lease(keyspace::LeaseOutcome::Granted { id, .. })) =
        granted.body
    else {
        panic!("not the answer to a grant: {granted:?}")
    };
    read(&mut cluster, leader);
    let keep_alive = Op::Query(keyspace::Query::Lease(keyspace::LeaseQuery::KeepAlive { id }));
    let kept = call(&mut cluster, leader, "quotes", keep_alive).expect("it lives");
    assert_eq!((kept.receipt.read_lease, kept.receipt.acks.got), (None, 2));
}

#[test]
fn the_contract_changes_while_the_keyspace_serves() {
    let (mut cluster, leader) = cluster(false);
    call(&mut cluster, leader, "quotes", change(true)).expect("it is altered");
    cluster.run_ms(200);
    read(&mut cluster, leader);
    assert!(read(&mut cluster, leader).receipt.read_lease.is_some());
    call(&mut cluster, leader, "quotes", change(false)).expect("it is altered");
    cluster.run_ms(200);
    read(&mut cluster, leader);
    assert_eq!(read(&mut cluster, leader).receipt.read_lease, None);
}

/// A full disk makes the leader hand over: from then on it asks, whatever lease it had.
#[test]
fn a_leader_that_hands_over_has_no_lease() {
    let (mut cluster, leader) = cluster(true);
    read(&mut cluster, leader);
    // Nobody hears of it.
    cluster.isolate(leader);
    assert!(read(&mut cluster, leader).receipt.read_lease.is_some());
    cluster.log_space(leader, false);
    cluster.run_ms(20);
    let token = cluster.ask_keyspace(leader, "quotes", get("k"), 100);
    assert_eq!(cluster.answer(leader, token), None);
}
