//! Nodes on in-memory disks, joined by queues: every output is carried out at once, time moves only
//! when a test says so.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use keyspace::{Command, Expect, Query};
use node::{Input, Node, NodeConfig, Op, Output, Reply, Request, Timing, WatchEvent};
use storage::{Files, Identity, MemFiles, Store, StoreOptions, Wal, WalOptions};
use types::{ClusterId, GroupId, Limits, NodeId, Now, Problem, Role, WriteBatch};
use wire::{PeerBody, PeerMessage};

pub const CLUSTER: ClusterId = ClusterId([7; 16]);

pub type Answer = Result<Reply, Problem>;

pub struct Machine {
    pub node: Node,
    pub wal: Wal,
    pub files: MemFiles,
    /// Answers by token.
    pub answers: BTreeMap<u64, Answer>,
    /// What watches were told, by token.
    pub watched: BTreeMap<u64, Vec<WatchEvent>>,
    pub disconnected: Vec<String>,
    /// What the log may free, as last told.
    pub retained: BTreeMap<GroupId, u64>,
    /// Batches that a slow disk has not written yet, while [`Cluster::slow`] has the node.
    unwritten: Vec<WriteBatch>,
}

pub struct Cluster {
    pub machines: BTreeMap<NodeId, Machine>,
    pub now: Now,
    /// Pairs (from, to) whose messages vanish.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Every message is delivered this many times.
    pub copies: usize,
    /// Every message but consensus, also those that vanished.
    pub sent: Vec<(NodeId, NodeId, PeerMessage)>,
    /// Whether chunks of snapshots vanish.
    pub catch_snapshots: bool,
    /// A group whose messages vanish.
    pub mute: Option<GroupId>,
    /// Nodes whose log writes nothing for now.
    pub slow: BTreeSet<NodeId>,
    /// Nodes whose disk has no room for checkpoints.
    pub full: BTreeSet<NodeId>,
    limits: Limits,
    members: Vec<NodeId>,
    network: VecDeque<(NodeId, NodeId, PeerMessage)>,
    last_token: u64,
    boots: u64,
    #[cfg(feature = "planted")]
    planted: Option<raft_group::Planted>,
}

impl Cluster {
    pub fn new(size: u64, limits: Limits) -> Cluster {
        let mut cluster = Cluster::unborn(size, limits);
        cluster.begin();
        cluster
    }

    /// All of its nodes have this bug.
    #[cfg(feature = "planted")]
    pub fn planted(size: u64, limits: Limits, bug: raft_group::Planted) -> Cluster {
        let mut cluster = Cluster::unborn(size, limits);
        cluster.planted = Some(bug);
        cluster.begin();
        cluster
    }

    fn begin(&mut self) {
        for node in self.members.clone() {
            self.boot(node, MemFiles::new());
        }
    }

    fn unborn(size: u64, limits: Limits) -> Cluster {
        let members: Vec<NodeId> = (0..size).map(NodeId).collect();
        Cluster {
            machines: BTreeMap::new(),
            now: Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 },
            cut: BTreeSet::new(),
            copies: 1,
            sent: Vec::new(),
            catch_snapshots: false,
            mute: None,
            slow: BTreeSet::new(),
            full: BTreeSet::new(),
            limits,
            members,
            network: VecDeque::new(),
            last_token: 0,
            boots: 0,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }

