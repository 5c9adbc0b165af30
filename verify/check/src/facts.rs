//! What a history tells of the versions of its keys, for judges that know no single order: which change each
//! answer shows, which revision each change has, and whose session it was in.

use std::collections::HashMap;

use crate::history::{Action, Answer, History, Op, OpId};

/// What an answer shows of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing: there was no answer, or it says nothing of a version.
    Nothing,
    /// That there is no such key: nobody had written it, or some delete had removed it.
    Absent,
    /// What this change made of it.
    Version(OpId),
    /// A value that nobody wrote.
    Nobody,
    /// A value whose write began only after the answer.
    Future(OpId),
    /// A value that several wrote, and no revision tells which.
    Ambiguous,
}

/// See the module.
pub struct Facts<'a> {
    /// The history.
    pub history: &'a History,
    /// By operation, what it shows. A change shows itself.
    pub shown: Vec<Shown>,
    /// By operation, the number of its session.
    pub sessions: Vec<usize>,
    /// How many sessions there are.
    pub session_count: usize,
    /// By change, its revision: as it was told, or as those were told who read it.
    revisions: Vec<Option<u64>>,
    /// By key, the deletes that may have removed it, in order of invocation.
    deletes: HashMap<&'a str, Vec<OpId>>,
}

impl<'a> Facts<'a> {
    /// Gathers the facts.
    pub fn of(history: &'a History) -> Facts<'a> {
        let ops = history.ops();
        let writers = Writers::of(history);
        let shown: Vec<Shown> = ops.iter().map(|op| writers.shown_by(op)).collect();
        let mut revisions: Vec<Option<u64>> = ops.iter().map(told_of_change).collect();
        let mut deletes: HashMap<&str, Vec<OpId>> = HashMap::new();
        for op in ops {
            if let (Shown::Version(change), Some((_, Answer::Read { revision, .. }))) =
                (shown[op.id.0], op.answer())
            {
                revisions[change.0] = revisions[change.0].or(*revision);
            }
            if may_delete(op) {
                deletes.entry(op.action.key()).or_default().push(op.id);
            }
        }
        let mut numbers = HashMap::new();
        let sessions = ops.iter().map(|op| {
            let name = op.terms.session.as_deref().ok_or(op.process);
            let next = numbers.len();
            *numbers.entry(name).or_insert(next)
        });
        let sessions: Vec<usize> = sessions.collect();
        let session_count = numbers.len();
        Facts { history, shown, sessions, session_count, revisions, deletes }
    }

    /// An operation.
    pub fn op(&self, id: OpId) -> &'a Op {
        &self.history.ops()[id.0]
    }

    /// Whether a change leaves a value.
    pub fn is_value(&self, change: OpId) -> bool {
        !matches!(self.op(change).action, Action::Delete { .. })
    }

    /// The revision of a change, if anybody was told.
    pub fn revision(&self, change: OpId) -> Option<u64> {
        self.revisions[change.0]
    }

    /// The revision that what an answer shows cannot be beyond: the version's own, or that of the state.
    pub fn revision_at_most(&self, id: OpId) -> Option<u64> {
        let own = match self.shown[id.0] {
            Shown::Version(change) => self.revision(change),
            _ => None,
        };
        own.or(self.op(id).receipt.as_ref().and_then(|receipt| receipt.revision))
    }

    /// The changes that may have happened, in order of invocation.
    pub fn changes(&self) -> impl Iterator<Item = &'a Op> {
        let mut seen = vec![false; self.shown.len()];
        for shown in &self.shown {
            if let Shown::Version(change) = shown {
                seen[change.0] = true;
            }
        }
        // Of what was repeated without being in the history, the repetition stands for it.
        self.history.ops().iter().filter(move |op| is_change(op) || seen[op.id.0])
    }

    /// The deletes that may have removed a key, in order of invocation.
    pub fn deletes(&self, key: &str) -> &[OpId] {
        self.deletes.get(key).map_or(&[], Vec::as_slice)
    }

    /// A read that cannot be placed, if there is one, in words: why nothing more can be said.
    pub fn ambiguous(&self) -> Option<String> {
        let op = self.shown.iter().position(|shown| *shown == Shown::Ambiguous)?;
        Some(format!(
            "a value was written several times, and no revision tells which was read: {}",
            self.history.ops()[op]
        ))
    }
}

