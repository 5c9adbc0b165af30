//! How far replicas are behind their leader in time: when each of the newest entries entered its log.

use std::collections::VecDeque;

use types::Role;

/// Moments kept. With one for every 20 ms in which something was written, a lag of 20 s is still exact.
const MOMENTS_MAX: usize = 1_024;
/// Entries of this long share a moment.
const MOMENT_MS: u64 = 20;

/// Entered the leader's log: up to this index, by this time.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// Last index and when it was first seen; both rise.
    moments: VecDeque<(u64, u64)>,
}

impl Appended {
    /// The leader's log ends here now.
    pub fn note(&mut self, role: Role, last_index: u64, now_ms: u64) {
        if role != Role::Leader {
            self.moments.clear();
            return;
        }
        match self.moments.back_mut() {
            Some((index, _)) if *index >= last_index => return,
            Some((index, at_ms)) if now_ms < *at_ms + MOMENT_MS => {
                *index = last_index;
                return;
            }
            _ => self.moments.push_back((last_index, now_ms)),
        }
        if self.moments.len() > MOMENTS_MAX {
            self.moments.pop_front();
        }
    }

    /// For how long a replica that holds everything up to `matched`, and no more, has lacked what comes next; at
    /// least so long, if the leader has led for less or kept no older moment. 0 when it lacks nothing.
    pub fn lag_ms(&self, matched: u64, last_index: u64, now_ms: u64) -> u64 {
        if matched >= last_index {
            return 0;
        }
        let lacked = self.moments.iter().find(|(index, _)| *index > matched);
        lacked.map_or(0, |(_, at_ms)| now_ms.saturating_sub(*at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_lags_since_the_first_entry_that_it_lacks() {
        let mut appended = Appended::default();
        for (index, at_ms) in [(5, 1_000), (6, 1_010), (9, 1_100), (9, 1_150), (12, 1_200)] {
            appended.note(Role::Leader, index, at_ms);
        }
        assert_eq!(appended.lag_ms(12, 12, 1_300), 0);
        assert_eq!(appended.lag_ms(11, 12, 1_300), 100);
        assert_eq!(appended.lag_ms(6, 12, 1_300), 200);
        assert_eq!(appended.lag_ms(5, 12, 1_300), 300, "entries of one moment are as old as its first");
        assert_eq!(appended.lag_ms(0, 12, 1_300), 300);
        appended.note(Role::Follower, 12, 1_300);
        assert_eq!(appended.lag_ms(0, 12, 1_300), 0, "only a leader knows");
    }
}
