//! Reads that a leader answers without asking anyone, while nobody else can lead.
//!
//! Guarantee G-READ-LEASE: when [`crate::RaftGroup::read_by_lease`] answers an index, no node led a later term at the moment
//! for which it was asked, provided that the monotonic clocks of two nodes differ in speed by no more than one part in
//! [`READ_LEASE_DRIFT`]. So everything that was acknowledged by then is at or below the index. The whole argument is in
//! `docs/internals/read-leases.md`.
//!
//! - A voter does not vote, nor campaign, for `vote_refusal_ms` of its own clock since it last heard from a leader of its term, and since it
//!   started: it may have answered a leader just before it stopped. It keeps that here: the engine forgets its leader at
//!   every higher term that it is told of, and counts in ticks, which may come in bursts.
//! - A leader counts its lease from when it *asked* a round that a quorum then answered in its term; every one of them heard from it after
//!   that. The lease ends sooner than the shortest refusal can.
//! - Handing leadership over makes another node campaign, and others vote, without that wait. From then on the
//!   leader has no lease in its term, also when nothing comes of it: the campaign may yet begin.

use std::collections::BTreeMap;

use types::limits::READ_LEASE_DRIFT;

/// A read that needs no round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedRead {
    /// The read is linearizable once the state machine has applied up to here.
    pub index: u64,
    /// For how much longer the lease holds, in milliseconds of this node's clock.
    pub left_ms: u64,
}

/// One node's part in the leases of a group, as voter and as leader.
#[derive(Debug)]
pub(crate) struct ReadLease {
    vote_refusal_ms: u64,
    /// No vote is given before.
    refuse_until_ms: u64,
    /// Whether a leader was heard since the start.
    has_heard: bool,
    /// The term of the fields below.
    term: u64,
    /// When rounds that are not confirmed were asked; both rise.
    asked: BTreeMap<u64, u64>,
    /// When the last one that a quorum confirmed was asked.
    confirmed_ms: Option<u64>,
    /// Leadership is, or was, being handed over.
    handed_over: bool,
    #[cfg(feature = "planted")]
    planted: Option<crate::Planted>,
    /// When a message last came.
    #[cfg(feature = "planted")]
    came_ms: u64,
}

impl ReadLease {
    /// `newborn`: it never had anything on its disk, and so never answered a leader.
    pub fn new(vote_refusal_ms: u64, now_ms: u64, newborn: bool) -> ReadLease {
        ReadLease {
            vote_refusal_ms,
            refuse_until_ms: if newborn { 0 } else { now_ms.saturating_add(vote_refusal_ms) },
            has_heard: false,
            term: 0,
            asked: BTreeMap::new(),
            confirmed_ms: None,
            handed_over: false,
            #[cfg(feature = "planted")]
            planted: None,
            #[cfg(feature = "planted")]
            came_ms: 0,
        }
    }

    /// The same with a bug.
    #[cfg(feature = "planted")]
    pub fn with(mut self, planted: Option<crate::Planted>) -> ReadLease {
        if planted == Some(crate::Planted::StartedVotesAtOnce) {
            self.refuse_until_ms = 0;
        }
        self.planted = planted;
        self
    }

    /// A message comes.
    #[cfg(feature = "planted")]
    pub fn came(&mut self, now_ms: u64) {
        self.came_ms = now_ms;
    }

    /// How long a lease lasts from when its round was asked. A voter that heard from the leader after that, on a clock that
    /// may be one part in [`READ_LEASE_DRIFT`] faster, refuses for longer; the millisecond is what it may have rounded away.
    pub fn lasts_ms(&self) -> u64 {
        #[cfg(feature = "planted")]
        if self.planted == Some(crate::Planted::LeaseOutlastsRefusal) {
            return 2 * self.vote_refusal_ms;
        }
        let surely_ms = self.vote_refusal_ms.saturating_sub(1);
        surely_ms - surely_ms.div_ceil(READ_LEASE_DRIFT)
    }

    /// A leader of this node's term said something.
    pub fn heard(&mut self, now_ms: u64) {
        self.has_heard = true;
        self.refuse_until_ms = self.refuse_until_ms.max(now_ms.saturating_add(self.vote_refusal_ms));
    }

    /// Whether one did since this node started.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Whether this node must neither vote nor campaign now.
    pub fn refuses_votes(&self, now_ms: u64) -> bool {
        #[cfg(feature = "planted")]
        if self.planted == Some(crate::Planted::VotesNotRefused) {
            return false;
        }
        now_ms < self.refuse_until_ms
    }

    /// This node leads in this term, and asks a round now.
    pub fn ask(&mut self, term: u64, round: u64, now_ms: u64) {
        self.enter(term);
        self.asked.insert(round, now_ms);
    }

