//! Properties of transactions: against a plain model, and of their bytes. A failure prints its seed and a
//! shrunk case.

mod memory;

use std::collections::BTreeMap;

use keyspace::{
    Command, Compare, Effect, Item, KeyRange, Keys, Outcome, Query, QueryAnswer, Relation, Target, Txn,
    TxnOp, TxnOutcome, TxnRefusal, TxnResult, answer, apply, codec,
};
use memory::MemoryRows;
use proptest::collection::vec;
use proptest::prelude::*;
use storage::{ReadRows, Row};
use types::{GroupId, LogPosition, limits::RESERVED_KEY_PREFIX};

const GROUP: GroupId = GroupId(7);

fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(97..100_u8, 1..2), 1 => vec(97..99_u8, 2..3)]
}

fn ranges() -> impl Strategy<Value = KeyRange> {
    (keys(), proptest::option::of(keys())).prop_map(|(start, end)| {
        let end = end.map(|end| end.max(start.clone()));
        KeyRange { start, end }
    })
}

fn many_keys() -> impl Strategy<Value = Keys> {
    prop_oneof![2 => keys().prop_map(Keys::One), 1 => ranges().prop_map(Keys::Range)]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![(-3..4_i64).prop_map(|n| n.to_string().into_bytes()), vec(97..99_u8, 0..2)]
}

fn compares() -> impl Strategy<Value = Compare> {
    let targets = prop_oneof![
        (0..4_u64).prop_map(Target::Version),
        (0..12_u64).prop_map(Target::CreateRevision),
        (0..12_u64).prop_map(Target::ModRevision),
        values().prop_map(Target::Value),
    ];
    let relations = prop_oneof![
        Just(Relation::Equal),
        Just(Relation::NotEqual),
        Just(Relation::Greater),
        Just(Relation::Less)
    ];
    (many_keys(), targets, relations).prop_map(|(keys, target, relation)| Compare { keys, target, relation })
}

fn ops() -> impl Strategy<Value = TxnOp> {
    prop_oneof![
        3 => (keys(), values()).prop_map(|(key, value)| TxnOp::Put { key, value, lease: None }),
        2 => (keys(), -3..4_i64).prop_map(|(key, by)| TxnOp::Increment { key, by }),
        2 => keys().prop_map(|key| TxnOp::Get { key }),
        2 => (ranges(), 1..4_u32, any::<bool>())
            .prop_map(|(range, limit, keys_only)| TxnOp::Range { range, limit, keys_only }),
        1 => many_keys().prop_map(|keys| TxnOp::Delete { keys }),
    ]
}

fn txns() -> impl Strategy<Value = Txn> {
    let flat = (vec(compares(), 0..2), vec(ops(), 0..4), vec(ops(), 0..3))
        .prop_map(|(compares, then, otherwise)| Txn { compares, then, otherwise });
    flat.prop_recursive(2, 16, 2, |inner| {
        let op = prop_oneof![2 => ops(), 1 => inner.prop_map(TxnOp::Txn)];
        (vec(compares(), 0..3), vec(op.clone(), 0..4), vec(op, 0..3))
            .prop_map(|(compares, then, otherwise)| Txn { compares, then, otherwise })
    })
}

fn rows() -> impl Strategy<Value = Row> {
    (any::<(u64, u64, u64)>(), values()).prop_map(|((create_revision, mod_revision, version), value)| Row {
        create_revision,
        mod_revision,
        version,
        value,
    })
}

fn results() -> impl Strategy<Value = TxnResult> {
    let items =
        (keys(), rows(), any::<u64>()).prop_map(|(key, row, value_bytes)| Item { key, row, value_bytes });
    let leaf = prop_oneof![
        any::<(u64, u64)>()
            .prop_map(|(create_revision, version)| TxnResult::Put { create_revision, version }),
        any::<(i64, u64, u64)>().prop_map(|(value, create_revision, version)| TxnResult::Increment {
            value,
            create_revision,
            version
        }),
        proptest::option::of(rows()).prop_map(|row| TxnResult::Get { row }),
        (vec(items, 0..3), proptest::option::of(keys()))
            .prop_map(|(items, next)| TxnResult::Range { items, next }),
        any::<u64>().prop_map(|keys| TxnResult::Deleted { keys }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (any::<bool>(), vec(inner, 0..3))
            .prop_map(|(succeeded, results)| TxnResult::Txn { succeeded, results })
    })
}

