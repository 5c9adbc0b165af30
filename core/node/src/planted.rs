//! Bugs of the node itself, to prove that a checker catches them.

use std::sync::atomic::{AtomicU64, Ordering};

use keyspace::{
    Command, Txn, TxnOp,
    codec::{decode_command, encode_command},
};
use keyspace::{
    LeaseCommand, LeaseQuery, LeaseRecord, Query,
    entry::{decode_entry, encode_entry},
};
use raft_group::Planted;
use storage::{ReadRows, WriteRows};
use types::{Acks, Contract, Entry, GroupId, LeaseId, Now, Role, limits::RESERVED_KEY_PREFIX};
use values::Operation;

use crate::{
    api::{Fatal, Op, ReplyBody, Request},
    group::{Confirmed, Group},
    leases::{Leases, tell_time},
    node::Node,
    requests::Origin,
};

impl Node {
    /// The applied index and the age that a node with a bug believes its replica to have.
    pub(crate) fn planted_read(&self, applied: u64, staleness_ms: Option<u64>) -> (u64, Option<u64>) {
        match self.config.planted {
            Some(Planted::SessionIgnored) => (u64::MAX, staleness_ms),
            Some(Planted::FreshByHearsay) => (applied, Some(0)),
            _ => (applied, staleness_ms),
        }
    }

    /// The contract that a leader with a bug goes by.
    pub(crate) fn planted_contract(&self, contract: Contract, term: u64) -> Contract {
        match self.config.planted {
            Some(Planted::QuotaForgotten) if term.is_multiple_of(2) => {
                Contract { quota_bytes: None, ..contract }
            }
            _ => contract,
        }
    }

    /// The replicas that a node with a bug believes to hold a write.
    pub(crate) fn planted_acks(&self, got: u32, required: u32) -> u32 {
        match self.config.planted {
            Some(Planted::AllMeansQuorum) => got.max(required),
            _ => got,
        }
    }

    /// How far a leader with a bug believes its log to be durable.
    pub(crate) fn planted_durable(&self, group: &Group) -> u64 {
        match self.config.planted {
            Some(Planted::EarlyBeforeFsync) => u64::MAX,
            _ => group.raft.persisted_index(),
        }
    }

    /// The acknowledgements that a leader with a bug writes in the receipt of an early one.
    pub(crate) fn planted_early_acks(&self, acks: Acks) -> Acks {
        match self.config.planted {
            Some(Planted::EarlyClaimsQuorum) => Acks { got: self.quorum(), durable: self.quorum(), ..acks },
            _ => acks,
        }
    }

    /// Whether a node has this bug, such as letting go of early writes without listing them.
    pub(crate) fn planted_forgets(&self, at: Planted) -> bool {
        self.config.planted == Some(at)
    }

    /// Since when a node with a bug takes notice that it knows no leader.
    pub(crate) fn planted_leaderless(&self, since_ms: Option<u64>) -> Option<u64> {
        since_ms.filter(|_| self.config.planted != Some(Planted::RefusesAtDeadline))
    }

    /// What a node with a bug reads when the past is asked for.
    pub(crate) fn planted_query(&self, query: &Query) -> Query {
        match (self.config.planted, query) {
            (Some(Planted::PastIsNewest), Query::At { query, .. }) => (**query).clone(),
            _ => query.clone(),
        }
    }

    /// For how long a leader with a bug keeps history.
    pub(crate) fn planted_history_ms(&self, history_ms: u64) -> u64 {
        match self.config.planted {
            Some(Planted::CompactsYoung) => history_ms / 2,
            _ => history_ms,
        }
    }

    /// When a leader with a bug begins to count the time of leases, and of which.
    pub(crate) fn planted_leases(
        &self,
        now: Now,
        known: &Leases,
        mut found: Vec<(LeaseId, LeaseRecord)>,
    ) -> (Now, Vec<(LeaseId, LeaseRecord)>) {
        match self.config.planted {
            Some(Planted::LeasesNotExtended) => {
                let longest = found.iter().map(|(_, record)| record.ttl_ms).max().unwrap_or(0);
                (Now { mono_ms: now.mono_ms.saturating_sub(longest), ..now }, found)
            }
            Some(Planted::LeasesOfOldTerm) => {
                found.retain(|(id, _)| !known.knows(*id));
                (now, found)
            }
            _ => (now, found),
        }
    }

