//! Watches: what they are told, when they wait, and when they end.

use keyspace::{Command, Keys, Query, QueryAnswer, history::Revision, prefix_range};
use node::{CatalogOp, Input, Op, ReplyBody, WatchEvent, WatchRequest};
use types::{Contract, ErrorCode, Limits, NodeId, Problem, limits::WATCH_BUFFER_BYTES_MAX};

use super::keyspaces::call;
use crate::cluster::{Cluster, get, put};

fn of_prefix(prefix: &str, from: Option<u64>) -> WatchRequest {
    WatchRequest {
        keyspace: "default".into(),
        keys: Keys::Range(prefix_range(prefix.as_bytes())),
        shard: None,
        from,
        prev: true,
        session: Default::default(),
    }
}

impl Cluster {
    fn tell(&mut self, at: NodeId, input: Input) {
        let machine = self.machines.get_mut(&at).expect("it runs");
        machine.node.handle(self.now, input).expect("no node fails");
        self.settle();
    }

    fn watch(&mut self, at: NodeId, token: u64, request: WatchRequest) {
        self.tell(at, Input::Watch { token, request });
    }

    fn told(&self, at: NodeId, token: u64) -> &[WatchEvent] {
        self.machines[&at].watched.get(&token).map_or(&[], Vec::as_slice)
    }

    /// The revisions told, with their keys.
    fn changes(&self, at: NodeId, token: u64) -> Vec<(u64, String)> {
        let keys = |revision: &Revision| -> Vec<String> {
            revision.events.iter().map(|event| String::from_utf8_lossy(&event.key).into_owned()).collect()
        };
        let changed = self.told(at, token).iter().filter_map(|event| match event {
            WatchEvent::Changed(revision) => Some((revision.revision, keys(revision).join(" "))),
            _ => None,
        });
        changed.collect()
    }

    fn started(&self, at: NodeId, token: u64) -> Option<u64> {
        match self.told(at, token).first() {
            Some(WatchEvent::Started { from, .. }) => Some(*from),
            _ => None,
        }
    }

    fn ended(&self, at: NodeId, token: u64) -> Option<&Problem> {
        match self.told(at, token).last() {
            Some(WatchEvent::Ended(problem)) => Some(problem),
            _ => None,
        }
    }

    fn other_than(&self, leader: NodeId) -> NodeId {
        (0..3).map(NodeId).find(|node| *node != leader).expect("there are three")
    }
}

fn pairs(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(revision, keys)| (*revision, (*keys).to_owned())).collect()
}

#[test]
fn every_replica_tells_what_it_applies_from_any_revision() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let follower = cluster.other_than(leader);
    for (key, value) in [("a/1", "1"), ("b/1", "1"), ("a/1", "2")] {
        cluster.call(leader, put(key, value)).unwrap();
    }
    cluster.run_ms(200);
    for node in [leader, follower] {
        cluster.watch(node, 1, of_prefix("a/", Some(1)));
        cluster.watch(node, 2, of_prefix("a/", None));
        assert_eq!((cluster.started(node, 1), cluster.started(node, 2)), (Some(1), Some(4)));
        assert_eq!(cluster.changes(node, 1), pairs(&[(1, "a/1"), (3, "a/1")]));
        assert_eq!(cluster.changes(node, 2), []);
    }
    cluster.call(follower, put("a/2", "3")).unwrap();
    cluster.run_ms(200);
    for node in [leader, follower] {
        assert_eq!(cluster.changes(node, 1), pairs(&[(1, "a/1"), (3, "a/1"), (4, "a/2")]));
        assert_eq!(cluster.changes(node, 2), pairs(&[(4, "a/2")]));
        let Some(WatchEvent::Changed(third)) = cluster.told(node, 1).get(2) else {
            panic!("the third revision")
        };
        let event = &third.events[0];
        assert_eq!(event.put.as_ref().unwrap().value, "2");
        assert_eq!((event.prev_revision, &event.prev.as_ref().unwrap().value[..]), (1, &b"1"[..]));
        cluster.tell(node, Input::Unwatch { token: 1 });
    }
    cluster.call(leader, put("a/3", "4")).unwrap();
    assert_eq!(cluster.changes(leader, 1).len(), 3, "nobody listens any more");
    assert_eq!(cluster.changes(leader, 2).len(), 2);
}

#[test]
fn a_watch_hears_that_others_changes_are_complete() {
    let mut cluster = Cluster::new(1, Limits::default());
    let leader = cluster.elect();
    cluster.watch(leader, 1, of_prefix("a/", None));
    for _ in 0..5 {
        cluster.call(leader, put("b/1", "1")).unwrap();
    }
    cluster.run_ms(1_500);
    let progress: Vec<u64> = (cluster.told(leader, 1).iter())
        .filter_map(|event| if let WatchEvent::Progress(revision) = event { Some(*revision) } else { None })
        .collect();
    assert_eq!(progress.last(), Some(&5));
    assert!(progress.len() <= 2, "once a second is enough: {progress:?}");
    cluster.run_ms(5_000);
    assert_eq!(cluster.told(leader, 1).len(), progress.len() + 1, "nothing new is nothing to tell");
}

