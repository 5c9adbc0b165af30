//! Keyspaces that are no more: stopping their groups, and giving back what they took on disk.
//!
//! A group is gone if the meta group's state is at or after the revision that created its keyspace, and no
//! keyspace in it has the group. Numbers are never used twice, so this needs no list of the deleted, and holds for a
//! node that was down, or caught up by a snapshot that skipped the deletion.
//!
//! Rows and log entries of a gone group are removed only once the checkpoint holds a meta state that
//! lacks its keyspace: a start from an older one would run the group, and must find it whole.

use std::collections::{BTreeMap, BTreeSet};

use storage::{ReadRows, ReclaimDone};
use types::{Applied, ErrorCode, GroupId, Now, Problem};

use crate::{
    api::{Fatal, NodeEvent, Output},
    catalog::KeyspaceInfo,
    node::{Keyspace, Node},
    requests::{Origin, Place, Waiting},
};

/// Pause after a job that found no space.
const RETRY_MS: u64 = 1_000;

/// Groups that are gone, and not yet from the disk.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// By group: revision of the meta state in which this node first saw it gone, and whether rows may be left.
    groups: BTreeMap<GroupId, (u64, bool)>,
    not_before_ms: u64,
}

impl Gone {
    /// Those that the checkpoint knows to be gone, given its meta revision: a start no longer runs them.
    fn checkpointed(&self, meta_revision: u64) -> impl Iterator<Item = (GroupId, bool)> {
        let groups = self.groups.iter().filter(move |(_, (since, _))| *since <= meta_revision);
        groups.map(|(group, (_, rows))| (*group, *rows))
    }
}

impl Node {
    /// Brings what runs here in line with the meta state: groups start, contracts change, groups stop.
    pub(crate) fn follow_catalog(&mut self, now: Now, recorded: Vec<KeyspaceInfo>) -> Result<(), Fatal> {
        let living: BTreeMap<&str, GroupId> =
            recorded.iter().map(|found| (found.name.as_str(), found.group)).collect();
        #[cfg(feature = "planted")]
        let by_name = self.config.planted == Some(raft_group::Planted::DeletionMissed);
        #[cfg(not(feature = "planted"))]
        let by_name = false;
        let planted_number = self.numbers_by_count();
        let stays = |name: &str, own: &Keyspace| {
            let found = living.get(name);
            found == Some(&own.group) || (found.is_some() && (by_name || planted_number))
        };
        let stopped: Vec<String> = self
            .keyspaces
            .iter()
            .filter(|(name, own)| !stays(name, own))
            .map(|(name, _)| name.clone())
            .collect();
        for name in stopped {
            self.stop_keyspace(&name)?;
        }
        for KeyspaceInfo { name, group, version, contract } in recorded {
            if let Some(own) = self.keyspaces.get_mut(&name) {
                (own.version, own.contract) = (version, contract);
                continue;
            }
            #[cfg(feature = "planted")]
            let group = self.planted_group(group);
            let keyspace = Keyspace { group, version, contract };
            for group in keyspace.groups() {
                self.start_group(now, name.clone(), group)?;
                let started = NodeEvent::GroupStarted { group, keyspace: name.clone() };
                self.outbox.push(Output::Event(started));
            }
            self.keyspaces.insert(name, keyspace);
        }
        self.find_gone();
        Ok(())
    }

    fn numbers_by_count(&self) -> bool {
        #[cfg(feature = "planted")]
        return self.config.planted == Some(raft_group::Planted::GroupByCount);
        #[cfg(not(feature = "planted"))]
        false
    }

    /// Ends the groups of a keyspace, and every request to it.
    fn stop_keyspace(&mut self, name: &str) -> Result<(), Fatal> {
        let Some(keyspace) = self.keyspaces.remove(name) else { return Ok(()) };
        let groups: BTreeSet<GroupId> = keyspace.groups().collect();
        let concerned = |waiting: &Waiting| {
            waiting.request.keyspace == name || waiting.group.is_some_and(|group| groups.contains(&group))
        };
        for id in self.requests.which(concerned) {
            let Some(waiting) = self.requests.get(id) else { continue };
            let problem = deleted(name, what_became(waiting));
            self.answer(id, Err(problem));
        }
        for id in groups {
            let Some(mut group) = self.groups.remove(&id) else { continue };
            group.abandon_snapshot()?;
            self.end_watches(id, &deleted(name, Applied::NotApplied));
            // Its transfers end with it: there is no engine left to tell.
            drop(self.sending.drop_where(|at, _| at == id));
            self.outbox.push(Output::Event(NodeEvent::GroupStopped { group: id, keyspace: name.to_owned() }));
        }
        Ok(())
    }

