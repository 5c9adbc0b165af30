//! Transactions: `POST` of a JSON document, answered as JSON.

mod answer;
mod request;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use keyspace::{Outcome, QueryAnswer, TxnOutcome};
use node::{Op, Reply, ReplyBody, Request};
use tokio::time::Instant;
use types::{ErrorCode, Problem};

use super::{AppState, HttpProblem, body, keys, params, path, receipt};

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
    params::Query::of(&uri)?.end("none")?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let node = state.node()?;
    let document = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?;
    let txn = request::parse(&document.bytes)?;
    txn.validate()?;
    let left = deadline.saturating_duration_since(Instant::now());
    let _room = state.flight().enter(document.bytes.len(), left).await?;
    let op = Op::from(txn.clone());
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let Reply { body, receipt } = node.request(Request::new(keyspace, op), time_limit).await?;
    let (ReplyBody::Outcome(Outcome::Txn(outcome)) | ReplyBody::Answer(QueryAnswer::Txn(outcome))) = body
    else {
        return Err(keys::unexpected().into());
    };
    match outcome {
        TxnOutcome::Done { revision, succeeded, results } => {
            let answer = answer::of(&txn, revision, succeeded, results, receipt.clone());
            let mut response = Json(answer.ok_or_else(keys::unexpected)?).into_response();
            receipt::insert(response.headers_mut(), &receipt);
            Ok(response)
        }
        TxnOutcome::Refused { refusal, .. } => {
            let (message, next_step) = (refusal.to_string(), refusal.next_step());
            let problem = Problem::not_applied(ErrorCode::InvalidArgument, message, next_step);
            Err(HttpProblem::from(problem).with_receipt(receipt))
        }
    }
}
