//! Flags of `bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Connection;

/// `quorate bench`.
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  quorate bench
  quorate bench --clients 64 --seconds 30 --rate 2000
  quorate bench failover --kills 20

For each number of clients: durable quorum writes, then strong reads. Each is measured twice. First
closed loop (a client sends its next request when the last is answered) for the throughput; then at
a fixed rate, latency counted from when a request should have been sent, so that a stall is counted
for every request it delayed (no coordinated omission). Keys are below quorate-bench/, and removed."
)]
pub struct Bench {
    /// Measure something else.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
    /// Numbers of concurrent clients, separated by commas
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,64,256",
        value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub clients: Vec<u32>,
    /// Seconds per measurement
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Bytes of each value
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub value_bytes: u32,
    /// Different keys written
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// Requests per second of the fixed-rate runs [default: 70% of the measured throughput]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Which nodes the clients talk to
    #[arg(long, value_enum, default_value_t = Target::Leader)]
    pub target: Target,
    /// Leave the keys in place
    #[arg(long)]
    pub keep: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Which nodes a benchmark's clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The leader: what a client that follows the leader sees.
    Leader,
    /// Every endpoint in turn: what clients behind a load balancer see; followers forward.
    Spread,
}

/// Other measurements.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Time from killing the leader to the next acknowledged write.
    Failover(Failover),
}

/// `quorate bench failover`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate bench failover --kills 20
  quorate bench failover --nodes 5 --json

Starts a cluster of its own, kills its leader with SIGKILL, and measures until a write that was begun
after the kill is acknowledged by the nodes that are left. Then waits until the killed node is back
and caught up, and repeats.")]
pub struct Failover {
    /// How many kills
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub kills: u32,
    /// Nodes of the cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..=99))]
    pub nodes: u16,
    /// Where the cluster lives [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// HTTP port of node 0 [default: one that is free, from 17400 up]
    #[arg(long, value_name = "BASE", value_parser = clap::value_parser!(u16).range(1..=65_336))]
    pub http_port: Option<u16>,
}
