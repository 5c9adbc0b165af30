//! Flags of `txn`.

use std::path::PathBuf;

use clap::Args;

use super::{Connection, Writing, data::idempotency_key};

/// `quorate txn`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate txn transfer.json
  echo '{\"then\": [{\"put\": {\"key\": \"a\", \"value\": \"1\"}},
                  {\"put\": {\"key\": \"b\", \"value\": \"1\"}}]}' | quorate txn -

The document has three lists, all optional: `compares`; `then`, done if all of them hold; `else`, done
if not. Its form, and what is printed: docs/reference/http-api.md. `succeeded` says which branch was
done; the exit code is 0 either way. A transaction whose outcome is unknown is sent again
only under an idempotency key.")]
pub struct Txn {
    /// The JSON document; `-` reads it from standard input
    pub file: PathBuf,
    /// Carry it out at most once, however often it is sent with this key: a failure whose outcome is unknown
    /// is then sent again. A new key for every transaction; printable ASCII, up to 255 bytes
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
