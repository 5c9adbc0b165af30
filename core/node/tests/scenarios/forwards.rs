//! Forwarded requests when the network repeats and delays, leaders change, and nodes restart.

use crate::cluster::{Cluster, get, put};
use keyspace::Outcome;
use node::{Input, ReplyBody};
use types::{Applied, ErrorCode, Limits, NodeId};
use wire::{
    PeerBody, PeerMessage,
    message::{Forward, ForwardReply},
};

/// A cluster with its leader and two others.
fn cluster() -> (Cluster, NodeId, NodeId, NodeId) {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.elect();
    let mut others = (0..3).map(NodeId).filter(|node| *node != leader);
    let (one, two) = (others.next().expect("there are three"), others.next().expect("there are three"));
    cluster.sent.clear();
    (cluster, leader, one, two)
}

fn forwards(cluster: &Cluster, from: NodeId) -> Vec<(NodeId, PeerMessage, Forward)> {
    let sent = cluster.sent.iter().filter(|(sender, ..)| *sender == from);
    sent.filter_map(|(_, to, message)| match &message.body {
        Some(PeerBody::Forward(forward)) => Some((*to, message.clone(), forward.clone())),
        _ => None,
    })
    .collect()
}

/// The revision at which one more write ends: one more than the writes that were carried out.
fn revision_of_next(cluster: &mut Cluster, at: NodeId) -> u64 {
    match cluster.call(at, put("next", "v")).expect("the write succeeds").body {
        ReplyBody::Outcome(Outcome::Put { revision, .. }) => revision,
        other => panic!("not the outcome of a put: {other:?}"),
    }
}

#[test]
fn a_copy_that_comes_after_its_leader_was_deposed_is_not_refused() {
    let (mut cluster, old, asker, _) = cluster();
    cluster.cut.insert((old, asker));
    let token = cluster.ask(asker, put("k", "v"), 20_000);
    cluster.isolate(old);
    cluster.run_ms(4_000);
    cluster.cut.clear();
    cluster.run_ms(500);
    assert!(cluster.leader().is_some_and(|leader| leader != old));

    let (to, copy, _) = forwards(&cluster, asker).remove(0);
    assert_eq!(to, old);
    cluster.inject(asker, old, copy);
    cluster.run_ms(1_000);
    assert_eq!(cluster.answer(asker, token), None, "nothing that is known now answers it");
    cluster.run_ms(20_000);
    let problem = cluster.answer(asker, token).expect("its deadline passed").clone().expect_err("unanswered");
    assert_eq!(problem.applied, Applied::Unknown);
    assert_eq!(revision_of_next(&mut cluster, asker), 2, "it was carried out twice");
}

#[test]
fn a_write_that_was_forwarded_is_answered_when_its_node_is_alone() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((leader, asker));
    let token = cluster.ask(asker, put("k", "v"), 20_000);
    cluster.isolate(asker);
    cluster.run_ms(1_000);
    assert_eq!(cluster.answer(asker, token), None, "a leader may yet be heard of");
    cluster.run_ms(2_800);
    let problem = cluster.answer(asker, token).expect("nobody leads here").clone().expect_err("unanswered");
    assert_eq!((problem.code, problem.applied), (ErrorCode::NoQuorum, Applied::Unknown));
    cluster.cut.clear();
    cluster.run_ms(1_000);
    assert_eq!(revision_of_next(&mut cluster, asker), 2, "it was carried out, as may happen");
}

#[test]
fn a_copy_that_comes_after_its_leader_restarted_is_not_refused_as_if_nothing_had_happened() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((leader, asker));
    let token = cluster.ask(asker, put("k", "v"), 20_000);
    cluster.run_ms(100);
    let files = cluster.machines.remove(&leader).expect("it runs").files;
    cluster.cut.clear();
    cluster.boot(leader, files);
    cluster.elect();
    let (_, copy, _) = forwards(&cluster, asker).remove(0);
    cluster.inject(asker, leader, copy);
    cluster.settle();
    let problem =
        cluster.answer(asker, token).expect("it is told at once").clone().expect_err("it cannot know");
    assert_eq!((problem.code, problem.applied), (ErrorCode::Unavailable, Applied::Unknown));
    assert_eq!(revision_of_next(&mut cluster, asker), 2, "it was carried out twice");
}

