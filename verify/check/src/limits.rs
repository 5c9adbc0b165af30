//! How far a search goes: so many steps, and so much memory. What is not decided within them is unknown.

use std::fmt;

/// Most bytes of configurations that the search in one key's history remembers.
pub const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What remembering one configuration takes beside its own words: its place in a table, its allocation.
const OVERHEAD_BYTES: usize = 48;

/// What was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// More steps than the budget.
    Time,
    /// More configurations at once than [`MEMORY_BYTES_MAX`].
    Memory,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Time => "time",
            Limit::Memory => "memory",
        })
    }
}

/// Counts steps and bytes of one search.
#[derive(Clone, Debug)]
pub struct Meter {
    steps_left: u64,
    bytes: usize,
}

impl Meter {
    /// For at most `steps`.
    pub fn new(steps: u64) -> Meter {
        Meter { steps_left: steps, bytes: 0 }
    }

    /// One more step.
    pub fn step(&mut self) -> Result<(), Limit> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Limit::Time)?;
        if self.bytes > MEMORY_BYTES_MAX { Err(Limit::Memory) } else { Ok(()) }
    }

    /// How many steps are left.
    pub fn steps_left(&self) -> u64 {
        self.steps_left
    }

    /// A configuration of so many bytes is remembered.
    pub fn hold(&mut self, bytes: usize) {
        self.bytes += bytes + OVERHEAD_BYTES;
    }

    /// One is forgotten.
    pub fn release(&mut self, bytes: usize) {
        self.bytes -= bytes + OVERHEAD_BYTES;
    }
}
