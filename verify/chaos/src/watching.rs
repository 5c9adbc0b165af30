//! Looks at every node twice a second, past all links: whether it runs and answers, its role, term and indexes; and in
//! which condition the links are. Faults are aimed by it, and the report draws it. Nothing is judged by it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Method;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    clock::Clock,
    cluster::{Cluster, Life},
    door::{Etcd, Http, number},
    proxy::{Place, Way},
};

/// How often.
const EVERY: Duration = Duration::from_millis(500);
/// How long a node may take to say how it is.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
/// What was seen of a leader is believed for so long.
const LEADER_FRESH_MS: u64 = 2_000;

/// A node at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub ms: u64,
    /// Whether its process runs; `None` if it is none of ours.
    pub life: Option<Life>,
    /// What it said of itself, if it did.
    pub said: Option<Said>,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it leads.
    pub leads: bool,
    /// Whether it stands for election.
    pub stands: bool,
    /// Its term.
    pub term: u64,
    /// The highest index that it knows to be committed.
    pub commit: u64,
    /// The highest that it has applied.
    pub applied: u64,
}

/// A link at one moment, from which on it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkMark {
    /// When.
    pub ms: u64,
    /// Who says.
    pub from: Place,
    /// Who hears.
    pub to: Place,
    /// How.
    pub way: Way,
}

/// Which system is looked at.
#[derive(Clone, Debug)]
pub enum Looking {
    /// Quorate.
    Quorate(Http),
    /// etcd.
    Etcd(Etcd),
}

/// What was seen.
#[derive(Debug)]
pub struct Watching {
    looking: Looking,
    cluster: Arc<Cluster>,
    clock: Clock,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Vec<Sample>>,
    marks: Vec<LinkMark>,
    ways: BTreeMap<(Place, Place), Way>,
}

impl Watching {
    /// Has seen nothing yet.
    pub fn new(looking: Looking, cluster: Arc<Cluster>, clock: Clock) -> Watching {
        let samples = vec![Vec::new(); cluster.size()];
        Watching { looking, cluster, clock, seen: Mutex::new(Seen { samples, ..Seen::default() }) }
    }

    /// Looks until it is done.
    pub async fn run(self: Arc<Self>, mut done: watch::Receiver<bool>) {
        let mut next = Instant::now();
        loop {
            self.look().await;
            next = (next + EVERY).max(Instant::now());
            tokio::select! {
                () = sleep_until(next) => {}
                _ = done.wait_for(|done| *done) => return,
            }
        }
    }

    async fn look(&self) {
        let ms = self.clock.ms();
        let mut asked = tokio::task::JoinSet::new();
        for (number, address) in self.cluster.direct.iter().copied().enumerate() {
            let looking = self.looking.clone();
            asked.spawn(async move { (number, said(&looking, address).await) });
        }
        let mut said = vec![None; self.cluster.size()];
        while let Some(Ok((number, answer))) = asked.join_next().await {
            said[number] = answer;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, said) in said.into_iter().enumerate() {
            let life = self.cluster.nodes.get(number).map(|node| node.life());
            seen.samples[number].push(Sample { ms, life, said });
        }
        self.look_at_links(&mut seen, ms);
    }

    fn look_at_links(&self, seen: &mut Seen, ms: u64) {
        let places = || (0..self.cluster.size()).map(Place::Node).chain([Place::Clients]);
        for (from, to) in places().flat_map(|from| places().map(move |to| (from, to))) {
            let network = &self.cluster.network;
            if !network.has(from, to) && !network.has(to, from) {
                continue;
            }
            let way = network.way(from, to);
            if seen.ways.insert((from, to), way).unwrap_or_default() != way {
                seen.marks.push(LinkMark { ms, from, to, way });
            }
        }
    }

    /// Who leads, by its own word and in the highest term, a moment ago.
    pub fn leader(&self) -> Option<usize> {
        let now = self.clock.ms();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.samples.iter().enumerate().filter_map(|(node, samples)| {
            let sample = samples.last().filter(|sample| sample.ms + LEADER_FRESH_MS > now)?;
            sample.said.filter(|said| said.leads).map(|said| (said.term, node))
        });
        last.max().map(|(_, node)| node)
    }

    /// Waits until a node knows a leader and follows it, or for so long.
    pub async fn wait_until_serving(&self, node: usize, within: Duration) {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if is_ready(&self.looking, self.cluster.direct[node]).await {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// All samples of each node.
    pub fn samples(&self) -> Vec<Vec<Sample>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).samples.clone()
    }

    /// All changes of links.
    pub fn marks(&self) -> Vec<LinkMark> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).marks.clone()
    }
}

/// Whether a node serves.
pub async fn is_ready(looking: &Looking, node: SocketAddr) -> bool {
    match looking {
        Looking::Quorate(http) => {
            let asked = http.send(node, Method::GET, "/readyz", &[], "", ANSWER_WITHIN).await;
            asked.is_ok_and(|answer| answer.status == 200)
        }
        Looking::Etcd(etcd) => etcd.is_ready(node).await,
    }
}

async fn said(looking: &Looking, node: SocketAddr) -> Option<Said> {
    match looking {
        Looking::Quorate(http) => {
            let answer = http.send(node, Method::GET, "/v1/status", &[], "", ANSWER_WITHIN).await.ok()?;
            let said: Value = answer.json();
            Some(Said {
                leads: said["role"] == "leader",
                stands: said["role"].as_str().is_some_and(|role| role.contains("candidate")),
                term: said["term"].as_u64()?,
                commit: said["commit_index"].as_u64()?,
                applied: said["applied_index"].as_u64()?,
            })
        }
        Looking::Etcd(etcd) => {
            let said = tokio::time::timeout(ANSWER_WITHIN, etcd.status(node)).await.ok()??;
            let leader = number(&said["leader"]).unwrap_or(0);
            Some(Said {
                leads: leader != 0 && number(&said["header"]["member_id"]) == Some(leader),
                stands: leader == 0,
                term: number(&said["raftTerm"])?,
                commit: number(&said["raftIndex"])?,
                applied: number(&said["raftAppliedIndex"]).unwrap_or(0),
            })
        }
    }
}
