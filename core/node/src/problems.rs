//! The refusals that a node itself makes, worded once.

use types::{Applied, ErrorCode, NodeId, Problem, contract::Read};

pub(crate) fn no_quorum_refused(keyspace: &str) -> Problem {
    Problem::not_applied(
        ErrorCode::NoQuorum,
        format!(
            "keyspace {keyspace:?} has no leader: no majority of its replicas can be reached from this node"
        ),
        "bring a majority of the nodes back (quorate status shows which are missing), then send it again",
    )
}

pub(crate) fn too_stale(keyspace: &str, level: Read) -> Problem {
    Problem::not_applied(
        ErrorCode::TooStale,
        format!(
            "this node's replica of keyspace {keyspace:?} cannot be shown to be new enough for read = {level}, and no \
             leader can be reached"
        ),
        "ask another node, or read with read=eventual; quorate status shows which nodes are missing",
    )
}

pub(crate) fn no_quorum_unknown(keyspace: &str) -> Problem {
    Problem::unknown(
        ErrorCode::NoQuorum,
        format!("no majority of the replicas of keyspace {keyspace:?} confirmed the write in time"),
        "it may still be applied once a majority is back: read the key before deciding to write again",
    )
}

pub(crate) fn read_unconfirmed(keyspace: &str) -> Problem {
    Problem::not_applied(
        ErrorCode::NoQuorum,
        format!(
            "no majority of the replicas of keyspace {keyspace:?} confirmed in time that the leader still leads"
        ),
        "send the read again; quorate status shows which nodes are missing",
    )
}

pub(crate) fn leader_lost(leader: NodeId) -> Problem {
    Problem::unknown(
        ErrorCode::Unavailable,
        format!("the connection to the leader, node {leader}, was lost while it worked on the request"),
        "the write may have been applied: read the key before deciding to write again",
    )
}

pub(crate) fn leader_restarted(leader: NodeId) -> Problem {
    Problem::unknown(
        ErrorCode::Unavailable,
        format!(
            "the leader, node {leader}, restarted and does not know whether it had taken the request before"
        ),
        "the write may have been applied: read the key before deciding to write again",
    )
}

pub(crate) fn deadline_unknown() -> Problem {
    Problem::unknown(
        ErrorCode::DeadlineExceeded,
        "the leader did not answer before the deadline",
        "the write may have been applied: read the key before deciding to write again",
    )
}

pub(crate) fn deadline_not_applied() -> Problem {
    Problem::not_applied(
        ErrorCode::DeadlineExceeded,
        "the deadline passed before the request could be carried out",
        "send it again with a longer deadline",
    )
}

pub(crate) fn replaced_by_snapshot() -> Problem {
    Problem::unknown(
        ErrorCode::Unavailable,
        "this node lost its leadership and caught up by a snapshot, which does not tell whether the write is in it",
        "read the key before deciding to write again",
    )
}

pub(crate) fn not_leader(leader: Option<NodeId>) -> Problem {
    let who = leader.map_or_else(|| "no leader is known".to_string(), |node| format!("node {node} leads"));
    Problem::not_applied(ErrorCode::NotLeader, format!("this node does not lead; {who}"), "ask the leader")
}

pub(crate) fn keyspace_not_found(keyspace: &str) -> Problem {
    Problem::not_applied(
        ErrorCode::KeyspaceNotFound,
        format!("there is no keyspace {keyspace:?}"),
        "check the name: quorate keyspace list has them all; one that was just created through another node starts \
         here within moments: ask again",
    )
}

pub(crate) fn overloaded(what: &str, limit: impl std::fmt::Display) -> Problem {
    Problem::not_applied(
        ErrorCode::Overloaded,
        format!("{what} reached the limit of {limit}"),
        "wait a moment, then send it again; send less at once if it persists",
    )
}

pub(crate) fn no_space() -> Problem {
    Problem::not_applied(
        ErrorCode::NoSpace,
        "the leader's disk is too full to accept writes; reads go on",
        "free disk space on that node, then send it again",
    )
}

pub(crate) fn idempotency_key_reused() -> Problem {
    Problem::not_applied(
        ErrorCode::IdempotencyKeyReused,
        "the idempotency key was used with another request: another key, value, condition or method",
        "use a new idempotency key for every new request; keep one only to send the same request again",
    )
}

/// The same, of a request under an idempotency key: what to do is simpler then.
pub(crate) fn under_key(problem: Problem) -> Problem {
    let next_step = "send it again with the same idempotency key: it is carried out at most once";
    Problem { next_step: next_step.into(), ..problem }
}

/// What ended the last try of a request of which an earlier try may have been carried out.
pub(crate) fn after_a_try(problem: Problem) -> Problem {
    let message =
        format!("{}; an earlier try, whose leader was lost, may have been applied", problem.message);
    under_key(Problem { applied: Applied::Unknown, message, ..problem })
}

pub(crate) fn compacted(floor: u64, asked: u64) -> Problem {
    let oldest = floor.saturating_add(1);
    let mut problem = Problem::not_applied(
        ErrorCode::Compacted,
        format!("revision {asked} is compacted: the oldest revision that can be watched is {oldest}"),
        "read the keys anew, and watch from the revision after that of the read",
    );
    problem.oldest_revision = Some(oldest);
    problem
}
