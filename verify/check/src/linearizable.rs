//! Is there an order of the operations, respecting which ended before which began, in which a register
//! with keys would have answered as it did? (Herlihy and Wing, "Linearizability", 1990.)
//!
//! Linearizability is local: a history is linearizable if that of every key is. So each key is
//! searched alone.

use std::collections::BTreeMap;
use std::fmt;

use crate::explain::explain;
use crate::history::{History, Op, OpId};
use crate::prepare::prepare;
use crate::search::{Found, search};
use crate::strong::strong_part;

/// Steps of search per key that are ample for thousands of operations with unique values, and need a
/// few hundred megabytes at worst.
pub const BUDGET_DEFAULT: u64 = 2_000_000;

/// What a judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// There is an explanation.
    Valid,
    /// There is none.
    Invalid(Violation),
    /// The search was given up: neither a pass nor a failure.
    Unknown {
        /// Which limit was reached, where.
        reason: String,
    },
}

/// One key's history that nothing explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: String,
    /// For people: what fits, and what does not. Several lines.
    pub explanation: String,
    /// An order that explains everything that had ended before `culprit` did. Empty if it could not
    /// be found within the budget.
    pub linearized: Vec<OpId>,
    /// The operation with whose answer the history became impossible: without it, and what came
    /// later, there is an explanation.
    pub culprit: OpId,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Valid => f.write_str("valid"),
            Verdict::Invalid(violation) => write!(f, "INVALID: {}", violation.explanation),
            Verdict::Unknown { reason } => write!(f, "UNKNOWN, which is no pass: {reason}"),
        }
    }
}

/// Checks a history, that is its strong part (see [`Op::is_owed_strong`]), key by key in order, in at most `budget` steps of search per key (see
/// [`BUDGET_DEFAULT`]). Memory is proportional to the steps. A violation found is reported even if
/// another key's search was given up.
pub fn check_linearizable(history: &History, budget: u64) -> Verdict {
    let history = strong_part(history, Op::is_owed_strong);
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in history.ops() {
        keys.entry(op.action.key()).or_default().push(op);
    }
    let mut verdict = Verdict::Valid;
    for (key, ops) in keys {
        let problem = prepare(&ops);
        match search(&problem, budget) {
            Found::Order(_) => {}
            Found::Nothing => {
                return Verdict::Invalid(explain(key, &ops, budget));
            }
            Found::Exhausted if verdict == Verdict::Valid => {
                let reason = format!(
                    "key {key:?} with {} operations was not decided within {budget} steps",
                    ops.len()
                );
                verdict = Verdict::Unknown { reason };
            }
            Found::Exhausted => {}
        }
    }
    verdict
}
