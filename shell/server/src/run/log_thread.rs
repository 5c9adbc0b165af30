//! The thread that owns the write-ahead log: gathers all batches that wait into one append and one
//! sync, then reports them durable.
//!
//! Guarantee G-LOG-DURABLE, towards the node: `Input::Written` is sent for a batch only after the sync that covers it. While
//! the disk is full batches are kept, in order; a failing disk stops the process.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use node::Input;
use storage::{
    DiskError, Files,
    wal::{AppendError, Wal},
};
use types::{GroupId, WriteBatch};

use super::{
    inbox::Inbox,
    stop::{EXIT_BROKEN_INVARIANT, EXIT_DISK, guard, stop_process},
};
use crate::metrics::Metrics;

/// How often free space is looked at, and a full disk tried again.
const SPACE_CHECK: Duration = Duration::from_millis(200);
/// Free space is also looked at after this many bytes: a fast writer fills a disk between two checks.
const SPACE_CHECK_BYTES: u64 = 8 * 1024 * 1024;

/// A job for the log thread.
#[derive(Debug)]
pub(crate) enum LogJob {
    Write(WriteBatch),
    Retain(BTreeMap<GroupId, u64>),
}

/// What the log thread works with.
pub(crate) struct LogThread {
    pub(crate) wal: Wal,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) disk_free_bytes_min: u64,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) metrics: Arc<Metrics>,
}

struct Work {
    parts: LogThread,
    pending: VecDeque<WriteBatch>,
    /// Frees no segment before the batches that were asked for earlier are written.
    retain: Option<BTreeMap<GroupId, u64>>,
    entries_accepted: bool,
    log_is_full: bool,
    checked_at: Instant,
    bytes_since_check: u64,
}

/// Starts the thread; it ends when the sender is dropped and everything was written.
pub(crate) fn start(parts: LogThread) -> (mpsc::Sender<LogJob>, thread::JoinHandle<()>) {
    let (sender, jobs) = mpsc::channel();
    let body = move || guard("log", || Work::new(parts).run(&jobs));
    let thread = thread::Builder::new().name("quorate-log".to_owned()).spawn(body);
    (sender, thread.expect("the operating system gives the node its threads"))
}

impl Work {
    fn new(parts: LogThread) -> Work {
        Work {
            parts,
            pending: VecDeque::new(),
            retain: None,
            entries_accepted: true,
            log_is_full: false,
            checked_at: Instant::now(),
            bytes_since_check: 0,
        }
    }

