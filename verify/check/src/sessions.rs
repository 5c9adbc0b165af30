//! Does every session see what it has to? The four guarantees of Terry et al., "Session guarantees for weakly
//! consistent replicated data" (1994), in the words of Viotti and Vukolic's survey (2016).
//!
//! A session **knows** a version from when it was answered of it: its own change, or a read. Of two versions of a
//! key, one is **older** when it has the smaller revision; when a session went from it to the other, and so never
//! goes back; or when it is that nobody had written the key yet. A read that must be causal or strong must not
//! show a version older than one that
//!
//! - its session had written (read your writes) or read (monotonic reads);
//! - the writer of something that the session had read, had written (monotonic writes) or read (writes follow
//!   reads) before it wrote that.
//!
//! The last two are looked at one step deep; any number of steps is what [`crate::causal`] is for. What a weaker
//! read shows is known too, and may itself be old. A change of unknown outcome is known to who reads it alone.

use std::collections::HashMap;
use std::fmt;

use crate::facts::{Facts, Shown, is_change};
use crate::history::{Action, History, Op, OpId};
use crate::terms::Level;

/// Views of other sessions that are looked into for reads; more is given up.
pub const STEPS_MAX: u64 = 50_000_000;

/// A session guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// A session sees what it wrote.
    ReadYourWrites,
    /// A session does not go back.
    MonotonicReads,
    /// A session's writes are seen in their order.
    MonotonicWrites,
    /// A write is seen after what its session had read.
    WritesFollowReads,
}

impl Guarantee {
    /// All.
    pub const ALL: [Guarantee; 4] = [
        Guarantee::ReadYourWrites,
        Guarantee::MonotonicReads,
        Guarantee::MonotonicWrites,
        Guarantee::WritesFollowReads,
    ];

    fn meaning(self) -> &'static str {
        match self {
            Guarantee::ReadYourWrites => "a session did not see what it had changed itself.",
            Guarantee::MonotonicReads => "a session went back behind what it had seen.",
            Guarantee::MonotonicWrites => "a later change of a session was seen without its earlier one.",
            Guarantee::WritesFollowReads => "a change was seen without what its session had read before.",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::ReadYourWrites => "read-your-writes",
            Guarantee::MonotonicReads => "monotonic-reads",
            Guarantee::MonotonicWrites => "monotonic-writes",
            Guarantee::WritesFollowReads => "writes-follow-reads",
        })
    }
}

/// A guarantee that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionViolation {
    /// Which.
    pub guarantee: Guarantee,
    /// For people. Several lines.
    pub explanation: String,
    /// The operations that show it, in order of invocation.
    pub shown: Vec<OpId>,
    /// The one that contradicts the others.
    pub culprit: OpId,
}

/// What was found of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum SessionVerdict {
    /// No answer shows what is older than its session knew.
    Valid,
    /// One does.
    Invalid(SessionViolation),
    /// Not decided.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Judges the sessions of a history.
pub fn check_sessions(history: &History) -> SessionVerdict {
    let facts = Facts::of(history);
    let mut judge = Judge { views: Views::of(&facts), facts, steps: 0 };
    match judge.find() {
        Some(violation) => SessionVerdict::Invalid(violation),
        None if judge.steps > STEPS_MAX => SessionVerdict::Unknown {
            reason: format!("there is more than {STEPS_MAX} times something of another session to be seen"),
        },
        None => match judge.facts.ambiguous() {
            Some(reason) => SessionVerdict::Unknown { reason },
            None => SessionVerdict::Valid,
        },
    }
}

/// Something that a session was answered.
#[derive(Clone, Copy)]
struct Learned {
    end: usize,
    op: OpId,
}

/// What a session was answered of one key.
#[derive(Default)]
struct View {
    /// By version, when it was first known.
    first: HashMap<OpId, Learned>,
    /// By version, when another was known after it.
    left: HashMap<OpId, Learned>,
    /// Known and not left, by when they were known.
    held: Vec<(usize, OpId)>,
    /// Each greater revision than those before, and that revision.
    highest: Vec<(Learned, u64)>,
    /// Values, not absences.
    present: Vec<Learned>,
}

impl View {
    /// Takes in the answers in the order of their ends.
    fn learn(&mut self, facts: &Facts<'_>, end: usize, op: &Op) {
        let shown = facts.shown[op.id.0];
        let learned = Learned { end, op: op.id };
        // A weaker read may go back, and what was repeated may be old: only from a change, or from a read that
        // must not go back, is it known what came later.
        let is_later = match op.action {
            Action::Read { .. } => op.owes(Level::Causal),
            _ => !op.is_repetition(),
        };
        // What is absent may be so by any delete.
        let same = |version| {
            shown == Shown::Version(version) || (shown == Shown::Absent && !facts.is_value(version))
        };
        let left = |&mut (known, version): &mut (usize, OpId)| {
            is_later && known < op.invoked.position && !same(version)
        };
        for (_, version) in self.held.extract_if(.., left) {
            self.left.insert(version, learned);
        }
        let Shown::Version(version) = shown else { return };
        if let std::collections::hash_map::Entry::Vacant(place) = self.first.entry(version) {
            place.insert(learned);
            self.held.push((end, version));
        }
        if let Some(revision) = facts.revision(version)
            && self.highest.last().is_none_or(|(_, highest)| revision > *highest)
        {
            self.highest.push((learned, revision));
        }
        if facts.is_value(version) {
            self.present.push(learned);
        }
    }

