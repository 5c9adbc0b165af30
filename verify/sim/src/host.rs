//! One machine: its disk and clocks, which survive, and the process on it, which does not. Does what
//! the server's threads do around a node: starts it, and runs its log writes and store jobs in order.

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc};

use node::{Node, NodeConfig};
use storage::{
    CheckpointDone, CheckpointJob, DiskError, Files, Identity, IdentityError, InstallDone, InstallJob,
    MemFiles, Store, StoreError, StoreOptions,
    wal::{AppendError, OpenError, Wal, WalOptions},
};
use types::{GroupId, LogPosition, NodeId, WriteBatch};

use crate::{
    clock::Clock, counts::Counts, dice::Dice, durable::DurableLog, event::Event, failure::Broken,
    plan::SECOND, rot::Rot,
};

/// Room in the log for votes and commits when the disk refuses entries.
const ENTRY_RESERVE_BYTES: u64 = 4 * 1024;

/// Even a slow disk does what it is asked within this time.
const DISK_US_MAX: u64 = SECOND;

/// One machine.
#[derive(Debug)]
pub struct Host {
    /// Which member it is.
    pub id: NodeId,
    /// Its disk.
    pub files: MemFiles,
    /// Its clocks.
    pub clock: Clock,
    /// Starts so far. Events of an earlier boot are void.
    pub boot: u64,
    /// The process, while one runs.
    pub process: Option<Process>,
    /// Whether the process stands still.
    pub paused: bool,
    /// When it last went on after a pause, in virtual microseconds.
    pub resumed_us: u64,
    /// What came for a process that stands still.
    pub held: Vec<Event>,
    /// What its log must hold.
    pub durable: DurableLog,
    /// The append that may or may not have reached the disk when the process ended.
    pub interrupted: Vec<WriteBatch>,
    /// A byte of the log that has rotted.
    pub rot: Option<Rot>,
    /// How many times slower than usual the disk is.
    pub slowness: u64,
    /// Whether the disk is full by injection.
    pub full: bool,
    /// Whether a sync failure waits to happen.
    pub sync_failure_armed: bool,
    /// How many disk operations the next recovery gets before power is lost.
    pub halt_in_recovery: Option<u64>,
    /// The next disk work that ends loses power instead, after so many of its operations.
    pub halt_in_work: Option<u64>,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// The node.
    pub node: Node,
    wal: Wal,
    unwritten: VecDeque<WriteBatch>,
    in_flight: usize,
    jobs: VecDeque<StoreJob>,
    retain: Option<BTreeMap<GroupId, u64>>,
    entries_accepted: bool,
    disk_free_bytes_min: u64,
    /// Whether a poll is on its way.
    pub poll_due: bool,
}

/// Work for the store's thread.
#[derive(Debug)]
pub enum StoreJob {
    /// A checkpoint.
    Checkpoint(CheckpointJob),
    /// An install.
    Install(InstallJob),
}

/// A finished store job.
#[derive(Debug)]
pub enum JobDone {
    /// A checkpoint; `None` for lack of space.
    Checkpoint(Option<CheckpointDone>),
    /// An install.
    Install(InstallDone),
}

/// What a round of the log's thread came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Logged {
    /// These batches are durable, and so is everything before them.
    Written(Vec<WriteBatch>),
    /// No space: try again later.
    NoSpace,
}

/// Why a process did not start, or must stop. The machine is as it was.
#[derive(Debug)]
pub enum Stop {
    /// The disk failed or is full, as the world arranged.
    Disk(String),
    /// The log is corrupt.
    Corrupt {
        /// The file named.
        file: String,
        /// The place named.
        offset: u64,
    },
    /// It may not stop for this.
    Broken(Broken),
}

impl Host {
    /// A machine with an empty disk.
    pub fn new(id: NodeId, dice: &mut Dice) -> Host {
        Host {
            id,
            files: MemFiles::new(),
            clock: Clock::draw(dice),
            boot: 0,
            process: None,
            paused: false,
            resumed_us: 0,
            held: Vec::new(),
            durable: DurableLog::default(),
            interrupted: Vec::new(),
            rot: None,
            slowness: 1,
            full: false,
            sync_failure_armed: false,
            halt_in_recovery: None,
            halt_in_work: None,
        }
    }

