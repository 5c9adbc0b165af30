//! The time of leases, which only a leader counts.
//!
//! Guarantee G-LEASE: a lease lives at least its time to live from when its last acknowledged grant or keep-alive
//! was *sent*, whatever leaders change and wall clocks do, provided that monotonic clocks run at the same speed:
//! a client that counts on a lease allows for the difference of its clock and the leader's (see
//! `docs/concepts/leases-and-locks.md`). One that nobody renews ends soon after.
//!
//! - Time is counted on the leader's monotonic clock alone, and a deadline is only ever set anew, never taken
//!   from another node. A leader that has applied the first entry of its term, and so all that leaders before it
//!   committed, gives every lease its whole time from that moment: it cannot know what they promised, and it was
//!   no more than that.
//! - A keep-alive is acknowledged once a ReadIndex round confirmed this leader, and counts from when the round was
//!   *asked*, which is after it was sent. A majority answered the round in this term after it was asked; so no
//!   later term had a leader by then, and the whole time that a later leader gives begins after it. A leader that
//!   is deposed, or stands still, gets no confirmation, and acknowledges nothing.
//! - When the time is up the leader proposes an entry that says so. From then on it acknowledges no keep-alive of
//!   the lease: they wait until the entry is applied, or until another leader may decide.
//! - An expiry cannot hit a lease that a later leader renewed. Proposed in term T, it is in the log before the first
//!   entry of the next term that commits, or it never commits (Raft paper, 5.4.2: a leader appends in its own term
//!   alone, and terms do not go back along the log). A later leader acknowledges keep-alives only after it has
//!   applied its own first entry, and with it the expiry: it then knows no such lease. Applying checks the term
//!   once more, and that the lease is of the grant that was meant, not one that has its id by now.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{
    Command, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LeaseRecord, Query, QueryAnswer,
    codec::encode_command, lease::leases,
};
use storage::{ReadRows, StoreError};
use types::{LeaseId, Now, Role};

use crate::{group::Group, node::Node};

/// Most leases ended by one proposal: each may remove many keys.
const EXPIRE_BATCH_MAX: usize = 32;

/// A lease's time.
#[derive(Clone, Copy, Debug)]
struct Timed {
    ttl_ms: u64,
    granted: u64,
    /// On this node's monotonic clock.
    ends_ms: u64,
    /// The entry that ends it is proposed.
    expiring: bool,
}

/// What a keep-alive comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It lives so long from when the request was sent.
    Alive(u64),
    /// Its end is on its way.
    Ending,
    /// There is no such lease.
    Unknown,
}

/// The leases of one group at its leader; empty elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// The term that this node leads in and whose first entry it has applied.
    term: Option<u64>,
    timed: BTreeMap<LeaseId, Timed>,
    /// Those whose end is not proposed, by it.
    ends: BTreeSet<(u64, LeaseId)>,
    /// Keep-alives of leases whose end is proposed.
    held: Vec<(LeaseId, u64)>,
}

impl Leases {
    /// Whether this node counts the time in this term.
    pub(crate) fn counts_in(&self, term: u64) -> bool {
        self.term == Some(term)
    }

    /// Whether it knows the time of a lease.
    #[cfg(feature = "planted")]
    pub(crate) fn knows(&self, id: LeaseId) -> bool {
        self.timed.contains_key(&id)
    }

    /// This node leads no more: it forgets all. Answers the keep-alives that were held.
    pub(crate) fn clear(&mut self) -> Vec<u64> {
        std::mem::take(self).held.into_iter().map(|(_, request)| request).collect()
    }

    /// This node leads: every lease has its whole time from now.
    fn begin(&mut self, term: u64, now_ms: u64, found: Vec<(LeaseId, LeaseRecord)>) {
        self.term = Some(term);
        for (id, record) in found {
            types::mark!("lease_renewed_by_new_leader");
            self.insert(id, record.ttl_ms, record.granted, now_ms);
        }
    }

    fn insert(&mut self, id: LeaseId, ttl_ms: u64, granted: u64, now_ms: u64) {
        self.remove(id);
        let ends_ms = now_ms.saturating_add(ttl_ms);
        self.timed.insert(id, Timed { ttl_ms, granted, ends_ms, expiring: false });
        self.ends.insert((ends_ms, id));
    }

    fn remove(&mut self, id: LeaseId) {
        if let Some(timed) = self.timed.remove(&id) {
            self.ends.remove(&(timed.ends_ms, id));
        }
    }

