//! The commands that read and write single keys, and those that only print.

use std::{
    ffi::OsStr,
    fs,
    io::{self, IsTerminal, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::CommandFactory;
use serde_json::json;
use types::Applied;
use types::limits::{RANGE_ITEMS_MAX, VALUE_BYTES_MAX};

use crate::{
    args::{Cli, Completions, Connection, Delete, Explain, Get, List, Put, Reading, Writing},
    client::{
        Answer, CallError, Condition, ListedItem, Repeat,
        api::{Keyspace, PageRequest, encode},
    },
    failure::{Exit, Failure},
    output::say,
    tree::keys::readable,
};

/// `quorate put`.
///
/// # Errors
/// If the value cannot be read or the cluster refuses.
pub async fn put(args: Put, json: bool) -> Result<(), Failure> {
    let value = read_value(args.value.as_deref(), args.file.as_deref())?;
    let condition = match args.if_revision {
        _ if args.if_absent => Condition::Absent,
        Some(revision) => Condition::Revision(revision),
        None => Condition::Always,
    };
    let key = args.key.bytes();
    let (keyspace, repeat) =
        under_key(written(&args.connection, &args.writing)?, args.idempotency_key.as_deref());
    let keyspace = keyspace.leased(args.lease);
    let answer = keyspace.put(&key, value, condition, repeat).await;
    let answer = answer.map_err(|error| failure(error, args.idempotency_key.is_some()))?;
    print_change("written", &key, &answer, args.receipt, json);
    Ok(())
}

/// The keyspace, as a read asks for it.
pub fn read_from(connection: &Connection, asked: &Reading) -> Result<Keyspace, Failure> {
    Ok(connection.keyspace()?.reading(asked.read).in_session(asked.session.as_ref()))
}

/// The keyspace, as a write asks for it.
pub fn written(connection: &Connection, asked: &Writing) -> Result<Keyspace, Failure> {
    let keyspace = connection.keyspace()?.acknowledging(asked.ack).in_session(asked.session.as_ref());
    Ok(keyspace.fenced(asked.fence.as_deref()))
}

/// With an idempotency key a change may be sent again, whatever became of it.
pub fn under_key(keyspace: Keyspace, key: Option<&str>) -> (Keyspace, Repeat) {
    match key {
        Some(key) => (keyspace.under_key(key), Repeat::Idempotent),
        None => (keyspace, Repeat::OnceApplied),
    }
}

/// Why a change failed. Under an idempotency key there is no need to find out what became of it.
pub fn failure(error: CallError, under_key: bool) -> Failure {
    let failure = Failure::from(error);
    match failure.applied {
        Some(Applied::Unknown) if under_key => {
            failure.next("send it again with the same --idempotency-key: it is carried out at most once")
        }
        _ => failure,
    }
}

/// `quorate delete`.
///
/// # Errors
/// If the cluster refuses, or there is no such key.
pub async fn delete(args: Delete, json: bool) -> Result<(), Failure> {
    let condition = args.if_revision.map_or(Condition::Always, Condition::Revision);
    let key = args.key.bytes();
    let (keyspace, repeat) =
        under_key(written(&args.connection, &args.writing)?, args.idempotency_key.as_deref());
    let answer = keyspace.delete(&key, condition, repeat).await;
    let answer = answer.map_err(|error| failure(error, args.idempotency_key.is_some()))?;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if body["existed"] == false {
        let message = format!("there is no key {}; nothing was changed", readable(&key));
        return Err(Failure::new(Exit::NotFound, message).next("list what there is with `quorate list`"));
    }
    print_change("deleted", &key, &answer, args.receipt, json);
    Ok(())
}

/// `quorate get`.
///
/// # Errors
/// If there is no such key, the cluster does not answer, or the value cannot be written out.
pub async fn get(args: Get, json: bool) -> Result<(), Failure> {
    let key = args.key.bytes();
    let answer = read_from(&args.connection, &args.reading)?.at(args.revision).get(&key).await?;
    if let Some(path) = &args.output {
        fs::write(path, &answer.body).map_err(|error| {
            Failure::error(format!("cannot write {}: {error}", path.display())).next("name another --output")
        })?;
    }
    let to_stdout = args.output.is_none();
    if json {
        let mut item = json!({
            "key": encode(&key).to_string(),
            "key_base64": BASE64_STANDARD.encode(&key),
            "mod_revision": answer.revision,
            "value_bytes": answer.body.len(),
            "receipt": answer.receipt,
        });
        if to_stdout {
            item["value_base64"] = json!(BASE64_STANDARD.encode(&answer.body));
            item["value"] = json!(std::str::from_utf8(&answer.body).ok());
        }
        say!("{item}");
        return Ok(());
    }
    if to_stdout {
        print_value(&answer.body)?;
    }
    if args.receipt {
        eprintln!("{}", receipt_lines(&answer));
    }
    Ok(())
}

/// `quorate list`.
///
/// # Errors
/// If the cluster does not answer.
pub async fn list(args: List, json: bool) -> Result<(), Failure> {
    let keyspace = read_from(&args.connection, &args.reading)?.at(args.revision);
    let prefix = crate::args::bytes_of(&args.prefix);
    let (mut left, mut cursor) = (args.limit.unwrap_or(u64::MAX), None::<String>);
    let mut out = io::BufWriter::new(io::stdout());
    let mut count = 0_u64;
    if json {
        write!(out, "{{\"items\":[")?;
    }
    while left > 0 {
        let limit = RANGE_ITEMS_MAX.min(u32::try_from(left).unwrap_or(u32::MAX));
        let request = PageRequest { prefix: &prefix, limit, cursor: cursor.as_deref(), values: args.values };
        let page = keyspace.page(request).await?;
        left -= (page.items.len() as u64).min(left);
        for item in &page.items {
            if json {
                write!(out, "{}{}", if count == 0 { "" } else { "," }, item.json)?;
            } else {
                writeln!(out, "{}", list_line(item))?;
            }
            count += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        writeln!(out, "],\"count\":{count},\"complete\":{}}}", cursor.is_none())?;
    }
    Ok(out.flush()?)
}

/// `quorate explain`.
///
/// # Errors
/// If there is no such code.
pub fn explain(args: &Explain, json: bool) -> Result<(), Failure> {
    let Some(code) = &args.code else {
        let names = types::ErrorCode::ALL.iter().map(|code| code.name()).collect::<Vec<_>>();
        if json {
            say!("{}", json!({ "codes": names }));
        } else {
            say!("{}", names.join("\n"));
        }
        return Ok(());
    };
    let name = code.to_ascii_uppercase().replace('-', "_");
    let Some(code) = types::ErrorCode::from_name(&name) else {
        return Err(
            Failure::usage(format!("there is no error code {name}")).next("list them with `quorate explain`")
        );
    };
    let page = server::explain(code.name()).expect("every code has a page");
    if json {
        say!("{}", json!({ "code": code, "page": page }));
    } else {
        say!("{}", page.trim_end());
    }
    Ok(())
}

/// `quorate version`.
pub fn version(json: bool) {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        say!("{}", json!({ "name": "quorate", "version": version }));
    } else {
        say!("quorate {version}");
    }
}

/// `quorate completions`.
pub fn completions(args: &Completions) {
    clap_complete::generate(args.shell, &mut Cli::command(), "quorate", &mut io::stdout());
}

fn read_value(value: Option<&OsStr>, file: Option<&Path>) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    // One byte over the limit is enough to know; the cluster would refuse it.
    let most = VALUE_BYTES_MAX as u64 + 1;
    match (value, file) {
        (_, Some(path)) => {
            let read = fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
            read.map_err(|error| {
                Failure::error(format!("cannot read {}: {error}", path.display()))
                    .next("name a file that you can read")
            })?;
        }
        (Some(value), None) if value != "-" => bytes.extend_from_slice(value.as_bytes()),
        (value, None) => {
            if value.is_none() && io::stdin().is_terminal() {
                return Err(Failure::usage("no value").next("write `quorate put KEY VALUE`, or --file FILE"));
            }
            io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        }
    }
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Failure::error(format!(
            "the value is larger than {VALUE_BYTES_MAX} bytes; nothing was sent"
        ))
        .next("split it, or use `quorate import`, which does"));
    }
    Ok(bytes.into())
}

