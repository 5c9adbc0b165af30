//! One attempt over HTTP/1.1, with pooled connections.
//!
//! The path goes out byte for byte as it was built: no normalization of `.` and `..`, which are keys.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    Call, Endpoint,
    answer::{Answer, AttemptError, RemoteProblem},
};

/// A local connection that takes longer than this is as good as none.
const CONNECT_MS_MAX: u64 = 2_000;
/// Most bytes of one answer: a page of 2 MiB in base64 with room to spare.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The node is given this much less time than we wait, so that its own answer arrives.
const ANSWER_MARGIN_MS: u64 = 100;

/// Longest deadline that a node takes.
const NODE_MS_MAX: u64 = 60_000;

const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("quorate-timeout-ms");
/// Idle connections are let go of before nodes close them (after 10 s): a request that crosses the closing
/// has an unknown outcome.
const IDLE_MAX: Duration = Duration::from_secs(5);

const RECEIPT_HEADER: HeaderName = HeaderName::from_static("quorate-receipt");

#[derive(Clone)]
pub(super) struct Transport {
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Transport {
    pub(super) fn new() -> Transport {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(CONNECT_MS_MAX)));
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(usize::MAX)
            .retry_canceled_requests(true)
            .build(connector);
        Transport { http }
    }

    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        wait: Duration,
    ) -> Result<Answer, AttemptError> {
        let request = self.request(endpoint, call, wait)?;
        match tokio::time::timeout(wait, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(AttemptError::TimedOut),
        }
    }

    /// Begins an answer that goes on for as long as it does.
    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        wait: Duration,
    ) -> Result<Incoming, AttemptError> {
        let unsendable = |error: http::Error| AttemptError::Unsendable { reason: error.to_string() };
        let mut request = Request::get(endpoint.uri(path).map_err(unsendable)?);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::default()).map_err(unsendable)?;
        let opening = async {
            let response = self.respond(request).await?;
            if response.status() == StatusCode::OK {
                return Ok(response.into_body());
            }
            let status = response.status().as_u16();
            Err(read_answer(response).await.err().unwrap_or(AttemptError::Foreign { status }))
        };
        tokio::time::timeout(wait, opening).await.unwrap_or(Err(AttemptError::TimedOut))
    }

    fn request(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        wait: Duration,
    ) -> Result<Request<Full<Bytes>>, AttemptError> {
        let unsendable = |error: http::Error| AttemptError::Unsendable { reason: error.to_string() };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let node_ms = (wait_ms - ANSWER_MARGIN_MS.min(wait_ms / 10)).clamp(1, NODE_MS_MAX);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(endpoint.uri(&call.path).map_err(unsendable)?)
            .header(TIMEOUT_HEADER, node_ms);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(call.body.clone())).map_err(unsendable)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, AttemptError> {
        read_answer(self.respond(request).await?).await
    }

    async fn respond(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, AttemptError> {
        self.http.request(request).await.map_err(|error| {
            let reason = innermost(&error);
            if error.is_connect() {
                AttemptError::Unreachable { reason }
            } else {
                AttemptError::Lost { reason }
            }
        })
    }
}

async fn read_answer(response: Response<Incoming>) -> Result<Answer, AttemptError> {
    let (head, body) = response.into_parts();
    let foreign = AttemptError::Foreign { status: head.status.as_u16() };
    let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(foreign),
        Err(error) => return Err(AttemptError::Lost { reason: error.to_string() }),
    };
    if !head.status.is_success() && head.status != StatusCode::NOT_MODIFIED {
        return Err(match serde_json::from_slice::<RemoteProblem>(&body) {
            Ok(problem) => AttemptError::Problem(problem),
            Err(_) => foreign,
        });
    }
    let receipt =
        head.headers.get(RECEIPT_HEADER).and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
    let etag = head.headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    let revision = etag.and_then(|etag| etag.trim_matches('"').parse().ok());
    Ok(Answer { body, receipt, revision, attempts: 1 })
}

/// The system's own words, below the layers that wrap them.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
