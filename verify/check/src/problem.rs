//! What is to be searched: operations that took effect, and ghosts, which may have.

use std::collections::HashMap;

use crate::history::OpId;
use crate::register::{ABSENT, Revisions, State, Step, UNREAD, ValueId};

/// A key of the problem, by number.
pub type KeyIndex = usize;

/// An operation that took effect within an interval.
#[derive(Clone, Debug)]
pub struct Certain {
    pub op: OpId,
    pub key: KeyIndex,
    pub step: Step,
    /// What it saw of other keys at the same moment.
    pub also: Box<[(KeyIndex, Step)]>,
    /// Position of its invocation.
    pub from: usize,
    /// Position before which it took effect.
    pub until: usize,
}

impl Certain {
    /// What it did and saw, key by key.
    pub fn parts(&self) -> impl Iterator<Item = (KeyIndex, Step)> {
        [(self.key, self.step)].into_iter().chain(self.also.iter().copied())
    }
}

/// Operations with unknown outcome and the same effect.
#[derive(Clone, Debug)]
pub struct Ghosts {
    pub key: KeyIndex,
    pub step: Step,
    /// Position of the invocation, and which; ascending.
    pub ops: Vec<(usize, OpId)>,
}

/// Who needs a value.
#[derive(Clone, Copy, Debug)]
pub struct ValueUse {
    /// Whether the key holds it at most once, and then for one stretch.
    pub once: bool,
    /// How many certain operations must find it.
    pub needs: u32,
    /// Where the last of them was invoked.
    pub needed_from: usize,
    /// From where on nobody names it any more; `usize::MAX` if somebody always may.
    pub named_until: usize,
}

/// What is known of one key.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    pub revisions: Revisions,
    /// Whether somebody saw a revision that is of no certain change.
    pub loose_revisions: bool,
    /// Certain changes of known revision, ascending in it: they can happen in no other order.
    pub by_revision: Vec<usize>,
    /// By number of the value.
    pub values: Vec<ValueUse>,
    /// Whether somebody can tell an unread value from another one, or from none.
    pub unread_matters: bool,
    /// Whether somebody was told that the key holds something else than a value.
    pub differences: bool,
}

impl KeyFacts {
    /// Taking a ghost must change the state, and to one that can do what the old one could not. Where
    /// the old state holds any value at an unknown revision, or no revision is loose, a new value that
    /// nobody names at an unknown revision gives nothing: whatever fits the new state fits the old. But
    /// the old one may be the very value from which somebody was told that the key differs.
    pub fn ghost_is_useful(&self, step: Step, before: State, after: State) -> bool {
        match step {
            Step::Delete { .. } => before.value != ABSENT,
            _ if before.value == ABSENT => true,
            _ if after.value == UNREAD => {
                before.exact && self.loose_revisions || self.differences && before.value != UNREAD
            }
            _ => after.value != before.value || before.exact,
        }
    }
}

/// What is to be searched.
#[derive(Clone, Debug)]
pub struct Problem {
    pub keys: Vec<KeyFacts>,
    /// Ascending in `from`.
    pub certain: Vec<Certain>,
    pub ghosts: Vec<Ghosts>,
    /// By key and value: the classes of ghosts that leave it so.
    pub leaving: HashMap<(KeyIndex, ValueId), Vec<usize>>,
}

impl Problem {
    /// What an operation leaves of the key that it is about, or `None` if it cannot come now.
    pub fn after(&self, states: &[State], op: &Certain) -> Option<State> {
        let seen = |(key, step): &(KeyIndex, Step)| {
            step.apply(states[*key], &self.keys[*key].revisions) == Some(states[*key])
        };
        op.also.iter().all(seen).then(|| self.apply(states, op.key, op.step))?
    }

    /// The classes of ghosts that can help one of `waiting`, which are possible as far as time is concerned,
    /// directly or by way of other ghosts; ascending. What is possible already needs no help.
    pub fn helpful<'a>(&self, waiting: impl Iterator<Item = &'a Certain>, states: &[State]) -> Vec<usize> {
        if self.ghosts.is_empty() {
            return Vec::new();
        }
        let mut helps = vec![false; self.ghosts.len()];
        let parts = waiting.flat_map(Certain::parts);
        let lacking =
            parts.filter(|(key, step)| !step.is_blind() && self.apply(states, *key, *step).is_none());
        let mut wanted: Vec<(KeyIndex, Step)> = lacking.collect();
        while let Some((key, step)) = wanted.pop() {
            let any = || (0..self.ghosts.len()).filter(|&class| self.ghosts[class].key == key).collect();
            let classes: Vec<usize> = match step.needs() {
                Some(value) => self.leaving.get(&(key, value)).cloned().unwrap_or_default(),
                None => any(),
            };
            for class in classes {
                if std::mem::replace(&mut helps[class], true) {
                    continue;
                }
                let step = self.ghosts[class].step;
                if self.apply(states, key, step).is_none() {
                    wanted.push((key, step));
                }
            }
        }
        (0..helps.len()).filter(|&class| helps[class]).collect()
    }

    /// What a step leaves of its key, or `None` if it cannot come now.
    pub fn apply(&self, states: &[State], key: KeyIndex, step: Step) -> Option<State> {
        step.apply(states[key], &self.keys[key].revisions)
    }
}
