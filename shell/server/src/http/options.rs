//! What a request asks for beyond its keyspace's contract: query parameters `read` and `ack`, headers
//! `Quorate-Session` and `Quorate-Fence`. What is not understood is refused: ignoring it would break a promise in silence.

use std::{fmt::Display, str::FromStr};

use axum::http::{HeaderMap, HeaderName};
use node::{CLIENT_BYTES_MAX, Options};
use types::SessionToken;

use super::{HttpProblem, fence, params::Query};

/// What the session has seen; in answers, with what it sees now.
pub(super) const SESSION: HeaderName = HeaderName::from_static("quorate-session");

/// What the client calls itself, for the list of lost writes.
pub(super) const CLIENT: HeaderName = HeaderName::from_static("quorate-client");
/// What it calls the request, likewise.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("quorate-request-id");

/// Of a read.
pub(super) fn of_read(query: &mut Query, headers: &HeaderMap) -> Result<Options, HttpProblem> {
    let read = word(query, "read")?;
    Ok(Options { read, session: session(headers)?, ..Options::default() })
}

/// Of a write.
pub(super) fn of_write(query: &mut Query, headers: &HeaderMap) -> Result<Options, HttpProblem> {
    let ack = word(query, "ack")?;
    let (client, request_id) = (name(headers, CLIENT)?, name(headers, REQUEST_ID)?);
    Ok(Options {
        ack,
        session: session(headers)?,
        client,
        request_id,
        fence: fence::of(headers)?,
        ..Options::default()
    })
}

/// A short name; empty when it is not there.
fn name(headers: &HeaderMap, header: HeaderName) -> Result<String, HttpProblem> {
    let Some(value) = headers.get(&header) else { return Ok(String::new()) };
    let fits = |text: &&str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        text.len() <= CLIENT_BYTES_MAX && text.bytes().all(letter)
    };
    let text = value.to_str().ok().map(str::trim).filter(fits);
    text.map(str::to_owned).ok_or_else(|| {
        let next_step =
            format!("send at most {CLIENT_BYTES_MAX} of A-Z, a-z, 0-9, '.', '_' and '-', or leave it out");
        HttpProblem::invalid(format!("header {header} is not a name"), next_step)
    })
}

fn word<T: FromStr<Err = String>>(query: &mut Query, name: &str) -> Result<Option<T>, HttpProblem> {
    let Some(bytes) = query.bytes(name) else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    text.parse().map(Some).map_err(|reason| HttpProblem::invalid(reason, "correct it, then send it again"))
}

pub(super) fn session(headers: &HeaderMap) -> Result<SessionToken, HttpProblem> {
    let mut values = headers.get_all(SESSION).iter();
    let refused = |reason: &dyn Display| {
        HttpProblem::invalid(
            format!("header {SESSION}: {reason}"),
            "send what an answer's Quorate-Session header said, once, or leave it out to begin a new session",
        )
    };
    match (values.next(), values.next()) {
        (None, _) => Ok(SessionToken::default()),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| refused(&"it is not text"))?;
            text.trim().parse().map_err(|error| refused(&error))
        }
        (Some(_), Some(_)) => Err(refused(&"it is there twice")),
    }
}
