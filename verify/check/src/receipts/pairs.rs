//! What a receipt says, against other operations and their receipts.
//!
//! A store of several groups has terms and revisions in each. So they are compared for one key, which is in one
//! group; a receipt put together from several (`shards`) is not compared.

use std::collections::{BTreeMap, HashMap};

use crate::facts::{Facts, Shown, is_change};
use crate::history::{Action, Answer, Op, OpId};
use crate::receipt::{Hlc, Receipt, Role};
use crate::terms::Level;

use super::{Claim, ReceiptViolation, violation};

/// The first claim that another operation disproves.
pub fn check(facts: &Facts<'_>) -> Option<ReceiptViolation> {
    repetitions(facts)
        .or_else(|| leaders(facts))
        .or_else(|| terms_go_back(facts))
        .or_else(|| states(facts))
        .or_else(|| times_go_back(facts))
}

/// Receipts of one group alone.
fn receipts<'a>(facts: &Facts<'a>) -> impl Iterator<Item = (&'a Op, &'a Receipt)> {
    let ops = facts.history.ops().iter();
    ops.filter_map(|op| Some((op, op.receipt.as_ref().filter(|receipt| receipt.shards.is_none())?)))
}

/// What repeats was sent before under its key, as the same, with the same outcome.
fn repetitions(facts: &Facts<'_>) -> Option<ReceiptViolation> {
    let mut sent: HashMap<&str, Vec<&Op>> = HashMap::new();
    for op in facts.history.ops() {
        if let Some(key) = &op.terms.idempotency_key {
            sent.entry(key).or_default().push(op);
        }
    }
    for op in facts.history.ops().iter().filter(|op| op.is_repetition()) {
        let (end, answer) = op.answer()?;
        let wrong = |others: &[OpId], why: &str| Some(violation(facts, Claim::Deduplicated, others, op, why));
        let Some(key) = &op.terms.idempotency_key else {
            return wrong(&[], "it says that it repeats, and was sent without an idempotency key.");
        };
        let tried = op.receipt.as_ref().and_then(|receipt| receipt.attempts).unwrap_or(1);
        let others = || sent[key.as_str()].iter().filter(|other| other.id != op.id);
        let mut before = others().filter(|other| other.invoked.position < end.position).peekable();
        // A second try inside the store can meet what the first one did.
        if before.peek().is_none() && tried <= 1 {
            return wrong(
                &[],
                "it says that it repeats, and nothing was sent under its idempotency key before.",
            );
        }
        if let Some(other) = before.find(|other| other.action != op.action) {
            return wrong(&[other.id], "it says that it repeats what was something else.");
        }
        let told = |answer: &Answer| match answer {
            Answer::Written { revision } | Answer::Deleted { revision, .. } => *revision,
            Answer::Read { .. } | Answer::ReadMany { .. } => None,
        };
        let differs = |other: &&&Op| {
            let one = other.answer().and_then(|(_, answer)| told(answer));
            one.zip(told(answer)).is_some_and(|(one, other)| one != other)
        };
        if let Some(other) = others().find(differs) {
            return wrong(&[other.id], "it says that it repeats what was answered with another revision.");
        }
    }
    None
}

/// A term has one leader.
fn leaders(facts: &Facts<'_>) -> Option<ReceiptViolation> {
    let mut known: HashMap<(&str, u64), (u64, OpId)> = HashMap::new();
    for (op, receipt) in receipts(facts) {
        let (Some(Role::Leader), Some(term), Some(node)) = (receipt.role, receipt.term, receipt.served_by)
        else {
            continue;
        };
        let (leader, other) = *known.entry((op.action.key(), term)).or_insert((node, op.id));
        if leader != node {
            let why = format!("nodes {leader} and {node} both say that they lead term {term}.");
            return Some(violation(facts, Claim::Leaders, &[other], op, &why));
        }
    }
    None
}

