//! Transactions: `POST` of a JSON document, answered as JSON.

mod answer;
mod request;

pub(super) use request::{Object, given, whole};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use keyspace::{Command, Outcome, QueryAnswer, TxnOutcome};
use node::{Op, Options, Reply, ReplyBody, Request};
use tokio::time::Instant;
use types::{ErrorCode, Problem};

use super::{AppState, HttpProblem, body, idempotency, keys, options, params, path, receipt};

/// Largest document, in bytes: what a transaction may hold, in base64, with room for the JSON around it.
const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// `POST`.
pub(super) async fn post(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let mut query = params::Query::of(&uri)?;
    let mut asked = options::of_read(&mut query, &headers)?;
    let Options { ack, fence, .. } = options::of_write(&mut query, &headers)?;
    (asked.ack, asked.fence) = (ack, fence);
    query.end("read, ack")?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let idempotency_key = idempotency::key(&headers)?;
    let node = state.node()?;
    let document = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?;
    let txn = request::parse(&document.bytes)?;
    txn.validate()?;
    let left = deadline.saturating_duration_since(Instant::now());
    let _room = state.flight().enter(document.bytes.len(), left).await?;
    let op = match (idempotency_key, Op::from(txn.clone())) {
        (Some(key), Op::Command(command)) => Op::Once(key, command),
        // One that only reads is refused too while another holds the lock.
        (None, Op::Query(_)) if asked.fence.is_some() => Op::Command(Command::Txn(txn.clone())),
        // One that only reads does no harm twice.
        (_, op) => op,
    };
    let under_key = matches!(op, Op::Once(..));
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let answered = node.request(Request { keyspace, op, options: asked }, time_limit).await;
    let Reply { body, receipt } = answered.map_err(|problem| match under_key {
        true => HttpProblem::from(problem).under_key(),
        false => problem.into(),
    })?;
    let outcome = match body {
        ReplyBody::Outcome(Outcome::Txn(outcome)) | ReplyBody::Answer(QueryAnswer::Txn(outcome)) => outcome,
        body => return Err(keys::refused(body, receipt)),
    };
    match outcome {
        TxnOutcome::Done { revision, succeeded, results } => {
            let answer = answer::of(&txn, revision, succeeded, results, receipt.clone());
            Ok(receipt::json(StatusCode::OK, answer.ok_or_else(keys::unexpected)?, &receipt))
        }
        TxnOutcome::Refused { refusal, .. } => {
            let (message, next_step) = (refusal.to_string(), refusal.next_step());
            let problem = Problem::not_applied(ErrorCode::InvalidArgument, message, next_step);
            Err(HttpProblem::from(problem).with_receipt(receipt))
        }
    }
}
