//! One group's turn in a poll: propose, ask for read confirmations, drain the engine, apply, answer.

use keyspace::{Command, Effect, IdempotencyKey, LeaseCommand, Once, Outcome, Terms, entry::encode_entry};
use raft_group::{GroupOutput, ProposeError, ReadError};
use storage::ReadRows;
use types::{Acks, Entry, GroupId, Guarantee, LogPosition, Now, ReadLease, Receipt, Role};
use wire::PeerBody;

use crate::{
    api::{Fatal, NodeEvent, Op, Output, Reply, ReplyBody},
    group::{Confirmed, Group},
    held::Held,
    leases::tell_time,
    meta,
    node::Node,
    parked::{ends_wait, is_leaders},
    problems,
    requests::{Place, Waiting},
};

/// Command bytes proposed per group and poll: bounds a batch, and so the time until the next poll.
const PROPOSE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// ReadIndex rounds under way per group. Reads that come meanwhile share the next round.
const READ_ROUNDS_MAX: usize = 8;
/// Age at which an unconfirmed ReadIndex is asked once more under a new number.
const READ_RETRY_MS: u64 = 300;
/// Reads answered by their deadline, such as while a full disk holds up applying, that may be kept
/// beside those that still wait.
const READS_ANSWERED_MAX: usize = 1_024;

impl Node {
    pub(crate) fn pump(&mut self, now: Now, group: &mut Group) -> Result<(), Fatal> {
        self.propose(now, group);
        self.keep_history(now, group)?;
        self.ask_reads(now, group);
        let mut output = GroupOutput::default();
        loop {
            group.raft.poll(&mut output);
            let progressed = self.carry_out(now, group, &mut output)?;
            if !progressed {
                break;
            }
        }
        self.answer_early(group);
        self.count_leases(now, group)?;
        self.answer_held(group);
        group.appended.note(group.raft.role(), group.raft.last_index(), now.mono_ms);
        self.answer_reads(now, group)?;
        Ok(self.answer_parked(group)?)
    }

    /// Puts waiting commands into the log, as one proposal.
    fn propose(&mut self, now: Now, group: &mut Group) {
        let late_ms = self.late_ms(now);
        let mut ids = Vec::new();
        let mut commands = Vec::new();
        let mut bytes = 0;
        // Whether a command of this proposal has told the time.
        let mut stamped = false;
        let overlay_full = self.store.overlay_bytes() >= 2 * self.config.limits.overlay_bytes;
        while let Some(&id) = group.proposing.front() {
            // A request that was answered meanwhile, or is about to be refused since its deadline
            // passed, must not happen any more.
            let in_time = |waiting: &&Waiting| waiting.deadline_ms > late_ms;
            let Some(Waiting { request, .. }) = self.requests.get(id).filter(in_time) else {
                group.proposing.pop_front();
                continue;
            };
            if overlay_full {
                types::mark!("overlay_full");
                let problem =
                    problems::overloaded("applied writes in memory", 2 * self.config.limits.overlay_bytes);
                group.proposing.pop_front();
                self.answer(id, Err(problem));
                continue;
            }
            let (command, key) = match &request.op {
                Op::Command(command) => (command, None),
                Op::Once(key, command) => (command, Some(key)),
                _ => unreachable!("only commands are proposed"),
            };
            let terms = Terms {
                once: key.map(|key| self.once(now, group, key, stamped)),
                seen: request.options.session.clone().without(group.id).without(GroupId::META).without_hlc(),
                quota_bytes: self.quota_of(group),
                early: self.early(now, request),
                fence: request.options.fence.clone(),
                shards: self.shards_of(group, command),
                values: self.values_of(group, command),
            };
            let early = terms.early.is_some();
            stamped |= key.is_some();
            let command = encode_entry(&terms, command);
            if bytes > 0 && bytes + command.len() > PROPOSE_BYTES_MAX {
                break;
            }
            bytes += command.len();
            commands.push(command.into());
            ids.push((id, early));
            group.proposing.pop_front();
        }
        if ids.is_empty() {
            return;
        }
        match group.raft.propose(commands) {
            Ok(proposed) => {
                if stamped {
                    group.once_stamped = Some((proposed.term, now.mono_ms));
                }
                for (index, (id, early)) in (proposed.first_index..).zip(ids) {
                    if early {
                        group.early.proposed(index, proposed.term, id);
                    }
                    group.proposed.insert((index, proposed.term), id);
                    self.requests.place(id, Place::Proposed(group.id, index));
                }
            }
            Err(ProposeError::Overloaded) => {
                let limit = self.config.limits.unapplied_bytes_max;
                for (id, _) in ids {
                    self.answer(id, Err(problems::overloaded("writes not applied yet", limit)));
                }
            }
            Err(ProposeError::NotLeader { .. } | ProposeError::Transferring) => {
                for (id, _) in ids {
                    self.requests.retry(id, 0);
                }
            }
        }
    }

