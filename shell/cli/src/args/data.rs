//! Flags of the commands that read and write data.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use types::{
    LeaseId, SessionToken,
    contract::{Ack, Read},
    limits::IDEMPOTENCY_KEY_BYTES_MAX,
};

use super::Connection;

/// A key on the command line.
#[derive(Clone, Debug, Args)]
pub struct KeyArg {
    /// The key; any bytes that the shell can pass
    pub key: OsString,
    /// KEY is percent-encoded: `a%00b` is `a`, a NUL byte, `b`
    #[arg(long)]
    pub percent: bool,
}

impl KeyArg {
    /// The key's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = super::bytes_of(&self.key);
        if self.percent { percent_encoding::percent_decode(&bytes).collect() } else { bytes }
    }
}

/// An idempotency key, as the header can carry it.
pub(super) fn idempotency_key(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable && (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters"))
}

/// `quorate put`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate put greeting hello
  quorate put greeting - < file          the value from standard input
  quorate put logo --file logo.png       the value from a file, any bytes
  quorate put lock me --if-absent        only if the key does not exist
  quorate put n 2 --if-revision 41       only if it was last modified at revision 41
  quorate put n 2 --idempotency-key $(uuidgen)

Exit code 4 if the key is not as --if-absent or --if-revision expects. A write whose outcome is
unknown is sent again only under an idempotency key; without, read the key to find out. Keys up to 4 KiB, values up to 1 MiB.")]
pub struct Put {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The value; `-` or nothing reads it from standard input
    #[arg(conflicts_with = "file")]
    pub value: Option<OsString>,
    /// Read the value from this file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write only if the key's modification revision is this
    #[arg(long, value_name = "REVISION", conflicts_with = "if_absent")]
    pub if_revision: Option<u64>,
    /// Write only if the key does not exist
    #[arg(long)]
    pub if_absent: bool,
    /// Bind the key to this lease: it is removed when the lease ends. Without, it is bound to none from now on
    #[arg(long, value_name = "LEASE")]
    pub lease: Option<LeaseId>,
    /// Carry the change out at most once, however often it is sent with this key: a failure whose outcome
    /// is unknown is then sent again. A new key for every change; printable ASCII, up to 255 bytes
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
    /// When the write is acknowledged, and what its session has seen.
    #[command(flatten)]
    pub writing: Writing,
    /// Also print what the answer guarantees
    #[arg(long)]
    pub receipt: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// What a read asks for beyond its keyspace's contract.
#[derive(Clone, Debug, Args)]
pub struct Reading {
    /// What the read guarantees: strong, causal, bounded(5s), bounded(200ms) or eventual [default: the contract's]
    #[arg(long, value_name = "LEVEL")]
    pub read: Option<Read>,
    /// What the session has seen, as the receipt of its last answer says: a causal read sees all of it
    #[arg(long, value_name = "TOKEN", env = "QUORATE_SESSION")]
    pub session: Option<SessionToken>,
}

/// What a write asks for beyond its keyspace's contract.
#[derive(Clone, Debug, Args)]
pub struct Writing {
    /// When the write is acknowledged: none, leader, quorum or all [default: the contract's]
    #[arg(long, value_name = "WHEN")]
    pub ack: Option<Ack>,
    /// What the session has seen, as the receipt of its last answer says: who sees the write can see that too
    #[arg(long, value_name = "TOKEN", env = "QUORATE_SESSION")]
    pub session: Option<SessionToken>,
    /// Write only while the lock NAME is held with this token, else refuse with FENCED: what acquiring it answered
    #[arg(long, value_name = "NAME:TOKEN", env = "QUORATE_FENCE", value_parser = fence)]
    pub fence: Option<String>,
}

/// A fence, as the header can carry it.
fn fence(text: &str) -> Result<String, String> {
    let token = text.rsplit_once(':').map(|(name, token)| (!name.is_empty(), token.parse::<u64>()));
    match token {
        Some((true, Ok(1..))) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("a lock's name, percent-encoded, a colon and a token".to_owned()),
    }
}

/// `quorate get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate get greeting
  quorate get logo --output logo.png
  quorate get greeting --receipt         the receipt on standard error
  quorate get 'a%00dir' --percent        a key with a NUL byte

The value's bytes go to standard output unchanged; on a terminal, control characters are escaped.
Exit code 3 if there is no such key.")]
pub struct Get {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// Write the value to this file instead
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Read as of this revision, which must not be compacted [default: the newest]
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: Option<u64>,
    /// What the read guarantees and what it must have seen.
    #[command(flatten)]
    pub reading: Reading,
    /// Also print, on standard error, what the answer guarantees
    #[arg(long)]
    pub receipt: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate delete`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate delete greeting
  quorate delete greeting --if-revision 41

Exit code 3 if there is no such key, 4 if it is not at the expected revision.")]
pub struct Delete {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// Delete only if the key's modification revision is this
    #[arg(long, value_name = "REVISION")]
    pub if_revision: Option<u64>,
    /// Carry the change out at most once, however often it is sent with this key: a failure whose outcome
    /// is unknown is then sent again. A new key for every change; printable ASCII, up to 255 bytes
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
    /// When the write is acknowledged, and what its session has seen.
    #[command(flatten)]
    pub writing: Writing,
    /// Also print what the answer guarantees
    #[arg(long)]
    pub receipt: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate list
  quorate list users/ --limit 20
  quorate list users/ --values
  quorate list --json | jq -r '.items[].key'

One key per line, in order of bytes; bytes that are not printable UTF-8 are escaped as \\xNN.
Each page is read at one moment; a listing of many pages is not one snapshot.")]
pub struct List {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    pub prefix: OsString,
    /// Most keys to print [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Also print the values
    #[arg(long)]
    pub values: bool,
    /// Read as of this revision, which must not be compacted [default: the newest]
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: Option<u64>,
    /// What the read guarantees and what it must have seen.
    #[command(flatten)]
    pub reading: Reading,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate import`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate import /usr/share/doc --prefix doc/
  quorate import ./site --retry-for-s 300

Regular files with any bytes and any names, symbolic links (as links) and empty directories. Files
larger than 1 MiB are split over several keys. Everything else is listed and makes the exit code 1.
Failing nodes are waited for; run it again if it gives up, it replaces what is there.
Files that are in the store but not in DIR stay. The layout: docs/operating/files-as-keys.md.")]
pub struct Import {
    /// The directory
    pub dir: PathBuf,
    /// Put this before every path; end it with a slash for a directory
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub prefix: OsString,
    /// Files written at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub concurrency: u16,
    /// Give up when nothing was acknowledged for this many seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub retry_for_s: u64,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate export`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate export ./restored --prefix doc/

Nothing is written outside DIR: keys such as `../x`, absolute paths and paths through links are listed
and make the exit code 1. A split file comes back whole or not at all.")]
pub struct Export {
    /// The directory; created if it does not exist
    pub dir: PathBuf,
    /// Only keys that begin with this; it is removed from the paths
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub prefix: OsString,
    /// Write into a directory that is not empty, replacing files of the same names
    #[arg(long)]
    pub force: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}
