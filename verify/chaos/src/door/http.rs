//! One client's connections: HTTP over TCP, made again when they break. Nothing is ever sent again by itself.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// A client. Clones share connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// A header, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// No connection came about: nothing was sent.
    NotSent,
    /// The connection broke.
    Broken,
    /// It took too long.
    Late,
}

impl Lost {
    /// As the report calls it.
    pub fn code(self) -> &'static str {
        match self {
            Lost::NotSent => "NO_CONNECTION",
            Lost::Broken => "CONNECTION_LOST",
            Lost::Late => "CLIENT_TIMEOUT",
        }
    }
}

impl Default for Http {
    fn default() -> Http {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(8))
            .retry_canceled_requests(false)
            .build(connector);
        Http { client }
    }
}

impl Http {
    /// One request and its answer.
    ///
    /// # Errors
    /// If there is none. Only [`Lost::NotSent`] says that nothing was done.
    pub async fn send(
        &self,
        node: SocketAddr,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: impl Into<Bytes>,
        within: Duration,
    ) -> Result<Answer, Lost> {
        let uri: Uri = format!("http://{node}{path}").parse().map_err(|_| Lost::NotSent)?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body.into())).map_err(|_| Lost::NotSent)?;
        let asked = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| if error.is_connect() { Lost::NotSent } else { Lost::Broken })?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| Lost::Broken)?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        timeout(within, asked).await.unwrap_or(Err(Lost::Late))
    }
}