/// Once something strong was answered in a term, no leader of an earlier one has a majority any more.
fn terms_go_back(facts: &Facts<'_>) -> Option<ReceiptViolation> {
    let mut keys: BTreeMap<&str, Vec<(usize, u64, &Op)>> = BTreeMap::new();
    for (op, receipt) in receipts(facts) {
        if let (Some(Level::Strong), Some(Role::Leader), Some(term), Some((end, _)), false) =
            (receipt.delivered, receipt.role, receipt.term, op.answer(), op.is_repetition())
        {
            keys.entry(op.action.key()).or_default().push((end.position, term, op));
        }
    }
    for answers in keys.values_mut() {
        let mut begun: Vec<(usize, u64, &Op)> =
            answers.iter().map(|(_, term, op)| (op.invoked.position, *term, *op)).collect();
        begun.sort_unstable_by_key(|(position, ..)| *position);
        answers.sort_unstable_by_key(|(position, ..)| *position);
        let mut ended = answers.iter().peekable();
        let mut greatest: Option<(u64, &Op)> = None;
        for (began, term, op) in begun {
            while let Some((_, term, op)) = ended.next_if(|(end, ..)| *end < began) {
                if greatest.is_none_or(|(greatest, _)| greatest < *term) {
                    greatest = Some((*term, op));
                }
            }
            if let Some((later, other)) = greatest.filter(|(later, _)| *later > term) {
                let why = format!("a leader of term {term} decided it, after term {later} had begun.");
                return Some(violation(facts, Claim::Term, &[other.id], op, &why));
            }
        }
    }
    None
}

/// The state of a revision shows of each key the last change up to it.
fn states(facts: &Facts<'_>) -> Option<ReceiptViolation> {
    let mut keys: HashMap<&str, BTreeMap<u64, OpId>> = HashMap::new();
    for op in facts.history.ops().iter().filter(|op| is_change(op)) {
        if let Some(revision) = facts.revision(op.id) {
            keys.entry(op.action.key()).or_default().insert(revision, op.id);
        }
    }
    for (op, receipt) in receipts(facts) {
        let (Action::Read { key }, Some(state)) = (&op.action, receipt.revision) else { continue };
        let Some((newest, change)) = keys.get(key.as_str()).and_then(|key| key.range(..=state).next_back())
        else {
            continue;
        };
        let missed = match facts.shown[op.id.0] {
            Shown::Version(shown) => facts.revision(shown).is_some_and(|shown| shown < *newest),
            // A delete whose revision nobody knows may be between.
            Shown::Absent => {
                let unknown = |delete: &&OpId| facts.revision(**delete).is_none();
                facts.is_value(*change) && !facts.deletes(key).iter().any(|delete| unknown(&delete))
            }
            _ => false,
        };
        if missed {
            let why = format!("the state of revision {state} has a change of revision {newest} of the key.");
            return Some(violation(facts, Claim::Revision, &[*change], op, &why));
        }
    }
    None
}

/// In a session, what was answered earlier has the smaller time.
fn times_go_back(facts: &Facts<'_>) -> Option<ReceiptViolation> {
    let mut sessions: Vec<Vec<(usize, Hlc, &Op)>> = vec![Vec::new(); facts.session_count];
    for op in facts.history.ops() {
        if let (Some(hlc), Some((end, _))) =
            (op.receipt.as_ref().and_then(|receipt| receipt.hlc), op.answer())
        {
            sessions[facts.sessions[op.id.0]].push((end.position, hlc, op));
        }
    }
    for answers in &mut sessions {
        let begun: Vec<(Hlc, &Op)> = answers.iter().map(|(_, hlc, op)| (*hlc, *op)).collect();
        answers.sort_unstable_by_key(|(position, ..)| *position);
        let mut ended = answers.iter().peekable();
        let mut greatest: Option<(Hlc, &Op)> = None;
        for (hlc, op) in begun {
            while let Some((_, hlc, op)) = ended.next_if(|(end, ..)| *end < op.invoked.position) {
                if greatest.is_none_or(|(greatest, _)| greatest < *hlc) {
                    greatest = Some((*hlc, op));
                }
            }
            if let Some((_, other)) = greatest.filter(|(greatest, _)| *greatest >= hlc) {
                let why = "its time is not after that of what its session had been answered before.";
                return Some(violation(facts, Claim::Hlc, &[other.id], op, why));
            }
        }
    }
    None
}