    /// An entry that concerns leases was applied. Answers the keep-alives that need wait no more.
    pub(crate) fn applied(&mut self, now_ms: u64, outcome: &LeaseOutcome) -> Vec<u64> {
        if self.term.is_none() {
            return Vec::new();
        }
        match *outcome {
            LeaseOutcome::Granted { id, ttl_ms, granted, .. } => self.insert(id, ttl_ms, granted, now_ms),
            LeaseOutcome::Ended { id, .. } => self.remove(id),
            _ => return Vec::new(),
        }
        let ended = |id: &LeaseId| !self.timed.get(id).is_some_and(|timed| timed.expiring);
        let free = self.held.extract_if(.., |(id, _)| ended(id));
        free.map(|(_, request)| request).collect()
    }

    /// A round that was asked then has confirmed this leader.
    pub(crate) fn keep_alive(&mut self, id: LeaseId, asked_ms: u64) -> Kept {
        let Some(timed) = self.timed.get_mut(&id) else { return Kept::Unknown };
        if timed.expiring {
            types::mark!("keep_alive_of_ending_lease");
            return Kept::Ending;
        }
        let ends_ms = asked_ms.saturating_add(timed.ttl_ms);
        if ends_ms > timed.ends_ms {
            self.ends.remove(&(timed.ends_ms, id));
            timed.ends_ms = ends_ms;
            self.ends.insert((ends_ms, id));
        }
        Kept::Alive(timed.ttl_ms)
    }

    /// Keeps a keep-alive waiting for the end of its lease.
    pub(crate) fn hold(&mut self, id: LeaseId, request: u64) {
        self.held.push((id, request));
    }

    /// Forgets the held keep-alives that no longer wait.
    fn keep(&mut self, waits: impl Fn(u64) -> bool) {
        self.held.retain(|(_, request)| waits(*request));
    }

    /// How long a lease lives at least; 0 when its end is on its way.
    pub(crate) fn remaining_ms(&self, id: LeaseId, now_ms: u64) -> Option<u64> {
        let timed = self.timed.get(&id)?;
        Some(if timed.expiring { 0 } else { timed.ends_ms.saturating_sub(now_ms) })
    }

    /// Leases whose time is up, with their grants: the first of them.
    pub(crate) fn due(&self, now_ms: u64) -> Vec<(LeaseId, u64)> {
        let due = self.ends.iter().take_while(|(ends_ms, _)| *ends_ms <= now_ms).take(EXPIRE_BATCH_MAX);
        due.map(|(_, id)| (*id, self.timed[id].granted)).collect()
    }

    /// The end of a lease is proposed.
    pub(crate) fn expiring(&mut self, id: LeaseId) {
        if let Some(timed) = self.timed.get_mut(&id) {
            timed.expiring = true;
            self.ends.remove(&(timed.ends_ms, id));
        }
    }
}

/// Puts into an answer what only a leader knows, and carries out a keep-alive of a round that was asked then.
/// Answers the lease whose end the request must wait for instead, if there is one.
pub(crate) fn tell_time(
    leases: &mut Leases,
    now: Now,
    asked_ms: u64,
    query: &Query,
    answer: &mut QueryAnswer,
) -> Option<LeaseId> {
    let Query::Lease(query) = query else { return None };
    let QueryAnswer::Lease(LeaseAnswer::Lease { remaining_ms, .. }) = answer else { return None };
    match query {
        LeaseQuery::KeepAlive { id } => match leases.keep_alive(*id, asked_ms) {
            Kept::Alive(ttl_ms) => *remaining_ms = Some(ttl_ms),
            Kept::Ending => return Some(*id),
            Kept::Unknown => {}
        },
        LeaseQuery::Show { id } => *remaining_ms = leases.remaining_ms(*id, now.mono_ms),
        _ => {}
    }
    None
}

impl Node {
    /// Begins to count the time of leases where this node has come to lead, and ends those whose time is up.
    pub(crate) fn count_leases(&mut self, now: Now, group: &mut Group) -> Result<(), StoreError> {
        let term = group.raft.term();
        #[cfg(feature = "planted")]
        let now = self.planted_clock(now);
        if group.raft.role() != Role::Leader {
            #[cfg(feature = "planted")]
            if self.planted_revoke(now, group) {
                return Ok(());
            }
            self.forget_leases(group);
            return Ok(());
        }
        if !group.leases.counts_in(term) {
            self.forget_leases(group);
            // Its own first entry, or a later one: it has applied all that was committed before it led.
            if self.store.state(group.id).applied_term == term {
                let mut found = Vec::new();
                leases(&self.store, group.id, None, &mut |id, record| {
                    found.push((id, record));
                    true
                })?;
                #[cfg(feature = "planted")]
                let (now, found) = self.planted_leases(now, &group.leases, found);
                group.leases.begin(term, now.mono_ms, found);
            }
        }
        group.leases.keep(|id| self.requests.get(id).is_some());
        self.end_leases(now, group, term);
        Ok(())
    }

