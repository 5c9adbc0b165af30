//! The model: one key, which is absent, or holds a value written at a revision.
//!
//! A value that nobody names any more is as good as any other such value: [`UNREAD`].
//!
//! A revision may be unknown, when the answer that would have told it was lost. Then it is any number
//! above the one before, and the first operation that names it settles it.

use std::collections::HashSet;

/// A value by number.
pub type ValueId = u32;

/// No value: the key is absent.
pub const ABSENT: ValueId = 0;
/// Any value that nobody named: no read saw it, no compare-and-set expected it. Such values need no telling apart, and that makes states fewer.
pub const UNREAD: ValueId = 1;

/// What is known of a key's revisions.
#[derive(Clone, Debug, Default)]
pub struct Revisions {
    /// Whether anybody named one. If not, there is nothing to keep account of.
    pub named: bool,
    /// Those known to be of one certain change: a change whose revision is unknown has none of them.
    pub claimed: HashSet<u64>,
}

/// What the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What it holds.
    pub value: ValueId,
    /// The least that the revision of its last change can be; 0 before the first.
    pub revision_min: u64,
    /// Whether the revision is exactly that. Never said of an absent key: nobody can ask.
    pub exact: bool,
}

impl State {
    /// A key that never was.
    pub const INITIAL: State = State { value: ABSENT, revision_min: 0, exact: false };

    fn change(self, value: ValueId, revision: Option<u64>, known: &Revisions) -> Option<State> {
        if !known.named {
            return Some(State { value, ..self });
        }
        let exact = revision.is_some() && value != ABSENT;
        match revision {
            Some(revision) if revision <= self.revision_min => None,
            Some(revision_min) => Some(State { value, revision_min, exact }),
            None => {
                let revision_min = self.revision_min.checked_add(1)?;
                Some(State { value, revision_min, exact })
            }
        }
    }

    /// The same state, known to be at `revision`, if it can be.
    fn at(self, revision: u64, known: &Revisions) -> Option<State> {
        if self.value == ABSENT {
            None
        } else if self.exact {
            (self.revision_min == revision).then_some(self)
        } else {
            let possible = self.revision_min <= revision && !known.claimed.contains(&revision);
            possible.then_some(State { revision_min: revision, exact: true, ..self })
        }
    }
}

/// An operation with all that is known of its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Saw a value, or that there is none.
    Read { value: ValueId, revision: Option<u64> },
    /// Set a value.
    Write { value: ValueId, revision: Option<u64> },
    /// Removed the key.
    Delete { existed: Option<bool>, revision: Option<u64> },
    /// Set a value at an expected revision, 0 for absent.
    Cas { expected: u64, value: ValueId, revision: Option<u64> },
    /// Was refused because the key was not at the expected revision, but at `current`, 0 for absent.
    Conflict { expected: u64, current: u64 },
    /// Set a value where an expected one was, or [`ABSENT`].
    CasValue { expected: ValueId, value: ValueId, revision: Option<u64> },
    /// Was refused because the key held another value than `expected`: `current`, if told.
    Differs { expected: ValueId, current: Option<ValueId> },
}

impl Step {
    /// The state after it, or `None` if it cannot happen in `state`.
    pub fn apply(self, state: State, known: &Revisions) -> Option<State> {
        match self {
            Step::Read { value, .. } if value != state.value => None,
            Step::Read { revision: Some(revision), .. } => state.at(revision, known),
            Step::Read { revision: None, .. } => Some(state),
            Step::Write { value, revision } => state.change(value, revision, known),
            Step::Delete { existed, .. } if state.value == ABSENT => (existed != Some(true)).then_some(state),
            Step::Delete { existed: Some(false), .. } => None,
            Step::Delete { revision, .. } => state.change(ABSENT, revision, known),
            Step::Cas { expected: 0, value, revision } => {
                (state.value == ABSENT).then(|| state.change(value, revision, known))?
            }
            Step::Cas { expected, value, revision } => {
                state.at(expected, known)?.change(value, revision, known)
            }
            Step::Conflict { expected, current } if expected == current => None,
            Step::Conflict { current: 0, .. } => (state.value == ABSENT).then_some(state),
            Step::Conflict { current, .. } => state.at(current, known),
            Step::CasValue { expected, .. } if expected != state.value => None,
            Step::CasValue { value, revision, .. } => state.change(value, revision, known),
            Step::Differs { expected, .. } if expected == state.value => None,
            Step::Differs { current, .. } => {
                current.is_none_or(|current| current == state.value).then_some(state)
            }
        }
    }

    /// The revision that it certainly took.
    pub fn taken(self) -> Option<u64> {
        match self {
            Step::Write { revision, .. }
            | Step::Delete { revision, .. }
            | Step::Cas { revision, .. }
            | Step::CasValue { revision, .. } => revision,
            Step::Read { .. } | Step::Conflict { .. } | Step::Differs { .. } => None,
        }
    }

    /// A revision that it saw another change have.
    pub fn seen(self) -> Option<u64> {
        match self {
            Step::Read { revision, .. } => revision,
            Step::Cas { expected, .. } => Some(expected).filter(|&revision| revision != 0),
            Step::Conflict { current, .. } => Some(current).filter(|&revision| revision != 0),
            Step::Write { .. } | Step::Delete { .. } | Step::CasValue { .. } | Step::Differs { .. } => None,
        }
    }

    /// Whether it never changes what the key holds, in any state.
    pub fn is_observation(self) -> bool {
        matches!(
            self,
            Step::Read { .. }
                | Step::Conflict { .. }
                | Step::Differs { .. }
                | Step::Delete { existed: Some(false), .. }
        )
    }

    /// Whether it is possible whatever the key holds, and leaves nothing of that.
    pub fn is_blind(self) -> bool {
        matches!(self, Step::Write { .. } | Step::Delete { existed: None, .. })
    }

    /// The value that the key must hold, if it must be one in particular.
    pub fn needs(self) -> Option<ValueId> {
        match self {
            Step::Read { value, .. } => Some(value),
            Step::CasValue { expected, .. } => Some(expected),
            Step::Differs { current, .. } => current,
            Step::Cas { expected: 0, .. }
            | Step::Conflict { current: 0, .. }
            | Step::Delete { existed: Some(false), .. } => Some(ABSENT),
            _ => None,
        }
    }

    /// The value that the key must not hold.
    pub fn excludes(self) -> Option<ValueId> {
        match self {
            Step::Differs { expected, .. } => Some(expected),
            Step::Delete { existed: Some(true), .. } => Some(ABSENT),
            _ => None,
        }
    }

    /// The value that it leaves, if it is a change.
    pub fn leaves(self) -> Option<ValueId> {
        match self {
            Step::Write { value, .. } | Step::Cas { value, .. } | Step::CasValue { value, .. } => Some(value),
            Step::Delete { existed: None | Some(true), .. } => Some(ABSENT),
            _ => None,
        }
    }
}