fn print_change(done: &str, key: &[u8], answer: &Answer, receipt: bool, json: bool) {
    let revision =
        answer.receipt.as_ref().and_then(|receipt| receipt["revision"].as_u64()).or(answer.revision);
    if json {
        let change = json!({
            "result": done,
            "key": encode(key).to_string(),
            "key_base64": BASE64_STANDARD.encode(key),
            "revision": revision,
            "receipt": answer.receipt,
            "attempts": answer.attempts,
        });
        say!("{change}");
        return;
    }
    match revision {
        Some(revision) => say!("{done} at revision {revision}"),
        None => say!("{done}, not yet committed"),
    }
    if receipt {
        say!("{}", receipt_lines(answer));
    }
}

fn receipt_lines(answer: &Answer) -> String {
    match &answer.receipt {
        Some(receipt) => format!("{receipt:#}"),
        None => "the answer came without a receipt".to_owned(),
    }
}

/// The bytes as they are; on a terminal, what would drive it is escaped.
fn print_value(value: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        out.write_all(value)?;
        return out.flush();
    }
    let text = String::from_utf8_lossy(value);
    let plain =
        std::str::from_utf8(value).is_ok() && text.chars().all(|c| !c.is_control() || "\n\t".contains(c));
    let shown = if plain { text.into_owned() } else { readable(value) };
    out.write_all(shown.as_bytes())?;
    if !shown.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    if !plain {
        eprintln!("(not text: shown escaped; redirect or use --output for the bytes)");
    }
    out.flush()
}

fn list_line(item: &ListedItem) -> String {
    match &item.value {
        Some(value) => format!("{}\t{}", readable(&item.key), readable(value)),
        None => readable(&item.key),
    }
}