    /// Notes every group on disk or in memory that is gone.
    fn find_gone(&mut self) {
        let revision = self.store.state(GroupId::META).revision;
        let living: BTreeSet<GroupId> = self.keyspaces.values().flat_map(Keyspace::groups).collect();
        let mut known: BTreeSet<GroupId> = self.store.groups().into_iter().collect();
        known.extend(self.unclaimed.keys());
        known.remove(&GroupId::META);
        for group in known.difference(&living).filter(|group| group.create_revision() <= revision) {
            self.unclaimed.remove(group);
            if !self.gone.groups.contains_key(group) {
                self.gone.groups.insert(*group, (revision, true));
                self.store.forget(*group);
            }
        }
        let known = self.gone.checkpointed(self.checkpointed_meta()).count();
        if known < self.gone.groups.len() {
            // Nothing is removed before.
            self.groups.get_mut(&GroupId::META).expect("the meta group always runs").wants_checkpoint = true;
        }
    }

    /// Revision of the meta state in the last checkpoint.
    fn checkpointed_meta(&self) -> u64 {
        self.store.checkpointed(GroupId::META).revision
    }

    /// Begins the next step of removing what is gone, if none is under way.
    pub(crate) fn reclaim(&mut self, now: Now) {
        if now.mono_ms < self.gone.not_before_ms {
            return;
        }
        let next = self.gone.checkpointed(self.checkpointed_meta()).find(|(_, rows)| *rows);
        let Some((group, _)) = next else { return };
        if let Some(job) = self.store.begin_reclaim(group) {
            self.outbox.push(Output::Reclaim(job));
        }
    }

    /// Groups of which the log keeps nothing; with nothing in the store either they are forgotten.
    pub(crate) fn drop_from_log(&mut self) -> Vec<GroupId> {
        let gone = self.gone.checkpointed(self.checkpointed_meta());
        // A write that is on its way to the log would bring the group back there.
        let gone: Vec<(GroupId, bool)> = gone.filter(|(group, _)| !self.writes.concern(*group)).collect();
        for (group, rows) in &gone {
            if !rows {
                self.gone.groups.remove(group);
            }
        }
        gone.into_iter().map(|(group, _)| group).collect()
    }

    pub(crate) fn on_reclaim_done(&mut self, now: Now, done: Option<ReclaimDone>) {
        match done {
            Some(done) => {
                let group = done.group();
                if self.store.finish_reclaim(done) {
                    if let Some((_, rows)) = self.gone.groups.get_mut(&group) {
                        *rows = false;
                    }
                    self.outbox.push(Output::Event(NodeEvent::GroupReclaimed { group }));
                }
            }
            None => {
                self.store.abort_reclaim();
                self.gone.not_before_ms = now.mono_ms + RETRY_MS;
            }
        }
    }

    /// Whether a group is of a keyspace that was deleted, as far as this node's meta state tells.
    pub(crate) fn is_gone(&self, group: GroupId) -> bool {
        let living = self.keyspaces.values().any(|keyspace| keyspace.groups().any(|own| own == group));
        group != GroupId::META
            && !living
            && group.create_revision() <= self.store.state(GroupId::META).revision
    }
}

/// What a request that waited for a deleted keyspace may have done to it.
fn what_became(waiting: &Waiting) -> Applied {
    match waiting.place {
        Place::Held(..) => Applied::Applied,
        Place::Proposed(..) | Place::Forwarded(..) if !waiting.is_query() => Applied::Unknown,
        // A peer asks for its client, who asked before: what an earlier try did is known there.
        _ if waiting.maybe_applied && !matches!(waiting.origin, Origin::Peer { .. }) => Applied::Unknown,
        _ => Applied::NotApplied,
    }
}

/// The answer to whoever waited when the keyspace went, or came to a node that had stopped it.
pub(crate) fn deleted(name: &str, applied: Applied) -> Problem {
    let message = format!("keyspace {name:?} was deleted while the request waited");
    let next_step =
        "nothing of it is left, whatever became of the request; create it anew if it is still needed";
    Problem { applied, ..Problem::not_applied(ErrorCode::KeyspaceNotFound, message, next_step) }
}
