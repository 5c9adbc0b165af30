//! `quorate lost-writes`.

use clap::Args;

use super::Connection;

/// `quorate lost-writes`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate lost-writes
  quorate lost-writes --only metrics --json
  quorate lost-writes --acknowledge write-64-3-17
  quorate lost-writes --acknowledge all

Writes with ack = leader are acknowledged before a majority has them: a failover may lose them. Each one that
is lost is listed once its leader is back; until then, a bound. What is listed stays until it is acknowledged.")]
pub struct LostWrites {
    /// Only those of this keyspace
    #[arg(long, value_name = "KEYSPACE")]
    pub only: Option<String>,
    /// Take this item, or `all` that are shown, off the list
    #[arg(long, value_name = "ID|all")]
    pub acknowledge: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}
