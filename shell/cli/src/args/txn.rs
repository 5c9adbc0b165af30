//! Flags of `txn`.

use std::path::PathBuf;

use clap::Args;

use super::{Connection, Writing};

/// `quorate txn`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate txn transfer.json
  echo '{\"then\": [{\"put\": {\"key\": \"a\", \"value\": \"1\"}},
                  {\"put\": {\"key\": \"b\", \"value\": \"1\"}}]}' | quorate txn -

The document has three lists, all optional: `compares`; `then`, done if all of them hold; `else`, done
if not. Its form, and what is printed: docs/reference/http-api.md. `succeeded` says which branch was
done; the exit code is 0 either way. A transaction whose outcome is unknown is not sent again.")]
pub struct Txn {
    /// The JSON document; `-` reads it from standard input
    pub file: PathBuf,
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
