//! Work of the state store that runs beside the loop: checkpoints, and snapshots coming in and going out.

use storage::{CheckpointDone, DiskError, InstallDone, ReadRows, StoreError};
use types::{GroupId, LogPosition, NodeId, Now};
use wire::{
    PeerBody,
    message::{RaftKind, RaftMessage, SnapshotAck, SnapshotChunk},
};

use crate::{
    api::{Fatal, NodeEvent, Output},
    group::{Group, Installing},
    node::Node,
    problems,
    snapshots::{ChunkStep, Ended, Receiving},
};

/// Pause after a checkpoint that found no space.
const CHECKPOINT_RETRY_MS: u64 = 1_000;

impl Node {
    /// Begins a checkpoint when memory, the log or a lagging follower asks for one.
    pub(crate) fn begin_checkpoint(&mut self, now: Now) {
        let limits = &self.config.limits;
        let logged: u64 = self.groups.values().map(|group| group.applied_bytes).sum();
        let wanted = self.store.overlay_bytes() >= limits.overlay_bytes
            || logged >= limits.log_bytes_per_checkpoint
            || self.groups.values().any(|group| group.wants_checkpoint);
        if !wanted || now.mono_ms < self.checkpoint_not_before_ms || self.store.checkpoint_running() {
            return;
        }
        for group in self.groups.values_mut() {
            group.applied_bytes = 0;
            group.wants_checkpoint = false;
        }
        match self.store.begin_checkpoint() {
            Some(job) => self.outbox.push(Output::Checkpoint(job)),
            // The last one holds everything already.
            None => self.on_checkpointed(),
        }
    }

    pub(crate) fn on_checkpoint_done(&mut self, now: Now, done: Option<CheckpointDone>) -> Result<(), Fatal> {
        match done {
            Some(done) => {
                self.store.finish_checkpoint(done);
                self.on_checkpointed();
            }
            None => {
                self.store.abort_checkpoint();
                self.checkpoint_not_before_ms = now.mono_ms + CHECKPOINT_RETRY_MS;
                // Whatever asked for it still needs it.
                for group in self.groups.values_mut() {
                    group.wants_checkpoint = true;
                }
            }
        }
        Ok(())
    }

    /// The checkpoint moved on: followers can be sent the newer one, and the log before it can go.
    fn on_checkpointed(&mut self) {
        let mut applied = std::collections::BTreeMap::new();
        for group in self.groups.values_mut() {
            let state = self.store.checkpointed(group.id);
            // A snapshot being installed is in the checkpoint before the engine counts it as applied.
            if state.applied_index > 0 && state.applied_index <= group.raft.applied_index() {
                let position = LogPosition { index: state.applied_index, term: state.applied_term };
                group.raft.snapshot_available(position);
                group.raft.compact();
            }
            applied.insert(group.id, state.applied_index);
        }
        // Until the log on disk begins at an installed snapshot, its old entries explain to a recovery
        // why the two do not fit: they all stay.
        let follows = |group: &GroupId| self.groups[group].raft.log_follows_checkpoint();
        let kept = applied.iter().filter(|(group, _)| follows(group));
        let kept = kept.map(|(group, index)| (*group, index + 1));
        let mut needed: std::collections::BTreeMap<GroupId, u64> = kept.collect();
        needed.extend(self.drop_from_log().into_iter().map(|group| (group, u64::MAX)));
        self.outbox.push(Output::Retain(needed));
        self.outbox.push(Output::Event(NodeEvent::Checkpointed { applied }));
    }

    /// The engine wants a follower to get a snapshot instead of entries.
    pub(crate) fn start_sending(
        &mut self,
        now: Now,
        group: &Group,
        to: NodeId,
        announce: RaftMessage,
    ) -> Result<(), Fatal> {
        let reader = self.store.open_snapshot(group.id)?;
        let position = reader.position();
        // The checkpoint may have moved on since the engine last heard of it.
        let announce =
            RaftMessage { snapshot_index: position.index, snapshot_term: position.term, ..announce };
        let sends = self.sending.start(now.mono_ms, group.id, to, announce, reader)?;
        for body in sends {
            self.send(group.id, to, body);
        }
        let event = NodeEvent::SnapshotSending { group: group.id, to, index: position.index };
        self.outbox.push(Output::Event(event));
        Ok(())
    }

    pub(crate) fn report_ended(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for Ended { group, to, ok } in ended {
            if let Some(group) = self.groups.get_mut(&group) {
                group.raft.report_snapshot(to, ok);
            }
        }
    }

