//! Flags of the commands about leases, locks and elections.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use types::{
    LeaseId,
    limits::{LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN},
};

use super::{Connection, Writing};

/// `quorate lease`.
#[derive(Clone, Debug, Args)]
pub struct LeaseArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LeaseCommand,
}

/// Every command about leases.
#[derive(Clone, Debug, Subcommand)]
pub enum LeaseCommand {
    /// Begin a lease.
    #[command(after_help = "\
Examples:
  quorate lease grant --ttl-ms 10000
  lease=$(quorate lease grant --ttl-ms 10000 --json | jq -r .id)
  quorate put services/a 10.0.0.1 --lease $lease     removed when the lease ends

It lives that long from when the command was run, unless it is kept alive.")]
    Grant(Grant),
    /// Give a lease its whole time again.
    #[command(after_help = "\
Examples:
  quorate lease keep-alive 4000000000000123

Exit code 3 if there is no such lease any more.")]
    KeepAlive(OfLease),
    /// End a lease: its keys are removed.
    #[command(after_help = "Examples:\n  quorate lease revoke 4000000000000123")]
    Revoke(OfLease),
    /// Show a lease: the time that it has left, and its keys.
    #[command(after_help = "Examples:\n  quorate lease show 4000000000000123")]
    Show(OfLease),
    /// List all leases of a keyspace, or of one of its shards.
    #[command(
        after_help = "Examples:\n  quorate lease list\n  quorate lease list --json | jq -r '.leases[].id'"
    )]
    List(Leases),
}

/// `quorate lease grant`.
#[derive(Clone, Debug, Args)]
pub struct Grant {
    /// How long it lives, in milliseconds, unless it is kept alive
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(LEASE_TTL_MS_MIN..=LEASE_TTL_MS_MAX))]
    pub ttl_ms: u64,
    /// Its id, in hexadecimal [default: one that the store chooses]
    #[arg(long, value_name = "LEASE")]
    pub id: Option<LeaseId>,
    /// In a keyspace of several shards: a key, or a tag as in {order-17}, whose shard the lease is for
    #[arg(long, value_name = "KEY", default_value = "")]
    pub beside: String,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// One lease.
#[derive(Clone, Debug, Args)]
pub struct OfLease {
    /// The lease, in hexadecimal
    pub lease: LeaseId,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate lease list`.
#[derive(Clone, Debug, Args)]
pub struct Leases {
    /// The shard
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shard: u32,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// What runs under a lock, and how it ends.
#[derive(Clone, Debug, Args)]
pub struct Running {
    /// How long the lock's lease lives without a keep-alive, in milliseconds; one is sent three times in it
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1_000..=LEASE_TTL_MS_MAX))]
    pub ttl_ms: u64,
    /// Give up waiting after this many milliseconds [default: wait for as long as it takes]
    #[arg(long, value_name = "MS")]
    pub wait_ms: Option<u64>,
    /// When the lock is lost: milliseconds between asking the command to end (TERM) and ending it (KILL)
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    pub grace_ms: u64,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `quorate lock`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate lock nightly -- ./backup.sh
  quorate lock nightly --wait-ms 0 -- ./backup.sh       only if nobody holds it
  quorate lock job -- sh -c 'quorate put report done'   the write carries the fence

The command finds QUORATE_LOCK, QUORATE_FENCING_TOKEN and QUORATE_FENCE (NAME:TOKEN) in its environment; `quorate put`
and the other writes take the fence from there: a write that comes after the lock is lost is refused with FENCED.
When the lease is lost the command is ended, and the exit code is 6 if the command's own says success. Otherwise
the exit code is the command's; 128 and the signal's number if one ended it; 5 if the lock was not had in time.
Only fenced writes are safe: a process that stands still does not know that its lock is lost.")]
pub struct Lock {
    /// The lock
    pub name: OsString,
    /// What runs under it.
    #[command(flatten)]
    pub running: Running,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate election`.
#[derive(Clone, Debug, Args)]
pub struct ElectionArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ElectionCommand,
}

/// Every command about elections.
#[derive(Clone, Debug, Subcommand)]
pub enum ElectionCommand {
    /// Run a command while leading.
    #[command(after_help = "\
Examples:
  quorate election campaign chief host-a -- ./serve.sh

As `quorate lock`; VALUE says who leads.")]
    Campaign(Campaign),
    /// Set the value of a candidate.
    #[command(after_help = "\
Examples:
  quorate election proclaim chief host-a:8080 --lease 4000000000000123 --token 17")]
    Proclaim(Proclaim),
    /// Show who leads, or wait until somebody else does.
    #[command(after_help = "\
Examples:
  quorate election leader chief
  quorate election leader chief --known-token 17 --known-mod-revision 17    the next leader, or value")]
    Leader(Observe),
    /// Resign, or leave the queue.
    #[command(after_help = "Examples:\n  quorate election resign chief --lease 4000000000000123")]
    Resign(Resign),
}

/// `quorate election campaign`.
#[derive(Clone, Debug, Args)]
pub struct Campaign {
    /// The election
    pub name: OsString,
    /// What the others are to see of this candidate
    pub value: String,
    /// What runs while it leads.
    #[command(flatten)]
    pub running: Running,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate election proclaim`.
#[derive(Clone, Debug, Args)]
pub struct Proclaim {
    /// The election
    pub name: OsString,
    /// The value
    pub value: String,
    /// The candidate's lease
    #[arg(long, value_name = "LEASE")]
    pub lease: LeaseId,
    /// The candidate's token
    #[arg(long, value_name = "TOKEN")]
    pub token: u64,
    /// When it is acknowledged.
    #[command(flatten)]
    pub writing: Writing,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate election leader`.
#[derive(Clone, Debug, Args)]
pub struct Observe {
    /// The election
    pub name: OsString,
    /// Wait until the leader is another than the one with this token, or its value another; 0: none is known
    #[arg(long, value_name = "TOKEN", requires = "known_mod_revision")]
    pub known_token: Option<u64>,
    /// The last change of the known leader's value; 0: none is known
    #[arg(long, value_name = "REVISION", requires = "known_token")]
    pub known_mod_revision: Option<u64>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate election resign`.
#[derive(Clone, Debug, Args)]
pub struct Resign {
    /// The election
    pub name: OsString,
    /// The candidate's lease
    #[arg(long, value_name = "LEASE")]
    pub lease: LeaseId,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}
