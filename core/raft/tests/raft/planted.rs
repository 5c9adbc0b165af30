//! Each planted bug breaks what it is meant to break, and the cluster's invariants see it.

use crate::{
    cluster::{Cluster, Envelope, Setup},
    scripts,
};
use raft_group::Planted;
use wire::message::RaftKind;

fn planted(planted: Option<Planted>) -> Cluster {
    Cluster::new(Setup { planted, ..Setup::default() })
}

fn deliver(cluster: &mut Cluster, kind: RaftKind, from: u64, to: u64) {
    let matches = |e: &mut Envelope| e.message.kind() == kind && e.from == from && e.to == to;
    for envelope in cluster.network.extract_if(.., matches).collect::<Vec<_>>() {
        let _ = cluster.deliver(envelope);
    }
}

/// A follower acknowledges, crashes before its write, and helps to elect a leader without the entry.
fn lose_an_acknowledged_entry(bug: Option<Planted>) -> Cluster {
    let mut cluster = planted(bug);
    cluster.elect(0);
    cluster.propose(0, &["a"]).unwrap();
    deliver(&mut cluster, RaftKind::Append, 0, 1);
    deliver(&mut cluster, RaftKind::AppendResponse, 1, 0);
    while cluster.persist_one(0) {}
    cluster.network.clear();
    for node in [0, 1] {
        cluster.crash(node);
    }
    cluster.start(1);
    for _ in 0..10 {
        cluster.tick(1);
    }
    cluster.elect(2);
    if cluster.group(2).leader().is_some() {
        let _ = cluster.propose(2, &["b"]);
        cluster.settle();
    }
    cluster
}

#[test]
fn acknowledging_before_fsync_loses_a_committed_entry() {
    assert_eq!(lose_an_acknowledged_entry(None).violation, None);
    let violation = lose_an_acknowledged_entry(Some(Planted::AckBeforeFsync)).violation;
    assert!(violation.is_some());
}

/// A voter crashes after its vote left, and votes again in the same term.
fn vote_twice(bug: Option<Planted>) -> Cluster {
    let mut cluster = planted(bug);
    for node in [1, 2] {
        for _ in 0..20 {
            cluster.tick(node);
        }
    }
    for (from, to) in [(1, 2), (2, 1)] {
        deliver(&mut cluster, RaftKind::RequestPreVote, from, to);
    }
    for (from, to) in [(1, 2), (2, 1)] {
        deliver(&mut cluster, RaftKind::RequestPreVoteResponse, from, to);
    }
    for candidate in [1, 2] {
        while cluster.persist_one(candidate) {}
    }
    for candidate in [1, 2] {
        deliver(&mut cluster, RaftKind::RequestVote, candidate, 0);
        while cluster.persist_one(0) {}
        deliver(&mut cluster, RaftKind::RequestVoteResponse, 0, candidate);
        cluster.crash(0);
        cluster.start(0);
        // Just started it would refuse.
        cluster.members[0].now_ms += cluster.setup.vote_refusal_ms;
    }
    cluster
}

#[test]
fn a_vote_not_persisted_elects_two_leaders() {
    assert_eq!(vote_twice(None).violation, None);
    assert_eq!(
        vote_twice(Some(Planted::VoteNotPersisted)).violation.as_deref(),
        Some("nodes 1 and 2 both lead term 1")
    );
}

/// Runs a script of `testdata/`; answers the first line that it prints otherwise with the bug.
fn differs(script: &str, bug: Planted) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(script);
    let text = std::fs::read_to_string(path).unwrap();
    let printed = scripts::run(&text, Setup { planted: Some(bug), ..Setup::default() });
    let mut lines = printed.lines().zip(text.lines());
    let (line, _) = lines.find(|(printed, text)| printed != text).expect("the bug was not noticed");
    line.to_owned()
}

/// Thesis, figure 3.7: the entry of term 1 is on a majority, and an election can still undo it.
#[test]
fn counting_copies_of_an_earlier_terms_entry_is_noticed() {
    let line = differs("figure_8.txt", Planted::PriorTermCommitted);
    assert!(line.contains("commit=2"), "{line}");
}

/// etcd issue 20418: a late answer to an old round answers a read of a leader that was deposed meanwhile.
#[test]
fn a_late_answer_to_a_reused_read_context_is_noticed() {
    let line = differs("read_deposed_leader.txt", Planted::ReadContextReused);
    assert!(line.contains("read=1"), "{line}");
}
