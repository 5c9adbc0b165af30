//! What operators and tools ask: liveness, readiness, figures, state hashes, the API's description and
//! the pages of the error codes.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::task::spawn_blocking;
use types::{ErrorCode, Problem};

use super::{AppState, HttpProblem, openapi, params, path, status::not_ready};
use crate::explain;

#[derive(Serialize)]
pub(super) struct Health {
    alive: bool,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Hash {
    keyspace: String,
    shard: u32,
    applied_index: u64,
    revision: u64,
    state_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

#[derive(Serialize)]
struct Verified {
    applied_index: u64,
    expected_hash: String,
    computed_hash: String,
    matches: bool,
}

/// `GET /healthz`: the process lives.
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { alive: true })
}

/// `GET /readyz`: every keyspace can be served.
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    let status = match state.node() {
        Ok(node) => node.status().await,
        Err(starting) => Err(starting),
    };
    let reasons = status.map_or_else(|problem| vec![problem.message], |status| not_ready(&status));
    let ready = reasons.is_empty();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { ready, reasons })).into_response()
}

/// `GET /metrics`: OpenMetrics text.
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    // While the node starts there are no groups to tell of, yet all else.
    if let Ok(node) = state.node()
        && let Ok(status) = node.status().await
    {
        state.metrics().groups.update(&status);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics().text()).into_response()
}

/// `GET /v1/openapi.json`.
pub(super) async fn openapi() -> Json<serde_json::Value> {
    Json(openapi::document())
}

/// `GET /errors/{code}`: the page of an error code.
pub(super) async fn error_page(uri: Uri) -> Result<Response, HttpProblem> {
    let code = uri.path().rsplit('/').next().unwrap_or_default();
    let page = explain(code).ok_or_else(|| {
        let known: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        HttpProblem::invalid("there is no such error code", format!("the codes are {}", known.join(", ")))
            .with_status(StatusCode::NOT_FOUND)
    })?;
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], page).into_response())
}

/// `GET /v1/keyspaces/{keyspace}/hash`: the state hash of this node's replica; with `verify=true` also
/// whether all that is in its checkpoint, read and checked anew, adds up to the hash kept with it.
pub(super) async fn hash(State(state): State<AppState>, uri: Uri) -> Result<Json<Hash>, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let mut query = params::Query::of(&uri)?;
    let verify = query.flag("verify")?;
    let shard = query.shard()?;
    query.end("verify, shard")?;
    let node = state.node()?;
    // Also answers whether there is such a keyspace.
    let scrub = node.scrub(keyspace.clone(), shard).await?;
    let status = node.status().await?;
    let group = status.groups.into_iter().find(|group| group.keyspace == keyspace && group.shard == shard);
    let group = group.ok_or_else(|| {
        Problem::not_applied(
            ErrorCode::Unavailable,
            "the keyspace has not started here yet",
            "ask again in a moment",
        )
    })?;
    let verified = if verify { Some(verified(scrub).await?) } else { None };
    Ok(Json(Hash {
        keyspace,
        shard,
        applied_index: group.applied_index,
        revision: group.revision,
        state_hash: group.state_hash,
        verified,
    }))
}

async fn verified(scrub: crate::run::Scrub) -> Result<Verified, Problem> {
    let expected = scrub.expected;
    let computed = spawn_blocking(move || scrub.job.run()).await;
    let computed = computed.map_err(|_| corrupt("verifying ended with a panic".to_owned()))?;
    let computed = computed.map_err(|error| corrupt(error.to_string()))?;
    Ok(Verified {
        applied_index: expected.applied_index,
        expected_hash: format!("{:032x}", expected.state_hash),
        computed_hash: format!("{computed:032x}"),
        matches: computed == expected.state_hash,
    })
}

fn corrupt(reason: String) -> Problem {
    tracing::error!(reason, "this node's replica does not verify");
    Problem::not_applied(
        ErrorCode::Corrupt,
        reason,
        "start this node with an empty data directory, so that its peers fill it; keep the old one to look at",
    )
}
