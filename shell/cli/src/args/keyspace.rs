//! Flags of the commands about keyspaces and contracts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Connection;

/// `quorate keyspace`.
#[derive(Clone, Debug, Args)]
pub struct KeyspaceArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyspaceCommand,
}

/// Every command about keyspaces.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyspaceCommand {
    /// Create a keyspace under a contract.
    #[command(after_help = "\
Examples:
  quorate keyspace create orders
  quorate keyspace create orders --idempotency-ttl-s 3600

That it exists under an equal contract is success, so that creating again after an unknown outcome is safe. Exit
code 4 if it exists under another contract. The fields: docs/concepts/contracts.md.")]
    Create(Create),
    /// Show a keyspace's contract, and what it means when something fails.
    Show(Named),
    /// List all keyspaces with their contracts.
    List(Listed),
    /// Change a keyspace's contract while it serves.
    #[command(after_help = "\
Examples:
  quorate keyspace alter orders --ack all
  quorate keyspace alter orders --unset quota-bytes
  quorate keyspace alter orders --read 'bounded(5s)' --if-version 2

ack, read, lease_reads, quota_bytes, history_ttl_s and idempotency_ttl_s change; the others stay as the keyspace was created. The answer comes
once the node asked goes by the change; others follow as they hear of it. Exit code 4 if somebody else changed the
contract at the same time, or it is not of the version given. What each change means: docs/concepts/contracts.md.")]
    Alter(Alter),
    /// Delete a keyspace with all that is in it.
    #[command(after_help = "\
Examples:
  quorate keyspace delete orders            asks for the name, on a terminal
  quorate keyspace delete orders --yes      asks nothing

Its keys, its idempotency keys and its revisions are gone for good; the name is free for another keyspace, which begins
empty. Exit code 4 if the contract is not of the version given.")]
    Delete(DeleteKeyspace),
}

/// A keyspace and what changes of its contract.
#[derive(Clone, Debug, Args)]
pub struct Alter {
    /// Its name
    pub name: String,
    /// Only if its contract is of this version (`keyspace show` says which)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub if_version: Option<u64>,
    /// Leave a field unset that was set, such as quota-bytes; may be given several times
    #[arg(long, value_name = "FIELD")]
    pub unset: Vec<String>,
    /// The contract.
    #[command(flatten)]
    pub fields: Fields,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

impl Alter {
    /// The changes, as JSON.
    pub fn json(&self) -> Value {
        let mut changes = self.fields.json();
        for field in &self.unset {
            changes[field.replace('-', "_")] = Value::Null;
        }
        changes
    }
}

/// A keyspace to be deleted.
#[derive(Clone, Debug, Args)]
pub struct DeleteKeyspace {
    /// Its name
    pub name: String,
    /// Delete it without asking for its name
    #[arg(long)]
    pub yes: bool,
    /// Only if its contract is of this version
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub if_version: Option<u64>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A keyspace and fields of its contract.
#[derive(Clone, Debug, Args)]
pub struct Create {
    /// Its name: 1 to 64 characters out of a-z, 0-9, `_` and `-`
    pub name: String,
    /// The contract.
    #[command(flatten)]
    pub fields: Fields,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A keyspace.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// Its name
    pub name: String,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// All keyspaces.
#[derive(Clone, Debug, Args)]
pub struct Listed {
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate apply`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate apply contracts.toml --dry-run    only show what would change
  quorate apply contracts.toml

The file has a table per keyspace, with the fields that are not to have their default:

  [keyspaces.orders]
  idempotency_ttl_s = 3600

The difference is shown first. Keyspaces that are missing are created, those under another contract are altered, and applying it
again changes nothing. Nothing at all is applied if a field differs that never changes (exit code 4). No keyspace is
ever deleted: those that the file does not name stay as they are.")]
pub struct Apply {
    /// The file, TOML
    pub file: PathBuf,
    /// Show the difference and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Fields of a contract; those that are not given have their default.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Contract")]
pub struct Fields {
    /// raft, paxos or leaderless
    #[arg(long, value_name = "WORD")]
    pub replication: Option<String>,
    /// reject, accept or degrade
    #[arg(long, value_name = "WORD")]
    pub on_partition: Option<String>,
    /// How many nodes hold it [default: all]
    #[arg(long, value_name = "N")]
    pub replicas: Option<u32>,
    /// none, leader, quorum or all
    #[arg(long, value_name = "WORD")]
    pub ack: Option<String>,
    /// strong, causal, bounded(5s) or eventual
    #[arg(long, value_name = "WORD")]
    pub read: Option<String>,
    /// Whether a leader with a lease answers strong reads alone, trusting clocks: true or false
    #[arg(long, value_name = "BOOL")]
    pub lease_reads: Option<bool>,
    /// register, counter, set, map or sorted_set
    #[arg(long, value_name = "WORD")]
    pub values: Option<String>,
    /// Independent groups that the keys are spread over
    #[arg(long, value_name = "N")]
    pub shards: Option<u32>,
    /// Most bytes of keys and values
    #[arg(long, value_name = "BYTES")]
    pub quota_bytes: Option<u64>,
    /// How long answers to idempotency keys are remembered, in seconds
    #[arg(long, value_name = "S")]
    pub idempotency_ttl_s: Option<u64>,
    /// How long every revision can be watched and read, in seconds
    #[arg(long, value_name = "S")]
    pub history_ttl_s: Option<u64>,
    /// With degrade: how long without a majority before it does, in milliseconds
    #[arg(long, value_name = "MS")]
    pub degrade_after_ms: Option<u64>,
    /// With degrade: merge, apply or refuse
    #[arg(long, value_name = "WORD")]
    pub reconcile: Option<String>,
}

impl Fields {
    /// The fields that were given, as a contract's JSON.
    pub fn json(&self) -> Value {
        let given = [
            ("replication", json!(self.replication)),
            ("on_partition", json!(self.on_partition)),
            ("replicas", json!(self.replicas)),
            ("ack", json!(self.ack)),
            ("read", json!(self.read)),
            ("lease_reads", json!(self.lease_reads)),
            ("values", json!(self.values)),
            ("shards", json!(self.shards)),
            ("quota_bytes", json!(self.quota_bytes)),
            ("idempotency_ttl_s", json!(self.idempotency_ttl_s)),
            ("history_ttl_s", json!(self.history_ttl_s)),
            ("degrade_after_ms", json!(self.degrade_after_ms)),
            ("reconcile", json!(self.reconcile)),
        ];
        let given = given.into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(given.map(|(field, value)| (field.to_owned(), value)).collect::<Map<_, _>>())
    }
}
