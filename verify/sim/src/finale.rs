//! After the faults: the healed cluster owes progress. Every keyspace takes a write and answers a read
//! through every node, all replicas come to one state, and the last reads close the history.

use std::collections::BTreeMap;

use storage::StoreError;
use types::{GroupId, NodeId};

use crate::{
    clients::{Errand, Task},
    event::Event,
    failure::Broken,
    invariants::Judged,
    plan::{CONFIGURED, KEYSPACES, MS, PLAIN, SHARDED, SHARDS},
    together::TOGETHER,
    world::World,
};

const LOOK_EVERY_US: u64 = 50 * MS;

/// How far a world has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Faults happen.
    Chaos,
    /// Writes and reads through every node.
    Probing {
        /// When all must be over, in virtual microseconds.
        by_us: u64,
    },
    /// Replicas catch up.
    Settling {
        /// As above.
        by_us: u64,
    },
    /// Every key is read once more.
    Reading {
        /// As above.
        by_us: u64,
    },
    /// Over.
    Done,
}

impl World {
    pub(crate) fn begin_finale(&mut self) {
        self.stage = Stage::Probing { by_us: self.now_us + self.plan.progress_us };
        let left: Vec<NodeId> = self.hosts.iter().filter(|host| !host.gone).map(|host| host.id).collect();
        for node in left {
            for keyspace in CONFIGURED..KEYSPACES.len() {
                let (key, errand) = (String::new(), Errand::Create);
                self.clients.tasks.push_front(Task { node, keyspace, key, errand });
            }
            for keyspace in 0..PLAIN {
                for errand in [Errand::Write, Errand::Read] {
                    let key = format!("probe{node}");
                    self.clients.tasks.push_back(Task { node, keyspace, key, errand });
                }
            }
        }
        self.queue.push(self.now_us + LOOK_EVERY_US, Event::Converge);
    }

    pub(crate) fn on_converge(&mut self) -> Result<(), Broken> {
        let busy = self.clients.all_waiting().next().is_some()
            || !self.clients.tasks.is_empty()
            || self.clients.any_keyed()
            || self.clients.tallies.any_open();
        let (by_us, missing) = match self.stage {
            Stage::Probing { by_us } if busy => (by_us, self.open_tasks()),
            Stage::Probing { by_us } => {
                self.stage = Stage::Settling { by_us };
                (by_us, String::new())
            }
            Stage::Settling { by_us } if self.oracle.effects.leases() > 0 => {
                let left = self.oracle.effects.leases();
                if self.now_us > by_us {
                    let message = format!("{left} leases that nobody renews have not ended");
                    Err(Broken::liveness("dead_leases_end", message)).unless_left_out()?;
                    self.begin_reading(by_us);
                }
                (by_us, String::new())
            }
            Stage::Settling { by_us } => match self.all_settled() {
                Ok(()) => {
                    self.begin_reading(by_us);
                    (by_us, String::new())
                }
                Err(difference) => (by_us, difference),
            },
            Stage::Reading { by_us } if busy => (by_us, self.open_tasks()),
            Stage::Reading { .. } => {
                self.stage = Stage::Done;
                self.oracle.catalog.check_healed(&self.hosts).unless_left_out()?;
                self.check_lost().unless_left_out()?;
                return self.scrub().unless_left_out();
            }
            Stage::Chaos | Stage::Done => return Ok(()),
        };
        if self.now_us > by_us {
            let stage = self.stage;
            let message = format!("{stage:?}: {missing}");
            Err(Broken::liveness("healed_cluster_comes_together", message)).unless_left_out()?;
            // It will not, and nothing else is owed.
            self.stage = Stage::Done;
            return Ok(());
        }
        self.queue.push(self.now_us + LOOK_EVERY_US, Event::Converge);
        Ok(())
    }

    fn begin_reading(&mut self, by_us: u64) {
        self.stage = Stage::Reading { by_us };
        self.clients.tallies.begin_last_reads();
        for keyspace in 0..PLAIN {
            let probes = (0..self.plan.nodes).map(|node| format!("probe{node}"));
            let single = |key: &String| keyspace != SHARDED || key != TOGETHER;
            for key in self.clients.keys().into_iter().filter(single).chain(probes) {
                let left: Vec<NodeId> =
                    self.hosts.iter().filter(|host| !host.gone).map(|host| host.id).collect();
                let node = self.dice.pick(&left);
                self.clients.tasks.push_back(Task { node, keyspace, key, errand: Errand::Read });
            }
        }
    }

    fn check_lost(&mut self) -> Result<(), Broken> {
        let Some(process) = self.hosts.iter().find_map(|host| host.process.as_ref()) else { return Ok(()) };
        let listed = process
            .node
            .known_lost()
            .map_err(|reason| Broken::safety("lost_writes_are_listed", format!("no list: {reason}")))?;
        self.early.check_list(&self.oracle, &self.hosts, &listed)?;
        self.counts.add("early_writes_lost", self.early.lost);
        self.counts.add("early_writes_forgotten", self.early.forgotten);
        self.counts.add("early_writes_listed", self.early.listed);
        Ok(())
    }

    fn open_tasks(&self) -> String {
        let waiting = self
            .clients
            .all_waiting()
            .map(|(_, waiting)| format!("{:?} at node {}", waiting.wish, waiting.node));
        let open = self.clients.tasks.iter().map(|task| format!("{task:?}"));
        waiting.chain(open).collect::<Vec<_>>().join("; ")
    }

    fn all_settled(&self) -> Result<(), String> {
        self.settled()?;
        self.watches_are_complete()?;
        self.histories_are_reclaimed()
    }

    /// Whether all nodes run the same groups in the same state, with nothing left to apply.
    fn settled(&self) -> Result<(), String> {
        let mut first: Option<BTreeMap<GroupId, (u64, u128)>> = None;
        for host in &self.hosts {
            if host.gone {
                continue;
            }
            let Some(process) = &host.process else { return Err(format!("node {} is down", host.id)) };
            let mut states = BTreeMap::new();
            for group in process.node.groups() {
                let raft = process.node.raft(group).expect("a group that is listed runs").status();
                let state = process.node.group_state(group);
                if raft.leader.is_none() || state.applied_index != raft.last_index {
                    return Err(format!("node {} group {group}: {raft:?}", host.id));
                }
                states.insert(group, (state.applied_index, state.state_hash));
            }
            let briefs = self.oracle.briefs.settled(host, &process.node)?;
            if states.len() != KEYSPACES.len() + SHARDS as usize + briefs {
                return Err(format!("node {} runs {states:?}", host.id));
            }
            match &first {
                None => first = Some(states),
                Some(first) if *first != states => {
                    return Err(format!("node {} is at {states:?}, node 0 at {first:?}", host.id));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The rows of each node's last checkpoint are whole, and they are a state that the group was in.
    fn scrub(&mut self) -> Result<(), Broken> {
        let mut damage = 0;
        for host in &self.hosts {
            let Some(process) = &host.process else { continue };
            for group in process.node.groups() {
                let found = process.node.scrub(group);
                let known =
                    found.as_ref().is_ok_and(|hash| *hash == 0 || self.oracle.knows_state(group, *hash));
                let named = matches!((&found, &host.damaged), (Err(StoreError::Corrupt { file, .. }), Some(damaged)) if file == damaged);
                if named {
                    damage += 1;
                    continue;
                }
                if !known {
                    return Err(Broken::safety(
                        "checkpoints_hold_past_states",
                        format!("node {} group {group}: {found:x?}", host.id),
                    ));
                }
            }
        }
        self.counts.add("damage_found_by_scrub", damage);
        Ok(())
    }
}
