//! Does what answers say of themselves hold against the rest of the history? Each receipt by itself (`claims`),
//! against other receipts and answers (`pairs`), and as a whole: what says that it is strong must have its place
//! in one order in real time, and what says how old it is must not be older.
//!
//! Only what the history disproves is found. That enough replicas are named does not show that they have the
//! write; that a smaller number of tries is told than there were, that a first answer was a repetition, or that
//! clocks are right, cannot be seen from outside.

mod claims;
mod pairs;

use std::fmt;

use crate::facts::Facts;
use crate::history::{Action, History, Op, OpId};
use crate::linearizable::{Verdict, check_linearizable};
use crate::staleness::{Ages, StalenessVerdict, check_staleness};
use crate::strong::strong_part;
use crate::terms::Level;

/// What a receipt says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// More replicas than there are, or fewer than had to be.
    Acks,
    /// Strong, by less than a majority.
    Minority,
    /// Not what was asked for.
    Requested,
    /// Less than what was asked for, without a word of it.
    Weaker,
    /// A state in which the answer cannot be.
    Revision,
    /// A repetition of what was not sent before, or with another outcome.
    Deduplicated,
    /// No tries.
    Attempts,
    /// A lease that such an answer does not need.
    ReadLease,
    /// Two leaders of one term.
    Leaders,
    /// A leader of a term that was over.
    Term,
    /// A time that is not after that of what the session had seen.
    Hlc,
    /// Younger than it was.
    Staleness,
    /// Strong, but it has no place in the order of what is.
    Strong,
}

impl Claim {
    /// All.
    pub const ALL: [Claim; 13] = [
        Claim::Acks,
        Claim::Minority,
        Claim::Requested,
        Claim::Weaker,
        Claim::Revision,
        Claim::Deduplicated,
        Claim::Attempts,
        Claim::ReadLease,
        Claim::Leaders,
        Claim::Term,
        Claim::Hlc,
        Claim::Staleness,
        Claim::Strong,
    ];
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Claim::Acks => "acks",
            Claim::Minority => "minority",
            Claim::Requested => "requested",
            Claim::Weaker => "weaker-than-asked",
            Claim::Revision => "revision",
            Claim::Deduplicated => "deduplicated",
            Claim::Attempts => "attempts",
            Claim::ReadLease => "read-lease",
            Claim::Leaders => "two-leaders",
            Claim::Term => "term-back",
            Claim::Hlc => "hlc-back",
            Claim::Staleness => "older-than-told",
            Claim::Strong => "not-strong",
        })
    }
}

/// A receipt that claims what is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptViolation {
    /// What it claims.
    pub claim: Claim,
    /// For people. Several lines.
    pub explanation: String,
    /// The operations that show it, in order of invocation.
    pub shown: Vec<OpId>,
    /// The one whose receipt it is.
    pub culprit: OpId,
}

/// What was found of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ReceiptVerdict {
    /// Nothing that receipts say is disproved.
    Valid,
    /// Something is.
    Invalid(ReceiptViolation),
    /// Not decided.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Judges the receipts of a history, with so much slack for the ages that they tell, and in `budget` steps per key as
/// for [`check_linearizable`].
pub fn check_receipts(history: &History, slack_ms: u64, budget: u64) -> ReceiptVerdict {
    if history.ops().iter().all(|op| op.receipt.is_none()) {
        return ReceiptVerdict::Valid;
    }
    let facts = Facts::of(history);
    let simple = history.ops().iter().find_map(|op| claims::check(&facts, op));
    if let Some(violation) = simple.or_else(|| pairs::check(&facts)) {
        return ReceiptVerdict::Invalid(violation);
    }
    let staleness = match check_staleness(history, Ages::Told, slack_ms, budget) {
        StalenessVerdict::Invalid(found) => {
            return ReceiptVerdict::Invalid(ReceiptViolation {
                claim: Claim::Staleness,
                explanation: found.explanation.replacen("stale-read", &Claim::Staleness.to_string(), 1),
                shown: found.shown,
                culprit: found.culprit,
            });
        }
        StalenessVerdict::Valid => None,
        StalenessVerdict::Unknown { reason } => Some(reason),
    };
    match (check_linearizable(&claimed_strong(history), budget), staleness) {
        (Verdict::Invalid(violation), _) => {
            let mut shown =
                violation.linearized[violation.linearized.len().saturating_sub(SHOWN_MAX)..].to_vec();
            shown.push(violation.culprit);
            let meaning =
                "receipts say of more answers that they are strong than can be. They are written as that.";
            ReceiptVerdict::Invalid(ReceiptViolation {
                claim: Claim::Strong,
                explanation: format!("{}: {meaning}\n{}", Claim::Strong, violation.explanation),
                shown,
                culprit: violation.culprit,
            })
        }
        (Verdict::Unknown { reason }, _) | (Verdict::Valid, Some(reason)) => {
            ReceiptVerdict::Unknown { reason }
        }
        (Verdict::Valid, None) => ReceiptVerdict::Valid,
    }
}

/// How many operations before the one that cannot be explained are shown.
const SHOWN_MAX: usize = 6;

/// The history, in which exactly what is claimed to be strong is: whatever was asked for, and by whatever words.
fn claimed_strong(history: &History) -> History {
    let mut claimed = history.clone();
    for op in claimed.ops_mut() {
        let Some(receipt) = &mut op.receipt else { continue };
        let is_read = matches!(op.action, Action::Read { .. });
        if receipt.delivered == Some(Level::Strong) {
            op.terms.level = is_read.then_some(Level::Strong);
            op.terms.bound_ms = None;
        } else if !is_read && claims::is_on_a_majority(receipt) {
            // What a majority has on its disks is kept, and seen by every strong read that follows.
            receipt.delivered = Some(Level::Strong);
        }
    }
    strong_part(&claimed, Op::is_owed_strong).into_owned()
}

fn violation(facts: &Facts<'_>, claim: Claim, others: &[OpId], culprit: &Op, why: &str) -> ReceiptViolation {
    let mut shown: Vec<OpId> = others.iter().copied().chain([culprit.id]).collect();
    shown.sort_unstable();
    shown.dedup();
    let mut explanation = format!("{claim}: {why}");
    for id in &shown {
        let op = facts.op(*id);
        let receipt =
            op.receipt.as_ref().map(|receipt| serde_json::to_string(receipt).expect("it is plain data"));
        explanation.push_str(&format!(
            "\n  {op}\n    {}",
            receipt.unwrap_or_else(|| "without a receipt".to_owned())
        ));
    }
    ReceiptViolation { claim, explanation, shown, culprit: culprit.id }
}
