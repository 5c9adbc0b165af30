//! What an observer may know about a group.

use std::fmt;

use raft::{ProgressState, StateRole};
use types::{NodeId, Role};

use crate::convert::{engine_id, node_id};
use crate::group::RaftGroup;

/// A group's state on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// What this node is; a pre-candidate counts as a candidate.
    pub role: Role,
    /// Current term.
    pub term: u64,
    /// Whom this node voted for in it.
    pub vote: Option<NodeId>,
    /// Who leads it, if known.
    pub leader: Option<NodeId>,
    /// Highest index known to be committed.
    pub commit: u64,
    /// Highest applied index.
    pub applied: u64,
    /// Highest index in the log, durable or not.
    pub last_index: u64,
    /// Highest index known to be durable here.
    pub persisted_index: u64,
    /// Lowest index still in memory; `last_index + 1` when there is none.
    pub first_index: u64,
    /// Bytes of cached entries, each counted with its overhead in memory.
    pub log_bytes: u64,
    /// Likewise, of the entries above the applied index.
    pub unapplied_bytes: u64,
    /// The members, in order.
    pub voters: Vec<NodeId>,
    /// Every member as the leader sees it; empty on other nodes.
    pub progress: Vec<Progress>,
}

/// One member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The member.
    pub node: NodeId,
    /// Highest index known to be durable there.
    pub matched: u64,
    /// Next index to send.
    pub next: u64,
    /// `probe` (finding where its log ends), `replicate` or `snapshot`.
    pub state: &'static str,
    /// Whether it was heard of since the leader last checked its quorum.
    pub recent_active: bool,
}

impl RaftGroup {
    /// What this node is; a pre-candidate counts as a candidate.
    pub fn role(&self) -> Role {
        role(self.engine.raft.state)
    }

    /// Current term.
    pub fn term(&self) -> u64 {
        self.engine.raft.term
    }

    /// Highest index known to be committed.
    pub fn commit_index(&self) -> u64 {
        self.engine.raft.raft_log.committed
    }

    /// Highest index in the log, durable or not.
    pub fn last_index(&self) -> u64 {
        self.engine.raft.raft_log.last_index()
    }

    /// Highest index that is known to be durable here.
    pub fn persisted_index(&self) -> u64 {
        self.engine.raft.raft_log.persisted
    }

    /// The first index of the present term in the log, if that is in memory.
    pub fn first_index_of_term(&self) -> Option<u64> {
        let (raft, cache) = (&self.engine.raft, self.engine.store());
        let mut first = None;
        let mut index = raft.raft_log.last_index();
        while index > cache.start().index && raft.raft_log.term(index).ok() == Some(raft.term) {
            first = Some(index);
            index -= 1;
        }
        first
    }

    /// Highest applied index.
    pub fn applied_index(&self) -> u64 {
        self.engine.store().applied()
    }

    /// Whether a snapshot was accepted and its installation is not durable yet.
    pub fn is_installing(&self) -> bool {
        self.installing()
    }

    /// Whether the log on disk is known to lead up to the applied state. It is not from the moment
    /// that a snapshot is accepted until the write that empties the log is durable, and from a recovery
    /// that found such an installation interrupted until the same.
    pub fn log_follows_checkpoint(&self) -> bool {
        self.reset_first.is_none() && self.reset_outstanding.is_none() && !self.installing()
    }

    /// The group's state now.
    pub fn status(&self) -> GroupStatus {
        let raft = &self.engine.raft;
        let cache = self.engine.store();
        let voters = self.voters.iter();
        GroupStatus {
            role: role(raft.state),
            term: raft.term,
            vote: node_id(raft.vote),
            leader: self.leader(),
            commit: raft.raft_log.committed,
            applied: cache.applied(),
            last_index: raft.raft_log.last_index(),
            persisted_index: raft.raft_log.persisted,
            first_index: cache.start().index + 1,
            log_bytes: cache.bytes(),
            unapplied_bytes: self.unapplied_bytes(),
            voters: self.voters.clone(),
            progress: voters.filter_map(|node| self.progress(*node)).collect(),
        }
    }

    /// On the leader: how many voters hold the entry at `index` durably. The leader counts itself
    /// only once its own write is done. On other nodes 0.
    pub fn matched_count(&self, index: u64) -> u32 {
        let progress = self.voters.iter().filter_map(|node| self.progress(*node));
        progress.filter(|progress| progress.matched >= index).count() as u32
    }

    fn progress(&self, node: NodeId) -> Option<Progress> {
        let raft = &self.engine.raft;
        if raft.state != StateRole::Leader {
            return None;
        }
        let progress = raft.prs().get(engine_id(node))?;
        let state = match progress.state {
            ProgressState::Probe => "probe",
            ProgressState::Replicate => "replicate",
            ProgressState::Snapshot => "snapshot",
        };
        Some(Progress {
            node,
            matched: progress.matched,
            next: progress.next_idx,
            state,
            recent_active: node == self.node || progress.recent_active,
        })
    }
}

impl fmt::Debug for RaftGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftGroup").field("group", &self.group).field("status", &self.status()).finish()
    }
}

fn role(state: StateRole) -> Role {
    match state {
        StateRole::Leader => Role::Leader,
        StateRole::Follower => Role::Follower,
        StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
    }
}
