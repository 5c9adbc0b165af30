//! The history against a model that keeps every state there ever was.

mod memory;

use std::collections::BTreeMap;

use keyspace::history::{Events, NotReadable, Version, Wanted, at, count_records, events, floor};
use keyspace::{
    Command, Expect, KeyRange, Keys, LogCommand, Outcome, Query, QueryAnswer, Terms, Txn, TxnOp, apply, entry,
};
use memory::MemoryRows;
use proptest::collection::vec;
use proptest::prelude::*;
use storage::{ReadRows, Row};
use types::{GroupId, LogPosition, limits::RESERVED_KEY_PREFIX};

const GROUP: GroupId = GroupId(7);

type State = BTreeMap<Vec<u8>, Row>;

/// Few and short, so that they meet; with the bytes that escaping is about.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 1..3)
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..3), vec(any::<u8>(), 60..80)]
}

fn ranges() -> impl Strategy<Value = KeyRange> {
    (vec(prop_oneof![Just(0_u8), Just(b'a')], 0..2), proptest::option::of(keys()))
        .prop_map(|(start, end)| KeyRange { start, end })
}

fn ops() -> impl Strategy<Value = TxnOp> {
    prop_oneof![
        3 => (keys(), values()).prop_map(|(key, value)| TxnOp::Put { key, value, lease: None }),
        1 => keys().prop_map(|key| TxnOp::Delete { keys: Keys::One(key) }),
        1 => ranges().prop_map(|range| TxnOp::Delete { keys: Keys::Range(range) }),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let expect = Expect::Anything;
    prop_oneof![
        8 => (keys(), values()).prop_map(move |(key, value)| Command::Put { key, value, expect, lease: None }),
        4 => keys().prop_map(move |key| Command::Delete { key, expect }),
        3 => vec(ops(), 0..4).prop_map(|then| Command::Txn(Txn { then, ..Txn::default() })),
        1 => (0..40_u64).prop_map(|revision| Command::Compact { revision, shard: None }),
        2 => (0..6_u32).prop_map(|events_max| Command::Reclaim { events_max }),
    ]
}

/// The machine, and every state that it had, by revision.
struct Model {
    rows: MemoryRows,
    states: Vec<State>,
}

impl Model {
    fn new() -> Model {
        Model { rows: MemoryRows::default(), states: vec![State::new()] }
    }

    fn step(&mut self, command: &Command) -> Outcome {
        let index = self.rows.state(GROUP).applied_index + 1;
        let data = entry::encode_entry(&Terms::default(), command);
        let decoded = entry::decode_entry(&data).unwrap();
        assert_eq!(decoded, LogCommand { terms: Terms::default(), command: command.clone() });
        let effect = apply(&mut self.rows, GROUP, LogPosition { index, term: 1 }, &data).unwrap();
        let Some(keyspace::Effect::Done { outcome, .. }) = effect else { panic!("a command has an outcome") };
        let revision = self.rows.state(GROUP).revision as usize;
        if revision == self.states.len() {
            let mut state = State::new();
            let mut each = |key: &[u8], row: Row| {
                state.insert(key.to_vec(), row);
                true
            };
            self.rows.scan(GROUP, &[], Some(&RESERVED_KEY_PREFIX), &mut each).unwrap();
            self.states.push(state);
        }
        assert_eq!(revision + 1, self.states.len(), "an entry takes one revision at most");
        outcome
    }

    /// Which keys of a range a revision changed, with the rows before and after.
    fn changes(&self, revision: usize, range: &KeyRange) -> Vec<(Vec<u8>, Option<Row>, Option<Row>)> {
        let (before, after) = (&self.states[revision - 1], &self.states[revision]);
        let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
        let inside = |key: &Vec<u8>| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        let changed = keys.into_iter().filter(|key| inside(key) && before.get(key) != after.get(key));
        changed.map(|key| (key.clone(), before.get(&key).cloned(), after.get(&key).cloned())).collect()
    }

    fn check_watch(&self, from: u64, range: &KeyRange, events_max: usize, bytes_max: usize) {
        let floor = floor(&self.rows, GROUP).unwrap();
        let mut position = from;
        let mut seen = Vec::new();
        loop {
            let wanted = Wanted { range, prev: true, events_max, bytes_max };
            let (revisions, next) = match events(&self.rows, GROUP, position, wanted).unwrap() {
                Events::Compacted(at) => {
                    assert_eq!((at, position), (floor, from));
                    assert!(from <= floor.revision);
                    return;
                }
                Events::Page { revisions, next } => (revisions, next),
            };
            for revision in &revisions {
                assert!(position <= revision.revision && revision.revision < next);
                position = revision.revision + 1;
                assert!(!revision.events.is_empty());
            }
            seen.extend(revisions);
            if next == position.max(from) && next as usize >= self.states.len() {
                break;
            }
            assert!(next > position || next as usize >= self.states.len() || next == position);
            position = next;
        }
        assert!(from > floor.revision);
        let version = |row: Row| Version {
            create_revision: row.create_revision,
            mod_revision: row.mod_revision,
            version: row.version,
            value: row.value.into(),
        };
        let mut expected = Vec::new();
        for revision in from as usize..self.states.len() {
            let changes = self.changes(revision, range);
            if !changes.is_empty() {
                expected.push((revision as u64, changes));
            }
        }
        assert_eq!(seen.len(), expected.len());
        for (seen, (revision, changes)) in seen.into_iter().zip(expected) {
            assert_eq!((seen.revision, seen.events.len()), (revision, changes.len()));
            for (event, (key, before, after)) in seen.events.into_iter().zip(changes) {
                assert_eq!(event.key, key);
                assert_eq!(event.prev_revision, before.as_ref().map_or(0, |row| row.mod_revision));
                assert_eq!(event.prev, before.map(version));
                assert_eq!(event.put, after.map(version));
            }
        }
    }

    fn check_reads(&self, revision: u64, range: &KeyRange, limit: u32) {
        let floor = floor(&self.rows, GROUP).unwrap().revision;
        let newest = self.rows.state(GROUP).revision;
        let get = |key: Vec<u8>| at(&self.rows, GROUP, revision, &Query::Get { key }).unwrap();
        if revision < floor || revision > newest {
            let refused = NotReadable { asked: revision, revision: newest, floor };
            assert_eq!(get(b"a".to_vec()), QueryAnswer::NotReadable(refused));
            return;
        }
        let state = &self.states[revision as usize];
        for key in self.states.iter().flat_map(State::keys) {
            let row = state.get(key).cloned();
            assert_eq!(get(key.clone()), QueryAnswer::Get { revision, row });
        }
        let (mut found, mut start) = (Vec::new(), range.start.clone());
        loop {
            let part = KeyRange { start, end: range.end.clone() };
            let query = Query::Range { range: part, limit, keys_only: false };
            let QueryAnswer::Range { items, next, .. } = at(&self.rows, GROUP, revision, &query).unwrap()
            else {
                panic!("a range has a page");
            };
            assert!(items.len() <= limit as usize && (!items.is_empty() || next.is_none()));
            found.extend(items.into_iter().map(|item| (item.key, item.row)));
            match next {
                Some(next) => start = next,
                None => break,
            }
        }
        let inside = |key: &Vec<u8>| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        let expected: Vec<_> = state
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    /// Whatever is written and compacted: every revision above the floor is watched whole and once, every one
    /// from the floor on is read as it was, and what is below is reclaimed in the end, and nothing else.
    #[test]
    fn the_history_is_what_happened(
        commands in vec(commands(), 0..40),
        range in ranges(),
        from in 1..45_u64,
        (events_max, bytes_max, limit) in (1..5_usize, prop_oneof![Just(1_usize), Just(200), Just(1 << 20)], 1..4_u32),
    ) {
        let mut model = Model::new();
        for command in &commands {
            model.step(command);
            let state = model.rows.state(GROUP);
            prop_assert_eq!((state.state_hash, state.keys, state.bytes), model.rows.recount(GROUP));
        }
        model.check_watch(from, &range, events_max, bytes_max);
        model.check_watch(1, &KeyRange::default(), events_max, bytes_max);
        let newest = model.rows.state(GROUP).revision;
        for revision in 0..=newest + 1 {
            model.check_reads(revision, &range, limit);
        }
        let mut steps = 0;
        while !matches!(model.step(&Command::Reclaim { events_max: 3 }), Outcome::Reclaimed { done: true, .. }) {
            steps += 1;
            prop_assert!(steps < 1_000, "reclaiming does not end");
        }
        let floor = floor(&model.rows, GROUP).unwrap().revision as usize;
        let all = KeyRange::default();
        let left = (floor + 1..model.states.len()).flat_map(|revision| model.changes(revision, &all));
        let left: Vec<_> = left.collect();
        let superseded = left.iter().filter(|(_, before, _)| before.is_some()).count();
        let records = count_records(&model.rows, GROUP).unwrap();
        prop_assert_eq!(records, (left.len() as u64, superseded as u64));
        model.check_watch(floor as u64 + 1, &range, events_max, bytes_max);
        model.check_reads(floor as u64, &range, limit);
    }
}