#[test]
fn a_late_refusal_of_one_try_does_not_answer_the_next() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((asker, leader));
    let token = cluster.ask(asker, put("k", "v"), 3_000);
    // A refusal in the leader's own words, to a request of another term.
    let (_, message, first) = forwards(&cluster, asker).remove(0);
    let stale = Forward { id: first.id + 1_000, term: first.term + 1, ..first.clone() };
    cluster.inject(asker, leader, PeerMessage { body: Some(PeerBody::Forward(stale)), ..message });
    cluster.settle();
    let refusal = cluster.sent.iter().find_map(|(from, _, message)| match &message.body {
        Some(PeerBody::ForwardReply(reply)) if *from == leader => Some(reply.clone()),
        _ => None,
    });
    let refusal = ForwardReply { id: first.id, ..refusal.expect("it was refused") };
    let refusal = PeerMessage { group: 1, body: Some(PeerBody::ForwardReply(refusal)), ..Default::default() };

    cluster.inject(leader, asker, refusal.clone());
    cluster.run_ms(100);
    assert_eq!(forwards(&cluster, asker).len(), 2, "it was tried again");
    cluster.inject(leader, asker, refusal);
    cluster.run_ms(100);
    assert_eq!(forwards(&cluster, asker).len(), 2, "the second try has no answer yet");
    cluster.run_ms(3_000);
    let problem = cluster.answer(asker, token).expect("its deadline passed").clone().expect_err("unanswered");
    assert_eq!(problem.applied, Applied::Unknown);
}

#[test]
fn a_read_is_asked_again_when_the_connection_is_lost() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((leader, asker));
    let token = cluster.ask(asker, get("k"), 5_000);
    let asking = &mut cluster.machines.get_mut(&asker).expect("it runs").node;
    asking.handle(cluster.now, Input::PeerDown(leader)).expect("no node fails");
    cluster.cut.clear();
    cluster.run_ms(300);
    assert!(cluster.answer(asker, token).expect("it is answered at once").is_ok());
}

#[test]
fn a_read_at_a_leader_that_vanished_is_asked_of_the_next() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.isolate(leader);
    let token = cluster.ask(asker, get("k"), 10_000);
    cluster.run_ms(4_000);
    assert!(cluster.answer(asker, token).expect("the next leader answers").is_ok());
}

#[test]
fn requests_wait_for_the_next_leader_when_the_connection_to_the_last_is_known_to_be_lost() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.kill(leader);
    let token = cluster.ask(asker, put("k", "v"), 10_000);
    cluster.run_ms(4_000);
    assert!(cluster.answer(asker, token).expect("the next leader answers").is_ok());
}

#[test]
fn a_request_that_comes_too_late_leaves_no_trace() {
    let (mut cluster, leader, ..) = cluster();
    for timeout_ms in [0, 1, 40] {
        let token = cluster.ask(leader, put("late", "v"), timeout_ms);
        let problem =
            cluster.answer(leader, token).expect("it is refused at once").clone().expect_err("too late");
        assert_eq!((problem.code, problem.applied), (ErrorCode::DeadlineExceeded, Applied::NotApplied));
    }
    assert_eq!(revision_of_next(&mut cluster, leader), 1);
}

#[test]
fn no_number_that_a_peer_names_stops_the_node() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((asker, leader));
    cluster.ask(asker, put("k", "v"), 5_000);
    let (_, message, first) = forwards(&cluster, asker).remove(0);
    let most = Forward { id: u64::MAX, timeout_ms: u64::MAX, attempt: u32::MAX, ..first };
    for id in [u64::MAX, 0, u64::MAX - 1] {
        let body = Some(PeerBody::Forward(Forward { id, ..most.clone() }));
        cluster.inject(asker, leader, PeerMessage { body, ..message.clone() });
    }
    cluster.isolate(leader);
    cluster.run_ms(3_000);
    cluster.cut.clear();
    cluster.run_ms(1_000);
    assert!(cluster.call(leader, put("k", "w")).is_ok());
}

#[test]
fn a_read_whose_answer_is_lost_is_asked_again_soon_and_a_write_is_not() {
    let (mut cluster, leader, asker, _) = cluster();
    cluster.cut.insert((leader, asker));
    let read = cluster.ask(asker, get("k"), 5_000);
    let write = cluster.ask(asker, put("k", "v"), 5_000);
    cluster.cut.clear();
    cluster.run_ms(1_100);
    let reply = cluster.answer(asker, read).expect("asked again after a second").clone();
    assert_eq!(reply.expect("it is read").receipt.attempts, 2);
    assert_eq!(cluster.answer(asker, write), None, "its answer is lost, and it may not be repeated");
    assert_eq!(forwards(&cluster, asker).len(), 3, "the read twice, the write once");
    cluster.run_ms(4_000);
    let unknown = cluster.answer(asker, write).expect("its deadline passed").clone().expect_err("lost");
    assert_eq!(unknown.applied, Applied::Unknown);
    assert_eq!(revision_of_next(&mut cluster, asker), 2);
}
