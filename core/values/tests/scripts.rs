//! Runs `testdata/*.txt`, where each command is answered on its own line behind ` -> `; `UPDATE=1` writes the answers
//! anew.

#[allow(dead_code, reason = "the account is for the properties")]
mod replicas;

use std::{fs, path::Path};

use replicas::{World, score};
use values::{Body, Kind, Operation, Part, Shown, codec::encode_value};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let mut world = World::new(Kind::Set, 3);
        let mut actual = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let command = line.split(" -> ").next().unwrap();
            actual += command;
            if !command.is_empty() && !command.starts_with('#') {
                let answer = step(&mut world, &command.split_whitespace().collect::<Vec<_>>());
                actual += &answer.map_or(String::new(), |answer| format!(" -> {answer}"));
            }
            actual += "\n";
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        assert_eq!(actual, fs::read_to_string(&path).unwrap(), "{}; UPDATE=1 accepts", path.display());
    }
}

fn step(world: &mut World, words: &[&str]) -> Option<String> {
    let replica = |name: &str| name.bytes().next().map(|letter| usize::from(letter - b'a')).unwrap();
    match words {
        ["new", kind] => {
            let kind = Kind::ALL.iter().find(|known| known.name() == *kind).unwrap();
            *world = World::new(*kind, 3);
            None
        }
        ["merge", into, from] => {
            world.merge(replica(into), replica(from));
            None
        }
        ["show", name] => Some(show(world, replica(name))),
        ["agree"] => {
            (1..3).for_each(|from| world.merge(0, from));
            (1..3).for_each(|into| world.merge(into, 0));
            let encoded = [0, 1, 2].map(|at| encode_value(&world.replicas[at].value));
            assert!(encoded.iter().all(|bytes| *bytes == encoded[0]));
            Some(format!("{} ({} bytes)", show(world, 0), encoded[0].len()))
        }
        ["member", name, member] => {
            let part = Part::Member { member: member.as_bytes().to_vec() };
            Some(format!("{:?}", part.of(&world.replicas[replica(name)].value)))
        }
        ["scores", name, skip, limit] => {
            let (skip, limit) = (skip.parse().unwrap(), limit.parse().unwrap());
            let part = Part::Scores { min: None, max: None, skip, limit, descending: true };
            let Shown::Scores { scores, total, next } = part.of(&world.replicas[replica(name)].value) else {
                panic!("a sorted set has scores")
            };
            let scores: Vec<String> =
                scores.iter().map(|(member, score)| format!("{} {score}", member.escape_ascii())).collect();
            Some(format!("{} of {total}, next {next:?}", scores.join(", ")))
        }
        [name, operation @ ..] => Some(match world.apply(replica(name), &parse(operation)) {
            Ok(answer) => format!("{answer:?}"),
            Err(refusal) => format!("refused: {refusal}; {}", refusal.next_step()),
        }),
        [] => unreachable!("an empty line is no command"),
    }
}

fn parse(words: &[&str]) -> Operation {
    let bytes = |word: &str| word.as_bytes().to_vec();
    let all = |words: &[&str]| words.iter().map(|word| bytes(word)).collect();
    match words {
        ["set", value] => Operation::Assign { value: bytes(value) },
        ["increment", by] => Operation::Add { by: by.parse().unwrap() },
        ["reset"] => Operation::Reset,
        ["add", members @ ..] => Operation::Insert { members: all(members) },
        ["remove", members @ ..] => Operation::Remove { members: all(members) },
        ["put", field, value] => Operation::Put { field: bytes(field), value: bytes(value) },
        ["remove_field", field] => Operation::RemoveField { field: bytes(field) },
        ["within", field, inner @ ..] => {
            Operation::Within { field: bytes(field), operation: Box::new(parse(inner)) }
        }
        ["score", member, number] => {
            Operation::Score { member: bytes(member), score: score(number.parse().unwrap()) }
        }
        ["increment_score", member, by] => {
            Operation::AddScore { member: bytes(member), by: score(by.parse().unwrap()) }
        }
        _ => panic!("no such operation: {words:?}"),
    }
}

fn show(world: &World, at: usize) -> String {
    let counters: Vec<String> = match world.replicas[at].value.body() {
        Body::Counter(counter) => vec![counter.get().to_string()],
        Body::Map(map) => map
            .fields()
            .filter_map(|(name, field)| {
                let counter = field.counter.as_ref()?;
                Some(format!("{}#{}", name.escape_ascii(), counter.get()))
            })
            .collect(),
        _ => Vec::new(),
    };
    let shown = world.shown(at).into_iter().map(|(name, what)| match (name.as_str(), what.as_str()) {
        ("", what) => what.to_owned(),
        (name, "") => name.to_owned(),
        (name, what) => format!("{name} {what}").replace("= ", "="),
    });
    format!("[{}]", counters.into_iter().chain(shown).collect::<Vec<_>>().join(", "))
}
