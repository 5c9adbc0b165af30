//! Experiments: a world in which nothing happens by itself. The experimenter sets up faults, asks nodes, and lets
//! virtual time pass; every invariant of the simulator is checked on the way.

mod cases;
mod compare;
mod confirm;

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{Command, Expect, Keys, Query, QueryAnswer};
use node::{Input, Op, Options as Terms, Reply, ReplyBody, Request, WatchEvent, WatchRequest};
use types::{
    Contract, GroupId, Limits, NodeId, Problem, Role, SessionToken, Timing,
    contract::{Ack, Read},
    plan::{Case, Faults},
};

pub use cases::{Draw, any, draw};
pub use confirm::{Confirmed, Setup, confirm};

use crate::{
    dice::Dice,
    event::{Event, Recovery},
    failure::Broken,
    faults::End,
    plan::{MS, NetworkPlan, PROGRESS_US, Plan},
    world::{Options, World},
};

/// Tokens of experiments are from here on, beyond those of clients and watchers.
const TOKENS_FROM: u64 = 1 << 56;
/// The keyspace that is experimented on.
pub const KEYSPACE: &str = "default";

/// What experiments were told.
#[derive(Debug, Default)]
pub struct Book {
    last: u64,
    asked_us: BTreeMap<u64, u64>,
    answers: BTreeMap<u64, Told>,
    watched: BTreeMap<u64, Vec<WatchEvent>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Told {
    /// How long it took.
    pub after_us: u64,
    /// What it is.
    pub result: Result<Reply, Problem>,
}

impl Told {
    /// Whether a read of one key found it; `None`: it is no answer to one.
    pub fn found(&self) -> Option<bool> {
        match &self.result {
            Ok(Reply { body: ReplyBody::Answer(QueryAnswer::Get { row, .. }), .. }) => Some(row.is_some()),
            _ => None,
        }
    }
}

impl Book {
    /// Whether a token is an experiment's.
    pub fn owns(&self, token: u64) -> bool {
        token >= TOKENS_FROM
    }

    fn token(&mut self, now_us: u64) -> u64 {
        self.last += 1;
        let token = TOKENS_FROM + self.last;
        self.asked_us.insert(token, now_us);
        token
    }

    /// A node answers.
    pub fn on_reply(&mut self, now_us: u64, token: u64, result: Result<Reply, Problem>) {
        let after_us = now_us - self.asked_us.get(&token).copied().unwrap_or(now_us);
        self.answers.insert(token, Told { after_us, result });
    }

    /// A node tells a watch.
    pub fn on_watch(&mut self, token: u64, event: WatchEvent) {
        self.watched.entry(token).or_default().push(event);
    }
}

/// A cluster to experiment with.
#[derive(Debug)]
pub struct Lab {
    world: World,
    nodes: BTreeSet<NodeId>,
}

impl Lab {
    /// A cluster that runs, whose keyspace has a leader that all know.
    ///
    /// # Errors
    /// When an invariant breaks, or no leader is found.
    pub fn new(seed: u64, nodes: u64, options: &Options) -> Result<Lab, String> {
        let plan = quiet(nodes);
        let mut world = World::of_plan(seed, Dice::new(seed), plan, options);
        for node in 0..nodes {
            world.queue.push(0, Event::Recover(Recovery::Start(NodeId(node))));
        }
        let mut lab = Lab { world, nodes: (0..nodes).map(NodeId).collect() };
        for _ in 0..100 {
            lab.run_ms(100)?;
            if lab.is_led() {
                return Ok(lab);
            }
        }
        Err("no leader within 10 s".into())
    }

    /// All nodes.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// Those that run.
    pub fn running(&self) -> Vec<NodeId> {
        let runs = |host: &&crate::host::Host| host.process.is_some();
        self.world.hosts.iter().filter(runs).map(|host| host.id).collect()
    }

    /// Virtual time.
    pub fn now_us(&self) -> u64 {
        self.world.now_us
    }

    /// Lets virtual time pass.
    ///
    /// # Errors
    /// When an invariant breaks.
    pub fn run_ms(&mut self, ms: u64) -> Result<(), String> {
        let until_us = self.world.now_us + ms * MS;
        while self.world.queue.next_us().is_some_and(|at_us| at_us <= until_us) {
            let (at_us, event) = self.world.queue.pop().expect("it was just seen");
            self.world.happen(at_us, event).map_err(|broken| said(&broken))?;
        }
        self.world.now_us = until_us;
        Ok(())
    }

    /// Whether a leader is known to all.
    fn is_led(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        self.world.hosts.iter().all(|host| {
            let node = host.process.as_ref().map(|process| &process.node);
            let groups = node.and_then(|node| node.keyspace_groups(KEYSPACE).ok());
            let knows = |group| node.and_then(|node| node.raft(group)?.leader());
            groups.is_some_and(|groups| groups.iter().all(|group| knows(*group) == Some(leader)))
                && knows(GroupId::META).is_some()
        })
    }

    /// Who leads the keyspace, in the highest term.
    pub fn leader(&self) -> Option<NodeId> {
        let leads = self.world.hosts.iter().filter_map(|host| {
            let node = &host.process.as_ref()?.node;
            let raft = node.raft(node.keyspace_group(KEYSPACE).ok()?)?;
            (raft.role() == Role::Leader).then_some((raft.term(), host.id))
        });
        leads.max().map(|(_, node)| node)
    }

