//! When a node that died is started again. Pure: deaths go in, decisions come out.

use std::time::Duration;

/// A process that lived at least this long was fine; its death begins a new count.
const LIVED_WELL: Duration = Duration::from_secs(5);
/// The first pause.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After so many failed starts in a row a node is left alone.
pub const FAILED_STARTS_MAX: u32 = 5;

/// How a process died, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// How long it lived.
    pub lived: Duration,
    /// Whether it had become ready.
    pub was_ready: bool,
    /// Whether it ended by itself, rather than by a signal.
    pub by_itself: bool,
}

/// What to do about a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it again after this pause.
    RestartAfter(Duration),
    /// Leave it alone.
    GiveUp,
}

/// Remembers one node's deaths.
#[derive(Debug, Default)]
pub struct Patience {
    early_deaths: u32,
    failed_starts: u32,
}

impl Patience {
    /// Takes note of a death and decides. Only a process that ends by itself before it is ready counts
    /// as a failed start: being killed, however often, is no reason to give up.
    pub fn on_death(&mut self, death: Death) -> Decision {
        self.early_deaths = if death.lived < LIVED_WELL { self.early_deaths + 1 } else { 0 };
        if death.was_ready || !death.by_itself {
            self.failed_starts = 0;
        } else {
            self.failed_starts += 1;
        }
        if self.failed_starts >= FAILED_STARTS_MAX {
            return Decision::GiveUp;
        }
        let doublings = self.early_deaths.saturating_sub(1).min(16);
        Decision::RestartAfter(PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(lived_s: u64, was_ready: bool, by_itself: bool) -> Death {
        Death { lived: Duration::from_secs(lived_s), was_ready, by_itself }
    }

    #[test]
    fn five_failed_starts_in_a_row_are_enough() {
        let mut patience = Patience::default();
        let decisions: Vec<_> = (0..5).map(|_| patience.on_death(death(0, false, true))).collect();
        let pauses = [100, 200, 400, 800].map(|ms| Decision::RestartAfter(Duration::from_millis(ms)));
        assert_eq!(decisions[..4], pauses);
        assert_eq!(decisions[4], Decision::GiveUp);
    }

    #[test]
    fn being_killed_is_never_a_reason_to_give_up() {
        let mut patience = Patience::default();
        for _ in 0..100 {
            let decision = patience.on_death(death(0, false, false));
            assert!(matches!(decision, Decision::RestartAfter(pause) if pause <= PAUSE_MAX));
        }
    }

    #[test]
    fn a_long_life_starts_a_new_count() {
        let mut patience = Patience::default();
        for _ in 0..4 {
            patience.on_death(death(0, true, false));
        }
        assert_eq!(patience.on_death(death(60, true, false)), Decision::RestartAfter(PAUSE_FIRST));
    }
}
