//! What a group of consumers was told, all together: nothing twice that it was done with, and nothing left out.

use std::collections::{BTreeMap, BTreeSet};

use super::Of;
use super::form::Semantics;
use super::view::{Log, Poll, View};
use crate::history::OpId;
use crate::ledger::Found;

/// Checks all groups that read one log.
pub fn check(view: &View<'_>, name: &str, log: &Log<'_>) -> Option<Found> {
    let mut groups: BTreeMap<&str, Vec<&Poll<'_>>> = BTreeMap::new();
    for poll in &log.polls {
        if let Some(group) = poll.group {
            groups.entry(group).or_default().push(poll);
        }
    }
    groups.iter().find_map(|(group, polls)| match view.terms.semantics {
        Semantics::AtMostOnce => twice(name, group, polls),
        Semantics::AtLeastOnce => skipped(name, log, group, polls),
        Semantics::ExactlyOnce => again(name, log, group, polls).or_else(|| skipped(name, log, group, polls)),
    })
}

fn redelivered(text: String, shown: Vec<OpId>) -> Option<Found> {
    Some(Found { anomaly: "redelivered", text, shown, culprits: 1 })
}

/// At most once: nothing is told twice.
fn twice(name: &str, group: &str, polls: &[&Poll<'_>]) -> Option<Found> {
    let mut told: BTreeMap<u64, OpId> = BTreeMap::new();
    for poll in polls {
        for (offset, value) in poll.messages {
            if let Some(before) = told.insert(*offset, poll.entry.id) {
                let text = format!("{value:?} at {offset} of {name:?} is told to group {group:?} twice.");
                return redelivered(text, vec![before, poll.entry.id]);
            }
        }
    }
    None
}

/// Exactly once: nothing is told below what the group had committed before it asked.
fn again(name: &str, log: &Log<'_>, group: &str, polls: &[&Poll<'_>]) -> Option<Found> {
    let mut commits: Vec<(usize, u64, OpId)> = log
        .commits
        .iter()
        .filter(|(entry, of, _)| *of == group && entry.ok().is_some())
        .map(|(entry, _, offset)| (entry.known_at(), *offset, entry.id))
        .collect();
    commits.sort_unstable();
    let (mut commits, mut furthest) = (commits.into_iter().peekable(), None);
    for poll in polls {
        while let Some((_, offset, id)) = commits.next_if(|(end, ..)| *end < poll.entry.invoked.position) {
            furthest = furthest.max(Some((offset, id)));
        }
        if let (Some((committed, by)), Some((offset, value))) = (furthest, poll.messages.first())
            && *offset < committed
        {
            let text = format!(
                "{value:?} at {offset} of {name:?} is told to group {group:?}, which had committed {committed}."
            );
            return redelivered(text, vec![by, poll.entry.id]);
        }
    }
    None
}

/// Not at most once: nothing that the group has passed was never told to it.
fn skipped(name: &str, log: &Log<'_>, group: &str, polls: &[&Poll<'_>]) -> Option<Found> {
    let unanswered = log.unanswered.iter().filter(|(of, _)| *of == group).map(|(_, from)| *from);
    let start = polls.iter().filter_map(|poll| poll.from).chain(unanswered).min()?;
    let commits = log.commits.iter().filter(|(entry, of, _)| *of == group && entry.ok().is_some());
    let commits = commits.map(|(entry, _, offset)| (*offset, *entry));
    let passed = polls.iter().map(|poll| (poll.from.unwrap_or(0), poll.entry));
    let (end, by) = commits.chain(passed).max_by_key(|(offset, entry)| (*offset, entry.id))?;
    let covered = covered(polls);
    let told: BTreeSet<u64> =
        polls.iter().flat_map(|poll| poll.messages).map(|(offset, _)| *offset).collect();
    for (&offset, &(value, place)) in log.at.range(start..end.max(start)) {
        // What a poll covered, and did not tell, was judged with it.
        if told.contains(&offset) || within(&covered, offset) || !stays(log, value, place) {
            continue;
        }
        if polls.iter().any(|poll| log.messages.get(value).is_some_and(|message| !poll.wants(message))) {
            continue;
        }
        let text = format!(
            "{value:?} at {offset} of {name:?} is passed by group {group:?}, and was never told to it."
        );
        return Some(Found { anomaly: "skipped", text, shown: vec![place.id, by.id], culprits: 1 });
    }
    None
}

/// Whether a message is there for certain: acknowledged outside of transactions, or seen.
fn stays(log: &Log<'_>, value: &str, place: &Of) -> bool {
    let Some(message) = log.messages.get(value) else { return false };
    let acknowledged =
        message.sends.iter().any(|send| send.transaction.is_none() && send.entry.ok().is_some());
    acknowledged || message.sends.iter().all(|send| send.entry.id != place.id)
}

/// What the polls cover together: spans in order, none of which touches another.
fn covered(polls: &[&Poll<'_>]) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = polls
        .iter()
        .filter_map(|poll| Some((poll.from?, poll.next)))
        .filter(|(from, next)| from < next)
        .collect();
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, next) in spans {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = next.max(*end),
            _ => merged.push((from, next)),
        }
    }
    merged
}

fn within(spans: &[(u64, u64)], offset: u64) -> bool {
    let before = spans.partition_point(|(from, _)| *from <= offset);
    spans[..before].last().is_some_and(|(_, next)| offset < *next)
}
