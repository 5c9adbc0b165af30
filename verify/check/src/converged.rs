//! After everything has settled: do all replicas hold the same, and is it what clients did? Nothing
//! acknowledged is lost, nothing is there that nobody wrote.
//!
//! Judged are the `final` reads of a history: what each replica, asked for itself, holds of a key when
//! nobody changes it any more. What is asked is little, so it holds of every store that does not lose
//! what it acknowledged, linearizable or not:
//!
//! - **diverged**: two replicas hold different things of one key.
//! - **invented**: a replica holds what nobody wrote, or what was written and told to have failed.
//! - **lost**: an acknowledged write is missing. The key is absent though nothing that removed it can
//!   have come after that write; or it holds a value of which every write surely came before that one.
//! - **resurrected**: the same, and what surely came later was an acknowledged delete.
//! - **wrong-revision**: the value is there at another revision than its only write was told.
//!
//! One change surely came after another one if it began when the other had ended, or was told a greater
//! revision, or expected the very value that only the other wrote. Of what is unknown nothing is sure.
//! Clocks that order writes otherwise than clients saw them may lose a write in this sense, and are to
//! blame for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Answer, Completion, History, Op, OpId};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ConvergedVerdict {
    /// All replicas hold the same, and clients explain it.
    Valid,
    /// They do not.
    Invalid(Divergence),
    /// Not everything was read, or it was read too early: neither a pass nor a failure.
    Unknown {
        /// What is missing.
        reason: String,
    },
}

/// What contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What kind it is, in a word.
    pub anomaly: &'static str,
    /// For people. Several lines.
    pub explanation: String,
    /// The operations that show it: the final reads are to blame, the others stand against them.
    pub shown: Vec<OpId>,
    /// The final reads among them.
    pub finals: Vec<OpId>,
}

/// What happened to one key.
#[derive(Default)]
struct KeyOps<'a> {
    finals: Vec<Final<'a>>,
    /// What may have changed it.
    changes: Vec<Change<'a>>,
    failed: Vec<&'a Op>,
}

#[derive(Clone, Copy)]
struct Final<'a> {
    op: &'a Op,
    node: &'a str,
    value: Option<&'a str>,
    revision: Option<u64>,
}

#[derive(Clone, Copy)]
struct Change<'a> {
    op: &'a Op,
    /// What it leaves; `None` if it removes the key.
    value: Option<&'a str>,
    /// Where it ended, if it was acknowledged.
    end: Option<usize>,
    revision: Option<u64>,
}

/// Judges the final reads of a history.
pub fn check_converged(history: &History) -> ConvergedVerdict {
    let mut keys: BTreeMap<&str, KeyOps<'_>> = BTreeMap::new();
    for op in history.ops() {
        note(op, keys.entry(op.action.key()).or_default());
    }
    let nodes: BTreeSet<&str> =
        keys.values().flat_map(|ops| ops.finals.iter().map(|read| read.node)).collect();
    if nodes.is_empty() {
        return ConvergedVerdict::Unknown {
            reason: "the history has no final reads that were answered".to_owned(),
        };
    }
    let mut unknown = None;
    for (key, ops) in &keys {
        if let Some(reason) = premature(key, ops) {
            unknown.get_or_insert(reason);
            continue;
        }
        if let Some(found) = diverged(key, ops).or_else(|| unexplained(key, ops)) {
            return ConvergedVerdict::Invalid(found);
        }
        let read: BTreeSet<&str> = ops.finals.iter().map(|read| read.node).collect();
        if !ops.changes.is_empty()
            && let Some(missing) = nodes.difference(&read).next()
        {
            unknown.get_or_insert(format!("key {key:?} was changed, but has no final read at {missing}"));
        }
    }
    unknown.map_or(ConvergedVerdict::Valid, |reason| ConvergedVerdict::Unknown { reason })
}

fn note<'a>(op: &'a Op, ops: &mut KeyOps<'a>) {
    let completion = op.completed.as_ref().map(|(_, completion)| completion);
    let removes = matches!(op.action, Action::Delete { .. });
    match (&op.action, completion) {
        (Action::Final { node, .. }, Some(Completion::Ok(Answer::Read { value, revision }))) => {
            ops.finals.push(Final { op, node, value: value.as_deref(), revision: *revision });
        }
        (_, Some(Completion::Ok(Answer::Deleted { existed: Some(false), .. }))) => {}
        (_, Some(Completion::Fail { .. } | Completion::Differs { .. })) => ops.failed.push(op),
        (action, completion) if action.value().is_some() || removes => {
            let revision = match completion {
                Some(Completion::Ok(Answer::Written { revision } | Answer::Deleted { revision, .. })) => {
                    *revision
                }
                _ => None,
            };
            let acknowledged = matches!(completion, Some(Completion::Ok(_)));
            let end = op.completed.as_ref().filter(|_| acknowledged).map(|(end, _)| end.position);
            ops.changes.push(Change { op, value: action.value(), end, revision });
        }
        _ => {}
    }
}