fn outcomes() -> impl Strategy<Value = TxnOutcome> {
    let refusals = prop_oneof![
        Just(TxnRefusal::TooManyKeys),
        Just(TxnRefusal::TooManyBytes),
        Just(TxnRefusal::SupersedesTooMuch),
        keys().prop_map(|key| TxnRefusal::NotANumber { key }),
        keys().prop_map(|key| TxnRefusal::Overflow { key }),
    ];
    prop_oneof![
        3 => (any::<u64>(), any::<bool>(), vec(results(), 0..4)).prop_map(|(revision, succeeded, results)| {
            TxnOutcome::Done { revision, succeeded, results }
        }),
        1 => (any::<u64>(), refusals)
            .prop_map(|(revision, refusal)| TxnOutcome::Refused { revision, refusal }),
    ]
}

/// A keyspace as one map, changed directly and put back when a transaction is refused.
#[derive(Clone, Default)]
struct Model {
    rows: BTreeMap<Vec<u8>, Row>,
    revision: u64,
}

impl Model {
    fn txn(&mut self, txn: &Txn) -> Option<(bool, Vec<TxnResult>)> {
        let before = self.clone();
        let done = self.run(txn, &before);
        match &done {
            Some(_) if self.rows != before.rows => self.revision += 1,
            Some(_) => {}
            None => *self = before,
        }
        done
    }

    fn run(&mut self, txn: &Txn, before: &Model) -> Option<(bool, Vec<TxnResult>)> {
        let succeeded = txn.compares.iter().all(|compare| before.holds(compare));
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let results: Option<Vec<TxnResult>> = ops.iter().map(|op| self.op(op, before)).collect();
        Some((succeeded, results?))
    }

