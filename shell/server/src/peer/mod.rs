//! The transport between nodes: mutually authenticated connections that carry frames of messages.
//!
//! Every node dials every peer and only sends on what it dialed; it only receives on what it accepted.
//! So two one-way connections join a pair, either side can restart alone, and no rule is needed for
//! who keeps which of two crossing connections.
//!
//! Guarantees: [`PeerHandle::send`] never blocks; everything queued is bounded; messages of one
//! connection arrive in order, unchanged, from the node that the peer's certificate names, or not at all.
//! Not promised: delivery. Messages are dropped when a queue is full and when a connection ends
//! (nothing stale is sent after a reconnect); Raft and deadlines repeat what matters. Across a
//! reconnect, the last messages of the old connection may arrive after the first of the new one.

mod acceptor;
mod backoff;
mod dialer;
mod handshake;
mod inbound;
mod metrics;
mod queue;

use std::{collections::BTreeMap, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};
use types::{ClusterId, NodeId};
use wire::{
    Features, Hello, PeerMessage,
    hello::{PROTOCOL_MAX, PROTOCOL_MIN},
};

pub use handshake::{Refusal, RefusalKind};
pub use metrics::{Counter, LinkMetrics, PeerMetrics};
pub use queue::{QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX};

use crate::{log_limit::LogLimit, tls::PeerTls};
use inbound::Inbound;
use queue::SendQueue;

/// How long [`PeerTransport::stop`] lets connections say goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What one node's transport needs to know.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The other members, as `host:port`; resolved again on each dial.
    pub peers: BTreeMap<NodeId, String>,
    /// Certificates.
    pub tls: PeerTls,
    /// Whether to offer compression.
    pub compress: bool,
    /// How long to wait for what.
    pub timeouts: PeerTimeouts,
}

/// How long the transport waits, and how it retries.
#[derive(Clone, Copy, Debug)]
pub struct PeerTimeouts {
    /// For a name to resolve, and for each of its addresses to connect.
    pub connect: Duration,
    /// For TLS and both hellos, from the first byte.
    pub handshake: Duration,
    /// For the network to take any more bytes of a frame.
    pub write: Duration,
    /// For the peer's system to confirm what was sent. After that the connection is given up, since TCP's own
    /// repeats come ever more rarely, and would keep a link silent for seconds after its network healed.
    pub confirm: Duration,
    /// The first wait before dialing again is random below this; each doubles it.
    pub backoff_min: Duration,
    /// Waits are random below this at most.
    pub backoff_max: Duration,
}

