//! The group: what goes in. What comes out is in the `ready` module.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use raft::eraftpb::{self, MessageType};
use raft::{Config, INVALID_ID, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use types::{Entry, GroupId, HardState, LogPosition, NodeId};
use wire::message::{RaftKind, RaftMessage, WireEntry};

use crate::cache::{LogCache, entry_bytes};
use crate::check::{Receiver, StepError, Verdict};
use crate::config::{GroupConfig, RecoverError, RecoveredLog};
use crate::convert::{engine_id, node_id, shared_bytes, to_engine};
use crate::read_lease::{LeasedRead, ReadLease};
use crate::timeout::ElectionTimeout;

/// Entry bytes in one append message: large enough for throughput, small enough to interleave.
const APPEND_BYTES_MAX: u64 = 1024 * 1024;
/// Append messages on the way to one follower.
const APPENDS_IN_FLIGHT_MAX: usize = 256;
/// Read indexes waiting for their quorum; one serves any number of reads, so few are ever needed.
pub const READS_WAITING_MAX: usize = 1_024;

/// Where proposed commands went: consecutive indexes of one term. They may still be lost to a new
/// leader; they are committed when the entry at the index is, with this term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Index of the first command.
    pub first_index: u64,
    /// Term of them all.
    pub term: u64,
}

/// Why nothing was proposed. The log is unchanged; retrying is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Ask the leader.
    #[error("this node does not lead the group")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Too many bytes wait to be committed and applied. Back off, then retry.
    #[error("too many entry bytes wait to be applied")]
    Overloaded,
    /// Leadership is being handed over. Retry, at the new leader, soon.
    #[error("leadership is being transferred")]
    Transferring,
}

/// Why no read index was asked for. Nothing changed; retrying is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Ask the leader.
    #[error("this node does not lead the group")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// The leader has not committed an entry of its term yet (thesis 6.4), or
    /// [`READS_WAITING_MAX`] read indexes wait for a quorum. Retry after the next event.
    #[error("the leader cannot confirm reads yet")]
    NotReady,
}

/// One Raft group on one node. Call [`RaftGroup::poll`] after any other call, or after several.
///
/// # Panics
///
/// Every method panics when the engine or this wrapper finds its own state contradictory: the
/// process must stop, and the log on disk stays as it is. Peer messages do not lead there.
pub struct RaftGroup {
    pub(crate) group: GroupId,
    pub(crate) node: NodeId,
    /// Sorted.
    pub(crate) voters: Vec<NodeId>,
    log_cache_bytes_max: u64,
    unapplied_bytes_max: u64,
    seed: u64,
    pub(crate) engine: RawNode<LogCache>,
    timeout: ElectionTimeout,
    reads_asked: u64,
    pub(crate) read_lease: ReadLease,
    /// Requests for votes that came too soon after the start: the last of each peer.
    early_votes: BTreeMap<NodeId, RaftMessage>,
    pub(crate) vote_asked_term: u64,
    /// The log on disk must be emptied by the first write.
    pub(crate) reset_first: Option<LogPosition>,
    /// The last write handed out that empties the log, while it is not durable.
    pub(crate) reset_outstanding: Option<u64>,
    /// As of the last write handed out.
    pub(crate) written_hard_state: HardState,
    /// Of the last durable hard state.
    pub(crate) durable_term: u64,
    /// Writes handed out and not yet durable, in order.
    pub(crate) outstanding: VecDeque<Outstanding>,
    /// Messages whose writes are durable, for the next poll.
    pub(crate) released: Vec<eraftpb::Message>,
    #[cfg(feature = "planted")]
    pub(crate) planted: Option<crate::Planted>,
}

/// A write on its way to the disk, and what waits for it.
pub(crate) struct Outstanding {
    pub ready: u64,
    /// The last of the engine's numbers that needs nothing beyond this write.
    pub through: u64,
    pub term: u64,
    pub install: Option<LogPosition>,
    pub messages: Vec<eraftpb::Message>,
}

