//! Locks, and elections, which are locks whose keys have values: acquired, shown, released; campaigned for,
//! proclaimed, observed, resigned.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use keyspace::{LeaseAnswer, LeaseQuery, LockHolder, LockWait, Outcome, Query, QueryAnswer, Txn, TxnOutcome};
use node::{Acquire, Acquired, Op, Options, Reply, ReplyBody, Request, Under, leave, proclaim};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use types::{ErrorCode, LeaseId, Problem, Receipt, limits::VALUE_BYTES_MAX};

use super::{
    AppState, HttpProblem, body, fence, idempotency, keys,
    leases::{document, parsed},
    options, params, path, receipt,
    txn::{given, whole},
};

/// Longest document, in bytes: the largest value in base64, with room for the JSON around it.
const DOCUMENT_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, deserialize_with = "given")]
    lease: Option<LeaseId>,
    #[serde(default, deserialize_with = "some_whole")]
    ttl_ms: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    value: Option<String>,
    #[serde(default, deserialize_with = "given")]
    value_base64: Option<String>,
    #[serde(default)]
    keep_place: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proclaimed {
    lease: LeaseId,
    #[serde(deserialize_with = "whole")]
    token: u64,
    #[serde(default, deserialize_with = "given")]
    value: Option<String>,
    #[serde(default, deserialize_with = "given")]
    value_base64: Option<String>,
}

fn some_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    whole(deserializer).map(Some)
}

#[derive(Serialize)]
struct Held {
    name: String,
    lease: LeaseId,
    token: u64,
    fence: String,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    holder: Option<Holder>,
    waiters: u64,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Holder {
    lease: LeaseId,
    token: u64,
    mod_revision: u64,
    value_base64: String,
}

#[derive(Serialize)]
struct Released {
    name: String,
    released: bool,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Written {
    name: String,
    token: u64,
    mod_revision: u64,
    receipt: Receipt,
}

/// `POST /v1/keyspaces/{keyspace}/locks/{name}` and `.../elections/{name}`: waits until it is held.
pub(super) async fn acquire(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let (keyspace, name) = path::lock(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    idempotency::none(
        &headers,
        "under one lease acquiring is idempotent by itself",
        "leave the header out, and send the same lease again",
    )?;
    let options = keys::write_options(&uri, &headers)?;
    let bytes = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?.bytes;
    let Asked { lease, ttl_ms, value, value_base64, keep_place } = document(&bytes)?;
    let under = match (lease, ttl_ms) {
        (Some(lease), None) => Under::Lease(lease),
        (None, Some(ttl_ms)) => Under::Ttl(ttl_ms),
        _ => {
            return Err(HttpProblem::invalid(
                "a lock is acquired under a lease or with a time to live",
                "send either `lease` or `ttl_ms`",
            ));
        }
    };
    let value = value_of(value, value_base64)?;
    let acquire = Acquire { name: name.clone(), under, value, keep_place };
    let left = deadline.saturating_duration_since(Instant::now());
    let request = Request { keyspace, op: Op::Acquire(acquire), options };
    let Reply { body, receipt } = state.node()?.request(request, left).await?;
    let ReplyBody::Acquired(Acquired { lease, token }) = body else {
        return Err(keys::refused(body, receipt));
    };
    let (fence, receipt_body) = (fence::text(&name, token), receipt.clone());
    let held = Held { name: path::encode(&name), lease, token, fence, receipt: receipt_body };
    Ok(receipt::json(StatusCode::OK, held, &receipt))
}

/// `GET /v1/keyspaces/{keyspace}/locks/{name}`.
pub(super) async fn show(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let mut query = params::Query::of(&uri)?;
    let options = options::of_read(&mut query, &headers)?;
    query.end("read")?;
    look(&state, &uri, &headers, options, LockWait::No).await
}

/// `GET /v1/keyspaces/{keyspace}/elections/{name}`: with what is known of the leader, once it is another.
pub(super) async fn observe(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let mut query = params::Query::of(&uri)?;
    let (token, revision) = (query.known("known_token")?, query.known("known_mod_revision")?);
    let wait = match (token, revision) {
        (None, None) => LockWait::No,
        (Some(token), Some(mod_revision)) => LockWait::Change { token, mod_revision },
        _ => {
            return Err(HttpProblem::invalid(
                "known_token and known_mod_revision go together",
                "send `token` and `mod_revision` of the leader that is known, or 0 for both: there is none",
            )
            .with_status(StatusCode::UNPROCESSABLE_ENTITY));
        }
    };
    let options = options::of_read(&mut query, &headers)?;
    query.end("known_token, known_mod_revision, read")?;
    look(&state, &uri, &headers, options, wait).await
}

async fn look(
    state: &AppState,
    uri: &Uri,
    headers: &HeaderMap,
    options: Options,
    wait: LockWait,
) -> Result<Response, HttpProblem> {
    let (keyspace, name) = path::lock(uri)?;
    let query = LeaseQuery::Lock { name: name.clone(), wait };
    let request = Request { keyspace, op: Op::Query(Query::Lease(query)), options };
    let Reply { body, receipt } = state.node()?.request(request, params::time_limit(headers)?).await?;
    let ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lock { holder, waiters, .. })) = body else {
        return Err(keys::unexpected().into());
    };
    let holder = holder.map(|holder: LockHolder| Holder {
        lease: holder.lease,
        token: holder.token,
        mod_revision: holder.mod_revision,
        value_base64: STANDARD.encode(&holder.value),
    });
    let shown = Shown { name: path::encode(&name), holder, waiters, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, shown, &receipt))
}

