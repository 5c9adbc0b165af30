//! The endpoint client: one request against several nodes, until it is answered, refused for good,
//! or its deadline passes.
//!
//! Guarantee: a change is sent again only if it surely did not happen, unless the caller vouches
//! that repeating it does no harm ([`Repeat::Idempotent`]). An outcome that cannot be known is
//! reported as unknown, never as failure or success.

pub mod answer;
pub mod api;
pub mod endpoint;
pub mod retry;
mod transport;

pub use answer::{Answer, AttemptError, CallError};
pub use api::{Condition, Keyspace, ListedItem};
pub use endpoint::Endpoint;
pub use retry::Repeat;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use retry::Next;
use tokio::time::Instant;
use transport::Transport;

/// Time given to the first attempt of a call that may be repeated; every further one has twice as much,
/// so that a node that hangs costs little and a cluster that is slow is not flooded.
const ATTEMPT_MS_FIRST: u64 = 500;

/// One request, as often as it takes.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// Path and query, percent-encoded.
    pub path: String,
    /// Headers beside the deadline.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, empty for none.
    pub body: Bytes,
    /// When it may be sent again.
    pub repeat: Repeat,
}

/// A cluster reached over its endpoints. Cheap to clone; clones share connections and counters.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    endpoints: Arc<[Endpoint]>,
    preferred: Arc<AtomicUsize>,
    retries: Arc<AtomicU64>,
    timeout: Duration,
}

impl Client {
    /// A client of these endpoints, tried in this order at first. `timeout` bounds every call.
    ///
    /// # Panics
    /// If `endpoints` is empty.
    pub fn new(endpoints: Vec<Endpoint>, timeout: Duration) -> Client {
        assert!(!endpoints.is_empty(), "a client needs an endpoint");
        Client {
            transport: Transport::new(),
            endpoints: endpoints.into(),
            preferred: Arc::default(),
            retries: Arc::default(),
            timeout,
        }
    }

    /// The endpoints, in the order given.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Sends `call` to one endpoint, once.
    ///
    /// # Errors
    /// What happened to the attempt.
    pub async fn attempt(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        wait: Duration,
    ) -> Result<Answer, AttemptError> {
        self.transport.send(endpoint, call, wait).await
    }

    /// Opens a stream at one endpoint; `wait` bounds the time until it begins.
    ///
    /// # Errors
    /// What happened to the attempt.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        wait: Duration,
    ) -> Result<hyper::body::Incoming, AttemptError> {
        self.transport.open(endpoint, path, headers, wait).await
    }

    /// A client of one endpoint alone, sharing connections and counters.
    pub fn only(&self, endpoint: Endpoint) -> Client {
        Client {
            endpoints: Arc::new([endpoint]),
            preferred: Arc::default(),
            transport: self.transport.clone(),
            retries: Arc::clone(&self.retries),
            timeout: self.timeout,
        }
    }

    /// Attempts after the first, over all calls so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Sends `call` until it is answered, refused for good, or the client's timeout passes.
    ///
    /// # Errors
    /// The most telling failure, and whether a change may have happened.
    pub async fn call(&self, call: &Call) -> Result<Answer, CallError> {
        let deadline = Instant::now() + self.timeout;
        let count = self.endpoints.len();
        let mut at = self.preferred.load(Ordering::Relaxed) % count;
        let mut attempts = 0;
        let mut round = 0;
        let mut unreachable_in_a_row = 0;
        let mut maybe_applied = false;
        let mut telling: Option<(usize, AttemptError)> = None;
        loop {
            attempts += 1;
            let remaining = deadline.saturating_duration_since(Instant::now());
            let wait = attempt_time(call.repeat, attempts, remaining);
            let error = match self.transport.send(&self.endpoints[at], call, wait).await {
                Ok(answer) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(Answer { attempts, ..answer });
                }
                Err(error) => error,
            };
            maybe_applied |= call.repeat != Repeat::Read && error.may_have_applied();
            let unreachable = matches!(error, AttemptError::Unreachable { .. });
            let next = retry::decide(call.repeat, &error);
            if telling.as_ref().is_none_or(|(_, before)| retry::tells_more(call.repeat, before, &error)) {
                telling = Some((at, error));
            }
            unreachable_in_a_row = if unreachable { unreachable_in_a_row + 1 } else { 0 };
            at = (at + 1) % count;
            let at_once = unreachable && unreachable_in_a_row % count != 0;
            let pause = if at_once { Duration::ZERO } else { retry::backoff(round, fastrand::f64()) };
            round += u32::from(!at_once);
            if next == Next::GiveUp || Instant::now() + pause >= deadline {
                let (index, error) = telling.expect("an attempt failed");
                let endpoint = self.endpoints[index].clone();
                return Err(CallError { error, endpoint, attempts, maybe_applied, repeat: call.repeat });
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }
}

/// A call that may be repeated does not spend all its time on one endpoint. `attempt` counts from 1.
fn attempt_time(repeat: Repeat, attempt: u32, remaining: Duration) -> Duration {
    match repeat {
        Repeat::OnceApplied => remaining,
        Repeat::Read | Repeat::Idempotent => {
            let doublings = attempt.saturating_sub(1).min(16);
            remaining.min(Duration::from_millis(ATTEMPT_MS_FIRST << doublings))
        }
    }
}