impl RaftGroup {
    /// Makes the group from what recovery found. The only member of a group leads at once.
    ///
    /// A log that ends before the checkpoint, or contradicts it, is an interrupted installation of
    /// a snapshot: the log starts at the checkpoint.
    ///
    /// `now_ms`, here and in every call, is the caller's monotonic clock, read after what it is called for came in.
    pub fn new(now_ms: u64, config: GroupConfig, recovered: RecoveredLog) -> Result<RaftGroup, RecoverError> {
        config.check()?;
        let written_hard_state = recovered.hard_state;
        let newborn = recovered.is_empty();
        let log = recovered.check(&config.voters)?;
        let durable_term = written_hard_state.term;
        let (applied, reset_first) = (log.applied, log.reset.then_some(log.start));
        let mut voters = config.voters;
        voters.sort_unstable();
        let engine_config = Config {
            id: engine_id(config.node),
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: applied.index,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: config.unapplied_bytes_max.max(APPEND_BYTES_MAX),
            ..Config::default()
        };
        let cache = LogCache::new(voters.iter().map(|node| engine_id(*node)).collect(), log);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let engine = match RawNode::new(&engine_config, cache, &logger) {
            Ok(engine) => engine,
            Err(error) => panic!("the engine refused a checked configuration: {error}"),
        };
        // Alone it has nobody else to vote for.
        let read_lease = ReadLease::new(config.vote_refusal_ms, now_ms, newborn || voters.len() == 1);
        #[cfg(feature = "planted")]
        let read_lease = read_lease.with(config.planted);
        let mut group = RaftGroup {
            group: config.group,
            node: config.node,
            voters,
            log_cache_bytes_max: config.log_cache_bytes_max,
            unapplied_bytes_max: config.unapplied_bytes_max,
            seed: config.seed,
            engine,
            timeout: ElectionTimeout::new(config.seed, config.group, config.node, config.election_ticks),
            reads_asked: 0,
            read_lease,
            early_votes: BTreeMap::new(),
            vote_asked_term: 0,
            reset_first,
            reset_outstanding: None,
            written_hard_state,
            durable_term,
            outstanding: VecDeque::new(),
            released: Vec::new(),
            #[cfg(feature = "planted")]
            planted: config.planted,
        };
        group.settle();
        if group.voters.len() == 1 {
            if let Err(error) = group.engine.campaign() {
                panic!("the only voter cannot campaign: {error}");
            }
            group.settle();
        }
        Ok(group)
    }

    /// One tick of the caller's clock.
    pub fn tick(&mut self, now_ms: u64) {
        if !self.early_votes.is_empty() && !self.read_lease.refuses_votes(now_ms) {
            for (from, message) in std::mem::take(&mut self.early_votes) {
                types::mark!("early_vote_counted");
                // As if it had come only now. It was in order when it came; if it is not any more, it is void.
                let _ = self.step(now_ms, from, message);
            }
        }
        let leads = self.engine.raft.state == StateRole::Leader;
        if self.installing() || (!leads && self.read_lease.refuses_votes(now_ms)) {
            if self.installing() {
                types::mark!("no_campaign_while_installing");
            }
            // Time passes, but no campaign: its entries are not there to be read, or the leader may count on it.
            self.engine.raft.election_elapsed += 1;
        } else {
            self.engine.tick();
        }
        self.settle();
    }

