//! Runs `testdata/*.txt`: a command, `----`, and what it answered, up to an empty line. `UPDATE=1`
//! writes the answers anew; the difference is then to be reviewed as behaviour.
//!
//! Keys and values may have `\xNN` escapes; `""` is empty; `@N` is a text of N bytes.

mod leases;
mod memory;
mod transactions;
mod typed;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use keyspace::history::{Events, Floor, NotReadable, Version, Wanted, count_records, events, floor};
use keyspace::{
    Command, Effect, Expect, Fence, IdempotencyKey, KeyRange, Once, Outcome, Query, QueryAnswer, Terms,
    answer, apply, entry,
};
use memory::MemoryRows;
use storage::{ReadRows, Row};
use transactions::{show_txn, txn};
use types::{GroupId, LogPosition, contract::Values};

const GROUP: GroupId = GroupId(2);

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let actual = run(&script);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        assert_eq!(actual, expected, "{}; UPDATE=1 accepts", path.display());
    }
}

/// The script with every answer as it is now.
fn run(script: &str) -> String {
    let mut machine = Machine::default();
    let mut output = String::new();
    let mut in_answer = false;
    for line in script.lines() {
        in_answer = in_answer && !line.is_empty();
        if in_answer || line == "----" {
            in_answer = true;
            continue;
        }
        writeln!(output, "{line}").unwrap();
        if !line.is_empty() && !line.starts_with('#') {
            writeln!(output, "----\n{}", machine.step(line)).unwrap();
        }
    }
    output
}

#[derive(Default)]
struct Machine {
    rows: MemoryRows,
    term: u64,
    quota_bytes: Option<u64>,
    fence: Option<Fence>,
    values: Option<Values>,
}

