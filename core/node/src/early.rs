//! Writes that are acknowledged before they are committed: `ack = leader`, and `ack = none`.
//!
//! Guarantee G-EARLY: with `ack = leader` a write is answered only once the leader that answers has it on its own disk, in the
//! term in which it leads; its receipt claims no more than that. Only what can be answered truthfully before it is
//! applied is answered early: puts and deletes without a condition, lease or fence, in keyspaces without a quota. Everything else is
//! answered when it is applied, as with `ack = quorum`.
//!
//! Not promised: that such a write survives a failover. What is lost is listed: see [`crate::lost`].

use std::collections::{BTreeSet, VecDeque};

use keyspace::{Command, Early, Expect};
use types::{Acks, ErrorCode, Guarantee, Now, Problem, Receipt, Role, contract::Ack};

use crate::{
    api::{Op, Reply, ReplyBody, Request},
    group::Group,
    node::Node,
    requests::Origin,
};

/// A group's writes of `ack = leader` that are not applied yet.
#[derive(Debug, Default)]
pub(crate) struct EarlyWrites {
    /// Whether the mark that the group acknowledges early is applied: before, nothing is answered early.
    pub open: bool,
    /// Index, term and request of those that wait for this node's disk, by rising index.
    waiting: VecDeque<(u64, u64, u64)>,
    /// Index and term of those that were answered, until they are applied.
    pub answered: BTreeSet<(u64, u64)>,
}

impl EarlyWrites {
    /// One was put into the log.
    pub fn proposed(&mut self, index: u64, term: u64, id: u64) {
        self.waiting.push_back((index, term, id));
    }

    /// Everything up to this index is decided.
    pub fn applied(&mut self, index: u64) {
        while self.waiting.front().is_some_and(|(waiting, ..)| *waiting <= index) {
            self.waiting.pop_front();
        }
        if self.answered.first().is_some_and(|(first, _)| *first <= index) {
            self.answered = self.answered.split_off(&(index + 1, 0));
        }
    }
}

/// Whether what a command did can be told before it is applied: only such a write can be acknowledged early.
pub fn is_unconditional(request: &Request) -> bool {
    let unconditional = matches!(
        request.op,
        Op::Command(
            Command::Put { expect: Expect::Anything, lease: None, .. }
                | Command::Delete { expect: Expect::Anything, .. }
        )
    );
    unconditional && request.options.fence.is_none()
}

/// Checks that a request that names `ack = leader` or `none` can have it.
///
/// # Errors
/// `INVALID_ARGUMENT` for a write whose outcome depends on what it finds.
pub(crate) fn validate(request: &Request) -> Result<(), Problem> {
    match request.options.ack {
        Some(ack @ (Ack::None | Ack::Leader))
            if matches!(request.op, Op::Command(_) | Op::Once(..)) && !is_unconditional(request) =>
        {
            Err(Problem::not_applied(
                ErrorCode::InvalidArgument,
                format!(
                    "ack = {ack} is for puts and deletes without a condition, idempotency key, lease or fence: what any other write did \
                     is known only once it is committed"
                ),
                "ask for ack = quorum, or leave it out",
            ))
        }
        _ => Ok(()),
    }
}

impl Node {
    /// When a write is acknowledged: as it asks, or as its contract says, as far as that can be kept for it.
    pub(crate) fn ack_of(&self, request: &Request) -> Ack {
        let contract = self.keyspaces.get(&request.keyspace).map(|keyspace| keyspace.contract);
        let contract = contract.unwrap_or_default();
        let ack = request.options.ack.unwrap_or(contract.ack);
        let early = matches!(ack, Ack::None | Ack::Leader);
        if early && (!is_unconditional(request) || contract.quota_bytes.is_some()) {
            return Ack::Quorum;
        }
        ack
    }

    /// What goes with a write into the log if it is acknowledged early.
    pub(crate) fn early(&self, now: Now, request: &Request) -> Option<Early> {
        let options = &request.options;
        (self.ack_of(request) == Ack::Leader).then(|| Early {
            leader: self.config.node,
            wall_ms: now.wall_ms,
            client: options.client.clone(),
            request_id: options.request_id.clone(),
        })
    }

    /// A valid write that its client waits for no longer than until a node took it in. Answers whether it was one; then it
    /// has been answered.
    pub(crate) fn answer_unheard(&mut self, origin: Origin, request: &Request, attempts: u32) -> bool {
        let Some(keyspace) = self.keyspaces.get(&request.keyspace) else { return false };
        if matches!(origin, Origin::Nobody) || self.ack_of(request) != Ack::None {
            return false;
        }
        let Op::Command(command) = &request.op else { return false };
        if self.refuse_other_kind(request).is_some() {
            return false;
        }
        // One of several shards at most; which, was checked as the request was validated.
        let Ok(shard) = command.shard(keyspace.contract.shards) else { return false };
        let group = self.groups.get(&keyspace.group.shard(shard));
        let (role, term) = group.map_or((Role::Follower, 0), |group| (group.raft.role(), group.raft.term()));
        let acks = Acks { required: 0, got: 0, of: self.nodes(), durable: 0 };
        let receipt = self.early_receipt(request, acks, (role, term), attempts);
        self.reply(origin, Ok(Reply { body: ReplyBody::Accepted, receipt }));
        true
    }

    /// Answers the writes of `ack = leader` that are on this leader's disk by now.
    pub(crate) fn answer_early(&mut self, group: &mut Group) {
        let (role, term) = (group.raft.role(), group.raft.term());
        #[cfg(feature = "planted")]
        let durable = self.planted_durable(group);
        #[cfg(not(feature = "planted"))]
        let durable = group.raft.persisted_index();
        while let Some(&(index, of_term, id)) = group.early.waiting.front() {
            let leads = role == Role::Leader && of_term == term;
            if leads && index > durable {
                return;
            }
            group.early.waiting.pop_front();
            if !leads {
                types::mark!("early_write_unanswered");
            }
            let Some(waiting) = self.requests.get(id).filter(|_| leads && group.early.open) else { continue };
            let (request, attempts) = (waiting.request.clone(), waiting.attempts);
            let got = group.raft.matched_count(index).max(1);
            let acks = Acks { required: 1, got, of: self.nodes(), durable: got };
            #[cfg(feature = "planted")]
            let acks = self.planted_early_acks(acks);
            let receipt = self.early_receipt(&request, acks, (role, term), attempts);
            group.early.answered.insert((index, term));
            self.answer(id, Ok(Reply { body: ReplyBody::Accepted, receipt }));
        }
    }

    /// Claims what is known of a write that is not committed: no revision, no place in the order, and nothing that a
    /// session could count on.
    fn early_receipt(
        &mut self,
        request: &Request,
        acks: Acks,
        (role, term): (Role, u64),
        attempts: u32,
    ) -> Receipt {
        let hlc = self.answer_hlc();
        let mut session = request.options.session.clone();
        session.see_hlc(hlc);
        Receipt {
            keyspace: request.keyspace.clone(),
            requested: Guarantee::Eventual,
            delivered: Guarantee::Eventual,
            session,
            revision: None,
            staleness_ms: None,
            acks,
            served_by: self.config.node,
            role,
            term,
            attempts,
            deduplicated: false,
            hlc,
            degraded: None,
            shards: None,
            read_lease: None,
        }
    }
}
