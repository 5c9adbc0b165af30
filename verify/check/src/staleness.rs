//! Is what a read returned no older than it had to be, or than it said? A read with a bound of so many
//! milliseconds, or whose receipt tells its age, shows what its key was at some moment from so long before its
//! invocation to its end. A change counts from the moment at which it may have taken effect, and must be shown
//! once it was acknowledged: so a read is too old if a change acknowledged before that moment had overwritten
//! what it shows. All is in the time of the recorder, with a slack for clocks that run differently.
//!
//! That is linearizability of the changes and of such reads, each of which may take effect as much earlier as it
//! may be old. First each read is held against the changes alone, which tells most simply what is wrong.

use std::collections::HashMap;

use crate::facts::{Facts, Shown};
use crate::history::{Action, Answer, Completion, History, Op, OpId};
use crate::linearizable::{Verdict, Violation, check_linearizable};
use crate::terms::Terms;

/// Which ages reads are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ages {
    /// Those that were asked for or told, whichever is smaller.
    AskedAndTold,
    /// Those that receipts told.
    Told,
}

/// A read of what was too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalenessViolation {
    /// For people. Several lines.
    pub explanation: String,
    /// The operations that show it, in order of invocation.
    pub shown: Vec<OpId>,
    /// The read.
    pub culprit: OpId,
}

/// What was found of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum StalenessVerdict {
    /// Every read shows what was current when it may have been.
    Valid,
    /// One does not.
    Invalid(StalenessViolation),
    /// Not decided.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// How old a read may be, in milliseconds; `None`: as old as it likes.
fn age_ms(op: &Op, ages: Ages) -> Option<u64> {
    let (Action::Read { .. }, Some(_)) = (&op.action, op.answer()) else { return None };
    let receipt = op.receipt.as_ref();
    let told = receipt.and_then(|receipt| receipt.staleness_ms);
    // Who said that it is degraded has not kept the bound, and said so.
    let excused = receipt.is_some_and(|receipt| {
        receipt.is_degraded() && receipt.delivered.is_none_or(|delivered| delivered > op.level())
    });
    let asked = op.terms.bound_ms.filter(|_| ages == Ages::AskedAndTold && !excused);
    told.into_iter().chain(asked).min()
}

/// Judges the ages of reads, with so much slack for clocks, and in `budget` steps per key as for
/// [`check_linearizable`].
pub fn check_staleness(history: &History, ages: Ages, slack_ms: u64, budget: u64) -> StalenessVerdict {
    let facts = Facts::of(history);
    let since_us = |op: &Op| {
        let age_us = age_ms(op, ages)?.saturating_add(slack_ms).saturating_mul(1000);
        Some(op.invoked.time_us.saturating_sub(age_us))
    };
    let held: Vec<(&Op, u64)> = history.ops().iter().filter_map(|op| Some((op, since_us(op)?))).collect();
    if held.is_empty() {
        return StalenessVerdict::Valid;
    }
    let lines = Lines::of(&facts);
    for (read, since_us) in &held {
        if let Some(found) = lines.overwritten(&facts, read, *since_us) {
            return StalenessVerdict::Invalid(explain(&facts, &found, read, ages));
        }
    }
    let all = moved(&facts, &held);
    match check_linearizable(&all, budget) {
        Verdict::Valid => StalenessVerdict::Valid,
        Verdict::Unknown { reason } => StalenessVerdict::Unknown { reason },
        Verdict::Invalid(violation) => match check_linearizable(&moved(&facts, &[]), budget) {
            Verdict::Valid => StalenessVerdict::Invalid(only_together(&facts, &all, &violation)),
            _ => StalenessVerdict::Unknown {
                reason: format!(
                    "the changes of {:?} have no order by themselves: see linearizable",
                    violation.key
                ),
            },
        },
    }
}

/// How many operations of an order are shown.
const SHOWN_MAX: usize = 6;

/// What no pair of operations shows.
fn only_together(facts: &Facts<'_>, moved: &History, violation: &Violation) -> StalenessViolation {
    // The process of a moved operation is the number that it has in the history.
    let original = |id: &OpId| OpId(moved.ops()[id.0].process as usize);
    let ordered = &violation.linearized[violation.linearized.len().saturating_sub(SHOWN_MAX)..];
    let ordered: Vec<OpId> = ordered.iter().map(original).collect();
    let culprit = original(&violation.culprit);
    let key = &violation.key;
    let mut text = format!(
        "stale-read: no order of the changes of {key:?} makes all its reads as young as they must be."
    );
    if !ordered.is_empty() {
        text.push_str("\nWhat had ended before is explained, for example by an order that ends with");
    }
    for id in &ordered {
        text.push_str(&format!("\n  {}", facts.op(*id)));
    }
    text.push_str(&format!("\nThis answer makes it impossible:\n  {}", facts.op(culprit)));
    let mut shown = ordered;
    shown.push(culprit);
    shown.sort_unstable();
    StalenessViolation { explanation: text, shown, culprit }
}

/// Changes of a key that were acknowledged, by when.
#[derive(Default)]
struct Line {
    /// End in microseconds and in position.
    acknowledged: Vec<(u64, usize, OpId)>,
    /// For each of them, the latest of it and those before.
    latest: Vec<Latest>,
}

/// Of some changes.
#[derive(Clone, Copy, Default)]
struct Latest {
    /// The one that began last.
    begun: Option<OpId>,
    /// Of those that left a value, the one that began last.
    value: Option<OpId>,
    /// The one of the greatest revision, and that.
    greatest: Option<(u64, OpId)>,
}

struct Lines<'a>(HashMap<&'a str, Line>);

/// A change that a read should have shown, and what it showed instead.
struct Found {
    shown: Option<OpId>,
    newer: OpId,
}

