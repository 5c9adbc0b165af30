//! One Raft group on this node, with the requests that depend on it.

use std::collections::{BTreeMap, VecDeque};

use raft_group::{GroupReady, RaftGroup};
use storage::StoreError;
use types::{GroupId, LogPosition, NodeId, ReadLease, Role, SessionToken};

use crate::{
    early::EarlyWrites, forwards::ForwardsSeen, freshness::Freshness, held::Held, keeping::Keeping,
    lag::Appended, leases::Leases, lost::LostOfGroup, parked::Parked, snapshots::Receiving,
};

/// A group and what waits on it.
#[derive(Debug)]
pub(crate) struct Group {
    pub id: GroupId,
    pub name: String,
    pub raft: RaftGroup,
    /// Commands that wait to enter the log.
    pub proposing: VecDeque<u64>,
    /// Commands in the log here, by index and the term in which they entered. If another term's
    /// entry is applied at the index, the command was replaced and never happens. Until then several
    /// terms can claim an index.
    pub proposed: BTreeMap<(u64, u64), u64>,
    /// Applied commands that wait for every replica.
    pub held: VecDeque<Held>,
    /// Writes that are acknowledged before they are committed.
    pub early: EarlyWrites,
    /// What is done about those that are lost.
    pub lost: LostOfGroup,
    /// When entries entered this leader's log.
    pub appended: Appended,
    pub reads: Reads,
    /// Reads that wait for what the state does not have yet.
    pub parked: Parked,
    /// The time of leases, while this node leads.
    pub leases: Leases,
    /// A snapshot being received.
    pub receiving: Option<Receiving>,
    /// A snapshot being installed; the group's log writes wait for it.
    pub installing: Option<Installing>,
    /// Since when this node knows no leader.
    pub leaderless_since_ms: Option<u64>,
    /// What was last told of the role.
    pub told: Option<(Role, u64, Option<NodeId>)>,
    pub forwards: ForwardsSeen,
    /// How old this replica's state is.
    pub freshness: Freshness,
    /// What this replica's state depends on in other groups.
    pub frontier: SessionToken,
    /// The term that recovery found. What this node did as a leader up to it, it no longer knows.
    pub recovered_term: u64,
    /// The entry after the checkpoint that recovery found, if it was in the log then.
    #[cfg(feature = "planted")]
    pub recovered_next: Option<u64>,
    /// When this node, leading in this term, last told the time in an entry with an idempotency key.
    pub once_stamped: Option<(u64, u64)>,
    /// Entry bytes applied since the last checkpoint began.
    pub applied_bytes: u64,
    pub wants_checkpoint: bool,
    /// What this node, leading, does about old history.
    pub keeping: Keeping,
}

/// Reads at the leader, in the order of their three stages.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Wait for the next ReadIndex.
    pub waiting: Vec<u64>,
    /// Wait for a majority to confirm a ReadIndex: by its number, when it was asked, and who waits.
    pub asked: BTreeMap<u64, (u64, Vec<u64>)>,
    /// When a late one was last asked once more.
    pub repeated_ms: u64,
    /// Wait for the state to reach an index.
    pub confirmed: VecDeque<Confirmed>,
}

/// Reads whose leader is confirmed.
#[derive(Debug)]
pub(crate) struct Confirmed {
    /// The state must have come so far.
    pub index: u64,
    /// The term that was confirmed.
    pub term: u64,
    /// When it was asked for.
    pub asked_ms: u64,
    /// Who waits.
    pub ids: Vec<u64>,
    /// By which lease, if not by a majority.
    pub lease: Option<ReadLease>,
}

impl Reads {
    /// Requests in all stages, those answered meanwhile included.
    pub(crate) fn len(&self) -> usize {
        let asked: usize = self.asked.values().map(|(_, ids)| ids.len()).sum();
        let confirmed: usize = self.confirmed.iter().map(|confirmed| confirmed.ids.len()).sum();
        self.waiting.len() + asked + confirmed
    }

    /// Forgets the requests that no longer wait. The stages would otherwise grow for as long as
    /// nothing is confirmed or applied.
    pub(crate) fn keep(&mut self, waits: impl Fn(u64) -> bool) {
        self.waiting.retain(|id| waits(*id));
        self.asked.values_mut().for_each(|(_, ids)| ids.retain(|id| waits(*id)));
        self.confirmed.iter_mut().for_each(|confirmed| confirmed.ids.retain(|id| waits(*id)));
        self.confirmed.retain(|confirmed| !confirmed.ids.is_empty());
    }
}

/// An installation under way.
#[derive(Debug)]
pub(crate) struct Installing {
    pub position: LogPosition,
    /// Whom to tell when it is done, and of which transfer.
    pub from: NodeId,
    pub transfer: u64,
    /// Number of the transfer's last chunk.
    pub last: u64,
    /// Writes that must follow it.
    pub held: Vec<GroupReady>,
}

impl Group {
    pub(crate) fn new(id: GroupId, name: String, raft: RaftGroup, now_ms: u64) -> Group {
        let recovered_term = raft.term();
        #[cfg(feature = "planted")]
        let (applied, last) = (raft.applied_index(), raft.last_index());
        Group {
            id,
            name,
            raft,
            proposing: VecDeque::new(),
            proposed: BTreeMap::new(),
            held: VecDeque::new(),
            early: EarlyWrites::default(),
            lost: LostOfGroup::default(),
            appended: Appended::default(),
            reads: Reads::default(),
            parked: Parked::default(),
            leases: Leases::default(),
            receiving: None,
            installing: None,
            leaderless_since_ms: Some(now_ms),
            told: None,
            forwards: ForwardsSeen::default(),
            freshness: Freshness::default(),
            frontier: SessionToken::default(),
            recovered_term,
            #[cfg(feature = "planted")]
            recovered_next: (0 < applied && applied < last).then_some(applied + 1),
            once_stamped: None,
            applied_bytes: 0,
            wants_checkpoint: false,
            keeping: Keeping::default(),
        }
    }

    /// Gives up the snapshot being received, if any, and its file.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn abandon_snapshot(&mut self) -> Result<(), StoreError> {
        self.receiving.take().map_or(Ok(()), |receiving| receiving.staging.discard())
    }

    /// Takes out every request that has left no trace in the log: they can be tried elsewhere.
    pub(crate) fn take_unstarted(&mut self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.proposing.drain(..).collect();
        ids.append(&mut self.reads.waiting);
        for (_, (_, mut asked)) in std::mem::take(&mut self.reads.asked) {
            ids.append(&mut asked);
        }
        ids.extend(self.parked.drain());
        ids
    }
}
