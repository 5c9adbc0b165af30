//! Errors that say whether the operation was applied and what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Stable names; each has a page under `docs/reference/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// No majority of the replicas answers.
    NoQuorum,
    /// This node does not lead the group and may not forward.
    NotLeader,
    /// The deadline passed first.
    DeadlineExceeded,
    /// A stated limit of queued work is reached.
    Overloaded,
    /// The key is not at the expected revision.
    Conflict,
    /// No replica that can be reached is new enough for the read.
    TooStale,
    /// The revision was compacted: it can be neither read nor watched any more.
    Compacted,
    /// The fencing token is not the one of the lock's present holder.
    Fenced,
    /// The lease has ended, or never was.
    LeaseNotFound,
    /// The idempotency key was used with another request.
    IdempotencyKeyReused,
    /// The keyspace's quota has no room for the write.
    QuotaExceeded,
    /// There is no such key.
    KeyNotFound,
    /// There is no such keyspace.
    KeyspaceNotFound,
    /// The request is malformed or over a limit.
    InvalidArgument,
    /// The disk is too full to accept writes.
    NoSpace,
    /// Peer or file of a version that this build does not speak.
    UnsupportedVersion,
    /// Data on disk, or its copy, failed its checksum.
    Corrupt,
    /// The node is stopping or has not finished starting.
    Unavailable,
}

impl ErrorCode {
    /// All codes, in the order of the reference pages.
    pub const ALL: &[ErrorCode] = &[
        ErrorCode::NoQuorum,
        ErrorCode::NotLeader,
        ErrorCode::DeadlineExceeded,
        ErrorCode::Overloaded,
        ErrorCode::Conflict,
        ErrorCode::TooStale,
        ErrorCode::Compacted,
        ErrorCode::Fenced,
        ErrorCode::LeaseNotFound,
        ErrorCode::IdempotencyKeyReused,
        ErrorCode::QuotaExceeded,
        ErrorCode::KeyNotFound,
        ErrorCode::KeyspaceNotFound,
        ErrorCode::InvalidArgument,
        ErrorCode::NoSpace,
        ErrorCode::UnsupportedVersion,
        ErrorCode::Corrupt,
        ErrorCode::Unavailable,
    ];

    /// The stable name, as in JSON and in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::NoQuorum => "NO_QUORUM",
            ErrorCode::NotLeader => "NOT_LEADER",
            ErrorCode::DeadlineExceeded => "DEADLINE_EXCEEDED",
            ErrorCode::Overloaded => "OVERLOADED",
            ErrorCode::Conflict => "CONFLICT",
            ErrorCode::TooStale => "TOO_STALE",
            ErrorCode::Compacted => "COMPACTED",
            ErrorCode::Fenced => "FENCED",
            ErrorCode::LeaseNotFound => "LEASE_NOT_FOUND",
            ErrorCode::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            ErrorCode::QuotaExceeded => "QUOTA_EXCEEDED",
            ErrorCode::KeyNotFound => "KEY_NOT_FOUND",
            ErrorCode::KeyspaceNotFound => "KEYSPACE_NOT_FOUND",
            ErrorCode::InvalidArgument => "INVALID_ARGUMENT",
            ErrorCode::NoSpace => "NO_SPACE",
            ErrorCode::UnsupportedVersion => "UNSUPPORTED_VERSION",
            ErrorCode::Corrupt => "CORRUPT",
            ErrorCode::Unavailable => "UNAVAILABLE",
        }
    }

    /// The code of a stable name; `None` for a name of a newer version.
    pub fn from_name(name: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It did not, and never will: safe to retry.
    NotApplied,
    /// It did.
    Applied,
    /// It may have, or may yet. Read before retrying anything that is not idempotent.
    Unknown,
}

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Problem {
    /// Which failure.
    pub code: ErrorCode,
    /// Whether the operation took effect.
    pub applied: Applied,
    /// What happened, for a person: names the key, limit, node or file concerned.
    pub message: String,
    /// What to do next, for a person.
    pub next_step: String,
    /// For `CONFLICT`: the key's present modification revision, 0 when it does not exist.
    pub current_revision: Option<u64>,
    /// For `COMPACTED`: the oldest revision that can be watched.
    pub oldest_revision: Option<u64>,
}

impl Problem {
    /// A failure that left nothing behind.
    pub fn not_applied(code: ErrorCode, message: impl Into<String>, next_step: impl Into<String>) -> Problem {
        Problem {
            code,
            applied: Applied::NotApplied,
            message: message.into(),
            next_step: next_step.into(),
            current_revision: None,
            oldest_revision: None,
        }
    }

    /// A failure whose effect cannot be known here.
    pub fn unknown(code: ErrorCode, message: impl Into<String>, next_step: impl Into<String>) -> Problem {
        Problem { applied: Applied::Unknown, ..Problem::not_applied(code, message, next_step) }
    }

    /// Whether sending the same request again cannot do harm by itself.
    pub fn retry_safe(&self) -> bool {
        self.applied == Applied::NotApplied
    }
}
