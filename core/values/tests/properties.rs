//! Merging and applying against an account of what happened. A failure prints its seed and a shrunk case.

mod replicas;

use crdts::{CmRDT, CvRDT};
use proptest::{collection::vec, prelude::*, sample::select};
use replicas::{World, score};
use types::{Hlc, clock::Dot, limits::VALUE_BYTES_MAX};
use values::{
    Answer, Body, Kind, MEMBERS_MAX, Operation, Part, Refusal, Shown, Stamp, Value,
    codec::{self, decode_operations, decode_value, encode_operations, encode_value},
};

const REPLICAS: usize = 3;

/// A replica does something, or takes in what another has.
#[derive(Clone, Debug)]
enum Step {
    Apply(usize, Operation),
    Merge(usize, usize),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    select(vec![b"x".to_vec(), b"y".to_vec(), b"z".to_vec()])
}

fn operation(kind: Kind) -> BoxedStrategy<Operation> {
    let members = || vec(name(), 1..3);
    let value = || select(vec![b"one".to_vec(), b"two".to_vec(), b"3".to_vec()]);
    match kind {
        Kind::Register => value().prop_map(|value| Operation::Assign { value }).boxed(),
        Kind::Counter => (-9..10_i64).prop_map(|by| Operation::Add { by }).boxed(),
        Kind::Set => prop_oneof![
            3 => members().prop_map(|members| Operation::Insert { members }),
            2 => members().prop_map(|members| Operation::Remove { members }),
        ]
        .boxed(),
        Kind::SortedSet => prop_oneof![
            3 => (name(), -3..4_i32).prop_map(|(member, by)| Operation::Score { member, score: score(by.into()) }),
            1 => members().prop_map(|members| Operation::Remove { members }),
        ]
        .boxed(),
        Kind::Map => {
            let within = |inner: Operation, field| Operation::Within { field, operation: Box::new(inner) };
            prop_oneof![
                2 => (name(), value()).prop_map(|(field, value)| Operation::Put { field, value }),
                2 => (members(), name()).prop_map(move |(members, field)| within(Operation::Insert { members }, field)),
                1 => (members(), name()).prop_map(move |(members, field)| within(Operation::Remove { members }, field)),
                1 => (-9..10_i64, name()).prop_map(move |(by, field)| within(Operation::Add { by }, field)),
                2 => name().prop_map(|field| Operation::RemoveField { field }),
            ]
            .boxed()
        }
    }
}

fn histories() -> impl Strategy<Value = (Kind, Vec<Step>)> {
    select(Kind::ALL.to_vec()).prop_flat_map(|kind| {
        let step = prop_oneof![
            3 => (0..REPLICAS, operation(kind)).prop_map(|(at, operation)| Step::Apply(at, operation)),
            1 => (0..REPLICAS, 0..REPLICAS).prop_map(|(into, from)| Step::Merge(into, from)),
        ];
        (Just(kind), vec(step, 0..25))
    })
}

