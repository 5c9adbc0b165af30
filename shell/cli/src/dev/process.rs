//! One node's process: started with a pipe that tells it when we are gone, watched until it ends.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::events::Ended;

/// A log longer than this is begun anew when the node starts.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of the end of a log is looked at for the reason of a death.
const LAST_WORDS_BYTES: u64 = 4 * 1024;
/// Most lines that are reported of it.
const LAST_WORDS_LINES: usize = 4;

/// A running node.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    pid: u32,
    /// Held open: the node stops when it closes.
    _stdin: Option<ChildStdin>,
    log: PathBuf,
    log_start: u64,
}

impl NodeProcess {
    /// Starts `quorate server` with this configuration file, logging to `log`.
    ///
    /// # Errors
    /// If the process cannot be started or its log not be opened.
    pub fn start(config: &Path, log: &Path) -> io::Result<NodeProcess> {
        let (file, log_start) = open_log(log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", "--ready-json", "--exit-on-stdin-close", "--config"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            // Not in our process group: Ctrl-C is for us, who then stop the nodes one by one.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended at once"))?;
        let stdin = child.stdin.take();
        Ok(NodeProcess { child, pid, _stdin: stdin, log: log.to_owned(), log_start })
    }

    /// The process id, also after the process has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the node will say on its standard output; only the first caller gets it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub async fn ended(&mut self) -> io::Result<Ended> {
        let status = self.child.wait().await?;
        Ok(self.describe(status))
    }

    /// Sends a signal, if the process has not been waited for yet: never to a process that is not ours.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            // It may have ended by itself; then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }

    fn describe(&self, status: ExitStatus) -> Ended {
        let failed = status.code().is_some_and(|code| code != 0);
        let last_words = failed.then(|| last_words(&self.log, self.log_start).ok()).flatten();
        let last_words = last_words.filter(|words| !words.is_empty());
        Ended { code: status.code(), signal: status.signal(), last_words }
    }
}

/// Waits until a node says that it serves. Does not return if it never does: wait for its end as well.
pub async fn ready(stdout: Option<ChildStdout>) {
    if let Some(stdout) = stdout {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let event = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
            if event["event"] == "ready" {
                return;
            }
        }
    }
    std::future::pending().await
}

fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length > LOG_BYTES_MAX {
        fs::remove_file(path)?;
    }
    let file = File::options().create(true).append(true).open(path)?;
    let start = file.metadata()?.len();
    Ok((file, start))
}

/// The last lines that a process wrote to its log, which it found `start` bytes long.
fn last_words(log: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(LAST_WORDS_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_those_of_the_last_process() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let log = dir.path().join("log");
        fs::write(&log, "old\n").expect("written");
        assert_eq!(last_words(&log, 4).expect("readable"), "");
        fs::write(&log, "old\na\n\nb\nc\nd\ne\n").expect("written");
        assert_eq!(last_words(&log, 4).expect("readable"), "b\nc\nd\ne");
    }
}
