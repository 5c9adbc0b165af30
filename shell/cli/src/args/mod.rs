//! The command line as types: every command, every flag, and the text that `--help` shows.

mod bench;
mod chaos;
mod check;
mod cluster;
mod connection;
mod data;
mod keyspace;
mod lease;
mod lost;
mod plan;
mod style;
mod txn;
pub mod value;
mod watch;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

pub use bench::{Bench, BenchCommand, Failover, Target};
pub use chaos::{ChaosArgs, ChaosCommand, ChaosRun};
pub use check::Check;
pub use cluster::{DEV_NODES_MAX, Dev, PEER_PORT_OFFSET, Server};
pub use connection::{Connection, DEV_HTTP_PORT, dev_endpoint};
pub use data::{Delete, Export, Get, Import, List, Put, Reading, Writing};
pub use keyspace::{Alter, Apply, Create, DeleteKeyspace, KeyspaceArgs, KeyspaceCommand, Named};
pub use lease::{
    Campaign, ElectionArgs, ElectionCommand, Grant, LeaseArgs, LeaseCommand, Leases, Lock, Observe, OfLease,
    Proclaim, Resign, Running,
};
pub use lost::LostWrites;
pub use plan::Plan;
pub use txn::Txn;
pub use value::ValueArgs;
pub use watch::{Compact, Watch};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Quorate: a replicated data store that states every guarantee it gives, and keeps it.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    styles = style::STYLES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  quorate dev                          three nodes on this machine
  quorate put greeting hello           write, durable on a majority
  quorate get greeting                 read it back, linearizable
  quorate status                       who leads, who lags

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such key, 4 conflict, 5 no quorum or no answer."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON for programs: results on standard output, an error as one object on standard error.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster on this machine, each node its own process.
    Dev(Dev),
    /// Run one node: what a real deployment starts on each machine.
    Server(Server),
    /// Write a value.
    Put(Put),
    /// Read a value.
    Get(Get),
    /// Delete a key.
    Delete(Delete),
    /// List keys in order.
    List(List),
    /// Create, show and list keyspaces: each under a contract.
    Keyspace(KeyspaceArgs),
    /// Create the keyspaces that a file of contracts names.
    Apply(Apply),
    /// Predict what happens when nodes are lost, cut off or slow, and what is left to lose.
    Plan(Plan),
    /// Compare keys, then do one of two lists of operations, all at once.
    Txn(Txn),
    /// Print every change of a key, or of all keys of a prefix, as it happens.
    Watch(Watch),
    /// Give up a keyspace's history up to a revision.
    Compact(Compact),
    /// List what was acknowledged early and did not survive a failover.
    LostWrites(LostWrites),
    /// Grant, keep alive, show, list and revoke leases.
    Lease(LeaseArgs),
    /// Run a command while holding a lock.
    Lock(Lock),
    /// Campaign for the leadership of an election, and watch who leads.
    Election(ElectionArgs),
    /// Counters, sets, maps and sorted sets: change them, read them.
    Value(ValueArgs),
    /// Store a directory tree: every file, link and empty directory.
    Import(Import),
    /// Write a stored directory tree back to disk.
    Export(Export),
    /// Show every node: role, term, commit and applied index, lag.
    #[command(after_help = "\
Examples:
  quorate status
  quorate status --json | jq .leader
  quorate status --endpoints http://10.0.0.1:7400,http://10.0.0.2:7400

Exit code 0 if a leader with a quorum is known, 5 otherwise.")]
    Status(StatusArgs),
    /// Measure durable writes and strong reads, or failover.
    Bench(Bench),
    /// Judge a recorded history, of this or any other system.
    Check(Check),
    /// Hurt a cluster of real processes while clients work, and judge what they saw.
    Chaos(ChaosArgs),
    /// Explain an error code: what it means, whether to retry, what to do.
    #[command(after_help = "Examples:\n  quorate explain NO_QUORUM")]
    Explain(Explain),
    /// Print the version.
    Version,
    /// Print a completion script for your shell.
    #[command(after_help = "\
Examples:
  quorate completions bash > ~/.local/share/bash-completion/completions/quorate
  quorate completions fish > ~/.config/fish/completions/quorate.fish")]
    Completions(Completions),
}

/// `quorate status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, as in an error message. Without it, all codes are listed.
    pub code: Option<String>,
}

/// `quorate completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell.
    pub shell: Shell,
}

/// The bytes of an argument, whatever its encoding.
pub fn bytes_of(text: &OsStr) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[cfg(test)]
mod tests;
