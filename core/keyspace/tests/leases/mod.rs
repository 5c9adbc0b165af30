//! Leases and locks in scripts: what their words ask for, and what is answered.

use keyspace::{Command, Expect, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LockWait, Query};

use crate::{bytes, show};

/// What a line asks.
pub enum Asked {
    Command(Command),
    Query(Query),
}

pub fn asked(words: &[&str]) -> Asked {
    let command = |command| Asked::Command(Command::Lease(command));
    let query = |query| Asked::Query(Query::Lease(query));
    let number = |text: &str| text.parse::<u64>().unwrap();
    match *words {
        ["lease", "grant", id, ttl_ms] => {
            let id = (id != "-").then(|| id.parse().unwrap());
            command(LeaseCommand::Grant { id, ttl_ms: number(ttl_ms), beside: Vec::new() })
        }
        ["lease", "revoke", id] => command(LeaseCommand::Revoke { id: id.parse().unwrap() }),
        ["lease", "expire", id, granted, term] => command(LeaseCommand::Expire {
            id: id.parse().unwrap(),
            granted: number(granted),
            term: number(term),
        }),
        ["lease", "put", id, key, value] => {
            let (key, value) = (bytes(key), bytes(value));
            let lease = Some(id.parse().unwrap());
            Asked::Command(Command::Put { key, value, expect: Expect::Anything, lease })
        }
        ["lease", "show", id] => query(LeaseQuery::Show { id: id.parse().unwrap() }),
        ["lease", "list", after, limit] => {
            let after = (after != "-").then(|| after.parse().unwrap());
            query(LeaseQuery::List { shard: 0, after, limit: limit.parse().unwrap() })
        }
        ["lock", "enter", name, lease, ref value @ ..] => command(LeaseCommand::Enter {
            name: bytes(name),
            lease: lease.parse().unwrap(),
            value: value.first().map(|value| bytes(value)),
        }),
        ["lock", "show", name] => query(LeaseQuery::Lock { name: bytes(name), wait: LockWait::No }),
        ["lock", "turn", name, token] => {
            let wait = LockWait::Turn { token: number(token) };
            query(LeaseQuery::Lock { name: bytes(name), wait })
        }
        _ => panic!("no such command: {words:?}"),
    }
}

pub fn show_outcome(outcome: &LeaseOutcome) -> String {
    match outcome {
        LeaseOutcome::Granted { revision, id, ttl_ms, granted } => {
            format!("granted revision={revision} lease={id} ttl_ms={ttl_ms} granted={granted}")
        }
        LeaseOutcome::Ended { revision, id, keys } => {
            format!("ended revision={revision} lease={id} keys={keys}")
        }
        LeaseOutcome::Entered { revision, token, held } => {
            format!("entered revision={revision} token={token} held={held}")
        }
        LeaseOutcome::NotFound { revision, id } => format!("no such lease: revision={revision} lease={id}"),
        LeaseOutcome::Exists { revision, id } => format!("lease exists: revision={revision} lease={id}"),
        LeaseOutcome::Full { revision, id } => {
            format!("full: revision={revision} lease={}", id.map_or("-".to_owned(), |id| id.to_string()))
        }
    }
}

pub fn show_answer(answer: &LeaseAnswer) -> String {
    match answer {
        LeaseAnswer::Lease { revision, id, lease: None, .. } => {
            format!("revision={revision} no such lease: {id}")
        }
        LeaseAnswer::Lease { revision, id, lease: Some(lease), keys, .. } => {
            let keys: Vec<String> = keys.iter().map(|key| show(key)).collect();
            let keys = keys.join(" ");
            format!(
                "revision={revision} lease={id} ttl_ms={} count={} keys=[{keys}]",
                lease.ttl_ms, lease.keys
            )
        }
        LeaseAnswer::List { revision, leases, more } => {
            let leases: Vec<String> = leases.iter().map(|(id, _)| id.to_string()).collect();
            format!("revision={revision} leases=[{}] more={more}", leases.join(" "))
        }
        LeaseAnswer::Lock { revision, holder, waiters, queued } => {
            let holder = holder.as_ref().map_or("-".to_owned(), |holder| {
                format!("{} token={} value={}", holder.lease, holder.token, show(&holder.value))
            });
            format!("revision={revision} holder={holder} waiters={waiters} queued={queued}")
        }
    }
}
