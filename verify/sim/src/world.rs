//! One world: many real nodes on one thread under virtual time. Everything that happens comes out of
//! one queue in one order, and everything random out of one seed.

use std::{collections::BTreeMap, sync::Arc};

use node::{NodeConfig, Request};
use types::{Applied, ClusterId, NodeId};

use crate::{
    clients::Clients,
    constrain::{Constraints, Cut},
    counts::Counts,
    dice::Dice,
    early::EarlyWrites,
    event::{Event, ProcessEvent, Queue, Recovery},
    failure::{Broken, Failure, Verdict},
    faults::{Injector, load::Load},
    finale::Stage,
    host::Host,
    injection::{Injected, Numbers},
    invariants::{Judged, LeftOut},
    judge,
    lab::Book,
    network::{Frame, Network},
    oracle::Oracle,
    plan::{CONFIGURED, FaultKind, KEYSPACES, MS, Plan, SECOND},
    process::Stop,
    times::Times,
    trace::Trace,
    watchers::Watchers,
};

/// A node may answer this much after a deadline: its clock is coarse, and its loop takes turns.
const ANSWER_SLACK_US: u64 = 200 * MS;

/// Where to stop before the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Before the event of this number.
    Step(u64),
    /// Before the first event at or after this virtual time, in microseconds.
    TimeUs(u64),
    /// After the event in which the first line of the trace has this in it.
    Line(String),
}

/// How to run a world.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep the trace's text.
    pub keep_trace: bool,
    /// Nobody compares traces: none is written, and its hash is that of nothing.
    pub untraced: bool,
    /// Stop early.
    pub until: Option<Until>,
    /// Look for the consequences of broken promises alone, not at the promises between nodes.
    pub outcomes_only: bool,
    /// Members that forgot what they had acknowledged start at once, as nobody may let them.
    pub forgetful_return_at_once: bool,
    /// Worlds that are allowed, one of these after the other by seed; none: any world.
    pub scenarios: Vec<Arc<Constraints>>,
    /// Invariants that are not judged, beside those that a scenario leaves out.
    pub left_out: LeftOut,
    /// What is left out of every world.
    pub cut: Cut,
    /// Numbers of faults that do not happen.
    pub skip_faults: Numbers,
    /// The bug that every node runs with.
    #[cfg(feature = "planted")]
    pub planted: Option<raft_group::Planted>,
}

impl Until {
    fn line(&self) -> Option<String> {
        match self {
            Until::Line(text) => Some(text.clone()),
            Until::Step(_) | Until::TimeUs(_) => None,
        }
    }
}

impl Options {
    /// The scenario of a seed.
    pub fn scenario(&self, seed: u64) -> Arc<Constraints> {
        let number = seed.checked_rem(self.scenarios.len() as u64);
        number.map(|number| self.scenarios[number as usize].clone()).unwrap_or_default()
    }

    #[cfg(feature = "planted")]
    fn ignores_checksums(&self) -> bool {
        self.planted == Some(raft_group::Planted::ChecksumIgnored)
    }

    #[cfg(not(feature = "planted"))]
    fn ignores_checksums(&self) -> bool {
        false
    }
}

/// What a run of one seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// Hash of the trace.
    pub trace_hash: u128,
    /// The trace, if it was kept.
    pub trace: Option<String>,
    /// What happened.
    pub counts: Counts,
    /// The faults that happened.
    pub faults: Vec<Injected>,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) options: Options,
    pub(crate) dice: Dice,
    pub(crate) now_us: u64,
    pub(crate) queue: Queue,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) watchers: Watchers,
    /// Watches that nodes may still hold: whose, where, and in which boot.
    pub(crate) watched: BTreeMap<u64, (usize, NodeId, u64)>,
    /// Requests of watchers on their way.
    pub(crate) watch_requests: BTreeMap<u64, Request>,
    pub(crate) oracle: Oracle,
    pub(crate) early: EarlyWrites,
    pub(crate) times: Times,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    pub(crate) stage: Stage,
    /// What loads there are beside the planned one.
    pub(crate) load: Load,
    /// What faults come out of.
    pub(crate) injector: Injector,
    /// What experiments were told.
    pub(crate) book: Book,
    cluster: ClusterId,
}

impl World {
    /// Runs to the end, or to where a promise is broken.
    ///
    /// # Panics
    /// Where the code under test does; [`crate::runner::run_seed`] makes that a failure of the seed.
    pub fn verdict(&mut self) -> Verdict {
        match self.run() {
            Ok(verdict) => verdict,
            Err(broken) => self.failed(broken),
        }
    }