    /// The greatest revision known before a point.
    fn highest_before(&self, limit: usize) -> Option<(Learned, u64)> {
        let count = self.highest.partition_point(|(learned, _)| learned.end < limit);
        count.checked_sub(1).map(|last| self.highest[last])
    }

    /// The last value known before a point.
    fn present_before(&self, limit: usize) -> Option<Learned> {
        let count = self.present.partition_point(|learned| learned.end < limit);
        count.checked_sub(1).map(|last| self.present[last])
    }
}

/// A change of another session that a session has read, and by which read.
#[derive(Clone, Copy)]
struct Adopted {
    read: Learned,
    change: OpId,
    invoked: usize,
}

/// Those of one other session, each invoked later than those before.
#[derive(Default)]
struct Adoptions(Vec<Adopted>);

impl Adoptions {
    fn add(&mut self, adopted: Adopted) {
        if self.0.last().is_none_or(|last| last.invoked < adopted.invoked) {
            self.0.push(adopted);
        }
    }

    /// The latest that was read before a point.
    fn before(&self, limit: usize) -> Option<Adopted> {
        let count = self.0.partition_point(|adopted| adopted.read.end < limit);
        count.checked_sub(1).map(|last| self.0[last])
    }
}

/// What all sessions know.
struct Views<'a> {
    of: HashMap<(usize, &'a str), View>,
    /// By session, and the other one.
    adopted: Vec<Vec<(usize, Adoptions)>>,
    /// By session and key, and the other one: of changes of that key.
    adopted_of: HashMap<(usize, &'a str), Vec<(usize, Adoptions)>>,
    /// All answers in the order of their ends.
    answers: Vec<(usize, OpId)>,
}

impl<'a> Views<'a> {
    fn of(facts: &Facts<'a>) -> Views<'a> {
        let ops = facts.history.ops();
        let ended = ops.iter().filter(|op| facts.shown[op.id.0] != Shown::Nothing);
        let mut answers: Vec<(usize, OpId)> =
            ended.filter_map(|op| Some((op.answer()?.0.position, op.id))).collect();
        answers.sort_unstable();
        let (mut of, mut adopted_of) = (HashMap::new(), HashMap::new());
        let mut adopted: Vec<Vec<(usize, Adoptions)>> = Vec::new();
        adopted.resize_with(facts.session_count, Vec::new);
        for &(end, id) in &answers {
            let (op, session) = (facts.op(id), facts.sessions[id.0]);
            let key = op.action.key();
            let view: &mut View = of.entry((session, key)).or_default();
            view.learn(facts, end, op);
            let Shown::Version(change) = facts.shown[id.0] else { continue };
            let writer = facts.sessions[change.0];
            if writer == session {
                continue;
            }
            let read = Learned { end, op: id };
            let new = Adopted { read, change, invoked: facts.op(change).invoked.position };
            from(&mut adopted[session], writer).add(new);
            from(adopted_of.entry((session, key)).or_default(), writer).add(new);
        }
        Views { of, adopted, adopted_of, answers }
    }
}

fn from(adoptions: &mut Vec<(usize, Adoptions)>, writer: usize) -> &mut Adoptions {
    let index = adoptions.iter().position(|(other, _)| *other == writer);
    let index = index.unwrap_or_else(|| {
        adoptions.push((writer, Adoptions::default()));
        adoptions.len() - 1
    });
    &mut adoptions[index].1
}

/// Why a version is older than another that was known.
struct Older {
    /// The operation that knew the other.
    known: OpId,
    /// The operation, if any, by which what was shown had been known before.
    before: Option<OpId>,
    reason: String,
}

struct Judge<'a> {
    facts: Facts<'a>,
    views: Views<'a>,
    steps: u64,
}

impl<'a> Judge<'a> {
    fn find(&mut self) -> Option<SessionViolation> {
        for index in 0..self.views.answers.len() {
            let op = self.facts.op(self.views.answers[index].1);
            let found = match op.action {
                Action::Read { .. } if op.owes(Level::Causal) => self.read(op),
                Action::Read { .. } => None,
                _ => self.change(op),
            };
            if found.is_some() || self.steps > STEPS_MAX {
                return found;
            }
        }
        None
    }

    /// A read shows nothing older than what its session knows.
    fn read(&mut self, read: &'a Op) -> Option<SessionViolation> {
        let (session, key) = (self.facts.sessions[read.id.0], read.action.key());
        let began = read.invoked.position;
        if let Some(view) = self.views.of.get(&(session, key))
            && let Some(older) = self.older(read, view, began)
        {
            let own = is_change(self.facts.op(older.known));
            let guarantee = if own { Guarantee::ReadYourWrites } else { Guarantee::MonotonicReads };
            return Some(self.violation(guarantee, read, &older, None));
        }
        for (writer, adoptions) in &self.views.adopted[session] {
            self.steps += 1;
            let Some(adopted) = adoptions.before(began) else { continue };
            if let Some(view) = self.views.of.get(&(*writer, key))
                && let Some(older) = self.older(read, view, adopted.invoked)
            {
                return Some(self.violation(self.others(older.known), read, &older, Some(adopted)));
            }
        }
        // What the writer of a version of this very key knew before is older than that version.
        let Shown::Version(version) = self.facts.shown[read.id.0] else { return None };
        for (writer, adoptions) in self.views.adopted_of.get(&(session, key)).into_iter().flatten() {
            self.steps += 1;
            let Some(adopted) = adoptions.before(began) else { continue };
            let known = self.views.of.get(&(*writer, key)).and_then(|view| view.first.get(&version));
            if let Some(known) = known.filter(|known| known.end < adopted.invoked) {
                let reason = "its session knew that before it made the other".to_owned();
                let older = Older { known: known.op, before: None, reason };
                return Some(self.violation(self.others(known.op), read, &older, Some(adopted)));
            }
        }
        None
    }

    /// A change has a greater revision than what its session knew of the key.
    fn change(&self, change: &'a Op) -> Option<SessionViolation> {
        let (session, key) = (self.facts.sessions[change.id.0], change.action.key());
        let revision = self.facts.revision(change.id).filter(|_| is_change(change))?;
        let view = self.views.of.get(&(session, key))?;
        let (known, highest) = view.highest_before(change.invoked.position)?;
        if highest < revision {
            return None;
        }
        let reason = format!("it has revision {revision}, and its session knew revision {highest}");
        let older = Older { known: known.op, before: None, reason };
        Some(self.violation(self.others(known.op), change, &older, None))
    }

    fn others(&self, known: OpId) -> Guarantee {
        let changed = is_change(self.facts.op(known));
        if changed { Guarantee::MonotonicWrites } else { Guarantee::WritesFollowReads }
    }

    /// Whether what a read shows is older than what a view had before a point.
    fn older(&self, read: &'a Op, view: &View, limit: usize) -> Option<Older> {
        let shown = self.facts.shown[read.id.0];
        if let (Some(at_most), Some((known, revision))) =
            (self.facts.revision_at_most(read.id), view.highest_before(limit))
            && at_most < revision
        {
            let reason = format!("it is of revision {at_most}, and revision {revision} was known");
            return Some(Older { known: known.op, before: None, reason });
        }
        match shown {
            Shown::Version(version) => {
                let left = view.left.get(&version).filter(|left| left.end < limit)?;
                let before = view.first.get(&version).map(|first| first.op);
                let reason = "what it shows had been known before, and was left for another".to_owned();
                Some(Older { known: left.op, before, reason })
            }
            Shown::Absent => {
                let present = view.present_before(limit)?;
                let (end, _) = read.answer()?;
                let Shown::Version(version) = self.facts.shown[present.op.0] else { return None };
                let possible = |delete: &OpId| self.may_explain(*delete, version, view, limit, end.position);
                if self.facts.deletes(read.action.key()).iter().rev().any(possible) {
                    return None;
                }
                let reason = "the key was there, and nothing deleted it since".to_owned();
                Some(Older { known: present.op, before: None, reason })
            }
            _ => None,
        }
    }

    /// Whether a delete may be why a key is absent at `end`, for who knew a version before `limit`.
    fn may_explain(&self, delete: OpId, version: OpId, view: &View, limit: usize, end: usize) -> bool {
        let deleted = self.facts.op(delete);
        let revisions = self.facts.revision(delete).zip(self.facts.revision(version));
        let before = revisions.is_some_and(|(delete, version)| delete < version);
        let left = view.left.get(&delete).is_some_and(|left| left.end < limit);
        deleted.invoked.position < end && !before && !left
    }

    fn violation(
        &self,
        guarantee: Guarantee,
        culprit: &Op,
        older: &Older,
        adopted: Option<Adopted>,
    ) -> SessionViolation {
        let others = adopted.into_iter().flat_map(|adopted| [adopted.change, adopted.read.op]);
        let mut shown: Vec<OpId> =
            older.before.into_iter().chain([older.known, culprit.id]).chain(others).collect();
        shown.sort_unstable();
        shown.dedup();
        let mut explanation = format!("{guarantee}: {}", guarantee.meaning());
        for id in shown.iter().filter(|id| **id != culprit.id) {
            explanation.push_str(&format!("\n  {}", self.facts.op(*id)));
        }
        explanation.push_str(&format!("\nThis answer does not fit, since {}:\n  {culprit}", older.reason));
        SessionViolation { guarantee, explanation, shown, culprit: culprit.id }
    }
}
