//! Runs `testdata/plan/*.txt`: a command, `----`, and what it answered, up to an empty line. `UPDATE=1` writes the
//! answers anew; the difference is then to be reviewed as behaviour.
//!
//! `plan NODES CONTRACT [lead=N] [lose=..] [destroy=..] [cut=..] [slow=..]` prints sentences, answers by node, and losses; `answers` prints
//! no sentences, `says` nothing else. A contract is JSON without spaces.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use proptest::prelude::*;
use types::{
    Contract, NodeId, Timing,
    contract::{Ack, Read},
    plan::{Asked, Case, Faults, Outcome, Plan},
};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plan");
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
    let mut words = line.split(' ');
    let (what, nodes) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
    let contract: Contract = serde_json::from_str(words.next().unwrap()).unwrap();
    let (mut faults, mut leader) = (Faults::default(), None);
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let taken = match name {
            "lose" => faults.lose(value),
            "destroy" => faults.destroy(value),
            "cut" => faults.split(value),
            "slow" => faults.slow_down(value),
            "lead" => {
                leader = value.parse().ok().map(NodeId);
                Ok(())
            }
            other => panic!("no fault {other}"),
        };
        if let Err(error) = taken {
            return format!("error: {error}; {}", error.next_step);
        }
    }
    let replicas = all(nodes);
    match case(&replicas, contract, &faults, leader).plan() {
        Ok(plan) => shown(what, &plan),
        Err(error) => format!("error: {error}; {}", error.next_step),
    }
}

fn shown(what: &str, plan: &Plan) -> String {
    let mut lines: Vec<String> = if what == "answers" { Vec::new() } else { plan.says.clone() };
    if what != "says" {
        let mut told: Vec<(Vec<u64>, Vec<String>)> = Vec::new();
        for node in &plan.nodes {
            let answers: Vec<String> =
                node.answers.iter().map(|answer| format!("  {}: {}", answer.asked, answer.outcome)).collect();
            match told.iter_mut().find(|(_, known)| *known == answers) {
                Some((nodes, _)) => nodes.push(node.node.0),
                None => told.push((vec![node.node.0], answers)),
            }
        }
        for (nodes, answers) in told {
            lines.push(format!("nodes {nodes:?}"));
            lines.extend(answers);
        }
        let losses = plan.losses.iter();
        lines.extend(losses.map(|loss| format!("lost, ack={}: {} ({})", loss.ack, loss.possible, loss.what)));
    }
    lines.join("\n")
}

fn all(nodes: u64) -> BTreeSet<NodeId> {
    (0..nodes).map(NodeId).collect()
}

fn case<'a>(
    replicas: &'a BTreeSet<NodeId>,
    contract: Contract,
    faults: &'a Faults,
    leader: Option<NodeId>,
) -> Case<'a> {
    Case { replicas, contract, leader, timing: Timing::default(), faults }
}

prop_compose! {
    fn any_faults()(nodes in 1_u64..7)(
        nodes in Just(nodes),
        lost in prop::collection::btree_set(0..nodes, 0..nodes as usize),
        cut in prop::collection::btree_set((0..nodes, 0..nodes), 0..8),
        slow in prop::collection::btree_map(0..nodes, prop::sample::select(vec![10_u64, 90, 290, 500, 3_000]), 0..3),
    ) -> (u64, Faults) {
        let cut = cut.into_iter().filter(|(one, other)| one < other);
        let slow = slow.into_iter().filter(|(node, _)| !lost.contains(node));
        let faults = Faults {
            slow: slow.map(|(node, ms)| (NodeId(node), ms)).collect(),
            lost: lost.iter().copied().map(NodeId).collect(),
            cut: cut.map(|(one, other)| (NodeId(one), NodeId(other))).collect(),
            destroyed: BTreeSet::new(),
        };
        (nodes, faults)
    }
}

