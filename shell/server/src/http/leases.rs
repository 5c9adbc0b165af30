//! Leases: granted, kept alive, shown, listed, revoked.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use keyspace::{
    Command, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LeaseRecord, Outcome, Query, QueryAnswer,
    lease::lease_not_found,
};
use node::{Op, Options, Reply, ReplyBody, Request};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use types::{LeaseId, Receipt, limits::RANGE_ITEMS_MAX};

use super::{
    AppState, HttpProblem, body, idempotency, keys, options, params, path, receipt,
    txn::{given, whole},
};

/// Longest document of a request about leases, in bytes: a few short fields.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    #[serde(deserialize_with = "whole")]
    ttl_ms: u64,
    #[serde(default, deserialize_with = "given")]
    id: Option<LeaseId>,
    #[serde(default)]
    beside: String,
}

#[derive(Serialize)]
struct Granted {
    id: LeaseId,
    ttl_ms: u64,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Kept {
    id: LeaseId,
    ttl_ms: u64,
    remaining_ms: u64,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Shown {
    id: LeaseId,
    ttl_ms: u64,
    remaining_ms: u64,
    keys: Vec<Key>,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Key {
    key: String,
    key_base64: String,
}

#[derive(Serialize)]
struct Listed {
    leases: Vec<ListedLease>,
    next: Option<LeaseId>,
    receipt: Receipt,
}

#[derive(Serialize)]
struct ListedLease {
    id: LeaseId,
    ttl_ms: u64,
    keys: u64,
}

#[derive(Serialize)]
struct Revoked {
    id: LeaseId,
    keys: u64,
    receipt: Receipt,
}

/// `POST /v1/keyspaces/{keyspace}/leases`.
pub(super) async fn grant(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let key = idempotency::key(&headers)?;
    let options = keys::write_options(&uri, &headers)?;
    let bytes = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?.bytes;
    let Grant { ttl_ms, id, beside } = document(&bytes)?;
    let command = LeaseCommand::Grant { id, ttl_ms, beside: beside.into_bytes() };
    let left = deadline.saturating_duration_since(Instant::now());
    let node = state.node()?;
    let Reply { body, receipt } =
        keys::write(node, keyspace, key, Command::Lease(command), options, left).await?;
    let ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { id, ttl_ms, .. })) = body else {
        return Err(keys::refused(body, receipt));
    };
    Ok(receipt::json(StatusCode::CREATED, Granted { id, ttl_ms, receipt: receipt.clone() }, &receipt))
}

/// `POST /v1/keyspaces/{keyspace}/leases/{lease}/keepalive`.
pub(super) async fn keep_alive(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    idempotency::none(&headers, "keeping alive is idempotent by itself", "leave the header out")?;
    let (keyspace, id) = lease(&uri, "/keepalive")?;
    let (_, lease, remaining_ms, _, receipt) =
        ask(&state, &uri, &headers, keyspace, LeaseQuery::KeepAlive { id }).await?;
    let kept = Kept { id, ttl_ms: lease.ttl_ms, remaining_ms, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, kept, &receipt))
}

/// `GET /v1/keyspaces/{keyspace}/leases/{lease}`.
pub(super) async fn show(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let (keyspace, id) = lease(&uri, "")?;
    let (id, lease, remaining_ms, keys, receipt) =
        ask(&state, &uri, &headers, keyspace, LeaseQuery::Show { id }).await?;
    let key = |key: Vec<u8>| Key { key: path::encode(&key), key_base64: STANDARD.encode(&key) };
    let keys = keys.into_iter().map(key).collect();
    let shown = Shown { id, ttl_ms: lease.ttl_ms, remaining_ms, keys, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, shown, &receipt))
}

