//! A register: bytes that the last assignment set. Concurrent assignments are kept side by side until one has
//! seen them; what is read is the one of the greatest stamp.

use types::{Hlc, clock::VersionVector};

use crate::{dots::Dots, value::Stamp};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register(pub(crate) Dots<(Hlc, Vec<u8>)>);

impl Register {
    /// The bytes; `None` when nothing was assigned.
    pub fn get(&self) -> Option<&[u8]> {
        let last = self.0.iter().max_by_key(|(dot, (at, _))| Stamp { at: *at, dot: *dot });
        last.map(|(_, (_, value))| value.as_slice())
    }

    pub(crate) fn assign(&mut self, value: Vec<u8>, stamp: Stamp) {
        self.0 = Dots::replaced_by(stamp.dot, (stamp.at, value));
    }

    pub(crate) fn merge(&mut self, seen: &VersionVector, other: &Register, others_seen: &VersionVector) {
        self.0 = self.0.merged(seen, &other.0, others_seen);
    }
}
