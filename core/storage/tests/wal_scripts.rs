//! Runs the scripts in `testdata/wal`: a command, `----`, what it answers, an empty line.
//! `UPDATE=1 cargo test -p storage --test wal_scripts` writes the answers anew; review the diff.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc};

use storage::{AppendError, Files, Identity, MemFiles, OpenError, Recovered, Wal, WalOptions};
use types::{ClusterId, Entry, GroupId, GroupWrite, HardState, LogPosition, NodeId, WriteBatch, WriteSeq};

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wal");
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", directory.display());
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let answered = run(&script);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, answered).unwrap();
        } else {
            assert_eq!(script, answered, "{} answers otherwise", path.display());
        }
    }
}

/// Runs a script and answers it with the answers replaced.
fn run(script: &str) -> String {
    let mut bench = Bench::default();
    let mut paragraphs = Vec::new();
    for paragraph in script.split("\n\n") {
        let lines = paragraph.lines().take_while(|line| *line != "----");
        let (comments, commands): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('#'));
        assert_eq!(commands.len(), 1, "one command a paragraph: {paragraph}");
        let answer = bench.command(commands[0]);
        let lines = [comments, commands, vec!["----", answer.trim_end()]].concat();
        paragraphs.push(lines.join("\n"));
    }
    paragraphs.join("\n\n") + "\n"
}

#[derive(Default)]
struct Bench {
    files: MemFiles,
    wal: Option<Wal>,
    boots: u64,
}

/// The words of a command: `key=value` or bare.
struct Words<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Words<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.get(key).map_or(default, number)
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

/// `index@term`.
fn position(text: &str) -> LogPosition {
    let (index, term) = text.split_once('@').unwrap_or_else(|| panic!("{text} is not index@term"));
    LogPosition { index: number(index), term: number(term) }
}

