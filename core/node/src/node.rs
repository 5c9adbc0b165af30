//! The node itself: recovery, and the two calls that its driver makes.

use std::collections::{BTreeMap, BTreeSet};

use raft_group::{GroupConfig, RaftGroup, RecoveredLog};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use storage::{
    GroupState, ReadRows, ScrubJob, Store, StoreError,
    wal::{Recovered, RecoveredGroup},
};
use types::{
    Contract, ErrorCode, GroupId, HardState, Hlc, LogPosition, NodeId, Now, Problem, limits::VOTE_REFUSAL_MS,
};

use crate::{
    acquire::Acquires,
    api::{Fatal, Input, NodeConfig, Output},
    catalog::{Catalog, KeyspaceInfo},
    gather::Gathers,
    gone::Gone,
    group::Group,
    hlc::NodeClock,
    lost::Lost,
    problems,
    requests::{Origin, Requests},
    snapshots::Sending,
    status::{GroupStatus, NodeStatus, ReplicaStatus},
    watch::Watches,
    writes::Writes,
};

/// Name under which the meta group appears in status; no keyspace may have it.
pub const META_NAME: &str = "meta";

/// A keyspace that runs on this node.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    /// The group of its first shard.
    pub group: GroupId,
    /// Of its contract.
    pub version: u64,
    /// What it promises, with everything spelled out.
    pub contract: Contract,
}

impl Keyspace {
    /// The groups of its shards, in order.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        let first = self.group;
        (0..self.contract.shards).map(move |shard| first.shard(shard))
    }
}

/// One node. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) boot: u64,
    pub(crate) clock: NodeClock,
    pub(crate) store: Store,
    /// Boxed: each is taken out and put back for its turn of every poll, and is kilobytes long.
    pub(crate) groups: BTreeMap<GroupId, Box<Group>>,
    pub(crate) keyspaces: BTreeMap<String, Keyspace>,
    /// Logs on disk of groups that have not started yet, since the meta group has not told of them.
    pub(crate) unclaimed: BTreeMap<GroupId, RecoveredGroup>,
    pub(crate) requests: Requests,
    pub(crate) catalog: Catalog,
    pub(crate) lost: Lost,
    pub(crate) gathers: Gathers,
    pub(crate) acquires: Acquires,
    /// A step of this poll made another possible, which need not wait for the next.
    pub(crate) more_to_do: bool,
    /// Forwarded requests that may be repeated, by the time to do so. Each is taken out at its time.
    pub(crate) forwarded: BTreeSet<(u64, u64)>,
    pub(crate) sending: Sending,
    pub(crate) watches: Watches,
    pub(crate) writes: Writes,
    pub(crate) outbox: Vec<Output>,
    pub(crate) entries_accepted: bool,
    /// Peers whose connection was lost and who have not been heard of since.
    pub(crate) unreachable: BTreeSet<NodeId>,
    /// While the disk is full: when this node next tries to hand over what it leads.
    pub(crate) hand_over_not_before_ms: u64,
    pub(crate) checkpoint_not_before_ms: u64,
    /// Keyspaces of the configuration that this node proposed to create, with the meta term.
    pub(crate) proposed_keyspaces: BTreeSet<(u64, String)>,
    /// All keyspaces, if the meta group's state changed in this poll.
    pub(crate) recorded: Option<Vec<KeyspaceInfo>>,
    pub(crate) gone: Gone,
}