    /// Whether a leader with a bug has answered a keep-alive at once.
    pub(crate) fn planted_keep_alive(&mut self, now: Now, id: u64) -> Result<bool, Fatal> {
        let Some(waiting) = self.requests.get(id) else { return Ok(false) };
        let Op::Query(query @ Query::Lease(LeaseQuery::KeepAlive { .. })) = waiting.request.op.clone() else {
            return Ok(false);
        };
        let Some(Ok(group)) = self.group_of(waiting) else { return Ok(false) };
        let leads = self.groups[&group].raft.role() == Role::Leader;
        if self.config.planted != Some(Planted::KeepAliveUnconfirmed) || !leads {
            return Ok(false);
        }
        let Some(mut group) = self.groups.remove(&group) else { return Ok(false) };
        let mut answer = keyspace::answer(&self.store, group.id, &query)?;
        if tell_time(&mut group.leases, now, now.mono_ms, &query, &mut answer).is_none() {
            let term = group.raft.term();
            self.answer_confirmed(id, &group, ReplyBody::Answer(answer), term);
        }
        self.groups.insert(group.id, group);
        Ok(true)
    }

    /// What a node with a bug seeds election timeouts with: it counts, where only the seed may count.
    pub(crate) fn planted_seed(&self) -> u64 {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        match self.config.planted {
            Some(Planted::SeedOfTheProcess) => self.config.seed ^ STARTED.fetch_add(1, Ordering::Relaxed),
            _ => self.config.seed,
        }
    }

    /// A leader with a bug takes itself for confirmed, whatever became of its leadership.
    pub(crate) fn planted_unconfirmed(&self, now: Now, group: &mut Group) {
        let (index, term) = (group.raft.commit_index(), group.raft.term());
        if self.config.planted != Some(Planted::ReadUnconfirmed) || index == 0 {
            return;
        }
        let asks_no_time = |id: &mut u64| {
            let waiting = self.requests.get(*id);
            waiting.is_some_and(|waiting| !matches!(waiting.request.op, Op::Query(Query::Lease(_))))
        };
        let ids = group.reads.waiting.extract_if(.., asks_no_time).collect();
        group.reads.confirmed.push_back(Confirmed { index, term, asked_ms: now.mono_ms, ids, lease: None });
    }

    /// The clock by which a leader with a bug counts the time of leases.
    pub(crate) fn planted_clock(&self, now: Now) -> Now {
        match self.config.planted {
            Some(Planted::LeasesByWallClock) => Now { mono_ms: now.wall_ms, ..now },
            _ => now,
        }
    }

    /// When, on that clock, a keep-alive was asked.
    pub(crate) fn planted_asked_ms(&self, now: Now, asked_ms: u64) -> u64 {
        self.planted_clock(now).mono_ms.saturating_sub(now.mono_ms - asked_ms)
    }

    /// Whether a deposed leader with a bug has kept its times, and ended by them what the next one may have extended.
    pub(crate) fn planted_revoke(&mut self, now: Now, group: &mut Group) -> bool {
        if self.config.planted != Some(Planted::RevokedByOldLeader) {
            return false;
        }
        for (id, _) in group.leases.due(now.mono_ms) {
            group.leases.expiring(id);
            let revoke = Op::Command(Command::Lease(LeaseCommand::Revoke { id }));
            let (request, deadline_ms) = (Request::new(&group.name, revoke), now.mono_ms + 1_000);
            self.take_request(Origin::Nobody, request, Some(group.id), deadline_ms, 1);
        }
        true
    }

