//! Keyspaces and their contracts: created, altered, deleted, shown, listed. A contract's entity tag is its version.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use node::{Altered, CatalogAnswer, CatalogOp, KeyspaceInfo, Reply, ReplyBody, Request};
use serde::Serialize;
use tokio::time::Instant;
use types::{Contract, ErrorCode, Receipt, contract::Explanation};

use super::{AppState, HttpProblem, body, conditions, idempotency, keys::unexpected, params, path, receipt};

#[derive(Serialize)]
struct Keyspace {
    name: String,
    group: u64,
    version: u64,
    contract: Contract,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    keyspace: Keyspace,
    explanation: Explanation,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    keyspace: Keyspace,
    created: bool,
    receipt: Receipt,
}

#[derive(Serialize)]
struct AlteredBody {
    #[serde(flatten)]
    keyspace: Keyspace,
    changes: Vec<String>,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Deleted {
    #[serde(flatten)]
    keyspace: Keyspace,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Listed {
    keyspaces: Vec<Keyspace>,
    receipt: Receipt,
}

impl From<KeyspaceInfo> for Keyspace {
    fn from(info: KeyspaceInfo) -> Keyspace {
        let KeyspaceInfo { name, group, version, contract } = info;
        Keyspace { name, group: group.0, version, contract }
    }
}

/// `GET /v1/keyspaces`.
pub(super) async fn list(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    params::Query::of(&uri)?.end("none")?;
    let (answer, receipt) =
        ask(&state, String::new(), CatalogOp::List, params::time_limit(&headers)?).await?;
    let CatalogAnswer::Listed(found) = answer else { return Err(unexpected().into()) };
    let keyspaces = found.into_iter().map(Keyspace::from).collect();
    let body = Listed { keyspaces, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

/// `GET /v1/keyspaces/{keyspace}`.
pub(super) async fn show(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    params::Query::of(&uri)?.end("none")?;
    let name = path::keyspace_alone(&uri)?;
    let (answer, receipt) = ask(&state, name, CatalogOp::Show, params::time_limit(&headers)?).await?;
    let CatalogAnswer::Shown(found) = answer else { return Err(unexpected().into()) };
    let explanation = found.contract.explain(receipt.acks.of);
    let body = Shown { keyspace: found.into(), explanation, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

/// Longest contract, in bytes of JSON: a few short fields.
const CONTRACT_BYTES_MAX: usize = 64 * 1024;

fn no_key(headers: &HeaderMap) -> Result<(), HttpProblem> {
    idempotency::none(
        headers,
        "what a keyspace becomes is the same however often it is sent",
        "leave the header out; with If-Match and the version of the contract it happens once at most",
    )
}

/// `PUT /v1/keyspaces/{keyspace}`.
pub(super) async fn create(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    params::Query::of(&uri)?.end("none")?;
    no_key(&headers)?;
    let name = path::keyspace_alone(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let bytes = body::read(&state, &headers, body, deadline, CONTRACT_BYTES_MAX).await?.bytes;
    let contract = if bytes.is_empty() { Contract::default() } else { parse(&bytes)? };
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let op = match conditions::of_contract(&headers)? {
        None => CatalogOp::Create(contract),
        Some(version) => CatalogOp::Alter { to: Altered::Whole(contract), version },
    };
    let (answer, receipt) = ask(&state, name, op, time_limit).await?;
    let (keyspace, created) = match answer {
        CatalogAnswer::Created { keyspace, created } => (keyspace, created),
        CatalogAnswer::Altered { keyspace, .. } => (keyspace, false),
        _ => return Err(unexpected().into()),
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let body = Created { keyspace: keyspace.into(), created, receipt: receipt.clone() };
    Ok(receipt::json(status, body, &receipt))
}

/// `PATCH /v1/keyspaces/{keyspace}`.
pub(super) async fn alter(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    params::Query::of(&uri)?.end("none")?;
    no_key(&headers)?;
    let name = path::keyspace_alone(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let version = conditions::of_contract(&headers)?.flatten();
    let bytes = body::read(&state, &headers, body, deadline, CONTRACT_BYTES_MAX).await?.bytes;
    let changes = serde_json::from_slice(&bytes).map_err(|error| {
        let step = "send a JSON object of the fields that are to change; null unsets one";
        HttpProblem::invalid(format!("the changes make no sense: {error}"), step)
    })?;
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let op = CatalogOp::Alter { to: Altered::But(changes), version };
    let (answer, receipt) = ask(&state, name, op, time_limit).await?;
    let CatalogAnswer::Altered { keyspace, changes } = answer else { return Err(unexpected().into()) };
    let body = AlteredBody { keyspace: keyspace.into(), changes, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

/// `DELETE /v1/keyspaces/{keyspace}`.
pub(super) async fn delete(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    params::Query::of(&uri)?.end("none")?;
    no_key(&headers)?;
    let name = path::keyspace_alone(&uri)?;
    let version = conditions::of_contract(&headers)?.flatten();
    let op = CatalogOp::Delete { version };
    let (answer, receipt) = ask(&state, name, op, params::time_limit(&headers)?).await?;
    let CatalogAnswer::Deleted(keyspace) = answer else { return Err(unexpected().into()) };
    let body = Deleted { keyspace: keyspace.into(), receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

fn parse(bytes: &[u8]) -> Result<Contract, HttpProblem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let step = "send a JSON object of the fields that are not to have their default, or nothing";
        HttpProblem::invalid(format!("the contract makes no sense: {error}"), step)
    })
}

async fn ask(
    state: &AppState,
    keyspace: String,
    op: CatalogOp,
    time_limit: std::time::Duration,
) -> Result<(CatalogAnswer, Receipt), HttpProblem> {
    let changes = !matches!(op, CatalogOp::Show | CatalogOp::List);
    let conditional =
        matches!(op, CatalogOp::Alter { version: Some(_), .. } | CatalogOp::Delete { version: Some(_) });
    let request = Request::new(keyspace, node::Op::Catalog(op));
    let Reply { body, receipt } = state.node()?.request(request, time_limit).await.map_err(|problem| {
        // Well formed, and it cannot be: the contract does not hold, or contradicts the one that there is.
        let status = match problem.code {
            ErrorCode::Conflict if changes && !conditional => Some(StatusCode::CONFLICT),
            ErrorCode::InvalidArgument if changes => Some(StatusCode::UNPROCESSABLE_ENTITY),
            _ => None,
        };
        let problem = HttpProblem::from(problem);
        match status {
            Some(status) => problem.with_status(status),
            None => problem,
        }
    })?;
    match body {
        ReplyBody::Catalog(answer) => Ok((answer, receipt)),
        _ => Err(unexpected().into()),
    }
}