/// `DELETE /v1/keyspaces/{keyspace}/leases/{lease}`.
pub(super) async fn revoke(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let (keyspace, id) = lease(&uri, "")?;
    let key = idempotency::key(&headers)?;
    let options = keys::write_options(&uri, &headers)?;
    let (node, time_limit) = (state.node()?, params::time_limit(&headers)?);
    let command = Command::Lease(LeaseCommand::Revoke { id });
    let Reply { body, receipt } = keys::write(node, keyspace, key, command, options, time_limit).await?;
    let ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Ended { id, keys, .. })) = body else {
        return Err(keys::refused(body, receipt));
    };
    Ok(receipt::json(StatusCode::OK, Revoked { id, keys, receipt: receipt.clone() }, &receipt))
}

/// `GET /v1/keyspaces/{keyspace}/leases`.
pub(super) async fn list(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let mut query = params::Query::of(&uri)?;
    let limit = query.number("limit", RANGE_ITEMS_MAX)?;
    let shard = query.shard()?;
    let after = parsed(&mut query, "after")?;
    let options = options::of_read(&mut query, &headers)?;
    query.end("shard, after, limit, read")?;
    let op = Op::Query(Query::Lease(LeaseQuery::List { shard, after, limit }));
    let time_limit = params::time_limit(&headers)?;
    let request = Request { keyspace, op, options };
    let Reply { body, receipt } = state.node()?.request(request, time_limit).await?;
    let ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::List { leases, more, .. })) = body else {
        return Err(keys::unexpected().into());
    };
    let next = leases.last().map(|(id, _)| *id).filter(|_| more);
    let listed =
        |(id, lease): (LeaseId, LeaseRecord)| ListedLease { id, ttl_ms: lease.ttl_ms, keys: lease.keys };
    let leases = leases.into_iter().map(listed).collect();
    Ok(receipt::json(StatusCode::OK, Listed { leases, next, receipt: receipt.clone() }, &receipt))
}

type Asked = (LeaseId, LeaseRecord, u64, Vec<Vec<u8>>, Receipt);

/// Asks the leader about a lease that must be there.
async fn ask(
    state: &AppState,
    uri: &Uri,
    headers: &HeaderMap,
    keyspace: String,
    query: LeaseQuery,
) -> Result<Asked, HttpProblem> {
    let time_limit = params::time_limit(headers)?;
    params::Query::of(uri)?.end("none")?;
    let options = Options { session: options::session(headers)?, ..Options::default() };
    let request = Request { keyspace, op: Op::Query(Query::Lease(query)), options };
    let Reply { body, receipt } = state.node()?.request(request, time_limit).await?;
    match body {
        ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lease {
            id, lease, remaining_ms, keys, ..
        })) => match lease.zip(remaining_ms) {
            Some((lease, remaining_ms)) => Ok((id, lease, remaining_ms, keys, receipt)),
            None => Err(HttpProblem::from(lease_not_found(id)).with_receipt(receipt)),
        },
        _ => Err(keys::unexpected().into()),
    }
}

/// The keyspace and the lease of a path that ends so.
fn lease(uri: &Uri, suffix: &str) -> Result<(String, LeaseId), HttpProblem> {
    let keyspace = path::keyspace(uri)?;
    let rest = path::rest(uri, "leases/").and_then(|rest| rest.strip_suffix(suffix));
    let id = rest.map(path::decode).transpose()?.and_then(|id| String::from_utf8(id).ok()?.parse().ok());
    match id {
        Some(id) => Ok((keyspace, id)),
        None => Err(not_a_lease()),
    }
}

fn not_a_lease() -> HttpProblem {
    HttpProblem::invalid(types::lease::LeaseIdError.to_string(), "use the `id` that granting it answered")
}

/// A lease in the query.
pub(super) fn parsed(query: &mut params::Query, name: &str) -> Result<Option<LeaseId>, HttpProblem> {
    let Some(text) = query.bytes(name) else { return Ok(None) };
    let id = String::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(not_a_lease)
}

/// A JSON object.
pub(super) fn document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpProblem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let refused = |reason: String| {
        HttpProblem::invalid(reason, "correct the document; its form is described at GET /v1/openapi.json")
    };
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(refused("the body is no JSON object".to_owned()));
    }
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| refused(error.to_string()))?;
    json.end().map_err(|error| refused(error.to_string()))?;
    Ok(parsed)
}
