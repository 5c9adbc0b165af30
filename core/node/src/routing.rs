//! From a request to its leader and back: local, forwarded, or refused with the reason.

use types::{Applied, FORWARD_SILENCE_MS, GroupId, Guarantee, NodeId, Now, Problem, Role, contract::Read};
use wire::{
    PeerBody, PeerMessage,
    message::{Forward, ForwardReply, RaftKind},
};

use crate::{
    api::{Fatal, Op, Options, Output, Reply, Request},
    codec, early, gone,
    node::{META_NAME, Node, is_misrouted},
    parked::waited_in_vain,
    problems,
    reads::Reading,
    requests::{Origin, Place, Waiting},
};

impl Node {
    /// Sends every request that is looking for a leader to one, if one is known.
    pub(crate) fn route(&mut self, now: Now) -> Result<(), Fatal> {
        for id in self.requests.routable(now.mono_ms, self.late_ms(now)) {
            #[cfg(feature = "planted")]
            if self.planted_keep_alive(now, id)? {
                continue;
            }
            let Some(waiting) = self.requests.get(id) else { continue };
            let name = waiting.request.keyspace.as_str();
            let own = name == META_NAME && !matches!(waiting.origin, Origin::Client { .. });
            let group_id = if own { Some(Ok(GroupId::META)) } else { self.group_of(waiting) };
            let Some(group_id) = group_id else {
                // A keyspace of the configuration is about to be created; any other does not exist.
                if name == META_NAME || !self.config.keyspaces.iter().any(|configured| configured == name) {
                    let problem = problems::keyspace_not_found(name);
                    self.answer(id, Err(problem));
                } else {
                    self.refuse_if_leaderless(now, id, GroupId::META);
                }
                continue;
            };
            let group_id = match group_id {
                Ok(group_id) => group_id,
                Err(problem) => {
                    self.answer(id, Err(problem));
                    continue;
                }
            };
            if let Some(problem) = self.refuse_other_kind(&waiting.request) {
                self.answer(id, Err(problem));
                continue;
            }
            if let (GroupId::META, Op::Command(command)) = (group_id, &waiting.request.op)
                && let Some(problem) = self.refuse_change_if_leading(command)
            {
                self.answer(id, Err(problem));
                continue;
            }
            if let Op::Query(_) = waiting.request.op
                && let Reading::Here(kept) = self.where_to_read(now, waiting, &self.groups[&group_id])
            {
                self.read_here(now, id, group_id, kept)?;
                continue;
            }
            let group = self.groups.get_mut(&group_id).expect("a keyspace's group runs");
            let role = group.raft.role();
            match (role, group.raft.leader(), waiting.origin) {
                (Role::Leader, _, _) => match &waiting.request.op {
                    Op::Command(_) | Op::Once(..) if !self.entries_accepted => {
                        self.answer(id, Err(problems::no_space()))
                    }
                    Op::Command(_) | Op::Once(..) => {
                        group.proposing.push_back(id);
                        self.requests.place(id, Place::Queued(group_id));
                    }
                    Op::Query(_) => {
                        group.reads.waiting.push(id);
                        self.requests.place(id, Place::Reading(group_id));
                    }
                    Op::Catalog(_) | Op::Lost(_) | Op::Acquire(_) => {
                        unreachable!("it was turned into requests to the meta group")
                    }
                },
                (_, leader, Origin::Peer { .. }) => self.answer(id, Err(problems::not_leader(leader))),
                (_, Some(leader), _) if !self.unreachable.contains(&leader) => {
                    self.forward(now, id, group_id, leader);
                }
                _ => self.refuse_if_leaderless(now, id, group_id),
            }
        }
        Ok(())
    }

