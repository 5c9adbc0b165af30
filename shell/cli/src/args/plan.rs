//! `quorate plan`.

use std::path::PathBuf;

use clap::Args;

use super::Connection;

/// `quorate plan`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate plan --lose 2                           the running cluster without node 2
  quorate plan --cut 0/1,2                        node 0 on one side, nodes 1 and 2 on the other
  quorate plan --nodes 5 --lose 3,4 --slow 1=200ms      no cluster needed
  quorate plan --nodes 3 --contracts contracts.toml --destroy 0,1
  quorate plan --nodes 3 --cut 0/1                the link between 0 and 1 alone: node 2 reaches both

For every keyspace: what each node answers to each operation, or with which error and how soon it refuses, what could
be lost of what was acknowledged, and how many more nodes may fail: all in good health, and with one slow. Faults are given
several times, and begin all at once. Nothing is changed.

Lost nodes keep their disks, destroyed ones do not. A slow node is one whose answers to others come so much later than
usual. Operations marked * are what requests get that leave it to the contract.")]
pub struct Plan {
    /// Lose these nodes: they are down, their disks are kept
    #[arg(long, value_name = "NODE,NODE")]
    pub lose: Vec<String>,
    /// Lose these nodes with their disks
    #[arg(long, value_name = "NODE,NODE")]
    pub destroy: Vec<String>,
    /// Cut the network between these sides; nodes on none of them reach all
    #[arg(long, value_name = "NODE,NODE/NODE")]
    pub cut: Vec<String>,
    /// Let this node answer others so much later, in ms or s
    #[arg(long, value_name = "NODE=TIME")]
    pub slow: Vec<String>,
    /// Plan for a cluster of so many nodes, numbered from 0, without asking any
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    pub nodes: Option<u64>,
    /// Plan for the contracts of this file (as `quorate apply` takes it), not for those of the cluster
    #[arg(long, value_name = "FILE")]
    pub contracts: Option<PathBuf>,
    /// Assume that this node leads; what leads in the cluster is known without it
    #[arg(long, value_name = "NODE")]
    pub leader: Option<u64>,
    /// Only this keyspace
    #[arg(long, value_name = "KEYSPACE")]
    pub only: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Larger clusters are planned in parts.
const NODES_MAX: u64 = 100;
