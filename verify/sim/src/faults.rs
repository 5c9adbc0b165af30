//! Faults: how they begin and how they pass.

use types::{Applied, GroupId, NodeId, Role};

use crate::{
    event::{Event, Recovery},
    failure::Broken,
    finale::Stage,
    plan::{FaultKind, MS, SECOND},
    process::Stop,
    rot::Rot,
    world::World,
};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Killed; what was written stays.
    Kill,
    /// Power is lost between two disk operations.
    Power,
    /// Power is lost so many disk operations into the work in flight.
    PowerInWrite(u64),
}

impl World {
    pub(crate) fn on_fault(&mut self) -> Result<(), Broken> {
        if self.stage != Stage::Chaos {
            return Ok(());
        }
        let next = self.dice.delay_us(self.plan.fault_every_us);
        self.queue.push(self.now_us + next, Event::Fault);
        let kind = self.dice.pick(&self.plan.faults);
        if self.inject(kind) {
            self.counts.add(kind.name(), 1);
        }
        Ok(())
    }

    /// Answers whether the fault could happen.
    fn inject(&mut self, kind: FaultKind) -> bool {
        let node = NodeId(self.dice.below(self.plan.nodes));
        let number = node.0 as usize;
        let running = self.hosts[number].process.is_some();
        self.note(format_args!("fault {kind} at node {node}"));
        match kind {
            FaultKind::PowerLoss => self.end_and_restart(node, End::Power),
            FaultKind::Kill => self.end_and_restart(node, End::Kill),
            FaultKind::PowerLossInWrite => {
                // An append is a write and a sync; a checkpoint is many of both.
                let operations = if self.dice.chance(700) { 1 } else { self.dice.below(40) };
                self.hosts[number].halt_in_work = Some(operations);
                running
            }
            FaultKind::PowerLossEverywhere => {
                let nodes: Vec<NodeId> = self.hosts.iter().map(|host| host.id).collect();
                for node in nodes {
                    self.end_and_restart(node, End::Power);
                }
                true
            }
            FaultKind::PowerLossInRecovery => {
                self.end(node, End::Power);
                let operations = self.dice.below(24);
                self.hosts[number].halt_in_recovery = Some(operations);
                self.start_later(node, 100 * MS);
                true
            }
            FaultKind::Pause => {
                if !running || self.hosts[number].paused {
                    return false;
                }
                self.hosts[number].paused = true;
                self.later(500 * MS, Recovery::Resume(node));
                true
            }
            FaultKind::Split => {
                let side: Vec<bool> = self.hosts.iter().map(|_| self.dice.chance(500)).collect();
                self.block(|from, to| side[from.0 as usize] != side[to.0 as usize])
            }
            FaultKind::OneWay => {
                let deaf = self.dice.chance(500);
                self.block(|from, to| if deaf { to == node } else { from == node })
            }
            FaultKind::IsolateLeader => {
                let leader = self.any_leader().unwrap_or(node);
                self.block(|from, to| from == leader || to == leader)
            }
            FaultKind::LostLink => {
                let leader = self.any_leader().unwrap_or(node);
                let other =
                    NodeId((leader.0 + self.dice.between(1, self.plan.nodes.max(2) - 1)) % self.plan.nodes);
                self.block(|from, to| (from, to) == (leader, other) || (to, from) == (leader, other))
            }
            FaultKind::LateLinks => {
                let node = if self.dice.chance(500) { self.any_leader().unwrap_or(node) } else { node };
                let late_us = self.dice.between(20, 600) * MS;
                self.network.delay_to(node, late_us);
                self.later(SECOND, Recovery::Prompt(node));
                true
            }
            FaultKind::CrashLoop => {
                let times = self.dice.between(2, 8);
                self.crash(node, times);
                running
            }
            FaultKind::SyncFailure => {
                self.hosts[number].sync_failure_armed = true;
                let nth = self.dice.between(1, 4);
                self.hosts[number].files.fail_sync(nth);
                true
            }
            FaultKind::DiskFull => {
                let host = &mut self.hosts[number];
                let room = self.dice.below(2 * self.plan.limits.segment_bytes);
                host.full = true;
                host.files.set_capacity(Some(host.files.used_bytes() + room));
                self.later(SECOND, Recovery::Space(node));
                true
            }
            FaultKind::BitRot => {
                self.end_and_restart(node, End::Kill);
                let host = &mut self.hosts[number];
                if host.rot.is_none() {
                    host.rot = Rot::inject(&host.files, &mut self.dice);
                    return host.rot.is_some();
                }
                false
            }
            FaultKind::WallJump => {
                self.hosts[number].clock.jump(&mut self.dice);
                true
            }
            FaultKind::SlowDisk => {
                self.hosts[number].slowness = self.dice.between(5, 50);
                self.later(SECOND, Recovery::Fast(node));
                true
            }
        }
    }

    pub(crate) fn on_recover(&mut self, recovery: Recovery) -> Result<(), Broken> {
        self.note(format_args!("{recovery:?}"));
        match recovery {
            Recovery::Start(node) => return self.start(node),
            Recovery::Resume(node) => self.resume(node),
            Recovery::Unblock(links) => {
                for (from, to) in links {
                    self.network.unblock(from, to);
                }
            }
            Recovery::Prompt(node) => self.network.delay_to(node, 0),
            Recovery::Crash(node, times) => self.crash(node, times),
            Recovery::Space(node) => {
                let host = &mut self.hosts[node.0 as usize];
                host.full = false;
                host.files.set_capacity(None);
            }
            Recovery::Fast(node) => self.hosts[node.0 as usize].slowness = 1,
            Recovery::Heal => self.heal(),
        }
        Ok(())
    }

