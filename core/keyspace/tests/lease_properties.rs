//! Leases, locks and fences: their encodings, and what holds whatever is done with them.

mod memory;

use std::collections::BTreeMap;

use keyspace::{
    Command, Effect, Expect, Fence, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LeaseRecord,
    LockHolder, LockWait, Outcome, Query, QueryAnswer, Terms, answer, apply,
    codec::{
        decode_answer, decode_command, decode_outcome, decode_query, encode_answer, encode_command,
        encode_outcome, encode_query,
    },
    entry::{decode_entry, encode_entry},
};
use memory::MemoryRows;
use proptest::{collection::vec, option, prelude::*};
use storage::ReadRows;
use types::{GroupId, LeaseId, LogPosition};

const GROUP: GroupId = GroupId(7);

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..6)
}

fn leases() -> impl Strategy<Value = LeaseId> {
    (1..u64::MAX).prop_map(LeaseId)
}

fn records() -> impl Strategy<Value = LeaseRecord> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    numbers.prop_map(|(ttl_ms, keys, granted)| LeaseRecord { ttl_ms, keys, granted })
}

fn commands() -> impl Strategy<Value = LeaseCommand> {
    prop_oneof![
        (option::of(leases()), any::<u64>(), bytes()).prop_map(|(id, ttl_ms, beside)| LeaseCommand::Grant {
            id,
            ttl_ms,
            beside
        }),
        leases().prop_map(|id| LeaseCommand::Revoke { id }),
        (leases(), any::<u64>(), any::<u64>()).prop_map(|(id, granted, term)| LeaseCommand::Expire {
            id,
            granted,
            term
        }),
        (bytes(), leases(), option::of(bytes())).prop_map(|(name, lease, value)| LeaseCommand::Enter {
            name,
            lease,
            value
        }),
    ]
}

fn queries() -> impl Strategy<Value = LeaseQuery> {
    let waits = prop_oneof![
        Just(LockWait::No),
        any::<u64>().prop_map(|token| LockWait::Turn { token }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(token, mod_revision)| LockWait::Change { token, mod_revision }),
    ];
    prop_oneof![
        leases().prop_map(|id| LeaseQuery::KeepAlive { id }),
        leases().prop_map(|id| LeaseQuery::Show { id }),
        (any::<u32>(), option::of(leases()), any::<u32>())
            .prop_map(|(shard, after, limit)| LeaseQuery::List { shard, after, limit }),
        (bytes(), waits).prop_map(|(name, wait)| LeaseQuery::Lock { name, wait }),
    ]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    (0..7_u8, leases(), any::<[u64; 4]>(), any::<bool>()).prop_map(|(kind, id, numbers, held)| {
        let [revision, a, b, _] = numbers;
        Outcome::Lease(match kind {
            0 => LeaseOutcome::Granted { revision, id, ttl_ms: a, granted: b },
            1 => LeaseOutcome::Ended { revision, id, keys: a },
            2 => LeaseOutcome::Entered { revision, token: a, held },
            3 => LeaseOutcome::NotFound { revision, id },
            4 => LeaseOutcome::Exists { revision, id },
            5 => LeaseOutcome::Full { revision, id: held.then_some(id) },
            _ => return Outcome::Fenced { revision, current: held.then_some(a) },
        })
    })
}

fn answers() -> impl Strategy<Value = LeaseAnswer> {
    let holders = (any::<u64>(), leases(), any::<u64>(), bytes())
        .prop_map(|(token, lease, mod_revision, value)| LockHolder { token, lease, mod_revision, value });
    prop_oneof![
        (any::<u64>(), leases(), option::of(records()), option::of(any::<u64>()), vec(bytes(), 0..4))
            .prop_map(|(revision, id, lease, remaining_ms, keys)| LeaseAnswer::Lease {
                revision,
                id,
                lease,
                remaining_ms,
                keys
            }),
        (any::<u64>(), vec((leases(), records()), 0..4), any::<bool>())
            .prop_map(|(revision, leases, more)| LeaseAnswer::List { revision, leases, more }),
        (any::<u64>(), option::of(holders), any::<u64>(), any::<bool>()).prop_map(
            |(revision, holder, waiters, queued)| LeaseAnswer::Lock { revision, holder, waiters, queued }
        ),
    ]
}

proptest! {
    #[test]
    fn encodings_survive(
        command in commands(),
        query in queries(),
        outcome in outcomes(),
        answer in answers(),
        fence in option::of((bytes(), any::<u64>())),
        shards in option::of(any::<u32>()),
    ) {
        let command = Command::Lease(command);
        prop_assert_eq!(decode_command(&encode_command(&command)).unwrap(), command.clone());
        let fence = fence.map(|(name, token)| Fence { name, token });
        let terms = Terms { fence, shards, ..Terms::default() };
        let entry = decode_entry(&encode_entry(&terms, &command)).unwrap();
        prop_assert_eq!((entry.terms, entry.command), (terms, command));
        let query = Query::Lease(query);
        prop_assert_eq!(decode_query(&encode_query(&query)).unwrap(), query);
        prop_assert_eq!(decode_outcome(&encode_outcome(&outcome)).unwrap(), outcome);
        let answer = QueryAnswer::Lease(answer);
        prop_assert_eq!(decode_answer(&encode_answer(&answer)).unwrap(), answer);
    }
}

