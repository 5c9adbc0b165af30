//! The thread that writes checkpoints and installs snapshots, in the order in which they were begun.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use node::Input;
use storage::{CheckpointJob, DiskError, InstallJob, ReclaimJob, StoreError};

use super::{
    inbox::Inbox,
    stop::{guard, stop_process, store_exit_code},
};
use crate::metrics::Metrics;

/// Pause before a job that found no space is tried or reported again.
const NO_SPACE_PAUSE: Duration = Duration::from_millis(200);

/// A job for the store thread.
#[derive(Debug)]
pub(crate) enum StoreJob {
    Checkpoint(CheckpointJob),
    Install(Box<InstallJob>),
    Reclaim(ReclaimJob),
}

/// Starts the thread; it ends when the sender is dropped and all jobs are done.
pub(crate) fn start(
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
) -> (mpsc::Sender<StoreJob>, thread::JoinHandle<()>) {
    let (sender, jobs) = mpsc::channel();
    let body = move || guard("store", || work(&jobs, &inbox, &metrics));
    let thread = thread::Builder::new().name("quorate-store".to_owned()).spawn(body);
    (sender, thread.expect("the operating system gives the node its threads"))
}

fn work(jobs: &mpsc::Receiver<StoreJob>, inbox: &Inbox, metrics: &Metrics) {
    for job in jobs {
        let begun = Instant::now();
        match job {
            StoreJob::Checkpoint(job) => {
                let done = checkpoint(&job);
                if done.is_some() {
                    metrics.checkpoints.inc();
                    metrics.checkpoint_seconds.observe(begun.elapsed().as_secs_f64());
                } else {
                    metrics.checkpoints_without_space.inc();
                    thread::sleep(NO_SPACE_PAUSE);
                }
                inbox.push_input(Input::CheckpointDone(done));
            }
            StoreJob::Install(job) => {
                inbox.push_input(Input::InstallDone(install(&job)));
                metrics.installs.inc();
            }
            StoreJob::Reclaim(job) => inbox.push_input(Input::ReclaimDone(reclaim(&job))),
        }
    }
}

fn checkpoint(job: &CheckpointJob) -> Option<storage::CheckpointDone> {
    match job.run() {
        Ok(done) => Some(done),
        Err(StoreError::Disk(DiskError::NoSpace)) => {
            tracing::warn!("no disk space for a checkpoint; it will be tried again");
            None
        }
        Err(error) => stop_process(store_exit_code(&error), &error.to_string()),
    }
}

fn reclaim(job: &ReclaimJob) -> Option<storage::ReclaimDone> {
    match job.run() {
        Ok(done) => Some(done),
        Err(StoreError::Disk(DiskError::NoSpace)) => None,
        Err(error) => stop_process(store_exit_code(&error), &error.to_string()),
    }
}

/// Waits for space: the group takes no writes before the install is done, whatever happens.
fn install(job: &InstallJob) -> storage::InstallDone {
    let mut told = false;
    loop {
        match job.run() {
            Ok(done) => return done,
            Err(StoreError::Disk(DiskError::NoSpace)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(group = %job.group(), "no disk space to install a snapshot; waiting for some");
                }
                thread::sleep(NO_SPACE_PAUSE);
            }
            Err(error) => stop_process(store_exit_code(&error), &error.to_string()),
        }
    }
}
