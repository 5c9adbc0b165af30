//! How a world ends.

use serde::Serialize;

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// Something happened that must never happen.
    Safety,
    /// Something did not happen that was due.
    Liveness,
    /// The code under test stopped, or refused, without a reason that the world gave it.
    Crash,
}

/// A broken promise. The world stopped there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind.
    pub promise: Promise,
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
    /// Number of the event.
    pub step: u64,
    /// Virtual time in microseconds.
    pub time_us: u64,
}

/// An invariant that does not hold; the world adds when.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What kind of promise.
    pub promise: Promise,
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
}

impl Broken {
    /// A violated safety property.
    pub fn safety(invariant: &'static str, message: impl Into<String>) -> Broken {
        Broken { promise: Promise::Safety, invariant, message: message.into() }
    }

    /// A violated liveness property.
    pub fn liveness(invariant: &'static str, message: impl Into<String>) -> Broken {
        Broken { promise: Promise::Liveness, invariant, message: message.into() }
    }

    /// The node stopped by itself.
    pub fn crash(invariant: &'static str, message: impl Into<String>) -> Broken {
        Broken { promise: Promise::Crash, invariant, message: message.into() }
    }
}

/// What became of one seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every promise was kept.
    Passed,
    /// One was broken.
    Failed(Failure),
    /// The checker gave up: this is no pass.
    Unknown(String),
    /// Stopped where `--until` said.
    Stopped,
}
