//! How old a replica's state is, proved and never guessed.
//!
//! Guarantee G-STALENESS: when [`Freshness::staleness_ms`] answers `n`, everything that was committed up to
//! `n` milliseconds ago is in the replica's state, by any clock that runs within one part in
//! [`DRIFT`] of this node's.
//!
//! A proof is a round trip that this node began: at a time of its own monotonic clock it asked the leader,
//! which, having confirmed with a majority that it leads (thesis 6.4), answered from a state that reached an
//! index. All that was committed before the question is then at or below the index. When messages of a leader
//! arrived proves nothing: they may have been on their way for any time.

use std::collections::VecDeque;

/// Monotonic clocks of two machines differ in speed by less than one part in this many: real ones by less
/// than one in 5,000.
pub const DRIFT: u64 = 64;
/// Proofs kept: the newest whose index this replica has reached, and of those that it has not, ever fewer the
/// older they are. However far behind it is, it so keeps some that it reaches next.
const PROOFS_MAX: usize = 32;
/// Age of the newest proof at which another is worth asking for, in milliseconds, while stale reads are
/// served.
pub const PROOF_EVERY_MS: u64 = 200;

/// What one replica knows of its age.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    /// Index, and when the question that it answers was asked; both rise.
    proofs: VecDeque<(u64, u64)>,
    /// When this node last asked for a proof alone.
    asked_ms: Option<u64>,
}

impl Freshness {
    /// A question asked at this time was answered from a state of at least this index; this replica's is at
    /// `applied`.
    pub fn prove(&mut self, index: u64, asked_ms: u64, applied: u64) {
        if self.proofs.back().is_some_and(|(_, newest_ms)| *newest_ms >= asked_ms) {
            return;
        }
        // An answer to a later question can be of an earlier index only by a leader's fault; the greater holds.
        let index = self.proofs.back().map_or(index, |(highest, _)| index.max(*highest));
        self.proofs.push_back((index, asked_ms));
        let reached = self.proofs.iter().take_while(|(index, _)| *index <= applied).count();
        self.proofs.drain(..reached.saturating_sub(1));
        if self.proofs.len() > PROOFS_MAX {
            // The first stays, which may be the only one reached, and the newest, which later ones must exceed.
            let newest = self.proofs.len() - 1;
            let mut at = 0..;
            self.proofs.retain(|_| at.next().is_some_and(|at| at % 2 == 0 || at == newest));
        }
    }

    /// An upper bound of the age of the state at this index, in milliseconds; `None` when nothing is proved.
    pub fn staleness_ms(&self, applied: u64, now_ms: u64) -> Option<u64> {
        let (_, asked_ms) = self.proofs.iter().rev().find(|(index, _)| *index <= applied)?;
        let elapsed_ms = now_ms.saturating_sub(*asked_ms);
        Some(elapsed_ms + elapsed_ms.div_ceil(DRIFT) + 1)
    }

    /// Whether to ask for a proof now; then it counts as asked.
    pub fn should_ask(&mut self, now_ms: u64) -> bool {
        let newest_ms = self.proofs.back().map(|(_, asked_ms)| *asked_ms);
        let recent = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| now_ms < at_ms + PROOF_EVERY_MS);
        if recent(newest_ms) || recent(self.asked_ms) {
            return false;
        }
        self.asked_ms = Some(now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_as_old_as_the_question_that_it_answers() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.staleness_ms(100, 5_000), None);
        freshness.prove(10, 1_000, 9);
        freshness.prove(20, 3_000, 9);
        assert_eq!(freshness.staleness_ms(9, 3_640), None, "it has not reached what was proved");
        assert_eq!(freshness.staleness_ms(19, 1_640), Some(640 + 10 + 1));
        assert_eq!(freshness.staleness_ms(20, 3_640), Some(640 + 10 + 1));
        freshness.prove(30, 2_000, 20);
        assert_eq!(freshness.staleness_ms(20, 3_640), Some(651), "a late answer to an early question");
        freshness.prove(5, 4_000, 19);
        assert_eq!(freshness.staleness_ms(19, 4_000), Some(3_000 + 47 + 1), "an index never falls");
    }

    /// A strong read passed on every millisecond proves more than this replica can have applied; cut off then, it
    /// still knows how old the state is that it has.
    #[test]
    fn a_replica_that_lags_behind_its_proofs_keeps_the_one_that_it_has_reached() {
        let mut freshness = Freshness::default();
        freshness.prove(100, 1_000, 100);
        for ms in 1..=1_000_u64 {
            let applied = 100 + ms.saturating_sub(50);
            freshness.prove(100 + ms, 1_000 + ms, applied);
            assert!(freshness.proofs.len() <= PROOFS_MAX);
            let staleness_ms = freshness.staleness_ms(applied, 1_000 + ms).expect("it has reached a proof");
            assert!((50.min(ms)..=200).contains(&staleness_ms), "{staleness_ms} ms at {ms} ms");
        }
    }

    #[test]
    fn proofs_are_asked_for_now_and_then() {
        let mut freshness = Freshness::default();
        assert!(freshness.should_ask(1_000));
        assert!(!freshness.should_ask(1_199));
        assert!(freshness.should_ask(1_200));
        freshness.prove(1, 1_300, 1);
        assert!(!freshness.should_ask(1_450));
        assert!(freshness.should_ask(1_500));
    }
}