    /// A peer's message. On an error nothing changed, and the peer's connection should be closed.
    ///
    /// A [`wire::message::RaftKind::Snapshot`] may be given only when the data it announces is
    /// staged whole; poll then says whether it is to be installed.
    pub fn step(&mut self, now_ms: u64, from: NodeId, message: RaftMessage) -> Result<(), StepError> {
        #[cfg(feature = "planted")]
        self.read_lease.came(now_ms);
        let receiver = Receiver {
            raft: &self.engine.raft,
            voters: &self.voters,
            installing: self.installing(),
            vote_asked_term: self.vote_asked_term,
            refuses_votes: self.read_lease.refuses_votes(now_ms),
        };
        let kind = match receiver.check(from, &message)? {
            Verdict::Step(kind) => kind,
            Verdict::Ignore => return Ok(()),
            Verdict::TooSoon => {
                // Who has heard of no leader since it started may be the vote that an election lacks: candidates do
                // not ask twice.
                if !self.read_lease.has_heard() {
                    types::mark!("vote_request_kept");
                    let message = RaftMessage { snapshot_voters: Vec::new(), ..message };
                    self.early_votes.insert(from, message);
                }
                return Ok(());
            }
        };
        let of_leader = matches!(kind, RaftKind::Append | RaftKind::Heartbeat | RaftKind::Snapshot);
        if of_leader && message.term >= self.engine.raft.term {
            self.read_lease.heard(now_ms);
            self.early_votes.clear();
        }
        let mut message = to_engine(from, kind, message);
        self.keep_next_above_matched(&mut message);
        if let Err(error) = self.engine.step(message) {
            panic!("the engine refused a checked message: {error}");
        }
        #[cfg(feature = "planted")]
        self.planted_commit();
        self.settle();
        Ok(())
    }

    /// Appends commands to the leader's log as one batch, at consecutive indexes.
    ///
    /// # Panics
    ///
    /// When there are no commands, or one is empty: empty entries are the leader's own.
    pub fn propose(&mut self, commands: Vec<Arc<[u8]>>) -> Result<Proposed, ProposeError> {
        assert!(!commands.is_empty() && commands.iter().all(|command| !command.is_empty()));
        let raft = &self.engine.raft;
        if raft.state != StateRole::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if raft.lead_transferee.is_some() {
            return Err(ProposeError::Transferring);
        }
        let unapplied = self.unapplied_bytes();
        let new: u64 = commands.iter().map(|command| entry_bytes(command.len())).sum();
        if unapplied > 0 && unapplied.saturating_add(new) > self.unapplied_bytes_max {
            types::mark!("proposal_too_large_for_now");
            return Err(ProposeError::Overloaded);
        }
        let (count, term) = (commands.len() as u64, raft.term);
        let first_index = raft.raft_log.last_index() + 1;
        let mut message = eraftpb::Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = raft.id;
        let entries = commands
            .iter()
            .map(|command| eraftpb::Entry { data: shared_bytes(command), ..Default::default() });
        message.set_entries(entries.collect::<Vec<_>>().into());
        match self.engine.step(message) {
            Ok(()) => {}
            Err(raft::Error::ProposalDropped) => return Err(ProposeError::Overloaded),
            Err(error) => panic!("the engine refused a proposal: {error}"),
        }
        self.settle();
        assert_eq!(self.engine.raft.raft_log.last_index() + 1, first_index + count);
        Ok(Proposed { first_index, term })
    }

    /// Asks a quorum whether this node still leads; answered in [`crate::GroupOutput::reads`] under
    /// the returned id, which rises with every call. No answer comes when leadership is lost: bound
    /// the wait and ask again. One read index serves every read that was waiting when it was asked.
    ///
    /// `now_ms` is not after the question leaves: a lease counts from it.
    pub fn read_index(&mut self, now_ms: u64) -> Result<u64, ReadError> {
        let raft = &self.engine.raft;
        if raft.state != StateRole::Leader {
            return Err(ReadError::NotLeader { leader: self.leader() });
        }
        if !raft.commit_to_current_term() || raft.pending_read_count() >= READS_WAITING_MAX {
            types::mark!("read_index_refused");
            return Err(ReadError::NotReady);
        }
        self.reads_asked += 1;
        #[cfg(feature = "planted")]
        if self.planted == Some(crate::Planted::ReadContextReused) {
            self.reads_asked = 1;
        }
        self.read_lease.ask(raft.term, self.reads_asked, now_ms);
        let context = [raft.term, self.seed, self.reads_asked].map(u64::to_be_bytes).concat();
        self.engine.read_index(context);
        self.settle();
        Ok(self.reads_asked)
    }