    /// The verdict on a world in which this is broken, now.
    pub fn failed(&mut self, broken: Broken) -> Verdict {
        let Broken { promise, invariant, message } = broken;
        let (step, time_us) = (self.counts.events, self.now_us);
        self.note(format_args!("BROKEN {invariant}: {message}"));
        Verdict::Failed(Failure { promise, invariant, message, step, time_us })
    }

    /// What it came to; nothing happens in it any more.
    pub fn outcome(&mut self, seed: u64, verdict: Verdict) -> Outcome {
        let mut counts = std::mem::take(&mut self.counts);
        counts.simulated_us = self.now_us;
        counts.marks = types::marks::take();
        counts.add("elections", self.oracle.elections);
        counts.add("times_followed", self.times.followed);
        counts.add("effects_checked", self.oracle.effects.checked);
        counts.add("leases_expired", self.oracle.lifetimes.expired() as u64);
        let faults = std::mem::take(&mut self.injector.happened);
        Outcome {
            seed,
            verdict,
            trace_hash: self.trace.hash(),
            trace: self.trace.take_text(),
            counts,
            faults,
        }
    }

    /// The world of a seed, in which nothing has happened yet.
    pub fn new(seed: u64, options: &Options) -> World {
        let mut dice = Dice::new(seed);
        let mut plan = Plan::draw(&mut dice, &options.scenario(seed));
        options.cut.apply(&mut plan);
        World::of_plan(seed, dice, plan, options)
    }

    /// A world of this plan, in which nothing has happened yet.
    pub(crate) fn of_plan(seed: u64, mut dice: Dice, plan: Plan, options: &Options) -> World {
        options.left_out.and(options.scenario(seed).left_out()).apply();
        // What an earlier world of this thread left, if nobody asked for its outcome.
        types::marks::take();
        let mut cluster = [0; 16];
        cluster[..8].copy_from_slice(&seed.to_le_bytes());
        let looked_for = options.until.as_ref().and_then(Until::line);
        let mut trace = match options.untraced {
            true => Trace::off(),
            false => Trace::new(options.keep_trace, looked_for),
        };
        trace.line(0, format_args!("seed {seed} {plan:?}"));
        World {
            hosts: (0..plan.nodes)
                .map(|node| Host::new(NodeId(node), &mut dice, plan.clock_drift_ppm))
                .collect(),
            network: Network::new(dice.fork(), plan.network, options.ignores_checksums()),
            clients: Clients::new(dice.fork(), &plan),
            early: EarlyWrites::default(),
            times: Times::default(),
            watchers: Watchers::new(dice.fork(), &plan),
            watched: BTreeMap::new(),
            watch_requests: BTreeMap::new(),
            oracle: Oracle::new(!options.outcomes_only, &plan),
            load: Load::default(),
            injector: Injector::new(dice.fork()),
            options: options.clone(),
            dice,
            now_us: 0,
            queue: Queue::default(),
            counts: Counts::default(),
            trace,
            stage: Stage::Chaos,
            book: Book::default(),
            cluster: ClusterId(cluster),
            plan,
        }
    }

    fn run(&mut self) -> Result<Verdict, Broken> {
        for node in 0..self.plan.nodes {
            let at = self.dice.below(100 * MS);
            self.queue.push(at, Event::Recover(Recovery::Start(NodeId(node))));
        }
        for client in 0..self.clients.count() {
            self.wake(client, SECOND);
        }
        for watcher in 0..self.watchers.count() {
            self.wake_watcher(watcher);
        }
        if !self.plan.faults.is_empty() {
            self.queue.push(SECOND, Event::Fault);
        }
        self.queue.push(SECOND + self.plan.chaos_us, Event::Recover(Recovery::Heal));
        while self.stage != Stage::Done {
            let (at_us, event) = self.queue.pop().expect("ticks and looks never end");
            let stop = match &self.options.until {
                Some(Until::Step(step)) => self.counts.events >= *step,
                Some(Until::TimeUs(time_us)) => at_us >= *time_us,
                Some(Until::Line(_)) => self.trace.found(),
                None => false,
            };
            if stop {
                return Ok(Verdict::Stopped);
            }
            self.happen(at_us, event).unless_left_out()?;
        }
        judge::judge(&self.clients, &mut self.counts)
    }

    /// An event's time has come.
    pub(crate) fn happen(&mut self, at_us: u64, event: Event) -> Result<(), Broken> {
        self.now_us = at_us;
        self.counts.events += 1;
        self.handle(event)
    }

