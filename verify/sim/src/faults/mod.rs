//! Faults: how they begin and how they pass.
//!
//! Each fault event has a number and dice of its own, so that whether one of them happens changes nothing of what the
//! others are: only the world that they hit.

mod clock;
mod disk;
pub(crate) mod forget;
pub(crate) mod kinds;
pub(crate) mod load;
mod network;
mod process;
pub(crate) mod rot;

use std::collections::BTreeSet;

use types::{GroupId, NodeId, Role};

use kinds::{Family, FaultKind};
pub(crate) use process::End;

use crate::{
    dice::Dice,
    event::{Event, Recovery},
    failure::Broken,
    finale::Stage,
    injection::Injected,
    plan::MS,
    process::Stop,
    world::World,
};

/// What faults come out of, and which of them are under way.
#[derive(Debug)]
pub(crate) struct Injector {
    dice: Dice,
    /// Fault events so far: the number of the next.
    events: u64,
    /// Kinds of fault, and when the last of what they do has passed.
    under_way: Vec<(FaultKind, u64)>,
    /// When the last of what the fault at hand does will have passed.
    passes_us: u64,
    /// Those that happened, in order.
    pub(crate) happened: Vec<Injected>,
}

impl Injector {
    /// Nothing happened yet.
    pub(crate) fn new(dice: Dice) -> Injector {
        Injector { dice, events: 0, under_way: Vec::new(), passes_us: 0, happened: Vec::new() }
    }

    /// Something that a fault does passes at this time.
    pub(crate) fn passes_at(&mut self, at_us: u64) {
        self.passes_us = self.passes_us.max(at_us);
    }

    /// Whether so many kinds may be under way at once, if this one joins those that are.
    fn admits(&mut self, kind: FaultKind, now_us: u64, together: u64) -> bool {
        self.under_way.retain(|(_, passes_us)| *passes_us > now_us);
        let mut kinds: BTreeSet<FaultKind> = self.under_way.iter().map(|(kind, _)| *kind).collect();
        kinds.insert(kind);
        kinds.len() as u64 <= together
    }
}

impl World {
    pub(crate) fn on_fault(&mut self) -> Result<(), Broken> {
        if self.stage != Stage::Chaos {
            return Ok(());
        }
        let number = self.injector.events;
        self.injector.events += 1;
        let mut dice = self.injector.dice.fork();
        let next = dice.delay_us(self.plan.fault_every_us);
        self.queue.push(self.now_us + next, Event::Fault);
        let kind = dice.pick(&self.plan.faults);
        let skipped = self.options.skip_faults.contains(number);
        if skipped || !self.injector.admits(kind, self.now_us, self.plan.together) {
            return Ok(());
        }
        // All that is random about this fault comes out of its own dice.
        std::mem::swap(&mut self.dice, &mut dice);
        self.injector.passes_us = self.now_us;
        let happened = self.inject(number, kind);
        std::mem::swap(&mut self.dice, &mut dice);
        if happened {
            self.injector.under_way.push((kind, self.injector.passes_us));
            self.counts.add_fault(kind.name());
            self.injector.happened.push(Injected { number, at_us: self.now_us, kind });
        }
        Ok(())
    }

    /// Answers whether the fault could happen.
    fn inject(&mut self, number: u64, kind: FaultKind) -> bool {
        let node = NodeId(self.dice.below(self.plan.nodes));
        self.note(format_args!("fault {number}: {kind} at node {node}"));
        match kind.family() {
            Family::Network => self.harm_network(kind, node),
            Family::Process => self.harm_process(kind, node),
            Family::Clock => self.harm_clock(kind, node),
            Family::Disk => self.harm_disk(kind, node),
            Family::Memory => self.harm_memory(kind, node),
            Family::Load => self.harm_by_load(kind, node),
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
            Recovery::Flap { links, cut, until_us } => self.flap(links, cut, until_us),
            Recovery::Notice(node, peer) => self.notice(node, peer),
            Recovery::Relent(episode) => self.network.relent(episode),
            Recovery::Reconnect(cut) => {
                for (client, node, lost) in cut {
                    self.network.reconnect(client, node, lost);
                }
            }
            Recovery::KillPaused(node) => self.kill_paused(node),
            Recovery::Unskew(node, by_ms) => self.hosts[node.0 as usize].clock.skew(-by_ms),
            Recovery::Steady(node) => self.hosts[node.0 as usize].clock.steady(),
            Recovery::Undrift(node) => self.hosts[node.0 as usize].clock.undrift(self.now_us),
            Recovery::Prompt(node) => self.network.delay_to(node, 0),
            Recovery::Crash(node, until_us) => self.crash(node, until_us),
            Recovery::Calm(kind) => self.calm(kind),
            Recovery::Storm(cut) => {
                for (client, node, lost) in cut {
                    self.network.reconnect(client, node, lost);
                }
                self.break_storm();
            }
            Recovery::LosePower(node) => {
                if self.in_chaos() {
                    self.end_and_restart(node, End::Power);
                }
            }
            Recovery::Expose(node) => self.expose(node),
            Recovery::Restore(node) => self.restore_image(node),
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

    fn heal(&mut self) {
        self.network.heal();
        for number in 0..self.hosts.len() {
            let host = &mut self.hosts[number];
            host.full = false;
            host.files.set_capacity(None);
            host.slowness = 1;
            host.stalled_until_us = 0;
            let (node, running) = (host.id, host.process.is_some());
            self.resume(node);
            if !running {
                self.start_later(node, 50 * MS);
            }
        }
        self.calm_all();
        self.take_forgetful_away();
        self.begin_finale();
    }

    /// A process stops by itself, as it must when its disk fails.
    pub(crate) fn on_stop(&mut self, node: NodeId, stop: Stop) -> Result<(), Broken> {
        let host = &self.hosts[node.0 as usize];
        match stop {
            Stop::Broken(broken) => return Err(broken),
            Stop::Disk(_) if host.sync_failure_armed || host.full || host.troubles.failed() => {}
            stop if self.is_of_damage(node, &stop) => return self.on_damage(node, &stop),
            stop => return Err(Broken::crash("no_stop_without_cause", format!("node {node}: {stop:?}"))),
        }
        self.note(format_args!("node {node} stops: {stop:?}"));
        self.counts.add("stopped_by_disk_errors", 1);
        let end = if self.dice.chance(500) { End::Power } else { End::Kill };
        self.end_and_restart(node, end);
        Ok(())
    }

    fn later(&mut self, mean_us: u64, recovery: Recovery) {
        let delay = self.dice.delay_us(mean_us);
        self.injector.passes_at(self.now_us + delay);
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