    /// A process dies, starts soon, and may die again before long.
    fn crash(&mut self, node: NodeId, times: u64) {
        if !self.in_chaos() {
            return;
        }
        if self.end(node, End::Kill) {
            self.start_later(node, 10 * MS);
        }
        if times > 0 {
            self.later(150 * MS, Recovery::Crash(node, times - 1));
        }
    }

    fn heal(&mut self) {
        self.network.heal();
        for number in 0..self.hosts.len() {
            let host = &mut self.hosts[number];
            host.full = false;
            host.files.set_capacity(None);
            host.slowness = 1;
            let (node, running) = (host.id, host.process.is_some());
            self.resume(node);
            if !running {
                self.start_later(node, 50 * MS);
            }
        }
        self.begin_finale();
    }

    fn resume(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.0 as usize];
        if host.paused {
            host.paused = false;
            host.resumed_us = self.now_us;
            for event in std::mem::take(&mut host.held) {
                self.queue.push(self.now_us, event);
            }
        }
    }

    /// A process stops by itself, as it must when its disk fails.
    pub(crate) fn on_stop(&mut self, node: NodeId, stop: Stop) -> Result<(), Broken> {
        let host = &self.hosts[node.0 as usize];
        match stop {
            Stop::Broken(broken) => return Err(broken),
            Stop::Disk(_) if host.sync_failure_armed || host.full => {}
            stop => return Err(Broken::crash("no_stop_without_cause", format!("node {node}: {stop:?}"))),
        }
        self.note(format_args!("node {node} stops: {stop:?}"));
        self.counts.add("stopped_by_disk_errors", 1);
        let end = if self.dice.chance(500) { End::Power } else { End::Kill };
        self.end_and_restart(node, end);
        Ok(())
    }

    fn end_and_restart(&mut self, node: NodeId, end: End) -> bool {
        let ended = self.end(node, end);
        if ended {
            // Supervisors differ in patience.
            let mean_us = self.dice.pick(&[30, 400, 400]) * MS;
            self.start_later(node, mean_us);
        }
        ended
    }

    /// Disk work is about to end: answers whether power is lost in the middle of it instead.
    pub(crate) fn halts_in_work(&mut self, node: NodeId) -> bool {
        let halt = self.hosts[node.0 as usize].halt_in_work.take();
        halt.is_some_and(|operations| self.end_and_restart(node, End::PowerInWrite(operations)))
    }

    /// Ends a process, if one runs: its requests are lost, its peers notice.
    pub(crate) fn end(&mut self, node: NodeId, end: End) -> bool {
        if self.hosts[node.0 as usize].process.is_none() {
            return false;
        }
        let (power, halt_after) = match end {
            // The operating system keeps what the process had written.
            End::Kill => (false, Some(self.dice.below(3))),
            End::Power => (true, None),
            End::PowerInWrite(operations) => (true, Some(operations)),
        };
        let host = &mut self.hosts[node.0 as usize];
        host.stop(&mut self.dice, power, halt_after);
        let (boot, held) = (host.boot, std::mem::take(&mut host.held));
        let asked =
            |waiting: &crate::clients::Waiting| waiting.node == node && waiting.delivered == Some(boot);
        let lost: Vec<u64> =
            self.clients.all_waiting().filter(|(_, w)| asked(w)).map(|(token, _)| token).collect();
        for token in lost {
            self.lose(token, Applied::Unknown);
        }
        for event in held {
            if let Event::Request { token, .. } = event {
                self.lose(token, Applied::NotApplied);
            }
        }
        for peer in (0..self.plan.nodes).map(NodeId).filter(|peer| *peer != node) {
            let delay = self.dice.delay_us(self.plan.network.latency_us);
            self.queue.push(self.now_us + delay, Event::PeerDown { node: peer, peer: node });
        }
        true
    }

    /// Cuts the links that `cut` picks, for a while. Sometimes both ends notice at once.
    fn block(&mut self, cut: impl Fn(NodeId, NodeId) -> bool) -> bool {
        let nodes: Vec<NodeId> = self.hosts.iter().map(|host| host.id).collect();
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
        let links: Vec<_> = pairs.filter(|(from, to)| from != to && cut(*from, *to)).collect();
        let noticed = self.dice.chance(500);
        for (from, to) in &links {
            self.network.block(*from, *to);
            if noticed {
                let delay = self.dice.delay_us(20 * MS);
                self.queue.push(self.now_us + delay, Event::PeerDown { node: *from, peer: *to });
            }
        }
        let any = !links.is_empty();
        self.later(SECOND, Recovery::Unblock(links));
        any
    }

    fn later(&mut self, mean_us: u64, recovery: Recovery) {
        let delay = self.dice.delay_us(mean_us);
        self.queue.push(self.now_us + delay, Event::Recover(recovery));
    }

    /// The leader of some group, in the view of whoever leads.
    fn any_leader(&mut self) -> Option<NodeId> {
        let group = GroupId(self.dice.between(1, 3));
        let leads = |host: &&crate::host::Host| {
            let raft = host.process.as_ref().and_then(|process| process.node.raft(group));
            raft.is_some_and(|raft| raft.status().role == Role::Leader)
        };
        self.hosts.iter().find(leads).map(|host| host.id)
    }
}
