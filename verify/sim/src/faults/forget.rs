//! Members that forget what they had promised: their disk goes back to an earlier state, loses the end of its log, is
//! lost as a whole, or never had what it said to have.
//!
//! Consensus among fixed members does not survive that in general. A member that forgets a vote may vote twice, and
//! one that forgets an entry may help to elect a leader that never had it. What is promised, and checked here with
//! every invariant in force: such a member may come back empty or rolled back once each of the others that are left
//!
//! - follows, or is, one and the same leader that runs, in one term;
//! - knows to be committed all that was committed when the member forgot, and, unless that leader was elected since,
//!   all that the member had acknowledged; and
//! - at least a second has passed, so that nobody's lease for reads rests on its word.
//!
//! Then nothing acknowledged is lost, and it catches up, or refuses to start with words, or stays behind visibly. What
//! stays behind until the end is taken away, like a machine that is lost for good; the others owe everything. One
//! member at a time: as many as a majority can do without.

use std::collections::BTreeMap;

use storage::MemFiles;
use types::{GroupId, NodeId, Role};

use super::{End, kinds::FaultKind};
use crate::{
    durable::DurableLog,
    event::Recovery,
    failure::Broken,
    host::Host,
    plan::{MS, SECOND},
    world::World,
};

/// Nobody's lease rests on the word of a member that has been away for so long.
const AWAY_US_MIN: u64 = SECOND;

/// What a member was like before it forgot.
#[derive(Clone, Debug)]
pub(crate) struct Forgot {
    /// What was on its disk.
    had: DurableLog,
    /// What was committed in each group then.
    committed: BTreeMap<GroupId, u64>,
    /// When.
    at_us: u64,
    /// Whether what is left is not known, so that whatever the log accepts is believed.
    pub(crate) unsure: bool,
    /// Whether it has been back.
    back: bool,
}

impl Forgot {
    /// Up to where a group's log must be committed, in a term, for nothing to rest on what was forgotten: a leader that
    /// was elected since counts on nothing that the member said before.
    fn needed(&self, group: GroupId, committed: u64, term: u64) -> u64 {
        if term > self.had.hard_state(group).term {
            committed
        } else {
            committed.max(self.had.last_index(group))
        }
    }
}

impl Host {
    /// Whether its disk is not to be trusted, or its machine is no more.
    pub(crate) fn is_unreliable(&self) -> bool {
        let troubled = self.troubles.lies() || self.troubles.misdirected();
        troubled || self.gone || self.rot.is_some() || self.image.is_some() || self.is_damaged()
    }

    fn is_damaged(&self) -> bool {
        self.damaged.is_some() || self.forgot.is_some()
    }

    /// Whether the entry was on a disk that it lost, or that is lost with it.
    pub(crate) fn lost(&self, group: GroupId, index: u64, term: u64) -> bool {
        let with_it = self.gone.then_some(&self.durable);
        self.lost_disks.iter().chain(with_it).any(|disk| disk.holds(group, index, term))
    }

    /// Whether the entry was on its disk when it was needed, though it may have been forgotten since.
    pub(crate) fn held(&self, group: GroupId, index: u64, term: u64) -> bool {
        let before = self.forgot.as_ref().is_some_and(|forgot| forgot.had.holds(group, index, term));
        before || self.durable.holds(group, index, term)
    }
}

impl World {
    /// Whether one more member may forget: none does already, and a majority would be left without it.
    pub(super) fn may_forget(&mut self) -> bool {
        self.notice_caught_up();
        let unreliable = self.hosts.iter().filter(|host| host.is_unreliable());
        let gone = self.hosts.iter().filter(|host| host.gone).count();
        unreliable.count() == gone && gone < (self.hosts.len() - 1) / 2
    }

    /// Answers whether the fault could happen.
    pub(super) fn harm_memory(&mut self, kind: FaultKind, node: NodeId) -> bool {
        let number = node.0 as usize;
        if !self.may_forget() || self.hosts[number].is_unreliable() {
            return false;
        }
        match kind {
            FaultKind::LyingSync => {
                self.hosts[number].troubles.lie(true);
                self.later(2 * SECOND, Recovery::Expose(node));
            }
            FaultKind::StaleRestore => {
                let host = &mut self.hosts[number];
                if host.process.is_none() {
                    return false;
                }
                let image = host.files.copy();
                image.crash(&mut || 1);
                host.image = Some((image, host.durable.clone()));
                self.later(2 * SECOND, Recovery::Restore(node));
            }
            FaultKind::LostTail => {
                self.end(node, End::Kill);
                if !super::rot::lose_tail(&self.hosts[number].files, &mut self.dice) {
                    self.start_later(node, 400 * MS);
                    return false;
                }
                self.forget(node, true);
            }
            FaultKind::DiskLoss if self.dice.chance(400) => {
                self.take_away(node);
                self.counts.add("lost_for_good", 1);
            }
            FaultKind::DiskLoss => self.empty_disk(node),
            FaultKind::MisdirectedWrite => {
                let luck = self.dice.next();
                self.hosts[number].troubles.misdirect_write(luck);
                self.later(SECOND, Recovery::Expose(node));
            }
            kind => unreachable!("{kind} makes no member forget"),
        }
        true
    }

