//! All checkers by name, behind one door.

use std::fmt;

use crate::arrows::Arrow;
use crate::converged::{ConvergedVerdict, check_converged};
use crate::delivery::check_delivery;
use crate::effects::check_effects;
use crate::history::{Action, History, OpId};
use crate::linearizable::{Verdict, check_linearizable, check_linearizable_map};
use crate::locks::{check_fencing, check_locks};
use crate::on_terms::{self, CLOCK_SLACK_MS};
use crate::recorded::Recorded;
use crate::revisions::{RevisionViolation, check_revisions};
use crate::transactions::{Isolation, TransactionVerdict, check_transactions};

/// A checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// Single operations have an order that explains them, and respects which ended before which began.
    Linearizable,
    /// The same, where what was read of several keys was there at one moment.
    LinearizableMap,
    /// The revisions of changes order them.
    Revisions,
    /// Every session sees what it has to.
    Sessions,
    /// Causes are seen before their effects.
    Causal,
    /// And all replicas can have agreed on one order of the changes of each key.
    CausalConvergent,
    /// No read is older than it may be.
    Bounded,
    /// What answers say of themselves is so.
    Receipts,
    /// Nobody saw what a transaction took back or had not finished.
    ReadCommitted,
    /// Each transaction read at one moment, and wrote at another.
    SnapshotIsolation,
    /// In the end all replicas hold the same, and it is what clients did.
    Converged,
    /// Transactions have an order that explains them.
    Serializable,
    /// One that also respects which ended before which began.
    StrictSerializable,
    /// Locks are given to one at a time.
    Locks,
    /// What is written under fencing tokens takes effect in their order.
    Fencing,
    /// Requests under one idempotency key have one effect and one answer.
    Effects,
    /// Logs neither lose, repeat, reorder nor invent messages.
    Delivery,
}