    fn end_leases(&mut self, now: Now, group: &mut Group, term: u64) {
        let overlay_full = self.store.overlay_bytes() >= 2 * self.config.limits.overlay_bytes;
        let due = group.leases.due(now.mono_ms);
        if due.is_empty() || overlay_full || !self.entries_accepted {
            return;
        }
        let expire = |(id, granted): &(LeaseId, u64)| {
            let (id, granted) = (*id, *granted);
            encode_command(&Command::Lease(LeaseCommand::Expire { id, granted, term })).into()
        };
        // If it is refused, the next poll tries again: the leases live a little longer.
        if group.raft.propose(due.iter().map(expire).collect()).is_ok() {
            due.iter().for_each(|(id, _)| group.leases.expiring(*id));
        }
    }

    fn forget_leases(&mut self, group: &mut Group) {
        #[cfg(feature = "planted")]
        if self.config.planted == Some(raft_group::Planted::LeasesOfOldTerm) {
            return;
        }
        for id in group.leases.clear() {
            self.requests.retry(id, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LeaseId = LeaseId(10);
    const B: LeaseId = LeaseId(11);

    fn record(ttl_ms: u64) -> LeaseRecord {
        LeaseRecord { ttl_ms, keys: 0, granted: 3 }
    }

    fn ended(id: LeaseId) -> LeaseOutcome {
        LeaseOutcome::Ended { revision: 1, id, keys: 0 }
    }

    #[test]
    fn a_new_leader_gives_every_lease_its_whole_time() {
        let mut leases = Leases::default();
        leases.begin(4, 1_000, vec![(A, record(500)), (B, record(2_000))]);
        assert!(leases.counts_in(4) && !leases.counts_in(5));
        assert_eq!(leases.due(1_499), []);
        assert_eq!(leases.due(1_500), [(A, 3)]);
        assert_eq!(leases.remaining_ms(B, 1_500), Some(1_500));
    }

    #[test]
    fn a_keep_alive_counts_from_when_it_was_asked() {
        let mut leases = Leases::default();
        leases.begin(4, 0, vec![(A, record(500))]);
        assert_eq!(leases.keep_alive(A, 300), Kept::Alive(500));
        assert_eq!(leases.due(799), []);
        assert_eq!(leases.due(800), [(A, 3)]);
        // Rounds may end in another order than they were asked in: none takes time away.
        assert_eq!(leases.keep_alive(A, 200), Kept::Alive(500));
        assert_eq!(leases.due(799), []);
        assert_eq!(leases.keep_alive(B, 300), Kept::Unknown);
    }

    #[test]
    fn from_its_end_on_no_keep_alive_counts() {
        let mut leases = Leases::default();
        leases.begin(4, 0, vec![(A, record(500)), (B, record(500))]);
        leases.expiring(A);
        assert_eq!(leases.keep_alive(A, 499), Kept::Ending);
        assert_eq!(leases.remaining_ms(A, 100), Some(0));
        leases.hold(A, 7);
        assert_eq!(leases.due(600), [(B, 3)]);
        assert_eq!(leases.applied(510, &ended(B)), [0_u64; 0]);
        assert_eq!(leases.applied(510, &ended(A)), [7]);
        assert_eq!(leases.keep_alive(A, 499), Kept::Unknown);
    }

    #[test]
    fn a_lease_that_is_granted_anew_is_another() {
        let mut leases = Leases::default();
        leases.begin(4, 0, vec![(A, record(500))]);
        leases.expiring(A);
        leases.hold(A, 7);
        let granted = LeaseOutcome::Granted { revision: 1, id: A, ttl_ms: 300, granted: 9 };
        assert_eq!(leases.applied(600, &granted), [7]);
        assert_eq!(leases.due(900), [(A, 9)]);
        assert_eq!(leases.keep_alive(A, 700), Kept::Alive(300));
    }

    #[test]
    fn who_leads_no_more_forgets_all() {
        let mut leases = Leases::default();
        leases.begin(4, 0, vec![(A, record(500))]);
        leases.expiring(A);
        leases.hold(A, 7);
        assert_eq!(leases.clear(), [7]);
        assert!(!leases.counts_in(4));
        assert_eq!(leases.due(u64::MAX), []);
        assert_eq!(
            leases.applied(0, &LeaseOutcome::Granted { revision: 1, id: B, ttl_ms: 1, granted: 1 }),
            [0_u64; 0]
        );
        assert_eq!(leases.keep_alive(B, 0), Kept::Unknown);
    }
}
