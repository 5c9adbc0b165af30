//! A plan in plain words.

use super::{Budget, Case, Plan};
use crate::NodeId;

/// `0`, `0 and 2`, `0, 1 and 2`.
pub(crate) fn list<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    let nodes: Vec<String> = nodes.map(ToString::to_string).collect();
    match nodes.split_last() {
        None => "none".into(),
        Some((only, [])) => only.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

fn named(nodes: &[NodeId]) -> String {
    let plural = if nodes.len() == 1 { "node" } else { "nodes" };
    format!("{plural} {}", list(nodes.iter()))
}

fn more(count: u32) -> String {
    match count {
        0 => "no node more may fail".into(),
        1 => "1 node more may fail, whichever it is,".into(),
        count => format!("{count} nodes more may fail, whichever they are,"),
    }
}

/// Sentences about the whole.
pub(super) fn of(case: &Case<'_>, plan: &Plan) -> Vec<String> {
    let mut said = Vec::new();
    let reach = case.reach();
    let reached = |node: &NodeId| plan.leaders.iter().filter(|leader| reach.linked(*node, **leader)).count();
    let (with, between): (Vec<NodeId>, Vec<NodeId>) = case
        .replicas
        .iter()
        .copied()
        .filter(|node| reached(node) > 0)
        .partition(|node| reached(node) == plan.leaders.len());
    let up = |node: &&NodeId| !case.faults.is_down(**node) && reached(node) == 0;
    let without: Vec<NodeId> = case.replicas.iter().filter(up).copied().collect();
    if plan.leaders.is_empty() {
        said.push(format!(
            "Nobody serves writes or strong reads: no {} of the {} replicas, a majority, can talk.",
            plan.majority, plan.replicas
        ));
    } else {
        if !with.is_empty() {
            let serve = if with.len() == 1 { "serves" } else { "serve" };
            let (who, election) = (capital(&named(&with)), election(case, plan));
            let perhaps = if plan.led { "" } else { " while somebody leads" };
            said.push(format!("{who} {serve} what needs a majority{perhaps}{election}."));
        }
        if !between.is_empty() {
            let serve = if between.len() == 1 { "serves" } else { "serve" };
            said.push(format!(
                "{} {serve} it if the node that leads can be reached: one of {}{}.",
                capital(&named(&between)),
                list(plan.leaders.iter()),
                if with.is_empty() { election(case, plan) } else { String::new() }
            ));
        }
        if !plan.led {
            said.push(format!(
                "Every majority includes nodes whose votes may come too late: followers wait {} ms for their leader. A leader \
                 goes on, perhaps; a new one may not be found.",
                case.timing.election_min_ms()
            ));
        }
        if plan.election_within_ms.is_some_and(|ms| {
            ms > case.timing.no_quorum_after_ms.saturating_add(case.timing.election_min_ms())
        }) {
            said.push("While that election lasts, requests may be refused with NO_QUORUM.".into());
        }
    }
    if !without.is_empty() {
        let ms = case.timing.refused_within_ms();
        let refuses = if without.len() == 1 { "refuses" } else { "refuse" };
        said.push(format!(
            "{} {refuses} what needs a majority, with NO_QUORUM: within {ms} ms at first, then at once; reads that need not be new \
             are served.",
            capital(&named(&without))
        ));
    }
    said.extend(budget(&plan.budget, case));
    said
}

fn election(case: &Case<'_>, plan: &Plan) -> String {
    match (plan.election_within_ms, case.leader) {
        (None, _) => String::new(),
        (Some(ms), Some(_)) => format!(", once a leader is elected: within {ms} ms"),
        (Some(ms), None) => {
            format!("; if the leader is among those that fail, once another is elected: within {ms} ms")
        }
    }
}

fn budget(budget: &Budget, case: &Case<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let slow = if case.faults.slow.is_empty() {
        "while another is slow"
    } else {
        "before all that needs a majority waits for a slow node"
    };
    said.push(match (budget.majority, budget.majority_with_one_slow) {
        (None, _) if !case.reach().leaders().who.is_empty() => {
            "Fault budget: none is left; a leader is not sure to be found already.".into()
        }
        (None, _) => "Fault budget: none is left; what needs a majority is refused already.".into(),
        (Some(healthy), None) if !case.faults.slow.is_empty() => format!(
            "Fault budget: {} before writes and strong reads stop; they wait for a slow node already.",
            more(healthy)
        ),
        (Some(healthy), None) => format!(
            "Fault budget: {} before writes and strong reads stop; one slow node alone slows them all.",
            more(healthy)
        ),
        (Some(healthy), Some(left)) => {
            format!("Fault budget: {} before writes and strong reads stop, {left} {slow}.", more(healthy))
        }
    });
    said.push(match budget.all {
        Some(_) => "Writes with ack = all stop with the first failure.".into(),
        None => {
            "Writes with ack = all are not acknowledged by a leader that cannot reach every replica.".into()
        }
    });
    if let Some(disks) = budget.disks {
        said.push(format!(
            "Disks: {disks} more may be destroyed before a write that a majority acknowledged may be lost."
        ));
    } else {
        said.push("Disks: a write that a majority acknowledged may be lost already.".into());
    }
    said
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
