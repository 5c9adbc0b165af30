//! Runs the scripts under `testdata/`: commands, `----`, what they print, a blank line.
//! `UPDATE=1` writes what they print now; the difference is to be reviewed as behaviour.

use std::fmt::Write as _;
use std::path::Path;

use crate::cluster::{Cluster, Envelope, Setup, show};
use raft_group::LeasedRead;
use types::NodeId;
use wire::message::{RaftKind, RaftMessage, WireEntry};

#[test]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let update = std::env::var_os("UPDATE").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let actual = run(&text, Setup::default());
        if update {
            std::fs::write(&path, &actual).unwrap();
        } else {
            assert_eq!(actual, text, "{}", path.display());
        }
    }
}

/// What a script prints, up to the first broken invariant.
pub fn run(text: &str, setup: Setup) -> String {
    let mut cluster = Cluster::new(setup);
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(out, "{line}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut commands = vec![line];
        for line in lines.by_ref() {
            let _ = writeln!(out, "{line}");
            if line == "----" {
                break;
            }
            commands.push(line);
        }
        while lines.next_if(|line| !line.is_empty()).is_some() {}
        for command in &commands {
            let printed = execute(&mut cluster, command);
            if commands.len() > 1 && !printed.is_empty() {
                let _ = writeln!(out, "> {command}");
            }
            out += &printed;
            if let Some(violation) = &cluster.violation {
                let _ = writeln!(out, "BROKEN: {violation}");
                return out;
            }
        }
    }
    out
}

/// A word `name=value`.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number(words: &[&str], name: &str) -> Option<u64> {
    option(words, name).map(|value| value.parse().unwrap())
}

/// Takes the messages on the network that match `from=`, `to=` and `kind=`.
fn matching(cluster: &mut Cluster, words: &[&str]) -> Vec<Envelope> {
    let (from, to) = (number(words, "from"), number(words, "to"));
    let kind = option(words, "kind");
    let matches = |envelope: &mut Envelope| {
        from.is_none_or(|from| from == envelope.from)
            && to.is_none_or(|to| to == envelope.to)
            && kind.is_none_or(|kind| kind == format!("{:?}", envelope.message.kind()))
    };
    cluster.network.extract_if(.., matches).collect()
}

