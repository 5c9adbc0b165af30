//! Faults of disks.

use types::NodeId;

use super::{End, kinds::FaultKind, rot::Rot};
use crate::{event::Recovery, plan::SECOND, world::World};

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_disk(&mut self, kind: FaultKind, node: NodeId) -> bool {
        let number = node.0 as usize;
        match kind {
            FaultKind::SyncFailure => {
                self.hosts[number].sync_failure_armed = true;
                let nth = self.dice.between(1, 4);
                self.hosts[number].files.fail_sync(nth);
                true
            }
            FaultKind::DiskFull => {
                let host = &mut self.hosts[number];
                let room = self.dice.below(2 * self.plan.limits.segment_bytes);
                host.full = true;
                host.files.set_capacity(Some(host.files.used_bytes() + room));
                self.later(SECOND, Recovery::Space(node));
                true
            }
            FaultKind::BitRot => {
                self.end_and_restart(node, End::Kill);
                let host = &mut self.hosts[number];
                if host.rot.is_none() {
                    host.rot = Rot::inject(&host.files, &mut self.dice);
                    return host.rot.is_some();
                }
                false
            }
            FaultKind::SlowDisk => {
                self.hosts[number].slowness = self.dice.between(5, 50);
                self.later(SECOND, Recovery::Fast(node));
                true
            }
            kind => unreachable!("{kind} does not hit disks"),
        }
    }
}
