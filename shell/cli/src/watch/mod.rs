//! `quorate watch`: a watch that goes on at another node when it loses its own, without loss or
//! repetition; and `quorate compact`.

mod events;

use std::{
    io::{self, Write},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    args::{Compact, Watch},
    client::{
        AttemptError, CallError, Endpoint, Repeat,
        answer::RemoteProblem,
        api::encode,
        retry::{backoff, is_temporary},
    },
    commands::{self, written},
    failure::Failure,
    output::say,
    tree::keys::readable,
};
use events::{Event, Parser};

/// Silence after which a connection counts as lost: nodes say something at least every five seconds.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Runs the command.
///
/// # Errors
/// If the watch is refused for good, or no node serves it for as long as a call may take.
pub async fn run(args: Watch, json: bool) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let endpoints = client.endpoints().to_vec();
    let mut position = Position { next: args.from_revision, left: args.limit.unwrap_or(u64::MAX) };
    let (mut at, mut round) = (0, 0);
    let mut lost_since = Instant::now();
    while position.left > 0 {
        let endpoint = &endpoints[at % endpoints.len()];
        let (path, headers) = request(&args, position.next);
        let opened = client.open(endpoint, &path, &headers, args.connection.timeout()).await;
        let ended = match opened {
            Ok(body) => follow(body, &mut position, json).await?,
            Err(error) => Ended { error, served: false },
        };
        if position.left == 0 {
            break;
        }
        if ended.served {
            (lost_since, round) = (Instant::now(), 0);
        }
        if !is_temporary(&ended.error) || lost_since.elapsed() >= args.connection.timeout() {
            let (endpoint, attempts) = (endpoint.clone(), at as u32 + 1);
            return Err(failed(ended.error, endpoint, attempts));
        }
        at += 1;
        // A whole round of refusals is a reason to wait; the next node of the list is none.
        if at % endpoints.len() == 0 {
            tokio::time::sleep(backoff(round, fastrand::f64())).await;
            round += 1;
        }
    }
    Ok(())
}

/// Where a watch is.
struct Position {
    /// The first revision that was not told; `None` before any node said where it begins.
    next: Option<u64>,
    /// Revisions with changes that are still wanted.
    left: u64,
}

/// Why a node tells no more.
struct Ended {
    error: AttemptError,
    /// Whether it told anything.
    served: bool,
}

fn request(args: &Watch, from: Option<u64>) -> (String, Vec<(HeaderName, HeaderValue)>) {
    let (name, bytes) = args.keys();
    let keyspace = encode(args.connection.keyspace.as_bytes());
    let mut path = format!("/v1/keyspaces/{keyspace}/watch?{name}={}&prev={}", encode(&bytes), args.prev);
    if let Some(from) = from {
        path += &format!("&from_revision={from}");
    }
    if let Some(shard) = args.shard {
        path += &format!("&shard={shard}");
    }
    let session = args.session.as_ref().and_then(|session| HeaderValue::try_from(session.to_string()).ok());
    let session = session.map(|session| (HeaderName::from_static("quorate-session"), session));
    (path, session.into_iter().collect())
}

fn failed(error: AttemptError, endpoint: Endpoint, attempts: u32) -> Failure {
    CallError { error, endpoint, attempts, maybe_applied: false, repeat: Repeat::Read }.into()
}

/// Prints what a node tells until it tells no more.
async fn follow(mut body: Incoming, position: &mut Position, json: bool) -> Result<Ended, Failure> {
    let mut parser = Parser::default();
    let mut served = false;
    let lost = |reason: String| AttemptError::Lost { reason };
    let error = 'stream: loop {
        let frame = match timeout(SILENCE_MAX, body.frame()).await {
            Err(_) => break lost("it says nothing any more".into()),
            Ok(None) => break lost("the stream ended".into()),
            Ok(Some(Err(error))) => break lost(error.to_string()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if !parser.push(&data) {
            break lost("an event is longer than any may be".into());
        }
        while let Some(event) = parser.next() {
            match event {
                Event::Problem(problem) => break 'stream AttemptError::Problem(problem),
                Event::Started { from } => position.next = position.next.or(Some(from)),
                Event::Progress { revision } => position.next = Some(revision + 1),
                Event::Changes { revision, data } => {
                    print(&data, json)?;
                    position.next = Some(revision + 1);
                    position.left -= 1;
                    if position.left == 0 {
                        break 'stream lost("all that was wanted was told".into());
                    }
                }
                Event::Unknown => continue,
            }
            served = true;
        }
    };
    Ok(Ended { error, served })
}

/// One revision's changes: an object as it came, or a line for each key.
fn print(data: &Value, json: bool) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    if json {
        writeln!(out, "{data}")?;
        return out.flush();
    }
    let bytes =
        |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    for event in data["events"].as_array().into_iter().flatten() {
        let key = readable(&bytes(&event["key_base64"]));
        let mut line = format!("{}\t{}\t{key}", data["revision"], event["type"].as_str().unwrap_or_default());
        if event["type"] == "put" {
            line += &format!("\t{}", readable(&bytes(&event["value_base64"])));
        }
        if event["prev"].is_object() {
            line += &format!("\tbefore: {}", readable(&bytes(&event["prev"]["value_base64"])));
        }
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// `quorate compact`.
///
/// # Errors
/// If the cluster refuses.
pub async fn compact(args: Compact, json: bool) -> Result<(), Failure> {
    let under_key = args.idempotency_key.is_some();
    let keyspace = written(&args.connection, &args.writing)?;
    // Compacting twice is as good as once.
    let (keyspace, _) = commands::under_key(keyspace, args.idempotency_key.as_deref());
    let document = json!({"revision": args.revision, "shard": args.shard}).to_string();
    let answer = keyspace.post("compact", document.into(), Repeat::Idempotent).await;
    let answer = answer.map_err(|error| commands::failure(error, under_key))?;
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if json {
        body["attempts"] = answer.attempts.into();
        say!("{body}");
        return Ok(());
    }
    say!("compacted: the oldest revision that can be watched is {}", body["oldest_revision"]);
    if args.receipt {
        say!("{:#}", body["receipt"]);
    }
    Ok(())
}

/// A problem as a stream's last event tells it.
fn problem(text: &str) -> RemoteProblem {
    serde_json::from_str(text).unwrap_or_else(|_| RemoteProblem {
        code: "UNKNOWN".into(),
        applied: types::Applied::NotApplied,
        detail: text.to_owned(),
        next_step: String::new(),
    })
}
