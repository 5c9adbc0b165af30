//! The state store: every group's rows, as of the last applied entry.
//!
//! Three layers, newest first: the **active overlay** takes writes, the **frozen overlay** is being
//! written to disk, and the database holds the last durable checkpoint. A crash loses the overlays
//! and nothing else; the write-ahead log has their entries, which are applied again.
//!
//! Guarantees: a checkpoint or install is durable as a whole or not at all, rows and group states
//! together; every row and value read from disk was verified by checksum; equal calls give equal
//! bytes. Not promised: that a group on disk is as new as another one beside it was when a crash came
//! (all are as of the same checkpoint, but groups are applied independently).
//!
//! The owner's duties: run jobs one at a time, in the order in which they were begun, and hand their
//! results back in that order; begin a checkpoint when [`Store::overlay_bytes`] passes its limit;
//! drop [`SnapshotReader`]s in bounded time. See `docs/internals/state-format.md`.

mod checkpoint;
pub(crate) mod engine;
pub(crate) mod format;
mod install;
mod overlay;
mod reclaim;
pub(crate) mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use types::{
    GroupId, LogPosition,
    limits::{KEY_BYTES_MAX, ROW_KEY_BYTES_MAX, VALUE_BYTES_MAX, is_history_key, is_reserved_key},
};

pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use install::{InstallDone, InstallJob, Staging};
pub use reclaim::{ReclaimDone, ReclaimJob};

use crate::{
    Files, GroupState, ReadRows, Row, RowMeta, SnapshotReader, StoreError, WriteRows, rows::RECORD_BYTES_MAX,
};
use engine::Engine;
use overlay::{Change, Overlay, StoredRow};
use view::{View, ViewRow};

/// How a store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for pages of the database, in bytes.
    pub cache_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    view: Arc<View>,
    active: Overlay,
    frozen: Option<Frozen>,
    /// Groups whose install has begun and not finished, with the job's number.
    installing: BTreeMap<GroupId, u64>,
    /// The job that removes rows of a group that is no more, if one was begun and not finished.
    reclaiming: Option<u64>,
    /// The group whose entry is being applied: rows changed, state not yet set.
    applying: Option<GroupId>,
    jobs_begun: u64,
    /// The last job whose result is in `view`.
    job_finished: u64,
}

/// The overlay that a checkpoint job is writing.
#[derive(Debug)]
struct Frozen {
    overlay: Arc<Overlay>,
    job: u64,
    /// Groups that began an install since: their rows here are no longer theirs.
    void: BTreeSet<GroupId>,
}

impl Store {
    /// Opens the store in this directory, or makes an empty one. Removes files that an interrupted
    /// start or snapshot left.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::UnsupportedFormat`] change nothing.
    pub fn open(files: Arc<dyn Files>, options: StoreOptions) -> Result<Store, StoreError> {
        for name in files.list()? {
            if install::is_staging_file(&name) {
                files.remove(&name)?;
            }
        }
        let engine = Engine::open(files, options)?;
        Ok(Store {
            view: Arc::new(View::open(Arc::new(engine))?),
            active: Overlay::default(),
            frozen: None,
            installing: BTreeMap::new(),
            reclaiming: None,
            applying: None,
            jobs_begun: 0,
            job_finished: 0,
        })
    }

