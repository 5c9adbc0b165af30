//! How long history is kept: a leader's proposals to compact what is old, and to reclaim what is compacted.
//!
//! Guarantee G-HISTORY-TTL: no leader compacts a revision before it is as old as the contract's `history_ttl_s`,
//! unless the group has more than `history_revisions_max` newer ones. Ages are measured by the leader's monotonic
//! clock, from when it saw the revision while it led; after a change of leaders history lives longer, never
//! shorter.

use std::collections::VecDeque;

use keyspace::{Command, codec::encode_command, history};
use storage::ReadRows;
use types::{GroupId, Now, Role};

use crate::{api::Fatal, group::Group, node::Node};

/// Moments that a leader remembers, at most: the time to live is measured in so many parts.
const MOMENTS_MAX: u64 = 32;
/// History beyond the most that is kept, as a part of it, before it is compacted: so that this takes few entries.
const SLACK_PART: u64 = 16;

/// What one leader knows of the age of its group's revisions.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// The term that the rest is of.
    term: u64,
    /// Moments in which this node led, and the group's revision then; the oldest first.
    moments: VecDeque<(u64, u64)>,
    /// Index of the last proposal, while it is not applied.
    proposed: Option<u64>,
    /// When the group was last looked at.
    looked_ms: u64,
}

impl Node {
    /// Proposes the next step, if there is one and none is under way. Looks once a tick, and again as soon as a step
    /// is applied.
    pub(crate) fn keep_history(&mut self, now: Now, group: &mut Group) -> Result<(), Fatal> {
        if group.id == GroupId::META || group.raft.role() != Role::Leader {
            return Ok(());
        }
        let (term, state) = (group.raft.term(), self.store.state(group.id));
        if group.keeping.term != term {
            group.keeping = Keeping { term, ..Keeping::default() };
        }
        let keeping = &mut group.keeping;
        match keeping.proposed {
            Some(index) if index > state.applied_index => return Ok(()),
            Some(_) => keeping.proposed = None,
            None if now.mono_ms < keeping.looked_ms + self.config.timing.tick_ms => return Ok(()),
            None => {}
        }
        keeping.looked_ms = now.mono_ms;
        let Some(keyspace) = self.keyspaces.get(&group.name) else { return Ok(()) };
        let history_ms = keyspace.contract.history_ttl_s.saturating_mul(1_000);
        #[cfg(feature = "planted")]
        let history_ms = self.planted_history_ms(history_ms);
        let old = group.keeping.old(now.mono_ms, state.revision, history_ms);
        let overlay_full = self.store.overlay_bytes() >= 2 * self.config.limits.overlay_bytes;
        if !self.entries_accepted || overlay_full {
            return Ok(());
        }
        let floor = history::floor(&self.store, group.id)?;
        let most = self.config.limits.history_revisions_max;
        let over = state.revision.saturating_sub(most);
        let over = if over > floor.revision + most / SLACK_PART { over } else { 0 };
        let target = old.max(over);
        let command = if target > floor.revision {
            Command::Compact { revision: target, shard: None }
        } else if floor.has_garbage() {
            Command::Reclaim { events_max: history::RECLAIM_EVENTS_MAX }
        } else {
            return Ok(());
        };
        if let Ok(proposed) = group.raft.propose(vec![encode_command(&command).into()]) {
            group.keeping.proposed = Some(proposed.first_index);
        }
        Ok(())
    }
}

impl Keeping {
    /// The newest revision that is surely older than `ttl_ms`; 0 for none.
    fn old(&mut self, now_ms: u64, revision: u64, ttl_ms: u64) -> u64 {
        let part_ms = (ttl_ms / MOMENTS_MAX).max(1);
        if self.moments.back().is_none_or(|(at_ms, _)| now_ms >= at_ms + part_ms) {
            self.moments.push_back((now_ms, revision));
        }
        let mut old = 0;
        // The last that is old enough stays, for as long as nothing newer is.
        while let Some((at_ms, revision)) = self.moments.front()
            && now_ms.saturating_sub(*at_ms) >= ttl_ms
        {
            old = *revision;
            if self.moments.get(1).is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= ttl_ms) {
                self.moments.pop_front();
            } else {
                break;
            }
        }
        old
    }
}