    /// The group's part of its keyspace's quota.
    fn quota_of(&self, group: &Group) -> Option<u64> {
        let contract = self.keyspaces.get(&group.name)?.contract;
        #[cfg(feature = "planted")]
        let contract = self.planted_contract(contract, group.raft.term());
        Some(contract.quota_bytes? / u64::from(contract.shards))
    }

    /// How many shards a keyspace has, for a command that depends on it.
    fn shards_of(&self, group: &Group, command: &Command) -> Option<u32> {
        let chooses = matches!(command, Command::Lease(LeaseCommand::Grant { id: None, .. }));
        let shards = self.keyspaces.get(&group.name).filter(|_| chooses)?.contract.shards;
        (shards > 1).then_some(shards)
    }

    /// What an entry says beside its idempotency key. The first of a proposal tells the time that passed
    /// since the last proposal of this leader's term that told it: those of one term are committed in
    /// order, and terms follow each other, so that no time is ever counted twice.
    fn once(&self, now: Now, group: &Group, key: &IdempotencyKey, stamped: bool) -> Once {
        let elapsed_ms = match group.once_stamped {
            Some((term, at_ms)) if term == group.raft.term() && !stamped => now.mono_ms.saturating_sub(at_ms),
            _ => 0,
        };
        let limits = &self.config.limits;
        let contract = self.keyspaces.get(&group.name).map(|keyspace| keyspace.contract).unwrap_or_default();
        let ttl_ms = contract.idempotency_ttl_s.saturating_mul(1_000);
        Once {
            key: self.remembered_key(group, key),
            elapsed_ms,
            ttl_ms,
            keys_max: limits.idempotency_keys_max,
        }
    }

    #[cfg(not(feature = "planted"))]
    fn remembered_key(&self, _: &Group, key: &IdempotencyKey) -> IdempotencyKey {
        key.clone()
    }

    /// With the planted bug, no leader knows the keys of the leaders before it.
    #[cfg(feature = "planted")]
    fn remembered_key(&self, group: &Group, key: &IdempotencyKey) -> IdempotencyKey {
        if self.config.planted != Some(raft_group::Planted::KeysForgottenByNextLeader) {
            return key.clone();
        }
        let of_term = [key.as_bytes(), &group.raft.term().to_le_bytes()].concat();
        IdempotencyKey::new(of_term).unwrap_or_else(|_| key.clone())
    }

