//! Time since the run began. Everything that is recorded or drawn counts from here.

use std::time::Duration;

use tokio::time::Instant;

/// Begins with the run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// In microseconds, as histories have it.
    pub fn us(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// In milliseconds, as the report has it.
    pub fn ms(&self) -> u64 {
        self.us() / 1000
    }
}
