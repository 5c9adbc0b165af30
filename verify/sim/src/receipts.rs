//! What a receipt says of who answered, when, and from which state, held against what the oracle saw.
//!
//! Guarantee G-RECEIPT: no field is stronger than what happened. Acknowledgements, ages and levels are judged
//! where answers are ([`crate::sessions`], [`crate::oracle`]); the other fields here.

use node::{Op, Reply};
use types::{Guarantee, NodeId, Receipt, Role, SessionToken};

use crate::{
    clients::{Waiting, Wish},
    failure::Broken,
    oracle::Oracle,
    plan::{KEYSPACES, SHARDED},
    read_leases, sessions,
};

/// What is true of an answer, as far as it is known.
#[derive(Clone, Debug)]
struct Truth {
    /// The node that was asked.
    asked: NodeId,
    /// Who led the group in the receipt's term.
    leader: Option<NodeId>,
    /// The group's revision where it had come at least as far as the session has seen.
    revision: Option<u64>,
    /// What is committed of each group that the session has seen.
    committed: SessionToken,
    /// Whether the request was a write.
    write: bool,
    /// Whether the request had an idempotency key.
    keyed: bool,
    /// Index of the keyspace.
    number: usize,
}

/// An answer's receipt claims nothing that did not happen. Answers put together from several shards have no
/// group to hold them against.
///
/// # Errors
/// When it does.
pub fn check(oracle: &Oracle, asked: NodeId, waiting: &Waiting, reply: &Reply) -> Result<(), Broken> {
    let receipt = &reply.receipt;
    let shard = match &waiting.wish {
        Wish::Create(_) | Wish::Brief { .. } => return Ok(()),
        Wish::Hold(_) | Wish::Tally(_) => 0,
        Wish::One(action) => sessions::place(waiting.keyspace, action.key()).1,
        Wish::Stale { key, .. } | Wish::Early { key, .. } => sessions::place(waiting.keyspace, key).1,
        Wish::Range(_) | Wish::Transfer(_) | Wish::Audit { .. } if waiting.keyspace == SHARDED => {
            return Ok(());
        }
        Wish::Range(_) | Wish::Transfer(_) | Wish::Audit { .. } => 0,
    };
    let name = KEYSPACES[waiting.keyspace];
    let Some(group) = oracle.catalog.group(name).map(|group| group.shard(shard)) else { return Ok(()) };
    let committed =
        receipt.session.iter().map(|(group, index)| (group, oracle.committed_up_to(group, index)));
    let truth = Truth {
        asked,
        leader: oracle.leader_of(group, receipt.term),
        revision: oracle.revision_at(group, receipt.session.seen(group)),
        committed: committed.collect(),
        write: matches!(waiting.request.op, Op::Once(..) | Op::Command(_)),
        keyed: matches!(waiting.request.op, Op::Once(..)),
        number: waiting.keyspace,
    };
    judge(receipt, name, &truth)
        .map_err(|what| Broken::safety("receipt_is_true", format!("{what}: {receipt:?}, and {truth:?}")))
}

