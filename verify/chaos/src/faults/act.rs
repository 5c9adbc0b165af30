//! Doing faults: each begins at its time, is undone at its end, and is noted with who suffered what.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{Fault, Planned, Whom, pairs, partitions};
use crate::{
    clock::Clock,
    cluster::{Cluster, Life},
    proxy::{Effect, Hurt, Place},
    watching::Watching,
};

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// What was planned.
    pub fault: Fault,
    /// Which lane.
    pub lane: usize,
    /// When it began, in milliseconds.
    pub began_ms: u64,
    /// When it was undone; `None` while it is under way.
    pub ended_ms: Option<u64>,
    /// Who suffered what.
    pub words: String,
}

/// Does the faults of a schedule, and notes them.
#[derive(Clone, Debug)]
pub struct Hand {
    cluster: Arc<Cluster>,
    watching: Arc<Watching>,
    clock: Clock,
    /// True once no fault is to be under way any more.
    over: watch::Receiver<bool>,
    happened: Arc<Mutex<Vec<Happened>>>,
    problems: Arc<Mutex<Vec<String>>>,
    said: mpsc::UnboundedSender<String>,
}

impl Hand {
    /// A hand that does them to this cluster, and tells each on the channel.
    pub fn new(
        cluster: Arc<Cluster>,
        watching: Arc<Watching>,
        clock: Clock,
        over: watch::Receiver<bool>,
        said: mpsc::UnboundedSender<String>,
    ) -> Hand {
        let (happened, problems) = Default::default();
        Hand { cluster, watching, clock, over, happened, problems, said }
    }

    /// What has happened so far.
    pub fn happened(&self) -> Vec<Happened> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What could not be done or undone: a node that did not stop, a process that did not start.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does the faults of one lane, in order.
    pub async fn run(self, planned: Vec<Planned>) {
        for planned in planned {
            let wait = planned.at.saturating_sub(self.clock.elapsed());
            if !self.rest(wait).await {
                return;
            }
            self.one(&planned).await;
        }
    }

    /// Waits. Returns false, at once, when no fault is to be under way any more.
    async fn rest(&self, time: Duration) -> bool {
        let mut over = self.over.clone();
        // The other end is gone when this fails: then it is over as well.
        timeout(time, over.wait_for(|over| *over)).await.is_err()
    }

    async fn one(&self, planned: &Planned) {
        let victim = match planned.whom {
            Whom::Node(node) => node,
            Whom::Leader(node) => self.watching.leader().unwrap_or(node),
        };
        let mut dice = fastrand::Rng::with_seed(planned.dice);
        let index = self.begin(planned);
        let words = self.suffer(planned, victim, index, &mut dice).await;
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened[index].ended_ms = Some(self.clock.ms());
        happened[index].words = words;
    }

    fn begin(&self, planned: &Planned) -> usize {
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened.push(Happened {
            fault: planned.fault,
            lane: planned.lane,
            began_ms: self.clock.ms(),
            ended_ms: None,
            words: String::new(),
        });
        happened.len() - 1
    }

    fn tell(&self, index: usize, words: &str) {
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened[index].words = words.to_owned();
        // Nobody listens once the run is over.
        let _ = self.said.send(format!("{}: {words}", happened[index].fault));
    }

