//! What a key's history tells of the values that were written to it.

use std::collections::HashMap;

use crate::history::{Action, Answer, Completion, Op};
use crate::register::{ABSENT, UNREAD, ValueId};

/// What the history tells of one value.
#[derive(Clone, Copy, Debug)]
pub struct ValueFacts {
    /// How many operations may have written it.
    pub writers: u32,
    /// Whether anybody named it: saw it, or asked for it.
    pub named: bool,
    /// Where the first operation that saw it ended; `usize::MAX` if nobody saw it.
    pub seen_until: usize,
    /// The revision at which a read saw it.
    pub revision: Option<u64>,
}

impl ValueFacts {
    const NONE: ValueFacts = ValueFacts { writers: 0, named: false, seen_until: usize::MAX, revision: None };

    /// Whether somebody saw it, and only one operation can have written it: then that one happened.
    pub fn is_sure(&self) -> bool {
        self.writers == 1 && self.seen_until != usize::MAX
    }
}

/// All values of one key, by number.
pub struct Values<'a> {
    ids: HashMap<&'a str, ValueId>,
    /// By number; those of [`ABSENT`] and [`UNREAD`] say nothing.
    pub facts: Vec<ValueFacts>,
    /// Whether an operation may have removed the key.
    pub removed: bool,
}

impl<'a> Values<'a> {
    /// Of the operations that concern `key`.
    pub fn of(key: &str, ops: &[&'a Op]) -> Values<'a> {
        let facts = vec![ValueFacts::NONE; 2];
        let mut values = Values { ids: HashMap::new(), facts, removed: false };
        for op in ops {
            values.note(key, op);
        }
        values.follow_chains(ops);
        values
    }

    /// If what a compare-and-set by value of unknown outcome left was seen, it had found what it expected.
    fn follow_chains(&mut self, ops: &[&'a Op]) {
        let mut found = HashMap::new();
        for op in ops.iter().filter(|op| matches!(op.completed, None | Some((_, Completion::Unknown)))) {
            if let Action::CasValue { expected: Some(expected), value, .. } = &op.action {
                found.insert(self.ids[value.as_str()], self.ids[expected.as_str()]);
            }
        }
        let mut left: Vec<ValueId> = found.keys().copied().collect();
        while let Some(value) = left.pop() {
            let facts = self.facts[value as usize];
            if let Some(&expected) = found.get(&value)
                && facts.is_sure()
                && facts.seen_until < self.facts[expected as usize].seen_until
            {
                self.facts[expected as usize].seen_until = facts.seen_until;
                left.push(expected);
            }
        }
    }

    fn note(&mut self, key: &str, op: &'a Op) {
        let end = op.completed.as_ref().map_or(usize::MAX, |(end, _)| end.position);
        let completion = op.completed.as_ref().map(|(_, completion)| completion);
        if !matches!(completion, Some(Completion::Fail { .. } | Completion::Differs { .. })) {
            if let Some(value) = op.action.value() {
                self.entry(value).writers += 1;
            }
            let found_nothing = Completion::Ok(Answer::Deleted { existed: Some(false), revision: None });
            let removes = matches!(op.action, Action::Delete { .. });
            self.removed |= removes && completion != Some(&found_nothing);
        }
        match (&op.action, completion) {
            (Action::Read { .. }, Some(Completion::Ok(Answer::Read { value: Some(value), revision }))) => {
                let facts = self.seen(value, end);
                facts.revision = facts.revision.or(*revision);
            }
            (Action::ReadMany { keys }, Some(Completion::Ok(Answer::ReadMany { values }))) => {
                let value =
                    keys.iter().zip(values).find_map(|(read, value)| value.as_ref().filter(|_| read == key));
                if let Some(value) = value {
                    self.seen(value, end);
                }
            }
            (Action::CasValue { expected: Some(expected), .. }, Some(Completion::Ok(_))) => {
                self.seen(expected, end);
            }
            (Action::CasValue { expected, .. }, Some(Completion::Differs { current })) => {
                if let Some(expected) = expected {
                    self.entry(expected).named = true;
                }
                if let Some(Some(current)) = current {
                    self.seen(current, end);
                }
            }
            (Action::CasValue { expected: Some(expected), .. }, Some(Completion::Unknown) | None) => {
                self.entry(expected).named = true;
            }
            _ => {}
        }
    }

    fn entry(&mut self, value: &'a str) -> &mut ValueFacts {
        let next = self.facts.len();
        let id = *self.ids.entry(value).or_insert(next as ValueId);
        if id as usize == next {
            self.facts.push(ValueFacts::NONE);
        }
        &mut self.facts[id as usize]
    }

    fn seen(&mut self, value: &'a str, end: usize) -> &mut ValueFacts {
        let facts = self.entry(value);
        facts.named = true;
        facts.seen_until = facts.seen_until.min(end);
        facts
    }

    /// The number of a value that somebody named, or of its absence.
    pub fn named(&self, value: Option<&str>) -> ValueId {
        value.map_or(ABSENT, |value| self.ids[value])
    }

    /// The number of a value that was written, [`UNREAD`] if nobody named it, and what is known of it.
    pub fn written(&self, value: &str) -> (ValueId, ValueFacts) {
        let id = self.ids[value];
        let facts = self.facts[id as usize];
        (if facts.named { id } else { UNREAD }, facts)
    }
}