    fn ask_reads(&mut self, now: Now, group: &mut Group) {
        if group.reads.len() > 2 * self.requests.len() + READS_ANSWERED_MAX {
            group.reads.keep(|id| self.requests.get(id).is_some());
        }
        self.repeat_late_read(now, group);
        self.read_by_lease(now, group);
        #[cfg(feature = "planted")]
        self.planted_unconfirmed(now, group);
        if group.reads.waiting.is_empty() || group.reads.asked.len() >= READ_ROUNDS_MAX {
            return;
        }
        match group.raft.read_index(now.mono_ms) {
            Ok(read) => {
                let ids = std::mem::take(&mut group.reads.waiting);
                #[cfg(feature = "planted")]
                let ids = [group.reads.asked.remove(&read).unwrap_or_default().1, ids].concat();
                group.reads.asked.insert(read, (now.mono_ms, ids));
            }
            Err(ReadError::NotReady) => {}
            Err(ReadError::NotLeader { .. }) => {
                for id in std::mem::take(&mut group.reads.waiting) {
                    self.requests.retry(id, 0);
                }
            }
        }
    }

    /// A round that is late may have been lost, or its majority is slow. Another one is begun, whose confirmation is one
    /// of those before it too; should theirs come first, it counts.
    fn repeat_late_read(&mut self, now: Now, group: &mut Group) {
        let newest_ms = group.reads.asked.values().map(|(asked_ms, _)| *asked_ms).max();
        let Some(newest_ms) = newest_ms.map(|newest_ms| newest_ms.max(group.reads.repeated_ms)) else {
            return;
        };
        if now.mono_ms >= newest_ms + READ_RETRY_MS && group.raft.read_index(now.mono_ms).is_ok() {
            types::mark!("read_round_repeated");
            group.reads.repeated_ms = now.mono_ms;
        }
    }

    /// Carries out what the engine gave; answers whether there was anything.
    fn carry_out(&mut self, now: Now, group: &mut Group, output: &mut GroupOutput) -> Result<bool, Fatal> {
        let mut progressed = false;
        for (to, message) in output.messages.drain(..) {
            self.send(group.id, to, PeerBody::Raft(message));
        }
        // Entries come before a snapshot in the same round, never after it.
        if !output.committed.is_empty() {
            progressed = true;
            self.apply(now, group, &output.committed)?;
            output.committed.clear();
        }
        if let Some((ready, position)) = output.install.take() {
            self.begin_install(group, position)?;
            for write in output.writes.drain(..) {
                if write.ready < ready {
                    self.writes.push(write);
                } else {
                    group.installing.as_mut().expect("it was just begun").held.push(write);
                }
            }
        }
        for write in output.writes.drain(..) {
            match &mut group.installing {
                Some(installing) => {
                    types::mark!("write_held_for_snapshot");
                    installing.held.push(write);
                }
                None => self.writes.push(write),
            }
        }
        for (read, index) in output.reads.drain(..) {
            if let Some((asked_ms, ids)) = group.reads.asked.remove(&read) {
                let applied = self.store.state(group.id).applied_index;
                group.freshness.prove(index, asked_ms, applied);
                let term = group.raft.term();
                group.reads.confirmed.push_back(Confirmed { index, term, asked_ms, ids, lease: None });
            }
        }
        for (to, announce) in output.send_snapshot.drain(..) {
            self.start_sending(now, group, to, announce)?;
        }
        group.wants_checkpoint |= std::mem::take(&mut output.wants_checkpoint);
        Ok(progressed)
    }

