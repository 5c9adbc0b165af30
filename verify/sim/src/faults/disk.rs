//! Faults of disks.

use types::NodeId;

use super::{
    End,
    kinds::FaultKind,
    rot::{Rot, rot_store, truncate},
};
use crate::{
    event::{Event, Recovery},
    failure::Broken,
    plan::{MS, SECOND},
    process::Stop,
    world::World,
};

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_disk(&mut self, kind: FaultKind, node: NodeId) -> bool {
        let number = node.0 as usize;
        match kind {
            FaultKind::ReadError => {
                self.hosts[number].troubles.fail_read_after(self.dice.below(30));
                true
            }
            FaultKind::WriteError => {
                self.hosts[number].troubles.fail_write_after(self.dice.below(12));
                true
            }
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
            FaultKind::BitRot if self.hosts[number].is_unreliable() => false,
            FaultKind::BitRot => {
                self.end_and_restart(node, End::Kill);
                let host = &mut self.hosts[number];
                if host.rot.is_none() {
                    host.rot = Rot::inject(&host.files, &mut self.dice);
                    return host.rot.is_some();
                }
                false
            }
            FaultKind::StoreRot | FaultKind::TruncatedFile => {
                if !self.may_forget() || self.hosts[number].is_unreliable() {
                    return false;
                }
                self.end_and_restart(node, End::Kill);
                let (files, dice) = (&self.hosts[number].files, &mut self.dice);
                let damaged = match kind {
                    FaultKind::StoreRot => rot_store(files, dice),
                    _ => truncate(files, dice),
                };
                self.note(format_args!("damaged: {damaged:?}"));
                self.hosts[number].damaged = damaged;
                self.hosts[number].damaged.is_some()
            }
            FaultKind::StalledDisk => {
                let until_us = self.now_us + self.dice.between(500, 5_000) * MS;
                self.injector.passes_at(until_us);
                self.hosts[number].stalled_until_us = until_us;
                // The loop may need the disk too, for a read of what is not in memory.
                if self.dice.chance(300) && self.hosts[number].process.is_some() && !self.hosts[number].paused
                {
                    self.hosts[number].paused = true;
                    self.queue.push(until_us, Event::Recover(Recovery::Resume(node)));
                }
                true
            }
            FaultKind::SlowDisk => {
                self.hosts[number].slowness = self.dice.between(5, 50);
                self.later(SECOND, Recovery::Fast(node));
                true
            }
            kind => unreachable!("{kind} does not hit disks"),
        }
    }

    /// Whether a process stops, or does not start, for damage that was done to its disk.
    pub(crate) fn is_of_damage(&self, node: NodeId, stop: &Stop) -> bool {
        let host = &self.hosts[node.0 as usize];
        match stop {
            Stop::Corrupt { file, .. } | Stop::Damaged { file, .. } => {
                let named = host.damaged.as_ref().is_some_and(|damaged| damaged == file);
                named || host.forgot.as_ref().is_some_and(|forgot| forgot.unsure)
            }
            // A file that ends too soon cannot be read at its end.
            Stop::Disk(_) => host.damaged.is_some(),
            Stop::Refused(_) => host.forgot.is_some(),
            Stop::Broken(_) => false,
        }
    }

    /// It said what is wrong: the disk is of no use any more, and the machine gets an empty one.
    pub(crate) fn on_damage(&mut self, node: NodeId, stop: &Stop) -> Result<(), Broken> {
        self.note(format_args!("node {node} refuses: {stop}"));
        self.counts.add("damage_refused", 1);
        if self.in_chaos() {
            self.empty_disk(node);
        } else {
            self.take_away(node);
        }
        Ok(())
    }
}
