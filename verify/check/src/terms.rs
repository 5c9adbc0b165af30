//! What a client asked for besides the operation itself: for whom, how new, under which idempotency key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::{Action, Op};
use crate::receipt::Receipt;

/// How new a read must be; also what a receipt says was kept. The first is the strongest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// At one instant between its call and its answer.
    #[default]
    #[serde(alias = "linearizable")]
    Strong,
    /// All that the session has seen, and what that depended on.
    Causal,
    /// No older than a bound.
    Bounded,
    /// Any state that there was.
    Eventual,
}

impl Level {
    /// Its name in a history.
    pub fn name(self) -> &'static str {
        match self {
            Level::Strong => "strong",
            Level::Causal => "causal",
            Level::Bounded => "bounded",
            Level::Eventual => "eventual",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was asked for. Nothing: a strong operation in its process's own session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Operations that name one session know of each other; without, it is the process.
    pub session: Option<String>,
    /// Of a read, how new it must be; without, [`Level::Strong`].
    pub level: Option<Level>,
    /// Of a bounded read, how old it may be.
    pub bound_ms: Option<u64>,
    /// Of a change, what makes it one change however often it is sent.
    pub idempotency_key: Option<String>,
}

/// Why terms do not fit an operation.
pub(crate) fn check(terms: &Terms, is_read: bool) -> Result<(), &'static str> {
    if !is_read && terms.level.is_some() {
        return Err("only a read has a `level`");
    }
    if is_read && terms.idempotency_key.is_some() {
        return Err("a read has no `idempotency_key`");
    }
    if (terms.level == Some(Level::Bounded)) != terms.bound_ms.is_some() {
        return Err("`bound_ms` is what a read at the level `bounded` needs, and no other has");
    }
    Ok(())
}

impl Op {
    /// The level asked for: of a change, [`Level::Strong`].
    pub fn level(&self) -> Level {
        self.terms.level.unwrap_or_default()
    }

    /// Whether it must have its place in one order in real time: a read that was asked strong and was not told that it is
    /// degraded, or a change that was not told to be kept less well.
    pub fn is_owed_strong(&self) -> bool {
        self.owes(Level::Strong)
    }

    /// Whether its answer must be at least of a level, as in [`Op::is_owed_strong`].
    pub(crate) fn owes(&self, level: Level) -> bool {
        let told = self.receipt.as_ref().and_then(|receipt| receipt.delivered);
        if !matches!(self.action, Action::Read { .. }) {
            return told.unwrap_or_default() <= level;
        }
        let degraded = self.receipt.as_ref().is_some_and(Receipt::is_degraded);
        self.level() <= level && (!degraded || told.is_none_or(|told| told <= level))
    }

    /// Whether it was told that it repeats what an earlier operation did, and so did nothing itself.
    pub fn is_repetition(&self) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.deduplicated == Some(true))
    }
}
