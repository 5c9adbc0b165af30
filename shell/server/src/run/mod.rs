//! A running server: three threads of its own (node, log, store), and peers and HTTP on tokio.
//!
//! The channels to the log and store threads have no bound of their own: what the node sends on them is bounded
//! by what it takes in. Batches wait for one sync, and hold at most what groups have proposed and not applied
//! (`Limits::unapplied_bytes_max`), what leaders sent (Raft's window of messages under way), and votes; checkpoints and
//! installations are one each per store and group.
//!
//! Started in the order in which mistakes are found earliest: the data directory's lock, the ports, whose
//! data it is, the log, the store, the node, its peers. HTTP answers `UNAVAILABLE` until the node runs.

mod clock;
mod descriptors;
mod handle;
mod inbox;
mod log_thread;
mod node_thread;
mod recover;
mod stop;
mod store_thread;

use std::{collections::BTreeMap, future::Future, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use node::Input;
use storage::Files;
use tokio::{
    net::{TcpListener, lookup_host},
    task::spawn_blocking,
};
use types::{ClusterId, NodeId};

use crate::{
    config::ServerConfig,
    disk::DataDir,
    error::ServerError,
    http::{self, AppState},
    metrics::Metrics,
    peer::{self, EventSink, PeerEvent, PeerListener, PeerOptions, PeerTimeouts, PeerTransport},
    tls::PeerTls,
};
use clock::Clock;
use inbox::Inbox;

pub(crate) use handle::{NodeHandle, Watching};
pub(crate) use inbox::Scrub;
pub use stop::{EXIT_BROKEN_INVARIANT, EXIT_DISK};

/// A server that serves. It may not know a leader yet: `/readyz` tells when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which node.
    pub node: NodeId,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Its process id.
    pub pid: u32,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Where it listens for peers, if it has any.
    pub peer: Option<SocketAddr>,
}

/// Runs a server until `shutdown` completes, then ends it in order. `ready` is called once it serves.
/// Needs a tokio runtime with time and I/O enabled.
///
/// A disk that fails, or an invariant that breaks, ends the process with [`EXIT_DISK`] or
/// [`EXIT_BROKEN_INVARIANT`]: going on could break a promise.
///
/// # Errors
/// When it cannot start. Each error says what to do next.
pub async fn run(
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(Ready),
) -> Result<(), ServerError> {
    config.check()?;
    descriptors::raise_limit();
    let clock = Clock::start();
    let data_dir = DataDir::open(&config.data_dir)?;
    let tls = load_tls(&config)?;
    let listener = bind(&config.http).await?;
    let http_address = listener
        .local_addr()
        .map_err(|source| ServerError::Address { address: config.http.clone(), source })?;
    if !http_address.ip().is_loopback() {
        tracing::warn!(%http_address, "HTTP has no authentication yet, and is open to the network here");
    }
    let peer_listener = match (&tls, config.peer_listen_address()) {
        (Some(_), Some(address)) => Some(PeerListener::bind(resolve(address).await?).await?),
        _ => None,
    };
    let metrics = Arc::new(Metrics::new());
    let state = AppState::new(&config, http_address, metrics.clone())?;
    let connections_max = descriptors::http_connections(config.http_connections_max);
    let http = http::Server::start(listener, state.clone(), connections_max);

    let files: Arc<dyn Files> = data_dir.files();
    let recovered = {
        let (config, files) = (config.clone(), files.clone());
        spawn_blocking(move || stop::guard("recovery", || recover::recover(&config, files, clock)))
    };
    let recovered = recovered.await.expect("recovery does not panic, it ends the process")?;

    let inbox = Arc::new(Inbox::new(config.limits.limits().pending_requests_max));
    let transport = match (tls, peer_listener) {
        (Some(tls), Some(listener)) => Some(start_peers(&config, tls, listener, &inbox)?),
        _ => None,
    };
    if let Some(transport) = &transport {
        metrics.add_peers(transport.handle().metrics());
    }
    let (log, log_thread) = log_thread::start(log_thread::LogThread {
        wal: recovered.wal,
        files,
        disk_free_bytes_min: config.limits.limits().disk_free_bytes_min,
        inbox: inbox.clone(),
        metrics: metrics.clone(),
    });
    let (store, store_thread) = store_thread::start(inbox.clone(), metrics);
    let node_thread = node_thread::start(node_thread::NodeThread {
        node: recovered.node,
        clock,
        tick: Duration::from_millis(config.timing.timing().tick_ms),
        inbox: inbox.clone(),
        log,
        store,
        peers: transport.as_ref().map(PeerTransport::handle),
    });
    state.set_node(NodeHandle::new(inbox.clone(), clock));
    ready(Ready {
        node: config.node_id(),
        cluster: config.cluster_id()?,
        pid: std::process::id(),
        http: http_address,
        peer: transport.as_ref().map(PeerTransport::address),
    });

    shutdown.await;
    tracing::info!("shutting down");
    http.stop().await;
    if let Some(transport) = transport {
        transport.stop().await;
    }
    inbox.close();
    // The node's thread ends first: it holds what the others receive from.
    join([node_thread, log_thread, store_thread]).await;
    Ok(())
}

async fn join(threads: [thread::JoinHandle<()>; 3]) {
    let joined = spawn_blocking(|| threads.into_iter().try_for_each(thread::JoinHandle::join));
    let ended = joined.await.is_ok_and(|threads| threads.is_ok());
    assert!(ended, "a thread that panics ends the process");
}

fn load_tls(config: &ServerConfig) -> Result<Option<PeerTls>, ServerError> {
    let Some(files) = config.tls.as_ref().filter(|_| config.has_peers()) else { return Ok(None) };
    let (cluster, node) = (config.cluster_id()?, config.node_id());
    Ok(Some(PeerTls::load(&files.authority, &files.certificate, &files.key, cluster, node)?))
}

fn start_peers(
    config: &ServerConfig,
    tls: PeerTls,
    listener: PeerListener,
    inbox: &Arc<Inbox>,
) -> Result<PeerTransport, ServerError> {
    let others = config.members.iter().filter(|member| member.node != config.node);
    let peers: BTreeMap<NodeId, String> =
        others.filter_map(|member| Some((NodeId(member.node), member.peer.clone()?))).collect();
    let options = PeerOptions {
        node: config.node_id(),
        cluster: config.cluster_id()?,
        peers,
        tls,
        compress: config.compress,
        timeouts: PeerTimeouts::default(),
    };
    let inbox = inbox.clone();
    let events: EventSink = Arc::new(move |events| {
        let inbox = inbox.clone();
        Box::pin(async move {
            for event in events {
                match event {
                    PeerEvent::Message { from, message } => inbox.push_peer(from, message).await,
                    PeerEvent::Up(peer) => tracing::info!(%peer, "connected to peer"),
                    PeerEvent::Down(peer) => {
                        tracing::warn!(%peer, "lost the connection to peer");
                        inbox.push_input(Input::PeerDown(peer));
                    }
                }
            }
        })
    });
    Ok(peer::start(listener, options, events)?)
}

async fn resolve(address: &str) -> Result<SocketAddr, ServerError> {
    let failed = |source| ServerError::Address { address: address.to_owned(), source };
    let mut found = lookup_host(address).await.map_err(failed)?;
    found.next().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))
}

async fn bind(address: &str) -> Result<TcpListener, ServerError> {
    let address = resolve(address).await?;
    TcpListener::bind(address).await.map_err(|source| ServerError::bind(address, source))
}
