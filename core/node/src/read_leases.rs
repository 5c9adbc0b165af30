//! Strong reads that a leader answers by its lease, in keyspaces whose contract says `lease_reads = true`.
//!
//! Guarantee G-READ-LEASE of `raft_group::read_lease`, and here: a read is answered by a lease only if it came before the
//! moment at which the lease was looked at, and from a state that has reached the index of that moment. Its receipt says
//! so. What counts the time of leases and locks always asks a majority.
//!
//! A lease is renewed by a round like any other, which a read asks for that finds less than half of it left: who reads
//! often enough never waits for one, and a keyspace that nobody reads has no lease and costs nothing.

use keyspace::Query;
use storage::ReadRows;
use types::{Acks, Now, ReadLease, Role, limits::READ_LEASE_DRIFT};

use crate::{
    api::{Op, ReplyBody},
    group::{Confirmed, Group},
    node::Node,
    pump::Backing,
};

/// With less left of a lease, in milliseconds, a read asks for the next.
const RENEW_LEFT_MS: u64 = 200;

impl Node {
    /// Takes the reads that the lease allows out of those that wait for a round.
    pub(crate) fn read_by_lease(&mut self, now: Now, group: &mut Group) {
        let contract = self.keyspaces.get(&group.name).map(|keyspace| keyspace.contract);
        if group.reads.waiting.is_empty() || !contract.is_some_and(|contract| contract.lease_reads) {
            return;
        }
        // Everything that waits came in before this poll began, and `now` was read after it did.
        let Some(leased) = group.raft.read_by_lease(now.mono_ms) else { return };
        let asks_no_time = |id: &mut u64| {
            let waiting = self.requests.get(*id);
            waiting.is_some_and(|waiting| !matches!(waiting.request.op, Op::Query(Query::Lease(_))))
        };
        let ids: Vec<u64> = group.reads.waiting.extract_if(.., asks_no_time).collect();
        if ids.is_empty() {
            return;
        }
        let applied = self.store.state(group.id).applied_index;
        group.freshness.prove(leased.index, now.mono_ms, applied);
        let lease =
            ReadLease { left_ms: leased.left_ms, clock_drift_percent_max: (100 / READ_LEASE_DRIFT) as u32 };
        let (index, term, asked_ms) = (leased.index, group.raft.term(), now.mono_ms);
        group.reads.confirmed.push_back(Confirmed { index, term, asked_ms, ids, lease: Some(lease) });
        if leased.left_ms < RENEW_LEFT_MS
            && group.reads.asked.is_empty()
            && let Ok(round) = group.raft.read_index(now.mono_ms)
        {
            group.reads.asked.insert(round, (now.mono_ms, Vec::new()));
        }
    }

    /// Answers a read of a leader that had a lease in this term.
    pub(crate) fn answer_leased(
        &mut self,
        id: u64,
        group: &Group,
        body: ReplyBody,
        term: u64,
        lease: ReadLease,
    ) {
        let at = (Role::Leader, term, self.store.state(group.id).applied_index);
        // Nobody was asked.
        let acks = Acks { required: 0, got: 0, of: self.nodes(), durable: 0 };
        let backing = Backing { acks, deduplicated: false, read_lease: Some(lease) };
        self.answer_with(id, group, body, at, backing);
    }
}
