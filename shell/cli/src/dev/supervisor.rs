//! Keeps the nodes of a development cluster running: starts them, reports how they fare, starts
//! again what dies, and stops them all in the end. Also what `quorate bench failover` measures on.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use server::config::{Member, ServerConfig, TlsFiles};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    events::{Ended, Event, What},
    layout::Layout,
    patience::{Death, Decision, FAILED_STARTS_MAX, Patience},
    ports::Ports,
    process::{NodeProcess, ready},
};
use crate::failure::Failure;

/// How long a node may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// What all nodes are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    Stop,
    Kill,
}

/// A running cluster.
#[derive(Debug)]
pub struct Supervisor {
    layout: Layout,
    ports: Ports,
    order: watch::Sender<Order>,
    pids: Vec<Arc<AtomicU32>>,
    nodes: JoinSet<()>,
}

/// What one node's task works with.
struct Keeper {
    node: u16,
    ports: Ports,
    config: PathBuf,
    log: PathBuf,
    restart: bool,
    order: watch::Receiver<Order>,
    events: mpsc::UnboundedSender<Event>,
    /// The node's process, 0 while there is none.
    pid: Arc<AtomicU32>,
}

impl Supervisor {
    /// Starts every node; what happens to them arrives on the channel. With `restart`, a node that
    /// dies is started again.
    ///
    /// # Errors
    /// If a port is taken, or a configuration file cannot be written. Nothing runs then.
    pub async fn start(
        layout: Layout,
        ports: Ports,
        restart: bool,
    ) -> Result<(Supervisor, mpsc::UnboundedReceiver<Event>), Failure> {
        ports.check(layout.nodes()).await?;
        let (order, orders) = watch::channel(Order::Run);
        let (events, happened) = mpsc::unbounded_channel();
        let mut keepers = Vec::new();
        for node in 0..layout.nodes() {
            let config = layout.dir().join(format!("node-{node}.toml"));
            write_config(&layout, ports, node, &config)?;
            let (log, pid) = (layout.log_file(node), Arc::new(AtomicU32::new(0)));
            let (order, events) = (orders.clone(), events.clone());
            keepers.push(Keeper { node, ports, config, log, restart, order, events, pid });
        }
        let pids = keepers.iter().map(|keeper| Arc::clone(&keeper.pid)).collect();
        let mut nodes = JoinSet::new();
        for keeper in keepers {
            nodes.spawn(keeper.keep());
        }
        Ok((Supervisor { layout, ports, order, pids, nodes }, happened))
    }

    /// The directory it runs in.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The ports it serves on.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The process of a node, while it has one.
    pub fn pid(&self, node: u16) -> Option<u32> {
        let pid = self.pids.get(usize::from(node))?.load(Ordering::Acquire);
        (pid != 0).then_some(pid)
    }

    /// Tells every node to stop; those that take too long are killed.
    pub fn stop(&self) {
        self.order.send_if_modified(|order| {
            let first = *order == Order::Run;
            *order = (*order).max(Order::Stop);
            first
        });
    }

    /// Kills every node at once. What they acknowledged stays.
    pub fn kill(&self) {
        self.order.send_replace(Order::Kill);
    }

    /// Waits until no node is left.
    ///
    /// # Panics
    /// If a node's task did.
    pub async fn finished(&mut self) {
        while let Some(result) = self.nodes.join_next().await {
            result.expect("a node's task does not panic");
        }
    }
}

impl Keeper {
    async fn keep(mut self) {
        let mut patience = Patience::default();
        let mut restarts = 0;
        loop {
            let started = Instant::now();
            let (ended, was_ready) = match NodeProcess::start(&self.config, &self.log) {
                Ok(process) => match self.watch(process, restarts).await {
                    Some(end) => end,
                    None => return,
                },
                Err(error) => (not_started(&error), false),
            };
            let by_itself = ended.signal.is_none();
            let decision = patience.on_death(Death { lived: started.elapsed(), was_ready, by_itself });
            let pause = match decision {
                Decision::RestartAfter(pause) if self.restart => Some(pause),
                _ => None,
            };
            self.tell(What::Exited { ended, restart_in: pause });
            self.pid.store(0, Ordering::Release);
            let Some(pause) = pause else {
                if self.restart {
                    self.tell(What::GaveUp { failures: FAILED_STARTS_MAX });
                }
                return;
            };
            restarts += 1;
            tokio::select! {
                () = sleep(pause) => {}
                () = told(&mut self.order, Order::Stop) => return,
            }
        }
    }

    /// Until the process ends: how, and whether it had been ready. `None` if it was told to stop.
    async fn watch(&mut self, mut process: NodeProcess, restarts: u32) -> Option<(Ended, bool)> {
        self.pid.store(process.pid(), Ordering::Release);
        self.tell(What::Starting);
        let mut was_ready = false;
        let mut serves = pin!(ready(process.take_stdout()));
        loop {
            tokio::select! {
                () = &mut serves, if !was_ready => {
                    was_ready = true;
                    self.tell(What::Ready { restarts });
                }
                ended = process.ended() => {
                    return Some((ended.unwrap_or_else(|error| not_started(&error)), was_ready));
                }
                () = told(&mut self.order, Order::Stop) => break,
            }
        }
        self.tell(What::Stopping);
        self.end(&mut process).await;
        self.tell(What::Stopped);
        self.pid.store(0, Ordering::Release);
        None
    }

    async fn end(&mut self, process: &mut NodeProcess) {
        process.signal(Signal::TERM);
        tokio::select! {
            _ = process.ended() => return,
            () = sleep(STOP_WITHIN) => {}
            () = told(&mut self.order, Order::Kill) => {}
        }
        process.signal(Signal::KILL);
        let _ = process.ended().await;
    }

    fn tell(&self, what: What) {
        let pid = Some(self.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0);
        // Nobody listens once the command is over.
        let (http, config) = (self.ports.http(self.node), self.config.clone());
        let _ = self.events.send(Event { node: self.node, pid, http, config, what });
    }
}

/// Waits for an order at least this strict. A supervisor that is gone has given the strictest.
async fn told(orders: &mut watch::Receiver<Order>, at_least: Order) {
    // Only the sender's end makes this fail.
    let _ = orders.wait_for(|order| *order >= at_least).await;
}

fn not_started(error: &io::Error) -> Ended {
    Ended { code: None, signal: None, last_words: Some(format!("the process cannot be started: {error}")) }
}

fn write_config(layout: &Layout, ports: Ports, node: u16, path: &Path) -> Result<(), Failure> {
    let mut config = ServerConfig::single(layout.cluster(), layout.node_dir(node));
    config.node = u64::from(node);
    config.http = ports.http(node).to_string();
    if layout.nodes() > 1 {
        let members = (0..layout.nodes()).map(|node| Member {
            node: u64::from(node),
            peer: Some(ports.peer(node).to_string()),
            http: Some(ports.http(node).to_string()),
        });
        config.members = members.collect();
    }
    config.tls = layout.certificate(node).map(|files| TlsFiles {
        authority: files.authority.clone(),
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    });
    let text = toml::to_string(&config).map_err(|error| Failure::error(error.to_string()))?;
    let header = "# Written by `quorate dev` at every start; changes are lost.\n";
    std::fs::write(path, format!("{header}{text}")).map_err(|error| {
        Failure::error(format!("cannot write {}: {error}", path.display()))
            .next("check its owner and permissions")
    })
}
