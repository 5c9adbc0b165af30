//! Histories of what clients of a keyed register, of lists and registers in transactions, of locks, of requests under
//! idempotency keys or of ordered logs saw, and judges of them. It knows nothing of the product that is judged: a history is
//! all it sees.
//!
//! A judge that says [`Verdict::Invalid`] is right, and shows why. [`Verdict::Valid`] means that an
//! explanation was found. [`Verdict::Unknown`] means that the search was given up; it is no pass.

mod arrows;
pub mod causal;
pub mod converged;
pub mod delivery;
pub mod effects;
mod explain;
mod facts;
mod fields;
mod frontier;
pub mod history;
pub mod json_lines;
mod judge;
pub mod ledger;
mod limits;
pub mod linearizable;
pub mod locks;
mod on_terms;
mod prepare;
mod problem;
pub mod receipt;
pub mod receipts;
mod recorded;
mod register;
pub mod revisions;
mod search;
pub mod sessions;
mod shrink;
pub mod staleness;
mod strong;
pub mod terms;
mod timeline;
pub mod transactions;
mod values;
mod words;

// Tests in here and from outside draw the same histories.
#[cfg(test)]
extern crate self as check;
#[cfg(test)]
#[path = "../tests/runs/mod.rs"]
mod runs;

pub use arrows::Arrow;
pub use causal::{Agreement, CausalVerdict, CausalViolation, check_causal};
pub use converged::{ConvergedVerdict, Divergence, check_converged};
pub use delivery::{DeliveryHistory, LogForm, Semantics, check_delivery};
pub use effects::{EffectForm, EffectHistory, check_effects};
pub use history::{Action, Answer, Completion, History, Op, OpId};
pub use json_lines::ParseError;
pub use judge::{Checker, Counterexample, Judgement, judge, judge_with};
pub use ledger::{Kind, Ledger};
pub use limits::MEMORY_BYTES_MAX;
pub use linearizable::{BUDGET_DEFAULT, Verdict, Violation, check_linearizable, check_linearizable_map};
pub use locks::{LockForm, LockHistory, check_fencing, check_locks};
pub use on_terms::{CLOCK_SLACK_MS, judge as judge_on_terms};
pub use receipt::Receipt;
pub use receipts::{Claim, ReceiptVerdict, ReceiptViolation, check_receipts};
pub use recorded::{Described, Recorded};
pub use revisions::{RevisionViolation, check_revisions};
pub use sessions::{Guarantee, SessionVerdict, SessionViolation, check_sessions};
pub use staleness::{Ages, StalenessVerdict, StalenessViolation, check_staleness};
pub use terms::{Level, Terms};
pub use timeline::timeline;
pub use transactions::{
    Anomaly, Isolation, Outcome, Seen, Step, TransactionHistory, TransactionVerdict, check_transactions,
};