    /// Groups that have a state, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups: BTreeSet<GroupId> = self.view.groups().collect();
        groups.extend(self.active.groups.keys());
        if let Some(frozen) = &self.frozen {
            groups.extend(frozen.overlay.groups.keys().filter(|group| !frozen.void.contains(group)));
        }
        groups.into_iter().collect()
    }

    /// A group's state in the last durable checkpoint: where applying starts again after a crash.
    pub fn checkpointed(&self, group: GroupId) -> GroupState {
        self.view.state(group).unwrap_or_default()
    }

    /// Memory that the active overlay holds, about, in bytes.
    pub fn overlay_bytes(&self) -> u64 {
        self.active.bytes()
    }

    /// Whether a checkpoint was begun and neither finished nor aborted.
    pub fn checkpoint_running(&self) -> bool {
        self.frozen.is_some()
    }

    /// Freezes the overlay and begins a new one. `None` if one is being written already, or if there
    /// is nothing to write.
    ///
    /// # Panics
    /// In the middle of an entry, between changing a row and setting the state.
    pub fn begin_checkpoint(&mut self) -> Option<CheckpointJob> {
        assert_eq!(self.applying, None, "a checkpoint holds whole entries");
        if self.frozen.is_some() || self.active.is_empty() {
            return None;
        }
        let overlay = Arc::new(std::mem::take(&mut self.active));
        let number = self.next_job();
        self.frozen = Some(Frozen { overlay: overlay.clone(), job: number, void: BTreeSet::new() });
        self.check_invariants();
        Some(CheckpointJob { engine: self.view.engine().clone(), frozen: overlay, number })
    }

    /// The checkpoint is durable: reads now come from it, and its memory is free.
    ///
    /// # Panics
    /// If it is not the running one, or an install begun before it has not been finished.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) {
        let frozen = self.frozen.take().expect("a checkpoint is finished once");
        assert_eq!(frozen.job, done.number, "a checkpoint's result is handed to its own store");
        self.replace_view(done.number, done.view);
    }

    /// The checkpoint was not written, for want of space: what it was to write is part of the next.
    ///
    /// # Panics
    /// If none is running.
    pub fn abort_checkpoint(&mut self) {
        let frozen = self.frozen.take().expect("only a running checkpoint is aborted");
        let mut overlay = Arc::unwrap_or_clone(frozen.overlay);
        frozen.void.iter().for_each(|group| overlay.remove_group(*group));
        overlay.merge(std::mem::take(&mut self.active));
        self.active = overlay;
        self.check_invariants();
    }

    /// A group as of the last checkpoint, for a peer. Does not change as the store does.
    pub fn open_snapshot(&self, group: GroupId) -> Result<SnapshotReader, StoreError> {
        SnapshotReader::open(self.view.clone(), group)
    }

    /// Begins to receive a snapshot. An unfinished one of the same group is lost.
    ///
    /// # Errors
    /// [`StoreError::BadSnapshot`] while another one of the group is being installed.
    pub fn begin_staging(&mut self, group: GroupId) -> Result<Staging, StoreError> {
        if self.installing.contains_key(&group) {
            let reason = "another one is being installed".to_owned();
            return Err(StoreError::BadSnapshot { group, reason });
        }
        Staging::create(self.view.engine().files.clone(), group)
    }

    /// Begins to put a received snapshot in place of the group's rows. From now until
    /// [`Store::finish_install`] the group reads as of the last checkpoint and takes no writes.
    ///
    /// # Errors
    /// [`StoreError::BadSnapshot`] if it is not whole or does not end at `expected`: nothing changed.
    ///
    /// # Panics
    /// If the group is installing already, in the middle of an entry, or for another group's snapshot.
    pub fn begin_install(
        &mut self,
        group: GroupId,
        staged: Staging,
        expected: LogPosition,
    ) -> Result<InstallJob, StoreError> {
        assert_eq!(staged.group(), group, "a snapshot is installed in its own group");
        assert_eq!(self.applying, None, "a snapshot is installed between entries");
        assert!(!self.installing.contains_key(&group), "group {group} is installing a snapshot");
        let state = staged.check_complete(expected)?;
        self.active.remove_group(group);
        if let Some(frozen) = &mut self.frozen {
            frozen.void.insert(group);
        }
        let number = self.next_job();
        self.installing.insert(group, number);
        self.check_invariants();
        Ok(InstallJob { engine: self.view.engine().clone(), staged, state, number })
    }

    /// The snapshot is in place: the group is now in its state.
    ///
    /// # Panics
    /// If it was not begun here, or a job begun before it has not been finished.
    pub fn finish_install(&mut self, done: InstallDone) {
        let number = self.installing.remove(&done.group());
        assert_eq!(number, Some(done.number), "an install is finished once, by its own store");
        self.replace_view(done.number, done.view);
    }

    /// The group is no more: what no checkpoint has of it is forgotten. It takes no more writes.
    ///
    /// # Panics
    /// In the middle of an entry.
    pub fn forget(&mut self, group: GroupId) {
        assert_eq!(self.applying, None, "a group is forgotten between entries");
        self.active.remove_group(group);
        if let Some(frozen) = &mut self.frozen {
            frozen.void.insert(group);
        }
        self.check_invariants();
    }

    /// Begins to remove rows of a group that was forgotten: some of them, so several jobs may be needed. `None`
    /// if one is under way, or if a checkpoint or installation is that may yet write rows of the group.
    pub fn begin_reclaim(&mut self, group: GroupId) -> Option<ReclaimJob> {
        if self.reclaiming.is_some() || self.frozen.is_some() || self.installing.contains_key(&group) {
            return None;
        }
        let number = self.next_job();
        self.reclaiming = Some(number);
        Some(ReclaimJob { engine: self.view.engine().clone(), group, number })
    }

    /// The rows are gone. Answers whether the group is: if not, another job has to go on.
    ///
    /// # Panics
    /// If it was not begun here, or a job begun before it has not been finished.
    pub fn finish_reclaim(&mut self, done: ReclaimDone) -> bool {
        assert_eq!(self.reclaiming.take(), Some(done.number), "a reclaim is finished once, by its own store");
        self.replace_view(done.number, done.view);
        done.over
    }

    /// Nothing was removed, for want of space.
    ///
    /// # Panics
    /// If none is under way.
    pub fn abort_reclaim(&mut self) {
        self.reclaiming.take().expect("only a running reclaim is aborted");
    }

    /// Reads all of a group as of the last checkpoint, verifying every checksum, and answers its state
    /// hash, which equals that of [`Store::checkpointed`]. Takes as long as reading takes;
    /// [`Store::scrub_job`] does it elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a row, value or sum that does not match.
    pub fn scrub(&self, group: GroupId) -> Result<u128, StoreError> {
        self.view.scrub(group)
    }

    /// [`Store::scrub`] as a job, which may run at any time beside other jobs.
    pub fn scrub_job(&self, group: GroupId) -> ScrubJob {
        ScrubJob { view: self.view.clone(), group }
    }

    fn next_job(&mut self) -> u64 {
        self.jobs_begun += 1;
        self.jobs_begun
    }

    fn replace_view(&mut self, job: u64, view: View) {
        assert!(job > self.job_finished, "jobs are finished in the order in which they were begun");
        self.job_finished = job;
        self.view = Arc::new(view);
        self.check_invariants();
    }

    /// The overlay being written, if it has a say about this group.
    fn frozen(&self, group: GroupId) -> Option<&Overlay> {
        let frozen = self.frozen.as_ref()?;
        (!frozen.void.contains(&group)).then_some(&*frozen.overlay)
    }

    /// What the overlays say of a key, newest first.
    fn change(&self, group: GroupId, key: &[u8]) -> Option<&Change> {
        let frozen = || self.frozen(group)?.change(group, key);
        self.active.change(group, key).or_else(frozen)
    }

    /// Every live row of a range in key order, wherever it is, until `visit` answers false.
    fn walk(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        let frozen = self.frozen(group).and_then(|frozen| frozen.range(group, start, end));
        let mut frozen = frozen.into_iter().flatten().peekable();
        let active = self.active.range(group, start, end);
        let mut active = active.into_iter().flatten().peekable();
        let mut range = self.view.range(group, start, end)?;
        let mut stored = range.next()?;
        loop {
            let newest = active.peek().map(|(key, _)| &key[..]);
            let newer = frozen.peek().map(|(key, _)| &key[..]);
            let oldest = stored.as_ref().map(|row| row.key());
            let Some(key) = [newest, newer, oldest].into_iter().flatten().min() else {
                return Ok(());
            };
            let in_active = newest == Some(key);
            let in_frozen = newer == Some(key);
            let at = if oldest == Some(key) { stored.take() } else { None };
            let advance = at.is_some();
            let change = frozen.next_if(|_| in_frozen);
            let change = active.next_if(|_| in_active).or(change);
            let going_on = match (change, &at) {
                (Some((key, Change::Put(row))), _) => visit(key, Found::Overlaid(row))?,
                (Some((_, Change::Delete)), _) => true,
                (None, Some(at)) => visit(at.key(), Found::Stored(at))?,
                (None, None) => unreachable!("the smallest key is in one of the layers"),
            };
            if !going_on {
                return Ok(());
            }
            if advance {
                stored = range.next()?;
            }
        }
    }

    fn begin_change(&mut self, group: GroupId) {
        assert!(!self.installing.contains_key(&group), "group {group} is installing a snapshot");
        let applying = *self.applying.get_or_insert(group);
        assert_eq!(applying, group, "an entry changes one group");
    }

    fn check_invariants(&self) {
        for (group, job) in &self.installing {
            assert!(!self.active.groups.contains_key(group), "an installing group takes no writes");
            assert!(*job > self.job_finished, "jobs are finished in the order in which they were begun");
        }
        let frozen = self.frozen.as_ref();
        assert!(frozen.is_none_or(|frozen| frozen.job > self.job_finished));
    }
}