impl<'a> Lines<'a> {
    fn of(facts: &Facts<'a>) -> Lines<'a> {
        let mut lines: HashMap<&str, Line> = HashMap::new();
        for op in facts.history.ops() {
            if let Some((end, _)) = op.answer()
                && facts.shown[op.id.0] == Shown::Version(op.id)
            {
                let line = lines.entry(op.action.key()).or_default();
                line.acknowledged.push((end.time_us, end.position, op.id));
            }
        }
        for line in lines.values_mut() {
            line.acknowledged.sort_unstable_by_key(|(_, position, _)| *position);
            let mut latest = Latest::default();
            for &(.., id) in &line.acknowledged {
                latest.begun = latest.begun.max(Some(id));
                if facts.is_value(id) {
                    latest.value = latest.value.max(Some(id));
                }
                latest.greatest = latest.greatest.max(facts.revision(id).map(|revision| (revision, id)));
                line.latest.push(latest);
            }
        }
        Lines(lines)
    }

    /// What a read should have shown, if what it shows had been overwritten before `since_us`.
    fn overwritten(&self, facts: &Facts<'a>, read: &Op, since_us: u64) -> Option<Found> {
        let line = self.0.get(read.action.key())?;
        let before = line.acknowledged.partition_point(|(time_us, ..)| *time_us < since_us);
        let latest = line.latest[before.checked_sub(1)?];
        let version = match facts.shown[read.id.0] {
            Shown::Version(version) => Some(version),
            _ => None,
        };
        if let (Some(of_read), Some((revision, newer))) = (facts.revision_at_most(read.id), latest.greatest)
            && of_read < revision
        {
            return Some(Found { shown: version, newer });
        }
        match facts.shown[read.id.0] {
            Shown::Version(shown) => {
                let newer = latest.begun.filter(|newer| *newer != shown)?;
                let (ended, _) = facts.op(shown).answer()?;
                let overwritten = ended.position < facts.op(newer).invoked.position;
                overwritten.then_some(Found { shown: Some(shown), newer })
            }
            Shown::Absent => {
                // Absent is what was before that value, if no delete can be after.
                let value = latest.value?;
                let (end, _) = read.answer()?;
                let began = facts.op(value).invoked.position;
                let may_explain = |delete: &OpId| {
                    let delete = facts.op(*delete);
                    let ended = delete.answer().map(|(end, _)| end.position);
                    delete.invoked.position < end.position && ended.is_none_or(|ended| ended > began)
                };
                let explained = facts.deletes(read.action.key()).iter().rev().any(may_explain);
                (!explained).then_some(Found { shown: None, newer: value })
            }
            _ => None,
        }
    }
}

fn explain(facts: &Facts<'_>, found: &Found, read: &Op, ages: Ages) -> StalenessViolation {
    let mut shown: Vec<OpId> = found.shown.into_iter().chain([found.newer, read.id]).collect();
    shown.sort_unstable();
    let newer = facts.op(found.newer);
    let ended_us = newer.answer().map_or(0, |(end, _)| end.time_us);
    let allowed =
        match (ages, read.terms.bound_ms, read.receipt.as_ref().and_then(|receipt| receipt.staleness_ms)) {
            (Ages::AskedAndTold, Some(bound_ms), Some(told_ms)) if bound_ms <= told_ms => {
                format!("{bound_ms} ms were asked for")
            }
            (Ages::AskedAndTold, Some(bound_ms), None) => format!("{bound_ms} ms were asked for"),
            (_, _, told_ms) => format!("its receipt says {} ms", told_ms.unwrap_or(0)),
        };
    let mut text = "stale-read: a read shows what had been overwritten for longer than may be.".to_owned();
    for id in shown.iter().filter(|id| **id != read.id) {
        text.push_str(&format!("\n  {}", facts.op(*id)));
    }
    text.push_str(&format!(
        "\nThe newer of these was acknowledged {} us before this began, and {allowed}:\n  {read}",
        read.invoked.time_us - ended_us
    ));
    StalenessViolation { explanation: text, shown, culprit: read.id }
}

/// The changes, and these reads, each begun as early as it may be of. Others are left out.
fn moved<'a>(facts: &Facts<'a>, reads: &[(&'a Op, u64)]) -> History {
    // By time, then what begins at a time before what ends: only what was acknowledged earlier must be seen.
    let mut events: Vec<(u64, usize, bool, &'a Op)> = Vec::new();
    let mut note = |op: &'a Op, time_us, place| {
        events.push((time_us, place, false, op));
        if let Some((end, _)) = &op.completed {
            events.push((end.time_us, end.position + 1, true, op));
        }
    };
    for op in facts.changes() {
        note(op, op.invoked.time_us, op.invoked.position + 1);
    }
    for (read, since_us) in reads {
        // Place 0: before everything else at that time.
        note(read, *since_us, 0);
    }
    events.sort_by_key(|(time_us, place, ends, op)| (*time_us, *place, *ends, op.id));
    let mut history = History::new();
    for (time_us, _, ends, op) in events {
        // Each is a process of its own, since reads moved back overlap.
        let process = op.id.0 as u64;
        let noted = if ends {
            let (_, completion) = op.completed.clone().expect("it ended");
            history.complete_with(process, time_us, told(op, completion), None)
        } else {
            history.invoke_with(process, time_us, op.action.clone(), Terms::default())
        };
        noted.expect("it began once and ended once, in the order of times");
    }
    history
}

/// What a completion says here: nothing, of a change that was not acknowledged as such.
fn told(op: &Op, completion: Completion) -> Completion {
    match completion {
        Completion::Ok(Answer::Read { .. }) => completion,
        Completion::Ok(_) if op.is_owed_strong() && !op.is_repetition() => completion,
        _ => Completion::Unknown,
    }
}
