//! What clients asked of lists and registers with keys, in transactions, and what they were told.

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
    /// Set a key's register, which is absent at first.
    Write {
        /// The key.
        key: String,
        /// The value; best unique among all writes to the key, or who reads it cannot tell which it is.
        value: String,
    },
    /// The list, or the register, of a key.
    Read {
        /// The key.
        key: String,
        /// What was seen; `None` until the transaction is known to have committed.
        seen: Option<Seen>,
    },
}

/// What a read saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole list.
    List(Vec<String>),
    /// A register.
    Register {
        /// Its value; `None` if nothing was ever written to it.
        value: Option<String>,
        /// The revision of the transaction that wrote the value, if told. `None` with no value.
        revision: Option<u64>,
    },
}

impl Step {
    /// The key concerned.
    pub fn key(&self) -> &str {
        match self {
            Step::Append { key, .. } | Step::Write { key, .. } | Step::Read { key, .. } => key,
        }
    }

    /// The same, as it was asked.
    pub(crate) fn asked(&self) -> Step {
        match self {
            Step::Append { .. } | Step::Write { .. } => self.clone(),
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
    /// The revision that its writes were given, if it committed and was told.
    pub revision: Option<u64>,
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
        self.transactions.push(Transaction { id, process, steps, invoked, completed: None, revision: None });
        Ok(id)
    }

    /// Notes the revision that a transaction which committed was told: that of all its writes.
    pub fn told_revision(&mut self, id: OpId, revision: u64) -> Result<(), EventError> {
        let transaction = &mut self.transactions[id.0];
        if transaction.outcome() != Outcome::Committed {
            return Err(EventError::Completion("only a transaction that committed has a revision"));
        }
        if revision == 0 {
            return Err(EventError::Completion("nothing has revision 0"));
        }
        transaction.revision = Some(revision);
        Ok(())
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
                return Err(EventError::Completion(
                    "a read of a transaction that committed needs what it saw",
                ));
            }
            let impossible = |step: &Step| match step {
                Step::Read { seen: Some(Seen::Register { value, revision }), .. } => {
                    *revision == Some(0) || (value.is_none() && revision.is_some())
                }
                _ => false,
            };
            if steps.iter().any(impossible) {
                return Err(EventError::Completion(
                    "a value has a revision above 0, and what is absent has none",
                ));
            }
        } else if steps.iter().any(told) {
            return Err(EventError::Completion("only a transaction that committed has seen anything"));
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
            Step::Write { key, value } => write!(f, "write {key:?} {value:?}"),
            Step::Read { key, seen: None } => write!(f, "read {key:?}"),
            Step::Read { key, seen: Some(Seen::List(list)) } => write!(f, "read {key:?} -> {}", Shown(list)),
            Step::Read { key, seen: Some(Seen::Register { value: None, .. }) } => {
                write!(f, "read {key:?} -> absent")
            }
            Step::Read { key, seen: Some(Seen::Register { value: Some(value), revision }) } => {
                write!(f, "read {key:?} -> {value:?}")?;
                revision.map_or(Ok(()), |revision| write!(f, " at revision {revision}"))
            }
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
                write!(f, ": {outcome}")?;
                if let Some(revision) = self.revision {
                    write!(f, " at revision {revision}")?;
                }
                write!(f, " [{from} us .. {} us]", moment.time_us)
            }
        }
    }
}
