//! Driving one node as the server does: events in, outputs carried out in order.

use std::collections::BTreeMap;

use node::{Fatal, Input, NodeEvent, Output, Reply, ReplyBody};
use types::{
    Applied, Guarantee, NodeId, Now, Problem,
    contract::{Ack, Read},
};
use wire::{PeerMessage, message::RaftKind};

use crate::{
    brief,
    clients::Wish,
    event::{Event, ProcessEvent},
    failure::Broken,
    invariants::{Judged, is_left_out},
    network::Lost,
    plan::{CLOCK_DRIFT_PPM, KEYSPACES, MS},
    process::{JobDone, Logged, Stop, StoreJob, store_stop},
    promises, receipts, sessions,
    watchers::Watchers,
    world::World,
};
use check::Action;
use keyspace::{Outcome, TxnOutcome};

/// A loop's turn takes up to this long: what comes meanwhile is handled before the next poll.
const TURN_US_MAX: u64 = 300;

impl World {
    pub(crate) fn on_process(&mut self, node: NodeId, boot: u64, what: ProcessEvent) -> Result<(), Broken> {
        let host = &self.hosts[node.0 as usize];
        if host.process.is_none() || host.boot != boot {
            return Ok(());
        }
        let disk_work = matches!(what, ProcessEvent::LogDone | ProcessEvent::JobDone);
        if disk_work && host.stalled_until_us > self.now_us {
            self.counts.add("disk_work_stalled", 1);
            self.queue.push(host.stalled_until_us, Event::Process { node, boot, what });
            return Ok(());
        }
        let worked = match what {
            _ if disk_work && self.halts_in_work(node) => Ok(()),
            ProcessEvent::Tick => {
                let tick_us = self.hosts[node.0 as usize].clock.virtual_us(self.plan.timing.tick_ms * MS);
                self.schedule(node, ProcessEvent::Tick, tick_us);
                self.watch_space(node).and_then(|()| self.input(node, Input::Tick))
            }
            ProcessEvent::Poll => self.poll(node),
            ProcessEvent::LogDone => self.on_log_done(node),
            ProcessEvent::LogRetry => self.watch_space(node).map(|()| self.begin_write(node)),
            ProcessEvent::JobDone => self.on_job_done(node),
        };
        worked.or_else(|stop| self.on_stop(node, stop))
    }

    /// Messages of a peer arrive.
    pub(crate) fn deliver(
        &mut self,
        to: NodeId,
        from: NodeId,
        messages: Vec<PeerMessage>,
    ) -> Result<(), Broken> {
        for message in messages {
            if self.hosts[to.0 as usize].process.is_none() {
                return Ok(());
            }
            self.input_or_stop(to, Input::Peer { from, message })?;
        }
        Ok(())
    }

    pub(crate) fn on_peer_down(&mut self, node: NodeId, peer: NodeId) -> Result<(), Broken> {
        self.input_or_stop(node, Input::PeerDown(peer))
    }

    /// A client's request arrives.
    pub(crate) fn on_request(&mut self, node: NodeId, token: u64) -> Result<(), Broken> {
        let now = self.now(node);
        let host = &self.hosts[node.0 as usize];
        let running = host.process.is_some();
        let Some(waiting) = self.clients.waiting(token) else { return Ok(()) };
        if self.network.loses(waiting.client, node, Lost::Requests) {
            self.counts.add("requests_lost", 1);
            // It waited in vain, and cannot know how far its request got.
            self.lose(token, Applied::Unknown);
            return Ok(());
        }
        if !running {
            self.lose(token, Applied::NotApplied);
            return Ok(());
        }
        waiting.delivered = Some(host.boot);
        self.times.on_request(token);
        let (request, timeout_ms) = (waiting.request.clone(), waiting.timeout_ms);
        self.queue.push(self.overdue_us(node, timeout_ms), Event::Overdue { node, token });
        let deadline_ms = now.mono_ms + timeout_ms;
        self.input_or_stop(node, Input::Client { token, request, deadline_ms })
    }

    pub(crate) fn input_or_stop(&mut self, node: NodeId, input: Input) -> Result<(), Broken> {
        self.input(node, input).or_else(|stop| self.on_stop(node, stop))
    }

    pub(crate) fn now(&self, node: NodeId) -> Now {
        self.hosts[node.0 as usize].clock.now(self.now_us)
    }