impl Checker {
    /// All.
    pub const ALL: [Checker; 17] = [
        Checker::Linearizable,
        Checker::LinearizableMap,
        Checker::Revisions,
        Checker::Converged,
        Checker::Sessions,
        Checker::Causal,
        Checker::CausalConvergent,
        Checker::Bounded,
        Checker::Receipts,
        Checker::ReadCommitted,
        Checker::SnapshotIsolation,
        Checker::Serializable,
        Checker::StrictSerializable,
        Checker::Locks,
        Checker::Fencing,
        Checker::Effects,
        Checker::Delivery,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Checker::Linearizable => "linearizable",
            Checker::LinearizableMap => "linearizable-map",
            Checker::Revisions => "revisions",
            Checker::Sessions => "session",
            Checker::Causal => "causal",
            Checker::CausalConvergent => "causal-convergent",
            Checker::Bounded => "bounded",
            Checker::Receipts => "receipts",
            Checker::ReadCommitted => "read-committed",
            Checker::SnapshotIsolation => "snapshot-isolation",
            Checker::Converged => "converged",
            Checker::Serializable => "serializable",
            Checker::StrictSerializable => "strict-serializable",
            Checker::Locks => "locks",
            Checker::Fencing => "fencing",
            Checker::Effects => "effects",
            Checker::Delivery => "delivery",
        }
    }

    /// What kind of thing it judges; see [`Recorded::of`].
    pub fn judges(self) -> &'static str {
        match self {
            Checker::Linearizable
            | Checker::LinearizableMap
            | Checker::Revisions
            | Checker::Converged
            | Checker::Sessions
            | Checker::Causal
            | Checker::CausalConvergent
            | Checker::Bounded
            | Checker::Receipts => "single operations",
            Checker::ReadCommitted
            | Checker::SnapshotIsolation
            | Checker::Serializable
            | Checker::StrictSerializable => "transactions",
            Checker::Locks | Checker::Fencing => "locks",
            Checker::Effects => "effects",
            Checker::Delivery => "ordered logs",
        }
    }

    /// What it judges, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Checker::Linearizable => "single operations on a key have one order, which respects real time",
            Checker::LinearizableMap => "the same, and several keys read at once were so at one moment",
            Checker::Converged => "in the end all replicas hold the same: nothing is lost or invented",
            Checker::Revisions => "no two changes share a revision, and a later change has a greater one",
            Checker::Sessions => {
                "sessions read their writes, never go back, and pass on what they wrote and read"
            }
            Checker::Causal => {
                "whoever sees an effect sees its causes, through any number of sessions and keys"
            }
            Checker::CausalConvergent => "the same, and all agree on one order of the changes of each key",
            Checker::Bounded => "no read is older than was asked for, or than its receipt says",
            Checker::Receipts => "what answers say of themselves is not disproved by the rest of the history",
            Checker::ReadCommitted => "transactions saw only what was finished: no G0, G1a, G1b, G1c",
            Checker::SnapshotIsolation => "and each read at one moment: no lost update, G-single, long fork",
            Checker::Serializable => "transactions have one order: also no write skew (G2-item)",
            Checker::StrictSerializable => "transactions have one order, which respects real time",
            Checker::Locks => "tokens only grow, and no lock is given away while it is promised to another",
            Checker::Fencing => "no write under a token takes effect after one under a greater token",
            Checker::Effects => "what is asked under one idempotency key has one effect and one answer",
            Checker::Delivery => "logs lose, repeat, reorder and invent nothing that they were sent",
        }
    }

    /// The checker of that name.
    pub fn named(name: &str) -> Option<Checker> {
        Checker::ALL.into_iter().find(|checker| checker.name() == name)
    }

    /// Those that judge a history unless told otherwise.
    pub fn of(recorded: &Recorded) -> &'static [Checker] {
        match recorded {
            Recorded::Operations(history) if on_terms::are_in(history) => &[
                Checker::Linearizable,
                Checker::Revisions,
                Checker::Sessions,
                Checker::Causal,
                Checker::Bounded,
                Checker::Receipts,
            ],
            Recorded::Operations(history) if has_finals(history) => {
                &[Checker::Linearizable, Checker::Revisions, Checker::Converged]
            }
            Recorded::Operations(_) => &[Checker::Linearizable, Checker::Revisions],
            Recorded::Transactions(_) => &[Checker::Serializable],
            Recorded::Locks(_) => &[Checker::Locks, Checker::Fencing],
            Recorded::Effects(_) => &[Checker::Effects],
            Recorded::Delivery(_) => &[Checker::Delivery],
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// There is an explanation.
    Valid,
    /// There is none.
    Invalid(Counterexample),
    /// Not decided: neither a pass nor a failure.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What cannot be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counterexample {
    /// What kind of thing went wrong, in a word.
    pub anomaly: String,
    /// For people. Several lines.
    pub explanation: String,
    /// The operations that it takes to see it.
    pub shown: Vec<OpId>,
    /// Those of them that contradict.
    pub culprits: Vec<OpId>,
    /// Which of them has to come before which, for the drawing.
    pub arrows: Vec<Arrow>,
}

/// Judges a history, in at most `budget` steps of search per key. For a checker of another kind of
/// history it is [`Judgement::Unknown`].
pub fn judge(recorded: &Recorded, checker: Checker, budget: u64) -> Judgement {
    judge_with(recorded, checker, budget, CLOCK_SLACK_MS)
}