    /// Admits a request, or refuses it at once.
    /// `group`: the one that it came by.
    pub(crate) fn take_request(
        &mut self,
        origin: Origin,
        request: Request,
        group: Option<GroupId>,
        deadline_ms: u64,
        attempts: u32,
    ) {
        let valid = match &request.op {
            Op::Command(command) | Op::Once(_, command) => command.validate(),
            Op::Query(query) => query.validate(),
            Op::Lost(op) => {
                let Origin::Client { token } = origin else { unreachable!("only clients ask for it") };
                return self.take_lost(token, op, deadline_ms);
            }
            Op::Catalog(op) => {
                let Origin::Client { token } = origin else { unreachable!("only clients ask for it") };
                return self.take_catalog(token, request.keyspace, op.clone(), deadline_ms);
            }
            Op::Acquire(acquire) => {
                let Origin::Client { token } = origin else { unreachable!("only clients ask for it") };
                let (acquire, options) = (acquire.clone(), request.options);
                return self.take_acquire(token, request.keyspace, acquire, options, deadline_ms);
            }
        };
        let valid = valid.and_then(|()| request.options.validate()).and_then(|()| early::validate(&request));
        self.clock.observe(request.options.session.hlc());
        let limit = self.config.limits.pending_requests_max;
        if let Err(problem) = valid {
            self.reply(origin, Err(problem));
        } else if self.requests.len() >= limit {
            self.reply(origin, Err(problems::overloaded("requests waiting on this node", limit)));
        } else if !self.gather(origin, &request, deadline_ms) {
            let unheard = self.answer_unheard(origin, &request, attempts);
            let origin = if unheard { Origin::Nobody } else { origin };
            self.requests.insert(origin, request, group, deadline_ms, attempts);
        }
    }

    fn forward(&mut self, now: Now, id: u64, group_id: GroupId, leader: NodeId) {
        // A number of its own for every try: a late or repeated answer to an earlier one says nothing of it.
        let retried = self.requests.get(id).is_some_and(|waiting| waiting.attempts > 1);
        let id = if retried { self.requests.renumber(id).unwrap_or(id) } else { id };
        let Some(waiting) = self.requests.get(id) else { return };
        let left_ms = waiting.deadline_ms.saturating_sub(now.mono_ms);
        let forward = Forward {
            id,
            // The leader gives up a little sooner, so that its answer, which knows more, arrives in time.
            timeout_ms: left_ms - (left_ms / 8).min(100),
            request: codec::encode_request(&without_own(&waiting.request, group_id)).into(),
            attempt: waiting.attempts,
            term: self.groups[&group_id].raft.term(),
            boot: self.boot,
        };
        if waiting.is_query() || waiting.is_once() {
            let patience_ms = FORWARD_SILENCE_MS << (waiting.attempts.saturating_sub(1)).min(5);
            self.forwarded.insert((now.mono_ms + patience_ms, id));
        }
        self.requests.place(id, Place::Forwarded(group_id, leader));
        self.requests.sent(id, now.mono_ms);
        self.send(group_id, leader, PeerBody::Forward(forward));
    }

    fn refuse_if_leaderless(&mut self, now: Now, id: u64, group: GroupId) {
        let since = self.groups.get(&group).and_then(|group| group.leaderless_since_ms);
        let limit_ms = self.config.timing.no_quorum_after_ms;
        #[cfg(feature = "planted")]
        let since = self.planted_leaderless(since);
        if since.is_some_and(|since| now.mono_ms >= since + limit_ms)
            && let Some(waiting) = self.requests.get(id)
        {
            let problem = self.leaderless(waiting);
            self.answer(id, Err(problem));
        }
    }

