//! Faults of clocks.

use types::NodeId;

use super::kinds::FaultKind;
use crate::world::World;

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_clock(&mut self, kind: FaultKind, node: NodeId) -> bool {
        match kind {
            FaultKind::WallJump => {
                self.hosts[node.0 as usize].clock.jump(&mut self.dice);
                true
            }
            kind => unreachable!("{kind} does not hit clocks"),
        }
    }
}