/// The revision that a change was told.
fn told_of_change(op: &Op) -> Option<u64> {
    match op.answer()?.1 {
        Answer::Written { revision } | Answer::Deleted { revision, .. } => *revision,
        Answer::Read { .. } | Answer::ReadMany { .. } => None,
    }
}

fn may_delete(op: &Op) -> bool {
    matches!(op.action, Action::Delete { .. }) && is_change(op)
}

/// Who wrote each value of each key.
struct Writers<'a> {
    of: HashMap<(&'a str, &'a str), Vec<&'a Op>>,
}

impl<'a> Writers<'a> {
    fn of(history: &'a History) -> Writers<'a> {
        let mut of: HashMap<(&str, &str), Vec<&Op>> = HashMap::new();
        // A repetition wrote nothing, unless what it repeats is not in the history.
        for repetition in [false, true] {
            for op in history.ops() {
                let (key, Some(value)) = (op.action.key(), op.action.value()) else { continue };
                if !op.may_have_happened() || op.is_repetition() != repetition {
                    continue;
                }
                let writers = of.entry((key, value)).or_default();
                // What was sent again only after the repetition was answered is not what it repeats.
                let end = op.completed.as_ref().map_or(usize::MAX, |(end, _)| end.position);
                if !repetition || !writers.iter().any(|writer| writer.invoked.position < end) {
                    writers.push(op);
                }
            }
        }
        Writers { of }
    }

    fn shown_by(&self, op: &Op) -> Shown {
        let Some((end, answer)) = op.answer() else { return Shown::Nothing };
        if !matches!(op.action, Action::Read { .. }) && !op.is_owed_strong() {
            return Shown::Nothing;
        }
        match (&op.action, answer) {
            // They are judged by other checkers.
            (Action::ReadMany { .. } | Action::Final { .. }, _) => Shown::Nothing,
            (_, Answer::Read { value: None, .. }) => Shown::Absent,
            (Action::Read { key }, Answer::Read { value: Some(value), revision }) => {
                self.wrote(key, value, *revision, end.position)
            }
            (
                Action::Write { key, value }
                | Action::Cas { key, value, .. }
                | Action::CasValue { key, value, .. },
                Answer::Written { revision },
            ) if op.is_repetition() => self.wrote(key, value, *revision, end.position),
            (_, Answer::Deleted { existed: Some(false), .. }) => Shown::Absent,
            (_, Answer::Deleted { .. }) if op.is_repetition() => Shown::Nothing,
            _ => Shown::Version(op.id),
        }
    }

    /// Who wrote a value that was seen with a revision, by the event at `seen`.
    fn wrote(&self, key: &str, value: &str, revision: Option<u64>, seen: usize) -> Shown {
        let writers = self.of.get(&(key, value)).map_or(&[][..], Vec::as_slice);
        let told =
            |op: &Op| matches!((told_of_change(op), revision), (Some(told), Some(seen)) if told == seen);
        if let Some(writer) = writers.iter().find(|op| told(op)) {
            return if writer.invoked.position < seen {
                Shown::Version(writer.id)
            } else {
                Shown::Future(writer.id)
            };
        }
        let possible = |op: &&&Op| {
            let refuted = told_of_change(op).zip(revision).is_some_and(|(told, seen)| told != seen);
            !refuted || writers.len() == 1
        };
        let possible: Vec<&Op> = writers.iter().filter(possible).copied().collect();
        let mut before = possible.iter().filter(|op| op.invoked.position < seen);
        match (before.next(), before.next()) {
            (Some(writer), None) => Shown::Version(writer.id),
            (Some(_), Some(_)) => Shown::Ambiguous,
            (None, _) => possible.first().map_or(Shown::Nobody, |writer| Shown::Future(writer.id)),
        }
    }
}

/// Whether an operation is a change that may be seen: it may have happened, and is no repetition.
pub fn is_change(op: &Op) -> bool {
    let found_nothing = matches!(op.answer(), Some((_, Answer::Deleted { existed: Some(false), .. })));
    let changes = op.action.value().is_some() || matches!(op.action, Action::Delete { .. });
    changes && op.may_have_happened() && !found_nothing && !op.is_repetition()
}
