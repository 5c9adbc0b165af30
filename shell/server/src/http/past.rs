//! What a keyspace's history offers beside watches: reads at a revision, and giving history up.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use keyspace::{Command, Outcome, Query, QueryAnswer, history::NotReadable};
use node::{Op, Reply, ReplyBody, Request};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use types::{ErrorCode, Problem, Receipt};

use super::{AppState, HttpProblem, body, idempotency, keys, options, params, path, receipt};

/// Longest document, in bytes: two numbers.
const DOCUMENT_BYTES_MAX: usize = 1_024;

/// A question, as of now or of a revision.
pub(super) fn op(revision: Option<u64>, query: Query) -> Op {
    Op::Query(match revision {
        Some(revision) => Query::At { revision, query: Box::new(query) },
        None => query,
    })
}

/// Refuses an answer that says that there is no such revision.
pub(super) fn check(body: &ReplyBody, receipt: &Receipt) -> Result<(), HttpProblem> {
    let ReplyBody::Answer(QueryAnswer::NotReadable(NotReadable { asked, revision, floor })) = body else {
        return Ok(());
    };
    let problem = if asked > revision {
        ahead(*asked, *revision)
    } else {
        let mut problem = Problem::not_applied(
            ErrorCode::Compacted,
            format!("revision {asked} is compacted: the oldest revision that can be read is {floor}"),
            "read at a later revision, or without one for the newest",
        );
        problem.oldest_revision = Some(floor.saturating_add(1));
        problem.into()
    };
    Err(problem.with_receipt(receipt.clone()))
}

fn ahead(asked: u64, revision: u64) -> HttpProblem {
    HttpProblem::invalid(
        format!("there is no revision {asked} yet: the newest is {revision}"),
        "name a revision that an answer told",
    )
    .with_status(StatusCode::NOT_FOUND)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    revision: u64,
    #[serde(default)]
    shard: Option<u32>,
}

#[derive(Serialize)]
struct Compacted {
    revision: u64,
    oldest_revision: u64,
    receipt: Receipt,
}

/// `POST /v1/keyspaces/{keyspace}/compact`.
pub(super) async fn compact(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let mut query = params::Query::of(&uri)?;
    let options = options::of_write(&mut query, &headers)?;
    query.end("ack")?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let idempotency_key = idempotency::key(&headers)?;
    let node = state.node()?;
    let document = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?;
    let Document { revision, shard } = serde_json::from_slice(&document.bytes).map_err(|error| {
        let step =
            "send a JSON object such as {\"revision\": 17}; in a keyspace of several shards with \"shard\"";
        HttpProblem::invalid(format!("the compaction makes no sense: {error}"), step)
    })?;
    let command = Command::Compact { revision, shard };
    let under_key = idempotency_key.is_some();
    let op = match idempotency_key {
        Some(key) => Op::Once(key, command),
        None => Op::Command(command),
    };
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let answered = node.request(Request { keyspace, op, options }, time_limit).await;
    let Reply { body, receipt } = answered.map_err(|problem| match under_key {
        true => HttpProblem::from(problem).under_key(),
        false => problem.into(),
    })?;
    match body {
        ReplyBody::Outcome(Outcome::Compacted { revision: newest, ahead: true, .. }) => {
            Err(ahead(revision, newest).with_receipt(receipt))
        }
        ReplyBody::Outcome(Outcome::Compacted { revision, floor, .. }) => {
            let oldest_revision = floor.saturating_add(1);
            let body = Compacted { revision, oldest_revision, receipt: receipt.clone() };
            Ok(receipt::json(StatusCode::OK, body, &receipt))
        }
        _ => Err(keys::unexpected().into()),
    }
}
