//! The process's clocks, read here and handed to the core as arguments.
//!
//! The monotonic one goes on while the machine sleeps, where the operating system has such a clock: a leader that slept
//! must not find its lease as it left it. `Instant` stands still then on Linux.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use types::Now;

/// Counts from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the monotonic clock said then.
    start: Duration,
}

impl Clock {
    /// Starts the monotonic clock at 0.
    pub fn start() -> Clock {
        Clock { start: monotonic() }
    }

    /// What both clocks say.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.mono_ms(), wall_ms: since_epoch.as_millis() as u64 }
    }

    /// Milliseconds since the start.
    pub fn mono_ms(&self) -> u64 {
        monotonic().saturating_sub(self.start).as_millis() as u64
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Since the first time that it was asked.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn monotonic() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
