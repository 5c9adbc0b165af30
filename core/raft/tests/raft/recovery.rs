//! What a group is made from: contradictions are errors that name the place.

use std::sync::Arc;

use raft_group::{GroupConfig, GroupOutput, RaftGroup, RecoverError, RecoveredLog};
use types::{Entry, GroupId, HardState, LogPosition, NodeId, Role};

fn config() -> GroupConfig {
    GroupConfig {
        group: GroupId(7),
        node: NodeId(0),
        voters: vec![NodeId(2), NodeId(0), NodeId(1)],
        election_ticks: 10,
        heartbeat_ticks: 3,
        log_cache_bytes_max: 1 << 20,
        unapplied_bytes_max: 1 << 20,
        vote_refusal_ms: 80,
        seed: 1,
        #[cfg(feature = "planted")]
        planted: None,
    }
}

fn position(index: u64, term: u64) -> LogPosition {
    LogPosition { index, term }
}

/// A log that begins after `start` with entries of these terms.
fn log(start: (u64, u64), terms: &[u64], hard: (u64, u64, u64), applied: (u64, u64)) -> RecoveredLog {
    let entries = terms.iter().zip(start.0 + 1..).map(|(term, index)| Entry {
        index,
        term: *term,
        data: Arc::from(&b"x"[..]),
    });
    RecoveredLog {
        hard_state: HardState { term: hard.0, vote: hard.1, commit: hard.2 },
        start: position(start.0, start.1),
        entries: entries.collect(),
        applied: position(applied.0, applied.1),
    }
}

fn recover(log: RecoveredLog) -> Result<RaftGroup, RecoverError> {
    RaftGroup::new(0, config(), log)
}

#[test]
fn committed_entries_above_the_checkpoint_come_again() {
    let mut group = recover(log((2, 1), &[1, 1, 2], (2, 1, 4), (3, 1))).unwrap();
    let mut out = GroupOutput::default();
    group.poll(&mut out);
    let indexes: Vec<u64> = out.committed.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, [4]);
    assert!(out.writes.is_empty());
    let status = group.status();
    assert_eq!((status.term, status.vote, status.role), (2, Some(NodeId(0)), Role::Follower));
    assert_eq!((status.first_index, status.last_index, status.persisted_index), (3, 5, 5));
    assert_eq!((status.commit, status.applied), (4, 3));
}

#[test]
fn a_commit_index_behind_the_checkpoint_is_raised() {
    let group = recover(log((0, 0), &[1, 1, 1], (1, 0, 0), (2, 1))).unwrap();
    assert_eq!(group.status().commit, 2);
}

/// A snapshot was installed, then the crash came before the log was emptied.
#[test]
fn a_checkpoint_beyond_the_log_replaces_it() {
    for terms in [&[1, 1, 1][..], &[1; 12]] {
        let group = recover(log((0, 0), terms, (1, 0, 2), (9, 4))).unwrap();
        let status = group.status();
        assert_eq!((status.first_index, status.last_index), (10, 9));
        assert_eq!((status.term, status.vote, status.commit, status.applied), (4, None, 9, 9));
    }
}

#[test]
fn contradictions_are_refused() {
    let connected = || log((0, 0), &[1, 1], (1, 0, 0), (0, 0));
    let mut gap = connected();
    gap.entries[1].index = 3;
    let mut detached = connected();
    detached.start = position(4, 1);
    let cases = [
        (gap, "entries do not connect", 3),
        (detached, "entries do not connect", 1),
        (log((0, 0), &[2, 1], (2, 0, 0), (0, 0)), "an entry's term is below its predecessor's", 2),
        (log((0, 0), &[0], (1, 0, 0), (0, 0)), "an entry's term is below its predecessor's", 1),
        (log((0, 0), &[1, 3], (2, 0, 0), (0, 0)), "an entry's term is above the hard state's", 2),
        (log((0, 0), &[1], (1, 9, 0), (0, 0)), "the recorded vote is for no member", 1),
        (log((5, 1), &[1], (1, 0, 0), (3, 1)), "the log begins after the checkpoint", 5),
        (log((5, 1), &[2], (2, 0, 0), (5, 2)), "the log begins at another term than the checkpoint's", 5),
        (log((0, 0), &[1, 1], (1, 0, 3), (0, 0)), "committed entries are missing from the log", 3),
        (log((0, 0), &[1; 4], (1, 0, 4), (2, 3)), "committed entries are missing from the log", 4),
    ];
    for (log, reason, index) in cases {
        let error = recover(log).err();
        assert_eq!(error, Some(RecoverError::Log { reason, index }));
    }
}

#[test]
fn contradictory_configurations_are_refused() {
    type Spoil = fn(&mut GroupConfig);
    let cases: [(Spoil, &str); 6] = [
        (|c| c.voters.push(NodeId(1)), "a voter is listed twice"),
        (|c| c.node = NodeId(9), "this node is not among the voters"),
        (|c| c.voters.push(NodeId(u64::MAX)), "the highest node number is reserved"),
        (|c| c.heartbeat_ticks = 0, "heartbeat_ticks is 0"),
        (|c| c.heartbeat_ticks = 10, "election_ticks must exceed heartbeat_ticks"),
        (|c| c.election_ticks = 1 << 30, "election_ticks exceeds 1000000"),
    ];
    for (spoil, reason) in cases {
        let mut config = config();
        spoil(&mut config);
        let error = RaftGroup::new(0, config, RecoveredLog::default()).err();
        assert_eq!(error, Some(RecoverError::Config { reason }));
    }
}
