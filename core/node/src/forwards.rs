//! Carries out each forwarded request at most once, though the network may repeat it.
//!
//! Every try has a number of its own, and a node remembers which numbers it has taken or refused. A
//! copy is dropped without an answer, whatever has become of the leadership meanwhile: a refusal
//! would say that nothing happened, while the first copy may be in the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use types::NodeId;

/// Requests of one boot of one peer that are remembered exactly; older numbers count as seen.
const WINDOW: u64 = 65_536;
/// Boots remembered per peer: a copy that is still under way after its sender started this many
/// times more is beyond any real network's delay.
const BOOTS_MAX: usize = 8;

/// What one group on this node has seen since it started.
#[derive(Debug, Default)]
pub(crate) struct ForwardsSeen {
    peers: BTreeMap<NodeId, VecDeque<Boot>>,
}

#[derive(Debug)]
struct Boot {
    boot: u64,
    highest: u64,
    recent: BTreeSet<u64>,
}

impl ForwardsSeen {
    /// Whether this request is new. One that is not must be dropped without an answer: the first
    /// copy's answer is the true one.
    pub(crate) fn first_time(&mut self, from: NodeId, boot: u64, id: u64) -> bool {
        let boots = self.peers.entry(from).or_default();
        if !boots.iter().any(|known| known.boot == boot) {
            if boots.len() == BOOTS_MAX {
                boots.pop_front();
            }
            boots.push_back(Boot { boot, highest: 0, recent: BTreeSet::new() });
        }
        let known = boots.iter_mut().find(|known| known.boot == boot).expect("it was just put there");
        let below_window = |id: u64| known.highest.checked_sub(WINDOW).is_some_and(|floor| id <= floor);
        if below_window(id) || !known.recent.insert(id) {
            return false;
        }
        known.highest = known.highest.max(id);
        let floor = known.highest.saturating_sub(WINDOW);
        while known.recent.first().is_some_and(|oldest| *oldest < floor) {
            known.recent.pop_first();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_carried_out_again() {
        let mut seen = ForwardsSeen::default();
        assert!(seen.first_time(NodeId(1), 7, 1));
        assert!(!seen.first_time(NodeId(1), 7, 1));
        assert!(seen.first_time(NodeId(2), 7, 1), "another sender's number");
        assert!(seen.first_time(NodeId(1), 8, 1), "another boot's number");
        assert!(!seen.first_time(NodeId(1), 7, 1), "a copy from the boot before");
    }

    #[test]
    fn numbers_below_the_window_count_as_seen() {
        let mut seen = ForwardsSeen::default();
        assert!(seen.first_time(NodeId(1), 1, WINDOW + 10));
        assert!(!seen.first_time(NodeId(1), 1, 10));
        assert!(seen.first_time(NodeId(1), 1, 11));
    }

    #[test]
    fn no_number_overflows() {
        let mut seen = ForwardsSeen::default();
        assert!(seen.first_time(NodeId(1), 1, u64::MAX));
        assert!(!seen.first_time(NodeId(1), 1, u64::MAX));
        assert!(!seen.first_time(NodeId(1), 1, 1));
    }
}