#[test]
fn a_replica_that_is_behind_lets_a_resumed_watch_wait() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let behind = cluster.other_than(leader);
    cluster.call(leader, put("a/1", "1")).unwrap();
    cluster.run_ms(200);
    cluster.isolate(behind);
    for value in ["2", "3"] {
        cluster.call(leader, put("a/1", value)).unwrap();
    }
    cluster.watch(behind, 1, of_prefix("a/", Some(3)));
    let group = cluster.group();
    let index = cluster.machines[&leader].node.group_state(group).applied_index;
    let mut session = types::SessionToken::default();
    session.see(group, index);
    cluster.watch(behind, 2, WatchRequest { session, ..of_prefix("a/", None) });
    cluster.run_ms(200);
    assert_eq!(cluster.changes(behind, 1), []);
    assert_eq!(cluster.started(behind, 2), None, "the session has seen more than this replica");
    cluster.cut.clear();
    cluster.run_ms(3_000);
    cluster.call(behind, put("a/1", "4")).unwrap();
    cluster.run_ms(200);
    assert_eq!(cluster.changes(behind, 1), pairs(&[(3, "a/1"), (4, "a/1")]));
    assert_eq!(cluster.changes(behind, 2), pairs(&[(4, "a/1")]));
}

#[test]
fn a_client_that_takes_nothing_is_kept_at_its_position() {
    let mut cluster = Cluster::new(1, Limits::default());
    let leader = cluster.elect();
    cluster.watch(leader, 1, of_prefix("a/", Some(1)));
    let value = "x".repeat(1_000);
    for number in 0..1_000 {
        cluster.call(leader, put(&format!("a/{number}"), &value)).unwrap();
    }
    let told: u64 = cluster.told(leader, 1).iter().map(WatchEvent::bytes).sum();
    assert!(told <= WATCH_BUFFER_BYTES_MAX + 2_000, "{told} bytes");
    let mut taken = 0;
    for _ in 0..100 {
        let told: u64 = cluster.told(leader, 1)[taken..].iter().map(WatchEvent::bytes).sum();
        taken = cluster.told(leader, 1).len();
        cluster.tell(leader, Input::WatchCredit { token: 1, bytes: told });
    }
    let expected: Vec<_> = (0..1_000).map(|number| (number + 1, format!("a/{number}"))).collect();
    assert_eq!(cluster.changes(leader, 1), expected);
}

#[test]
fn a_watch_below_the_floor_ends_truthfully_and_what_is_below_is_reclaimed() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    for number in 0..600 {
        cluster.call(leader, put("a/1", &number.to_string())).unwrap();
    }
    cluster.watch(leader, 1, of_prefix("a/", Some(1)));
    cluster.call(leader, Op::Command(Command::Compact { revision: 590, shard: None })).unwrap();
    cluster.run_ms(1_000);
    let problem = cluster.ended(leader, 1).expect("its position is below the floor");
    assert_eq!((problem.code, problem.oldest_revision), (ErrorCode::Compacted, Some(591)));
    let told = cluster.changes(leader, 1);
    let expected: Vec<_> = (1..=told.len() as u64).map(|revision| (revision, "a/1".to_owned())).collect();
    assert_eq!(told, expected, "what it was told before is whole");
    for node in (0..3).map(NodeId) {
        cluster.watch(node, 2, of_prefix("a/", Some(590)));
        assert_eq!(cluster.ended(node, 2).map(|problem| problem.code), Some(ErrorCode::Compacted));
        cluster.watch(node, 3, of_prefix("a/", Some(591)));
        assert_eq!(cluster.changes(node, 3).len(), 10);
    }
    // Above the floor: ten events, and the nine versions before them that are not the floor's own, and that one.
    let rows = rows_of_history(&cluster, leader);
    assert_eq!(rows, (10, 10));
    let at = |revision| {
        let query = Box::new(Query::Get { key: b"a/1".to_vec() });
        Op::Query(Query::At { revision, query })
    };
    let ReplyBody::Answer(QueryAnswer::Get { row: Some(row), .. }) =
        cluster.call(leader, at(590)).unwrap().body
    else {
        panic!("the floor itself can be read");
    };
    assert_eq!(row.value, b"589");
    let refused = cluster.call(leader, at(589)).unwrap().body;
    assert!(matches!(refused, ReplyBody::Answer(QueryAnswer::NotReadable(_))));
}

/// Events and versions that a node's store holds.
fn rows_of_history(cluster: &Cluster, node: NodeId) -> (u64, u64) {
    cluster.machines[&node].node.history_records(cluster.group()).expect("the store can be read")
}

