//! The HTTP API as calls: keys, values, pages and status. See `docs/reference/http-api.md`.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use serde::Deserialize;
use types::{
    LeaseId, SessionToken,
    contract::{Ack, Read},
};

use super::{
    Call, Client, Endpoint, Repeat,
    answer::{Answer, AttemptError, CallError},
};

/// Everything but the unreserved characters of RFC 3986, so that a key is always one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes a key or name as one path segment or query value.
pub fn encode(bytes: &[u8]) -> PercentEncode<'_> {
    percent_encode(bytes, SEGMENT)
}

/// What must hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The key does not exist.
    Absent,
    /// The key was last modified at this revision.
    Revision(u64),
}

impl Condition {
    fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            Condition::Always => Vec::new(),
            Condition::Absent => vec![(header::IF_NONE_MATCH, HeaderValue::from_static("*"))],
            Condition::Revision(revision) => {
                let value = HeaderValue::try_from(format!("\"{revision}\"")).expect("digits and quotes");
                vec![(header::IF_MATCH, value)]
            }
        }
    }
}

/// One item of a page.
#[derive(Clone, Debug)]
pub struct ListedItem {
    /// The key's bytes.
    pub key: Bytes,
    /// The value's bytes, if values were asked for.
    pub value: Option<Bytes>,
    /// The item as the node sent it.
    pub json: serde_json::Value,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Items in key order.
    pub items: Vec<ListedItem>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Which page.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// Keys that begin with these bytes.
    pub prefix: &'a [u8],
    /// Most items.
    pub limit: u32,
    /// The `next` of the page before.
    pub cursor: Option<&'a str>,
    /// Whether values are wanted.
    pub values: bool,
}

/// One keyspace of a cluster.
#[derive(Clone)]
pub struct Keyspace {
    client: Client,
    path: String,
    idempotency_key: Option<HeaderValue>,
    session: Option<HeaderValue>,
    fence: Option<HeaderValue>,
    /// Query parameters that say what is asked for beyond the contract.
    asked: Vec<String>,
}

impl Keyspace {
    /// The keyspace of this name.
    pub fn new(client: Client, name: &str) -> Keyspace {
        let path = format!("/v1/keyspaces/{}/keys", encode(name.as_bytes()));
        Keyspace { client, path, idempotency_key: None, session: None, fence: None, asked: Vec::new() }
    }

    /// The same keyspace, whose changes are all sent under this idempotency key: for one change.
    pub fn under_key(self, key: &str) -> Keyspace {
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        let idempotency_key = HeaderValue::try_from(quoted).ok();
        Keyspace { idempotency_key, ..self }
    }

    /// The same keyspace, in a session that has seen this.
    pub fn in_session(self, session: Option<&SessionToken>) -> Keyspace {
        let session = session.and_then(|session| HeaderValue::try_from(session.to_string()).ok());
        Keyspace { session, ..self }
    }

    /// The same keyspace, whose changes are made only while a lock is held.
    pub fn fenced(self, fence: Option<&str>) -> Keyspace {
        let fence = fence.and_then(|fence| HeaderValue::from_str(fence).ok());
        Keyspace { fence, ..self }
    }

    /// The same keyspace, whose puts bind their keys to a lease.
    pub fn leased(mut self, lease: Option<LeaseId>) -> Keyspace {
        self.asked.extend(lease.map(|lease| format!("lease={lease}")));
        self
    }

    /// The same keyspace, whose reads guarantee this.
    pub fn reading(mut self, read: Option<Read>) -> Keyspace {
        self.asked.extend(read.map(|read| format!("read={}", encode(read.to_string().as_bytes()))));
        self
    }

    /// The same keyspace, read as of this revision.
    pub fn at(mut self, revision: Option<u64>) -> Keyspace {
        self.asked.extend(revision.map(|revision| format!("revision={revision}")));
        self
    }

    /// The same keyspace, whose writes are acknowledged so.
    pub fn acknowledging(mut self, ack: Option<Ack>) -> Keyspace {
        self.asked.extend(ack.map(|ack| format!("ack={ack}")));
        self
    }

