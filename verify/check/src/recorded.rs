//! A recorded history of either kind: of single operations, or of transactions. Its first event says which.

use std::io::BufRead;

use serde::Deserialize;

use crate::history::{Completion, History, Moment, OpId};
use crate::json_lines::{self, EventLines, ParseError};
use crate::transactions::{self, Outcome, TransactionHistory};

/// A history, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Of single operations on registers.
    Operations(History),
    /// Of transactions on lists.
    Transactions(TransactionHistory),
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

fn is_transaction(content: &[u8]) -> Option<bool> {
    serde_json::from_slice(content).ok().map(|Peek { op }| op.f == "txn")
}

impl Recorded {
    /// Reads a history of either kind. Memory is bounded by the text's size, which is limited.
    pub fn parse(text: impl BufRead) -> Result<Recorded, ParseError> {
        let mut lines = EventLines::new(text);
        let mut recorded = None;
        while let Some((line, content)) = lines.next()? {
            let recorded = recorded.get_or_insert_with(|| match is_transaction(content) {
                Some(true) => Recorded::Transactions(TransactionHistory::new()),
                _ => Recorded::Operations(History::new()),
            });
            let syntax = |error: serde_json::Error, transactions| match is_transaction(content) {
                Some(other) if other != transactions => ParseError::syntax(
                    line,
                    "a history holds either transactions or single operations, not both",
                ),
                _ => ParseError::json(line, &error),
            };
            match recorded {
                Recorded::Operations(history) => {
                    let event = serde_json::from_slice(content).map_err(|error| syntax(error, false))?;
                    json_lines::add(history, line, event)?;
                }
                Recorded::Transactions(history) => {
                    let event = serde_json::from_slice(content).map_err(|error| syntax(error, true))?;
                    transactions::add(history, line, event)?;
                }
            }
        }
        Ok(recorded.unwrap_or_else(|| Recorded::Operations(History::new())))
    }

    /// How many operations or transactions there are.
    pub fn count(&self) -> usize {
        match self {
            Recorded::Operations(history) => history.ops().len(),
            Recorded::Transactions(history) => history.transactions().len(),
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
        }
    }
}
