//! How fast and how often: every request of every client, by the second in which it ended.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::clock::Clock;

/// Most seconds that are kept apart; later ones count as the last.
const SECONDS_MAX: usize = 24 * 60 * 60;
/// Latencies that are kept of a second; beyond that every one replaces another by chance.
const LATENCIES_MAX: usize = 2_000;

/// What happened in one second.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// Latencies of what was done, in microseconds.
    pub latencies_us: Vec<u32>,
    /// How much was done.
    pub done: u32,
    /// Refusals and unknown outcomes, by code.
    pub troubles: BTreeMap<String, u32>,
}

impl Second {
    /// The latency that so many of a thousand stay below, in microseconds.
    pub fn quantile_us(&self, per_mille: usize) -> Option<u32> {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(sorted[(sorted.len() * per_mille / 1000).min(last)])
    }
}

/// All seconds.
#[derive(Debug)]
pub struct Measure {
    clock: Clock,
    seconds: Mutex<Vec<Second>>,
}

impl Measure {
    /// Nothing yet.
    pub fn new(clock: Clock) -> Measure {
        Measure { clock, seconds: Mutex::default() }
    }

    /// A request ended, with a code if it was not done.
    pub fn note(&self, took: Duration, trouble: Option<&str>) {
        let second = usize::try_from(self.clock.ms() / 1000).unwrap_or(SECONDS_MAX).min(SECONDS_MAX - 1);
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() <= second {
            seconds.resize_with(second + 1, Second::default);
        }
        let at = &mut seconds[second];
        if let Some(code) = trouble {
            *at.troubles.entry(code.to_owned()).or_default() += 1;
            return;
        }
        at.done += 1;
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if at.latencies_us.len() < LATENCIES_MAX {
            at.latencies_us.push(us);
        } else {
            let place = fastrand::usize(0..at.done as usize);
            if let Some(kept) = at.latencies_us.get_mut(place) {
                *kept = us;
            }
        }
    }

    /// All seconds so far.
    pub fn seconds(&self) -> Vec<Second> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_done() {
        let second = Second { latencies_us: (1..=100).rev().collect(), ..Second::default() };
        assert_eq!((second.quantile_us(500), second.quantile_us(990)), (Some(51), Some(100)));
        assert_eq!(Second::default().quantile_us(500), None);
    }
}
