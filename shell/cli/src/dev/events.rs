//! What the supervisor reports, and how a person or a program reads it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anstyle::{AnsiColor, Style};
use serde_json::json;

/// How a node's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal number, if one killed it.
    pub signal: Option<i32>,
    /// The last lines of its log, if it failed by itself.
    pub last_words: Option<String>,
}

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its process was started.
    Starting,
    /// It serves.
    Ready {
        /// Starts before this one.
        restarts: u32,
    },
    /// Its process ended without being told to.
    Exited {
        /// How.
        ended: Ended,
        /// When it is started again; `None` if it is not.
        restart_in: Option<Duration>,
    },
    /// It failed to start too often and is left alone.
    GaveUp {
        /// Failed starts in a row.
        failures: u32,
    },
    /// Its process was told to stop.
    Stopping,
    /// Its process ended as it was told.
    Stopped,
}

/// An event of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which node.
    pub node: u16,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Its configuration file, with which `quorate server` starts it by hand.
    pub config: PathBuf,
    /// What happened.
    pub what: What,
}

const GREEN: Style = AnsiColor::Green.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

impl Event {
    /// One JSON object: always `event`, `node`, `pid`, `http`.
    pub fn json(&self) -> serde_json::Value {
        let mut json = json!({
            "event": self.name(),
            "node": self.node,
            "pid": self.pid,
            "http": format!("http://{}", self.http),
            "config": self.config.display().to_string(),
        });
        match &self.what {
            What::Ready { restarts } => json["restarts"] = json!(restarts),
            What::Exited { ended, restart_in } => {
                json["code"] = json!(ended.code);
                json["signal"] = json!(ended.signal);
                json["error"] = json!(ended.last_words);
                json["restart_in_ms"] = json!(restart_in.map(|delay| delay.as_millis() as u64));
            }
            What::GaveUp { failures } => json["failures"] = json!(failures),
            What::Starting | What::Stopping | What::Stopped => {}
        }
        json
    }

    /// The event's name in JSON.
    pub fn name(&self) -> &'static str {
        match self.what {
            What::Starting => "starting",
            What::Ready { .. } => "ready",
            What::Exited { .. } => "exited",
            What::GaveUp { .. } => "gave_up",
            What::Stopping => "stopping",
            What::Stopped => "stopped",
        }
    }

    /// A line for a person; `None` for what a person does not need to hear. Holds colours, which
    /// printing to anything but a terminal removes.
    pub fn line(&self) -> Option<String> {
        let node = self.node;
        let pid = self.pid.map(|pid| format!(" {DIM}(pid {pid}){DIM:#}")).unwrap_or_default();
        match &self.what {
            What::Ready { restarts: 0 } => {
                Some(format!("node {node} is {GREEN}ready{GREEN:#} on http://{}{pid}", self.http))
            }
            What::Ready { .. } => {
                Some(format!("node {node} is {GREEN}ready{GREEN:#} again on http://{}{pid}", self.http))
            }
            What::Exited { ended, restart_in } => {
                let then = match restart_in {
                    Some(delay) if *delay < Duration::from_millis(500) => "starting it again".to_owned(),
                    Some(delay) => format!("starting it again in {:.1} s", delay.as_secs_f64()),
                    None => format!("it stays down; to start it: {}", self.command()),
                };
                let words = ended.last_words.as_deref().unwrap_or_default();
                let words: String = words.lines().map(|line| format!("\n    {line}")).collect();
                Some(format!("node {node} {RED}died{RED:#}: {}{pid}; {then}{words}", ended.how()))
            }
            What::GaveUp { failures } => Some(format!(
                "node {node} {RED}cannot start{RED:#}: it failed {failures} times in a row and is left alone; \
                 the others go on; to try again: {}",
                self.command()
            )),
            What::Stopped => Some(format!("node {node} stopped")),
            What::Starting | What::Stopping => None,
        }
    }
}

impl Event {
    /// What starts the node by hand.
    fn command(&self) -> String {
        format!("quorate server --config {}", self.config.display())
    }
}

impl Ended {
    fn how(&self) -> String {
        match (self.code, self.signal) {
            (_, Some(9)) => "killed (SIGKILL)".to_owned(),
            (_, Some(15)) => "terminated (SIGTERM)".to_owned(),
            (_, Some(6)) => "aborted (SIGABRT)".to_owned(),
            (_, Some(signal)) => format!("killed by signal {signal}"),
            (Some(code), None) => format!("exit code {code}"),
            (None, None) => "for an unknown reason".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_the_four_fields() {
        let ended = Ended { code: None, signal: Some(9), last_words: None };
        for what in [
            What::Starting,
            What::Ready { restarts: 1 },
            What::Exited { ended, restart_in: Some(Duration::from_millis(100)) },
            What::GaveUp { failures: 5 },
            What::Stopping,
            What::Stopped,
        ] {
            let event = Event {
                node: 1,
                pid: Some(7),
                http: "127.0.0.1:7401".parse().expect("valid"),
                config: "d/node-1.toml".into(),
                what,
            };
            let json = event.json();
            for field in ["event", "node", "pid", "http"] {
                assert!(!json[field].is_null(), "{field} of {json}");
            }
        }
    }
}