#[test]
fn history_lives_as_long_as_the_contract_says_and_no_longer() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let contract = Contract { history_ttl_s: 20, ..Contract::default() };
    call(&mut cluster, leader, "short", Op::Catalog(CatalogOp::Create(contract))).unwrap();
    let request = |from| WatchRequest { keyspace: "short".into(), ..of_prefix("a/", Some(from)) };
    call(&mut cluster, leader, "short", put("a/1", "1")).unwrap();
    call(&mut cluster, leader, "short", put("a/1", "2")).unwrap();
    let written_ms = cluster.now.mono_ms;
    cluster.run_ms(19_900 - (cluster.now.mono_ms - written_ms));
    cluster.watch(leader, 1, request(1));
    assert_eq!(cluster.changes(leader, 1).len(), 2);
    // The age is measured in parts of the whole.
    cluster.run_ms(20_000 / 16);
    let group = cluster.machines[&leader].node.keyspace_group("short").unwrap();
    assert_eq!(cluster.machines[&leader].node.history_records(group), Ok((0, 0)));
    cluster.watch(leader, 2, request(2));
    assert_eq!(cluster.ended(leader, 2).map(|problem| problem.code), Some(ErrorCode::Compacted));
    assert!(cluster.ended(leader, 1).is_none(), "it has been told all that is compacted");
    call(&mut cluster, leader, "short", get("a/1")).unwrap();
}

#[test]
fn history_is_bounded_in_revisions_too() {
    let limits = Limits { history_revisions_max: 100, ..Limits::default() };
    let mut cluster = Cluster::new(1, limits);
    let leader = cluster.elect();
    for number in 0..400 {
        cluster.call(leader, put("a/1", &number.to_string())).unwrap();
    }
    cluster.run_ms(1_000);
    let (events, versions) = rows_of_history(&cluster, leader);
    assert!((100..=107).contains(&events), "{events} events");
    assert_eq!(versions, events);
    cluster.watch(leader, 1, of_prefix("a/", Some(301)));
    assert_eq!(cluster.changes(leader, 1).len(), 100);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let mut cluster = Cluster::new(1, Limits { watchers_max: 1, ..Limits::default() });
    let leader = cluster.elect();
    let elsewhere = WatchRequest { keyspace: "nowhere".into(), ..of_prefix("", None) };
    let of_shard = WatchRequest { shard: Some(1), ..of_prefix("", None) };
    let reserved = WatchRequest { keys: Keys::One(vec![0xff; 9]), ..of_prefix("", None) };
    for (request, code) in [
        (elsewhere, ErrorCode::KeyspaceNotFound),
        (of_shard, ErrorCode::InvalidArgument),
        (reserved, ErrorCode::InvalidArgument),
        (of_prefix("", Some(0)), ErrorCode::InvalidArgument),
    ] {
        cluster.watch(leader, 1, request);
        assert_eq!(cluster.ended(leader, 1).map(|problem| problem.code), Some(code));
    }
    cluster.watch(leader, 2, of_prefix("", None));
    cluster.watch(leader, 3, of_prefix("", None));
    assert_eq!(cluster.ended(leader, 3).map(|problem| problem.code), Some(ErrorCode::Overloaded));
    cluster.tell(leader, Input::Unwatch { token: 2 });
    cluster.watch(leader, 4, of_prefix("", None));
    assert!(cluster.started(leader, 4).is_some());
}

#[test]
fn a_snapshot_brings_the_history_and_watches_go_on() {
    let limits = Limits {
        segment_bytes: 64 * 1024,
        log_bytes_per_checkpoint: 1,
        log_cache_bytes_max: 16 * 1024,
        ..Limits::default()
    };
    let mut cluster = Cluster::new(3, limits);
    let leader = cluster.elect();
    let lagging = cluster.other_than(leader);
    cluster.call(leader, put("a/0", "1")).unwrap();
    cluster.run_ms(200);
    cluster.watch(lagging, 1, of_prefix("a/", Some(1)));
    cluster.isolate(lagging);
    for number in 0..200 {
        cluster.call(leader, put(&format!("a/{}", number % 7), &"x".repeat(600))).unwrap();
    }
    cluster.cut.clear();
    cluster.run_ms(10_000);
    let group = cluster.group();
    let state = |node| cluster.machines[&node].node.group_state(group);
    assert_eq!(state(lagging), state(leader));
    for _ in 0..20 {
        cluster.tell(lagging, Input::WatchCredit { token: 1, bytes: WATCH_BUFFER_BYTES_MAX });
    }
    let told: Vec<u64> = cluster.changes(lagging, 1).into_iter().map(|(revision, _)| revision).collect();
    assert_eq!(told, (1..=201).collect::<Vec<_>>());
}