impl Node {
    /// Builds a node from what its disk holds.
    ///
    /// # Errors
    /// When the log and the state store do not fit together. Nothing on disk is changed.
    pub fn recover(now: Now, config: NodeConfig, log: Recovered, store: Store) -> Result<Node, Fatal> {
        let boot = ChaCha8Rng::seed_from_u64(config.seed).next_u64();
        let batch_bytes_max = (config.limits.segment_bytes / 4).clamp(1, 8 * 1024 * 1024);
        let mut node = Node {
            boot,
            clock: NodeClock::default(),
            store,
            groups: BTreeMap::new(),
            keyspaces: BTreeMap::new(),
            unclaimed: log.groups,
            requests: Requests::default(),
            catalog: Catalog::default(),
            lost: Lost { dirty: true, ..Lost::default() },
            gathers: Gathers::default(),
            acquires: Acquires::default(),
            more_to_do: false,
            forwarded: BTreeSet::new(),
            watches: Watches::default(),
            sending: Sending::new(now.wall_ms << 16),
            writes: Writes::new(batch_bytes_max),
            outbox: Vec::new(),
            entries_accepted: true,
            unreachable: BTreeSet::new(),
            hand_over_not_before_ms: 0,
            checkpoint_not_before_ms: 0,
            proposed_keyspaces: BTreeSet::new(),
            recorded: None,
            gone: Gone::default(),
            config,
        };
        node.start_group(now, META_NAME.to_string(), GroupId::META)?;
        let recorded = node.recorded_keyspaces()?;
        node.follow_catalog(now, recorded)?;
        Ok(node)
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// [`Fatal`]: stop the process and keep the files.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), Fatal> {
        self.clock.set_wall(now);
        match input {
            Input::Tick => self.on_tick(now)?,
            Input::Peer { from, message } => {
                self.clock.observe(Hlc(message.hlc));
                self.on_peer(now, from, message)?;
            }
            Input::PeerDown(peer) => self.on_peer_down(peer),
            Input::Client { token, request, deadline_ms } => {
                self.take_request(Origin::Client { token }, request, None, deadline_ms, 1);
            }
            Input::Watch { token, request } => self.take_watch(token, request),
            Input::WatchCredit { token, bytes } => self.watches.credit(token, bytes),
            Input::Unwatch { token } => self.watches.remove(token),
            Input::Written(seq) => {
                for (group, ready) in self.writes.written(seq) {
                    if let Some(group) = self.groups.get_mut(&group) {
                        group.raft.persisted(ready);
                    }
                }
            }
            #[cfg(feature = "planted")]
            Input::LogSpace { entries_accepted: true }
                if self.planted_forgets(raft_group::Planted::RoomNeverNoticed) => {}
            Input::LogSpace { entries_accepted } => {
                self.entries_accepted = entries_accepted;
                self.hand_over_not_before_ms = now.mono_ms;
            }
            Input::CheckpointDone(done) => self.on_checkpoint_done(now, done)?,
            Input::InstallDone(done) => self.on_install_done(done)?,
            Input::ReclaimDone(done) => self.on_reclaim_done(now, done),
        }
        Ok(())
    }

    /// Does all work that has become possible, and appends what the driver must carry out.
    /// Call it after every round of [`Node::handle`].
    ///
    /// # Errors
    /// [`Fatal`]: stop the process and keep the files.
    pub fn poll(&mut self, now: Now, out: &mut Vec<Output>) -> Result<(), Fatal> {
        self.clock.set_wall(now);
        // First, so that requests that a change of leaders set free find the new one in this poll.
        self.each_group(|node, group| {
            node.follow_role(now, group);
            Ok(())
        })?;
        self.route(now)?;
        self.more_to_do = false;
        self.each_group(|node, group| node.pump(now, group))?;
        if self.more_to_do {
            self.route(now)?;
            self.each_group(|node, group| node.pump(now, group))?;
        }
        if let Some(recorded) = self.recorded.take() {
            self.follow_catalog(now, recorded)?;
        }
        self.create_configured_keyspaces();
        self.expire(now);
        self.answer_catalog(now);
        self.serve_watches(now)?;
        self.begin_checkpoint(now);
        self.reclaim(now);
        self.stamp_messages();
        out.append(&mut self.outbox);
        out.extend(self.writes.drain().into_iter().map(Output::Write));
        Ok(())
    }