impl Bench {
    fn command(&mut self, line: &str) -> String {
        let mut parts = line.split_whitespace();
        let verb = parts.next().unwrap();
        let words = Words(parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect());
        let bare = |at: usize| words.0.get(at).map_or("", |(name, _)| *name);
        match verb {
            "open" => self.open(&words),
            "close" => {
                self.wal = None;
                "ok".into()
            }
            "append" => self.append(&words),
            "retain" => {
                let needed =
                    words.0.iter().map(|(group, index)| (GroupId(number(group)), number(index))).collect();
                let freed = self.wal().retain(&needed);
                format!("{freed:?}\n{}", self.stats())
            }
            "spare" => format!("{:?}\n{}", self.wal().try_make_spare(), self.stats()),
            "stats" => self.stats(),
            "files" => self.files(),
            "capacity" => {
                self.files.set_capacity(match bare(0) {
                    "none" => None,
                    bytes => Some(number(bytes)),
                });
                "ok".into()
            }
            "crash" => {
                self.wal = None;
                let choice = u64::from(bare(0) == "keep");
                self.files.crash(&mut || choice);
                "ok".into()
            }
            "fail-sync" => {
                self.files.fail_sync(number(bare(0)));
                "ok".into()
            }
            "flip" => {
                self.files.flip(bare(0), number(bare(1)), 0x10);
                "ok".into()
            }
            "zero" => self.edit(bare(0), |bytes| {
                bytes[number(bare(1)) as usize..][..number(bare(2)) as usize].fill(0);
            }),
            "truncate" => self.edit(bare(0), |bytes| bytes.truncate(number(bare(1)) as usize)),
            "version" => self.edit(bare(0), |bytes| {
                bytes[8..12].copy_from_slice(&(number(bare(1)) as u32).to_le_bytes());
                let crc = crc32fast::hash(&bytes[..4092]);
                bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
            }),
            "rename" => format!("{:?}", self.files.rename(bare(0), bare(1))),
            "remove" => format!("{:?}", self.files.remove(bare(0))),
            _ => panic!("unknown command {line}"),
        }
    }

    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().expect("the script opens the log first")
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = self.files.contents(name).unwrap();
        change(&mut bytes);
        self.files.set_contents(name, bytes);
        "ok".into()
    }

    fn open(&mut self, words: &Words<'_>) -> String {
        self.wal = None;
        self.boots += 1;
        let cluster = ClusterId([words.number("cluster", 7) as u8; 16]);
        let identity = Identity { cluster, node: NodeId(words.number("node", 0)) };
        let options = WalOptions {
            segment_bytes: words.number("segment", 8192),
            entry_reserve_bytes: words.number("reserve", 512),
            boot_nonce: self.boots,
        };
        let before = self.files.copy();
        match Wal::open(Arc::new(self.files.clone()), &identity, options) {
            Ok((wal, recovered)) => {
                self.wal = Some(wal);
                show(&recovered) + &self.stats()
            }
            Err(error) => {
                if !matches!(error, OpenError::Disk(_)) {
                    assert_same_disk(&before, &self.files);
                }
                format!("{error}")
            }
        }
    }

    fn append(&mut self, words: &Words<'_>) -> String {
        let count = words.number("count", 0);
        let entries = words.get("from").map(position).map_or(Vec::new(), |first| {
            let data = Arc::from(vec![b'x'; words.number("bytes", 100) as usize]);
            let entry = |index| Entry { index, term: first.term, data: Arc::clone(&data) };
            (first.index..first.index + count.max(1)).map(entry).collect()
        });
        let hard_state = words.get("hard").map(|text| {
            let parts: Vec<u64> = text.split(',').map(number).collect();
            HardState { term: parts[0], vote: parts[1], commit: parts[2] }
        });
        let reset = words.get("reset").map(position);
        let write = GroupWrite { group: GroupId(words.number("group", 1)), reset, entries, hard_state };
        let answer = self.wal().append(&[WriteBatch { seq: WriteSeq(1), groups: vec![write] }]);
        let answer = match answer {
            Ok(()) => "ok".to_owned(),
            Err(error @ AppendError::Disk(_)) => return format!("{error}"),
            Err(error) => format!("{error}"),
        };
        format!("{answer}\n{}", self.stats())
    }

    fn stats(&mut self) -> String {
        let space = self.wal().has_space_for_entries();
        let stats = self.wal().stats();
        format!(
            "segments={} spares={} active={}:{} space={space}\n",
            stats.segments, stats.spares, stats.active_sequence, stats.active_offset
        )
    }

    fn files(&self) -> String {
        let names = self.files.list().unwrap();
        names.iter().fold(String::new(), |mut out, name| {
            writeln!(out, "{name} {}", self.files.contents(name).unwrap().len()).unwrap();
            out
        })
    }
}

fn assert_same_disk(before: &MemFiles, after: &MemFiles) {
    assert_eq!(before.list().unwrap(), after.list().unwrap(), "a refused log is not changed");
    for name in before.list().unwrap() {
        assert!(before.contents(&name) == after.contents(&name), "a refused log is not changed: {name}");
    }
}

fn show(recovered: &Recovered) -> String {
    let mut out = String::new();
    if let Some(torn) = &recovered.truncated {
        writeln!(out, "truncated {} at {}: {} bytes", torn.file, torn.offset, torn.bytes).unwrap();
    }
    for (group, log) in &recovered.groups {
        let mut terms: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for entry in &log.entries {
            terms.entry(entry.term).or_insert((entry.index, entry.index)).1 = entry.index;
        }
        let terms: String =
            terms.iter().map(|(term, (first, last))| format!(" {first}..{last}@{term}")).collect();
        let HardState { term, vote, commit } = log.hard_state;
        let LogPosition { index, term: start_term } = log.start;
        writeln!(
            out,
            "group {group}: hard={term},{vote},{commit} start={index}@{start_term} entries:{terms}"
        )
        .unwrap();
    }
    out
}