    /// A node with a bug loses idempotency records, and no state tells: the newest of a group in a crash, which was to
    /// be written after its effect, or all in a snapshot, which is taken of the clients' rows.
    pub(crate) fn planted_records(&mut self, group: GroupId, at: Planted) -> Result<(), Fatal> {
        if self.config.planted != Some(at) {
            return Ok(());
        }
        let prefix = |kind| [&RESERVED_KEY_PREFIX[..], &[kind]].concat();
        let mut found = Vec::new();
        self.store.scan_meta(group, &prefix(b'k'), Some(&prefix(b'k' + 1)), &mut |key, meta| {
            found.push((meta.mod_revision, key.to_vec()));
            true
        })?;
        found.sort();
        let lost = if at == Planted::KeyApartFromEffect { found.len().saturating_sub(1) } else { 0 };
        found[lost..].iter().for_each(|(_, key)| self.store.delete(group, key));
        self.store.set_state(group, self.store.state(group));
        Ok(())
    }

    /// The age that a node with a bug writes in a receipt.
    pub(crate) fn planted_staleness(&self, staleness_ms: Option<u64>) -> Option<u64> {
        match self.config.planted {
            Some(Planted::StalenessHidden) => Some(0),
            _ => staleness_ms,
        }
    }

    /// Where a watch begins at a node with a bug: not to let it wait, no later than after what is applied here; or
    /// not to refuse it, above what was compacted.
    pub(crate) fn planted_watch_from(&self, from: u64, revision: u64, floor: u64) -> u64 {
        match self.config.planted {
            Some(Planted::WatchFromOwnRevision) => from.min(revision + 1),
            Some(Planted::WatchSkipsCompacted) => from.max(floor + 1),
            _ => from,
        }
    }

    /// The position that a node with a bug gives a watch that fell behind the recent revisions, or the floor.
    pub(crate) fn planted_watch_position(&self, position: u64, recent: u64, floor: u64) -> u64 {
        match self.config.planted {
            Some(Planted::WatchSkipsHistory) => position.max(recent),
            Some(Planted::WatchSkipsCompacted) => position.max(floor + 1),
            _ => position,
        }
    }
}

/// The entry as a node with the bug applies it.
pub(crate) fn damage(planted: Option<Planted>, group: &Group, entry: &Entry) -> Entry {
    if planted == Some(Planted::EntryLostInCrash) && group.recovered_next == Some(entry.index) {
        return Entry { data: Vec::new().into(), ..entry.clone() };
    }
    if let (Some(Planted::StaleFenceAccepted), Ok(mut log)) = (planted, decode_entry(&entry.data)) {
        log.terms.fence = None;
        return Entry { data: encode_entry(&log.terms, &log.command).into(), ..entry.clone() };
    }
    if let (Some(Planted::FrontierForgotten), Ok(mut log)) = (planted, decode_entry(&entry.data)) {
        log.terms.seen = Default::default();
        return Entry { data: encode_entry(&log.terms, &log.command).into(), ..entry.clone() };
    }
    if let (Some(planted), Ok(mut log)) = (planted, decode_entry(&entry.data))
        && let Command::Operate { operations, .. } = &mut log.command
    {
        match planted {
            Planted::FirstOperationOverwritten => forget_first(operations),
            Planted::OperationsNotDeduplicated => log.terms.once = None,
            _ => {}
        }
        return Entry { data: encode_entry(&log.terms, &log.command).into(), ..entry.clone() };
    }
    match (planted, decode_command(&entry.data)) {
        (Some(Planted::TxnIgnoresCompares), Ok(Command::Txn(mut txn))) => {
            ignore_compares(&mut txn);
            Entry { data: encode_command(&Command::Txn(txn)).into(), ..entry.clone() }
        }
        _ => entry.clone(),
    }
}

/// The first of several operations adds nothing to the counter that it is about.
fn forget_first(operations: &mut [Operation]) {
    if let [Operation::Within { operation, .. }, _, ..] = operations
        && let Operation::Add { by } = &mut **operation
    {
        *by = 0;
    }
}

fn ignore_compares(txn: &mut Txn) {
    txn.compares.clear();
    for op in &mut txn.then {
        if let TxnOp::Txn(nested) = op {
            ignore_compares(nested);
        }
    }
}
