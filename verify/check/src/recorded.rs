//! A recorded history of any kind: of single operations, of transactions, of locks, of effects or
//! of ordered logs. Its first event says which.

use std::io::BufRead;

use serde::Deserialize;

use crate::delivery::{DeliveryHistory, LogForm};
use crate::effects::{EffectForm, EffectHistory};
use crate::history::{Completion, History, Moment, OpId};
use crate::json_lines::{self, EventLines, ParseError};
use crate::ledger::{End, Entry, Form, LineError};
use crate::locks::{LockForm, LockHistory};
use crate::transactions::{self, Outcome, TransactionHistory};

/// A history, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Of single operations on registers.
    Operations(History),
    /// Of transactions on lists.
    Transactions(TransactionHistory),
    /// Of locks, and of what they guard.
    Locks(LockHistory),
    /// Of requests under idempotency keys, and of what came of them.
    Effects(EffectHistory),
    /// Of ordered logs, or of watches.
    Delivery(DeliveryHistory),
}

/// An operation or a transaction, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Who asked.
    pub process: u64,
    /// When.
    pub invoked: Moment,
    /// When its outcome was known; `None` if it never was.
    pub ended: Option<Moment>,
    /// What was asked and told.
    pub text: String,
}

#[derive(Deserialize)]
struct Peek {
    op: PeekOp,
}

#[derive(Deserialize)]
struct PeekOp {
    f: String,
}

/// The name of a line's operation, if it has one.
fn function(content: &[u8]) -> Option<String> {
    serde_json::from_slice(content).ok().map(|Peek { op }| op.f)
}

impl Recorded {
    /// An empty history of the kind that has such operations.
    fn with(f: &str) -> Recorded {
        match f {
            "txn" => Recorded::Transactions(TransactionHistory::new()),
            f if LockForm::has(f) => Recorded::Locks(LockHistory::new()),
            f if EffectForm::has(f) => Recorded::Effects(EffectHistory::new()),
            f if LogForm::has(f) => Recorded::Delivery(DeliveryHistory::new()),
            _ => Recorded::Operations(History::new()),
        }
    }

    /// What it is of.
    pub fn of(&self) -> &'static str {
        match self {
            Recorded::Operations(_) => "single operations",
            Recorded::Transactions(_) => "transactions",
            Recorded::Locks(_) => "locks",
            Recorded::Effects(_) => "effects",
            Recorded::Delivery(_) => "ordered logs",
        }
    }

    /// Reads a history of any kind. Memory is bounded by the text's size, which is limited.
    pub fn parse(text: impl BufRead) -> Result<Recorded, ParseError> {
        let mut lines = EventLines::new(text);
        let mut recorded = None;
        while let Some((line, content)) = lines.next()? {
            let recorded =
                recorded.get_or_insert_with(|| Recorded::with(&function(content).unwrap_or_default()));
            recorded.add(line, content).map_err(|error| match error {
                LineError::Event(error) => error,
                LineError::Json(error) => match function(content).map(|f| Recorded::with(&f).of()) {
                    Some(other) if other != recorded.of() => {
                        let reason = format!(
                            "this is of {other}, and a history that began with {} has nothing else",
                            recorded.of()
                        );
                        ParseError::syntax(line, reason)
                    }
                    _ => ParseError::json(line, &error),
                },
            })?;
        }
        Ok(recorded.unwrap_or_else(|| Recorded::Operations(History::new())))
    }

    fn add(&mut self, line: usize, content: &[u8]) -> Result<(), LineError> {
        match self {
            Recorded::Operations(history) => {
                let event = serde_json::from_slice(content).map_err(LineError::Json)?;
                json_lines::add(history, line, event).map_err(LineError::Event)
            }
            Recorded::Transactions(history) => {
                let event = serde_json::from_slice(content).map_err(LineError::Json)?;
                transactions::add(history, line, event).map_err(LineError::Event)
            }
            Recorded::Locks(history) => history.add_line(line, content),
            Recorded::Effects(history) => history.add_line(line, content),
            Recorded::Delivery(history) => history.add_line(line, content),
        }
    }

    /// How many operations or transactions there are.
    pub fn count(&self) -> usize {
        match self {
            Recorded::Operations(history) => history.ops().len(),
            Recorded::Transactions(history) => history.transactions().len(),
            Recorded::Locks(history) => history.entries().len(),
            Recorded::Effects(history) => history.entries().len(),
            Recorded::Delivery(history) => history.entries().len(),
        }
    }

    /// One of them, for people.
    ///
    /// # Panics
    /// If it is none of this history.
    pub fn describe(&self, id: OpId) -> Described {
        match self {
            Recorded::Operations(history) => {
                let op = &history.ops()[id.0];
                let ended =
                    op.completed.as_ref().filter(|(_, completion)| *completion != Completion::Unknown);
                let ended = ended.map(|(moment, _)| *moment);
                Described { process: op.process, invoked: op.invoked, ended, text: op.to_string() }
            }
            Recorded::Transactions(history) => {
                let op = &history.transactions()[id.0];
                let ended = op.completed.filter(|(_, outcome)| *outcome != Outcome::Unknown);
                let ended = ended.map(|(moment, _)| moment);
                Described { process: op.process, invoked: op.invoked, ended, text: op.to_string() }
            }
            Recorded::Locks(history) => described(&history.entries()[id.0]),
            Recorded::Effects(history) => described(&history.entries()[id.0]),
            Recorded::Delivery(history) => described(&history.entries()[id.0]),
        }
    }
}

fn described<F: Form>(entry: &Entry<F>) -> Described {
    let ended = entry.completed.filter(|(_, end)| *end != End::Unknown).map(|(moment, _)| moment);
    Described { process: entry.process, invoked: entry.invoked, ended, text: entry.to_string() }
}
