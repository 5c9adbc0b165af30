//! Time as an argument. The core never reads a clock: whoever drives it says what time it is.

/// What the driver's clocks say as it calls the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic milliseconds since an arbitrary start of this process. Never goes back.
    /// Deadlines and timers are on this clock.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch. May jump either way; shown to people, never decided on.
    pub wall_ms: u64,
}