impl Default for PeerTimeouts {
    fn default() -> PeerTimeouts {
        PeerTimeouts {
            connect: Duration::from_secs(1),
            handshake: Duration::from_secs(5),
            write: Duration::from_secs(5),
            confirm: Duration::from_secs(3),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// What the transport reports.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "all but a few events are messages; a box for each costs more")]
pub enum PeerEvent {
    /// A peer said something.
    Message {
        /// Who, by certificate.
        from: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// This node can send to the peer from now on.
    Up(NodeId),
    /// It cannot any more, and what was queued is dropped.
    Down(NodeId),
}

/// Completes when the receiver has room again: until then nothing more is read from that peer.
pub type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Where events go. Called from many tasks; the call itself must not block.
pub type EventSink = Arc<dyn Fn(Vec<PeerEvent>) -> Delivery + Send + Sync>;

/// Why the transport did not start. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen for peers on {address}: {source}; stop the process that uses the port, or choose another \
         peer address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes: {0}; nothing was started")]
    Entropy(getrandom::Error),
}

/// A bound peer port: connections wait in it until the transport starts.
#[derive(Debug)]
pub struct PeerListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl PeerListener {
    /// Takes the port; port 0 takes any free one.
    ///
    /// # Errors
    /// [`PeerError::Bind`], when it is in use for instance.
    pub async fn bind(address: SocketAddr) -> Result<PeerListener, PeerError> {
        let bind = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(PeerListener { listener, address })
        };
        bind.await.map_err(|source| PeerError::Bind { address, source })
    }

    /// The address taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What all tasks of one transport share.
struct Shared {
    options: PeerOptions,
    hello: Hello,
    queues: BTreeMap<NodeId, SendQueue>,
    /// Told when a peer connected to this node: then it can be reached again, most likely.
    reached_us: BTreeMap<NodeId, Notify>,
    inbound: Inbound,
    metrics: Arc<PeerMetrics>,
    events: EventSink,
    refusals_logged: [LogLimit; RefusalKind::ALL.len()],
    accepts_logged: LogLimit,
}

/// The running transport. Dropping it ends every connection at once.
pub struct PeerTransport {
    handle: PeerHandle,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts dialing every peer and accepting connections.
///
/// # Errors
/// [`PeerError::Entropy`].
///
/// # Panics
/// Outside of a tokio runtime; if the options list this node as its own peer, or the certificate is
/// another node's.
pub fn start(
    listener: PeerListener,
    options: PeerOptions,
    events: EventSink,
) -> Result<PeerTransport, PeerError> {
    let identity = options.tls.identity();
    assert_eq!(
        (identity.cluster, identity.node),
        (options.cluster, options.node),
        "another node's certificate"
    );
    assert!(!options.peers.contains_key(&options.node), "a node is not its own peer");
    let metrics = Arc::new(PeerMetrics::new(options.peers.keys().copied()));
    let shared = Arc::new(Shared {
        hello: Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            features: if options.compress { Features::ALL } else { Features::NONE },
            cluster: options.cluster,
            node: options.node,
            build: env!("CARGO_PKG_VERSION").into(),
            boot: getrandom::u64().map_err(PeerError::Entropy)?,
        },
        queues: options.peers.keys().map(|peer| (*peer, SendQueue::new(metrics.link(*peer)))).collect(),
        reached_us: options.peers.keys().map(|peer| (*peer, Notify::new())).collect(),
        inbound: Inbound::default(),
        metrics,
        events,
        refusals_logged: Default::default(),
        accepts_logged: LogLimit::default(),
        options,
    });
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for (peer, address) in &shared.options.peers {
        tasks.spawn(dialer::run(shared.clone(), *peer, address.clone(), stopped.clone()));
    }
    tasks.spawn(acceptor::run(shared.clone(), listener.listener, stopped));
    Ok(PeerTransport { handle: PeerHandle { shared }, address: listener.address, stop, tasks })
}

/// Completes when the transport has to stop, also when it was dropped.
async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

impl PeerTransport {
    /// For sending.
    pub fn handle(&self) -> PeerHandle {
        self.handle.clone()
    }

    /// The address that peers reach this node at, when it listens on a single one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and the port. Messages still queued are dropped.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_TIMEOUT, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Sends to peers, from any thread.
#[derive(Clone)]
pub struct PeerHandle {
    shared: Arc<Shared>,
}

impl PeerHandle {
    /// Queues messages for a peer; they leave in this order. Never blocks. What does not fit the queue,
    /// is too large for a frame, or is for a peer that is not connected or not a member, is dropped
    /// and counted.
    pub fn send(&self, to: NodeId, messages: Vec<PeerMessage>) {
        match self.shared.queues.get(&to) {
            Some(queue) => queue.push(messages),
            None => self.shared.metrics.misaddressed.add(messages.len() as u64),
        }
    }

    /// Closes the connection that the peer sends on, because what came over it made no sense. The peer
    /// dials again.
    pub fn disconnect(&self, peer: NodeId, reason: &str) {
        if let Some(link) = self.shared.metrics.links().get(&peer) {
            link.message_errors.add(1);
        }
        self.shared.inbound.close(peer, reason);
    }

    /// What has been counted so far.
    pub fn metrics(&self) -> Arc<PeerMetrics> {
        self.shared.metrics.clone()
    }
}