proptest! {
    /// Whoever leads, what comes then was predicted; and who is told the leader predicts nothing that others do not.
    #[test]
    fn what_comes_with_each_leader_is_predicted((nodes, faults) in any_faults()) {
        let replicas = all(nodes);
        let open = case(&replicas, Contract::default(), &faults, None);
        let plan = open.plan().unwrap();
        for node in &replicas {
            for asked in Asked::all(Read::Strong) {
                let predicted = open.outcome(*node, asked);
                if predicted == Outcome::Down {
                    continue;
                }
                for leader in &plan.leaders {
                    let led = open.led(Some(*leader), *node, asked);
                    prop_assert_eq!(predicted.clone().or(led), predicted.clone(), "{} {}", node, asked);
                    let known = case(&replicas, Contract::default(), &faults, Some(*leader));
                    let narrow = known.outcome(*node, asked);
                    prop_assert_eq!(predicted.clone().or(narrow), predicted.clone(), "{} {}", node, asked);
                }
            }
        }
    }

    /// As many more may fail as the budget has, whichever they are, and of one more some choice leaves nobody sure to lead.
    #[test]
    fn budgets_are_exact((nodes, faults) in any_faults()) {
        let replicas = all(nodes);
        let led = |more: u32| {
            let mut faults = faults.clone();
            let chosen: Vec<NodeId> = replicas.iter().copied().filter(|node| more & (1 << node.0) != 0).collect();
            faults.slow.retain(|node, _| !chosen.contains(node));
            faults.lost.extend(chosen);
            case(&replicas, Contract::default(), &faults, None).plan().is_ok_and(|plan| plan.led)
        };
        let up = |more: &u32| faults.lost.iter().all(|node| more & (1 << node.0) == 0);
        let stops = (0..1_u32 << nodes).filter(up).filter(|more| !led(*more)).map(u32::count_ones).min();
        let budget = case(&replicas, Contract::default(), &faults, None).plan().unwrap().budget;
        prop_assert_eq!(budget.majority, stops.and_then(|stops| stops.checked_sub(1)));
        prop_assert!(budget.majority_with_one_slow <= budget.majority);
    }

    /// Another failure never makes anything better.
    #[test]
    fn failures_help_nobody((nodes, faults) in any_faults(), also in 0_u64..6) {
        let replicas = all(nodes);
        let mut worse = faults.clone();
        worse.lost.insert(NodeId(also % nodes));
        worse.slow.remove(&NodeId(also % nodes));
        let before = case(&replicas, Contract::default(), &faults, None).plan().unwrap();
        let Ok(after) = case(&replicas, Contract::default(), &worse, None).plan() else { return Ok(()) };
        prop_assert!(after.budget.majority <= before.budget.majority);
        prop_assert!(before.led || !after.led);
        for (before, after) in before.nodes.iter().zip(&after.nodes) {
            for (before, after) in before.answers.iter().zip(&after.answers) {
                // A failure can decide who leads, and so make certain what was open.
                let open = matches!(before.outcome, Outcome::Served { .. } | Outcome::Depends { .. });
                prop_assert!(open || !after.outcome.is_served(), "{:?} {:?}", before, after);
            }
        }
    }
}

/// `f = floor((n - 1) / 2)`; while one is slow, one less.
#[test]
fn budgets_of_healthy_clusters() {
    for (nodes, majority, slow) in
        [(1, 0, None), (2, 0, None), (3, 1, Some(0)), (4, 1, Some(0)), (5, 2, Some(1)), (7, 3, Some(2))]
    {
        let (replicas, faults) = (all(nodes), Faults::default());
        let budget = case(&replicas, Contract::default(), &faults, None).plan().unwrap().budget;
        assert_eq!((budget.majority, budget.majority_with_one_slow), (Some(majority), slow), "{nodes} nodes");
        assert_eq!(budget.all, Some(0));
        assert_eq!(budget.disks, Some(nodes as u32 / 2));
    }
}

/// A quota is checked as a write is applied: nothing is acknowledged before, and nothing lost.
#[test]
fn with_a_quota_early_writes_are_as_others() {
    let (replicas, mut faults) = (all(3), Faults::default());
    faults.split("0/1,2").unwrap();
    let contract = Contract { quota_bytes: Some(1), ..Contract::default() };
    let case = case(&replicas, contract, &faults, None);
    for ack in [Ack::None, Ack::Leader] {
        assert_eq!(
            case.outcome(NodeId(0), Asked::Write(ack)),
            case.outcome(NodeId(0), Asked::Write(Ack::Quorum))
        );
    }
    assert!(case.plan().unwrap().losses.iter().all(|loss| loss.ack == Ack::None || !loss.possible));
}