    /// Starts a process on what the disk holds, and checks that what was durable is there.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn start(&mut self, now_us: u64, config: NodeConfig, counts: &mut Counts) -> Result<(), Stop> {
        self.boot += 1;
        // A log that is refused for its rot is recovered from later.
        let halt = if self.rot.is_some() { None } else { self.halt_in_recovery.take() };
        if let Some(operations) = halt {
            self.files.halt_after(operations);
        }
        let files: Arc<dyn Files> = Arc::new(self.files.clone());
        let identity = Identity { cluster: config.cluster, node: config.node };
        Identity::load_or_create(&*files, &identity).map_err(|error| match error {
            IdentityError::Disk(error) => Stop::Disk(error.to_string()),
            error => Stop::Broken(Broken::crash("identity_is_accepted", error.to_string())),
        })?;
        let options = WalOptions {
            segment_bytes: config.limits.segment_bytes,
            entry_reserve_bytes: ENTRY_RESERVE_BYTES,
            boot_nonce: config.seed,
        };
        let (wal, recovered) = Wal::open(files.clone(), &identity, options).map_err(|error| match error {
            OpenError::Corrupt { file, offset, .. } => Stop::Corrupt { file, offset },
            OpenError::Disk(error) => Stop::Disk(error.to_string()),
            error => Stop::Broken(Broken::crash("log_opens", error.to_string())),
        })?;
        let (durable, survived) = self
            .durable
            .recover(&self.interrupted, &recovered)
            .map_err(|message| Stop::Broken(Broken::safety("durable_log_survives", message)))?;
        self.durable = durable;
        counts.add("unsynced_appends_survived", survived.into());
        self.interrupted.clear();
        counts.add("torn_tails_truncated", recovered.truncated.is_some().into());
        let store_options = StoreOptions { cache_bytes: config.limits.store_cache_bytes };
        let store = Store::open(files, store_options).map_err(|error| match error {
            StoreError::Disk(error) => Stop::Disk(error.to_string()),
            error => Stop::Broken(Broken::crash("store_opens", error.to_string())),
        })?;
        for group in store.groups() {
            let state = store.checkpointed(group);
            self.durable.stored(group, LogPosition { index: state.applied_index, term: state.applied_term });
        }
        if halt.is_some() {
            return Err(Stop::Disk("power is lost as recovery ends".into()));
        }
        let disk_free_bytes_min = config.limits.disk_free_bytes_min;
        let node = Node::recover(self.clock.now(now_us), config, recovered, store)
            .map_err(|error| Stop::Broken(Broken::crash("node_recovers", error.to_string())))?;
        self.process = Some(Process {
            node,
            wal,
            unwritten: VecDeque::new(),
            in_flight: 0,
            jobs: VecDeque::new(),
            retain: None,
            entries_accepted: true,
            disk_free_bytes_min,
            poll_due: false,
        });
        Ok(())
    }

    /// The process ends. With `power` the machine's unsynced bytes go with it, otherwise they stay;
    /// with `halt_after` the disk work in flight gets this many operations further first.
    pub fn stop(&mut self, dice: &mut Dice, power: bool, halt_after: Option<u64>) {
        let mut process = self.process.take();
        if let Some(process) = &mut process {
            self.interrupted.extend(process.unwritten.drain(..process.in_flight));
            if let Some(operations) = halt_after {
                process.work_until_halt(&self.files, &self.interrupted, operations, dice.chance(500));
            }
        }
        let mut dice = dice.fork();
        match power {
            true => self.files.crash(&mut || dice.next()),
            false => self.files.crash(&mut || 1),
        }
        drop(process);
        self.paused = false;
        self.sync_failure_armed = false;
        self.halt_in_work = None;
    }

    /// The log's thread finishes the round in flight.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn finish_write(&mut self) -> Result<Logged, Stop> {
        let Some(process) = &mut self.process else { return Ok(Logged::NoSpace) };
        let batches = process.unwritten.make_contiguous();
        let mut count = process.in_flight;
        let mut appended = process.wal.append(&batches[..count]);
        if appended == Err(AppendError::NoSpace) && count > 1 {
            // Fewer may fit: votes and commits have room reserved.
            count = 1;
            appended = process.wal.append(&batches[..1]);
        }
        match appended {
            Ok(()) => {
                self.durable.append(&batches[..count]);
                let written = process.unwritten.drain(..count).collect();
                process.in_flight = 0;
                process.run_retain()?;
                Ok(Logged::Written(written))
            }
            Err(AppendError::NoSpace) => {
                process.in_flight = 0;
                process.run_retain()?;
                Ok(Logged::NoSpace)
            }
            Err(AppendError::Disk(error)) => Err(Stop::Disk(error.to_string())),
            Err(error @ AppendError::TooLarge { .. }) => {
                Err(Stop::Broken(Broken::crash("batches_fit_the_log", error.to_string())))
            }
        }
    }

    /// Virtual time in which the disk does something that usually takes `usual_us`.
    pub fn disk_us(&self, dice: &mut Dice, usual_us: u64) -> u64 {
        (dice.delay_us(usual_us) * self.slowness).min(DISK_US_MAX)
    }
}

