//! Flags of `watch` and `compact`.

use std::ffi::OsString;

use clap::Args;
use types::SessionToken;

use super::{Connection, Writing, data::idempotency_key};

/// `quorate watch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate watch greeting                       every change of one key from now on
  quorate watch --prefix users/ --prev         of all keys of a prefix, with the values before
  quorate watch --prefix '' --from-revision 1  all history there is, then what comes
  quorate watch --prefix '' --json | jq -c .events

Each change once, in the order of revisions. When a node is lost, it goes on at another one where it
was. It ends with COMPACTED (exit code 1) if the revisions to tell are no longer kept: then read anew,
and watch from the revision after that of the read. With --json one object per revision.")]
pub struct Watch {
    /// The key to watch
    #[arg(required_unless_present = "prefix", conflicts_with = "prefix")]
    pub key: Option<OsString>,
    /// KEY or the prefix is percent-encoded: `a%00b` is `a`, a NUL byte, `b`
    #[arg(long)]
    pub percent: bool,
    /// Watch every key that begins with this; '' is every key
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<OsString>,
    /// Begin at this revision, which may be long past [default: after all that is applied now]
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub from_revision: Option<u64>,
    /// Also print the version before each change
    #[arg(long)]
    pub prev: bool,
    /// The shard to watch: a prefix needs it in a keyspace of several
    #[arg(long, value_name = "N")]
    pub shard: Option<u32>,
    /// End after so many revisions with changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// What the session has seen: the watch begins once the node asked has applied all of it
    #[arg(long, value_name = "TOKEN", env = "QUORATE_SESSION")]
    pub session: Option<SessionToken>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

impl Watch {
    /// The query's part that says which keys.
    pub fn keys(&self) -> (&'static str, Vec<u8>) {
        let (name, text) = match (&self.key, &self.prefix) {
            (Some(key), _) => ("key", super::bytes_of(key)),
            (None, prefix) => ("prefix", prefix.as_deref().map(super::bytes_of).unwrap_or_default()),
        };
        let bytes = if self.percent { percent_encoding::percent_decode(&text).collect() } else { text };
        (name, bytes)
    }
}

/// `quorate compact`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate compact --revision 1000

Gives up the history up to the revision: it can then be neither watched nor read. The newest version
of every key stays. Histories are compacted by age on their own (history_ttl_s of the contract).")]
pub struct Compact {
    /// The newest revision that can then not be watched any more
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: u64,
    /// The shard whose revision it is, in a keyspace of several
    #[arg(long, value_name = "N")]
    pub shard: Option<u32>,
    /// Carry it out at most once under this key; it does no harm twice anyway
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
    /// When it is acknowledged, and what its session has seen.
    #[command(flatten)]
    pub writing: Writing,
    /// Also print what the answer guarantees
    #[arg(long)]
    pub receipt: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}
