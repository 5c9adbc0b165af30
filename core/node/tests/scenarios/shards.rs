//! Keyspaces of several shards: each key is in one, wherever it is asked for; listings show all.

use keyspace::{Command, Expect, KeyRange, Outcome, Query, QueryAnswer, Txn, TxnOp, TxnOutcome};
use node::{CatalogOp, Op, ReplyBody};
use types::{Contract, ErrorCode, Limits, NodeId, shard_of};

use super::keyspaces::call;
use crate::cluster::Cluster;

const SHARDS: u32 = 5;

fn put(key: &str) -> Op {
    let (key, value) = (key.as_bytes().to_vec(), b"v".to_vec());
    Op::Command(Command::Put { key, value, expect: Expect::Anything, lease: None })
}

fn txn(keys: &[&str]) -> Op {
    let then = keys.iter().map(|key| TxnOp::Increment { key: key.as_bytes().to_vec(), by: 1 }).collect();
    Op::from(Txn { then, ..Txn::default() })
}

fn sharded() -> Cluster {
    let mut cluster = Cluster::new(3, Limits::default());
    let at = cluster.elect();
    let contract = Contract { shards: SHARDS, ..Contract::default() };
    call(&mut cluster, at, "wide", Op::Catalog(CatalogOp::Create(contract))).expect("it can be kept");
    cluster
}

#[test]
fn every_key_is_in_its_shard_on_every_node() {
    let mut cluster = sharded();
    for number in 0..40 {
        let node = NodeId(number % 3);
        call(&mut cluster, node, "wide", put(&format!("key{number}"))).expect("there is a leader");
    }
    cluster.run_ms(200);
    for node in (0..3).map(NodeId) {
        let groups = cluster.machines[&node].node.keyspace_groups("wide").expect("it exists");
        assert_eq!(groups.len(), SHARDS as usize);
        for (shard, group) in (0..).zip(groups) {
            let here = (0..40).filter(|number| shard_of(format!("key{number}").as_bytes(), SHARDS) == shard);
            assert_eq!(cluster.machines[&node].node.group_state(group).keys, here.count() as u64);
        }
    }
}

#[test]
fn a_listing_shows_all_shards_page_by_page() {
    let mut cluster = sharded();
    let mut keys: Vec<String> = (0..40).map(|number| format!("key{number}")).collect();
    for key in &keys {
        call(&mut cluster, NodeId(0), "wide", put(key)).expect("there is a leader");
    }
    keys.sort();
    let (mut found, mut start) = (Vec::new(), Vec::new());
    loop {
        let range = KeyRange { start, end: None };
        let query = Query::Range { range, limit: 7, keys_only: true };
        let reply = call(&mut cluster, NodeId(1), "wide", Op::Query(query)).expect("there are leaders");
        assert_eq!((reply.receipt.shards, reply.receipt.revision), (Some(SHARDS), None));
        let ReplyBody::Answer(QueryAnswer::Range { items, next, .. }) = reply.body else {
            panic!("{reply:?}")
        };
        assert!((1..=7).contains(&items.len()));
        found.extend(items.into_iter().map(|item| String::from_utf8(item.key).expect("it is text")));
        match next {
            Some(next) => start = next,
            None => break,
        }
    }
    assert_eq!(found, keys);
}

#[test]
fn a_transaction_is_of_one_shard() {
    let mut cluster = sharded();
    let done = call(&mut cluster, NodeId(2), "wide", txn(&["{7}/a", "{7}/b"])).expect("they have one tag");
    let ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Done { succeeded, .. })) = done.body else {
        panic!("{done:?}")
    };
    assert!(succeeded);
    let other = (0..)
        .map(|number| format!("x{number}"))
        .find(|key| shard_of(key.as_bytes(), SHARDS) != shard_of(b"x0", SHARDS));
    let refused = call(&mut cluster, NodeId(2), "wide", txn(&["x0", &other.expect("keys are spread")]));
    let refused = refused.expect_err("they are in two shards");
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    assert!(refused.next_step.contains("tag"), "{refused:?}");
}

#[test]
fn a_restart_finds_all_shards_again() {
    let mut cluster = sharded();
    for number in 0..20 {
        call(&mut cluster, NodeId(0), "wide", put(&format!("key{number}"))).expect("there is a leader");
    }
    for node in (0..3).map(NodeId) {
        let files = cluster.kill(node);
        cluster.boot(node, files);
    }
    cluster.elect();
    cluster.run_ms(3_000);
    let query = Query::Range { range: KeyRange::default(), limit: 100, keys_only: true };
    let reply = call(&mut cluster, NodeId(1), "wide", Op::Query(query)).expect("there are leaders");
    let ReplyBody::Answer(QueryAnswer::Range { items, .. }) = reply.body else { panic!("{reply:?}") };
    assert_eq!(items.len(), 20);
}