    fn apply(&mut self, now: Now, group: &mut Group, entries: &[Entry]) -> Result<(), Fatal> {
        let role = group.raft.role();
        for entry in entries {
            let position = LogPosition { index: entry.index, term: entry.term };
            #[cfg(feature = "planted")]
            let entry = &crate::planted::damage(self.config.planted, group, entry);
            let effect = keyspace::apply(&mut self.store, group.id, position, &entry.data)
                .map_err(|error| fatal(group.id, entry.index, error))?;
            group.applied_bytes += entry.data.len() as u64;
            if keyspace::entry::has_seen(&entry.data) {
                group.frontier = keyspace::frontier(&self.store, group.id)?;
            }
            if group.id == GroupId::META && !entry.data.is_empty() {
                self.lost.dirty = true;
            }
            if group.id == GroupId::META
                && matches!(
                    effect,
                    Some(Effect::Done { outcome: Outcome::Put { .. } | Outcome::Deleted { .. }, .. })
                )
            {
                self.recorded = Some(self.recorded_keyspaces()?);
            }
            if let Some(Effect::Done { outcome: Outcome::Lease(outcome), deduplicated: false }) = &effect {
                #[cfg(feature = "planted")]
                let now = self.planted_clock(now);
                let free = group.leases.applied(now.mono_ms, outcome);
                group.reads.waiting.extend(free);
            }
            let mut own = None;
            let claims = (entry.index, 0)..=(entry.index, u64::MAX);
            for ((_, term), id) in group.proposed.extract_if(claims, |_, _| true) {
                if term == entry.term {
                    own = Some(id);
                } else {
                    types::mark!("proposal_replaced");
                    // Another leader's entry took the place of ours: ours never happens.
                    self.requests.retry(id, 0);
                }
            }
            let (Some(id), Some(effect)) = (own, effect) else { continue };
            let Effect::Done { outcome, deduplicated } = effect else {
                types::mark!("key_reused");
                self.answer(id, Err(problems::idempotency_key_reused()));
                continue;
            };
            let (index, term, body) = (entry.index, entry.term, ReplyBody::Outcome(outcome));
            self.answer_applied(group, role, Held { id, index, term, body, deduplicated });
        }
        if !group.early.open && entries.iter().any(|entry| keyspace::entry::is_early(&entry.data)) {
            group.early.open = true;
        }
        if let Some(last) = entries.last() {
            group.raft.applied(last.index);
        }
        Ok(())
    }

