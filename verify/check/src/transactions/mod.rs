//! Is there a serial order of the transactions in which lists with keys would have been as they were
//! seen?
//!
//! Lists that are only appended to tell their own history: a read shows every version before it, in order.
//! So what a transaction must come before or after follows from what was seen, without search (Kingsbury
//! and Alvaro, "Elle", VLDB 2020): it comes after those whose versions it saw or overwrote, and before
//! those who overwrote what it saw. A cycle of such dependencies is an anomaly; its kind, by Adya ("Weak
//! consistency", 1999), says how bad it is. Without any, the order is found.

mod graph;
mod history;
mod json;
mod versions;
mod words;

use std::fmt;

pub use history::{Outcome, Step, Transaction, TransactionHistory};
pub(crate) use json::add;

use crate::arrows::Arrow;
use crate::history::OpId;
use graph::{Cycle, Graph};
use versions::{Direct, Versions};

/// Most dependencies that are looked at, and most steps of the search for the smallest cycle.
pub const EDGES_MAX: usize = 10_000_000;

/// What is asked of a history of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Some serial order explains what was seen.
    Serializable,
    /// One in which, also, who had ended comes before who began after that.
    StrictSerializable,
}

/// What went wrong, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A list holds what nobody appended.
    Invented,
    /// A list holds one element twice.
    Duplicate,
    /// Two reads saw lists of which neither is the beginning of the other.
    IncompatibleOrder,
    /// A transaction does not see its own appends, or not in order, or sees a list change under it.
    Internal,
    /// Transactions overwrote each other in a cycle: a dirty write.
    G0,
    /// What was aborted was read.
    G1a,
    /// What a transaction had not finished was read.
    G1b,
    /// A cycle of overwriting and reading.
    G1c,
    /// A cycle in which exactly one transaction missed what another wrote: as read skew, or a lost update.
    GSingle,
    /// A cycle in which several did: as write skew.
    G2Item,
    /// As [`Anomaly::G0`], against real time.
    G0Realtime,
    /// As [`Anomaly::G1c`], against real time.
    G1cRealtime,
    /// As [`Anomaly::GSingle`], against real time: as a stale read.
    GSingleRealtime,
    /// As [`Anomaly::G2Item`], against real time.
    G2ItemRealtime,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Anomaly::Invented => "invented",
            Anomaly::Duplicate => "duplicate",
            Anomaly::IncompatibleOrder => "incompatible-order",
            Anomaly::Internal => "internal",
            Anomaly::G0 => "G0",
            Anomaly::G1a => "G1a",
            Anomaly::G1b => "G1b",
            Anomaly::G1c => "G1c",
            Anomaly::GSingle => "G-single",
            Anomaly::G2Item => "G2-item",
            Anomaly::G0Realtime => "G0-realtime",
            Anomaly::G1cRealtime => "G1c-realtime",
            Anomaly::GSingleRealtime => "G-single-realtime",
            Anomaly::G2ItemRealtime => "G2-item-realtime",
        })
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum TransactionVerdict {
    /// There is an order.
    Valid,
    /// There is none.
    Invalid(Contradiction),
    /// It could not be decided: neither a pass nor a failure.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Transactions that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The worst that went wrong.
    pub anomaly: Anomaly,
    /// For people. Several lines.
    pub explanation: String,
    /// Those concerned; of a cycle, in its order.
    pub transactions: Vec<OpId>,
    /// Which of them has to come before which.
    pub arrows: Vec<Arrow>,
}

impl fmt::Display for TransactionVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransactionVerdict::Valid => f.write_str("valid"),
            TransactionVerdict::Invalid(found) => write!(f, "INVALID: {}", found.explanation),
            TransactionVerdict::Unknown { reason } => write!(f, "UNKNOWN, which is no pass: {reason}"),
        }
    }
}

/// Checks a history. Memory and time are proportional to what was read and to the dependencies, of which
/// [`EDGES_MAX`] at most are looked at.
pub fn check_transactions(history: &TransactionHistory, isolation: Isolation) -> TransactionVerdict {
    let versions = match Versions::of(history) {
        Ok(versions) => versions,
        Err(reason) => return TransactionVerdict::Unknown { reason },
    };
    let mut verdict = match versions.worst() {
        Some(direct) => TransactionVerdict::Invalid(of_direct(history, direct)),
        None => TransactionVerdict::Valid,
    };
    if versions.worst().is_some_and(|direct| direct.anomaly < Anomaly::G0) {
        return verdict;
    }
    // Two passes, so that what real time has no part in is called by its plain name.
    let passes: &[bool] = match isolation {
        Isolation::Serializable => &[false],
        Isolation::StrictSerializable => &[false, true],
    };
    for &real_time in passes {
        let Some(graph) = Graph::of(history, &versions, real_time) else {
            let reason = format!("there are more than {EDGES_MAX} dependencies between transactions");
            return match verdict {
                TransactionVerdict::Valid => TransactionVerdict::Unknown { reason },
                found => found,
            };
        };
        if let Some(cycle) = graph.worst_cycle(real_time) {
            let worse = match &verdict {
                TransactionVerdict::Invalid(found) => cycle.anomaly < found.anomaly,
                _ => true,
            };
            if worse {
                verdict = TransactionVerdict::Invalid(of_cycle(history, &cycle));
            }
        }
        if verdict != TransactionVerdict::Valid {
            break;
        }
    }
    verdict
}

fn of_direct(history: &TransactionHistory, direct: &Direct) -> Contradiction {
    let mut explanation = format!("{}: {}", direct.anomaly, direct.text);
    for id in &direct.transactions {
        explanation.push_str(&format!("\n  {}", history.transactions()[id.0]));
    }
    let transactions = direct.transactions.clone();
    Contradiction { anomaly: direct.anomaly, explanation, transactions, arrows: Vec::new() }
}

fn of_cycle(history: &TransactionHistory, cycle: &Cycle<'_>) -> Contradiction {
    let transactions = cycle.edges.iter().map(|edge| edge.from).collect();
    let arrows = cycle.edges.iter().map(words::arrow).collect();
    Contradiction {
        anomaly: cycle.anomaly,
        explanation: words::explain(history, cycle),
        transactions,
        arrows,
    }
}