    pub(crate) fn on_snapshot_chunk(
        &mut self,
        now: Now,
        from: NodeId,
        id: GroupId,
        chunk: SnapshotChunk,
    ) -> Result<(), Fatal> {
        let transfer = chunk.transfer;
        let group = self.groups.get_mut(&id).expect("the caller found it");
        // From the moment that the engine accepted it: what is staged must stay as it is.
        if group.raft.is_installing() {
            let installing = group.installing.as_ref();
            if let Some(last) =
                installing.filter(|at| at.from == from && at.transfer == transfer).map(|at| at.last)
            {
                types::mark!("snapshot_chunk_while_installing");
                // Keeps the sender waiting: it repeats the last chunk until the installation is done.
                let ack = SnapshotAck { transfer, next: last, failed: false, done: false };
                self.send(id, from, PeerBody::SnapshotAck(ack));
            }
            return Ok(());
        }
        let announce = chunk.announce.as_ref().filter(|announce| announce.kind == RaftKind::Snapshot as i32);
        let Some(announce) = announce.cloned() else {
            self.disconnect(from, "a snapshot chunk without its announcement");
            return Ok(());
        };
        let term = announce.term;
        if term < group.raft.term() {
            types::mark!("snapshot_of_deposed_leader");
            // Of a leader that was deposed: the engine would not take it.
            return Ok(());
        }
        match Receiving::step(group.receiving.as_ref(), now.mono_ms, from, term, &chunk) {
            ChunkStep::Ignore => return Ok(()),
            ChunkStep::Repeat(next) => {
                let ack = SnapshotAck { transfer, next, failed: false, done: false };
                self.send(id, from, PeerBody::SnapshotAck(ack));
                return Ok(());
            }
            ChunkStep::Begin => {
                group.abandon_snapshot()?;
                let staging = match self.store.begin_staging(id) {
                    Ok(staging) => staging,
                    Err(error) => return self.refuse_snapshot(id, from, transfer, error),
                };
                let heard_ms = now.mono_ms;
                group.receiving = Some(Receiving { from, transfer, term, next: 0, heard_ms, staging });
            }
            ChunkStep::Append => {}
        }
        let receiving = group.receiving.as_mut().expect("a transfer is under way");
        if let Err(error) = receiving.staging.append(&chunk.data) {
            group.abandon_snapshot()?;
            return self.refuse_snapshot(id, from, transfer, error);
        }
        receiving.next += 1;
        receiving.heard_ms = now.mono_ms;
        let next = receiving.next;
        if !chunk.last {
            let ack = SnapshotAck { transfer, next, failed: false, done: false };
            self.send(id, from, PeerBody::SnapshotAck(ack));
            return Ok(());
        }
        let announced = LogPosition { index: announce.snapshot_index, term: announce.snapshot_term };
        if !receiving.staging.is_complete() || receiving.staging.position() != Some(announced) {
            group.abandon_snapshot()?;
            self.disconnect(from, "a snapshot is not what its announcement says");
            return Ok(());
        }
        if self.list_before_snapshot(now, id) {
            types::mark!("snapshot_waits_for_lost_list");
            let group = self.groups.get_mut(&id).expect("the caller found it");
            group.abandon_snapshot()?;
            let ack = SnapshotAck { transfer, next: 0, failed: true, done: false };
            self.send(id, from, PeerBody::SnapshotAck(ack));
            return Ok(());
        }
        let group = self.groups.get_mut(&id).expect("the caller found it");
        // Whole: now the engine may see it. If it wants it, the next poll begins the installation.
        if let Err(error) = group.raft.step(now.mono_ms, from, announce) {
            group.abandon_snapshot()?;
            self.disconnect(from, error.to_string());
        } else if !group.raft.is_installing() {
            types::mark!("snapshot_not_needed");
            group.abandon_snapshot()?;
            let ack = SnapshotAck { transfer, next, failed: false, done: true };
            self.send(id, from, PeerBody::SnapshotAck(ack));
        }
        Ok(())
    }

    /// A chunk could not be staged. Damage is the sender's or the network's: it may try again. A failing
    /// disk is ours: stop.
    fn refuse_snapshot(
        &mut self,
        id: GroupId,
        from: NodeId,
        transfer: u64,
        error: StoreError,
    ) -> Result<(), Fatal> {
        match error {
            StoreError::Disk(DiskError::NoSpace) | StoreError::BadSnapshot { .. } => {
                let ack = SnapshotAck { transfer, next: 0, failed: true, done: false };
                self.send(id, from, PeerBody::SnapshotAck(ack));
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// The engine accepted the staged snapshot.
    ///
    /// # Panics
    /// When nothing is staged: the engine only ever sees announcements of whole snapshots.
    pub(crate) fn begin_install(&mut self, group: &mut Group, position: LogPosition) -> Result<(), Fatal> {
        let receiving = group.receiving.take().expect("an accepted snapshot was staged first");
        for id in std::mem::take(&mut group.proposed).into_values() {
            if !self.requests.retry_repeatable(id, 0) {
                self.answer(id, Err(problems::replaced_by_snapshot()));
            }
        }
        let Receiving { from, transfer, next, staging, .. } = receiving;
        group.installing = Some(Installing { position, from, transfer, last: next - 1, held: Vec::new() });
        let job = self.store.begin_install(group.id, staging, position)?;
        self.outbox.push(Output::Install(Box::new(job)));
        Ok(())
    }

    pub(crate) fn on_install_done(&mut self, done: InstallDone) -> Result<(), Fatal> {
        let id = done.group();
        self.store.finish_install(done);
        #[cfg(feature = "planted")]
        self.planted_records(id, raft_group::Planted::SnapshotWithoutKeys)?;
        // It may have stopped meanwhile, its keyspace deleted; then its rows are removed like any others.
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };
        let installing = group.installing.take().expect("an installation was begun");
        assert_eq!(
            self.store.state(id).applied_index,
            installing.position.index,
            "the snapshot is of another index"
        );
        for write in installing.held {
            self.writes.push(write);
        }
        group.frontier = keyspace::frontier(&self.store, id)?;
        group.early.open = keyspace::acknowledges_early(&self.store, id)?;
        let ack = SnapshotAck { transfer: installing.transfer, next: 0, failed: false, done: true };
        self.send(id, installing.from, PeerBody::SnapshotAck(ack));
        let event = NodeEvent::SnapshotInstalled { group: id, index: installing.position.index };
        self.outbox.push(Output::Event(event));
        if id == GroupId::META {
            self.recorded = Some(self.recorded_keyspaces()?);
        }
        Ok(())
    }
}