/// Where the newest version of a row was found.
enum Found<'a> {
    Overlaid(&'a StoredRow),
    Stored(&'a ViewRow),
}

/// Takes a key and its row; answers whether to go on.
type Visit<'a> = dyn FnMut(&[u8], Found<'_>) -> Result<bool, StoreError> + 'a;

/// See [`Store::scrub_job`].
#[derive(Debug)]
pub struct ScrubJob {
    view: Arc<View>,
    group: GroupId,
}

impl ScrubJob {
    /// See [`Store::scrub`].
    pub fn run(&self) -> Result<u128, StoreError> {
        self.view.scrub(self.group)
    }
}

impl ReadRows for Store {
    fn state(&self, group: GroupId) -> GroupState {
        let frozen = || self.frozen(group)?.state(group);
        self.active.state(group).or_else(frozen).unwrap_or_else(|| self.checkpointed(group))
    }

    fn meta(&self, group: GroupId, key: &[u8]) -> Result<Option<RowMeta>, StoreError> {
        match self.change(group, key) {
            Some(Change::Put(row)) => Ok(Some(row.meta)),
            Some(Change::Delete) => Ok(None),
            None => self.view.meta(group, key),
        }
    }

    fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<Row>, StoreError> {
        match self.change(group, key) {
            Some(Change::Put(row)) => Ok(Some(row.to_row())),
            Some(Change::Delete) => Ok(None),
            None => self.view.get(group, key),
        }
    }