    /// The keyspace's group.
    pub fn group(&self) -> Option<GroupId> {
        let mut running = self.world.hosts.iter().filter_map(|host| host.process.as_ref());
        running.find_map(|process| process.node.keyspace_group(KEYSPACE).ok())
    }

    /// The list of lost writes, as a node knows it.
    pub fn lost_writes(&self, node: NodeId) -> Vec<node::lost::LostItem> {
        let process = self.world.hosts[node.0 as usize].process.as_ref();
        process.and_then(|process| process.node.known_lost().ok()).unwrap_or_default()
    }

    /// What the planner is asked about this cluster.
    pub fn case<'a>(&'a self, faults: &'a Faults, leader: Option<NodeId>) -> Case<'a> {
        Case {
            replicas: &self.nodes,
            contract: Contract::default(),
            leader,
            timing: self.world.plan.timing,
            faults,
        }
    }

    /// Asks a node that runs.
    ///
    /// # Errors
    /// When an invariant breaks.
    pub fn ask(&mut self, node: NodeId, op: Op, terms: Terms, timeout_ms: u64) -> Result<u64, String> {
        let token = self.world.book.token(self.world.now_us);
        let request = Request { keyspace: KEYSPACE.into(), op, options: terms };
        let deadline_ms = self.world.now(node).mono_ms + timeout_ms;
        let input = Input::Client { token, request, deadline_ms };
        self.world.input_or_stop(node, input).map_err(|broken| said(&broken))?;
        Ok(token)
    }

    /// Asks, and waits.
    ///
    /// # Errors
    /// When an invariant breaks, or no answer comes.
    pub fn call(&mut self, node: NodeId, op: Op, terms: Terms) -> Result<Told, String> {
        let token = self.ask(node, op, terms, 10_000)?;
        for _ in 0..10_300 {
            self.run_ms(1)?;
            if let Some(told) = self.told(token) {
                return Ok(told.clone());
            }
        }
        Err(format!("node {node} has not answered"))
    }

    /// The answer to a request, once it has come.
    pub fn told(&self, token: u64) -> Option<&Told> {
        self.world.book.answers.get(&token)
    }

    /// Watches a key at a node, from now on.
    ///
    /// # Errors
    /// When an invariant breaks.
    pub fn watch(&mut self, node: NodeId, key: &str) -> Result<u64, String> {
        let token = self.world.book.token(self.world.now_us);
        let request = WatchRequest {
            keyspace: KEYSPACE.into(),
            keys: Keys::One(key.into()),
            shard: None,
            from: None,
            prev: false,
            session: SessionToken::default(),
        };
        self.world.input_or_stop(node, Input::Watch { token, request }).map_err(|broken| said(&broken))?;
        Ok(token)
    }

    /// What a watch has been told.
    pub fn watched(&self, token: u64) -> &[WatchEvent] {
        self.world.book.watched.get(&token).map_or(&[], Vec::as_slice)
    }

    /// Brings faults about, beside those that there are. Power is lost where nodes are.
    pub fn inflict(&mut self, faults: &Faults) {
        for node in faults.lost.iter().chain(&faults.destroyed) {
            self.world.end(*node, End::Power);
        }
        for (one, other) in &faults.cut {
            self.world.network.block(*one, *other);
            self.world.network.block(*other, *one);
        }
        for (node, ms) in &faults.slow {
            // There and back.
            self.world.network.slow_down(*node, ms * MS / 2);
        }
    }

    /// Joins again what was cut, and starts what was lost.
    ///
    /// # Errors
    /// When a node does not start.
    pub fn mend(&mut self) -> Result<(), String> {
        self.world.network.heal();
        for node in self.nodes.clone() {
            self.world.start(node).map_err(|broken| said(&broken))?;
        }
        Ok(())
    }
}

fn said(broken: &Broken) -> String {
    format!("BROKEN {}: {}", broken.invariant, broken.message)
}

/// A world without faults, clients or haste.
fn quiet(nodes: u64) -> Plan {
    Plan {
        nodes,
        chaos_us: 0,
        faults: Vec::new(),
        fault_every_us: 0,
        together: 0,
        network: NetworkPlan { latency_us: 200, in_order: true, ..NetworkPlan::default() },
        write_us: 150,
        job_us: 2_000,
        clients: 0,
        holders: 0,
        talliers: 0,
        keys: 1,
        think_us: 0,
        transactions: true,
        idle: BTreeSet::new(),
        hot_key_per_mille: 0,
        briefs: 0,
        value_bytes: 40,
        progress_us: PROGRESS_US,
        clock_drift_ppm: 10_000,
        limits: Limits { segment_bytes: 256 * 1024, store_cache_bytes: 256 * 1024, ..Limits::default() },
        timing: Timing::default(),
    }
}

/// A put without a condition. No key is put twice, so that no value is: the simulator tells writes by their values.
pub fn put(key: &str) -> Command {
    Command::Put { key: key.into(), value: key.into(), expect: Expect::Anything, lease: None }
}

/// A read of one key.
pub fn get(key: &str) -> Op {
    Op::Query(Query::Get { key: key.into() })
}

/// A write's terms.
pub fn acknowledged(ack: Ack) -> Terms {
    Terms { ack: Some(ack), ..Terms::default() }
}

/// A read's terms.
pub fn read(read: Read, session: SessionToken) -> Terms {
    Terms { read: Some(read), session, ..Terms::default() }
}
