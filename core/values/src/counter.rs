//! A counter: what each actor added, up and down, in one number of its own (a PN-counter by actor, whose entries a
//! reset removes).

use types::clock::VersionVector;

use crate::{dots::Dots, operation::Refusal, value::Stamp};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub(crate) Dots<i64>);

impl Counter {
    /// The sum. Of one actor it fits 64 bits; merged ones can be greater.
    pub fn get(&self) -> i128 {
        self.0.iter().map(|(_, total)| i128::from(*total)).sum()
    }

    /// Adds, if the sum stays within 64 bits; answers it.
    pub(crate) fn add(&mut self, by: i64, stamp: Stamp) -> Result<i64, Refusal> {
        let own = self.0.get(stamp.dot.actor).copied().unwrap_or(0);
        let total = own.checked_add(by).ok_or(Refusal::Overflow)?;
        let sum = i64::try_from(self.get() + i128::from(by)).map_err(|_| Refusal::Overflow)?;
        self.0.put(stamp.dot, total);
        Ok(sum)
    }

    /// Takes away all that it has seen.
    pub(crate) fn reset(&mut self) {
        self.0 = Dots::default();
    }

    pub(crate) fn merge(&mut self, seen: &VersionVector, other: &Counter, others_seen: &VersionVector) {
        self.0 = self.0.merged(seen, &other.0, others_seen);
    }
}
