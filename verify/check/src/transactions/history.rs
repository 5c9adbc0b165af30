//! What clients asked of lists with keys, in transactions, and what they were told.

use std::fmt;

use crate::history::{EventError, Moment, OpId, Recorder};

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append a value to a key's list, which is empty at first.
    Append {
        /// The key.
        key: String,
        /// The value; unique among all appends to the key.
        value: String,
    },
    /// The list of a key.
    Read {
        /// The key.
        key: String,
        /// What was seen; `None` until the transaction is known to have committed.
        seen: Option<Vec<String>>,
    },
}

impl Step {
    /// The key concerned.
    pub fn key(&self) -> &str {
        match self {
            Step::Append { key, .. } | Step::Read { key, .. } => key,
        }
    }

    /// The same, as it was asked.
    fn asked(&self) -> Step {
        match self {
            Step::Append { .. } => self.clone(),
            Step::Read { key, .. } => Step::Read { key: key.clone(), seen: None },
        }
    }
}

/// How a transaction ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Committed,
    /// It never takes effect.
    Aborted,
    /// It may have taken effect, may yet at any later time, or never.
    Unknown,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its number.
    pub id: OpId,
    /// Who asked. One process does one thing at a time.
    pub process: u64,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// When it was asked.
    pub invoked: Moment,
    /// When and how it ended; `None` if that was never recorded.
    pub completed: Option<(Moment, Outcome)>,
}

impl Transaction {
    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.completed.map_or(Outcome::Unknown, |(_, outcome)| outcome)
    }
}

/// The transactions of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionHistory {
    transactions: Vec<Transaction>,
    recorder: Recorder,
}

impl TransactionHistory {
    /// No transactions.
    pub fn new() -> TransactionHistory {
        TransactionHistory::default()
    }

    /// All transactions, in order of invocation; a transaction's id is its index.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// Notes that a process asks, at `time_us`.
    pub fn invoke(&mut self, process: u64, time_us: u64, steps: &[Step]) -> Result<OpId, EventError> {
        let id = OpId(self.transactions.len());
        let invoked = self.recorder.begin(process, time_us, id)?;
        let steps = steps.iter().map(Step::asked).collect();
        self.transactions.push(Transaction { id, process, steps, invoked, completed: None });
        Ok(id)
    }

    /// Notes how the open transaction of a process ended, at `time_us`. `steps` are those it was invoked
    /// with; if it committed, with what each read saw.
    pub fn complete(
        &mut self,
        process: u64,
        time_us: u64,
        outcome: Outcome,
        steps: &[Step],
    ) -> Result<OpId, EventError> {
        let id = self.recorder.open(process)?;
        if !steps.iter().map(Step::asked).eq(self.transactions[id.0].steps.iter().cloned()) {
            return Err(EventError::Completion(
                "a transaction completes with other steps than it was invoked with",
            ));
        }
        let told = |step: &Step| matches!(step, Step::Read { seen: Some(_), .. });
        let read = |step: &&Step| matches!(step, Step::Read { .. });
        if outcome == Outcome::Committed {
            if !steps.iter().filter(read).all(told) {
                return Err(EventError::Completion("a read of a transaction that committed needs its list"));
            }
        } else if steps.iter().any(told) {
            return Err(EventError::Completion("only a transaction that committed has seen lists"));
        }
        let moment = self.recorder.end(process, time_us)?;
        let transaction = &mut self.transactions[id.0];
        transaction.completed = Some((moment, outcome));
        if outcome == Outcome::Committed {
            transaction.steps = steps.to_vec();
        }
        Ok(id)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Append { key, value } => write!(f, "append {key:?} {value:?}"),
            Step::Read { key, seen: None } => write!(f, "read {key:?}"),
            Step::Read { key, seen: Some(seen) } => write!(f, "read {key:?} -> {}", Shown(seen)),
        }
    }
}

/// A list, of which the last elements are shown.
pub(crate) struct Shown<'a>(pub(crate) &'a [String]);

/// How many elements are shown.
const ELEMENTS_SHOWN: usize = 8;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = self.0.len().saturating_sub(ELEMENTS_SHOWN);
        if left_out == 0 {
            write!(f, "{:?}", self.0)
        } else {
            write!(f, "[{left_out} more")?;
            self.0[left_out..].iter().try_for_each(|value| write!(f, ", {value:?}"))?;
            f.write_str("]")
        }
    }
}

/// As a person would say it: who did what, when, and how it ended.
impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: ", self.process)?;
        if self.steps.is_empty() {
            f.write_str("nothing")?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if i == 0 { "" } else { ", " })?;
        }
        let from = self.invoked.time_us;
        match self.completed {
            None => write!(f, ": never answered [{from} us ..]"),
            Some((moment, outcome)) => {
                let outcome = match outcome {
                    Outcome::Committed => "committed",
                    Outcome::Aborted => "aborted",
                    Outcome::Unknown => "unknown",
                };
                write!(f, ": {outcome} [{from} us .. {} us]", moment.time_us)
            }
        }
    }
}
