//! Receipts and revisions as headers.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use types::Receipt;

use super::options::SESSION;

/// The receipt, as JSON.
pub(super) const RECEIPT: HeaderName = HeaderName::from_static("quorate-receipt");
/// The keyspace's revision that the answer reflects.
const REVISION: HeaderName = HeaderName::from_static("quorate-revision");

/// Adds the receipt, and the revision by itself.
pub(super) fn insert(headers: &mut HeaderMap, receipt: &Receipt) {
    let json = serde_json::to_vec(receipt).expect("a receipt is plain data");
    // JSON escapes control characters, and keyspace names have no others that a header may not.
    if let Ok(value) = HeaderValue::from_bytes(&json) {
        headers.insert(RECEIPT, value);
    }
    if let Ok(session) = HeaderValue::try_from(receipt.session.to_string()) {
        headers.insert(SESSION, session);
    }
    if let Some(revision) = receipt.revision {
        headers.insert(REVISION, revision.into());
    }
}

/// A JSON answer, with the receipt in its headers.
pub(super) fn json(status: StatusCode, body: impl Serialize, receipt: &Receipt) -> Response {
    let mut response = (status, Json(body)).into_response();
    insert(response.headers_mut(), receipt);
    response
}

/// A key's modification revision as an entity tag.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits may be in a header")
}

/// Adds the entity tag.
pub(super) fn insert_etag(headers: &mut HeaderMap, revision: u64) {
    headers.insert(header::ETAG, etag(revision));
}
