//! Faults of processes, and of the machines that they run on.

use types::{Applied, NodeId};

use super::kinds::FaultKind;
use crate::{
    event::{Event, Recovery},
    plan::MS,
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
    /// Answers whether the fault could happen.
    pub(super) fn harm_process(&mut self, kind: FaultKind, node: NodeId) -> bool {
        let number = node.0 as usize;
        let running = self.hosts[number].process.is_some();
        match kind {
            FaultKind::PowerLoss => self.end_and_restart(node, End::Power),
            FaultKind::Kill => self.end_and_restart(node, End::Kill),
            FaultKind::PowerLossInWrite => {
                // An append is a write and a sync; a checkpoint is many of both.
                let operations = if self.dice.chance(700) { 1 } else { self.dice.below(40) };
                self.hosts[number].halt_in_work = Some(operations);
                running
            }
            FaultKind::PowerLossOfRack => {
                let rack: Vec<bool> = self.hosts.iter().map(|_| self.dice.chance(500)).collect();
                for node in (0..self.plan.nodes).map(NodeId).filter(|node| rack[node.0 as usize]) {
                    self.end_and_restart(node, End::Power);
                }
                rack.contains(&true)
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
                self.hosts[number].halt_in_start = Some((operations, true));
                self.start_later(node, 100 * MS);
                true
            }
            FaultKind::KillInStart => {
                self.end(node, End::Kill);
                self.hosts[number].halt_in_start = Some((self.dice.below(24), false));
                self.start_later(node, 100 * MS);
                true
            }
            FaultKind::PauseThenKill => {
                if !running || self.hosts[number].paused {
                    return false;
                }
                self.hosts[number].paused = true;
                self.later(500 * MS, Recovery::KillPaused(node));
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
            FaultKind::CrashLoop => {
                let until_us = self.now_us + self.dice.between(2, 8) * 300 * MS;
                self.injector.passes_at(until_us);
                self.crash(node, until_us);
                running
            }
            kind => unreachable!("{kind} does not hit processes"),
        }
    }

    /// A process dies, starts soon, and may die again before long.
    pub(super) fn crash(&mut self, node: NodeId, until_us: u64) {
        if !self.in_chaos() {
            return;
        }
        if self.end(node, End::Kill) {
            self.start_later(node, 10 * MS);
        }
        if self.now_us < until_us {
            self.later(150 * MS, Recovery::Crash(node, until_us));
        }
    }

    /// What waited for a process that stands still never reaches it.
    pub(super) fn kill_paused(&mut self, node: NodeId) {
        if self.hosts[node.0 as usize].paused {
            self.counts.add("killed_while_paused", 1);
            self.end_and_restart(node, End::Kill);
        }
    }

    pub(super) fn resume(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.0 as usize];
        if host.paused {
            host.paused = false;
            host.resumed_us = self.now_us;
            for event in std::mem::take(&mut host.held) {
                self.queue.push(self.now_us, event);
            }
        }
    }

    pub(super) fn end_and_restart(&mut self, node: NodeId, end: End) -> bool {
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
        let forgets = (power && host.troubles.lies()) || host.troubles.misdirected();
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
        if forgets {
            self.forget(node, true);
        }
        true
    }
}