    /// One message from a peer. What breaks the protocol closes the connection; nothing a peer says
    /// can stop this node.
    pub(crate) fn on_peer(&mut self, now: Now, from: NodeId, message: PeerMessage) -> Result<(), Fatal> {
        self.unreachable.remove(&from);
        let id = GroupId(message.group);
        let Some(body) = message.body else { return Ok(()) };
        if let PeerBody::ForwardReply(reply) = body {
            self.on_forward_reply(now, from, &reply);
            return Ok(());
        }
        if let PeerBody::Forward(forward) = &body
            && !self.groups.contains_key(&id)
            && self.is_gone(id)
        {
            self.refuse_forward_to_gone(from, id, forward);
            return Ok(());
        }
        // A group that has not started here yet: the peer repeats what matters.
        if !self.groups.contains_key(&id) {
            return Ok(());
        }
        match body {
            PeerBody::Raft(mut raft) => {
                if raft.kind == RaftKind::Snapshot as i32 {
                    self.disconnect(from, "a snapshot was announced without its data");
                    return Ok(());
                }
                let is_append = raft.kind == RaftKind::Append as i32 && !raft.entries.is_empty();
                let overlay_full = self.store.overlay_bytes() >= 2 * self.config.limits.overlay_bytes;
                if is_append && self.list_before_append(now, id, &raft) {
                    types::mark!("append_waits_for_lost_list");
                    return Ok(());
                }
                let group = self.groups.get_mut(&id).expect("it was just there");
                if matches!(raft.kind(), RaftKind::Append | RaftKind::Heartbeat) {
                    group.lost.heard(now);
                }
                if is_append && (!self.entries_accepted || overlay_full || !group.raft.can_accept_entries()) {
                    // What is new goes unacknowledged, so the leader sends it again when there is room.
                    types::mark!("append_refused_for_room");
                    match group.raft.held_of(&raft) {
                        0 => return Ok(()),
                        held => raft.entries.truncate(held),
                    }
                }
                if let Err(error) = group.raft.step(now.mono_ms, from, raft) {
                    self.disconnect(from, error.to_string());
                }
            }
            PeerBody::Forward(forward) => self.on_forward(now, from, id, &forward),
            PeerBody::SnapshotChunk(chunk) => self.on_snapshot_chunk(now, from, id, chunk)?,
            PeerBody::SnapshotAck(ack) => {
                let (sends, ended) = self.sending.on_ack(now.mono_ms, id, from, ack)?;
                for body in sends {
                    self.send(id, from, body);
                }
                self.report_ended(ended);
            }
            PeerBody::ForwardReply(_) => unreachable!("handled above"),
        }
        Ok(())
    }

    fn on_forward(&mut self, now: Now, from: NodeId, id: GroupId, forward: &Forward) {
        let request = match codec::decode_request(&forward.request) {
            Ok(request) => request,
            Err(error) => {
                return self.disconnect(from, format!("a forwarded request cannot be read: {error}"));
            }
        };
        let own = request.keyspace == META_NAME && id != GroupId::META;
        if own || !self.may_come_by(&request, id) {
            return self.disconnect(from, "a forwarded request came by another keyspace's group");
        }
        let group = self.groups.get_mut(&id).expect("the caller found it");
        if !group.forwards.first_time(from, forward.boot, forward.id) {
            types::mark!("forward_repeated");
            return;
        }
        let origin = Origin::Peer { from, boot: forward.boot, id: forward.id };
        if group.raft.role() == Role::Leader && group.raft.term() == forward.term {
            let deadline_ms = now.mono_ms + forward.timeout_ms.min(FORWARD_TIMEOUT_MS_MAX);
            return self.take_request(origin, request, Some(id), deadline_ms, forward.attempt.max(1));
        }
        let is_command = !matches!(request.op, Op::Query(_));
        let problem = if is_command && forward.term <= group.recovered_term {
            // A copy of it may have come before this node's last stop, and be in the log.
            problems::leader_restarted(self.config.node)
        } else {
            problems::not_leader(group.raft.leader())
        };
        self.reply(origin, Err(problem));
    }

    /// The peer does not know yet that the keyspace is gone.
    fn refuse_forward_to_gone(&mut self, from: NodeId, id: GroupId, forward: &Forward) {
        match codec::decode_request(&forward.request) {
            Ok(request) => {
                // A copy of it may have come while the group ran.
                let applied =
                    if matches!(request.op, Op::Query(_)) { Applied::NotApplied } else { Applied::Unknown };
                let origin = Origin::Peer { from, boot: forward.boot, id: forward.id };
                self.reply(origin, Err(gone::deleted(&request.keyspace, applied)));
            }
            Err(error) => {
                self.disconnect(from, format!("a forwarded request to group {id} cannot be read: {error}"));
            }
        }
    }

