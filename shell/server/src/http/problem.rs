//! Failures as RFC 9457 problem details.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use types::{Applied, ErrorCode, Problem, Receipt};

use super::receipt;

/// Seconds after which a refused request is worth sending again.
const RETRY_AFTER_SECONDS: &str = "1";

/// A failure on its way to the client.
#[derive(Debug)]
pub(super) struct HttpProblem {
    status: StatusCode,
    problem: Problem,
    receipt: Option<Box<Receipt>>,
    under_key: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: ErrorCode,
    applied: Applied,
    retry_safe: bool,
    next_step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a Receipt>,
}

impl HttpProblem {
    /// A request that makes no sense.
    pub(super) fn invalid(message: impl Into<String>, next_step: impl Into<String>) -> HttpProblem {
        Problem::not_applied(ErrorCode::InvalidArgument, message, next_step).into()
    }

    /// With another status than its code has.
    pub(super) fn with_status(self, status: StatusCode) -> HttpProblem {
        HttpProblem { status, ..self }
    }

    /// With what the answer that it is based on guarantees.
    pub(super) fn with_receipt(self, receipt: Receipt) -> HttpProblem {
        HttpProblem { receipt: Some(Box::new(receipt)), ..self }
    }

    /// Of a write with an idempotency key: sending the same again does no harm, whatever happened.
    pub(super) fn under_key(self) -> HttpProblem {
        HttpProblem { under_key: true, ..self }
    }
}

impl From<Problem> for HttpProblem {
    fn from(problem: Problem) -> HttpProblem {
        HttpProblem { status: status(problem.code), problem, receipt: None, under_key: false }
    }
}

impl HttpProblem {
    /// The problem details, as JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        let problem = &self.problem;
        let body = Body {
            r#type: format!("/errors/{}", problem.code),
            title: title(problem.code),
            status: self.status.as_u16(),
            detail: &problem.message,
            code: problem.code,
            applied: problem.applied,
            retry_safe: problem.retry_safe() || self.under_key,
            next_step: &problem.next_step,
            current_revision: problem.current_revision,
            oldest_revision: problem.oldest_revision,
            receipt: self.receipt.as_deref(),
        };
        serde_json::to_vec(&body).expect("a problem is plain data")
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let problem = &self.problem;
        let mut response = (self.status, self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers
            .insert(HeaderName::from_static("quorate-error"), HeaderValue::from_static(problem.code.name()));
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if let Some(revision @ 1..) = problem.current_revision {
            headers.insert(header::ETAG, receipt::etag(revision));
        }
        if let Some(receipt) = &self.receipt {
            receipt::insert(headers, receipt);
        }
        response
    }
}

/// The status that each code has unless a handler knows a better one.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::NoQuorum | ErrorCode::TooStale | ErrorCode::NotLeader | ErrorCode::Unavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        // A fence is a condition of the request, as those of RFC 9110, section 13.
        ErrorCode::Conflict | ErrorCode::Fenced => StatusCode::PRECONDITION_FAILED,
        ErrorCode::Compacted => StatusCode::GONE,
        ErrorCode::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::KeyNotFound | ErrorCode::KeyspaceNotFound | ErrorCode::LeaseNotFound => {
            StatusCode::NOT_FOUND
        }
        ErrorCode::InvalidArgument | ErrorCode::UnsupportedVersion => StatusCode::BAD_REQUEST,
        ErrorCode::NoSpace | ErrorCode::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NoQuorum => "No majority of the replicas answers",
        ErrorCode::TooStale => "No replica that can be reached is new enough",
        ErrorCode::NotLeader => "This node does not lead",
        ErrorCode::DeadlineExceeded => "The deadline passed first",
        ErrorCode::Overloaded => "A limit of queued work is reached",
        ErrorCode::Conflict => "The key is not at the expected revision",
        ErrorCode::Compacted => "The revision was compacted",
        ErrorCode::Fenced => "The fencing token is not the one of the lock's present holder",
        ErrorCode::LeaseNotFound => "There is no such lease",
        ErrorCode::IdempotencyKeyReused => "The idempotency key was used with another request",
        ErrorCode::QuotaExceeded => "The keyspace's quota has no room for the write",
        ErrorCode::KeyNotFound => "There is no such key",
        ErrorCode::KeyspaceNotFound => "There is no such keyspace",
        ErrorCode::InvalidArgument => "The request makes no sense, or is over a limit",
        ErrorCode::NoSpace => "The disk is too full to accept writes",
        ErrorCode::UnsupportedVersion => "A version that this build does not speak",
        ErrorCode::Corrupt => "Data on disk failed its checksum",
        ErrorCode::Unavailable => "The node is starting or stopping",
    }
}
