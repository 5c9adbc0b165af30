//! What clients do to a cluster, and what a cluster does to itself: loads, and moments at which it is busy.

use types::NodeId;

use super::{End, kinds::FaultKind};
use crate::{
    event::{Event, Recovery},
    network::Lost,
    plan::{MS, SECOND},
    world::World,
};

/// Of a thousand operations so many go to one key while it is hot.
const HOT_PER_MILLE: u64 = 900;
/// The longest usual value is this part of a file of the log: some are four times as long.
const HUGE_PER_SEGMENT: u64 = 8;
/// Jobs of the store take so many times longer while compaction is under load.
const BUSY_JOBS: u64 = 10;
/// Clients pause for so many times less meanwhile.
const BUSY_CLIENTS: u64 = 10;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Clients that cannot reach anyone, and will all try again at once.
    storm: Option<Vec<usize>>,
    /// Whether watching clients take nothing.
    pub(crate) unread: bool,
    /// Whether everybody compacts, the store is slow and clients hurry.
    pub(crate) compacting: bool,
    /// Whether power is lost at the next snapshot.
    snapshot_crash: bool,
}

impl World {
    /// Answers whether the fault could happen.
    pub(super) fn harm_by_load(&mut self, kind: FaultKind, node: NodeId) -> bool {
        match kind {
            FaultKind::LeaderTransfer => {
                // A leader hands over when it has no room; then it has room again.
                let Some(leader) = self.any_leader() else { return false };
                let host = &mut self.hosts[leader.0 as usize];
                host.full = true;
                host.files.set_capacity(Some(host.files.used_bytes()));
                self.later(200 * MS, Recovery::Space(leader));
            }
            FaultKind::SnapshotCrash => {
                if std::mem::replace(&mut self.load.snapshot_crash, true) {
                    return false;
                }
                // Whoever is away for a while needs one.
                self.end(node, End::Kill);
                self.start_later(node, SECOND);
            }
            FaultKind::CompactionUnderLoad => {
                self.load.compacting = true;
                self.later(SECOND, Recovery::Calm(kind));
            }
            FaultKind::HotKey => {
                self.clients.hot_key_per_mille = HOT_PER_MILLE;
                self.later(2 * SECOND, Recovery::Calm(kind));
            }
            FaultKind::HugeValue => {
                let longest = self.plan.limits.segment_bytes / HUGE_PER_SEGMENT;
                self.clients.value_bytes = longest.max(self.plan.value_bytes);
                self.later(SECOND, Recovery::Calm(kind));
            }
            FaultKind::SlowConsumer => {
                self.load.unread = true;
                self.later(3 * SECOND, Recovery::Calm(kind));
            }
            FaultKind::RetryStorm => {
                if self.load.storm.is_some() {
                    return false;
                }
                self.load.storm = Some(Vec::new());
                let nodes = (0..self.plan.nodes).map(NodeId);
                let pairs =
                    nodes.flat_map(|node| (0..self.clients.count()).map(move |client| (client, node)));
                let cut: Vec<_> =
                    pairs.flat_map(|(c, n)| [(c, n, Lost::Requests), (c, n, Lost::Answers)]).collect();
                for (client, node, lost) in &cut {
                    self.network.cut_off(*client, *node, *lost);
                }
                self.later(SECOND, Recovery::Storm(cut));
            }
            kind => unreachable!("{kind} is no load"),
        }
        true
    }

    /// A load is as it was planned again.
    pub(super) fn calm(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::CompactionUnderLoad => self.load.compacting = false,
            FaultKind::HotKey => self.clients.hot_key_per_mille = self.plan.hot_key_per_mille,
            FaultKind::HugeValue => self.clients.value_bytes = self.plan.value_bytes,
            FaultKind::SlowConsumer => self.load.unread = false,
            kind => unreachable!("{kind} does not pass by itself"),
        }
    }

    /// All loads are over.
    pub(super) fn calm_all(&mut self) {
        for kind in
            [FaultKind::CompactionUnderLoad, FaultKind::HotKey, FaultKind::HugeValue, FaultKind::SlowConsumer]
        {
            self.calm(kind);
        }
        self.load.snapshot_crash = false;
        self.break_storm();
    }

    /// All clients that could reach nobody try again at the same moment.
    pub(super) fn break_storm(&mut self) {
        let waiting = self.load.storm.take().unwrap_or_default();
        self.counts.add("retries_at_once", waiting.len() as u64);
        for client in waiting {
            self.queue.push(self.now_us, Event::Wake(client));
        }
    }

    /// A client's next operation is due: in a storm it waits with all others.
    pub(crate) fn joins_storm(&mut self, client: usize) -> bool {
        let Some(waiting) = &mut self.load.storm else { return false };
        waiting.push(client);
        true
    }

    /// How long a client pauses, and how long a job of the store takes.
    pub(crate) fn pause_us(&self, usual_us: u64) -> u64 {
        if self.load.compacting { usual_us / BUSY_CLIENTS } else { usual_us }
    }

    /// As above.
    pub(crate) fn job_us(&self) -> u64 {
        if self.load.compacting { self.plan.job_us * BUSY_JOBS } else { self.plan.job_us }
    }

    /// A node begins to send a snapshot: power may be lost at either end, on the way or in the installation.
    pub(crate) fn on_snapshot(&mut self, from: NodeId, to: NodeId) {
        if !std::mem::take(&mut self.load.snapshot_crash) || !self.in_chaos() {
            return;
        }
        self.counts.add("power_lost_at_snapshot", 1);
        match self.dice.below(3) {
            0 => self.later(5 * MS, Recovery::LosePower(from)),
            1 => self.later(5 * MS, Recovery::LosePower(to)),
            _ => self.hosts[to.0 as usize].halt_in_install = Some(self.dice.below(40)),
        }
    }
}