    fn each_group(
        &mut self,
        mut turn: impl FnMut(&mut Node, &mut Group) -> Result<(), Fatal>,
    ) -> Result<(), Fatal> {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            let mut group = self.groups.remove(&id).expect("its id was just listed");
            let taken = turn(self, &mut group);
            self.groups.insert(id, group);
            taken?;
        }
        Ok(())
    }

    fn on_tick(&mut self, now: Now) -> Result<(), Fatal> {
        self.hand_over_when_full(now);
        self.decide_lost(now)?;
        self.bound_lost(now);
        self.repeat_unanswered(now);
        self.watches.on_tick();
        self.keep_waiting_leases(now);
        for group in self.groups.values_mut() {
            group.raft.tick(now.mono_ms);
            let stale = group.receiving.as_ref().is_some_and(|receiving| receiving.is_stale(now.mono_ms));
            // What the engine accepted is installed in the next poll, however long that takes to come.
            if stale && !group.raft.is_installing() {
                group.abandon_snapshot()?;
            }
        }
        let (sends, ended) = self.sending.on_tick(now.mono_ms);
        for (group, to, body) in sends {
            self.send(group, to, body);
        }
        self.report_ended(ended);
        Ok(())
    }

    /// With the bug planted: a number by local count, as if all nodes started keyspaces in one order.
    #[cfg(feature = "planted")]
    pub(crate) fn planted_group(&self, id: GroupId) -> GroupId {
        match self.config.planted {
            Some(raft_group::Planted::GroupByCount) => GroupId::of_keyspace(1 + self.keyspaces.len() as u64),
            _ => id,
        }
    }

    pub(crate) fn start_group(&mut self, now: Now, name: String, id: GroupId) -> Result<(), Fatal> {
        let state = self.store.checkpointed(id);
        let applied = LogPosition { index: state.applied_index, term: state.applied_term };
        let log = self.unclaimed.remove(&id);
        let recovered = match log {
            Some(log) => {
                RecoveredLog { hard_state: log.hard_state, start: log.start, entries: log.entries, applied }
            }
            None => RecoveredLog {
                hard_state: HardState::default(),
                start: LogPosition::default(),
                entries: Vec::new(),
                applied,
            },
        };
        let limits = &self.config.limits;
        let config = GroupConfig {
            group: id,
            node: self.config.node,
            voters: self.config.members.clone(),
            election_ticks: self.config.timing.election_ticks as usize,
            heartbeat_ticks: self.config.timing.heartbeat_ticks as usize,
            log_cache_bytes_max: limits.log_cache_bytes_max,
            unapplied_bytes_max: limits.unapplied_bytes_max,
            vote_refusal_ms: VOTE_REFUSAL_MS,
            #[cfg(feature = "planted")]
            seed: self.planted_seed(),
            #[cfg(not(feature = "planted"))]
            seed: self.config.seed,
            #[cfg(feature = "planted")]
            planted: self.config.planted,
        };
        let mut raft = RaftGroup::new(now.mono_ms, config, recovered)
            .map_err(|error| Fatal::Recover { group: id, reason: error.to_string() })?;
        if applied.index > 0 {
            raft.snapshot_available(applied);
        }
        let mut group = Group::new(id, name, raft, now.mono_ms);
        group.frontier = keyspace::frontier(&self.store, id)?;
        group.early.open = keyspace::acknowledges_early(&self.store, id)?;
        self.groups.insert(id, Box::new(group));
        #[cfg(feature = "planted")]
        self.planted_records(id, raft_group::Planted::KeyApartFromEffect)?;
        Ok(())
    }

    /// Replicas that make a majority.
    pub(crate) fn quorum(&self) -> u32 {
        self.config.members.len() as u32 / 2 + 1
    }

    /// Groups that run on this node, meta first.
    pub fn groups(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    /// Groups with rows in the state store, those of deleted keyspaces included that are not removed yet.
    pub fn stored_groups(&self) -> Vec<GroupId> {
        self.store.groups()
    }

    /// A group's consensus state, for status and checks.
    pub fn raft(&self, group: GroupId) -> Option<&RaftGroup> {
        self.groups.get(&group).map(|group| &group.raft)
    }

    /// A group's applied state.
    pub fn group_state(&self, group: GroupId) -> GroupState {
        self.store.state(group)
    }

    /// The group of a keyspace's first shard.
    ///
    /// # Errors
    /// `KEYSPACE_NOT_FOUND`.
    pub fn keyspace_group(&self, name: &str) -> Result<GroupId, Problem> {
        self.keyspace_groups(name).map(|groups| groups[0])
    }

    /// The same, if this node knows it.
    pub fn known_keyspace_group(&self, name: &str) -> Option<GroupId> {
        self.keyspaces.get(name).map(|keyspace| keyspace.group)
    }

    /// The groups of a keyspace's shards, in order.
    ///
    /// # Errors
    /// `KEYSPACE_NOT_FOUND`.
    pub fn keyspace_groups(&self, name: &str) -> Result<Vec<GroupId>, Problem> {
        let keyspace = self.keyspaces.get(name).ok_or_else(|| problems::keyspace_not_found(name))?;
        Ok(keyspace.groups().collect())
    }

    /// Events and versions that the history of a group holds here, for checks. Reads them all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history_records(&self, group: GroupId) -> Result<(u64, u64), StoreError> {
        keyspace::history::count_records(&self.store, group)
    }

    /// Recomputes a group's state hash from its rows, verifying every checksum on the way. Blocks for as
    /// long as reading the whole group takes.
    ///
    /// # Errors
    /// When the store cannot be read or a checksum does not match.
    pub fn scrub(&self, group: GroupId) -> Result<u128, StoreError> {
        self.store.scrub(group)
    }

    /// Verifying a group's checkpoint as a job that runs off the loop, and the state whose hash it
    /// must find.
    pub fn scrub_job(&self, group: GroupId) -> (ScrubJob, GroupState) {
        (self.store.scrub_job(group), self.store.checkpointed(group))
    }

    /// Everything that this node knows of itself.
    pub fn status(&self, now: Now) -> NodeStatus {
        NodeStatus {
            node: self.config.node,
            members: self.config.members.clone(),
            timing: self.config.timing,
            groups: self.groups.values().map(|group| self.group_status(now, group)).collect(),
            pending_requests: self.requests.len() as u64,
            disk_has_space: self.entries_accepted,
            lost_writes: self.lost.writes,
            hlc: self.clock.last(),
            hlc_refused: self.clock.refused(),
        }
    }

    fn group_status(&self, now: Now, group: &Group) -> GroupStatus {
        let raft = group.raft.status();
        let state = self.store.state(group.id);
        let replica = |progress: &raft_group::Progress| ReplicaStatus {
            node: progress.node,
            matched_index: progress.matched,
            lag_entries: raft.last_index.saturating_sub(progress.matched),
            lag_ms: group.appended.lag_ms(progress.matched, raft.last_index, now.mono_ms),
            state: progress.state.to_string(),
            recent_active: progress.recent_active,
        };
        GroupStatus {
            group: group.id,
            keyspace: group.name.clone(),
            shard: self.shard_number(group),
            role: raft.role,
            term: raft.term,
            leader: raft.leader,
            commit_index: raft.commit,
            applied_index: state.applied_index,
            last_index: raft.last_index,
            first_index: raft.first_index,
            revision: state.revision,
            state_hash: format!("{:032x}", state.state_hash),
            keys: state.keys,
            bytes: state.bytes,
            staleness_ms: group.freshness.staleness_ms(state.applied_index, now.mono_ms),
            replicas: raft.progress.iter().map(replica).collect(),
        }
    }

    fn shard_number(&self, group: &Group) -> u32 {
        let keyspace = self.keyspaces.get(&group.name);
        keyspace.map_or(0, |keyspace| group.id.0.saturating_sub(keyspace.group.0) as u32)
    }

    pub(crate) fn send(&mut self, group: GroupId, to: NodeId, body: wire::PeerBody) {
        let message = wire::PeerMessage { group: group.0, body: Some(body), ..Default::default() };
        self.outbox.push(Output::Send { to, message });
    }

    pub(crate) fn disconnect(&mut self, peer: NodeId, reason: impl Into<String>) {
        self.outbox.push(Output::Disconnect { peer, reason: reason.into() });
    }
}

/// Whether a problem only says that the request came to the wrong node.
pub(crate) fn is_misrouted(problem: &Problem) -> bool {
    problem.code == ErrorCode::NotLeader && problem.retry_safe()
}