/// As [`judge`]; an answer may be older than it may be by so much, for clocks that run differently.
pub fn judge_with(recorded: &Recorded, checker: Checker, budget: u64, clock_slack_ms: u64) -> Judgement {
    match (recorded, checker) {
        (Recorded::Operations(history), Checker::Linearizable) => {
            linearizable(check_linearizable(history, budget))
        }
        (Recorded::Operations(history), Checker::LinearizableMap) => {
            linearizable(check_linearizable_map(history, budget))
        }
        (Recorded::Operations(history), Checker::Converged) => converged(check_converged(history)),
        (Recorded::Operations(history), Checker::Revisions) => match check_revisions(history) {
            Ok(()) => Judgement::Valid,
            Err(violation) => Judgement::Invalid(revisions(&violation)),
        },
        (
            Recorded::Operations(history),
            Checker::Sessions
            | Checker::Causal
            | Checker::CausalConvergent
            | Checker::Bounded
            | Checker::Receipts,
        ) => on_terms::judge(history, checker, budget, clock_slack_ms),
        (Recorded::Locks(history), Checker::Locks) => check_locks(history),
        (Recorded::Locks(history), Checker::Fencing) => check_fencing(history),
        (Recorded::Effects(history), Checker::Effects) => check_effects(history),
        (Recorded::Delivery(history), Checker::Delivery) => check_delivery(history),
        (recorded, checker) => match (recorded, isolation(checker)) {
            (Recorded::Transactions(history), Some(isolation)) => {
                transactions(check_transactions(history, isolation))
            }
            _ => {
                let (judges, of) = (checker.judges(), recorded.of());
                Judgement::Unknown {
                    reason: format!("{checker} judges {judges}, and this is a history of {of}"),
                }
            }
        },
    }
}

/// What a checker of transactions asks of them.
fn isolation(checker: Checker) -> Option<Isolation> {
    match checker {
        Checker::ReadCommitted => Some(Isolation::ReadCommitted),
        Checker::SnapshotIsolation => Some(Isolation::SnapshotIsolation),
        Checker::Serializable => Some(Isolation::Serializable),
        Checker::StrictSerializable => Some(Isolation::StrictSerializable),
        _ => None,
    }
}

fn has_finals(history: &History) -> bool {
    history.ops().iter().any(|op| matches!(op.action, Action::Final { .. }))
}

fn converged(verdict: ConvergedVerdict) -> Judgement {
    match verdict {
        ConvergedVerdict::Valid => Judgement::Valid,
        ConvergedVerdict::Unknown { reason } => Judgement::Unknown { reason },
        ConvergedVerdict::Invalid(found) => Judgement::Invalid(Counterexample {
            anomaly: found.anomaly.to_owned(),
            explanation: found.explanation,
            shown: found.shown,
            culprits: found.finals,
            arrows: Vec::new(),
        }),
    }
}

fn linearizable(verdict: Verdict) -> Judgement {
    match verdict {
        Verdict::Valid => Judgement::Valid,
        Verdict::Unknown { reason } => Judgement::Unknown { reason },
        Verdict::Invalid(violation) => Judgement::Invalid(Counterexample {
            anomaly: "not-linearizable".to_owned(),
            explanation: violation.explanation,
            shown: violation.shown,
            culprits: vec![violation.culprit],
            arrows: Vec::new(),
        }),
    }
}

fn revisions(violation: &RevisionViolation) -> Counterexample {
    let (anomaly, culprits) = match violation {
        RevisionViolation::Shared { first, second, .. } => ("shared-revision", vec![*first, *second]),
        RevisionViolation::Backwards { earlier, later, .. } => {
            ("revisions-backwards", vec![*earlier, *later])
        }
    };
    let (anomaly, explanation) = (anomaly.to_owned(), violation.to_string());
    Counterexample { anomaly, explanation, shown: culprits.clone(), culprits, arrows: Vec::new() }
}

fn transactions(verdict: TransactionVerdict) -> Judgement {
    match verdict {
        TransactionVerdict::Valid => Judgement::Valid,
        TransactionVerdict::Unknown { reason } => Judgement::Unknown { reason },
        TransactionVerdict::Invalid(found) => Judgement::Invalid(Counterexample {
            anomaly: found.anomaly.to_string(),
            explanation: found.explanation,
            shown: found.transactions,
            culprits: found.culprits,
            arrows: found.arrows,
        }),
    }
}