    fn scan(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], Row) -> bool,
    ) -> Result<(), StoreError> {
        self.walk(group, start, end, &mut |key, found| {
            let row = match found {
                Found::Overlaid(row) => row.to_row(),
                Found::Stored(at) => self.view.row(group, at)?,
            };
            Ok(visit(key, row))
        })
    }

    fn scan_meta(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RowMeta) -> bool,
    ) -> Result<(), StoreError> {
        self.walk(group, start, end, &mut |key, found| {
            let meta = match found {
                Found::Overlaid(row) => row.meta,
                Found::Stored(at) => self.view.row_meta(at)?,
            };
            Ok(visit(key, meta))
        })
    }
}

impl WriteRows for Store {
    fn put(&mut self, group: GroupId, key: &[u8], row: Row) {
        let key_bytes_max = if is_history_key(key) { ROW_KEY_BYTES_MAX } else { KEY_BYTES_MAX };
        assert!(key.len() <= key_bytes_max, "a key of {} bytes", key.len());
        assert!(row.value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", row.value.len());
        let revision = self.state(group).revision;
        if is_reserved_key(key) && !is_history_key(key) {
            assert!(row.mod_revision >= revision, "a record's revision never goes back");
            assert!(row.value.len() <= RECORD_BYTES_MAX, "a record of {} bytes", row.value.len());
        } else {
            assert!(row.mod_revision > revision, "a change has a new revision");
        }
        self.begin_change(group);
        self.active.put(group, key, row);
    }

    fn delete(&mut self, group: GroupId, key: &[u8]) {
        self.begin_change(group);
        self.active.delete(group, key);
    }

    fn set_state(&mut self, group: GroupId, state: GroupState) {
        self.begin_change(group);
        self.active.set_state(group, state);
        self.applying = None;
    }
}