/// What is done with two locks and four leases.
#[derive(Clone, Debug)]
enum Step {
    Grant(u64),
    Revoke(u64),
    Enter(u8, u64),
    /// A put of the key of a lock, under a lease or none.
    Put(u8, u64, Option<u64>),
    Delete(u8, u64),
    /// A write under the token that was last seen to hold the lock, or any other.
    Write(u8, u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let lease = || 1..5_u64;
    let lock = || 0..2_u8;
    prop_oneof![
        lease().prop_map(Step::Grant),
        lease().prop_map(Step::Revoke),
        (lock(), lease()).prop_map(|(lock, lease)| Step::Enter(lock, lease)),
        (lock(), lease(), option::of(lease())).prop_map(|(lock, of, lease)| Step::Put(lock, of, lease)),
        (lock(), lease()).prop_map(|(lock, lease)| Step::Delete(lock, lease)),
        (lock(), 0..40_u64).prop_map(|(lock, token)| Step::Write(lock, token)),
    ]
}

fn name(lock: u8) -> Vec<u8> {
    format!("lock{lock}").into_bytes()
}

fn holder(rows: &MemoryRows, lock: u8) -> Option<LockHolder> {
    let query = Query::Lease(LeaseQuery::Lock { name: name(lock), wait: LockWait::No });
    match answer(rows, GROUP, &query).unwrap() {
        QueryAnswer::Lease(LeaseAnswer::Lock { holder, .. }) => holder,
        other => panic!("{other:?}"),
    }
}

fn lease(rows: &MemoryRows, id: LeaseId) -> Option<(LeaseRecord, Vec<Vec<u8>>)> {
    match answer(rows, GROUP, &Query::Lease(LeaseQuery::Show { id })).unwrap() {
        QueryAnswer::Lease(LeaseAnswer::Lease { lease, keys, .. }) => lease.map(|lease| (lease, keys)),
        other => panic!("{other:?}"),
    }
}

proptest! {
    /// Tokens of holders only grow, a write counts exactly under the holder's, a lease has the keys that it
    /// counts, each in the rows and in no other lease, and the state is what the rows come to.
    #[test]
    fn tokens_grow_and_leases_count(steps in vec(steps(), 0..60)) {
        let mut rows = MemoryRows::default();
        let mut held: BTreeMap<u8, u64> = BTreeMap::new();
        for step in steps {
            let index = rows.state(GROUP).applied_index + 1;
            let id = LeaseId;
            let key = |lock: u8, lease: u64| keyspace::lease::lock_key(&name(lock), LeaseId(lease));
            let mut terms = Terms::default();
            let command = match step.clone() {
                Step::Grant(lease) => Command::Lease(LeaseCommand::Grant {
                    id: Some(id(lease)),
                    ttl_ms: 1_000,
                    beside: Vec::new(),
                }),
                Step::Revoke(lease) => Command::Lease(LeaseCommand::Revoke { id: id(lease) }),
                Step::Enter(lock, lease) => {
                    Command::Lease(LeaseCommand::Enter { name: name(lock), lease: id(lease), value: None })
                }
                Step::Put(lock, of, lease) => Command::Put {
                    key: key(lock, of),
                    value: b"v".to_vec(),
                    expect: Expect::Anything,
                    lease: lease.map(id),
                },
                Step::Delete(lock, lease) => Command::Delete { key: key(lock, lease), expect: Expect::Anything },
                Step::Write(lock, token) => {
                    let token = if token < 20 { token } else { held.get(&lock).copied().unwrap_or(token) };
                    terms.fence = Some(Fence { name: name(lock), token });
                    Command::Delete { key: b"data".to_vec(), expect: Expect::Anything }
                }
            };
            let before = [0, 1].map(|lock| holder(&rows, lock).map(|holder| holder.token));
            let entry = encode_entry(&terms, &command);
            let effect = apply(&mut rows, GROUP, LogPosition { index, term: 1 }, &entry).unwrap();
            let Some(Effect::Done { outcome, .. }) = effect else { panic!("{effect:?}") };
            if let (Step::Write(lock, _), Some(fence)) = (&step, terms.fence) {
                let current = before[usize::from(*lock)];
                prop_assert_eq!(matches!(outcome, Outcome::Fenced { .. }), current != Some(fence.token));
            }
            for lock in [0, 1] {
                if let Some(holder) = holder(&rows, lock) {
                    let last = held.insert(lock, holder.token).unwrap_or(0);
                    prop_assert!(last <= holder.token, "token {} after {last}", holder.token);
                }
            }
            let state = rows.state(GROUP);
            prop_assert_eq!((state.state_hash, state.keys, state.bytes), rows.recount(GROUP));
            let mut all = Vec::new();
            for (lease, keys) in (1..5).filter_map(|number| lease(&rows, id(number))) {
                prop_assert_eq!(lease.keys, keys.len() as u64);
                for key in &keys {
                    prop_assert!(rows.get(GROUP, key).unwrap().is_some(), "{}", key.escape_ascii());
                }
                all.extend(keys);
            }
            let count = all.len();
            all.sort();
            all.dedup();
            prop_assert_eq!(all.len(), count, "a key is bound to two leases");
        }
    }
}