    fn handle(&mut self, event: Event) -> Result<(), Broken> {
        let node = match &event {
            Event::Process { node, .. }
            | Event::PeerDown { node, .. }
            | Event::Request { node, .. }
            | Event::Watch { node, .. } => Some(*node),
            Event::Frame(frame) => Some(frame.to),
            _ => None,
        };
        if let Some(NodeId(node)) = node
            && self.hosts[node as usize].paused
        {
            self.hosts[node as usize].held.push(event);
            return Ok(());
        }
        match event {
            Event::Process { node, boot, what } => self.on_process(node, boot, what),
            Event::Frame(frame) => self.on_frame(&frame),
            Event::PeerDown { node, peer } => self.on_peer_down(node, peer),
            Event::Request { node, token } => self.on_request(node, token),
            Event::Wake(client) => {
                self.on_wake(client);
                Ok(())
            }
            Event::Watch { node, watcher, what } => self.on_watch_input(node, watcher, &what),
            Event::WatchTurn(watcher) => {
                self.on_watch_turn(watcher);
                Ok(())
            }
            Event::Overdue { node, token } => self.on_overdue(node, token),
            Event::Fault => self.on_fault(),
            Event::Recover(recovery) => self.on_recover(recovery),
            Event::Converge => self.on_converge(),
        }
    }

    pub(crate) fn in_chaos(&self) -> bool {
        self.stage == Stage::Chaos
    }

    fn on_frame(&mut self, frame: &Frame) -> Result<(), Broken> {
        let Some(messages) = self.network.receive(frame) else {
            if !frame.damaged {
                Err(Broken::safety("whole_frames_are_accepted", format!("{frame:?}"))).unless_left_out()?;
            }
            self.note(format_args!("node {} refuses a damaged frame of {}", frame.to, frame.from));
            self.on_peer_down(frame.to, frame.from)?;
            return self.on_peer_down(frame.from, frame.to);
        };
        if frame.damaged {
            let message = format!("{frame:?} gave {messages:?}");
            Err(Broken::safety("damaged_frames_are_refused", message)).unless_left_out()?;
        }
        self.deliver(frame.to, frame.from, messages)
    }

    fn on_wake(&mut self, client: usize) {
        let again = self.clients.invoke_again(client, self.now_us, self.plan.nodes);
        let token = match self.stage {
            _ if again.is_some() => again,
            Stage::Chaos if self.clients.holders.has(client) => {
                Some(self.clients.invoke_holder(client, self.now_us, self.plan.nodes))
            }
            _ if self.clients.tallies.has(client) => {
                self.clients.invoke_tally(client, self.now_us, self.plan.nodes, self.in_chaos())
            }
            Stage::Chaos if self.clients.have_work() => {
                Some(self.clients.invoke_any(client, self.now_us, self.plan.nodes))
            }
            _ => {
                let hosts = &self.hosts;
                self.clients.tasks.retain(|task| !hosts[task.node.0 as usize].gone);
                self.clients.invoke_task(client, self.now_us)
            }
        };
        let Some(token) = token else {
            self.wake(client, 20 * MS);
            return;
        };
        self.counts.operations += 1;
        let waiting = self.clients.waiting(token).expect("it was just begun");
        let (node, try_of) = (waiting.node, waiting.try_of);
        let what =
            format_args!("client {client} asks node {node} ({token}): {try_of:?} {:?}", waiting.request);
        self.trace.line(self.now_us, what);
        let delay = self.dice.delay_us(self.plan.network.latency_us);
        self.queue.push(self.now_us + delay, Event::Request { node, token });
    }

    /// A node that runs and does not stand still must have answered.
    fn on_overdue(&mut self, node: NodeId, token: u64) -> Result<(), Broken> {
        let host = &self.hosts[node.0 as usize];
        let Some(waiting) = self.clients.waiting(token) else { return Ok(()) };
        if host.process.is_none() || waiting.delivered != Some(host.boot) {
            return Ok(());
        }
        let due = host.resumed_us + ANSWER_SLACK_US;
        if host.paused || self.now_us < due {
            self.queue.push(due.max(self.now_us + ANSWER_SLACK_US), Event::Overdue { node, token });
            return Ok(());
        }
        let (wish, timeout_ms) = (&waiting.wish, waiting.timeout_ms);
        let message =
            format!("node {node} has not answered request {token} {wish:?} with deadline {timeout_ms} ms");
        Err(Broken::liveness("answers_by_the_deadline", message)).unless_left_out()?;
        self.lose(token, Applied::Unknown);
        Ok(())
    }

