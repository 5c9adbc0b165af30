//! The node's hybrid logical clock: fed by its wall clock, by peers' messages and by sessions; shown in receipts.
//!
//! Guarantee G-HLC: the timestamp of an answer is greater than that of its request's session, but for one that is
//! more than [`types::clock::HLC_DRIFT_MS_MAX`] ahead of this node's wall clock: such are counted, and their message
//! or request goes on as any other. Nothing is decided by timestamps.

use types::{Hlc, HybridClock, Now};

use crate::{api::Output, node::Node};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct NodeClock {
    clock: HybridClock,
    wall_ms: u64,
    refused: u64,
}

impl NodeClock {
    /// What the wall clock says from now on. Set back it counts as standing still, also if nothing happened here
    /// while it was ahead: what others did then was within the bound of what it said.
    pub(crate) fn set_wall(&mut self, now: Now) {
        self.wall_ms = self.wall_ms.max(now.wall_ms);
    }

    /// The timestamp of something that this node does now.
    pub(crate) fn tick(&mut self) -> Hlc {
        self.clock.tick(self.wall_ms)
    }

    /// Takes in what a peer or a session says; [`Hlc::ZERO`] says nothing.
    pub(crate) fn observe(&mut self, remote: Hlc) {
        if remote != Hlc::ZERO && self.clock.observe(remote, self.wall_ms).is_err() {
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// The timestamp of the last event.
    pub(crate) fn last(&self) -> Hlc {
        self.clock.last()
    }

    /// How many timestamps were not taken in.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

impl Node {
    /// The timestamp of an answer.
    pub(crate) fn answer_hlc(&mut self) -> Hlc {
        #[cfg(feature = "planted")]
        if self.config.planted == Some(raft_group::Planted::HlcIsWallClock) {
            return Hlc::at_ms(self.clock.wall_ms);
        }
        self.clock.tick()
    }

    /// Messages about to leave say the time; those of one poll the same.
    pub(crate) fn stamp_messages(&mut self) {
        let sends = self.outbox.iter_mut().filter_map(|output| match output {
            Output::Send { message, .. } => Some(message),
            _ => None,
        });
        let mut sends = sends.peekable();
        if sends.peek().is_some() {
            let hlc = self.clock.tick();
            sends.for_each(|message| message.hlc = hlc.0);
        }
    }
}
