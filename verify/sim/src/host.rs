//! One machine: its disk and clocks, which survive, and the process on it, which does not.

use std::sync::Arc;

use node::{Fatal, Node, NodeConfig};
use storage::{
    Files, Identity, IdentityError, MemFiles, Store, StoreError, StoreOptions,
    wal::{OpenError, Wal, WalOptions},
};
use types::{LogPosition, NodeId, WriteBatch};

use crate::{
    clock::Clock,
    counts::Counts,
    dice::Dice,
    disk::{Disk, Troubles},
    durable::DurableLog,
    event::Event,
    failure::Broken,
    faults::{forget::Forgot, rot::Rot},
    invariants::is_left_out,
    plan::SECOND,
    process::{Logged, Process, Stop, store_stop},
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
    /// What else is wrong with its disk.
    pub troubles: Troubles,
    /// A file that was damaged in a way that need not show at once.
    pub damaged: Option<String>,
    /// An older image of the disk, with what its log must hold, that is about to take its place.
    pub image: Option<(MemFiles, DurableLog)>,
    /// What it had before its disk lost it.
    pub(crate) forgot: Option<Forgot>,
    /// What was on disks that it lost.
    pub(crate) lost_disks: Vec<DurableLog>,
    /// Whether the machine is lost for good.
    pub gone: bool,
    /// Until when the disk does nothing, in virtual microseconds.
    pub stalled_until_us: u64,
    /// How many times slower than usual the disk is.
    pub slowness: u64,
    /// Whether the disk is full by injection.
    pub full: bool,
    /// Whether a sync failure waits to happen.
    pub sync_failure_armed: bool,
    /// How many disk operations the next start gets before it ends, and whether power is lost with it.
    pub halt_in_start: Option<(u64, bool)>,
    /// The next installation of a snapshot loses power after so many of its disk operations.
    pub halt_in_install: Option<u64>,
    /// The next disk work that ends loses power instead, after so many of its operations.
    pub halt_in_work: Option<u64>,
}

impl Host {
    /// A machine with an empty disk, and a clock that is wrong by up to so much.
    pub fn new(id: NodeId, dice: &mut Dice, clock_drift_ppm: u64) -> Host {
        Host {
            id,
            files: MemFiles::new(),
            clock: Clock::draw(dice, clock_drift_ppm),
            boot: 0,
            process: None,
            paused: false,
            resumed_us: 0,
            held: Vec::new(),
            durable: DurableLog::default(),
            interrupted: Vec::new(),
            rot: None,
            troubles: Troubles::default(),
            damaged: None,
            image: None,
            forgot: None,
            lost_disks: Vec::new(),
            gone: false,
            stalled_until_us: 0,
            slowness: 1,
            full: false,
            sync_failure_armed: false,
            halt_in_start: None,
            halt_in_install: None,
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
        let halt = if self.rot.is_some() { None } else { self.halt_in_start };
        if let Some((operations, _)) = halt {
            self.files.halt_after(operations);
        }
        let files: Arc<dyn Files> = Arc::new(Disk::new(self.files.clone(), self.troubles.clone()));
        let identity = Identity { cluster: config.cluster, node: config.node };
        Identity::load_or_create(&*files, &identity).map_err(|error| match error {
            IdentityError::Disk(error) => Stop::Disk(error.to_string()),
            error => Stop::Broken(Broken::crash("identity_is_accepted", error.to_string())),
        })?;
        let options = WalOptions {
            segment_bytes: config.limits.segment_bytes,
            entry_reserve_bytes: ENTRY_RESERVE_BYTES,
            boot_nonce: config.seed,
            #[cfg(feature = "planted")]
            planted: match config.planted {
                Some(raft_group::Planted::DamageTruncated) => Some(storage::wal::AtDamage::CutsOff),
                Some(raft_group::Planted::RefusalLeavesNote) => Some(storage::wal::AtDamage::LeavesNote),
                _ => None,
            },
        };
        let (wal, recovered) = Wal::open(files.clone(), &identity, options).map_err(|error| match error {
            OpenError::Corrupt { file, offset, .. } => Stop::Corrupt { file, offset },
            OpenError::Disk(error) => Stop::Disk(error.to_string()),
            error => Stop::Broken(Broken::crash("log_opens", error.to_string())),
        })?;
        let unsure = self.forgot.as_ref().is_some_and(|forgot| forgot.unsure);
        let (durable, survived) = match self.durable.recover(&self.interrupted, &recovered) {
            _ if unsure => (DurableLog::adopt(&recovered), false),
            Err(_) if is_left_out("durable_log_survives") => (self.durable.clone(), false),
            kept => kept.map_err(|message| Stop::Broken(Broken::safety("durable_log_survives", message)))?,
        };
        self.durable = durable;
        counts.add("unsynced_appends_survived", survived.into());
        self.interrupted.clear();
        counts.add("torn_tails_truncated", recovered.truncated.is_some().into());
        let store_options = StoreOptions { cache_bytes: config.limits.store_cache_bytes };
        let store = Store::open(files, store_options).map_err(|error| match error {
            StoreError::Disk(error) => Stop::Disk(error.to_string()),
            StoreError::Corrupt { file, reason } => Stop::Damaged { file, reason },
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
        let node =
            Node::recover(self.clock.now(now_us), config, recovered, store).map_err(|error| match error {
                Fatal::Store(error) => store_stop(error),
                error @ Fatal::Recover { .. } if unsure => Stop::Refused(error.to_string()),
                error => Stop::Broken(Broken::crash("node_recovers", error.to_string())),
            })?;
        self.process = Some(Process::new(node, wal, disk_free_bytes_min));
        Ok(())
    }

    /// The process ends. With `power` the machine's unsynced bytes go with it, otherwise they stay;
    /// with `halt_after` the disk work in flight gets this many operations further first.
    pub fn stop(&mut self, dice: &mut Dice, power: bool, halt_after: Option<u64>) {
        let mut process = self.process.take();
        if let Some(process) = &mut process {
            self.interrupted.extend(process.take_in_flight());
            if let Some(operations) = halt_after {
                process.work_until_halt(&self.files, &self.interrupted, operations, dice.chance(500));
            }
        }
        let mut dice = dice.fork();
        match power {
            // Nothing of what it said to have synced is there.
            true if self.troubles.lies() => self.files.crash(&mut || 0),
            true => self.files.crash(&mut || dice.next()),
            false => self.files.crash(&mut || 1),
        }
        drop(process);
        self.paused = false;
        self.sync_failure_armed = false;
        self.halt_in_work = None;
        self.halt_in_install = None;
        self.troubles.on_stop();
    }

    /// The log's thread finishes the round in flight.
    ///
    /// # Errors
    /// [`Stop::Disk`]: the process must stop.
    pub fn finish_write(&mut self) -> Result<Logged, Stop> {
        let Some(process) = &mut self.process else { return Ok(Logged::NoSpace) };
        let logged = process.finish_write()?;
        if let Logged::Written(batches) = &logged {
            self.durable.append(batches);
        }
        Ok(logged)
    }

    /// Virtual time in which the disk does something that usually takes `usual_us`.
    pub fn disk_us(&self, dice: &mut Dice, usual_us: u64) -> u64 {
        (dice.delay_us(usual_us) * self.slowness).min(DISK_US_MAX)
    }
}
