//! The process's clocks, read here and handed to the core as arguments.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use types::Now;

/// Counts from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic clock at 0.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// What both clocks say.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.mono_ms(), wall_ms: since_epoch.as_millis() as u64 }
    }

    /// Milliseconds since the start.
    pub fn mono_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
