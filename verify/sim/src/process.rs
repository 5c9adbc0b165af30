//! One process: a node, with what the server's log and store threads do for it, in their order.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use node::Node;
use storage::{
    CheckpointDone, CheckpointJob, DiskError, Files, InstallDone, InstallJob, MemFiles, ReclaimDone,
    ReclaimJob, StoreError,
    wal::{AppendError, Wal},
};
use types::{GroupId, WriteBatch};

use crate::failure::Broken;

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
    Install(Box<InstallJob>),
    /// Some rows of a deleted keyspace.
    Reclaim(ReclaimJob),
}

/// A finished store job.
#[derive(Debug)]
pub enum JobDone {
    /// A checkpoint; `None` for lack of space.
    Checkpoint(Option<CheckpointDone>),
    /// An install.
    Install(InstallDone),
    /// A reclaim; `None` for lack of space.
    Reclaim(Option<ReclaimDone>),
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
    /// The state store is damaged.
    Damaged {
        /// The file named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is on the disk does not fit together.
    Refused(String),
    /// It may not stop for this.
    Broken(Broken),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Disk(reason) | Stop::Refused(reason) => f.write_str(reason),
            Stop::Corrupt { file, offset } => write!(f, "{file} is corrupt at byte {offset}"),
            Stop::Damaged { file, reason } => write!(f, "{file} is corrupt: {reason}"),
            Stop::Broken(broken) => write!(f, "{}: {}", broken.invariant, broken.message),
        }
    }
}

impl Process {
    /// A process with nothing to do yet.
    pub fn new(node: Node, wal: Wal, disk_free_bytes_min: u64) -> Process {
        Process {
            node,
            wal,
            unwritten: VecDeque::new(),
            in_flight: 0,
            jobs: VecDeque::new(),
            retain: None,
            entries_accepted: true,
            disk_free_bytes_min,
            poll_due: false,
        }
    }

    /// Queues a batch for the log's thread.
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

    /// The log's thread finishes the round in flight.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn finish_write(&mut self) -> Result<Logged, Stop> {
        let batches = self.unwritten.make_contiguous();
        let mut appended = self.wal.append(&batches[..self.in_flight]);
        if appended == Err(AppendError::NoSpace) && self.in_flight > 1 {
            // Fewer may fit: votes and commits have room reserved.
            self.in_flight = 1;
            appended = self.wal.append(&batches[..1]);
        }
        let logged = match appended {
            Ok(()) => Logged::Written(self.unwritten.drain(..self.in_flight).collect()),
            Err(AppendError::NoSpace) => Logged::NoSpace,
            Err(AppendError::Disk(error)) => return Err(Stop::Disk(error.to_string())),
            Err(error @ AppendError::TooLarge { .. }) => {
                return Err(Stop::Broken(Broken::crash("batches_fit_the_log", error.to_string())));
            }
        };
        self.in_flight = 0;
        self.run_retain()?;
        Ok(logged)
    }

    /// The batches of the round in flight: whether they are on the disk is for recovery to find out.
    pub fn take_in_flight(&mut self) -> Vec<WriteBatch> {
        self.unwritten.drain(..self.in_flight).collect()
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
            StoreJob::Reclaim(job) => match job.run() {
                Ok(done) => JobDone::Reclaim(Some(done)),
                Err(StoreError::Disk(DiskError::NoSpace)) => JobDone::Reclaim(None),
                Err(error) => return Err(store_stop(error)),
            },
        };
        Ok(Some((done, !self.jobs.is_empty())))
    }

    /// The log may free what no group needs from these indexes on.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn retain(&mut self, first_needed: BTreeMap<GroupId, u64>) -> Result<(), Stop> {
        let earlier = self.retain.replace(first_needed).into_iter().flatten();
        let waiting = self.retain.get_or_insert_default();
        waiting.extend(earlier.filter(|(_, needed)| *needed == u64::MAX));
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

    /// The process ends while the disk works: both threads get as far as so many disk operations go.
    pub fn work_until_halt(
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
            Some(StoreJob::Reclaim(job)) => drop(job.run()),
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

pub(crate) fn store_stop(error: StoreError) -> Stop {
    match error {
        StoreError::Disk(error) => Stop::Disk(error.to_string()),
        StoreError::Corrupt { file, reason } => Stop::Damaged { file, reason },
        error => Stop::Broken(Broken::crash("store_works", error.to_string())),
    }
}
