//! Watches, as server-sent events (WHATWG HTML, section 9.2): one event for each revision, with the revision as
//! its id, so that a client that reconnects goes on where it was.
//!
//! What is on its way to a client is bounded: the node tells a watch no more than it has room for, and there is
//! room again only once the connection asks for the next bytes.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Extension, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::stream;
use keyspace::{
    KeyRange, Keys,
    history::{KeyEvent, Revision, Version},
};
use node::{WatchEvent, WatchRequest};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use types::{ErrorCode, Problem, Receipt};

use super::{AppState, HttpProblem, list, options, params, path, receipt, server::Stopped};
use crate::run::Watching;

/// The id of the last event that the client saw.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Longest silence on a connection: a comment breaks it, so that a dead connection is noticed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the answer's head waits for the watch to begin, to be able to refuse it with a status.
const BEGIN_TIMEOUT: Duration = Duration::from_millis(500);
const PARAMETERS: &str = "key, or prefix, start and end; from_revision, prev, shard, for_ms";

#[derive(Serialize)]
struct Started<'a> {
    from_revision: u64,
    receipt: &'a Receipt,
}

#[derive(Serialize)]
struct Changes {
    revision: u64,
    events: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    r#type: &'static str,
    key: String,
    key_base64: String,
    #[serde(flatten)]
    version: Option<Shown>,
    prev_revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<Shown>,
}

#[derive(Serialize)]
struct Shown {
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    value_base64: String,
}

#[derive(Serialize)]
struct Progress {
    revision: u64,
}

/// `GET`.
pub(super) async fn watch(
    State(state): State<AppState>,
    Extension(stopped): Extension<Stopped>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let mut query = params::Query::of(&uri)?;
    let keys = keys(&mut query)?;
    let from = query.revision("from_revision")?;
    let (prev, shard) = (query.flag("prev")?, query.shard_named()?);
    let until = query
        .revision("for_ms")?
        .map(|for_ms| Instant::now() + Duration::from_millis(for_ms.min(FOR_MS_MAX)));
    let session = options::of_read(&mut query, &headers)?.session;
    query.end(PARAMETERS)?;
    let from = match last_event(&headers)? {
        Some(seen) => Some(seen.saturating_add(1)),
        None => from,
    };
    let request = WatchRequest { keyspace, keys, shard, from, prev, session };
    request.validate()?;
    let mut watching = state.node()?.watch(request)?;
    let first = match timeout(BEGIN_TIMEOUT, watching.next()).await {
        Ok(Some(WatchEvent::Ended(problem))) => return Err(problem.into()),
        Ok(Some(event)) => Some(event),
        Ok(None) => return Err(stopping().into()),
        // The replica has to catch up first.
        Err(_) => None,
    };
    let receipt = match &first {
        Some(WatchEvent::Started { receipt, .. }) => Some(receipt.clone()),
        _ => None,
    };
    let told = Telling { watching, stopped, until, first, untaken: 0, over: false };
    let body = Body::from_stream(stream::unfold(told, Telling::next));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(receipt) = receipt {
        receipt::insert(headers, &receipt);
    }
    Ok(response)
}

/// Longest time that may be asked for with `for_ms`: a year.
const FOR_MS_MAX: u64 = 365 * 24 * 60 * 60 * 1_000;

fn keys(query: &mut params::Query) -> Result<Keys, HttpProblem> {
    let Some(key) = query.bytes("key") else { return Ok(Keys::Range(list::range(query)?)) };
    if list::range(query)? != KeyRange::default() {
        return Err(HttpProblem::invalid(
            "key and a range of keys are both given",
            "watch one key, or those of a prefix or range",
        ));
    }
    Ok(Keys::One(key))
}

/// The revision of the last event that the client saw.
fn last_event(headers: &HeaderMap) -> Result<Option<u64>, HttpProblem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let revision = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match revision.and_then(|text| text.parse().ok()) {
        Some(revision) => Ok(Some(revision)),
        None => Err(HttpProblem::invalid(
            format!("the header {LAST_EVENT_ID} is no revision"),
            "send the id of the last event, or leave the header out",
        )),
    }
}

/// A watch being told.
struct Telling {
    watching: Watching,
    stopped: Stopped,
    until: Option<Instant>,
    first: Option<WatchEvent>,
    /// Bytes of what was told last: taken once more is asked for.
    untaken: u64,
    over: bool,
}

impl Telling {
    /// The next bytes. Called when the connection has taken those before.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Telling)> {
        if self.over {
            return None;
        }
        if self.untaken > 0 {
            self.watching.taken(std::mem::take(&mut self.untaken));
        }
        let until = self.until;
        let text = match self.first.take() {
            Some(event) => self.tell(event),
            None => tokio::select! {
                event = self.watching.next() => match event {
                    Some(event) => self.tell(event),
                    None => self.end(stopping()),
                },
                () = sleep(HEARTBEAT) => ":\n\n".to_owned(),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return None,
                () = self.stopped.wait() => self.end(stopping()),
            },
        };
        Some((Ok(text.into()), self))
    }

    fn tell(&mut self, event: WatchEvent) -> String {
        self.untaken = event.bytes();
        match event {
            WatchEvent::Started { from, receipt } => frame(
                "started",
                Some(from.saturating_sub(1)),
                &Started { from_revision: from, receipt: &receipt },
            ),
            WatchEvent::Changed(Revision { revision, events, .. }) => {
                let events = events.into_iter().map(change).collect();
                frame("changes", Some(revision), &Changes { revision, events })
            }
            WatchEvent::Progress(revision) => frame("progress", Some(revision), &Progress { revision }),
            WatchEvent::Ended(problem) => self.end(problem),
        }
    }

    fn end(&mut self, problem: Problem) -> String {
        self.over = true;
        let json = HttpProblem::from(problem).json();
        format!("event: error\ndata: {}\n\n", String::from_utf8_lossy(&json))
    }
}

fn frame(event: &str, id: Option<u64>, data: &impl Serialize) -> String {
    // JSON has no line breaks of its own.
    let json = serde_json::to_string(data).expect("an event is plain data");
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("event: {event}\n{id}data: {json}\n\n")
}

fn change(event: KeyEvent) -> Change {
    Change {
        r#type: if event.put.is_some() { "put" } else { "delete" },
        key: path::encode(&event.key),
        key_base64: STANDARD.encode(&event.key),
        version: event.put.map(shown),
        prev_revision: event.prev_revision,
        prev: event.prev.map(shown),
    }
}

fn shown(version: Version) -> Shown {
    let Version { create_revision, mod_revision, version, value } = version;
    Shown { create_revision, mod_revision, version, value_base64: STANDARD.encode(value) }
}

fn stopping() -> Problem {
    Problem::not_applied(
        ErrorCode::Unavailable,
        "the node is stopping",
        "watch at another node, from the revision after the last one told",
    )
}