    /// The client below.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes a value.
    ///
    /// # Errors
    /// See [`CallError`]; `maybe_applied` says whether the write may have happened.
    pub async fn put(
        &self,
        key: &[u8],
        value: Bytes,
        condition: Condition,
        repeat: Repeat,
    ) -> Result<Answer, CallError> {
        self.client.call(&self.key_call(Method::PUT, key, condition, value, repeat)).await
    }

    /// Reads a value.
    ///
    /// # Errors
    /// See [`CallError`]; a missing key is the problem `KEY_NOT_FOUND`.
    pub async fn get(&self, key: &[u8]) -> Result<Answer, CallError> {
        self.client
            .call(&self.key_call(Method::GET, key, Condition::Always, Bytes::new(), Repeat::Read))
            .await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// See [`CallError`]; a missing key is the problem `KEY_NOT_FOUND`.
    pub async fn delete(
        &self,
        key: &[u8],
        condition: Condition,
        repeat: Repeat,
    ) -> Result<Answer, CallError> {
        self.client.call(&self.key_call(Method::DELETE, key, condition, Bytes::new(), repeat)).await
    }

    /// Deletes a key that only the caller writes; that it is gone already is success.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn remove(&self, key: &[u8]) -> Result<(), CallError> {
        match self.delete(key, Condition::Always, Repeat::Idempotent).await {
            Err(error) if error.code() != Some("KEY_NOT_FOUND") => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a transaction, a JSON document.
    ///
    /// # Errors
    /// See [`CallError`]; `maybe_applied` says whether it may have happened.
    pub async fn txn(&self, document: Bytes, repeat: Repeat) -> Result<Answer, CallError> {
        self.post("txn", document, repeat).await
    }

    /// Posts a JSON document to what is under the keyspace's own path.
    ///
    /// # Errors
    /// See [`CallError`]; `maybe_applied` says whether it may have happened.
    pub async fn post(&self, what: &str, document: Bytes, repeat: Repeat) -> Result<Answer, CallError> {
        let path = format!("{}/{what}{}", self.path.trim_end_matches("/keys"), self.query());
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        headers.extend(self.key_header());
        headers.extend(self.session_header());
        headers.extend(self.fence_header());
        self.client.call(&Call { method: Method::POST, path, headers, body: document, repeat }).await
    }

    /// Changes a typed value; the operations are a JSON document.
    ///
    /// # Errors
    /// See [`CallError`]; `maybe_applied` says whether it may have happened.
    pub async fn operate(
        &self,
        key: &[u8],
        document: Bytes,
        condition: Condition,
        repeat: Repeat,
    ) -> Result<Answer, CallError> {
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        headers.extend(condition.headers());
        headers.extend(self.key_header());
        headers.extend(self.session_header());
        headers.extend(self.fence_header());
        let path = format!("{}{}", self.value_path(key), self.query());
        self.client.call(&Call { method: Method::POST, path, headers, body: document, repeat }).await
    }

    /// Reads a typed value, or the part that the query names.
    ///
    /// # Errors
    /// See [`CallError`]; a missing key is the problem `KEY_NOT_FOUND`.
    pub async fn value(&self, key: &[u8], part: &str) -> Result<Answer, CallError> {
        let mut path = format!("{}?{part}", self.value_path(key));
        self.asked.iter().for_each(|asked| path += &format!("&{asked}"));
        let headers = self.session_header().into_iter().collect();
        let call = Call { method: Method::GET, path, headers, body: Bytes::new(), repeat: Repeat::Read };
        self.client.call(&call).await
    }

    fn value_path(&self, key: &[u8]) -> String {
        format!("{}/values/{}", self.path.trim_end_matches("/keys"), encode(key))
    }

    /// Reads one page of a listing.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn page(&self, request: PageRequest<'_>) -> Result<Page, CallError> {
        let mut path = format!("{}?prefix={}&limit={}", self.path, encode(request.prefix), request.limit);
        if request.values {
            path += "&values=true";
        }
        if let Some(cursor) = request.cursor {
            path += &format!("&cursor={}", encode(cursor.as_bytes()));
        }
        self.asked.iter().for_each(|asked| path += &format!("&{asked}"));
        let headers = self.session_header().into_iter().collect();
        let call = Call { method: Method::GET, path, headers, body: Bytes::new(), repeat: Repeat::Read };
        let answer = self.client.call(&call).await?;
        parse_page(&answer.body).ok_or_else(|| self.foreign(answer.attempts))
    }

    fn key_call(
        &self,
        method: Method,
        key: &[u8],
        condition: Condition,
        body: Bytes,
        repeat: Repeat,
    ) -> Call {
        let mut headers = condition.headers();
        headers.extend(self.key_header());
        headers.extend(self.session_header());
        if repeat != Repeat::Read {
            headers.extend(self.fence_header());
        }
        Call { method, path: format!("{}/{}{}", self.path, encode(key), self.query()), headers, body, repeat }
    }

    fn key_header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((HeaderName::from_static("idempotency-key"), self.idempotency_key.clone()?))
    }