impl Process {
    /// Queues a batch. Answers whether the log's thread was idle, so that a round must be scheduled.
    pub fn write(&mut self, batch: WriteBatch) {
        self.unwritten.push_back(batch);
    }

    /// Takes up as many batches as fit one append, if none is in flight. Answers whether a round began.
    pub fn begin_write(&mut self) -> bool {
        if self.in_flight > 0 || self.unwritten.is_empty() {
            return false;
        }
        let batches = self.unwritten.make_contiguous();
        let most = self.wal.frame_bytes_max();
        let fitting = (1..=batches.len()).take_while(|count| Wal::frame_bytes(&batches[..*count]) <= most);
        self.in_flight = fitting.last().unwrap_or(1);
        true
    }

    /// Queues a store job. Answers whether the store's thread was idle.
    pub fn push_job(&mut self, job: StoreJob) -> bool {
        self.jobs.push_back(job);
        self.jobs.len() == 1
    }

    /// The store's thread finishes its job; the flag says whether another waits.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn finish_job(&mut self) -> Result<Option<(JobDone, bool)>, Stop> {
        let Some(job) = self.jobs.pop_front() else { return Ok(None) };
        let done = match job {
            StoreJob::Checkpoint(job) => match job.run() {
                Ok(done) => JobDone::Checkpoint(Some(done)),
                Err(StoreError::Disk(DiskError::NoSpace)) => JobDone::Checkpoint(None),
                Err(error) => return Err(store_stop(error)),
            },
            StoreJob::Install(job) => JobDone::Install(job.run().map_err(store_stop)?),
        };
        Ok(Some((done, !self.jobs.is_empty())))
    }

    /// The log may free what no group needs from these indexes on.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn retain(&mut self, first_needed: BTreeMap<GroupId, u64>) -> Result<(), Stop> {
        self.retain = Some(first_needed);
        if self.in_flight == 0 { self.run_retain() } else { Ok(()) }
    }

    fn run_retain(&mut self) -> Result<(), Stop> {
        if let Some(first_needed) = self.retain.take() {
            self.wal.retain(&first_needed).map_err(|error| Stop::Disk(error.to_string()))?;
        }
        Ok(())
    }

    /// Looks after the disk's space; the answer is what to tell the node, if it changed.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn watch_space(&mut self, files: &MemFiles) -> Result<Option<bool>, Stop> {
        if self.in_flight == 0 {
            self.wal.try_make_spare().map_err(|error| Stop::Disk(error.to_string()))?;
        }
        let free = files.free_bytes().map_err(|error| Stop::Disk(error.to_string()))?;
        let accepted = self.wal.has_space_for_entries() && free >= self.disk_free_bytes_min;
        if accepted == self.entries_accepted {
            return Ok(None);
        }
        self.entries_accepted = accepted;
        Ok(Some(accepted))
    }

    /// Power goes while the disk works: both threads get as far as `operations` disk operations go.
    fn work_until_halt(
        &mut self,
        files: &MemFiles,
        in_flight: &[WriteBatch],
        operations: u64,
        log_first: bool,
    ) {
        files.halt_after(operations);
        let Process { wal, jobs, .. } = self;
        let store_work = || match jobs.front() {
            Some(StoreJob::Checkpoint(job)) => drop(job.run()),
            Some(StoreJob::Install(job)) => drop(job.run()),
            None => {}
        };
        if !log_first {
            store_work();
        }
        if !in_flight.is_empty() {
            // Whether it got through is for recovery to find out.
            drop(wal.append(in_flight));
        }
        if log_first {
            store_work();
        }
    }
}

fn store_stop(error: StoreError) -> Stop {
    match error {
        StoreError::Disk(error) => Stop::Disk(error.to_string()),
        error => Stop::Broken(Broken::crash("store_works", error.to_string())),
    }
}