    /// The process of a disk that lies, or put something in the wrong place, ends: what is on it is what there is.
    pub(super) fn expose(&mut self, node: NodeId) {
        let host = &self.hosts[node.0 as usize];
        if !self.in_chaos() || !(host.troubles.lies() || host.troubles.misdirected()) {
            host.troubles.clear();
            return;
        }
        let end = if host.troubles.lies() { End::Power } else { End::Kill };
        self.end_and_restart(node, end);
    }

    /// An older image of the disk takes its place.
    pub(super) fn restore_image(&mut self, node: NodeId) {
        let Some((files, durable)) = self.hosts[node.0 as usize].image.take() else { return };
        if !self.in_chaos() {
            return;
        }
        self.end(node, End::Power);
        self.forget(node, false);
        let host = &mut self.hosts[node.0 as usize];
        (host.files, host.durable) = (files, durable);
        host.interrupted.clear();
    }

    /// A machine gets an empty disk.
    pub(super) fn empty_disk(&mut self, node: NodeId) {
        self.end(node, End::Power);
        self.forget(node, false);
        let host = &mut self.hosts[node.0 as usize];
        (host.files, host.durable) = (MemFiles::new(), DurableLog::default());
        host.interrupted.clear();
        host.damaged = None;
        host.troubles.clear();
        self.counts.add("disks_emptied", 1);
    }

    /// A machine is lost for good, and nobody takes its place.
    pub(super) fn take_away(&mut self, node: NodeId) {
        self.end(node, End::Power);
        self.hosts[node.0 as usize].gone = true;
    }

    /// A node's disk has just lost what it had acknowledged. It comes back when it may.
    pub(super) fn forget(&mut self, node: NodeId, unsure: bool) {
        let host = &mut self.hosts[node.0 as usize];
        let had = host.forgot.take().map_or_else(|| host.durable.clone(), |forgot| forgot.had);
        host.lost_disks.push(host.durable.clone());
        let committed = self.oracle.all_committed();
        host.forgot = Some(Forgot { had, committed, at_us: self.now_us, unsure, back: false });
        host.troubles.clear();
        self.counts.add("members_forgot", 1);
        self.start_later(node, SECOND);
    }

    /// Whether a node may start: always, unless it forgot; then under the conditions of the module.
    pub(crate) fn may_start(&self, node: NodeId) -> bool {
        let host = &self.hosts[node.0 as usize];
        let Some(forgot) = host.forgot.as_ref().filter(|forgot| !forgot.back) else { return !host.gone };
        if host.gone || self.now_us < forgot.at_us + AWAY_US_MIN || self.options.forgetful_return_at_once {
            return !host.gone && self.options.forgetful_return_at_once;
        }
        forgot.committed.iter().all(|(group, committed)| self.others_hold(node, forgot, *group, *committed))
    }

    fn others_hold(&self, node: NodeId, forgot: &Forgot, group: GroupId, committed: u64) -> bool {
        let others = || self.hosts.iter().filter(|other| other.id != node && !other.gone);
        let raft = |host: &Host| {
            let process = host.process.as_ref().filter(|_| !host.paused)?;
            process.node.raft(group).map(|raft| raft.status())
        };
        if others().all(|other| other.process.is_some() && raft(other).is_none()) {
            // A keyspace that was deleted.
            return true;
        }
        let Some(leading) = others().filter_map(raft).find(|status| status.role == Role::Leader) else {
            return false;
        };
        let needed = forgot.needed(group, committed, leading.term);
        others().all(|other| {
            raft(other).is_some_and(|status| {
                status.term == leading.term && status.leader == leading.leader && status.commit >= needed
            })
        })
    }

    /// A node that forgot has started.
    ///
    /// # Errors
    /// When its log has what nobody ever wrote.
    pub(crate) fn on_return(&mut self, node: NodeId) -> Result<(), Broken> {
        let host = &mut self.hosts[node.0 as usize];
        if let Some(forgot) = host.forgot.as_mut().filter(|forgot| !forgot.back) {
            forgot.back = true;
            self.counts.add("forgetful_returned", 1);
            return self.oracle.check_adopted(node, &host.durable);
        }
        Ok(())
    }

    /// Nodes that have again what they had forgotten are as good as any.
    fn notice_caught_up(&mut self) {
        for host in &mut self.hosts {
            let Some(forgot) = host.forgot.as_ref().filter(|forgot| forgot.back) else { continue };
            let Some(process) = &host.process else { continue };
            let again = forgot.committed.iter().all(|(group, committed)| {
                let Some(status) = process.node.raft(*group).map(|raft| raft.status()) else { return true };
                status.commit >= forgot.needed(*group, *committed, status.term)
            });
            if again {
                host.forgot = None;
                self.counts.add("forgetful_caught_up", 1);
            }
        }
    }

    /// The faults are over: whoever has not caught up is taken away, and owes nothing.
    pub(super) fn take_forgetful_away(&mut self) {
        self.notice_caught_up();
        for node in (0..self.plan.nodes).map(NodeId) {
            let host = &mut self.hosts[node.0 as usize];
            host.image = None;
            if host.gone {
                continue;
            }
            if host.forgot.is_some() || (host.process.is_none() && host.troubles.misdirected()) {
                self.take_away(node);
                self.counts.add("forgetful_taken_away", 1);
            }
            self.hosts[node.0 as usize].troubles.clear();
        }
    }
}