    fn session_header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((HeaderName::from_static("quorate-session"), self.session.clone()?))
    }

    fn fence_header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((HeaderName::from_static("quorate-fence"), self.fence.clone()?))
    }

    fn query(&self) -> String {
        if self.asked.is_empty() { String::new() } else { format!("?{}", self.asked.join("&")) }
    }

    fn foreign(&self, attempts: u32) -> CallError {
        CallError {
            error: AttemptError::Foreign { status: StatusCode::OK.as_u16() },
            endpoint: self.client.endpoints()[0].clone(),
            attempts,
            maybe_applied: false,
            repeat: Repeat::Read,
        }
    }
}

/// How long one node may take to answer for its status.
const STATUS_WAIT: Duration = Duration::from_millis(1_500);

/// Asks one node for its status, once.
///
/// # Errors
/// See [`CallError`].
pub async fn status_once(client: &Client, endpoint: &Endpoint) -> Result<serde_json::Value, CallError> {
    let call = Call {
        method: Method::GET,
        path: "/v1/status".to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        repeat: Repeat::Read,
    };
    let answer = client.attempt(endpoint, &call, STATUS_WAIT).await;
    let status = answer.and_then(|answer| {
        serde_json::from_slice(&answer.body)
            .map_err(|_| AttemptError::Foreign { status: StatusCode::OK.as_u16() })
    });
    status.map_err(|error| CallError {
        error,
        endpoint: endpoint.clone(),
        attempts: 1,
        maybe_applied: false,
        repeat: Repeat::Read,
    })
}

fn parse_page(body: &[u8]) -> Option<Page> {
    #[derive(Deserialize)]
    struct Wire {
        items: Vec<serde_json::Value>,
        next: Option<String>,
    }
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let items = wire.items.into_iter().map(|json| {
        let key = decode(json.get("key_base64")?)?;
        let value = match json.get("value_base64") {
            None | Some(serde_json::Value::Null) => None,
            Some(value) => Some(decode(value)?),
        };
        Some(ListedItem { key, value, json })
    });
    Some(Page { items: items.collect::<Option<_>>()?, next: wire.next })
}

fn decode(value: &serde_json::Value) -> Option<Bytes> {
    BASE64_STANDARD.decode(value.as_str()?).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_segment() {
        assert_eq!(encode(b"a/b c%\0\xff").to_string(), "a%2Fb%20c%25%00%FF");
        assert_eq!(encode(b"..").to_string(), "..");
    }

    #[test]
    fn a_page_is_parsed_or_refused_as_a_whole() {
        let page = br#"{"items":[{"key":"a","key_base64":"YQ==","value_base64":"/w=="}],"next":"c"}"#;
        let page = parse_page(page).expect("well formed");
        assert_eq!((&page.items[0].key[..], page.items[0].value.as_deref()), (&b"a"[..], Some(&b"\xff"[..])));
        assert_eq!(page.next.as_deref(), Some("c"));
        assert!(parse_page(br#"{"items":[{"key_base64":"?"}],"next":null}"#).is_none());
        assert!(parse_page(b"<html>").is_none());
    }

    #[test]
    fn conditions_become_the_headers_of_rfc_9110() {
        assert!(Condition::Always.headers().is_empty());
        assert_eq!(Condition::Revision(7).headers()[0].1, "\"7\"");
        assert_eq!(Condition::Absent.headers(), [(header::IF_NONE_MATCH, HeaderValue::from_static("*"))]);
    }
}
