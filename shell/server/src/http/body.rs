//! Reading a value: bounded in bytes, in time, and in the memory that all bodies take together.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use types::{ErrorCode, Problem};

use super::{AppState, HttpProblem};

/// Bytes of values in memory between their first byte and their answer; beyond it: `OVERLOADED`.
pub(super) const BODIES_BYTES_MAX: u32 = 256 * 1024 * 1024;
/// A body that is too large is read on, and thrown away, up to this many times its limit: a client that is
/// still sending when the connection closes may never see the answer.
const DISCARDED_LIMITS: usize = 8;

/// A value, and its place among those in memory.
#[derive(Debug)]
pub(super) struct Value<'a> {
    pub(super) bytes: Vec<u8>,
    room: SemaphorePermit<'a>,
}

/// Reads the whole body, of at most `bytes_max` bytes, by the deadline.
pub(super) async fn read<'a>(
    state: &'a AppState,
    headers: &HeaderMap,
    body: Body,
    deadline: Instant,
    bytes_max: usize,
) -> Result<Value<'a>, HttpProblem> {
    let stated = headers.get(header::CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    let read = timeout_at(deadline, collect(state.body_room(), body, stated, bytes_max)).await;
    read.unwrap_or_else(|_| Err(too_slow()))
}

/// Takes room for bytes as they come: a client that announces much and sends nothing takes none.
async fn collect(
    room: &Semaphore,
    mut body: Body,
    stated: usize,
    bytes_max: usize,
) -> Result<Value<'_>, HttpProblem> {
    let full = || {
        Problem::not_applied(
            ErrorCode::Overloaded,
            "as many bytes of values as the limit allows are on their way to this node",
            "wait a moment, then send it again; send less at once if it persists",
        )
    };
    let mut value = Value { bytes: Vec::new(), room: room.try_acquire_many(0).map_err(|_| full())? };
    while let Some(data) = next(&mut body).await? {
        if value.bytes.len() + data.len() > bytes_max {
            drop(value);
            return discard(body, data.len(), bytes_max).await;
        }
        value.room.merge(room.try_acquire_many(data.len() as u32).map_err(|_| full())?);
        if value.bytes.is_empty() {
            value.bytes.reserve_exact(stated.clamp(data.len(), bytes_max));
        }
        value.bytes.extend_from_slice(&data);
    }
    Ok(value)
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, HttpProblem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            HttpProblem::invalid(format!("the body did not arrive whole: {error}"), "send it again")
        })?;
        // Trailers mean nothing here.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn discard(mut body: Body, mut bytes: usize, bytes_max: usize) -> Result<Value<'static>, HttpProblem> {
    while bytes < DISCARDED_LIMITS * bytes_max
        && let Ok(Some(data)) = next(&mut body).await
    {
        bytes += data.len();
    }
    let too_large = HttpProblem::invalid(
        format!("the body is larger than {bytes_max} bytes"),
        "split it over several requests",
    );
    Err(too_large.with_status(StatusCode::PAYLOAD_TOO_LARGE))
}

fn too_slow() -> HttpProblem {
    let problem = Problem::not_applied(
        ErrorCode::DeadlineExceeded,
        "the deadline passed before the whole body had arrived",
        "send it again with a longer Quorate-Timeout-Ms",
    );
    HttpProblem::from(problem).with_status(StatusCode::REQUEST_TIMEOUT)
}