    /// Hands an event to a node, and sees to it that it is polled soon.
    fn input(&mut self, node: NodeId, input: Input) -> Result<(), Stop> {
        let now = self.now(node);
        let host = &mut self.hosts[node.0 as usize];
        let Some(process) = &mut host.process else { return Ok(()) };
        self.times.on_clock(node, host.boot, now.wall_ms);
        self.trace.line(self.now_us, format_args!("node {node} <- {}", Brief(&input)));
        process.node.handle(now, input).map_err(fatal)?;
        if !process.poll_due {
            process.poll_due = true;
            let delay = self.dice.below(TURN_US_MAX);
            self.schedule(node, ProcessEvent::Poll, delay);
        }
        Ok(())
    }

    fn poll(&mut self, node: NodeId) -> Result<(), Stop> {
        let now = self.now(node);
        let host = &mut self.hosts[node.0 as usize];
        let Some(process) = &mut host.process else { return Ok(()) };
        self.times.on_clock(node, host.boot, now.wall_ms);
        process.poll_due = false;
        let mut outputs = Vec::new();
        process.node.poll(now, &mut outputs).map_err(fatal)?;
        // What this poll applied and committed is known before its answers are looked at.
        let troubles = self.hosts[node.0 as usize].troubles.clone();
        troubles.look(true);
        let seen = self.oracle.after_poll(self.now_us, &self.hosts, node.0 as usize);
        troubles.look(false);
        seen.unless_left_out().map_err(Stop::Broken)?;
        let mut sends: BTreeMap<NodeId, Vec<PeerMessage>> = BTreeMap::new();
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    if self.oracle.look_inside {
                        let kept = promises::check(&self.hosts[node.0 as usize], to, &message);
                        kept.unless_left_out().map_err(Stop::Broken)?;
                    }
                    self.oracle.on_send(&message).map_err(Stop::Broken)?;
                    self.count_message(&message);
                    sends.entry(to).or_default().push(message);
                }
                output => match self.carry_out(node, output) {
                    Err(Stop::Broken(broken)) if is_left_out(broken.invariant) => {}
                    carried_out => carried_out?,
                },
            }
        }
        for (to, messages) in sends {
            self.trace.line(self.now_us, format_args!("node {node} -> {to}: {} messages", messages.len()));
            for (delay, frame) in self.network.send(self.now_us, (node, to), &messages, &mut self.counts) {
                self.queue.push(self.now_us + delay, Event::Frame(frame));
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, node: NodeId, output: Output) -> Result<(), Stop> {
        let Some(process) = &mut self.hosts[node.0 as usize].process else { return Ok(()) };
        match output {
            Output::Send { .. } => unreachable!("sends are gathered by the caller"),
            Output::Write(batch) => {
                self.trace.line(
                    self.now_us,
                    format_args!("node {node} writes batch {} of {} bytes", batch.seq.0, batch.entry_bytes()),
                );
                self.oracle.on_write(&batch);
                process.write(batch);
                self.begin_write(node);
            }
            Output::Checkpoint(job) => self.push_job(node, StoreJob::Checkpoint(job)),
            Output::Install(job) => self.push_job(node, StoreJob::Install(job)),
            Output::Reclaim(job) => self.push_job(node, StoreJob::Reclaim(job)),
            Output::Retain(first_needed) => {
                process.retain(first_needed.clone())?;
                self.hosts[node.0 as usize].durable.retain(&first_needed);
            }
            Output::Reply { token, result } => self.on_reply(node, token, result).map_err(Stop::Broken)?,
            Output::Watch { token, event } if self.book.owns(token) => self.book.on_watch(token, event),
            Output::Watch { token, event } => {
                self.on_watch_event(node, token, &event).map_err(Stop::Broken)?;
            }
            Output::Disconnect { peer, reason } => {
                // One that forgot cannot tell that from a leader that claims too much.
                let forgetful = [node, peer].iter().any(|node| self.hosts[node.0 as usize].forgot.is_some());
                self.counts.add("accused_after_forgetting", forgetful.into());
                if self.oracle.look_inside && !forgetful {
                    let message = format!("node {node} disconnects node {peer}: {reason}");
                    let accused = Err(Broken::safety("good_peers_are_not_accused", message));
                    accused.unless_left_out().map_err(Stop::Broken)?;
                }
                self.queue.push(self.now_us, Event::PeerDown { node, peer });
                self.queue.push(self.now_us, Event::PeerDown { node: peer, peer: node });
            }
            Output::Event(event) => {
                self.note(format_args!("node {node}: {event:?}"));
                match event {
                    NodeEvent::SnapshotSending { to, .. } => {
                        self.counts.add("snapshots_sent", 1);
                        self.on_snapshot(node, to);
                    }
                    NodeEvent::SnapshotInstalled { .. } => self.counts.add("snapshots_installed", 1),
                    NodeEvent::Checkpointed { .. } => self.counts.add("checkpoints", 1),
                    NodeEvent::GroupStopped { .. } => self.counts.add("groups_stopped", 1),
                    NodeEvent::GroupReclaimed { .. } => self.counts.add("groups_reclaimed", 1),
                    NodeEvent::Role { .. } | NodeEvent::GroupStarted { .. } => {}
                }
            }
        }
        Ok(())
    }

    fn begin_write(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.0 as usize];
        if host.process.as_mut().is_some_and(|process| process.begin_write()) {
            let delay = host.disk_us(&mut self.dice, self.plan.write_us);
            self.schedule(node, ProcessEvent::LogDone, delay);
        }
    }

    fn push_job(&mut self, node: NodeId, job: StoreJob) {
        let usual_us = self.job_us();
        let host = &mut self.hosts[node.0 as usize];
        if matches!(job, StoreJob::Install(_))
            && let Some(operations) = host.halt_in_install.take()
        {
            host.halt_in_work = Some(operations);
        }
        if host.process.as_mut().is_some_and(|process| process.push_job(job)) {
            let delay = host.disk_us(&mut self.dice, usual_us);
            self.schedule(node, ProcessEvent::JobDone, delay);
        }
    }

    fn on_log_done(&mut self, node: NodeId) -> Result<(), Stop> {
        match self.hosts[node.0 as usize].finish_write()? {
            Logged::Written(batches) => {
                let log = &self.hosts[node.0 as usize].durable;
                self.oracle.on_durable(log, &batches).map_err(Stop::Broken)?;
                self.begin_write(node);
                let seq = batches.last().expect("a round has a batch").seq;
                self.input(node, Input::Written(seq))
            }
            Logged::NoSpace => {
                self.counts.add("log_full", 1);
                self.schedule(node, ProcessEvent::LogRetry, 50 * MS);
                self.watch_space(node)
            }
        }
    }

    fn on_job_done(&mut self, node: NodeId) -> Result<(), Stop> {
        let usual_us = self.job_us();
        let host = &mut self.hosts[node.0 as usize];
        let Some(process) = &mut host.process else { return Ok(()) };
        let Some((done, more)) = process.finish_job()? else { return Ok(()) };
        if more {
            let delay = host.disk_us(&mut self.dice, usual_us);
            self.schedule(node, ProcessEvent::JobDone, delay);
        }
        let input = match done {
            JobDone::Checkpoint(done) => Input::CheckpointDone(done),
            JobDone::Reclaim(done) => Input::ReclaimDone(done),
            JobDone::Install(done) => {
                self.hosts[node.0 as usize].durable.stored(done.group(), done.position());
                Input::InstallDone(done)
            }
        };
        self.input(node, input)
    }

    fn watch_space(&mut self, node: NodeId) -> Result<(), Stop> {
        let host = &mut self.hosts[node.0 as usize];
        let Some(process) = &mut host.process else { return Ok(()) };
        match process.watch_space(&host.files)? {
            Some(entries_accepted) => self.input(node, Input::LogSpace { entries_accepted }),
            None => Ok(()),
        }
    }

    fn on_reply(&mut self, node: NodeId, token: u64, result: Result<Reply, Problem>) -> Result<(), Broken> {
        match &result {
            Ok(reply) => self.note(format_args!("node {node} answers {token}: {:?}", reply.body)),
            Err(problem) => {
                self.note(format_args!("node {node} answers {token}: {problem} ({:?})", problem.applied))
            }
        }
        if self.book.owns(token) {
            self.book.on_reply(self.now_us, token, result);
            return Ok(());
        }
        if Watchers::owns(token) {
            return self.on_watcher_reply(token, &result);
        }
        if self
            .clients
            .waiting(token)
            .is_some_and(|waiting| self.network.loses(waiting.client, node, Lost::Answers))
        {
            self.counts.add("answers_lost", 1);
            self.lose(token, Applied::Unknown);
            return Ok(());
        }
        if let Some(wish @ Wish::Brief { .. }) =
            self.clients.waiting(token).map(|waiting| waiting.wish.clone())
        {
            let asked = brief::of(&wish).expect("it is about one of them");
            self.oracle.briefs.on_reply(self.now_us, node, asked, &result).unless_left_out()?;
            self.counts.add("briefs_answered", result.is_ok().into());
            let ended = self.clients.end(token).expect("it was waiting");
            self.counts.operations_ok += u64::from(result.is_ok());
            self.wake(ended.client, self.plan.think_us);
            return Ok(());
        }
        if let (Ok(reply), Some(waiting)) = (&result, self.clients.waiting(token)) {
            let put = matches!(
                reply.body,
                ReplyBody::Outcome(
                    Outcome::Put { .. } | Outcome::Txn(TxnOutcome::Done { succeeded: true, .. })
                )
            );
            let audit = matches!(waiting.wish, Wish::Audit { .. });
            self.counts.add("audits", audit.into());
            let (wish, waiting_keyspace) = (waiting.wish.clone(), waiting.keyspace);
            let asked = waiting.request.options.ack;
            receipts::check(&self.oracle, node, waiting, reply).unless_left_out()?;
            if !matches!(reply.body, ReplyBody::Catalog(_)) {
                self.times
                    .on_reply(token, &waiting.request.options.session, &reply.receipt)
                    .unless_left_out()?;
            }
            if let (Wish::Early { value, ack, .. }, ReplyBody::Accepted) = (&wish, &reply.body) {
                self.counts.add("acknowledged_early", 1);
                self.early
                    .on_accepted(&self.oracle, &self.hosts, (value, *ack), &reply.receipt)
                    .unless_left_out()?;
            } else {
                self.check_receipt(&wish, asked, reply).unless_left_out()?;
            }
            self.check_hold(token, reply).unless_left_out()?;
            self.check_tally(token, reply).unless_left_out()?;
            if let Wish::Stale { key, read } = &wish {
                self.counts.add(read_name(*read), 1);
                let place = sessions::place(waiting_keyspace, key);
                self.check_age(&wish, place, reply).unless_left_out()?;
            }
            if let ReplyBody::Catalog(node::CatalogAnswer::Created { keyspace, created }) = &reply.body {
                self.oracle.catalog.on_created(keyspace, *created).unless_left_out()?;
                self.counts.add("keyspaces_created", (*created).into());
            }
            if let (
                true,
                Wish::One(Action::Write { value, .. } | Action::Cas { value, .. })
                | Wish::Early { value, .. },
            ) = (put, &wish)
            {
                self.oracle
                    .check_acknowledged(&self.hosts, value.as_bytes(), reply.receipt.acks.durable)
                    .unless_left_out()?;
            }
        }
        let ended = match self.clients.reply(self.now_us, token, &result) {
            Err(broken) if is_left_out(broken.invariant) => {
                // The answer is of no use to its client.
                self.lose(token, Applied::Unknown);
                return Ok(());
            }
            ended => ended?,
        };
        self.counts.operations_ok += u64::from(ended.ok);
        self.wake(ended.client, self.plan.think_us);
        Ok(())
    }

    /// An answer is no older than its receipt says and its client allowed.
    fn check_age(&mut self, wish: &Wish, place: (usize, u32), reply: &Reply) -> Result<(), Broken> {
        let (Some(age_ms), Some(revision)) = (sessions::age_allowed_ms(wish, reply), reply.receipt.revision)
        else {
            return Ok(());
        };
        let mut age_us = age_ms * MS;
        if self.plan.clock_drift_ppm > CLOCK_DRIFT_PPM {
            // Of a clock that is slower than receipts allow for.
            age_us += age_us * 2 * self.plan.clock_drift_ppm / 1_000_000;
        }
        let oldest_us = self.now_us.saturating_sub(age_us);
        match self.oracle.missed(KEYSPACES[place.0], place.1, revision) {
            Some((newer, seen_us)) if seen_us < oldest_us => Err(Broken::safety(
                "answers_are_no_older_than_they_say",
                format!(
                    "{wish:?}: revision {newer} was there {} ms ago: {:?}",
                    (self.now_us - seen_us) / MS,
                    reply.receipt
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_receipt(&mut self, wish: &Wish, asked: Option<Ack>, reply: &Reply) -> Result<(), Broken> {
        let (acks, quorum) = (reply.receipt.acks, self.plan.nodes as u32 / 2 + 1);
        if asked == Some(Ack::All) && matches!(reply.body, ReplyBody::Outcome(_)) {
            self.counts.add("written_on_all", 1);
            if acks.required as u64 != self.plan.nodes {
                return Err(Broken::safety("receipt_is_enough", format!("ack = all: {:?}", reply.receipt)));
            }
        }
        if !matches!(reply.body, ReplyBody::Outcome(_)) {
            sessions::check_read_receipt(wish, reply, quorum)?;
        }
        if reply.receipt.delivered != Guarantee::Linearizable {
            return Ok(());
        }
        let command = matches!(reply.body, ReplyBody::Outcome(_));
        let leased = reply.receipt.read_lease.is_some();
        self.counts.add("reads_by_lease", leased.into());
        let enough = leased || acks.required >= quorum;
        let counted = acks.of as u64 == self.plan.nodes && enough && acks.got >= acks.required;
        let durable = !command || acks.durable >= acks.required;
        if counted && durable && acks.durable <= acks.of && acks.got <= acks.of {
            self.counts.add("deduplicated", reply.receipt.deduplicated.into());
            self.counts.add("forwarded_requests", (reply.receipt.attempts > 1).into());
            return Ok(());
        }
        Err(Broken::safety("receipt_is_enough", format!("{:?}", reply.receipt)))
    }

    fn count_message(&mut self, message: &PeerMessage) {
        match &message.body {
            Some(wire::PeerBody::Forward(_)) => self.counts.add("forwards", 1),
            Some(wire::PeerBody::Raft(raft)) if raft.kind() == RaftKind::TimeoutNow => {
                self.counts.add("handed_over", 1);
            }
            _ => {}
        }
    }
}

fn read_name(read: Read) -> &'static str {
    match read {
        Read::Strong => "strong_reads",
        Read::Causal => "causal_reads",
        Read::Bounded(_) => "bounded_reads",
        Read::Eventual => "eventual_reads",
    }
}

fn fatal(fatal: Fatal) -> Stop {
    match fatal {
        Fatal::Store(error) => store_stop(error),
        fatal => Stop::Broken(Broken::crash("node_goes_on", fatal.to_string())),
    }
}

/// An input in a few words, for the trace.
struct Brief<'a>(&'a Input);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Input::Tick => f.write_str("tick"),
            Input::Peer { from, message } => {
                write!(f, "{from}: group {} ", message.group)?;
                match &message.body {
                    Some(wire::PeerBody::Raft(raft)) => write!(
                        f,
                        "{:?} term {} index {} entries {} commit {} reject {}",
                        raft.kind(),
                        raft.term,
                        raft.index,
                        raft.entries.len(),
                        raft.commit,
                        raft.reject
                    ),
                    Some(wire::PeerBody::Forward(forward)) => write!(f, "forward {}", forward.id),
                    Some(wire::PeerBody::ForwardReply(reply)) => write!(f, "forward reply {}", reply.id),
                    Some(wire::PeerBody::SnapshotChunk(chunk)) => {
                        write!(f, "snapshot {} chunk {}", chunk.transfer, chunk.number)
                    }
                    Some(wire::PeerBody::SnapshotAck(ack)) => write!(f, "{ack:?}"),
                    None => f.write_str("nothing known"),
                }
            }
            Input::PeerDown(peer) => write!(f, "peer {peer} down"),
            Input::Client { token, .. } => write!(f, "request {token}"),
            Input::Watch { token, .. } => write!(f, "watch {token}"),
            Input::WatchCredit { token, bytes } => write!(f, "watch {token} took {bytes} bytes"),
            Input::Unwatch { token } => write!(f, "watch {token} ends"),
            Input::Written(seq) => write!(f, "written {}", seq.0),
            Input::LogSpace { entries_accepted } => write!(f, "entries accepted: {entries_accepted}"),
            Input::CheckpointDone(done) => write!(f, "checkpoint done: {}", done.is_some()),
            Input::ReclaimDone(done) => write!(f, "reclaimed: {}", done.is_some()),
            Input::InstallDone(done) => write!(f, "installed group {}", done.group()),
        }
    }
}
