//! `quorate txn`: a transaction from a JSON document, sent as it is; the node judges it.

use std::{
    fs,
    io::{self, Read},
};

use serde_json::Value;

use crate::{
    args::Txn,
    commands::{self, written},
    failure::{Exit, Failure},
    output::say,
};

/// Larger documents are not read: no node takes them.
const DOCUMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Runs the command.
///
/// # Errors
/// If the document cannot be read or the cluster refuses.
pub async fn run(args: Txn, json: bool) -> Result<(), Failure> {
    let mut document = Vec::new();
    let read = if args.file.as_os_str() == "-" {
        io::stdin().lock().take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut document)
    } else {
        fs::File::open(&args.file)
            .and_then(|file| file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut document))
    };
    read.map_err(|error| Failure::error(format!("cannot read {}: {error}", args.file.display())))?;
    if document.len() as u64 > DOCUMENT_BYTES_MAX {
        let message = format!("the document is larger than {DOCUMENT_BYTES_MAX} bytes; nothing was sent");
        return Err(Failure::error(message).next("split it into several transactions"));
    }
    let under_key = args.idempotency_key.is_some();
    let keyspace = written(&args.connection, &args.writing)?;
    let (keyspace, repeat) = commands::under_key(keyspace, args.idempotency_key.as_deref());
    let answer = keyspace.txn(document.into(), repeat).await;
    let answer = answer.map_err(|error| commands::failure(error, under_key))?;
    let mut body: Value = serde_json::from_slice(&answer.body).map_err(|error| {
        Failure::new(Exit::Error, format!("the answer is not JSON: {error}"))
            .next("it was applied; read the keys to see what they hold")
    })?;
    if json {
        body["attempts"] = answer.attempts.into();
        say!("{body}");
        return Ok(());
    }
    let receipt = body.as_object_mut().and_then(|fields| fields.remove("receipt"));
    say!("{body:#}");
    if let (true, Some(receipt)) = (args.receipt, receipt) {
        say!("{receipt:#}");
    }
    Ok(())
}
