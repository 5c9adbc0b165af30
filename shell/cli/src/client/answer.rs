//! What comes back from an attempt, and what is reported of a call.

use bytes::Bytes;
use serde::Deserialize;
use types::Applied;

use super::{Endpoint, Repeat};
use crate::failure::{Exit, Failure};

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// The `Quorate-Receipt` header, if it is there and is JSON.
    pub receipt: Option<serde_json::Value>,
    /// The revision in the `ETag` header.
    pub revision: Option<u64>,
    /// Attempts that the call took, 1 when the first was answered.
    pub attempts: u32,
}

/// An RFC 9457 problem as a node sends it. Codes of newer versions are kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoteProblem {
    /// Stable code.
    pub code: String,
    /// Whether the operation took effect. A problem that does not say leaves it unknown.
    #[serde(default = "unknown")]
    pub applied: Applied,
    /// What happened.
    #[serde(default)]
    pub detail: String,
    /// What to do.
    #[serde(default)]
    pub next_step: String,
}

fn unknown() -> Applied {
    Applied::Unknown
}

/// Why one attempt brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// No connection; nothing was sent.
    #[error("cannot connect: {reason}")]
    Unreachable {
        /// The system's words.
        reason: String,
    },
    /// The connection broke after the request may have been read.
    #[error("the connection broke before the answer: {reason}")]
    Lost {
        /// The system's words.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The node refused, or failed and said so.
    #[error("{}: {}", .0.code, .0.detail)]
    Problem(RemoteProblem),
    /// Something answers that is not Quorate.
    #[error("the answer (status {status}) is not one that quorate gives")]
    Foreign {
        /// HTTP status.
        status: u16,
    },
    /// The request cannot be put into HTTP.
    #[error("the request cannot be sent: {reason}")]
    Unsendable {
        /// Why.
        reason: String,
    },
}

impl AttemptError {
    /// Whether a change may have taken effect, or may yet.
    pub fn may_have_applied(&self) -> bool {
        match self {
            AttemptError::Unreachable { .. } | AttemptError::Unsendable { .. } => false,
            AttemptError::Problem(problem) => problem.applied != Applied::NotApplied,
            AttemptError::Lost { .. } | AttemptError::TimedOut | AttemptError::Foreign { .. } => true,
        }
    }
}

/// Why a call was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{endpoint}: {error}")]
pub struct CallError {
    /// The most telling failure among the attempts.
    pub error: AttemptError,
    /// The endpoint that it came from.
    pub endpoint: Endpoint,
    /// Attempts made.
    pub attempts: u32,
    /// Whether a change may have taken effect. False for reads.
    pub maybe_applied: bool,
    /// What the caller allowed.
    pub repeat: Repeat,
}

impl CallError {
    /// The cluster's code, if it gave one.
    pub fn code(&self) -> Option<&str> {
        match &self.error {
            AttemptError::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_temporary(&self) -> bool {
        super::retry::is_temporary(&self.error)
    }
}

impl From<CallError> for Failure {
    fn from(call: CallError) -> Failure {
        let exit = match call.code() {
            Some("KEY_NOT_FOUND" | "LEASE_NOT_FOUND") => Exit::NotFound,
            Some("CONFLICT" | "FENCED") => Exit::Conflict,
            _ if call.is_temporary() => Exit::Unavailable,
            _ => Exit::Error,
        };
        let (message, step) = match &call.error {
            AttemptError::Problem(problem) => {
                let step = Some(problem.next_step.clone()).filter(|step| !step.is_empty());
                (format!("{}: {}", problem.code, problem.detail), step)
            }
            AttemptError::Unreachable { .. } => (
                format!("no endpoint answers ({call})"),
                Some("start a cluster with `quorate dev`, or name one with --endpoints".to_owned()),
            ),
            AttemptError::Foreign { .. } => {
                (call.to_string(), Some("check the address with `quorate status --endpoints URL`".to_owned()))
            }
            _ => (call.to_string(), Some("see which nodes answer with `quorate status`".to_owned())),
        };
        let mut failure = Failure::new(exit, message);
        failure.code = call.code().map(str::to_owned);
        failure.next_step = step;
        if call.repeat != Repeat::Read {
            failure.applied = Some(match &call.error {
                AttemptError::Problem(problem) if problem.applied == Applied::Applied => Applied::Applied,
                _ if call.maybe_applied => Applied::Unknown,
                AttemptError::Problem(problem) => problem.applied,
                _ => Applied::NotApplied,
            });
        }
        if failure.applied == Some(Applied::Unknown) {
            failure.message += "\n  The outcome is unknown: the change may have been applied, or may be yet.";
            let advice = "read the key (`quorate get KEY --receipt`) before you try again";
            failure.next_step = Some(match failure.next_step {
                Some(step) => format!("{advice}; {step}"),
                None => advice.to_owned(),
            });
        }
        failure
    }
}