    fn on_forward_reply(&mut self, now: Now, from: NodeId, reply: &ForwardReply) {
        #[cfg(feature = "planted")]
        assert!(
            self.requests.get(reply.id).is_some()
                || !self.planted_forgets(raft_group::Planted::LateReplyPanics),
            "an answer to nothing"
        );
        let Some(waiting) = self.requests.get(reply.id) else { return };
        let expected = matches!(waiting.place, Place::Forwarded(_, leader) if leader == from);
        if reply.boot != self.boot || !expected {
            return;
        }
        match codec::decode_reply(&reply.reply) {
            Ok(Err(problem)) if is_misrouted(&problem) => {
                self.requests.retry(reply.id, now.mono_ms + 2 * self.config.timing.tick_ms);
            }
            Ok(Err(problem)) if problem.applied == Applied::Unknown => {
                if !self.requests.retry_repeatable(reply.id, now.mono_ms + 2 * self.config.timing.tick_ms) {
                    self.answer(reply.id, Err(problem));
                }
            }
            Ok(mut result) => {
                if let (Ok(answered), Place::Forwarded(group, _)) = (&mut result, waiting.place) {
                    let (sent_ms, is_query) = (waiting.sent_ms, waiting.is_query());
                    let proved = answered.receipt.session.clone();
                    answered.receipt.session.join(&waiting.request.options.session);
                    if is_query && answered.receipt.delivered == Guarantee::Linearizable {
                        self.learn_freshness(group, sent_ms, &proved);
                    }
                }
                self.answer(reply.id, result);
            }
            Err(error) => self.disconnect(from, format!("an answer cannot be read: {error}")),
        }
    }

    /// Sends again what may be repeated and was met with silence: the request or its answer was lost,
    /// perhaps for want of room in a queue between the nodes.
    pub(crate) fn repeat_unanswered(&mut self, now: Now) {
        while let Some(&(at_ms, id)) = self.forwarded.first().filter(|(at_ms, _)| *at_ms <= now.mono_ms) {
            self.forwarded.remove(&(at_ms, id));
            let waits =
                self.requests.get(id).is_some_and(|waiting| matches!(waiting.place, Place::Forwarded(..)));
            if waits {
                self.requests.retry_repeatable(id, now.mono_ms);
            }
        }
    }

    /// What was sent to the peer may not have arrived, and what it answered may be lost.
    pub(crate) fn on_peer_down(&mut self, peer: NodeId) {
        self.unreachable.insert(peer);
        for group in self.groups.values_mut() {
            group.raft.report_unreachable(peer);
        }
        let ended = self.sending.drop_where(|_, to| to == peer);
        self.report_ended(ended);
        for id in self.requests.at(|place| matches!(place, Place::Forwarded(_, leader) if leader == peer)) {
            if !self.requests.retry_repeatable(id, 0) {
                self.answer(id, Err(problems::leader_lost(peer)));
            }
        }
    }

    /// Answers the requests whose time is up, and those that nothing can help any more.
    pub(crate) fn expire(&mut self, now: Now) {
        for id in self.requests.due(self.late_ms(now)) {
            #[cfg(feature = "planted")]
            if self.planted_forgets(raft_group::Planted::LateUnanswered) {
                self.requests.remove(id);
                continue;
            }
            let problem = self.why_late(id);
            self.answer(id, Err(problem));
        }
        let limit_ms = self.config.timing.no_quorum_after_ms;
        let mut lost = Vec::new();
        for (group_id, group) in &mut self.groups {
            if group.leaderless_since_ms.is_some_and(|since| now.mono_ms >= since + limit_ms) {
                let problem = problems::no_quorum_unknown(&group.name);
                let forwarded = self.requests.forwarded_for_good(*group_id);
                let proposed = std::mem::take(&mut group.proposed).into_values();
                lost.extend(proposed.chain(forwarded).map(|id| (id, problem.clone())));
            }
        }
        for (id, problem) in lost {
            self.answer(id, Err(problem));
        }
    }