/// Which claim is not true, if one is not.
fn judge(receipt: &Receipt, keyspace: &str, truth: &Truth) -> Result<(), &'static str> {
    let by_leader = truth.leader == Some(receipt.served_by);
    let claims = [
        (receipt.keyspace == keyspace, "keyspace"),
        (receipt.attempts >= 1, "attempts"),
        (truth.keyed || !receipt.deduplicated, "deduplicated without a key"),
        (receipt.role != Role::Leader || by_leader, "role, term or served_by: it did not lead then"),
        (receipt.delivered != Guarantee::Linearizable || by_leader, "linearizable, and not by a leader"),
        (
            truth.write || receipt.delivered == Guarantee::Linearizable || receipt.served_by == truth.asked,
            "served_by: such reads are not passed on",
        ),
        (
            receipt.session.iter().all(|(group, index)| truth.committed.seen(group) >= index),
            "session: beyond what is committed",
        ),
        (
            receipt.revision.zip(truth.revision).is_none_or(|(claimed, there)| claimed <= there),
            "revision: beyond the state that was read",
        ),
        (receipt.degraded.is_none(), "degraded: no keyspace here is"),
        (
            read_leases::is_true(receipt, truth.number, truth.write),
            "read_lease: where there is none, or with replicas that were asked",
        ),
        (
            receipt.read_lease.is_none() || receipt.delivered == Guarantee::Linearizable,
            "read_lease: for a lesser read",
        ),
    ];
    match claims.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(what),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use types::{Acks, Degraded, GroupId, ReadLease};

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            keyspace: "default".into(),
            requested: Guarantee::Eventual,
            delivered: Guarantee::Eventual,
            session: "64:9,128:3@1000.00007".parse().expect("a token"),
            hlc: "1000.00007".parse().expect("a timestamp"),
            degraded: None,
            revision: Some(7),
            staleness_ms: None,
            acks: Acks { required: 0, got: 0, of: 3, durable: 0 },
            served_by: NodeId(1),
            role: Role::Follower,
            term: 4,
            attempts: 1,
            deduplicated: false,
            shards: None,
            read_lease: None,
        }
    }

    fn truth() -> Truth {
        Truth {
            write: false,
            asked: NodeId(1),
            leader: Some(NodeId(2)),
            revision: Some(7),
            committed: "64:9,128:5".parse().expect("a token"),
            keyed: false,
            number: 2,
        }
    }

    /// Each field, broken by itself, is told from the truth.
    #[test]
    fn a_field_that_says_too_much_is_caught() {
        assert_eq!(judge(&receipt(), "default", &truth()), Ok(()));
        let from_leader = Receipt {
            delivered: Guarantee::Linearizable,
            served_by: NodeId(2),
            role: Role::Leader,
            ..receipt()
        };
        assert_eq!(judge(&from_leader, "default", &truth()), Ok(()), "a stronger answer, passed on");
        let lease = Some(ReadLease { left_ms: 9, clock_drift_percent_max: 10 });
        let leased = Receipt { read_lease: lease, ..from_leader.clone() };
        assert_eq!(judge(&leased, "default", &truth()), Ok(()));
        let elsewhere = Truth { number: 1, ..truth() };
        assert!(judge(&leased, "default", &elsewhere).is_err(), "a keyspace that has none");
        let asked = Acks { required: 2, got: 2, of: 3, durable: 0 };
        let mut further = receipt();
        further.session.see(GroupId(64), 10);
        let mut unheard_of = receipt();
        unheard_of.session.see(GroupId(192), 1);
        let broken = [
            (Receipt { keyspace: "other".into(), ..receipt() }, "keyspace"),
            (Receipt { attempts: 0, ..receipt() }, "attempts"),
            (Receipt { deduplicated: true, ..receipt() }, "deduplicated"),
            (Receipt { role: Role::Leader, ..receipt() }, "role"),
            (Receipt { delivered: Guarantee::Linearizable, ..receipt() }, "linearizable"),
            (Receipt { served_by: NodeId(0), ..receipt() }, "served_by"),
            (Receipt { served_by: NodeId(1), ..from_leader }, "role"),
            (further, "session"),
            (unheard_of, "session"),
            (Receipt { acks: asked, ..leased.clone() }, "read_lease"),
            (Receipt { read_lease: lease, ..receipt() }, "read_lease"),
            (Receipt { revision: Some(8), ..receipt() }, "revision"),
            (
                Receipt { degraded: Some(Degraded { since_ms: 1, reason: String::new() }), ..receipt() },
                "degraded",
            ),
        ];
        for (receipt, field) in broken {
            let caught = judge(&receipt, "default", &truth()).expect_err(field);
            assert!(caught.starts_with(field), "{field}: {caught}");
        }
    }
}
