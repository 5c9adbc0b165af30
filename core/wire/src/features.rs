//! Optional abilities of the protocol, offered in the handshake and used only if both sides have them.

use std::ops::{BitAnd, BitOr};

/// A set of features, one bit each. Bits are never reused; bits that this build does not know are
/// carried, compare unequal, and fall out when sets are intersected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// No feature: what every peer understands.
    pub const NONE: Features = Features(0);
    /// Frames may be compressed as LZ4 blocks.
    pub const LZ4: Features = Features(1);
    /// Everything that this build can do.
    pub const ALL: Features = Features::LZ4;

    /// Whether every feature of `other` is in this set.
    pub fn contains(self, other: Features) -> bool {
        self & other == other
    }
}

impl BitAnd for Features {
    type Output = Features;

    fn bitand(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }
}

impl BitOr for Features {
    type Output = Features;

    fn bitor(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }
}