fn execute(cluster: &mut Cluster, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let node = || words[1].parse::<u64>().unwrap();
    let mut out = String::new();
    match words[0] {
        "setup" => {
            let default = Setup::default();
            #[cfg(feature = "planted")]
            let default = Setup { planted: cluster.setup.planted, ..default };
            *cluster = Cluster::new(Setup {
                nodes: number(&words, "nodes").unwrap_or(default.nodes),
                log_cache_bytes_max: number(&words, "cache").unwrap_or(default.log_cache_bytes_max),
                unapplied_bytes_max: number(&words, "unapplied").unwrap_or(default.unapplied_bytes_max),
                ..default
            });
        }
        "tick" => {
            for _ in 0..words.get(2).map_or(1, |times| times.parse().unwrap()) {
                cluster.tick(node());
            }
        }
        // No time passes between them.
        "burst" => {
            let now_ms = cluster.members[node() as usize].now_ms;
            for _ in 0..words[2].parse().unwrap() {
                cluster.with(node(), |group| group.tick(now_ms));
            }
        }
        "elect" => cluster.elect(node()),
        "settle" => cluster.settle(),
        "deliver" => {
            for envelope in matching(cluster, &words[1..]) {
                let line = show(&envelope);
                match cluster.deliver(envelope) {
                    Ok(()) => writeln!(out, "{line}").unwrap(),
                    Err(error) => writeln!(out, "{line}: {error}").unwrap(),
                }
            }
        }
        "drop" => {
            for envelope in matching(cluster, &words[1..]) {
                writeln!(out, "{}", show(&envelope)).unwrap();
                if envelope.message.kind() == RaftKind::Snapshot {
                    let to = NodeId(envelope.to);
                    cluster.with(envelope.from, |group| group.report_snapshot(to, false));
                }
            }
        }
        "net" => {
            for envelope in &cluster.network {
                writeln!(out, "{}", show(envelope)).unwrap();
            }
        }
        "copy" => {
            let copies = matching(cluster, &words[1..]);
            cluster.network.extend(copies.iter().cloned());
            cluster.network.extend(copies);
        }
        "persist" => while cluster.persist_one(node()) {},
        "writes" => {
            for write in &cluster.members[node() as usize].queue {
                let entries: Vec<_> = write.write.entries.iter().map(|e| (e.index, e.term)).collect();
                let reset = write.write.reset.map(|position| (position.index, position.term));
                let hard = write.write.hard_state.map(|hard| (hard.term, hard.vote, hard.commit));
                writeln!(out, "reset={reset:?} entries={entries:?} hard_state={hard:?}").unwrap();
            }
        }
        "propose" => match cluster.propose(node(), &words[2..]) {
            Ok(proposed) => writeln!(out, "index={} term={}", proposed.first_index, proposed.term).unwrap(),
            Err(error) => writeln!(out, "{error:?}").unwrap(),
        },
        "read" => match cluster.read_index(node()).unwrap() {
            Ok(id) => writeln!(out, "read={id}").unwrap(),
            Err(error) => writeln!(out, "{error:?}").unwrap(),
        },
        "clock" => cluster.members[node() as usize].now_ms += words[2].parse::<u64>().unwrap(),
        "lease" => {
            let now_ms = cluster.members[node() as usize].now_ms;
            match cluster.group(node()).read_by_lease(now_ms) {
                Some(LeasedRead { index, left_ms }) => {
                    writeln!(out, "index={index} left_ms={left_ms}").unwrap()
                }
                None => writeln!(out, "none").unwrap(),
            }
        }
        "reads" => {
            for (id, index) in std::mem::take(&mut cluster.members[node() as usize].reads) {
                writeln!(out, "read={id} index={index}").unwrap();
            }
        }
        "transfer" => {
            let to = NodeId(words[2].parse().unwrap());
            cluster.with(node(), |group| group.transfer_leader(to));
        }
        "unreachable" => {
            let to = NodeId(words[2].parse().unwrap());
            cluster.with(node(), |group| group.report_unreachable(to));
        }
        "report" => {
            let to = NodeId(words[2].parse().unwrap());
            cluster.with(node(), |group| group.report_snapshot(to, true));
        }
        "crash" => cluster.crash(node()),
        "crash_installing" => cluster.crash_while_installing(node()),
        "restart" => cluster.start(node()),
        "checkpoint" => cluster.checkpoint(node()),
        "forge" => {
            let (from, to) = (number(&words, "from").unwrap(), number(&words, "to").unwrap());
            let envelope = Envelope { from, to, message: forged(&words) };
            match cluster.deliver(envelope) {
                Ok(()) => writeln!(out, "accepted").unwrap(),
                Err(error) => writeln!(out, "{error}").unwrap(),
            }
        }
        "progress" => {
            for peer in cluster.group(node()).status().progress {
                let raft_group::Progress { node, matched, next, state, .. } = peer;
                writeln!(out, "{node}: matched={matched} next={next} {state}").unwrap();
            }
        }
        "show" => {
            for (node, member) in cluster.members.iter().enumerate() {
                let Some(group) = &member.group else {
                    writeln!(out, "{node}: down").unwrap();
                    continue;
                };
                let status = group.status();
                let leader = status.leader.map_or("-".to_owned(), |leader| leader.to_string());
                writeln!(
                    out,
                    "{node}: {} term={} leader={leader} log={}..={} persisted={} commit={} applied={}{}{}",
                    status.role.name(),
                    status.term,
                    status.first_index,
                    status.last_index,
                    status.persisted_index,
                    status.commit,
                    status.applied,
                    if member.install.is_some() { " installing" } else { "" },
                    if member.wants_checkpoint { " wants_checkpoint" } else { "" },
                )
                .unwrap();
            }
        }
        "accepts" => writeln!(out, "{}", cluster.group(node()).can_accept_entries()).unwrap(),
        "durable_on" => {
            let index = words[2].parse().unwrap();
            writeln!(out, "{}", cluster.group(node()).matched_count(index)).unwrap();
        }
        other => panic!("no such command: {other}"),
    }
    out
}

fn forged(words: &[&str]) -> RaftMessage {
    let kind = option(words, "kind").unwrap();
    let kind = (1..=11).map(|kind| RaftKind::try_from(kind).unwrap()).find(|k| format!("{k:?}") == kind);
    let value = |name| number(words, name).unwrap_or(0);
    let entries = option(words, "entry").into_iter().map(|entry| {
        let mut parts = entry.split('/');
        let mut number = || parts.next().unwrap().parse().unwrap();
        let (index, term) = (number(), number());
        WireEntry { index, term, data: parts.next().unwrap().to_owned().into() }
    });
    RaftMessage {
        entries: entries.collect(),
        kind: kind.unwrap() as i32,
        term: value("term"),
        index: value("index"),
        log_term: value("log_term"),
        commit: value("commit"),
        context: if words.contains(&"transfer") { b"CampaignTransfer".to_vec() } else { Vec::new() },
        reject: words.contains(&"reject"),
        reject_hint: value("hint"),
        ..RaftMessage::default()
    }
}
