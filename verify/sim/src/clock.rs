//! One machine's clocks: a monotonic one that runs a little fast or slow, and a wall clock that may
//! be set.

use types::Now;

use crate::{dice::Dice, plan::SECOND};

/// Virtual worlds begin on 1 January 2026.
const WALL_START_MS: u64 = 1_767_225_600_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Clock {
    rate_ppm: u64,
    mono_offset_us: u64,
    wall_offset_ms: i64,
}

impl Clock {
    /// A clock with a drift of its own, of up to so many parts per million, and an offset.
    pub fn draw(dice: &mut Dice, drift_ppm_max: u64) -> Clock {
        let rate_ppm = match dice.below(4) {
            0 => 1_000_000 - drift_ppm_max,
            1 => 1_000_000 + drift_ppm_max,
            _ => 1_000_000 - drift_ppm_max + dice.below(2 * drift_ppm_max + 1),
        };
        Clock { rate_ppm, mono_offset_us: dice.below(1_000 * SECOND), wall_offset_ms: 0 }
    }

    /// What it says at a virtual time.
    pub fn now(&self, now_us: u64) -> Now {
        let mono_us =
            self.mono_offset_us + (u128::from(now_us) * u128::from(self.rate_ppm) / 1_000_000) as u64;
        let wall_ms = WALL_START_MS + now_us / 1_000;
        Now { mono_ms: mono_us / 1_000, wall_ms: wall_ms.saturating_add_signed(self.wall_offset_ms) }
    }

    /// Virtual time in which this clock advances by `span_us`, rounded up.
    pub fn virtual_us(&self, span_us: u64) -> u64 {
        (u128::from(span_us) * 1_000_000).div_ceil(u128::from(self.rate_ppm)) as u64
    }

    /// Someone sets the wall clock, by up to ten minutes either way.
    pub fn jump(&mut self, dice: &mut Dice) {
        self.wall_offset_ms = dice.below(1_200_000) as i64 - 600_000;
    }
}
