//! Histories as they are recorded: a line for each event, written before anything is sent and after the answer is
//! there, in the format of `docs/reference/history-format.md`. The file is what is judged.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::clock::Clock;

/// Most events of a history; then its clients stop. A judge takes twice as many.
pub const EVENTS_MAX: u64 = 1_000_000;
/// Most bytes of a history; then its clients stop. A judge takes twice as many.
pub const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody is about to ask.
    Invoke,
    /// It was done.
    Ok,
    /// It was not done, and never will be.
    Fail,
    /// Nobody knows.
    Unknown,
    /// Nobody asked: it is known.
    Note,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Unknown => "unknown",
            Kind::Note => "note",
        }
    }
}

/// One history.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    clock: Clock,
    file: Mutex<Written>,
    full: AtomicBool,
}

#[derive(Debug)]
struct Written {
    to: BufWriter<File>,
    counts: Counts,
    bytes: u64,
    failed: Option<io::Error>,
}

/// How many events there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations that were begun.
    pub invoked: u64,
    /// That were done.
    pub ok: u64,
    /// That were not.
    pub fail: u64,
    /// Of which nobody knows.
    pub unknown: u64,
}

impl Recorder {
    /// An empty history in a file.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: PathBuf, clock: Clock) -> io::Result<Recorder> {
        let to = BufWriter::with_capacity(256 * 1024, File::create(&path)?);
        let file = Mutex::new(Written { to, counts: Counts::default(), bytes: 0, failed: None });
        Ok(Recorder { path, clock, file, full: AtomicBool::new(false) })
    }

    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Whether there is no room: no new operation may begin.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Notes an event. The order of notes is the order of the history.
    pub fn note(&self, process: u64, kind: Kind, op: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = json!({"process": process, "type": kind.word(), "time_us": self.clock.us(), "op": op});
        let line = format!("{line}\n");
        if let Err(error) = file.to.write_all(line.as_bytes()) {
            file.failed.get_or_insert(error);
            self.full.store(true, Ordering::Relaxed);
        }
        file.bytes += line.len() as u64;
        match kind {
            Kind::Invoke => file.counts.invoked += 1,
            Kind::Ok => file.counts.ok += 1,
            Kind::Fail => file.counts.fail += 1,
            Kind::Unknown => file.counts.unknown += 1,
            Kind::Note => {}
        }
        if file.counts.invoked * 2 >= EVENTS_MAX || file.bytes >= BYTES_MAX {
            self.full.store(true, Ordering::Relaxed);
        }
    }

    /// How many events there are.
    pub fn counts(&self) -> Counts {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).counts
    }

    /// Writes what is in memory.
    ///
    /// # Errors
    /// If this or an earlier write failed: then the history is not whole.
    pub fn finish(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.to.flush()?;
        file.failed.take().map_or(Ok(()), Err)
    }
}