impl Machine {
    fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["term"] => {
                self.term += 1;
                self.apply(&[])
            }
            ["put", key, value, ref options @ ..] => self.command(&Command::Put {
                key: bytes(key),
                value: bytes(value),
                expect: expect(options),
                lease: None,
            }),
            ["delete", key, ref options @ ..] => {
                self.command(&Command::Delete { key: bytes(key), expect: expect(options) })
            }
            ["txn", ref words @ ..] => {
                let txn = txn(&mut words.iter().copied().peekable());
                if txn.is_read_only() {
                    self.query(&Query::Txn(txn))
                } else {
                    self.command(&Command::Txn(txn))
                }
            }
            ["fill", prefix, count] => self.fill(prefix, count.parse().unwrap()),
            ["once", key, elapsed_ms, ttl_ms, keys_max, ref command @ ..] => {
                let number = |text: &str| text.parse::<u64>().unwrap();
                let (elapsed_ms, ttl_ms, keys_max) = (number(elapsed_ms), number(ttl_ms), number(keys_max));
                match IdempotencyKey::new(bytes(key)) {
                    Ok(key) => self.once(&Once { key, elapsed_ms, ttl_ms, keys_max }, command),
                    Err(problem) => format!("{problem}\nnext step: {}", problem.next_step),
                }
            }
            ["fence", name, token, ref words @ ..] => {
                self.fence = Some(Fence { name: bytes(name), token: token.parse().unwrap() });
                let answer = self.step(&words.join(" "));
                self.fence = None;
                answer
            }
            ["lease" | "lock", ..] => match leases::asked(&words) {
                // Which no client can ask for.
                leases::Asked::Command(expire) if words[1] == "expire" => {
                    self.apply(&entry::encode_entry(&Terms::default(), &expire))
                }
                leases::Asked::Command(command) => self.command(&command),
                leases::Asked::Query(query) => self.query(&query),
            },
            ["entry", ref hex @ ..] => self.apply(&hex_bytes(hex)),
            ["get", key] => self.query(&Query::Get { key: bytes(key) }),
            ["range", start, end, ref options @ ..] => {
                let end = (end != "-").then(|| bytes(end));
                self.query(&range(KeyRange { start: bytes(start), end }, options))
            }
            ["prefix", prefix, ref options @ ..] => {
                self.query(&range(keyspace::prefix_range(&bytes(prefix)), options))
            }
            ["bounds-of-prefix", prefix] => {
                let range = keyspace::prefix_range(&bytes(prefix));
                format!("{} to {}", show(&range.start), range.end.map_or("-".into(), |e| show(&e)))
            }
            ["values", kind] => {
                self.values = Some(typed::kind(kind));
                format!("values are {kind}")
            }
            ["operate", ref words @ ..] => self.command(&typed::operate(words)),
            ["show", key, ref part @ ..] => self.query(&typed::query(key, part)),
            ["quota", quota_bytes] => {
                self.quota_bytes = Some(quota_bytes.parse().unwrap());
                format!("at most {quota_bytes} bytes")
            }
            ["compact", revision] => {
                self.command(&Command::Compact { revision: revision.parse().unwrap(), shard: None })
            }
            ["reclaim", events_max] => {
                let command = Command::Reclaim { events_max: events_max.parse().unwrap() };
                self.apply(&entry::encode_entry(&Terms::default(), &command))
            }
            ["at", revision, "get", key] => {
                let query = Box::new(Query::Get { key: bytes(key) });
                self.query(&Query::At { revision: revision.parse().unwrap(), query })
            }
            ["at", revision, "range", start, end, ref options @ ..] => {
                let end = (end != "-").then(|| bytes(end));
                let query = Box::new(range(KeyRange { start: bytes(start), end }, options));
                self.query(&Query::At { revision: revision.parse().unwrap(), query })
            }
            ["events", from, ref options @ ..] => self.events(from.parse().unwrap(), options),
            ["records"] => self.records(),
            ["state"] => self.state(),
            ["hash"] => self.hash(),
            _ => panic!("no such command: {line}"),
        };
        answer.trim_end().to_owned()
    }

    fn command(&mut self, command: &Command) -> String {
        match command.validate() {
            Ok(()) => {
                let fence = self.fence.clone();
                let values = self.values.filter(|_| matches!(command, Command::Operate { .. }));
                let terms = Terms { quota_bytes: self.quota_bytes, fence, values, ..Terms::default() };
                self.apply(&entry::encode_entry(&terms, command))
            }
            Err(problem) => format!("{problem}\nnext step: {}", problem.next_step),
        }
    }

    fn once(&mut self, once: &Once, words: &[&str]) -> String {
        let command = match *words {
            ["put", key, value, ref options @ ..] => {
                Command::Put { key: bytes(key), value: bytes(value), expect: expect(options), lease: None }
            }
            ["delete", key, ref options @ ..] => Command::Delete { key: bytes(key), expect: expect(options) },
            ["operate", ref words @ ..] => typed::operate(words),
            _ => panic!("no such command: {words:?}"),
        };
        let fence = self.fence.clone();
        let values = self.values.filter(|_| matches!(command, Command::Operate { .. }));
        let terms = Terms { quota_bytes: self.quota_bytes, fence, values, ..Terms::from(once.clone()) };
        self.apply(&entry::encode_entry(&terms, &command))
    }

    fn apply(&mut self, data: &[u8]) -> String {
        let index = self.rows.state(GROUP).applied_index + 1;
        let position = LogPosition { index, term: self.term };
        match apply(&mut self.rows, GROUP, position, data) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(Effect::Done { outcome, deduplicated: false })) => show_outcome(outcome),
            Ok(Some(Effect::Done { outcome, deduplicated: true })) => {
                format!("deduplicated: {}", show_outcome(outcome))
            }
            Ok(Some(Effect::KeyReused)) => "refused: the idempotency key is of another command".to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    /// Puts so many keys.
    fn fill(&mut self, prefix: &str, count: usize) -> String {
        for number in 0..count {
            let key = format!("{prefix}{number:05}").into_bytes();
            let value = b"1".to_vec();
            self.command(&Command::Put { key, value, expect: Expect::Anything, lease: None });
        }
        self.state()
    }

    fn query(&self, query: &Query) -> String {
        if let Err(problem) = query.validate() {
            return format!("{problem}\nnext step: {}", problem.next_step);
        }
        match answer(&self.rows, GROUP, query).unwrap() {
            QueryAnswer::Get { revision, row: None } => format!("revision={revision} no such key"),
            QueryAnswer::Get { revision, row: Some(row) } => {
                format!("revision={revision} {}", show_row(&row))
            }
            QueryAnswer::Range { revision, items, next } => {
                let mut text = format!("revision={revision} items={}\n", items.len());
                for item in items {
                    let (key, row) = (show(&item.key), show_row(&item.row));
                    writeln!(text, "{key}: {row} value_bytes={}", item.value_bytes).unwrap();
                }
                text + &format!("next={}", next.map_or("-".to_owned(), |next| show(&next)))
            }
            QueryAnswer::Value { revision, row } => format!("revision={revision} {}", typed::show(row)),
            QueryAnswer::Txn(outcome) => format!("read {}", show_txn(&outcome)),
            QueryAnswer::NotReadable(NotReadable { asked, revision, floor }) => {
                format!("not readable: asked={asked} revision={revision} floor={floor}")
            }
            QueryAnswer::Lease(answer) => leases::show_answer(&answer),
        }
    }

    /// What a watch from a revision reads, in one page.
    fn events(&self, from: u64, options: &[&str]) -> String {
        let mut prefix = Vec::new();
        let mut wanted =
            Wanted { range: &KeyRange::default(), prev: false, events_max: 100, bytes_max: 1 << 20 };
        for option in options {
            match option.split_once('=') {
                Some(("prefix", text)) => prefix = bytes(text),
                Some(("events", text)) => wanted.events_max = text.parse().unwrap(),
                Some(("bytes", text)) => wanted.bytes_max = text.parse().unwrap(),
                None if *option == "prev" => wanted.prev = true,
                _ => panic!("no such option: {option}"),
            }
        }
        let range = keyspace::prefix_range(&prefix);
        let (revisions, next) =
            match events(&self.rows, GROUP, from, Wanted { range: &range, ..wanted }).unwrap() {
                Events::Compacted(floor) => return format!("compacted: floor={}", floor.revision),
                Events::Page { revisions, next } => (revisions, next),
            };
        let mut text = String::new();
        for revision in revisions {
            for event in revision.events {
                let what = match &event.put {
                    Some(put) => format!("put {}", show_version(put)),
                    None => "deleted".to_owned(),
                };
                let (at, key) = (revision.revision, show(&event.key));
                write!(text, "{at} {key}: {what} prev_revision={}", event.prev_revision).unwrap();
                let prev = event.prev.map(|prev| format!(" prev=({})", show_version(&prev)));
                writeln!(text, "{}", prev.unwrap_or_default()).unwrap();
            }
        }
        text + &format!("next={next}")
    }

    /// Records of the history, counted by kind.
    fn records(&self) -> String {
        let (events, versions) = count_records(&self.rows, GROUP).unwrap();
        let Floor { revision, reclaimed } = floor(&self.rows, GROUP).unwrap();
        format!("events={events} versions={versions} floor={revision} reclaimed={reclaimed}")
    }

    fn state(&self) -> String {
        let state = self.rows.state(GROUP);
        format!(
            "applied={}@{} revision={} keys={} bytes={}",
            state.applied_index, state.applied_term, state.revision, state.keys, state.bytes
        )
    }

    fn hash(&self) -> String {
        let state = self.rows.state(GROUP);
        let counted = (state.state_hash, state.keys, state.bytes);
        assert_eq!(counted, self.rows.recount(GROUP), "the state disagrees with the rows");
        format!("{:032x}", state.state_hash)
    }
}

