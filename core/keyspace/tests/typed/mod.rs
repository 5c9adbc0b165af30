//! Typed values in scripts.

use keyspace::{Command, Expect, Query, ValueRow};
use values::{Body, Kind, Operation, Part, Score, Shown};

pub fn kind(name: &str) -> Kind {
    *Kind::ALL.iter().find(|kind| kind.name() == name).expect("a kind of values")
}

/// `KEY [CONDITION] OPERATION [; OPERATION]...`
pub fn operate(words: &[&str]) -> Command {
    let (key, mut rest) = words.split_first().expect("a key");
    let expect = match rest[0].strip_prefix("if-") {
        None => Expect::Anything,
        Some(condition) => {
            rest = &rest[1..];
            match condition {
                "absent" => Expect::Absent,
                "present" => Expect::Present,
                revision => Expect::Revision(revision.strip_prefix("revision=").unwrap().parse().unwrap()),
            }
        }
    };
    let operations = rest.split(|word| *word == ";").map(operation).collect();
    Command::Operate { key: key.as_bytes().to_vec(), operations, expect }
}

fn operation(words: &[&str]) -> Operation {
    let bytes = |word: &str| match word.strip_prefix('@') {
        Some(count) => vec![b'x'; count.parse().unwrap()],
        None => word.as_bytes().to_vec(),
    };
    let all = |words: &[&str]| words.iter().map(|word| bytes(word)).collect();
    let score = |word: &str| Score::new(word.parse().unwrap()).unwrap();
    match words {
        ["set", value] => Operation::Assign { value: bytes(value) },
        ["increment", by] => Operation::Add { by: by.parse().unwrap() },
        ["reset"] => Operation::Reset,
        ["add", members @ ..] => Operation::Insert { members: all(members) },
        ["remove", members @ ..] => Operation::Remove { members: all(members) },
        ["put", field, value] => Operation::Put { field: bytes(field), value: bytes(value) },
        ["remove_field", field] => Operation::RemoveField { field: bytes(field) },
        ["within", field, inner @ ..] => {
            Operation::Within { field: bytes(field), operation: Box::new(operation(inner)) }
        }
        ["score", member, number] => Operation::Score { member: bytes(member), score: score(number) },
        ["increment_score", member, by] => Operation::AddScore { member: bytes(member), by: score(by) },
        _ => panic!("no such operation: {words:?}"),
    }
}

/// `KEY [member NAME | members START LIMIT | field NAME | scores SKIP LIMIT]`
pub fn query(key: &str, part: &[&str]) -> Query {
    let bytes = |word: &str| word.as_bytes().to_vec();
    let part = match part {
        [] => Part::Whole,
        ["member", member] => Part::Member { member: bytes(member) },
        ["members", start, limit] => Part::Members { start: bytes(start), limit: limit.parse().unwrap() },
        ["field", field] => Part::Field { field: bytes(field) },
        ["scores", skip, limit] => {
            let (skip, limit) = (skip.parse().unwrap(), limit.parse().unwrap());
            Part::Scores { min: None, max: None, skip, limit, descending: true }
        }
        _ => panic!("no such part: {part:?}"),
    };
    Query::Value { key: bytes(key), part }
}

pub fn show(row: Option<ValueRow>) -> String {
    let Some(ValueRow { create_revision, mod_revision, version, shown }) = row else {
        return "no such key".into();
    };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let shown = match shown {
        Shown::Value(value) => match value.body() {
            Body::Register(_) => "a register".into(),
            Body::Counter(counter) => counter.get().to_string(),
            Body::Set(set) => set.members_from(b"").map(text).collect::<Vec<_>>().join(" "),
            Body::SortedSet(set) => {
                let scores = set.by_score().into_iter();
                scores
                    .map(|(member, score)| format!("{}={score}", text(member)))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            Body::Map(map) => {
                let field = |(name, field): (&[u8], &values::Field)| {
                    let register = field.register.as_ref().and_then(|register| register.get().map(text));
                    let counter = field.counter.as_ref().map(values::Counter::get);
                    let set =
                        field.set.as_ref().map(|set| set.members_from(b"").map(text).collect::<Vec<_>>());
                    format!("\n  {}: register={register:?} counter={counter:?} set={set:?}", text(name))
                };
                map.fields().map(field).collect()
            }
        },
        other => format!("{other:?}"),
    };
    format!("create_revision={create_revision} mod_revision={mod_revision} version={version}: {shown}")
}
