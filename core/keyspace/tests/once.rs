//! Commands under idempotency keys, against a model that remembers every key. A failure prints its
//! seed and a shrunk case.

mod memory;

use std::collections::BTreeMap;

use keyspace::{
    Command, Effect, Expect, IdempotencyKey, LogCommand, Once, Outcome, Terms, apply, codec, entry,
};
use memory::MemoryRows;
use proptest::collection::vec;
use proptest::prelude::*;
use storage::ReadRows;
use types::{GroupId, LogPosition};

const GROUP: GroupId = GroupId(3);

fn commands() -> impl Strategy<Value = Command> {
    let expects = prop_oneof![
        Just(Expect::Anything),
        Just(Expect::Absent),
        Just(Expect::Present),
        (1..9_u64).prop_map(Expect::Revision),
    ];
    (0..3_u8, 0..3_u8, expects, any::<bool>()).prop_map(|(key, value, expect, put)| {
        let (key, value) = (vec![b'a' + key], vec![b'0' + value]);
        if put { Command::Put { key, value, expect, lease: None } } else { Command::Delete { key, expect } }
    })
}

fn onces() -> impl Strategy<Value = Once> {
    (0..6_u8, 0..40_u64, 0..100_u64, 1..8_u64).prop_map(|(key, elapsed_ms, ttl_ms, keys_max)| {
        let key = IdempotencyKey::new(vec![key]).unwrap();
        Once { key, elapsed_ms, ttl_ms, keys_max }
    })
}

fn run(rows: &mut MemoryRows, data: &[u8]) -> Effect {
    let index = rows.state(GROUP).applied_index + 1;
    apply(rows, GROUP, LogPosition { index, term: 1 }, data).unwrap().unwrap()
}

proptest! {
    #[test]
    fn entries_survive_encoding(once in onces(), command in commands()) {
        for terms in [Terms::from(once), Terms::default()] {
            let data = entry::encode_entry(&terms, &command);
            let command = command.clone();
            prop_assert_eq!(entry::decode_entry(&data), Ok(LogCommand { terms, command }));
        }
    }

    #[test]
    fn arbitrary_bytes_are_entries_or_errors(body in vec(any::<u8>(), 0..64)) {
        let data = [&[codec::FORMAT_VERSION, codec::kind::ENTRY], body.as_slice()].concat();
        if let Ok(LogCommand { terms, command }) = entry::decode_entry(&data) {
            prop_assert_eq!(entry::encode_entry(&terms, &command).len(), data.len());
        }
    }

    /// While nothing is forgotten: each key runs one command once, in its turn, as if the others were
    /// not there.
    #[test]
    fn a_key_runs_once(entries in vec((onces(), commands()), 0..60)) {
        let (mut rows, mut plain) = (MemoryRows::default(), MemoryRows::default());
        let mut model: BTreeMap<IdempotencyKey, (Command, Outcome)> = BTreeMap::new();
        for (once, command) in entries {
            let once = Once { ttl_ms: u64::MAX, keys_max: u64::MAX, ..once };
            let effect = run(&mut rows, &entry::encode_entry(&Terms::from(once.clone()), &command));
            match model.get(&once.key) {
                Some((first, outcome)) if *first == command => {
                    prop_assert_eq!(effect, Effect::Done { outcome: outcome.clone(), deduplicated: true });
                }
                Some(_) => prop_assert_eq!(effect, Effect::KeyReused),
                None => {
                    prop_assert_eq!(effect.clone(), run(&mut plain, &codec::encode_command(&command)));
                    let Effect::Done { outcome, .. } = effect else { panic!("it ran") };
                    model.insert(once.key, (command, outcome));
                }
            }
            let (state, alone) = (rows.state(GROUP), plain.state(GROUP));
            prop_assert_eq!((state.revision, state.keys, state.bytes), (alone.revision, alone.keys, alone.bytes));
            prop_assert_eq!((state.state_hash, state.keys, state.bytes), rows.recount(GROUP));
        }
    }

    /// The promise about forgetting: within its time, and with fewer newer keys than allowed, a key is
    /// never forgotten. And the bound: never more keys than that are kept.
    #[test]
    fn a_key_is_not_forgotten_too_soon(
        uses in vec((0..12_u8, 0..40_u64), 0..80),
        ttl_ms in 0..200_u64,
        keys_max in 1..8_u64,
    ) {
        let mut rows = MemoryRows::default();
        let mut now_ms = 0;
        // First use that is remembered: when, and the newer keys since.
        let mut used: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        for (name, elapsed_ms) in uses {
            now_ms += elapsed_ms;
            let key = IdempotencyKey::new(vec![name]).unwrap();
            let command = Command::Put { key: b"k".to_vec(), value: vec![name], expect: Expect::Anything, lease: None };
            let once = Once { key, elapsed_ms, ttl_ms, keys_max };
            let effect = run(&mut rows, &entry::encode_entry(&Terms::from(once.clone()), &command));
            let Effect::Done { deduplicated, .. } = effect else { panic!("the request is the same") };
            if let Some((first_ms, newer)) = used.get(&name) {
                let promised = now_ms - first_ms <= ttl_ms && *newer < keys_max;
                prop_assert!(deduplicated || !promised);
                prop_assert!(!deduplicated || *newer < keys_max, "more keys are kept than allowed");
            }
            if !deduplicated {
                used.values_mut().for_each(|(_, newer)| *newer += 1);
                used.insert(name, (now_ms, 0));
            }
        }
    }
}
