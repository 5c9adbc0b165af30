//! One process of the cluster: started, stopped, killed, paused and resumed, by its id alone and only while it
//! is our child that has not been waited for.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, ChildStdin, Command},
    time::timeout,
};

/// How long a process that was told to stop may take: it answers what it accepted, and the machine may be busy.
pub const STOP_WITHIN: Duration = Duration::from_secs(60);
/// How much of the end of a log is shown.
const LAST_WORDS_BYTES: u64 = 2 * 1024;

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A process that runs, or has ended and was not waited for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Held open: a node stops when it closes, so that none outlives us.
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn start(recipe: &Recipe) -> io::Result<Process> {
        let log = File::options().create(true).append(true).open(&recipe.log)?;
        let mut child = Command::new(&recipe.program)
            .args(&recipe.arguments)
            .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Not in our process group: Ctrl-C is for us, who then end the nodes one by one.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        Ok(Process { child, _stdin: stdin })
    }

    /// Its id, while it has not been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself; then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) {
        // Fails only if it is gone.
        let _ = self.child.kill().await;
    }

    /// Tells it to stop, and waits. Returns whether it did in time; otherwise it was killed.
    pub async fn stop(mut self) -> bool {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let stopped = timeout(STOP_WITHIN, self.child.wait()).await.is_ok();
        if !stopped {
            self.kill().await;
        }
        stopped
    }
}

/// The end of a log, for a message.
pub fn last_words(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        Ok(lines[lines.len().saturating_sub(3)..].join("\n"))
    };
    read().unwrap_or_default()
}