    /// A quorum confirmed a round, and so every round before it.
    pub fn confirm(&mut self, round: u64) {
        let later = self.asked.split_off(&(round + 1));
        let confirmed = std::mem::replace(&mut self.asked, later);
        if let Some(asked_ms) = confirmed.get(&round) {
            #[cfg(feature = "planted")]
            let asked_ms = match self.planted {
                Some(crate::Planted::LeaseFromConfirmation) => &self.came_ms,
                _ => asked_ms,
            };
            self.confirmed_ms = self.confirmed_ms.max(Some(*asked_ms));
        }
    }

    /// This node, leading in this term, is handing leadership over.
    pub fn hand_over(&mut self, term: u64) {
        self.enter(term);
        self.handed_over = true;
    }

    /// Whether it does, or did, in this term or a later one.
    pub fn handed_over(&self, term: u64) -> bool {
        self.term > term || (self.term == term && self.handed_over)
    }

    /// For how much longer this node, leading in this term, has a lease; `None` when it has none.
    pub fn left_ms(&self, term: u64, now_ms: u64) -> Option<u64> {
        let handed_over = self.handed_over;
        #[cfg(feature = "planted")]
        let handed_over = handed_over && self.planted != Some(crate::Planted::LeaseOutlivesHandOver);
        let confirmed_ms = self.confirmed_ms.filter(|_| self.term == term && !handed_over)?;
        confirmed_ms.saturating_add(self.lasts_ms()).checked_sub(now_ms).filter(|left_ms| *left_ms > 0)
    }

    fn enter(&mut self, term: u64) {
        assert!(term >= self.term, "terms rise");
        if term > self.term {
            self.term = term;
            self.asked.clear();
            self.confirmed_ms = None;
            self.handed_over = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_question() {
        let mut lease = ReadLease::new(360, 0, true);
        assert_eq!(lease.lasts_ms(), 323);
        lease.ask(4, 1, 1_000);
        assert_eq!(lease.left_ms(4, 1_001), None, "nobody has answered");
        lease.confirm(1);
        assert_eq!(lease.left_ms(4, 1_322), Some(1));
        assert_eq!(lease.left_ms(4, 1_323), None);
    }

    #[test]
    fn a_late_answer_takes_nothing_away_and_adds_nothing() {
        let mut lease = ReadLease::new(360, 0, true);
        lease.ask(4, 1, 1_000);
        lease.ask(4, 2, 1_100);
        lease.confirm(2);
        lease.confirm(1);
        assert_eq!(lease.left_ms(4, 1_100), Some(323));
    }

    #[test]
    fn another_term_begins_without_a_lease() {
        let mut lease = ReadLease::new(360, 0, true);
        lease.ask(4, 1, 1_000);
        lease.confirm(1);
        assert_eq!(lease.left_ms(5, 1_001), None);
        lease.ask(5, 2, 1_002);
        lease.confirm(1);
        assert_eq!(lease.left_ms(5, 1_003), None, "an answer to the round of an earlier term");
    }

    #[test]
    fn handing_over_ends_the_leases_of_a_term() {
        let mut lease = ReadLease::new(360, 0, true);
        lease.ask(4, 1, 1_000);
        lease.ask(4, 2, 1_001);
        lease.confirm(1);
        lease.hand_over(4);
        assert_eq!(lease.left_ms(4, 1_002), None);
        lease.confirm(2);
        assert_eq!(lease.left_ms(4, 1_003), None);
        assert!(lease.handed_over(4) && lease.handed_over(3) && !lease.handed_over(5));
        lease.ask(5, 3, 1_004);
        lease.confirm(3);
        assert!(lease.left_ms(5, 1_005).is_some(), "the next term is another");
    }

    #[test]
    fn a_voter_refuses_since_it_started_and_since_it_heard() {
        let mut lease = ReadLease::new(360, 1_000, false);
        assert!(lease.refuses_votes(1_359) && !lease.refuses_votes(1_360));
        lease.heard(1_500);
        assert!(lease.refuses_votes(1_859) && !lease.refuses_votes(1_860));
        assert!(!ReadLease::new(360, 1_000, true).refuses_votes(1_000));
    }

    /// The slowest leader's lease ends, in true time, before the fastest voter's refusal.
    #[test]
    fn within_the_bound_no_clock_makes_a_lease_outlive_a_refusal() {
        for vote_refusal_ms in [2, 10, 80, 360, 1_000, 59_999] {
            let lease = ReadLease::new(vote_refusal_ms, 0, true);
            // In parts of the slow clock's rate: the fast one runs `drift` while the slow one runs `drift - 1`.
            let lease_true = lease.lasts_ms() * READ_LEASE_DRIFT;
            let refusal_true = (vote_refusal_ms - 1) * (READ_LEASE_DRIFT - 1);
            assert!(lease_true <= refusal_true, "{vote_refusal_ms}: {lease_true} and {refusal_true}");
        }
    }
}