fn run(kind: Kind, steps: &[Step]) -> World {
    let mut world = World::new(kind, REPLICAS);
    for step in steps {
        match step {
            Step::Apply(at, operation) => {
                let before = world.replicas[*at].value.clone();
                match world.apply(*at, operation) {
                    Ok(_) => {}
                    Err(Refusal::FieldIs { .. }) => assert_eq!(before, world.replicas[*at].value),
                    Err(refusal) => panic!("{refusal}"),
                }
            }
            Step::Merge(into, from) => world.merge(*into, *from),
        }
    }
    world
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut merged = one.clone();
    merged.merge(other).unwrap();
    merged
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent((kind, steps) in histories()) {
        let world = run(kind, &steps);
        let [a, b, c] = [0, 1, 2].map(|at| world.replicas[at].value.clone());
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    /// At every moment a replica shows what the operations that it has seen come to: an addition is there unless a
    /// removal had seen it, and of assignments the last.
    #[test]
    fn a_replica_shows_what_it_has_seen((kind, steps) in histories()) {
        let mut world = run(kind, &steps);
        for round in 0..2 {
            for at in 0..REPLICAS {
                prop_assert_eq!(world.shown(at), world.expected(at), "replica {} in round {}", at, round);
            }
            for at in 1..REPLICAS {
                world.merge(0, at);
            }
            for at in 1..REPLICAS {
                world.merge(at, 0);
                prop_assert_eq!(&world.replicas[at].value, &world.replicas[0].value);
            }
        }
    }

    #[test]
    fn counters_sum_what_was_added(steps in vec((0..REPLICAS, -9..10_i64, 0..REPLICAS, any::<bool>()), 0..40)) {
        let mut world = World::new(Kind::Counter, REPLICAS);
        for (at, by, from, merge) in steps {
            world.apply(at, &Operation::Add { by }).unwrap();
            if merge {
                world.merge(at, from);
            }
        }
        for at in 0..REPLICAS {
            let Body::Counter(counter) = world.replicas[at].value.body() else { panic!("it is one") };
            let added = world.replicas[at].seen.iter().map(|number| match world.events[*number].operation {
                Operation::Add { by } => i128::from(by),
                _ => 0,
            });
            prop_assert_eq!(counter.get(), added.sum::<i128>());
        }
    }

    /// In log order, with one actor: a counter in a field is the sum since it was made or reset.
    #[test]
    fn in_one_order_resets_and_removals_are_exact(
        steps in vec(prop_oneof![4 => (-9..10_i64).prop_map(Some), 1 => Just(None)], 0..30),
        field in any::<bool>(),
    ) {
        let kind = if field { Kind::Map } else { Kind::Counter };
        let (mut value, mut sum) = (Value::new(kind), 0);
        for (revision, step) in (1..).zip(steps) {
            let inner = match step {
                Some(by) => Operation::Add { by },
                None => Operation::Reset,
            };
            sum = step.map_or(0, |by| sum + by);
            let operation = if field {
                Operation::Within { field: b"f".to_vec(), operation: Box::new(inner) }
            } else {
                inner
            };
            let (answers, encoded) = value.apply(&[operation], Stamp::of_revision(64, revision)).unwrap();
            prop_assert_eq!(answers, vec![Answer::Count { value: sum }]);
            prop_assert!(encoded.len() < 40, "a counter of one actor stays small");
        }
    }

    /// Another library's observed-remove set of the same operations has the same members.
    #[test]
    fn sets_agree_with_another_library(steps in vec((0..REPLICAS, name(), any::<bool>(), 0..REPLICAS), 0..30)) {
        let mut world = World::new(Kind::Set, REPLICAS);
        let mut theirs = vec![crdts::Orswot::<Vec<u8>, usize>::new(); REPLICAS];
        for (at, member, add, from) in steps {
            let members = vec![member.clone()];
            if add {
                world.apply(at, &Operation::Insert { members }).unwrap();
                let context = theirs[at].read_ctx().derive_add_ctx(at);
                let add = theirs[at].add(member, context);
                theirs[at].apply(add);
            } else {
                world.apply(at, &Operation::Remove { members }).unwrap();
                let context = theirs[at].contains(&member).derive_rm_ctx();
                let remove = theirs[at].rm(member, context);
                theirs[at].apply(remove);
            }
            if from != at {
                world.merge(at, from);
                let other = theirs[from].clone();
                theirs[at].merge(other);
            }
            let mut members: Vec<Vec<u8>> = theirs[at].read().val.into_iter().collect();
            members.sort();
            let Body::Set(set) = world.replicas[at].value.body() else { panic!("it is one") };
            let ours: Vec<Vec<u8>> = set.members_from(b"").map(<[u8]>::to_vec).collect();
            prop_assert_eq!(ours, members);
        }
    }

    #[test]
    fn values_and_operations_survive_encoding((kind, steps) in histories()) {
        let world = run(kind, &steps);
        for replica in &world.replicas {
            let encoded = encode_value(&replica.value);
            prop_assert_eq!(decode_value(&encoded), Ok(replica.value.clone()));
            let shown = Part::Whole.of(&replica.value);
            prop_assert_eq!(codec::decode_shown(&codec::encode_shown(&shown)), Ok(shown));
        }
        for event in &world.events {
            let operations = vec![event.operation.clone()];
            prop_assert_eq!(decode_operations(&encode_operations(&operations)), Ok(operations));
        }
    }

    /// Whatever the bytes, and wherever a good encoding was damaged: a value in its one spelling, or an error.
    #[test]
    fn what_is_read_has_one_spelling(
        (kind, steps) in histories(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in vec(any::<u8>(), 0..80),
    ) {
        let mut damaged = encode_value(&run(kind, &steps).replicas[0].value);
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let mut made_up = vec![1, byte % 6];
        made_up.extend(&noise);
        for bytes in [&damaged, &made_up, &noise, &damaged[..at].to_vec()] {
            if let Ok(value) = decode_value(bytes) {
                prop_assert_eq!(&encode_value(&value), bytes);
            }
            if let Ok(operations) = decode_operations(bytes) {
                prop_assert_eq!(&encode_operations(&operations), bytes);
            }
            if let Ok(part) = codec::decode_part(bytes) {
                prop_assert_eq!(&codec::encode_part(&part), bytes);
            }
            let _ = (codec::decode_shown(bytes), codec::decode_answers(bytes), codec::decode_refusal(bytes));
        }
    }

    /// Pages put together are the whole, each member once, and ranks count.
    #[test]
    fn pages_give_every_member_once(
        scores in prop::collection::btree_map(vec(any::<u8>(), 0..3), -5..6_i32, 0..40),
        limit in 1..9_u32,
        descending in any::<bool>(),
    ) {
        let (mut sorted, mut set) = (Value::new(Kind::SortedSet), Value::new(Kind::Set));
        for (revision, (member, number)) in (1..).zip(&scores) {
            let stamp = Stamp { at: Hlc::ZERO, dot: Dot { actor: 1, counter: revision } };
            let operation = Operation::Score { member: member.clone(), score: score((*number).into()) };
            sorted.apply(&[operation], stamp).unwrap();
            set.apply(&[Operation::Insert { members: vec![member.clone()] }], stamp).unwrap();
        }
        let mut expected: Vec<(i32, Vec<u8>)> = scores.iter().map(|(member, score)| (*score, member.clone())).collect();
        expected.sort();
        for (rank, (_, member)) in expected.iter().enumerate() {
            let Shown::Member { rank: shown, .. } = (Part::Member { member: member.clone() }).of(&sorted) else {
                panic!("it has members")
            };
            prop_assert_eq!(shown, Some(rank as u64));
        }
        if descending {
            expected.reverse();
        }
        let (mut read, mut skip) = (Vec::new(), Some(0));
        while let Some(from) = skip {
            let part = Part::Scores { min: None, max: None, skip: from, limit, descending };
            let Shown::Scores { scores, next, total } = part.of(&sorted) else { panic!("it has scores") };
            prop_assert!(scores.len() <= limit as usize && total == expected.len() as u64);
            read.extend(scores.into_iter().map(|(member, _)| member));
            skip = next;
        }
        prop_assert_eq!(read, expected.into_iter().map(|(_, member)| member).collect::<Vec<_>>());
        let (mut read, mut start) = (Vec::new(), Some(Vec::new()));
        while let Some(from) = start {
            let Shown::Members { members, next, .. } = (Part::Members { start: from, limit }).of(&set) else {
                panic!("it has members")
            };
            read.extend(members);
            start = next;
        }
        prop_assert_eq!(read, scores.into_keys().collect::<Vec<_>>());
    }
}

#[test]
fn limits_hold_and_change_nothing() {
    let stamp = |revision| Stamp::of_revision(64, revision);
    let mut set = Value::new(Kind::Set);
    let members: Vec<Vec<u8>> = (0..MEMBERS_MAX as u32).map(|number| number.to_be_bytes().to_vec()).collect();
    set.apply(&[Operation::Insert { members }], stamp(1)).unwrap();
    let before = set.clone();
    let more = Operation::Insert { members: vec![b"more".to_vec()] };
    assert_eq!(set.apply(std::slice::from_ref(&more), stamp(2)).unwrap_err(), Refusal::TooManyMembers);
    assert_eq!(set, before);
    let one_out = Operation::Remove { members: vec![0_u32.to_be_bytes().to_vec()] };
    assert!(set.apply(&[one_out, more], stamp(2)).is_ok());

    let mut map = Value::new(Kind::Map);
    let put = |field: &[u8], bytes| Operation::Put { field: field.to_vec(), value: vec![7; bytes] };
    map.apply(&[put(b"a", VALUE_BYTES_MAX / 2)], stamp(1)).unwrap();
    let refused = map.apply(&[put(b"c", 1), put(b"b", VALUE_BYTES_MAX / 2)], stamp(2)).unwrap_err();
    assert!(matches!(refused, Refusal::TooLarge { .. }), "{refused}");
    assert_eq!(map.body().members(), 1, "all operations or none");
}