    /// The index at which a read that came before `now_ms` may be answered without a round, while this leader has a
    /// lease. It has one for a while after a round that it asked; asking is the caller's to do.
    pub fn read_by_lease(&self, now_ms: u64) -> Option<LeasedRead> {
        let raft = &self.engine.raft;
        if raft.state != StateRole::Leader || !raft.commit_to_current_term() {
            return None;
        }
        let left_ms = self.read_lease.left_ms(raft.term, now_ms)?;
        Some(LeasedRead { index: raft.raft_log.committed, left_ms })
    }

    /// The state machine has applied every entry up to `index`. Reports may repeat.
    ///
    /// # Panics
    ///
    /// When `index` was never handed out.
    pub fn applied(&mut self, index: u64) {
        if index <= self.engine.store().applied() || self.installing() {
            return;
        }
        self.engine.advance_apply_to(index);
        self.engine.mut_store().set_applied(index);
        self.settle();
    }

    /// A checkpoint at this position, which is applied, can be streamed to followers.
    pub fn snapshot_available(&mut self, position: LogPosition) {
        assert!(position.index <= self.engine.store().applied(), "a checkpoint of unapplied entries");
        self.engine.mut_store().set_snapshot(position);
    }

    /// The transfer of a snapshot ended: `ok` when the follower has it all.
    pub fn report_snapshot(&mut self, to: NodeId, ok: bool) {
        if self.is_other_voter(to) {
            let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            self.engine.report_snapshot(engine_id(to), status);
            self.settle();
        }
    }

    /// Messages to this peer were lost: the leader finds out where its log ends.
    pub fn report_unreachable(&mut self, to: NodeId) {
        if self.is_other_voter(to) {
            self.engine.report_unreachable(engine_id(to));
            self.settle();
        }
    }

    /// Drops the oldest cached entries that are applied and in the available checkpoint, while the
    /// cache is over its limit. A follower that needs a dropped entry gets a snapshot.
    pub fn compact(&mut self) {
        let persisted = self.engine.raft.raft_log.persisted;
        let applied = self.engine.raft.raft_log.applied;
        let cache = self.engine.mut_store();
        let index = applied.min(cache.snapshot_position().index).min(persisted);
        cache.compact(index, self.log_cache_bytes_max);
    }

    /// Hands leadership to another voter (thesis 3.10), and ends this leader's leases of its term. Until it succeeds, or an election timeout
    /// has passed, proposals are refused. On a follower, asks the leader to hand over to it, if
    /// `to` is this node. Anything else does nothing.
    pub fn transfer_leader(&mut self, to: NodeId) {
        let leads = self.engine.raft.state == StateRole::Leader;
        let asks = self.engine.raft.state == StateRole::Follower && to == self.node;
        if (leads && self.is_other_voter(to)) || asks {
            self.engine.transfer_leader(engine_id(to));
            self.settle();
        }
    }

    /// Whether a follower's backlog of unapplied entries is within its limit. While it is not, drop of an
    /// append what is new ([`RaftGroup::held_of`]): the leader sends it again.
    pub fn can_accept_entries(&self) -> bool {
        self.unapplied_bytes() <= self.unapplied_bytes_max
    }

    /// How many entries at the beginning of an append this log has already. They cost no room, and have to be acknowledged
    /// however full it is: until they are, the leader does not tell that they are committed, and nothing makes room.
    pub fn held_of(&self, append: &RaftMessage) -> usize {
        let (cache, committed) = (self.engine.store(), self.engine.raft.raft_log.committed);
        let held =
            |entry: &&WireEntry| entry.index <= committed || cache.term_at(entry.index) == Some(entry.term);
        append.entries.iter().take_while(held).count()
    }

