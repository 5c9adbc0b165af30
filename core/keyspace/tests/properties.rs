//! Properties over arbitrary commands and bytes. A failure prints its seed and a shrunk case.

mod memory;

use keyspace::{
    Command, Effect, Expect, Item, KeyRange, Outcome, Query, QueryAnswer, answer, apply, codec, prefix_range,
};
use memory::MemoryRows;
use proptest::collection::vec;
use proptest::prelude::*;
use storage::{ReadRows, Row};
use types::{GroupId, LogPosition};
use values::{Answer, Kind, Operation, Part, Refusal, Score};

const GROUP: GroupId = GroupId(7);

fn expects() -> impl Strategy<Value = Expect> {
    prop_oneof![
        3 => Just(Expect::Anything),
        1 => Just(Expect::Absent),
        1 => Just(Expect::Present),
        2 => (0..12_u64).prop_map(Expect::Revision),
        1 => any::<u64>().prop_map(Expect::Revision),
    ]
}

fn blobs() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(97..100_u8, 0..3), vec(any::<u8>(), 0..40)]
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (blobs(), blobs(), expects())
            .prop_map(|(key, value, expect)| Command::Put { key, value, expect, lease: None }),
        1 => (blobs(), expects()).prop_map(|(key, expect)| Command::Delete { key, expect }),
    ]
}

fn operates() -> impl Strategy<Value = Command> {
    let operation = prop_oneof![
        any::<i64>().prop_map(|by| Operation::Add { by }),
        vec(blobs(), 0..3).prop_map(|members| Operation::Insert { members }),
        (blobs(), blobs()).prop_map(|(field, value)| Operation::Put { field, value }),
        (blobs(), -9..9_i32).prop_map(|(member, by)| {
            Operation::Score { member, score: Score::new(f64::from(by) / 4.0).unwrap() }
        }),
    ];
    (blobs(), vec(operation, 1..4), expects()).prop_map(|(key, operations, expect)| Command::Operate {
        key,
        operations,
        expect,
    })
}

fn queries() -> impl Strategy<Value = Query> {
    prop_oneof![
        blobs().prop_map(|key| Query::Get { key }),
        (blobs(), blobs(), any::<u32>())
            .prop_map(|(key, start, limit)| Query::Value { key, part: Part::Members { start, limit } }),
        (blobs(), proptest::option::of(blobs()), any::<u32>(), any::<bool>()).prop_map(
            |(start, end, limit, keys_only)| Query::Range {
                range: KeyRange { start, end },
                limit,
                keys_only
            }
        ),
    ]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let numbers = any::<(u64, u64, u64, bool)>();
    prop_oneof![
        numbers.prop_map(|(revision, create_revision, version, _)| Outcome::Put {
            revision,
            create_revision,
            version
        }),
        numbers.prop_map(|(revision, _, _, existed)| Outcome::Deleted { revision, existed }),
        numbers.prop_map(|(revision, current, _, _)| Outcome::Conflict { revision, current }),
        numbers.prop_map(|(revision, bytes, quota_bytes, _)| Outcome::OverQuota {
            revision,
            bytes,
            quota_bytes
        }),
        (numbers, vec(any::<(i64, u32, bool)>(), 0..4)).prop_map(
            |((revision, create_revision, version, _), some)| {
                let answer = |(value, members, existed): (i64, u32, bool)| match members % 3 {
                    0 => Answer::Count { value },
                    1 => Answer::Inserted { members },
                    _ => Answer::Assigned { existed },
                };
                let answers = some.into_iter().map(answer).collect();
                Outcome::Operated { revision, create_revision, version, answers }
            }
        ),
        (any::<u64>(), blobs()).prop_map(|(revision, field)| {
            let refusal = Refusal::FieldIs { field, is: Kind::Counter };
            Outcome::OperateRefused { revision, refusal }
        }),
    ]
}

fn rows() -> impl Strategy<Value = Row> {
    (any::<(u64, u64, u64)>(), blobs()).prop_map(|((create_revision, mod_revision, version), value)| Row {
        create_revision,
        mod_revision,
        version,
        value,
    })
}