    pub fn boot(&mut self, id: NodeId, files: MemFiles) {
        self.boots += 1;
        let disk: Arc<dyn Files> = Arc::new(files.clone());
        let identity = Identity { cluster: CLUSTER, node: id };
        let options = WalOptions {
            segment_bytes: self.limits.segment_bytes,
            entry_reserve_bytes: self.limits.segment_bytes / 8,
            boot_nonce: self.boots,
            #[cfg(feature = "planted")]
            planted: None,
        };
        let (wal, recovered) = Wal::open(disk.clone(), &identity, options).expect("the log opens");
        let store = Store::open(disk, StoreOptions { cache_bytes: 1 << 20 }).expect("the store opens");
        let config = NodeConfig {
            cluster: CLUSTER,
            node: id,
            members: self.members.clone(),
            keyspaces: vec!["default".into()],
            timing: Timing::default(),
            limits: self.limits,
            seed: 1_000 * self.boots + id.0,
            #[cfg(feature = "planted")]
            planted: self.planted,
        };
        let node = Node::recover(self.now, config, recovered, store).expect("the node recovers");
        let machine = Machine {
            node,
            wal,
            files,
            answers: BTreeMap::new(),
            watched: BTreeMap::new(),
            disconnected: Vec::new(),
            retained: BTreeMap::new(),
            unwritten: Vec::new(),
        };
        self.machines.insert(id, machine);
        self.settle();
    }

    /// Ends the process; what it had not synced is lost with it.
    pub fn kill(&mut self, id: NodeId) -> MemFiles {
        let machine = self.machines.remove(&id).expect("it runs");
        for other in self.machines.values_mut() {
            other.node.handle(self.now, Input::PeerDown(id)).expect("no node fails");
        }
        self.network.retain(|(from, to, _)| *from != id && *to != id);
        machine.files
    }

    /// Lets time pass, tick by tick.
    pub fn run_ms(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 20 {
            self.now.mono_ms += 20;
            self.now.wall_ms += 20;
            for machine in self.machines.values_mut() {
                machine.node.handle(self.now, Input::Tick).expect("no node fails");
            }
            self.settle();
        }
    }

    /// Carries out everything until nothing is left to do at this instant.
    pub fn settle(&mut self) {
        loop {
            let ids: Vec<NodeId> = self.machines.keys().copied().collect();
            let mut worked = false;
            for id in ids {
                worked |= self.poll(id);
            }
            while let Some((from, to, message)) = self.network.pop_front() {
                if let Some(machine) = self.machines.get_mut(&to) {
                    machine.node.handle(self.now, Input::Peer { from, message }).expect("no node fails");
                    worked = true;
                }
            }
            if !worked {
                return;
            }
        }
    }

    fn poll(&mut self, id: NodeId) -> bool {
        let machine = self.machines.get_mut(&id).expect("its id was listed");
        let mut outputs = Vec::new();
        let mut unwritten = std::mem::take(&mut machine.unwritten);
        if !self.slow.contains(&id) {
            outputs.extend(unwritten.drain(..).map(Output::Write));
        }
        machine.unwritten = unwritten;
        machine.node.poll(self.now, &mut outputs).expect("no node fails");
        let worked = !outputs.is_empty();
        for output in outputs {
            if let Output::Send { to, message } = &output
                && !matches!(message.body, Some(PeerBody::Raft(_)))
            {
                self.sent.push((id, *to, message.clone()));
            }
            match output {
                Output::Send {
                    message: PeerMessage { body: Some(PeerBody::SnapshotChunk(_)), .. }, ..
                } if self.catch_snapshots => {}
                Output::Send { message, .. } if Some(GroupId(message.group)) == self.mute => {}
                Output::Send { to, message } if !self.cut.contains(&(id, to)) => {
                    for _ in 0..self.copies {
                        self.network.push_back((id, to, message.clone()));
                    }
                }
                Output::Send { .. } => {}
                Output::Write(batch) if self.slow.contains(&id) => machine.unwritten.push(batch),
                Output::Write(batch) => {
                    let seq = batch.seq;
                    machine.wal.append(&[batch]).expect("the log takes it");
                    machine.node.handle(self.now, Input::Written(seq)).expect("no node fails");
                }
                Output::Checkpoint(_) if self.full.contains(&id) => {
                    machine.node.handle(self.now, Input::CheckpointDone(None)).expect("no node fails");
                }
                Output::Checkpoint(job) => {
                    let done = job.run().expect("the checkpoint is written");
                    machine.node.handle(self.now, Input::CheckpointDone(Some(done))).expect("no node fails");
                }
                Output::Install(job) => {
                    let done = job.run().expect("the snapshot is installed");
                    machine.node.handle(self.now, Input::InstallDone(done)).expect("no node fails");
                }
                Output::Reclaim(job) => {
                    let done = job.run().expect("the rows are removed");
                    machine.node.handle(self.now, Input::ReclaimDone(Some(done))).expect("no node fails");
                }
                Output::Retain(needed) => {
                    machine.wal.retain(&needed).expect("the log frees segments");
                    machine.retained = needed;
                }
                Output::Reply { token, result } => {
                    assert!(machine.answers.insert(token, result).is_none(), "one answer per request");
                }
                Output::Watch { token, event } => machine.watched.entry(token).or_default().push(event),
                Output::Disconnect { reason, .. } => machine.disconnected.push(reason),
                Output::Event(_) => {}
            }
        }
        worked
    }

