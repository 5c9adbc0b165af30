//! How a command ends: what went wrong, the next step, and the exit code that scripts can rely on.

use std::process::ExitCode;

use serde::Serialize;
use types::Applied;

/// The exit codes, as documented in `docs/reference/cli.md`. Success is 0; clap exits with 2 for
/// usage errors by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Anything without a code of its own.
    Error = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The key, or the lease, does not exist.
    NotFound = 3,
    /// The key is not at the expected revision, or the lock is not held any more.
    Conflict = 4,
    /// No quorum, no leader, or no endpoint answers in time.
    Unavailable = 5,
}

/// Why a command failed.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    #[serde(skip)]
    pub exit: Exit,
    /// The stable error code, if the cluster gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether a change took effect, where that question makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// What happened, for a person.
    pub message: String,
    /// What to do next, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// The reader of standard output is gone: there is nothing to say, and nobody to say it to.
    #[serde(skip)]
    pub nobody_reads: bool,
}

impl Failure {
    /// A failure with exit code 1 and no advice.
    pub fn error(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Error, message)
    }

    /// A failure because the command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// A failure with the given exit code and no advice.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            code: None,
            applied: None,
            message: message.into(),
            next_step: None,
            nobody_reads: false,
        }
    }

    /// The same failure, saying what to do next.
    pub fn next(mut self, step: impl Into<String>) -> Failure {
        self.next_step = Some(step.into());
        self
    }

    /// Tells the person on standard error, or the program that asked for JSON, and returns the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        if self.nobody_reads {
            // As with `| head`: whoever read the output has seen enough.
        } else if json {
            let body = serde_json::json!({ "error": self });
            eprintln!("{body}");
        } else {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{red}error{red:#}: {}", self.message);
            if let Some(step) = &self.next_step {
                anstream::eprintln!("  next: {step}");
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure {
            nobody_reads: error.kind() == std::io::ErrorKind::BrokenPipe,
            ..Failure::error(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_leaves_out_what_is_unknown() {
        let failure = Failure::error("it broke").next("look at it");
        let json = serde_json::to_value(&failure).expect("serializes");
        assert_eq!(json, serde_json::json!({ "message": "it broke", "next_step": "look at it" }));
    }
}
