//! The judges of what was asked and told beside the operations themselves, behind the door of all judges.

use crate::causal::{Agreement, CausalVerdict, check_causal};
use crate::history::{History, OpId};
use crate::judge::{Checker, Counterexample, Judgement};
use crate::receipts::{ReceiptVerdict, check_receipts};
use crate::sessions::{SessionVerdict, check_sessions};
use crate::staleness::{Ages, StalenessVerdict, check_staleness};
use crate::terms::Terms;

/// By how many milliseconds an answer may be older than it may be, for clocks that run differently.
pub const CLOCK_SLACK_MS: u64 = 0;

/// Whether a history has anything of which only these judges know.
pub fn are_in(history: &History) -> bool {
    history.ops().iter().any(|op| op.receipt.is_some() || op.terms != Terms::default())
}

/// Judges by one of the checkers of sessions, causes, ages and receipts, with so much slack for ages.
///
/// # Panics
/// If the checker is another one.
pub fn judge(history: &History, checker: Checker, budget: u64, slack_ms: u64) -> Judgement {
    let causal = |agreement| match check_causal(history, agreement) {
        CausalVerdict::Valid => Judgement::Valid,
        CausalVerdict::Unknown { reason } => Judgement::Unknown { reason },
        CausalVerdict::Invalid(found) => {
            let (anomaly, explanation) = (found.pattern.to_string(), found.explanation);
            let (shown, culprits, arrows) = (found.shown, found.culprits, found.arrows);
            Judgement::Invalid(Counterexample { anomaly, explanation, shown, culprits, arrows })
        }
    };
    match checker {
        Checker::Causal => causal(Agreement::Ignored),
        Checker::CausalConvergent => causal(Agreement::Demanded),
        Checker::Sessions => match check_sessions(history) {
            SessionVerdict::Valid => Judgement::Valid,
            SessionVerdict::Unknown { reason } => Judgement::Unknown { reason },
            SessionVerdict::Invalid(found) => {
                invalid(found.guarantee.to_string(), found.explanation, found.shown, vec![found.culprit])
            }
        },
        Checker::Bounded => match check_staleness(history, Ages::AskedAndTold, slack_ms, budget) {
            StalenessVerdict::Valid => Judgement::Valid,
            StalenessVerdict::Unknown { reason } => Judgement::Unknown { reason },
            StalenessVerdict::Invalid(found) => {
                invalid("stale-read".to_owned(), found.explanation, found.shown, vec![found.culprit])
            }
        },
        Checker::Receipts => match check_receipts(history, slack_ms, budget) {
            ReceiptVerdict::Valid => Judgement::Valid,
            ReceiptVerdict::Unknown { reason } => Judgement::Unknown { reason },
            ReceiptVerdict::Invalid(found) => {
                invalid(found.claim.to_string(), found.explanation, found.shown, vec![found.culprit])
            }
        },
        _ => unreachable!("{checker} is no judge of these"),
    }
}

fn invalid(anomaly: String, explanation: String, shown: Vec<OpId>, culprits: Vec<OpId>) -> Judgement {
    Judgement::Invalid(Counterexample { anomaly, explanation, shown, culprits, arrows: Vec::new() })
}