    pub fn leader(&self) -> Option<NodeId> {
        let group = self.machines.values().find_map(|machine| machine.node.keyspace_group("default").ok())?;
        let leads =
            |machine: &&Machine| machine.node.raft(group).is_some_and(|raft| raft.role() == Role::Leader);
        self.machines.values().filter(leads).map(|machine| machine.node.status(self.now).node).next_back()
    }

    /// Lets time pass until there is a leader.
    pub fn elect(&mut self) -> NodeId {
        for _ in 0..500 {
            self.run_ms(20);
            if let Some(leader) = self.leader() {
                self.run_ms(200);
                return leader;
            }
        }
        panic!("no leader within 10 s");
    }

    pub fn group(&self) -> GroupId {
        self.machines.values().next().expect("a node runs").node.keyspace_group("default").expect("it exists")
    }

    /// Hands a request to a node; its answer appears under the token.
    pub fn ask(&mut self, at: NodeId, op: Op, timeout_ms: u64) -> u64 {
        self.ask_keyspace(at, "default", op, timeout_ms)
    }

    pub fn ask_keyspace(&mut self, at: NodeId, keyspace: &str, op: Op, timeout_ms: u64) -> u64 {
        self.ask_request(at, Request::new(keyspace, op), timeout_ms)
    }

    pub fn ask_request(&mut self, at: NodeId, request: Request, timeout_ms: u64) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        let deadline_ms = self.now.mono_ms + timeout_ms;
        let machine = self.machines.get_mut(&at).expect("it runs");
        machine.node.handle(self.now, Input::Client { token, request, deadline_ms }).expect("no node fails");
        self.settle();
        token
    }

    /// Hands a message to a node, as if it came from the network, and does not poll yet.
    pub fn inject(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        let machine = self.machines.get_mut(&to).expect("it runs");
        machine.node.handle(self.now, Input::Peer { from, message }).expect("no node fails");
    }

    /// Cuts a node off, both ways.
    pub fn isolate(&mut self, node: NodeId) {
        for other in self.members.iter().filter(|other| **other != node) {
            self.cut.extend([(node, *other), (*other, node)]);
        }
    }

    /// Tells a node whether its disk has room for log entries.
    pub fn log_space(&mut self, at: NodeId, entries_accepted: bool) {
        let machine = self.machines.get_mut(&at).expect("it runs");
        machine.node.handle(self.now, Input::LogSpace { entries_accepted }).expect("no node fails");
        self.settle();
    }

    pub fn answer(&self, at: NodeId, token: u64) -> Option<&Answer> {
        self.machines[&at].answers.get(&token)
    }

    /// Asks and waits, at most the time that the request may take.
    pub fn call(&mut self, at: NodeId, op: Op) -> Answer {
        let token = self.ask(at, op, 5_000);
        for _ in 0..251 {
            if let Some(answer) = self.answer(at, token) {
                return answer.clone();
            }
            self.run_ms(20);
        }
        panic!("no answer by the deadline");
    }
}

pub fn put(key: &str, value: &str) -> Op {
    Op::Command(Command::Put { key: key.into(), value: value.into(), expect: Expect::Anything, lease: None })
}

pub fn get(key: &str) -> Op {
    Op::Query(Query::Get { key: key.into() })
}
