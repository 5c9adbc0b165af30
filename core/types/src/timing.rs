//! How fast a node's clocks run, and what follows from it for whoever waits.

use serde::{Deserialize, Serialize};

/// Speeds, in milliseconds and ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Length of one tick: a node's driver tells it of every one.
    pub tick_ms: u64,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u64,
    /// Ticks without a leader before a follower campaigns; randomized between this and twice this.
    pub election_ticks: u64,
    /// A request that has found no leader for this long is refused with `NO_QUORUM`, if its deadline
    /// is not sooner.
    pub no_quorum_after_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { tick_ms: 20, heartbeat_ticks: 3, election_ticks: 20, no_quorum_after_ms: 2_500 }
    }
}

/// Silence after which a forwarded read, or write under an idempotency key, is sent again, in milliseconds; twice as
/// long after each further try, so that a leader that is merely slow is not buried.
pub const FORWARD_SILENCE_MS: u64 = 1_000;

/// Two nodes that campaign at once share the votes, and wait anew: one time in twenty where messages are fast. The
/// slower they are (in eighths of the shortest wait, there and back), the more often: a node hears later that another
/// campaigns. So many waits leave fewer than one chance in 5,000 that all were shared.
const CAMPAIGNS: [(u64, u64); 5] = [(0, 3), (1, 6), (2, 8), (4, 13), (6, 22)];

impl Timing {
    /// No follower misses its leader before this.
    pub fn election_min_ms(&self) -> u64 {
        self.tick_ms.saturating_mul(self.election_ticks).max(1)
    }

    /// A follower that hears nothing campaigns, and a leader that hears from no majority steps down, within this.
    pub fn election_max_ms(&self) -> u64 {
        self.election_min_ms().saturating_mul(2)
    }

    /// The election bound: a majority whose members answer each other so much later than usual has a leader so
    /// long after the last one failed. `None`: their votes come too late to count on.
    pub fn elected_within_ms(&self, delay_ms: u64) -> Option<u64> {
        let eighths = delay_ms.saturating_mul(8).div_ceil(self.election_min_ms());
        let (_, campaigns) = CAMPAIGNS.into_iter().find(|(most, _)| eighths <= *most)?;
        Some(self.election_max_ms().saturating_mul(campaigns).saturating_add(3 * delay_ms))
    }

    /// Nodes that no leader can reach refuse within this from then on; those that have refused once, at once. A
    /// leader that hears from no majority is believed until it steps down by those that it still reaches.
    pub fn refused_within_ms(&self) -> u64 {
        self.election_max_ms().saturating_mul(2).saturating_add(self.no_quorum_after_ms)
    }

    /// How long a forwarded read takes at most whose every try would take so long: a late answer to an earlier try does
    /// not count.
    pub fn forwarded_within_ms(try_ms: u64) -> u64 {
        // A try that ends just in time may as well be late.
        const MARGIN_MS: u64 = 100;
        let (mut waited_ms, mut patience_ms) = (0, FORWARD_SILENCE_MS);
        while patience_ms <= try_ms + MARGIN_MS {
            waited_ms += patience_ms;
            patience_ms *= 2;
        }
        waited_ms + try_ms
    }
}
