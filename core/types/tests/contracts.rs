//! Runs `testdata/contracts/*.txt`: a command, `----`, and what it answered, up to an empty line. `UPDATE=1`
//! writes the answers anew; the difference is then to be reviewed as behaviour.
//!
//! Commands: `parse CONTRACT`, `check NODES CONTRACT`, `supported NODES CONTRACT`, `explain NODES CONTRACT`,
//! `name NAME`, `alter NODES CHANGES of CONTRACT`. A contract is JSON.

use std::{fmt::Write as _, fs, path::Path};

use types::{
    Contract,
    contract::{Ack, Changes, OnPartition, Read, Reconcile, Replication, Values, check_name},
};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/contracts");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
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

fn run(script: &str) -> String {
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
            writeln!(output, "----\n{}", step(line)).unwrap();
        }
    }
    output
}

fn step(line: &str) -> String {
    let (command, rest) = line.split_once(' ').unwrap();
    if command == "name" {
        return match check_name(rest.trim_matches('"')) {
            Ok(()) => "ok".into(),
            Err(problem) => problem.to_string(),
        };
    }
    if command == "alter" {
        return alter(rest);
    }
    let (nodes, json) = if command == "parse" { ("3", rest) } else { rest.split_once(' ').unwrap() };
    let nodes: u32 = nodes.parse().unwrap();
    let contract: Contract = match serde_json::from_str(json) {
        Ok(contract) => contract,
        Err(error) => return format!("error: {error}"),
    };
    match command {
        "parse" => serde_json::to_string(&contract).unwrap(),
        "check" => contract.check(nodes).map_or_else(|refusal| refusal.to_string(), |()| "holds".into()),
        "supported" => contract.unsupported(nodes).map_or_else(|| "kept".into(), |what| what.to_string()),
        "explain" => {
            let said = contract.explain(nodes);
            let lines = [
                format!(
                    "budget {}, with one slow {}",
                    said.failures_survived, said.failures_survived_with_one_slow
                ),
                format!("one failure: {}", said.one_failure),
                format!("two failures: {}", said.two_failures),
                format!("partition: {}", said.partition),
                format!("slow node: {}", said.slow_node),
            ];
            let notes = said.notes.iter().map(|note| format!("note: {note}"));
            lines.into_iter().chain(notes).collect::<Vec<_>>().join("\n")
        }
        other => panic!("no command {other}"),
    }
}

/// What the node asked does with changes: refuses what is fixed, then what contradicts.
fn alter(rest: &str) -> String {
    let (nodes, rest) = rest.split_once(' ').unwrap();
    let (changes, contract) = rest.split_once(" of ").unwrap();
    let nodes: u32 = nodes.parse().unwrap();
    let contract: Contract = serde_json::from_str(contract).unwrap();
    let changes: Changes = match serde_json::from_str(changes) {
        Ok(changes) => changes,
        Err(error) => return format!("error: {error}"),
    };
    let contract = contract.resolved(nodes);
    let altered = changes.apply(contract).resolved(nodes);
    if let Some((field, reason)) = contract.refuses_change(&altered) {
        return format!("{field} stays: {reason}");
    }
    match altered.check(nodes) {
        Ok(()) => format!("altered: {}", contract.differences(&altered).join(", ")),
        Err(refusal) => refusal.to_string(),
    }
}

/// Every combination of words, and numbers within and beyond their limits.
fn all_contracts() -> Vec<Contract> {
    let mut all = Vec::new();
    for &replication in Replication::ALL {
        for &on_partition in OnPartition::ALL {
            for &ack in Ack::ALL {
                for read in
                    [Read::Strong, Read::Causal, Read::Bounded(0), Read::Bounded(1_500), Read::Eventual]
                {
                    for &values in Values::ALL {
                        for replicas in [None, Some(0), Some(2), Some(9)] {
                            for (shards, quota_bytes, idempotency_ttl_s) in [(1, None, 60), (0, Some(0), 0)] {
                                for reconcile in [None, Some(Reconcile::Merge)] {
                                    all.push(Contract {
                                        replication,
                                        on_partition,
                                        replicas,
                                        ack,
                                        read,
                                        values,
                                        shards,
                                        quota_bytes,
                                        idempotency_ttl_s,
                                        lease_reads: reconcile.is_none() == (shards == 1),
                                        history_ttl_s: idempotency_ttl_s,
                                        degrade_after_ms: reconcile.map(|_| 0),
                                        reconcile,
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn what_is_proposed_instead_holds_and_differs() {
    for contract in all_contracts() {
        for nodes in [1, 3, 4] {
            let Err(refusal) = contract.check(nodes) else { continue };
            assert_eq!(refusal.nearest.check(nodes), Ok(()), "{contract:?} on {nodes}");
            assert!(!refusal.changes.is_empty(), "{contract:?} on {nodes}");
        }
    }
}

#[test]
fn contracts_survive_json_and_toml() {
    for contract in all_contracts() {
        let json = serde_json::to_string(&contract).unwrap();
        assert_eq!(serde_json::from_str::<Contract>(&json).unwrap(), contract, "{json}");
        let text = toml::to_string(&contract).unwrap();
        assert_eq!(toml::from_str::<Contract>(&text).unwrap(), contract, "{text}");
    }
}

/// `f = floor((n - 1) / 2)`, and one less while one is slow.
#[test]
fn budgets_are_those_of_majorities() {
    for (replicas, survived) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
        let said = Contract::default().explain(replicas);
        assert_eq!((said.replicas, said.failures_survived), (replicas, survived));
        assert_eq!(said.failures_survived_with_one_slow, survived.saturating_sub(1));
        assert!(said.replicas - said.failures_survived >= said.majority);
        assert!(said.replicas - said.failures_survived - 1 < said.majority);
    }
}

#[test]
fn what_follows_from_the_size_makes_no_difference() {
    let spelled = Contract { replicas: Some(3), ..Contract::default() };
    assert_eq!(spelled.resolved(3), Contract::default().resolved(3));
    assert_ne!(spelled.resolved(5), Contract::default().resolved(5));
    assert_eq!(spelled.differences(&Contract { replicas: Some(5), ..spelled }), ["replicas: 3 -> 5"]);
}
