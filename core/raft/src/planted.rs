//! Deliberate bugs, to prove that a checker catches each. Whence they are, and what caught them: `verify/planted/README.md`.
//!
//! A node runs with one at most. Where a defence is, a few lines under `cfg(feature = "planted")` leave it out; without the
//! feature, which no build without debug assertions has, none of them is there.

use raft::StateRole;

use crate::group::RaftGroup;

macro_rules! catalogue {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// A bug to run with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Planted {
            $($(#[$about])* $name,)*
        }

        impl Planted {
            /// All of them.
            pub const ALL: &[Planted] = &[$(Planted::$name),*];
        }
    };
}

catalogue! {
    /// Votes and acknowledgements leave before their write is durable.
    AckBeforeFsync,
    /// The hard state is written without the vote.
    VoteNotPersisted,
    /// A node numbers the groups of keyspaces in the order in which it starts them.
    GroupByCount,
    /// Transactions take their first branch whatever their compares say. Done by the node, not by the group.
    TxnIgnoresCompares,
    /// Nodes hide from each leader which idempotency keys were used under the leaders before it. A bug
    /// of the node's, not of a group's.
    KeysForgottenByNextLeader,
    /// Every other leader does not know of quotas. A bug of the node's.
    QuotaForgotten,
    /// Writes that every replica must have are answered once a majority has them. A bug of the node's.
    AllMeansQuorum,
    /// Causal reads are answered by any replica, whatever the session has seen. A bug of the node's.
    SessionIgnored,
    /// A replica counts as fresh by the last word of its leader, whenever that was sent. A bug of the node's.
    FreshByHearsay,
    /// A node that learns that a keyspace was deleted and created anew goes on with the old group. A bug of the
    /// node's.
    DeletionMissed,
    /// The receipt of an eventual read says that its answer is new. A bug of the node's.
    StalenessHidden,
    /// A leader acknowledges early before its own disk has the write. A bug of the node's.
    EarlyBeforeFsync,
    /// What an append overwrites is not put on the list of lost writes. A bug of the node's.
    LostForgottenAtAppend,
    /// The receipt of an early acknowledgement says that a majority has the write. A bug of the node's.
    EarlyClaimsQuorum,
    /// The timestamp of a receipt is the wall clock's reading. A bug of the node's.
    HlcIsWallClock,
    /// A watch that falls behind the changes held in memory goes on at the first of them. A bug of the node's.
    WatchSkipsHistory,
    /// A watch that falls behind a compaction goes on above it as if nothing were missing. A bug of the node's.
    WatchSkipsCompacted,
    /// A watch from a revision that a replica has not applied yet begins where the replica is. A bug of the node's.
    WatchFromOwnRevision,
    /// A new leader takes the time of every lease to be up. A bug of the node's.
    LeasesNotExtended,
    /// A leader goes by the times of its last term when it leads again. A bug of the node's.
    LeasesOfOldTerm,
    /// A leader acknowledges keep-alives without a round that confirms it. A bug of the node's.
    KeepAliveUnconfirmed,
    /// A node that starts votes at once, though it may have confirmed a leader just before.
    StartedVotesAtOnce,
    /// The leader that a node has heard from is forgotten with its term: it votes, and campaigns, as the engine would.
    VotesNotRefused,
    /// A leader counts its lease from when the confirmation came.
    LeaseFromConfirmation,
    /// A leader's lease lasts twice as long as others refuse to vote: as long as an election may take.
    LeaseOutlastsRefusal,
    /// A leader goes by its lease while another node was told to campaign.
    LeaseOutlivesHandOver,
    /// A node that knows no leader lets requests wait until their deadline. A bug of the node's.
    RefusesAtDeadline,
    /// Eventual reads are sent to the leader. A bug of the node's.
    EventualNeedsLeader,
    /// Fences are not checked as entries are applied. A bug of the node's.
    StaleFenceAccepted,
    /// The first of several operations on a value counts nothing: the second is done on the value as it stood before.
    /// A bug of the node's.
    FirstOperationOverwritten,
    /// Operations on values are carried out without a look at what their idempotency keys were used for. A bug of the
    /// node's.
    OperationsNotDeduplicated,
    /// The hard state is written with the term of the log's last entry, which may be lower.
    TermNotPersisted,
    /// A leader takes an entry of an earlier term for committed once a majority has it.
    PriorTermCommitted,
    /// All read rounds have one number: a late answer to an old round confirms a new one.
    ReadContextReused,
    /// A leader answers strong reads without asking whether it still leads. A bug of the node's.
    ReadUnconfirmed,
    /// The entry after the checkpoint counts as applied in a recovery, and is not. A bug of the node's.
    EntryLostInCrash,
    /// A leader that was deposed ends the leases whose time is up by its own count. A bug of the node's.
    RevokedByOldLeader,
    /// The time of leases is counted on the wall clock. A bug of the node's.
    LeasesByWallClock,
    /// A log that is damaged in its middle is cut off there, as if the rest had never been synced. A bug of the log's.
    DamageTruncated,
    /// A node that refuses its damaged log leaves a note on the disk, which is not as it was then. A bug of the log's.
    RefusalLeavesNote,
    /// The last record of an idempotency key is not on disk with its effect, and lost in a crash. A bug of the node's.
    KeyApartFromEffect,
    /// A node that gets an answer to a request that it has forgotten panics. A bug of the node's.
    LateReplyPanics,
    /// Election timeouts depend on how many groups were started in this process, not on the seed alone. A bug of the node's.
    SeedOfTheProcess,
    /// A request whose deadline passed is forgotten without an answer. A bug of the node's.
    LateUnanswered,
    /// A read at a revision is answered from the newest state. A bug of the node's.
    PastIsNewest,
    /// A leader compacts history at half its age. A bug of the node's.
    CompactsYoung,
    /// A node does not hear that its disk has room again. A bug of the node's.
    RoomNeverNoticed,
    /// What the writers of a keyspace had seen of others is not kept with what they wrote. A bug of the node's.
    FrontierForgotten,
    /// Frames are taken whatever their checksum says. A bug of the peer protocol's.
    ChecksumIgnored,
    /// A snapshot is installed without the idempotency records in it. A bug of the node's.
    SnapshotWithoutKeys,
}

impl RaftGroup {
    /// A leader with the bug counts replicas of entries of earlier terms (thesis 3.6.2, figure 3.7).
    pub(crate) fn planted_commit(&mut self) {
        let raft = &mut self.engine.raft;
        if self.planted == Some(Planted::PriorTermCommitted) && raft.state == StateRole::Leader {
            let (majority_has, _) = raft.mut_prs().maximal_committed_index();
            let committed = raft.raft_log.committed.max(majority_has);
            raft.raft_log.commit_to(committed);
        }
    }
}

impl Planted {
    /// The bug of this name, as in the catalogue.
    pub fn named(name: &str) -> Option<Planted> {
        Planted::ALL.iter().copied().find(|bug| bug.name() == name)
    }

    /// Its name in the catalogue and on command lines, such as `vote-not-persisted`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }
}
