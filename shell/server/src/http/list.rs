//! Listing keys by range or prefix, a page at a time.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use keyspace::{Item, KeyRange, Query, QueryAnswer};
use node::{Reply, ReplyBody, Request};
use serde::Serialize;
use tokio::time::Instant;
use types::{
    Receipt,
    limits::{RANGE_BYTES_MAX, RANGE_ITEMS_MAX},
};

use super::{AppState, HttpProblem, keys, options, params, past, path, receipt};

const PARAMETERS: &str = "prefix, start, end, limit, cursor, values, read, revision";

#[derive(Serialize)]
struct Page {
    items: Vec<Listed>,
    next: Option<String>,
    receipt: Receipt,
}

/// A key as listings answer it.
#[derive(Serialize)]
pub(super) struct Listed {
    key: String,
    key_base64: String,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    value_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// `GET` of a keyspace's keys.
pub(super) async fn list(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let keyspace = path::keyspace(&uri)?;
    let time_limit = params::time_limit(&headers)?;
    let mut query = params::Query::of(&uri)?;
    let limit = query.number("limit", RANGE_ITEMS_MAX)?;
    let values = query.flag("values")?;
    let range = range(&mut query)?;
    let options = options::of_read(&mut query, &headers)?;
    let revision = query.revision("revision")?;
    query.end(PARAMETERS)?;
    let op = past::op(revision, Query::Range { range, limit, keys_only: !values });
    let deadline = Instant::now() + time_limit;
    let _room = state.flight().enter(RANGE_BYTES_MAX, time_limit).await?;
    let left = deadline.saturating_duration_since(Instant::now());
    let Reply { body, receipt } = state.node()?.request(Request { keyspace, op, options }, left).await?;
    past::check(&body, &receipt)?;
    let ReplyBody::Answer(QueryAnswer::Range { items, next, .. }) = body else {
        return Err(keys::unexpected().into());
    };
    let items = items.into_iter().map(|item| listed(item, values)).collect();
    let page = Page { items, next: next.map(|key| hex(&key)), receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, page, &receipt))
}

pub(super) fn listed(item: Item, values: bool) -> Listed {
    Listed {
        key: path::encode(&item.key),
        key_base64: STANDARD.encode(&item.key),
        create_revision: item.row.create_revision,
        mod_revision: item.row.mod_revision,
        version: item.row.version,
        value_bytes: item.value_bytes,
        value_base64: values.then(|| STANDARD.encode(&item.row.value)),
    }
}

/// The keys that are at or after `start`, before `end`, begin with `prefix`, and are not before `cursor`.
pub(super) fn range(query: &mut params::Query) -> Result<KeyRange, HttpProblem> {
    let prefix = query.bytes("prefix").unwrap_or_default();
    let start = query.bytes("start").unwrap_or_default();
    let cursor = query.hex("cursor")?.unwrap_or_default();
    let ends = [query.bytes("end").filter(|end| !end.is_empty()), after(&prefix)];
    let start = prefix.max(start).max(cursor);
    // Bounds that leave nothing over select nothing, which is no mistake.
    let end = ends.into_iter().flatten().min().map(|end| end.max(start.clone()));
    Ok(KeyRange { start, end })
}

/// The first key after all that begin with `prefix`; `None` when there is none.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(query: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        let uri = format!("/x?{query}").parse().unwrap();
        let range = range(&mut params::Query::of(&uri).unwrap()).unwrap();
        (range.start, range.end)
    }

    #[test]
    fn a_prefix_ends_before_the_next_key_that_lacks_it() {
        let cases: [(&[u8], Option<&[u8]>); 6] = [
            (b"", None),
            (b"a", Some(b"b")),
            (b"ab", Some(b"ac")),
            (b"a\xff", Some(b"b")),
            (b"\xff\xff", None),
            (b"a\xff\x00\xff", Some(b"a\xff\x01")),
        ];
        for (prefix, end) in cases {
            assert_eq!(after(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    #[test]
    fn bounds_given_together_all_hold() {
        assert_eq!(range_of(""), (vec![], None));
        assert_eq!(range_of("start=a&end=c"), (b"a".to_vec(), Some(b"c".to_vec())));
        assert_eq!(range_of("prefix=b&start=a&end=z"), (b"b".to_vec(), Some(b"c".to_vec())));
        assert_eq!(range_of("prefix=b&start=bb&end=bc"), (b"bb".to_vec(), Some(b"bc".to_vec())));
        assert_eq!(range_of("prefix=b&cursor=6261"), (b"ba".to_vec(), Some(b"c".to_vec())));
        assert_eq!(range_of("end="), (vec![], None));
        assert_eq!(range_of("start=z&end=a"), (b"z".to_vec(), Some(b"z".to_vec())));
    }
}