    /// The entries of this node's log on disk that an append, if it is taken, would overwrite: those from the first on
    /// that differs. Empty for other messages, and for an append that does not fit the log.
    pub fn overwritten_by(&self, message: &RaftMessage) -> impl Iterator<Item = &Entry> {
        let cache = self.engine.store();
        let fits = message.kind == RaftKind::Append as i32
            && message.term >= self.engine.raft.term
            && cache.term_at(message.index) == Some(message.log_term);
        let differs = |entry: &&WireEntry| cache.term_at(entry.index).is_some_and(|term| term != entry.term);
        let first = if fits { message.entries.iter().find(differs).map(|entry| entry.index) } else { None };
        self.durable_from(first.unwrap_or(u64::MAX))
    }

    /// The entries from this index on that are on this node's disk, and in memory.
    pub fn durable_from(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let persisted = self.engine.raft.raft_log.persisted;
        let cache = self.engine.store();
        let from = index.max(cache.start().index + 1);
        (from..=persisted).map_while(|index| cache.get(index))
    }

    /// The term of the entry at `index`, or of the position before the first; as of the last poll.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.engine.store().term_at(index)
    }

    /// The entry at `index`, if it is in memory; as of the last poll.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.engine.store().get(index)
    }

    /// The leader of the current term, if known.
    pub fn leader(&self) -> Option<NodeId> {
        node_id(self.engine.raft.leader_id)
    }

    pub(crate) fn unapplied_bytes(&self) -> u64 {
        let unstable = self.engine.raft.raft_log.unstable_entries();
        let handed_in: u64 = unstable.iter().map(|entry| entry_bytes(entry.data.len())).sum();
        self.engine.store().unapplied_bytes() + handed_in
    }

    /// A snapshot was accepted, and is not installed.
    pub(crate) fn installing(&self) -> bool {
        self.engine.snap().is_some() || self.outstanding.iter().any(|write| write.install.is_some())
    }

    fn is_other_voter(&self, node: NodeId) -> bool {
        node != self.node && self.voters.binary_search(&node).is_ok()
    }

    /// A refusal's hint below what the follower acknowledged in this term is late, or the follower
    /// lost its log: neither may lower `next` to `matched` (etcd keeps `match < next` likewise).
    fn keep_next_above_matched(&self, message: &mut eraftpb::Message) {
        let raft = &self.engine.raft;
        let refusal = message.get_msg_type() == MessageType::MsgAppendResponse && message.reject;
        if !refusal || raft.state != StateRole::Leader || message.term != raft.term {
            return;
        }
        let Some(progress) = raft.prs().get(message.from) else { return };
        let probe = match message.log_term {
            0 => message.reject_hint,
            term => raft.raft_log.find_conflict_by_term(message.reject_hint, term).0,
        };
        if probe < progress.matched {
            types::mark!("late_refusal_dropped");
            (message.reject_hint, message.log_term) = (progress.matched, 0);
        }
    }

    /// Ends every call into the engine: its election timeout becomes ours.
    pub(crate) fn settle(&mut self) {
        let raft = &mut self.engine.raft;
        let ticks = self.timeout.ticks(raft.term, raft.state);
        raft.set_randomized_election_timeout(ticks);
        if raft.state == StateRole::Leader && raft.lead_transferee.is_some() {
            self.read_lease.hand_over(raft.term);
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        let raft = &self.engine.raft;
        let log = &raft.raft_log;
        assert!(log.applied <= log.committed && log.committed <= log.last_index());
        assert!(raft.leader_id != raft.id || raft.state == StateRole::Leader || raft.leader_id == INVALID_ID);
        if cfg!(debug_assertions) && raft.state == StateRole::Leader {
            let holds =
                |id: &NodeId| raft.prs().get(engine_id(*id)).is_some_and(|peer| peer.matched < peer.next_idx);
            assert!(self.voters.iter().all(holds), "next fell to matched");
        }
    }
}