    /// Answers the reads whose index the state has reached.
    fn answer_reads(&mut self, now: Now, group: &mut Group) -> Result<(), Fatal> {
        let applied = self.store.state(group.id).applied_index;
        while group.reads.confirmed.front().is_some_and(|confirmed| confirmed.index <= applied) {
            let confirmed = group.reads.confirmed.pop_front().expect("the front was just seen");
            for id in confirmed.ids {
                let Some(waiting) = self.requests.get(id) else { continue };
                let Op::Query(query) = &waiting.request.op else { unreachable!("only queries are read") };
                #[cfg(feature = "planted")]
                let query = &self.planted_query(query);
                let mut answer = keyspace::answer(&self.store, group.id, query)?;
                let leads = group.leases.counts_in(confirmed.term) && group.raft.role() == Role::Leader;
                if is_leaders(query) && !leads {
                    self.requests.retry(id, 0);
                    continue;
                }
                if !ends_wait(query, &answer) {
                    self.park(group, id)?;
                    continue;
                }
                let asked_ms = confirmed.asked_ms;
                #[cfg(feature = "planted")]
                let (now, asked_ms) = (self.planted_clock(now), self.planted_asked_ms(now, asked_ms));
                if let Some(ending) = tell_time(&mut group.leases, now, asked_ms, query, &mut answer) {
                    group.leases.hold(ending, id);
                    continue;
                }
                let body = ReplyBody::Answer(answer);
                match confirmed.lease {
                    Some(lease) => self.answer_leased(id, group, body, confirmed.term, lease),
                    None => self.answer_confirmed(id, group, body, confirmed.term),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn answer_with(
        &mut self,
        id: u64,
        group: &Group,
        body: ReplyBody,
        (role, term, index): (Role, u64, u64),
        Backing { acks, deduplicated, read_lease }: Backing,
    ) {
        if self.requests.get(id).is_none() {
            return;
        }
        let hlc = self.answer_hlc();
        let Some(waiting) = self.requests.get(id) else { return };
        let receipt = Receipt {
            keyspace: waiting.request.keyspace.clone(),
            requested: if waiting.is_query() {
                self.read_level(waiting).guarantee()
            } else {
                Guarantee::Linearizable
            },
            delivered: Guarantee::Linearizable,
            session: self.session_after(waiting, group, index, hlc),
            hlc,
            degraded: None,
            revision: Some(revision_of(&body)),
            staleness_ms: Some(0),
            acks,
            served_by: self.config.node,
            role,
            term,
            attempts: waiting.attempts,
            deduplicated,
            shards: None,
            read_lease,
        };
        self.answer(id, Ok(Reply { body, receipt }));
    }

    /// Notices a change of role or leader: tells of it, and sends requests that left no trace elsewhere.
    pub(crate) fn follow_role(&mut self, now: Now, group: &mut Group) {
        let seen = (group.raft.role(), group.raft.term(), group.raft.leader());
        let (role, term, leader) = seen;
        match (leader, group.leaderless_since_ms) {
            (None, None) => group.leaderless_since_ms = Some(now.mono_ms),
            (Some(_), Some(_)) => group.leaderless_since_ms = None,
            _ => {}
        }
        if group.told == Some(seen) {
            return;
        }
        let leads_on = matches!(group.told, Some((Role::Leader, told_term, _)) if role == Role::Leader && told_term == term);
        group.told = Some(seen);
        if role == Role::Leader && !leads_on {
            // Its last entry is the one that opens its term, or was proposed since.
            let opened = group.raft.first_index_of_term().unwrap_or(group.raft.last_index());
            group.lost.elected(now, term, opened);
        }
        if !leads_on {
            for id in group.take_unstarted() {
                self.requests.retry(id, 0);
            }
            let ended = self.sending.drop_where(|at, _| at == group.id);
            for end in ended {
                group.raft.report_snapshot(end.to, end.ok);
            }
        }
        if leader.is_some() {
            // A read does no harm twice, nor does a write under an idempotency key: they need not wait for
            // a leader that may be gone.
            let elsewhere =
                |place| matches!(place, Place::Forwarded(at, to) if at == group.id && Some(to) != leader);
            for id in self.requests.at(elsewhere) {
                self.requests.retry_repeatable(id, 0);
            }
        }
        self.outbox.push(Output::Event(NodeEvent::Role { group: group.id, role, term, leader }));
    }

    /// The meta leader creates the keyspaces of the configuration that do not exist yet.
    pub(crate) fn create_configured_keyspaces(&mut self) {
        let meta = self.groups.get_mut(&GroupId::META).expect("the meta group always runs");
        if meta.raft.role() != Role::Leader {
            return;
        }
        let term = meta.raft.term();
        for name in &self.config.keyspaces {
            let proposed = (term, name.clone());
            if self.keyspaces.contains_key(name) || self.proposed_keyspaces.contains(&proposed) {
                continue;
            }
            let contract = types::Contract::default().resolved(self.config.members.len() as u32);
            let command = meta::create(name, &contract);
            if meta.raft.propose(vec![keyspace::codec::encode_command(&command).into()]).is_ok() {
                self.proposed_keyspaces.retain(|(of_term, _)| *of_term == term);
                self.proposed_keyspaces.insert(proposed);
            }
        }
    }
}

/// What is behind an answer.
pub(crate) struct Backing {
    pub acks: Acks,
    pub deduplicated: bool,
    pub read_lease: Option<ReadLease>,
}

fn revision_of(body: &ReplyBody) -> u64 {
    match body {
        ReplyBody::Outcome(outcome) => outcome.revision(),
        ReplyBody::Answer(answer) => answer.revision(),
        ReplyBody::Catalog(_) | ReplyBody::Lost(_) | ReplyBody::Acquired(_) | ReplyBody::Accepted => {
            unreachable!("no group gives such an answer")
        }
    }
}

fn fatal(group: GroupId, index: u64, error: keyspace::ApplyError) -> Fatal {
    match error {
        keyspace::ApplyError::Store(error) => Fatal::Store(error),
        other => Fatal::Entry { group, index, reason: other.to_string() },
    }
}
