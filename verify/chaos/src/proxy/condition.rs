//! In which condition a link is, and what hurts it.

use std::time::Duration;

/// What hurts one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing passes, and nobody is told. With `lost`, what was said meanwhile never arrives and its
    /// connections end; without, it arrives late, as TCP sends again what a network lost.
    Silent {
        /// Whether what was said is gone.
        lost: bool,
    },
    /// Every byte comes this much later, and up to `jitter` more, in order.
    Late {
        /// At least.
        delay: Duration,
        /// At most this much more.
        jitter: Duration,
    },
    /// No more than this many bytes a second.
    Narrow {
        /// How many.
        bytes_per_s: u64,
    },
    /// So many of a thousand chunks have a flipped bit. Only where the other end can notice: under TLS.
    Corrupt {
        /// How many.
        per_mille: u16,
    },
    /// Connections are closed, and new ones refused.
    Refused,
    /// The dialer's connections stay open, and nobody is behind them any more. New ones work.
    HalfOpen,
}

impl Effect {
    pub(super) fn loses_bytes(self) -> bool {
        matches!(self, Effect::Silent { lost: true } | Effect::HalfOpen)
    }
}

/// One direction of a link. The default lets everything pass at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Nothing passes.
    pub silent: bool,
    /// Connections are closed and refused.
    pub refused: bool,
    /// Everything comes this much later.
    pub delay: Duration,
    /// And up to this much more.
    pub jitter: Duration,
    /// At most so many bytes a second pass; 0: as many as there are.
    pub bytes_per_s: u64,
    /// So many of a thousand chunks are damaged.
    pub corrupt_per_mille: u16,
}

impl Way {
    pub(super) fn with(mut self, effect: Effect) -> Way {
        match effect {
            Effect::Silent { .. } => self.silent = true,
            Effect::Late { delay, jitter } => {
                self.delay = self.delay.max(delay);
                self.jitter = self.jitter.max(jitter);
            }
            Effect::Narrow { bytes_per_s } => {
                self.bytes_per_s =
                    if self.bytes_per_s == 0 { bytes_per_s } else { self.bytes_per_s.min(bytes_per_s) };
            }
            Effect::Corrupt { per_mille } => self.corrupt_per_mille = self.corrupt_per_mille.max(per_mille),
            Effect::Refused => self.refused = true,
            Effect::HalfOpen => {}
        }
        self
    }
}

/// Both directions of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// From who dialed to the target.
    pub out: Way,
    /// From the target to who dialed.
    pub back: Way,
}

impl Condition {
    pub(super) fn refused(&self) -> bool {
        self.out.refused || self.back.refused
    }

    pub(super) fn silent(&self) -> bool {
        self.out.silent || self.back.silent
    }
}