    fn run(&mut self, jobs: &mpsc::Receiver<LogJob>) {
        self.check_space();
        loop {
            match jobs.recv_timeout(SPACE_CHECK) {
                Ok(job) => self.take(job),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Batches that found no space were never reported durable: they may be dropped.
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(job) = jobs.try_recv() {
                self.take(job);
            }
            self.free_segments();
            while !self.pending.is_empty() && self.append() {}
            if self.checked_at.elapsed() >= SPACE_CHECK || self.bytes_since_check >= SPACE_CHECK_BYTES {
                self.check_space();
            }
        }
    }

    fn take(&mut self, job: LogJob) {
        match job {
            LogJob::Write(batch) => self.pending.push_back(batch),
            LogJob::Retain(first_needed) => {
                // What is no more is said once.
                let earlier = self.retain.replace(first_needed).into_iter().flatten();
                let waiting = self.retain.get_or_insert_default();
                waiting.extend(earlier.filter(|(_, needed)| *needed == u64::MAX));
            }
        }
    }

    /// Freeing may wait behind writes, except on a full disk, where it makes room for them. A batch that
    /// resets a group's log is always written first: until then the old segments are the group's log.
    fn free_segments(&mut self) {
        let resets = |batch: &WriteBatch| batch.groups.iter().any(|group| group.reset.is_some());
        let may_free =
            if self.log_is_full { !self.pending.iter().any(resets) } else { self.pending.is_empty() };
        if !may_free {
            return;
        }
        if let Some(first_needed) = self.retain.take() {
            let freed = self.parts.wal.retain(&first_needed).unwrap_or_else(|error| disk_failed(&error));
            self.parts.metrics.log_segments_freed.inc_by(freed as u64);
        }
    }

    /// Appends as many of the pending batches as fit one frame. False if there was no space for one.
    fn append(&mut self) -> bool {
        let count = self.frame_batches();
        let batches = &self.pending.make_contiguous()[..count];
        let begun = Instant::now();
        match self.parts.wal.append(batches) {
            Ok(()) => {}
            Err(AppendError::NoSpace) => return self.on_full(),
            Err(error @ AppendError::TooLarge { .. }) => {
                stop_process(EXIT_BROKEN_INVARIANT, &error.to_string())
            }
            Err(AppendError::Disk(error)) => disk_failed(&error),
        }
        let last = batches.last().expect("at least one batch is appended").seq;
        let bytes = Wal::frame_bytes(batches);
        let metrics = &self.parts.metrics;
        metrics.log_syncs.inc();
        metrics.log_batches.inc_by(count as u64);
        metrics.log_bytes.inc_by(bytes);
        metrics.log_append_seconds.observe(begun.elapsed().as_secs_f64());
        self.parts.inbox.push_input(Input::Written(last));
        self.pending.drain(..count);
        self.bytes_since_check += bytes;
        self.log_is_full = false;
        if self.pending.is_empty() {
            self.free_segments();
        }
        true
    }

    /// The largest number of pending batches that one frame takes, at least one. On a full disk one at a
    /// time: a vote before the first entry still fits what is reserved for it.
    fn frame_batches(&mut self) -> usize {
        if self.log_is_full {
            return 1;
        }
        let frame_bytes_max = self.parts.wal.frame_bytes_max();
        let batches = self.pending.make_contiguous();
        if Wal::frame_bytes(batches) <= frame_bytes_max {
            return batches.len();
        }
        let mut bytes = 0;
        // The sum of single frames is at least the frame of all.
        let fitting = batches.iter().take_while(|batch| {
            bytes += Wal::frame_bytes(std::slice::from_ref(*batch));
            bytes <= frame_bytes_max
        });
        fitting.count().max(1)
    }

    /// Answers whether to try again at once.
    fn on_full(&mut self) -> bool {
        self.report(false);
        if !std::mem::replace(&mut self.log_is_full, true) {
            tracing::error!("the disk is full: client writes are refused until there is space again");
            return true;
        }
        self.free_segments();
        // Sleeping here bounds how often a full disk is tried.
        thread::sleep(SPACE_CHECK);
        self.parts.wal.try_make_spare().unwrap_or_else(|error| disk_failed(&error));
        false
    }

    fn check_space(&mut self) {
        self.checked_at = Instant::now();
        self.bytes_since_check = 0;
        let free_bytes = self.parts.files.free_bytes().unwrap_or_else(|error| disk_failed(&error));
        self.parts.metrics.disk_free_bytes.set(free_bytes as i64);
        let stats = self.parts.wal.stats();
        self.parts.metrics.log_disk_bytes.set(stats.disk_bytes as i64);
        if stats.spares == 0 {
            self.parts.wal.try_make_spare().unwrap_or_else(|error| disk_failed(&error));
        }
        let enough = free_bytes >= self.parts.disk_free_bytes_min;
        if !enough && self.entries_accepted {
            let least = self.parts.disk_free_bytes_min;
            tracing::error!(
                free_bytes,
                disk_free_bytes_min = least,
                "the disk is nearly full: client writes are refused"
            );
        }
        self.report(enough && !self.log_is_full && self.parts.wal.has_space_for_entries());
    }

    fn report(&mut self, entries_accepted: bool) {
        if self.entries_accepted != entries_accepted {
            self.entries_accepted = entries_accepted;
            if entries_accepted {
                tracing::info!("the disk has space again: client writes are accepted");
            }
            self.parts.inbox.push_input(Input::LogSpace { entries_accepted });
        }
    }
}

fn disk_failed(error: &DiskError) -> ! {
    stop_process(
        EXIT_DISK,
        &format!("write-ahead log: {error}; the log is recovered when the node starts again"),
    )
}