    /// Requests whose deadline is at or before this are late: their answer must leave now. Two ticks
    /// early, so that it leaves before the deadline and not after it.
    pub(crate) fn late_ms(&self, now: Now) -> u64 {
        now.mono_ms + 2 * self.config.timing.tick_ms
    }

    /// Why a request that found no leader in time is refused.
    fn leaderless(&self, waiting: &Waiting) -> Problem {
        let name = &waiting.request.keyspace;
        match self.read_level(waiting) {
            level @ (Read::Causal | Read::Bounded(_)) if waiting.is_query() => {
                problems::too_stale(name, level)
            }
            _ => problems::no_quorum_refused(name),
        }
    }

    fn why_late(&self, id: u64) -> Problem {
        let Some(waiting) = self.requests.get(id) else { return problems::deadline_not_applied() };
        let name = &waiting.request.keyspace;
        let leaderless =
            |group: GroupId| self.groups.get(&group).is_none_or(|group| group.raft.leader().is_none());
        match waiting.place {
            Place::Unrouted => {
                let group = self.group_of(waiting).and_then(Result::ok).unwrap_or(GroupId::META);
                if leaderless(group) { self.leaderless(waiting) } else { problems::deadline_not_applied() }
            }
            Place::Held(group, index) => match self.groups.get(&group) {
                Some(group) => self.held_too_long(group, index),
                None => problems::deadline_unknown(),
            },
            Place::Queued(_) => problems::deadline_not_applied(),
            Place::Parked(_) => waited_in_vain(),
            Place::Reading(_) => problems::read_unconfirmed(name),
            Place::Proposed(group, index) => {
                let committed =
                    self.groups.get(&group).is_some_and(|group| group.raft.commit_index() >= index);
                if committed { problems::deadline_unknown() } else { problems::no_quorum_unknown(name) }
            }
            Place::Forwarded(group, _) => match (waiting.is_query(), leaderless(group)) {
                (true, true) => problems::read_unconfirmed(name),
                (true, false) => problems::deadline_not_applied(),
                (false, true) => problems::no_quorum_unknown(name),
                (false, false) => problems::deadline_unknown(),
            },
        }
    }

    /// Ends a request.
    pub(crate) fn answer(&mut self, id: u64, result: Result<Reply, Problem>) {
        if let Some(waiting) = self.requests.remove(id) {
            let under_key = waiting.is_once();
            let result = result.map_err(|problem| match waiting.maybe_applied {
                true => problems::after_a_try(problem),
                false if under_key && problem.applied == Applied::Unknown => problems::under_key(problem),
                false => problem,
            });
            self.reply(waiting.origin, result);
        }
    }

    pub(crate) fn reply(&mut self, origin: Origin, result: Result<Reply, Problem>) {
        match origin {
            Origin::Client { token } => self.outbox.push(Output::Reply { token, result }),
            Origin::Catalog { id } => self.on_catalog_answer(id, result),
            // It has taught what it could.
            Origin::Probe { .. } | Origin::Nobody => {}
            Origin::LostTask { token } => self.on_lost_task(token, result),
            Origin::LostReport { group } => self.on_lost_report(group, &result),
            Origin::LostBound { group } => self.on_lost_bound(group, result.is_ok()),
            Origin::Acquire { id } => self.on_acquire_answer(id, result),
            Origin::Gather { id, shard } => self.on_gather_answer(id, shard, result),
            Origin::Peer { from, boot, id } => {
                let reply = ForwardReply { id, boot, reply: codec::encode_reply(&result).into() };
                self.send(GroupId::META, from, PeerBody::ForwardReply(reply));
            }
        }
    }
}

/// Without what the session has seen of the group itself: its leader has all of that, and the index in
/// its answer is then its own.
fn without_own(request: &Request, group: GroupId) -> Request {
    let session = request.options.session.clone().without(group);
    Request { options: Options { session, ..request.options.clone() }, ..request.clone() }
}

/// Longest time that a forwarded request may wait here, whatever its sender says.
const FORWARD_TIMEOUT_MS_MAX: u64 = 60_000;