    /// When a request that a node took in now must have been answered.
    pub(crate) fn overdue_us(&self, node: NodeId, timeout_ms: u64) -> u64 {
        let usual_us = self.hosts[node.0 as usize].clock.virtual_us(timeout_ms * MS);
        // A clock whose rate changes may become as slow as any.
        let drifts = self.plan.faults.contains(&FaultKind::ClockDrift);
        let slower_us = if drifts { usual_us * 2 * self.plan.clock_drift_ppm / 1_000_000 } else { 0 };
        self.now_us + usual_us + slower_us + ANSWER_SLACK_US
    }

    pub(crate) fn wake(&mut self, client: usize, mean_us: u64) {
        if self.joins_storm(client) {
            return;
        }
        let usual = self.dice.delay_us(mean_us);
        let usual = self.pause_us(usual);
        let delay = self.clients.holders.stands_still_us(client).unwrap_or(usual);
        self.queue.push(self.now_us + delay, Event::Wake(client));
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now_us, what);
    }

    /// A request is lost with what is known of it.
    pub(crate) fn lose(&mut self, token: u64, applied: Applied) {
        if let Some(ended) = self.clients.lose(self.now_us, token, applied) {
            self.note(format_args!("client {} loses request {token}: {applied:?}", ended.client));
            self.wake(ended.client, self.plan.think_us + 10 * MS);
        }
    }

    /// Starts a process on a machine, if none runs.
    pub(crate) fn start(&mut self, node: NodeId) -> Result<(), Broken> {
        let number = node.0 as usize;
        if self.hosts[number].process.is_some() || self.hosts[number].gone {
            return Ok(());
        }
        if !self.may_start(node) {
            self.start_later(node, 100 * MS);
            return Ok(());
        }
        let config = NodeConfig {
            cluster: self.cluster,
            node,
            members: (0..self.plan.nodes).map(NodeId).collect(),
            keyspaces: KEYSPACES[..CONFIGURED].iter().map(|name| name.to_string()).collect(),
            timing: self.plan.timing,
            limits: self.plan.limits,
            seed: self.dice.next(),
            #[cfg(feature = "planted")]
            planted: self.options.planted,
        };
        let started = self.hosts[number].start(self.now_us, config, &mut self.counts);
        self.note(format_args!("node {node} starts: {started:?}"));
        let damage = started.as_ref().is_err_and(|stop| self.is_of_damage(node, stop));
        let host = &mut self.hosts[number];
        match (started, host.rot.take()) {
            (Ok(()), None) => {
                self.counts.add("starts", 1);
                self.schedule(node, ProcessEvent::Tick, 0);
                self.on_return(node)
            }
            (Err(stop), None) if damage => self.on_damage(node, &stop),
            (Err(Stop::Corrupt { file, offset }), Some(rot)) if file == rot.file && offset <= rot.offset => {
                if !rot.untouched(&host.files) {
                    return Err(Broken::safety(
                        "corrupt_logs_stay_as_they_are",
                        format!("node {node}: {rot:?}"),
                    ));
                }
                self.counts.add("corruption_refused", 1);
                rot.repair(&host.files);
                self.start_later(node, 100 * MS);
                Ok(())
            }
            (started, Some(rot)) => Err(Broken::safety(
                "corruption_is_refused",
                format!(
                    "node {node}: {} byte {} rotted, and starting gave {started:?}",
                    rot.file, rot.offset
                ),
            )),
            (Err(Stop::Broken(broken)), None) => Err(broken),
            (Err(Stop::Disk(reason)), None) => {
                self.note(format_args!("node {node} does not start: {reason}"));
                self.counts.add("starts_failed", 1);
                let host = &mut self.hosts[number];
                // A disk that lies is found out later, when a process has lived with it.
                let power = host.halt_in_start.take().is_none_or(|(_, power)| power) && !host.troubles.lies();
                host.stop(&mut self.dice, power, None);
                self.start_later(node, 200 * MS);
                Ok(())
            }
            (Err(stop @ (Stop::Corrupt { .. } | Stop::Damaged { .. } | Stop::Refused(_))), None) => {
                Err(Broken::crash("good_logs_are_accepted", format!("node {node}: {stop:?}")))
            }
        }
    }

    /// Schedules a start around so much later.
    pub(crate) fn start_later(&mut self, node: NodeId, mean_us: u64) {
        let delay = self.dice.delay_us(mean_us);
        self.injector.passes_at(self.now_us + delay);
        self.queue.push(self.now_us + delay, Event::Recover(Recovery::Start(node)));
    }

    /// Schedules something inside a node's process.
    pub(crate) fn schedule(&mut self, node: NodeId, what: ProcessEvent, delay_us: u64) {
        let boot = self.hosts[node.0 as usize].boot;
        self.queue.push(self.now_us + delay_us, Event::Process { node, boot, what });
    }
}
