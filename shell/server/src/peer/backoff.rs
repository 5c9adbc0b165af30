//! Waiting before the next dial: exponential, with full jitter, so that nodes that lost one peer at
//! the same moment do not return to it at the same moment.

use std::time::Duration;

use super::PeerTimeouts;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: random between nothing and a bound that doubles with each call.
    pub fn next(&mut self, timeouts: &PeerTimeouts) -> Duration {
        let bound = timeouts.backoff_min.saturating_mul(1 << self.failures.min(16)).min(timeouts.backoff_max);
        self.failures = self.failures.saturating_add(1);
        // Without randomness the longest wait is the safe one.
        getrandom::u32().map_or(bound, |random| bound.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }

    /// The connection held: start again from the shortest.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_again() {
        let timeouts = PeerTimeouts::default();
        let mut backoff = Backoff::default();
        for bound_ms in [50, 100, 200, 400, 800, 1_000, 1_000, 1_000] {
            assert!(backoff.next(&timeouts) <= Duration::from_millis(bound_ms));
        }
        let longest = (0..64).map(|_| backoff.next(&timeouts)).max().expect("64 waits");
        // Fails once in 2^64 runs.
        assert!(longest > Duration::from_millis(500), "spread over the whole bound: {longest:?}");
        backoff.reset();
        assert!(backoff.next(&timeouts) <= Duration::from_millis(50));
    }
}