/// Final reads say nothing of a key that is still being changed.
fn premature(key: &str, ops: &KeyOps<'_>) -> Option<String> {
    let first = ops.finals.iter().map(|read| read.op.invoked.position).min()?;
    let late = |change: &&Change<'_>| {
        change.op.invoked.position > first || change.end.is_some_and(|end| end > first)
    };
    ops.changes.iter().find(late).map(|change| {
        format!("key {key:?} was still being changed when its final reads began:\n  {}", change.op)
    })
}

fn diverged(key: &str, ops: &KeyOps<'_>) -> Option<Divergence> {
    let first = ops.finals.first()?;
    let told = |read: &&Final<'_>| {
        let revisions = (read.revision, ops.finals.iter().find_map(|other| other.revision));
        read.value != first.value || matches!(revisions, (Some(one), Some(other)) if one != other)
    };
    let other = ops.finals.iter().find(told)?;
    let apart = |read: &&Final<'_>| {
        read.value != other.value || read.revision.is_some() && read.revision != other.revision
    };
    let one = ops.finals.iter().find(apart).unwrap_or(first);
    let explanation = format!("key {key:?}: replicas hold different things.\n  {}\n  {}", one.op, other.op);
    let shown = vec![one.op.id, other.op.id];
    Some(Divergence { anomaly: "diverged", explanation, finals: shown.clone(), shown })
}

/// All replicas hold the same; is that explained?
fn unexplained(key: &str, ops: &KeyOps<'_>) -> Option<Divergence> {
    let read = ops.finals.iter().max_by_key(|read| read.revision.is_some())?;
    let writers: Vec<&Change<'_>> = ops.changes.iter().filter(|change| change.value == read.value).collect();
    let found = |anomaly, why: &str, against: &[&Op]| {
        let mut explanation = format!("key {key:?}: {why}\n");
        against.iter().chain([&read.op]).for_each(|op| explanation.push_str(&format!("  {op}\n")));
        let shown = against.iter().chain([&read.op]).map(|op| op.id).collect();
        let explanation = explanation.trim_end().to_owned();
        Some(Divergence { anomaly, explanation, shown, finals: vec![read.op.id] })
    };
    if read.value.is_some() && writers.is_empty() {
        let failed = ops.failed.iter().find(|op| op.action.value() == read.value);
        return match failed {
            Some(failed) => found("invented", "it holds what was told to have failed.", &[failed]),
            None => found("invented", "it holds what nobody wrote.", &[]),
        };
    }
    if let Some(later) = covering(ops, read.value, &writers) {
        let last = writers.iter().max_by_key(|writer| writer.end).map(|writer| writer.op);
        let against: Vec<&Op> = last.into_iter().chain([later.op]).collect();
        return match (later.value, last) {
            (None, _) => found("resurrected", "what was deleted is there.", &against),
            (Some(_), None) => {
                found("lost", "an acknowledged write is missing, and nobody removed it.", &against)
            }
            (Some(_), Some(_)) => {
                found("lost", "an acknowledged write is missing, and what came before it is there.", &against)
            }
        };
    }
    let [writer] = writers[..] else { return None };
    let differs = read.revision.zip(writer.revision).is_some_and(|(read, written)| read != written);
    let wrong = differs && read.value.is_some();
    wrong
        .then(|| found("wrong-revision", "the value is at another revision than its write.", &[writer.op]))?
}

/// An acknowledged change to something else that surely came after each of `writers`.
fn covering<'a>(ops: &KeyOps<'a>, held: Option<&str>, writers: &[&Change<'a>]) -> Option<Change<'a>> {
    let others = || ops.changes.iter().filter(|change| change.end.is_some() && change.value != held).copied();
    let latest = others().max_by_key(|change| change.op.invoked.position)?;
    let greatest = others().max_by_key(|change| change.revision)?;
    let follows = |change: &Change<'_>| match &change.op.action {
        Action::CasValue { expected, .. } => writers.len() == 1 && expected.as_deref() == held,
        _ => false,
    };
    let covers = |writer: &&&Change<'a>| -> Option<Change<'a>> {
        if writer.end.is_some_and(|end| latest.op.invoked.position > end) {
            return Some(latest);
        }
        if writer.revision.is_some() && greatest.revision > writer.revision {
            return Some(greatest);
        }
        others().find(follows)
    };
    // Nothing removed the key, if it is absent: then any write is one too many.
    let mut found = Some(latest);
    for writer in writers {
        found = covers(&writer);
        found?;
    }
    found.filter(|_| held.is_none() || !writers.is_empty())
}