    fn within<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = (&'a Vec<u8>, &'a Row)> {
        self.rows.iter().filter(move |(key, _)| match keys {
            Keys::One(one) => one == *key,
            Keys::Range(range) => **key >= range.start && range.end.as_ref().is_none_or(|end| *key < end),
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let relates = |ordering: std::cmp::Ordering| match compare.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Greater => ordering.is_gt(),
            Relation::Less => ordering.is_lt(),
        };
        let one = |row: Option<&Row>| match &compare.target {
            Target::Version(given) => relates(row.map_or(0, |row| row.version).cmp(given)),
            Target::CreateRevision(given) => relates(row.map_or(0, |row| row.create_revision).cmp(given)),
            Target::ModRevision(given) => relates(row.map_or(0, |row| row.mod_revision).cmp(given)),
            Target::Value(given) => row.is_some_and(|row| relates(row.value.cmp(given))),
        };
        let found: Vec<&Row> = self.within(&compare.keys).map(|(_, row)| row).collect();
        if found.is_empty() { one(None) } else { found.into_iter().all(|row| one(Some(row))) }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) -> (u64, u64) {
        let mod_revision = self.revision + 1;
        let (create_revision, version) =
            self.rows.get(key).map_or((mod_revision, 1), |row| (row.create_revision, row.version + 1));
        self.rows.insert(key.to_vec(), Row { create_revision, mod_revision, version, value });
        (create_revision, version)
    }

    fn op(&mut self, op: &TxnOp, before: &Model) -> Option<TxnResult> {
        Some(match op {
            TxnOp::Put { key, value, .. } => {
                let (create_revision, version) = self.put(key, value.clone());
                TxnResult::Put { create_revision, version }
            }
            TxnOp::Increment { key, by } => {
                let held = match self.rows.get(key) {
                    Some(row) => std::str::from_utf8(&row.value).ok()?.parse().ok()?,
                    None => 0_i64,
                };
                let value = held.checked_add(*by)?;
                let (create_revision, version) = self.put(key, value.to_string().into());
                TxnResult::Increment { value, create_revision, version }
            }
            TxnOp::Get { key } => TxnResult::Get { row: self.rows.get(key).cloned() },
            TxnOp::Range { range, limit, keys_only } => {
                let keys = Keys::Range(range.clone());
                let mut found = self.within(&keys);
                let item = |(key, row): (&Vec<u8>, &Row)| Item {
                    key: key.clone(),
                    row: Row { value: if *keys_only { vec![] } else { row.value.clone() }, ..*row },
                    value_bytes: row.value.len() as u64,
                };
                let items = found.by_ref().take(*limit as usize).map(item).collect();
                TxnResult::Range { items, next: found.next().map(|(key, _)| key.clone()) }
            }
            TxnOp::Delete { keys } => {
                let found: Vec<Vec<u8>> = self.within(keys).map(|(key, _)| key.clone()).collect();
                found.iter().for_each(|key| drop(self.rows.remove(key)));
                TxnResult::Deleted { keys: found.len() as u64 }
            }
            TxnOp::Txn(txn) => {
                let (succeeded, results) = self.run(txn, before)?;
                TxnResult::Txn { succeeded, results }
            }
        })
    }
}

proptest! {
    /// What a transaction answers and leaves behind is what the model says; hash and counts are those of
    /// the rows; a transaction that only reads answers alike as a question.
    #[test]
    fn transactions_do_what_the_model_says(txns in vec(txns(), 1..24)) {
        let (mut rows, mut model) = (MemoryRows::default(), Model::default());
        for (index, txn) in (1..).zip(txns.iter().filter(|txn| txn.validate().is_ok())) {
            let asked = txn.is_read_only().then(|| answer(&rows, GROUP, &Query::Txn(txn.clone())).unwrap());
            let data = codec::encode_command(&Command::Txn(txn.clone()));
            let outcome = apply(&mut rows, GROUP, LogPosition { index, term: 1 }, &data).unwrap();
            let Some(Effect::Done { outcome: Outcome::Txn(outcome), .. }) = outcome else { panic!("{outcome:?}") };
            let expected = model.txn(txn);
            match (&outcome, expected) {
                (TxnOutcome::Done { revision, succeeded, results }, Some(expected)) => {
                    prop_assert_eq!((*succeeded, results), (expected.0, &expected.1));
                    prop_assert_eq!(*revision, model.revision);
                }
                (TxnOutcome::Refused { revision, .. }, None) => prop_assert_eq!(*revision, model.revision),
                (found, expected) => prop_assert!(false, "{:?} instead of {:?}", found, expected),
            }
            if let Some(asked) = asked {
                prop_assert_eq!(asked, QueryAnswer::Txn(outcome));
            }
            let state = rows.state(GROUP);
            prop_assert_eq!((state.state_hash, state.keys, state.bytes), rows.recount(GROUP));
            prop_assert_eq!(state.revision, model.revision);
            let mut found = BTreeMap::new();
            rows.scan(GROUP, &[], Some(&RESERVED_KEY_PREFIX), &mut |key, row| {
                found.insert(key.to_vec(), row);
                true
            }).unwrap();
            prop_assert_eq!(&found, &model.rows);
        }
    }

    #[test]
    fn transactions_survive_encoding(txn in txns()) {
        let command = Command::Txn(txn.clone());
        prop_assert_eq!(codec::decode_command(&codec::encode_command(&command)), Ok(command));
        let query = Query::Txn(txn);
        prop_assert_eq!(codec::decode_query(&codec::encode_query(&query)), Ok(query));
    }

    #[test]
    fn outcomes_survive_encoding(outcome in outcomes()) {
        let first = Outcome::Txn(outcome.clone());
        prop_assert_eq!(codec::decode_outcome(&codec::encode_outcome(&first)), Ok(first));
        let second = QueryAnswer::Txn(outcome);
        prop_assert_eq!(codec::decode_answer(&codec::encode_answer(&second)), Ok(second));
    }

    /// One byte changed, cut off or added: an error, or a transaction that is written so.
    #[test]
    fn damaged_transactions_are_errors_or_others(
        txn in txns(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let command = Command::Txn(txn);
        let data = codec::encode_command(&command);
        let mut changed = data.clone();
        let at = at.index(data.len());
        changed[at] = byte;
        if let Ok(other) = codec::decode_command(&changed) {
            prop_assert_eq!(codec::encode_command(&other), changed);
        }
        prop_assert!(codec::decode_command(&data[..at]).is_err());
        prop_assert!(codec::decode_command(&[data.as_slice(), &[0]].concat()).is_err());
    }
}

/// Few bytes cannot claim many parts, nor nest without end.
#[test]
fn bombs_are_refused() {
    let head = |parts: u8| [6, 0x10, 0xff, 0xff, 0xff, 0xff, parts];
    let get = [0x02, 0x08, 0x02];
    let data = [&[1, codec::kind::TXN][..], &head(0x0f), &get.repeat(5_000)].concat();
    let error = codec::decode_command(&data).unwrap_err().to_string();
    assert_eq!(error, "command is malformed: more parts than any transaction has");
    let nested = [&[2, 0x10, 1][..], &[2, 0x08, 5]].concat();
    let data = [&[1, codec::kind::TXN][..], &nested.repeat(1_000)].concat();
    let error = codec::decode_command(&data).unwrap_err().to_string();
    assert_eq!(error, "command is malformed: transactions nest too deep");
}
