//! One key: read, set, remove.

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use keyspace::{Command, IdempotencyKey, Outcome, Query, QueryAnswer, lease::refusal};
use node::{Op, Options, Reply, ReplyBody, Request, is_unconditional};
use serde::Serialize;
use tokio::time::Instant;
use types::{ErrorCode, Problem, Receipt, contract::Ack, limits::VALUE_BYTES_MAX};

use super::{
    AppState, HttpProblem, body, conditions, idempotency, leases, options, params, past, path, receipt,
};
use crate::run::NodeHandle;

#[derive(Serialize)]
struct PutAnswer {
    revision: u64,
    create_revision: u64,
    version: u64,
    receipt: Receipt,
}

#[derive(Serialize)]
struct DeleteAnswer {
    revision: u64,
    existed: bool,
    receipt: Receipt,
}

/// To a write that is not committed yet: what it did is not known.
#[derive(Serialize)]
struct AcceptedAnswer {
    revision: Option<u64>,
    receipt: Receipt,
}

fn accepted(receipt: Receipt) -> Response {
    let answer = AcceptedAnswer { revision: None, receipt: receipt.clone() };
    receipt::json(StatusCode::ACCEPTED, answer, &receipt)
}

/// `GET` and `HEAD`.
pub(super) async fn get(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let (keyspace, key) = path::key(&uri)?;
    let known = conditions::of_get(&headers)?;
    let time_limit = params::time_limit(&headers)?;
    let mut query = params::Query::of(&uri)?;
    let options = options::of_read(&mut query, &headers)?;
    let revision = query.revision("revision")?;
    query.end("read, revision; a '?' that belongs to the key is %3F")?;
    let named = path::encode(&key);
    let op = past::op(revision, Query::Get { key });
    let request = Request { keyspace, op, options };
    let Reply { body, receipt } = state.node()?.request(request, time_limit).await?;
    past::check(&body, &receipt)?;
    let ReplyBody::Answer(QueryAnswer::Get { row, .. }) = body else { return Err(unexpected().into()) };
    let Some(row) = row else { return Err(missing(&named, receipt)) };
    let mut response = if known.has(row.mod_revision) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = row.value.into_response();
        let kind = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    let headers = response.headers_mut();
    receipt::insert(headers, &receipt);
    receipt::insert_etag(headers, row.mod_revision);
    // What a key holds is for whoever asked, and is read anew every time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let numbers = [
        ("quorate-create-revision", row.create_revision),
        ("quorate-mod-revision", row.mod_revision),
        ("quorate-version", row.version),
    ];
    for (name, number) in numbers {
        headers.insert(HeaderName::from_static(name), number.into());
    }
    Ok(response)
}

