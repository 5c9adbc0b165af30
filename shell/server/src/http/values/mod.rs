//! Typed values: operations by `POST` of a JSON document, and reads of all of a value or a part by `GET`.

mod answer;
mod part;
mod request;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use keyspace::{Command, Outcome, Query, QueryAnswer};
use node::{Op, Reply, ReplyBody, Request};
use tokio::time::Instant;
use types::{ErrorCode, Problem, limits::VALUE_BYTES_MAX};
use values::Operation;

use super::{AppState, HttpProblem, body, conditions, idempotency, keys, options, params, path, receipt};

/// Largest document, in bytes: the members that operations may have, in base64, with room for the JSON around them.
const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// `POST`.
pub(super) async fn post(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpProblem> {
    let (keyspace, key) = path::value_key(&uri)?;
    let deadline = Instant::now() + params::time_limit(&headers)?;
    let idempotency_key = idempotency::key(&headers)?;
    let options = keys::write_options(&uri, &headers)?;
    let node = state.node()?;
    let document = body::read(&state, &headers, body, deadline, DOCUMENT_BYTES_MAX).await?;
    let operations = request::parse(&document.bytes)?;
    Operation::validate(&operations)?;
    // Conditions that cannot hold together are no reason to overlook that the document is none.
    let expect = conditions::of_put(&headers)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let _room = state.flight().enter(key.len() + document.bytes.len(), left).await?;
    let command = Command::Operate { key, operations, expect };
    let time_limit = deadline.saturating_duration_since(Instant::now());
    let written = keys::write(node, keyspace, idempotency_key, command, options, time_limit).await?;
    let Reply { body, receipt } = written;
    match body {
        ReplyBody::Outcome(Outcome::Operated { revision, create_revision, version, answers }) => {
            let status = if version == 1 { StatusCode::CREATED } else { StatusCode::OK };
            let answer = answer::operated([revision, create_revision, version], &answers, &receipt);
            let mut response = receipt::json(status, answer, &receipt);
            receipt::insert_etag(response.headers_mut(), revision);
            Ok(response)
        }
        ReplyBody::Outcome(Outcome::OperateRefused { refusal, .. }) => {
            let (message, next_step) = (refusal.to_string(), refusal.next_step());
            let problem = Problem::not_applied(ErrorCode::InvalidArgument, message, next_step);
            Err(HttpProblem::from(problem).with_receipt(receipt))
        }
        body => Err(keys::refused(body, receipt)),
    }
}

/// `GET`.
pub(super) async fn get(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let (keyspace, key) = path::value_key(&uri)?;
    let time_limit = params::time_limit(&headers)?;
    let mut query = params::Query::of(&uri)?;
    let part = part::of(&mut query)?;
    let options = options::of_read(&mut query, &headers)?;
    query.end(part::PARAMETERS)?;
    let named = path::encode(&key);
    let deadline = Instant::now() + time_limit;
    let _room = state.flight().enter(VALUE_BYTES_MAX, time_limit).await?;
    let left = deadline.saturating_duration_since(Instant::now());
    let op = Op::Query(Query::Value { key, part });
    let Reply { body, receipt } = state.node()?.request(Request { keyspace, op, options }, left).await?;
    let ReplyBody::Answer(QueryAnswer::Value { row, .. }) = body else {
        return Err(keys::unexpected().into());
    };
    let Some(row) = row else { return Err(keys::missing(&named, receipt)) };
    let Some(answer) = answer::shown(&row, &receipt) else {
        let problem = Problem::not_applied(
            ErrorCode::InvalidArgument,
            "what the key holds has no such part",
            "read all of it, or a part that its kind of value has: see docs/reference/http-api.md",
        );
        return Err(HttpProblem::from(problem).with_receipt(receipt));
    };
    let mut response = receipt::json(StatusCode::OK, answer, &receipt);
    receipt::insert_etag(response.headers_mut(), row.mod_revision);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}