/// `DELETE /v1/keyspaces/{keyspace}/locks/{name}` and `.../elections/{name}`.
pub(super) async fn release(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let (keyspace, name) = path::lock(&uri)?;
    let mut query = params::Query::of(&uri)?;
    let lease = parsed(&mut query, "lease")?.ok_or_else(|| {
        HttpProblem::invalid("the parameter lease is missing", "name the lease that the lock is held under")
    })?;
    let token = query.known("token")?;
    let options = options::of_write(&mut query, &headers)?;
    query.end("lease, token, ack")?;
    let txn = leave(&name, lease, token);
    let (released, _, receipt) = run(&state, &headers, keyspace, txn, options).await?;
    let body = Released { name: path::encode(&name), released, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

/// `PUT /v1/keyspaces/{keyspace}/elections/{name}`.
pub(super) async fn put_value(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let (keyspace, name) = path::lock(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let options = keys::write_options(&uri, &headers)?;
    let bytes = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?.bytes;
    let Proclaimed { lease, token, value, value_base64 } = document(&bytes)?;
    let txn = proclaim(&name, lease, token, value_of(value, value_base64)?.unwrap_or_default());
    let (written, mod_revision, receipt) = run(&state, &headers, keyspace, txn, options).await?;
    if !written {
        let message = format!("there is no candidate with lease {lease} and token {token}");
        let next_step = "campaign again: the lease has ended, or the candidate resigned";
        let problem = Problem::not_applied(ErrorCode::Fenced, message, next_step);
        return Err(HttpProblem::from(problem).with_receipt(receipt));
    }
    let body = Written { name: path::encode(&name), token, mod_revision, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

/// Runs a transaction; answers whether its compares held, its revision, and its receipt.
async fn run(
    state: &AppState,
    headers: &HeaderMap,
    keyspace: String,
    txn: Txn,
    options: Options,
) -> Result<(bool, u64, Receipt), HttpProblem> {
    txn.validate()?;
    let key = idempotency::key(headers)?;
    let (node, time_limit) = (state.node()?, params::time_limit(headers)?);
    let command = keyspace::Command::Txn(txn);
    let Reply { body, receipt } = keys::write(node, keyspace, key, command, options, time_limit).await?;
    match body {
        ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Done { succeeded, revision, .. })) => {
            Ok((succeeded, revision, receipt))
        }
        body => Err(keys::refused(body, receipt)),
    }
}

fn value_of(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, HttpProblem> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|error| {
            HttpProblem::invalid(
                format!("value_base64 is not base64: {error}"),
                "correct it, or send `value`",
            )
        }),
        (Some(_), Some(_)) => Err(HttpProblem::invalid(
            "value and value_base64 are both there",
            "send the value once, as text or in base64",
        )),
    }
}
