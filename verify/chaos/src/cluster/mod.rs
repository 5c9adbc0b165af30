//! A cluster of real processes on 127.0.0.1, in a directory of its own. Peers reach each other, and clients reach
//! nodes, through links that can be hurt.
//!
//! Guarantee: nothing that is started here outlives the run, and no other process is ever sent a signal.

mod child;
mod clocks;
mod disks;
mod etcd;
mod node;
mod ports;
mod quorate;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{ChaosError, proxy::Network};

pub use child::{Recipe, last_words};
pub use clocks::FakeClocks;
pub use disks::SmallDisks;
pub use etcd::{join_etcd, start_etcd};
pub use node::{Life, Node};
pub use ports::free;
pub use quorate::start;

/// What a cluster is asked to have beside nodes and links.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Wall clocks that can be set, for the faults that do.
    pub clocks: bool,
    /// Disks that can be filled, for the fault that does.
    pub disks: bool,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The processes; empty for a cluster that somebody else runs.
    pub nodes: Vec<Arc<Node>>,
    /// Where each node serves clients, past all links: for looking at it.
    pub direct: Vec<SocketAddr>,
    /// Where clients connect: to a link of each node, if it can be hurt.
    pub doors: Vec<SocketAddr>,
    /// The links.
    pub network: Arc<Network>,
    /// Clocks that can be set, or why there are none.
    pub clocks: Result<FakeClocks, String>,
    /// Disks that can be filled, or why there are none.
    pub disks: Result<SmallDisks, String>,
}

impl Cluster {
    /// How many nodes clients can ask.
    pub fn size(&self) -> usize {
        self.doors.len()
    }

    /// Waits until `ready` says so of every node.
    ///
    /// # Errors
    /// If a node ends, or it takes longer than `within`.
    pub async fn wait_ready<F, R>(&self, within: Duration, ready: F) -> Result<(), ChaosError>
    where
        F: Fn(SocketAddr) -> R,
        R: Future<Output = bool>,
    {
        let deadline = Instant::now() + within;
        for (number, address) in self.direct.iter().enumerate() {
            while !ready(*address).await {
                let node = self.nodes.get(number);
                if let Some(node) = node
                    && let Some(said) = node.ended_by_itself().await
                {
                    return Err(ChaosError::start(format!("node {number} does not start: {said}")));
                }
                if Instant::now() > deadline {
                    let words = node.map(|node| last_words(node.log())).unwrap_or_default();
                    let message =
                        format!("node {number} is not ready after {within:?}; it last said: {words}");
                    return Err(ChaosError::start(message));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Ends every process: in order, or at once. Returns the nodes that had to be killed.
    pub async fn stop(&self, in_order: bool) -> Vec<usize> {
        let mut ends = tokio::task::JoinSet::new();
        for (number, node) in self.nodes.iter().cloned().enumerate() {
            ends.spawn(async move { (number, node.end(in_order).await) });
        }
        let mut late = Vec::new();
        while let Some(Ok((number, in_time))) = ends.join_next().await {
            if !in_time {
                late.push(number);
            }
        }
        late.sort_unstable();
        late
    }
}
