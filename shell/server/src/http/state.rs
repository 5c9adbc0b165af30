//! What every handler shares.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use tokio::sync::Semaphore;
use types::{ClusterId, ErrorCode, NodeId, Problem};

use super::{body::BODIES_BYTES_MAX, flight::Flight};
use crate::{
    config::{ConfigError, Member, ServerConfig},
    metrics::Metrics,
    run::NodeHandle,
};

/// Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct AppState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: OnceLock<NodeHandle>,
    node_id: NodeId,
    cluster: ClusterId,
    members: Vec<Member>,
    http: SocketAddr,
    started: Instant,
    metrics: Arc<Metrics>,
    body_room: Arc<Semaphore>,
    flight: Flight,
}

impl AppState {
    /// Of a node that does not run yet.
    pub(crate) fn new(
        config: &ServerConfig,
        http: SocketAddr,
        metrics: Arc<Metrics>,
    ) -> Result<AppState, ConfigError> {
        Ok(AppState(Arc::new(Inner {
            node: OnceLock::new(),
            node_id: config.node_id(),
            cluster: config.cluster_id()?,
            members: config.members.clone(),
            http,
            started: Instant::now(),
            metrics,
            body_room: Arc::new(Semaphore::new(BODIES_BYTES_MAX as usize)),
            flight: Flight::new(),
        })))
    }

    /// The node runs from now on.
    pub(crate) fn set_node(&self, node: NodeHandle) {
        assert!(self.0.node.set(node).is_ok(), "a server starts its node once");
    }

    /// The node; `UNAVAILABLE` while it starts.
    pub(super) fn node(&self) -> Result<&NodeHandle, Problem> {
        self.0.node.get().ok_or_else(|| {
            Problem::not_applied(
                ErrorCode::Unavailable,
                "this node is still reading its log and state from disk",
                "wait until GET /readyz answers 200, or ask another node",
            )
        })
    }

    pub(super) fn node_id(&self) -> NodeId {
        self.0.node_id
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.0.members
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.0.http
    }

    pub(super) fn uptime_ms(&self) -> u64 {
        self.0.started.elapsed().as_millis() as u64
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn flight(&self) -> &Flight {
        &self.0.flight
    }

    pub(super) fn body_room(&self) -> &Arc<Semaphore> {
        &self.0.body_room
    }
}