/// `PUT`.
pub(super) async fn put(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let (keyspace, key) = path::key(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    // A key that makes no sense is refused before a condition that cannot hold.
    let idempotency_key = idempotency::key(&headers)?;
    let mut query = params::Query::of(&uri)?;
    let lease = leases::parsed(&mut query, "lease")?;
    let options = options::of_write(&mut query, &headers)?;
    query.end("ack, lease; a '?' that belongs to the key is %3F")?;
    let expect = conditions::of_put(&headers)?;
    let node = state.node()?;
    let mut value = body::read(&state, &headers, body, deadline, VALUE_BYTES_MAX).await?;
    let left = deadline.saturating_duration_since(Instant::now());
    let _room = state.flight().enter(key.len() + value.bytes.len(), left).await?;
    let command = Command::Put { key, value: std::mem::take(&mut value.bytes), expect, lease };
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let Reply { body, receipt } =
        write(node, keyspace, idempotency_key, command, options, time_limit).await?;
    match body {
        ReplyBody::Outcome(Outcome::Put { revision, create_revision, version }) => {
            let status = if version == 1 { StatusCode::CREATED } else { StatusCode::OK };
            let answer = PutAnswer { revision, create_revision, version, receipt: receipt.clone() };
            let mut response = receipt::json(status, answer, &receipt);
            receipt::insert_etag(response.headers_mut(), revision);
            Ok(response)
        }
        ReplyBody::Accepted => Ok(accepted(receipt)),
        body => Err(refused(body, receipt)),
    }
}

/// `DELETE`.
pub(super) async fn delete(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let (keyspace, key) = path::key(&uri)?;
    let idempotency_key = idempotency::key(&headers)?;
    let options = write_options(&uri, &headers)?;
    let expect = conditions::of_delete(&headers)?;
    let time_limit = params::time_limit(&headers)?;
    let command = Command::Delete { key, expect };
    let Reply { body, receipt } =
        write(state.node()?, keyspace, idempotency_key, command, options, time_limit).await?;
    match body {
        ReplyBody::Outcome(Outcome::Deleted { revision, existed }) => {
            let answer = DeleteAnswer { revision, existed, receipt: receipt.clone() };
            Ok(receipt::json(StatusCode::OK, answer, &receipt))
        }
        ReplyBody::Accepted => Ok(accepted(receipt)),
        body => Err(refused(body, receipt)),
    }
}

/// Why a write did nothing, where that is known only as it is applied.
pub(super) fn refused(body: ReplyBody, receipt: Receipt) -> HttpProblem {
    let ReplyBody::Outcome(outcome) = body else { return unexpected().into() };
    if let Some(problem) = refusal(&outcome) {
        let is_taken = problem.code == ErrorCode::Conflict;
        let problem = HttpProblem::from(problem).with_receipt(receipt);
        return if is_taken { problem.with_status(StatusCode::CONFLICT) } else { problem };
    }
    match outcome {
        Outcome::Conflict { current, .. } => conflict(current, receipt),
        Outcome::OverQuota { bytes, quota_bytes, .. } => over_quota(bytes, quota_bytes, receipt),
        _ => unexpected().into(),
    }
}

/// Asks for a change, under an idempotency key if there is one.
pub(super) async fn write(
    node: &NodeHandle,
    keyspace: String,
    idempotency_key: Option<IdempotencyKey>,
    command: Command,
    options: Options,
    time_limit: Duration,
) -> Result<Reply, HttpProblem> {
    let under_key = idempotency_key.is_some();
    let op = match idempotency_key {
        Some(key) => Op::Once(key, command),
        None => Op::Command(command),
    };
    let early = matches!(options.ack, Some(Ack::None | Ack::Leader));
    let request = Request { keyspace, op, options };
    // Each is in order by itself, and the two do not go together.
    let unfit = early && !is_unconditional(&request);
    let answered = node.request(request, time_limit).await;
    answered.map_err(|problem| {
        let unfit = unfit && problem.code == ErrorCode::InvalidArgument;
        let problem = HttpProblem::from(problem);
        match (under_key, unfit) {
            (_, true) => problem.with_status(StatusCode::UNPROCESSABLE_ENTITY),
            (true, false) => problem.under_key(),
            (false, false) => problem,
        }
    })
}

pub(super) fn write_options(uri: &Uri, headers: &HeaderMap) -> Result<Options, HttpProblem> {
    let mut query = params::Query::of(uri)?;
    let options = options::of_write(&mut query, headers)?;
    query.end("ack; a '?' that belongs to the key is %3F")?;
    Ok(options)
}

pub(super) fn missing(named: &str, receipt: Receipt) -> HttpProblem {
    let missing = Problem::not_applied(
        ErrorCode::KeyNotFound,
        format!("there is no key {named} in keyspace {:?}", receipt.keyspace),
        "check the key: every byte counts; GET /v1/keyspaces/{keyspace}/keys lists what there is",
    );
    HttpProblem::from(missing).with_receipt(receipt)
}

fn conflict(current: u64, receipt: Receipt) -> HttpProblem {
    let message = match current {
        0 => "the key does not exist".to_owned(),
        revision => format!("the key is at revision {revision}"),
    };
    let next_step = "read the key, decide again, and send the condition that fits what was read";
    let mut problem = Problem::not_applied(ErrorCode::Conflict, message, next_step);
    problem.current_revision = Some(current);
    HttpProblem::from(problem).with_receipt(receipt)
}

fn over_quota(bytes: u64, quota_bytes: u64, receipt: Receipt) -> HttpProblem {
    let message = format!(
        "the write does not fit: {bytes} bytes of keys and values are there, and {quota_bytes} may be (in each shard)"
    );
    let next_step =
        "remove keys, or write a smaller value: what makes the keyspace smaller is always allowed";
    let problem = Problem::not_applied(ErrorCode::QuotaExceeded, message, next_step);
    HttpProblem::from(problem).with_receipt(receipt)
}

/// Another node, of another version perhaps, answered something else than it was asked.
pub(super) fn unexpected() -> Problem {
    Problem::unknown(
        ErrorCode::UnsupportedVersion,
        "the answer is not one to this request: the nodes may be of versions that do not fit",
        "see GET /v1/status of every node for its version",
    )
}
