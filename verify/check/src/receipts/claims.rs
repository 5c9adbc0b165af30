//! What a receipt says, against the operation that it is of.

use crate::facts::Facts;
use crate::history::{Action, Answer, Op};
use crate::receipt::{Receipt, Role};
use crate::terms::Level;

use super::{Claim, ReceiptViolation, violation};

/// More than half.
pub fn majority(of: u64) -> u64 {
    of / 2 + 1
}

/// Whether it says that a majority has it on disk.
pub fn is_on_a_majority(receipt: &Receipt) -> bool {
    let acks = receipt.acks.unwrap_or_default();
    acks.durable.zip(acks.of).is_some_and(|(durable, of)| durable >= majority(of))
}

/// The first claim that its own operation disproves.
pub fn check(facts: &Facts<'_>, op: &Op) -> Option<ReceiptViolation> {
    let receipt = op.receipt.as_ref()?;
    let wrong = |claim, why: &str| Some(violation(facts, claim, &[], op, why));
    let is_read = matches!(op.action, Action::Read { .. });
    let acks = receipt.acks.unwrap_or_default();
    let exceeds =
        |one: Option<u64>, other: Option<u64>| one.zip(other).is_some_and(|(one, other)| one > other);
    if [acks.required, acks.got, acks.durable].into_iter().any(|count| exceeds(count, acks.of)) {
        return wrong(Claim::Acks, "it counts more replicas than there are.");
    }
    if exceeds(acks.required, acks.got) {
        return wrong(Claim::Acks, "fewer replicas hold it than had to, before it was answered.");
    }
    if exceeds(acks.durable, acks.got) {
        return wrong(Claim::Acks, "more replicas have it on disk than hold it.");
    }
    let strong = receipt.delivered == Some(Level::Strong);
    if strong && receipt.read_lease.is_none() && exceeds(acks.of.map(majority), acks.got) {
        return wrong(Claim::Minority, "it claims to be strong, and no majority stands behind it.");
    }
    if is_read && receipt.requested.is_some_and(|requested| requested != op.level()) {
        return wrong(Claim::Requested, "it names another level than was asked for.");
    }
    let requested = if is_read { op.level() } else { receipt.requested.unwrap_or_default() };
    let weaker = receipt.delivered.is_some_and(|delivered| delivered > requested);
    if weaker && !receipt.is_degraded() {
        return wrong(
            Claim::Weaker,
            "less was kept than was asked for, and it does not say why (`degraded`).",
        );
    }
    let bound = op.terms.bound_ms.filter(|_| !weaker);
    if exceeds(receipt.staleness_ms, bound) {
        return wrong(
            Claim::Weaker,
            "it says that it is older than was asked for, and not why (`degraded`).",
        );
    }
    let answered = match op.answer()?.1 {
        Answer::Read { revision, .. } | Answer::Written { revision } | Answer::Deleted { revision, .. } => {
            *revision
        }
        Answer::ReadMany { .. } => None,
    };
    // A repetition repeats the revision of what was done then.
    if exceeds(answered, receipt.revision) && receipt.deduplicated != Some(true) {
        return wrong(Claim::Revision, "the state that it is of is older than what it answers.");
    }
    if receipt.attempts == Some(0) {
        return wrong(Claim::Attempts, "it was answered without having been tried.");
    }
    if receipt.read_lease.is_some()
        && (!is_read || receipt.delivered.is_some_and(|level| level > Level::Strong))
    {
        return wrong(Claim::ReadLease, "only a strong read rests on a lease.");
    }
    if receipt.read_lease.is_some() && receipt.role.is_some_and(|role| role != Role::Leader) {
        return wrong(Claim::ReadLease, "only a leader has a lease for reads.");
    }
    None
}