    fn problem(&self, words: String) {
        let _ = self.said.send(words.clone());
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    async fn suffer(
        &self,
        planned: &Planned,
        victim: usize,
        index: usize,
        dice: &mut fastrand::Rng,
    ) -> String {
        let lasts = planned.lasts;
        match planned.fault {
            Fault::Kill | Fault::Restart | Fault::Pause | Fault::PauseThenKill | Fault::CrashLoop => {
                self.one_process(planned, victim, index, dice).await
            }
            Fault::KillAll | Fault::RollingRestart => self.all_processes(planned, index).await,
            Fault::DiskFull => self.full_disk(victim, lasts, index).await,
            Fault::ClockJump | Fault::ClockSkew | Fault::ClockStrobe => {
                self.clock(planned, victim, index, dice).await
            }
            Fault::Flapping => self.flap(planned, victim, index, dice).await,
            _ => {
                let (hurts, words) = self.hurts(planned.fault, victim, dice);
                self.tell(index, &words);
                let applied = self.cluster.network.apply(hurts);
                self.rest(lasts).await;
                self.cluster.network.lift(applied);
                words
            }
        }
    }

    /// Faults of links that last as they are.
    fn hurts(&self, fault: Fault, victim: usize, dice: &mut fastrand::Rng) -> (Vec<Hurt>, String) {
        let nodes = self.cluster.size();
        let others: Vec<usize> = (0..nodes).filter(|node| *node != victim).collect();
        let around = |effect| partitions::between(&[victim], &others, effect);
        let everywhere = |effect: Effect| -> Vec<Hurt> {
            pairs(nodes).map(|(a, b)| (Place::Node(a), Place::Node(b), effect)).collect()
        };
        let ms = Duration::from_millis;
        match fault {
            Fault::ClientCut => {
                let silent = Effect::Silent { lost: dice.bool() };
                let (clients, node) = (Place::Clients, Place::Node(victim));
                (vec![(clients, node, silent), (node, clients, silent)], format!("node {victim}"))
            }
            Fault::LostAnswers => {
                let silent = Effect::Silent { lost: true };
                (vec![(Place::Node(victim), Place::Clients, silent)], format!("node {victim}"))
            }
            Fault::Latency => {
                let delay = dice.u64(5..=150);
                let effect = Effect::Late { delay: ms(delay), jitter: Duration::ZERO };
                (everywhere(effect), format!("all peers, by {delay} ms"))
            }
            Fault::LateLinks => {
                let (delay, jitter) = (dice.u64(20..=300), dice.u64(0..=300));
                let effect = Effect::Late { delay: ms(delay), jitter: ms(jitter) };
                (around(effect), format!("node {victim}, by {delay} to {} ms", delay + jitter))
            }
            Fault::Jitter => {
                let jitter = dice.u64(20..=200);
                let effect = Effect::Late { delay: Duration::ZERO, jitter: ms(jitter) };
                (everywhere(effect), format!("all peers, by up to {jitter} ms"))
            }
            Fault::Throttle => {
                let kib = dice.u64(16..=256);
                let effect = Effect::Narrow { bytes_per_s: kib * 1024 };
                (around(effect), format!("node {victim}, {kib} KiB/s"))
            }
            Fault::HalfOpen => (around(Effect::HalfOpen), format!("node {victim}")),
            Fault::Reset => (everywhere(Effect::Refused), "all peers".to_owned()),
            Fault::Corrupt => {
                let per_mille = dice.u16(5..=100);
                (everywhere(Effect::Corrupt { per_mille }), format!("all peers, {per_mille} of 1000 chunks"))
            }
            fault => partitions::of(fault, victim, nodes, dice),
        }
    }

    async fn flap(&self, planned: &Planned, victim: usize, index: usize, dice: &mut fastrand::Rng) -> String {
        let end = self.clock.elapsed() + planned.lasts;
        let (hurts, words) = partitions::of(Fault::Flapping, victim, self.cluster.size(), dice);
        self.tell(index, &words);
        let mut times = 0;
        while self.clock.elapsed() < end {
            let applied = self.cluster.network.apply(hurts.clone());
            let goes_on = self.rest(Duration::from_millis(dice.u64(200..=1_000))).await;
            self.cluster.network.lift(applied);
            times += 1;
            if !goes_on || !self.rest(Duration::from_millis(dice.u64(100..=700))).await {
                break;
            }
        }
        format!("{words}, {times} times")
    }

    async fn one_process(
        &self,
        planned: &Planned,
        victim: usize,
        index: usize,
        dice: &mut fastrand::Rng,
    ) -> String {
        let node = &self.cluster.nodes[victim];
        let mut words = format!("node {victim}");
        self.tell(index, &words);
        match planned.fault {
            Fault::Pause => {
                node.pause().await;
                self.rest(planned.lasts).await;
                node.resume().await;
            }
            Fault::CrashLoop => {
                let (end, mut times) = (self.clock.elapsed() + planned.lasts, 0);
                while self.clock.elapsed() < end {
                    node.take_down(false).await;
                    self.released(victim).await;
                    times += 1;
                    if !self.rest(Duration::from_millis(dice.u64(30..=900))).await {
                        break;
                    }
                }
                words = format!("node {victim}, {times} times");
            }
            Fault::PauseThenKill => {
                node.pause().await;
                self.rest(planned.lasts / 2).await;
                node.take_down(false).await;
                self.rest(planned.lasts / 2).await;
                self.released(victim).await;
            }
            fault => {
                if !node.take_down(fault == Fault::Restart).await {
                    self.problem(format!("node {victim} did not stop within 60 s of SIGTERM and was killed"));
                }
                self.rest(planned.lasts).await;
                self.released(victim).await;
            }
        }
        words
    }

    async fn released(&self, node: usize) {
        if let Err(error) = self.cluster.nodes[node].release().await {
            self.problem(format!("node {node}: {error}"));
        }
    }

    async fn all_processes(&self, planned: &Planned, index: usize) -> String {
        let nodes = self.cluster.size();
        let words = format!("all {nodes} nodes");
        self.tell(index, &words);
        if planned.fault == Fault::KillAll {
            let mut kills = tokio::task::JoinSet::new();
            for node in &self.cluster.nodes {
                let node = Arc::clone(node);
                kills.spawn(async move { node.take_down(false).await });
            }
            while kills.join_next().await.is_some() {}
            self.rest(planned.lasts).await;
            for node in 0..nodes {
                self.released(node).await;
            }
            return words;
        }
        for node in 0..nodes {
            if !self.cluster.nodes[node].take_down(true).await {
                self.problem(format!("node {node} did not stop within 60 s of SIGTERM and was killed"));
            }
            self.released(node).await;
            // The next one goes when this one has its place again, as an operator would do it.
            let back = self.watching.wait_until_serving(node, Duration::from_secs(10));
            let goes_on = tokio::select! {
                () = back => true,
                goes_on = self.rest(Duration::from_secs(20)) => goes_on,
            };
            if !goes_on || !self.rest(planned.lasts / (4 * nodes as u32)).await {
                break;
            }
        }
        words
    }

    async fn full_disk(&self, victim: usize, lasts: Duration, index: usize) -> String {
        let words = format!("node {victim}");
        let Ok(disks) = &self.cluster.disks else { return words };
        self.tell(index, &words);
        if let Err(error) = disks.fill(victim) {
            self.problem(format!("the disk of node {victim} cannot be filled: {error}"));
        }
        self.rest(lasts).await;
        if let Err(error) = disks.free(victim) {
            self.problem(format!("the disk of node {victim} cannot be freed: {error}"));
        }
        words
    }

    async fn clock(
        &self,
        planned: &Planned,
        victim: usize,
        index: usize,
        dice: &mut fastrand::Rng,
    ) -> String {
        let Ok(clocks) = &self.cluster.clocks else { return String::new() };
        let most = if planned.fault == Fault::ClockSkew { 5_000 } else { 3_600_000 };
        let offset_ms = dice.i64(-most..=most);
        let words = format!("node {victim}, by {:+.1} s", offset_ms as f64 / 1000.0);
        self.tell(index, &words);
        let set = |offset_ms| {
            if let Err(error) = clocks.set(victim, offset_ms) {
                self.problem(format!("the clock of node {victim} cannot be set: {error}"));
            }
        };
        let end = self.clock.elapsed() + planned.lasts;
        set(offset_ms);
        while planned.fault == Fault::ClockStrobe && self.clock.elapsed() < end {
            if !self.rest(Duration::from_millis(dice.u64(20..=200))).await {
                break;
            }
            set(if dice.bool() { offset_ms } else { 0 });
        }
        self.rest(end.saturating_sub(self.clock.elapsed())).await;
        set(0);
        words
    }

    /// Notes processes that end though nobody ended them, until it is over, and starts them again.
    pub async fn watch_over_processes(self, mut done: watch::Receiver<bool>) {
        loop {
            for (number, node) in self.cluster.nodes.iter().enumerate() {
                if node.life() != Life::Down
                    && let Some(said) = node.ended_by_itself().await
                {
                    self.problem(format!("node {number}: {said}"));
                }
            }
            tokio::select! {
                () = sleep(Duration::from_millis(200)) => {}
                _ = done.wait_for(|done| *done) => return,
            }
        }
    }

    /// Undoes everything that may still be under way.
    pub async fn heal(&self) {
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            if let Err(error) = node.heal().await {
                self.problem(format!("node {number}: {error}"));
            }
        }
        if let Ok(disks) = &self.cluster.disks
            && let Err(error) = disks.heal()
        {
            self.problem(format!("a disk cannot be freed: {error}"));
        }
        if let Ok(clocks) = &self.cluster.clocks
            && let Err(error) = clocks.heal()
        {
            self.problem(format!("a clock cannot be set right: {error}"));
        }
    }
}
