//! `quorate lease`: granting, keeping alive, showing, listing and revoking leases.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};
use types::LeaseId;

use crate::{
    args::{Connection, Grant, LeaseCommand, Leases, OfLease},
    client::{Answer, AttemptError, Call, CallError, Client, Repeat, api::encode},
    failure::Failure,
    output::say,
};

/// Runs `quorate lease`.
///
/// # Errors
/// If the cluster refuses, or does not answer.
pub async fn run(command: LeaseCommand, json: bool) -> Result<(), Failure> {
    match command {
        LeaseCommand::Grant(args) => grant(&args, json).await,
        LeaseCommand::KeepAlive(args) => keep_alive(&args, json).await,
        LeaseCommand::Revoke(args) => revoke(&args, json).await,
        LeaseCommand::Show(args) => show(&args, json).await,
        LeaseCommand::List(args) => list(&args, json).await,
    }
}

/// The path of a keyspace's leases, or of one of them.
pub fn path(keyspace: &str, lease: Option<LeaseId>) -> String {
    let leases = format!("/v1/keyspaces/{}/leases", encode(keyspace.as_bytes()));
    lease.map_or(leases.clone(), |lease| format!("{leases}/{lease}"))
}

/// Asks for something, and reads the answer as JSON.
///
/// # Errors
/// See [`CallError`].
pub async fn ask(
    client: &Client,
    method: Method,
    path: String,
    body: Option<Value>,
    repeat: Repeat,
) -> Result<Value, CallError> {
    let headers: Vec<(HeaderName, HeaderValue)> = match body {
        Some(_) => vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        None => Vec::new(),
    };
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let Answer { body, attempts, .. } = client.call(&Call { method, path, headers, body, repeat }).await?;
    serde_json::from_slice(&body).map_err(|_| CallError {
        error: AttemptError::Foreign { status: 200 },
        endpoint: client.endpoints()[0].clone(),
        attempts,
        maybe_applied: repeat != Repeat::Read,
        repeat,
    })
}

/// Grants a lease, on a connection.
///
/// # Errors
/// See [`CallError`].
pub async fn granted(client: &Client, keyspace: &str, body: Value) -> Result<Value, CallError> {
    ask(client, Method::POST, path(keyspace, None), Some(body), Repeat::OnceApplied).await
}

async fn grant(args: &Grant, json: bool) -> Result<(), Failure> {
    let Connection { keyspace, .. } = &args.connection;
    let mut body = json!({"ttl_ms": args.ttl_ms, "beside": args.beside});
    if let Some(id) = args.id {
        body["id"] = json!(id);
    }
    let answer = granted(&args.connection.client()?, keyspace, body).await?;
    if json {
        say!("{answer}");
    } else {
        say!("granted lease {}, {} ms from when this was asked", text(&answer["id"]), answer["ttl_ms"]);
    }
    Ok(())
}

async fn keep_alive(args: &OfLease, json: bool) -> Result<(), Failure> {
    let path = path(&args.connection.keyspace, Some(args.lease)) + "/keepalive";
    let answer = ask(&args.connection.client()?, Method::POST, path, None, Repeat::Read).await?;
    if json {
        say!("{answer}");
    } else {
        say!("lease {} lives {} ms from when this was asked", args.lease, answer["remaining_ms"]);
    }
    Ok(())
}

async fn revoke(args: &OfLease, json: bool) -> Result<(), Failure> {
    let path = path(&args.connection.keyspace, Some(args.lease));
    let answer = ask(&args.connection.client()?, Method::DELETE, path, None, Repeat::OnceApplied).await?;
    if json {
        say!("{answer}");
    } else {
        say!("revoked lease {}, and removed its keys: {}", args.lease, answer["keys"]);
    }
    Ok(())
}

async fn show(args: &OfLease, json: bool) -> Result<(), Failure> {
    let path = path(&args.connection.keyspace, Some(args.lease));
    let answer = ask(&args.connection.client()?, Method::GET, path, None, Repeat::Read).await?;
    if json {
        say!("{answer}");
        return Ok(());
    }
    say!("lease {} of {} ms, {} ms left", args.lease, answer["ttl_ms"], answer["remaining_ms"]);
    for key in answer["keys"].as_array().into_iter().flatten() {
        say!("{}", text(&key["key"]));
    }
    Ok(())
}

async fn list(args: &Leases, json: bool) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let mut leases: Vec<Value> = Vec::new();
    let mut after = None;
    loop {
        let mut path = format!("{}?shard={}", path(&args.connection.keyspace, None), args.shard);
        if let Some(after) = &after {
            path += &format!("&after={after}");
        }
        let mut page = ask(&client, Method::GET, path, None, Repeat::Read).await?;
        if let Value::Array(found) = page["leases"].take() {
            leases.extend(found);
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    if json {
        say!("{}", json!({"leases": leases}));
        return Ok(());
    }
    for lease in leases {
        say!("{}\t{} ms\t{} keys", text(&lease["id"]), lease["ttl_ms"], lease["keys"]);
    }
    Ok(())
}

/// A text of an answer.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