fn show_outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Put { revision, create_revision, version } => {
            format!("put revision={revision} create_revision={create_revision} version={version}")
        }
        Outcome::Deleted { revision, existed } => format!("deleted revision={revision} existed={existed}"),
        Outcome::Conflict { revision, current } => format!("conflict revision={revision} current={current}"),
        Outcome::OverQuota { revision, bytes, quota_bytes } => {
            format!("over quota: revision={revision} bytes={bytes} quota_bytes={quota_bytes}")
        }
        Outcome::Operated { revision, create_revision, version, answers } => format!(
            "operated revision={revision} create_revision={create_revision} version={version} {answers:?}"
        ),
        Outcome::OperateRefused { revision, refusal } => {
            format!("refused: revision={revision} {refusal}\nnext step: {}", refusal.next_step())
        }
        Outcome::Txn(outcome) => show_txn(&outcome),
        Outcome::Compacted { revision, floor, ahead } => {
            format!("compacted revision={revision} floor={floor} ahead={ahead}")
        }
        Outcome::Reclaimed { revision, events, done } => {
            format!("reclaimed revision={revision} events={events} done={done}")
        }
        Outcome::Lease(outcome) => leases::show_outcome(&outcome),
        Outcome::Fenced { revision, current } => {
            format!(
                "fenced: revision={revision} current={}",
                current.map_or("-".to_owned(), |c| c.to_string())
            )
        }
    }
}

fn range(range: KeyRange, options: &[&str]) -> Query {
    let mut limit = 10;
    let mut keys_only = false;
    for option in options {
        match option.split_once('=') {
            Some(("limit", text)) => limit = text.parse().unwrap(),
            None if *option == "keys-only" => keys_only = true,
            _ => panic!("no such option: {option}"),
        }
    }
    Query::Range { range, limit, keys_only }
}

fn expect(options: &[&str]) -> Expect {
    match options {
        [] => Expect::Anything,
        ["if-absent"] => Expect::Absent,
        ["if-present"] => Expect::Present,
        [one] => {
            let revision = one.strip_prefix("if-revision=").expect("an expectation");
            Expect::Revision(revision.parse().unwrap())
        }
        _ => panic!("no such expectation: {options:?}"),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    if text == "\"\"" {
        return Vec::new();
    }
    if let Some(count) = text.strip_prefix('@') {
        return vec![b'x'; count.parse().unwrap()];
    }
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn hex_bytes(words: &[&str]) -> Vec<u8> {
    words.iter().map(|word| u8::from_str_radix(word, 16).unwrap()).collect()
}

fn show(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "\"\"".to_owned(),
        1..=32 => bytes.escape_ascii().to_string(),
        count => format!("@{count}"),
    }
}

fn show_version(version: &Version) -> String {
    let Version { create_revision, mod_revision, version, value } = version;
    let value = value.to_vec();
    show_row(&Row {
        create_revision: *create_revision,
        mod_revision: *mod_revision,
        version: *version,
        value,
    })
}

fn show_row(row: &Row) -> String {
    let Row { create_revision, mod_revision, version, value } = row;
    format!(
        "value={} create_revision={create_revision} mod_revision={mod_revision} version={version}",
        show(value)
    )
}