fn answers() -> impl Strategy<Value = QueryAnswer> {
    let items =
        (blobs(), rows(), any::<u64>()).prop_map(|(key, row, value_bytes)| Item { key, row, value_bytes });
    prop_oneof![
        (any::<u64>(), proptest::option::of(rows()))
            .prop_map(|(revision, row)| QueryAnswer::Get { revision, row }),
        (any::<u64>(), vec(items, 0..5), proptest::option::of(blobs()))
            .prop_map(|(revision, items, next)| QueryAnswer::Range { revision, items, next }),
    ]
}

/// Applies from the beginning; answers the rows and what each command did.
fn replay(commands: &[Command]) -> (MemoryRows, Vec<Outcome>) {
    let mut rows = MemoryRows::default();
    let outcomes = commands.iter().zip(1..).map(|(command, index)| {
        let data = codec::encode_command(command);
        match apply(&mut rows, GROUP, LogPosition { index, term: 1 }, &data).unwrap() {
            Some(Effect::Done { outcome, deduplicated: false }) => outcome,
            other => panic!("a command without a key always runs: {other:?}"),
        }
    });
    let outcomes = outcomes.collect();
    (rows, outcomes)
}

proptest! {
    #[test]
    fn commands_survive_encoding(command in prop_oneof![commands(), operates()]) {
        prop_assert_eq!(codec::decode_command(&codec::encode_command(&command)), Ok(command));
    }

    #[test]
    fn queries_survive_encoding(query in queries()) {
        prop_assert_eq!(codec::decode_query(&codec::encode_query(&query)), Ok(query));
    }

    #[test]
    fn outcomes_survive_encoding(outcome in outcomes()) {
        prop_assert_eq!(codec::decode_outcome(&codec::encode_outcome(&outcome)), Ok(outcome));
    }

    #[test]
    fn answers_survive_encoding(answer in answers()) {
        prop_assert_eq!(codec::decode_answer(&codec::encode_answer(&answer)), Ok(answer));
    }

    /// Any bytes are a value or an error. A command that is accepted says all that the bytes say:
    /// written again, it is as long.
    #[test]
    fn arbitrary_bytes_are_values_or_errors(
        kind in prop_oneof![Just(1_u8), Just(2), Just(16), Just(64), Just(65), Just(80), 128..131_u8, Just(144), 192..194_u8, Just(208), any::<u8>()],
        body in prop_oneof![
            vec(any::<u8>(), 0..64),
            vec(prop_oneof![Just(0x0a_u8), Just(0x12), Just(0x18), 0..8_u8], 0..24),
        ],
    ) {
        let data = [&[codec::FORMAT_VERSION, kind], body.as_slice()].concat();
        if let Ok(command) = codec::decode_command(&data) {
            prop_assert_eq!(codec::encode_command(&command).len(), data.len());
        }
        if let Ok(query) = codec::decode_query(&data) {
            prop_assert_eq!(codec::encode_query(&query).len(), data.len());
        }
        let _ = codec::decode_outcome(&data);
        let _ = codec::decode_answer(&data);
        let _ = codec::decode_command(&body);
    }

    /// A cut or lengthened command is never taken for another one.
    #[test]
    fn a_command_is_not_cut_or_extended_unnoticed(command in commands(), cut in any::<prop::sample::Index>()) {
        let data = codec::encode_command(&command);
        let cut = cut.index(data.len());
        if let Ok(shorter) = codec::decode_command(&data[..cut]) {
            prop_assert_ne!(shorter, command.clone());
        }
        let longer = [data.as_slice(), &[0x78, 1]].concat();
        prop_assert!(codec::decode_command(&longer).is_err());
    }

    /// G-APPLY, and that the incremental hash and counts are those of the rows.
    #[test]
    fn the_same_commands_give_the_same_state(commands in vec(commands(), 0..60)) {
        let (rows, outcomes) = replay(&commands);
        let (again, outcomes_again) = replay(&commands);
        prop_assert_eq!(&rows, &again);
        prop_assert_eq!(outcomes, outcomes_again);
        let state = rows.state(GROUP);
        prop_assert_eq!((state.state_hash, state.keys, state.bytes), rows.recount(GROUP));
        prop_assert_eq!(state.applied_index, commands.len() as u64);
    }

    /// Different pasts with equal rows have equal hashes, once their history is reclaimed: here, keys that are written and deleted
    /// again among the others, each taking as many revisions as it has no-ops of the other history.
    #[test]
    fn the_hash_forgets_history(names in vec(0..20_u8, 1..20)) {
        let put = |key: Vec<u8>| Command::Put { key, value: b"v".to_vec(), expect: Expect::Anything, lease: None };
        let delete = |key: Vec<u8>| Command::Delete { key, expect: Expect::Anything };
        let (mut passing, mut rewriting) = (Vec::new(), Vec::new());
        for (i, &name) in names.iter().enumerate() {
            let temporary = vec![b't', i as u8];
            passing.extend([put(temporary.clone()), delete(temporary), put(vec![name])]);
            let other = vec![b'o'];
            rewriting.extend([put(other.clone()), delete(other), put(vec![name])]);
        }
        for commands in [&mut passing, &mut rewriting] {
            commands.push(Command::Compact { revision: 3 * names.len() as u64, shard: None });
            commands.push(Command::Reclaim { events_max: 100 });
        }
        let (a, _) = replay(&passing);
        let (b, _) = replay(&rewriting);
        prop_assert_eq!(a, b);
    }

    /// Revisions grow by one per effective change and by none otherwise.
    #[test]
    fn revisions_count_effective_changes(commands in vec(commands(), 0..60)) {
        let (_, outcomes) = replay(&commands);
        let mut last = 0;
        for outcome in outcomes {
            let (revision, changes) = match outcome {
                Outcome::Put { revision, .. } => (revision, 1),
                Outcome::Deleted { revision, existed } => (revision, u64::from(existed)),
                Outcome::Conflict { revision, .. } => (revision, 0),
                other => unreachable!("there is no quota, and no such command: {other:?}"),
            };
            prop_assert_eq!(revision, last + changes);
            last = revision;
        }
    }

    /// Pages, put together, are the range: nothing twice, nothing left out.
    #[test]
    fn pages_make_up_the_range(
        commands in vec(commands(), 0..60),
        start in blobs(),
        end in proptest::option::of(blobs()),
        limit in 1..5_u32,
    ) {
        let (rows, _) = replay(&commands);
        let mut expected = Vec::new();
        let all = Query::Range { range: KeyRange::default(), limit: 1000, keys_only: false };
        if let QueryAnswer::Range { items, .. } = answer(&rows, GROUP, &all).unwrap() {
            expected.extend(items.into_iter().filter(|item| {
                item.key >= start && end.as_ref().is_none_or(|end| item.key < *end)
            }));
        }
        let mut paged = Vec::new();
        let mut next = Some(start);
        while let Some(start) = next {
            let range = KeyRange { start, end: end.clone() };
            let query = Query::Range { range, limit, keys_only: false };
            let QueryAnswer::Range { items, next: after, .. } = answer(&rows, GROUP, &query).unwrap() else {
                panic!("a page is the answer to a range");
            };
            prop_assert!(items.len() <= limit as usize);
            paged.extend(items);
            next = after;
        }
        prop_assert_eq!(paged, expected);
    }

    #[test]
    fn a_prefix_range_holds_exactly_the_keys_with_the_prefix(
        prefix in vec(prop_oneof![Just(0xff_u8), Just(0), any::<u8>()], 0..4),
        key in vec(prop_oneof![Just(0xff_u8), Just(0), any::<u8>()], 0..6),
        extend in any::<bool>(),
    ) {
        let key = if extend { [prefix.clone(), key].concat() } else { key };
        let range = prefix_range(&prefix);
        let within = key >= range.start && range.end.is_none_or(|end| key < end);
        prop_assert_eq!(within, key.starts_with(&prefix));
    }
}

/// A page of a great many empty items, two bytes each, is refused before it swells in memory.
#[test]
fn a_page_of_too_many_items_is_refused() {
    let item = [4, 0x12, 2, 8, 1];
    let mut data = vec![codec::FORMAT_VERSION, codec::kind::ANSWER_RANGE, 0];
    data.extend(item.repeat(1_000));
    assert!(codec::decode_answer(&data).is_ok());
    data.extend(item);
    let error = codec::decode_answer(&data).unwrap_err().to_string();
    assert_eq!(error, "answer is malformed: a page of more than 1000 items");
}

/// A length field that claims more than there is asks for no memory.
#[test]
fn a_huge_length_is_an_error() {
    let data = [1, 1, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'a'];
    assert!(codec::decode_command(&data).is_err());
}

#[test]
#[should_panic(expected = "entries are applied in order")]
fn skipping_an_entry_is_our_own_bug() {
    let _ = apply(&mut MemoryRows::default(), GROUP, LogPosition { index: 2, term: 1 }, &[]);
}
