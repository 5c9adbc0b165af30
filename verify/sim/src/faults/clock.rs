//! Faults of clocks. Monotonic ones go faster or slower, as far as contracts allow for; wall clocks do what they like.

use types::NodeId;

use super::kinds::FaultKind;
use crate::{event::Recovery, plan::SECOND, world::World};

/// Up to so far a wall clock is off: mostly what a wrong setting brings, sometimes years.
const OFFSETS_MS: [u64; 4] = [1_000, 70_000, 600_000, 10 * 365 * 86_400_000];

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_clock(&mut self, kind: FaultKind, node: NodeId) -> bool {
        let far_ms = self.dice.pick(&OFFSETS_MS);
        let offset_ms = self.dice.below(2 * far_ms) as i64 - far_ms as i64;
        let clock = &mut self.hosts[node.0 as usize].clock;
        match kind {
            FaultKind::WallJump => clock.set_wall(offset_ms),
            FaultKind::ClockSkew => {
                clock.skew(offset_ms);
                self.later(2 * SECOND, Recovery::Unskew(node, offset_ms));
            }
            FaultKind::ClockStrobe => {
                // Many times a second, and never at a rhythm that ticks have.
                clock.strobe(self.now_us, self.dice.between(1_300, 90_000), offset_ms);
                self.later(SECOND, Recovery::Steady(node));
            }
            FaultKind::ClockDrift => {
                let mono_ppm = self.dice.between(0, 2 * self.plan.clock_drift_ppm);
                let mono_ppm = 1_000_000 - self.plan.clock_drift_ppm + mono_ppm;
                let wall_ppm = self.dice.pick(&[100_000, 500_000, 2_000_000, 20_000_000]);
                clock.drift(self.now_us, mono_ppm, wall_ppm);
                self.later(2 * SECOND, Recovery::Undrift(node));
            }
            kind => unreachable!("{kind} does not hit clocks"),
        }
        true
    }
}
