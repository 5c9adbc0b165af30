//! The list of lost writes: what was acknowledged early and did not survive a failover.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use node::{
    Op, Reply, ReplyBody, Request,
    lost::{LostAnswer, LostItem, LostOp},
};
use serde::Serialize;
use serde_json::{Value, json};
use types::Receipt;

use super::{AppState, HttpProblem, idempotency, keys::unexpected, params, path, receipt};

#[derive(Serialize)]
struct Listed {
    items: Vec<Value>,
    next: Option<String>,
    receipt: Receipt,
}

#[derive(Serialize)]
struct Acknowledged {
    acknowledged: u64,
    receipt: Receipt,
}

/// `GET /v1/lost-writes`.
pub(super) async fn list(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let mut query = params::Query::of(&uri)?;
    let after = query.bytes("after").map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    query.end("after")?;
    let (answer, receipt) = ask(&state, &headers, LostOp::List { after }).await?;
    let LostAnswer::Listed { items, more } = answer else { return Err(unexpected().into()) };
    let next = items.last().filter(|_| more).map(LostItem::id);
    let body = Listed { items: items.iter().map(shown).collect(), next, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

/// `DELETE /v1/lost-writes`.
pub(super) async fn acknowledge(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    idempotency::none(&headers, "acknowledging is idempotent by itself", "leave the header out")?;
    let mut query = params::Query::of(&uri)?;
    let ids = query.bytes("ids").unwrap_or_default();
    query.end("ids: names of items, with commas between them")?;
    let ids = String::from_utf8_lossy(&ids);
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let (answer, receipt) = ask(&state, &headers, LostOp::Acknowledge { ids }).await?;
    let LostAnswer::Acknowledged(acknowledged) = answer else { return Err(unexpected().into()) };
    let body = Acknowledged { acknowledged, receipt: receipt.clone() };
    Ok(receipt::json(StatusCode::OK, body, &receipt))
}

async fn ask(
    state: &AppState,
    headers: &HeaderMap,
    op: LostOp,
) -> Result<(LostAnswer, Receipt), HttpProblem> {
    let time_limit = params::time_limit(headers)?;
    let request = Request::new(node::META_NAME, Op::Lost(op));
    let Reply { body, receipt } = state.node()?.request(request, time_limit).await?;
    match body {
        ReplyBody::Lost(answer) => Ok((answer, receipt)),
        _ => Err(unexpected().into()),
    }
}

fn shown(item: &LostItem) -> Value {
    let id = item.id();
    match item {
        LostItem::Write(at) => json!({
            "kind": "write",
            "id": id,
            "keyspace": at.keyspace,
            "group": at.group.0,
            "key": path::encode(&at.key),
            "key_base64": BASE64_STANDARD.encode(&at.key),
            "operation": if at.deletes { "delete" } else { "put" },
            "term": at.term,
            "index": at.index,
            "leader": at.leader.0,
            "wall_ms": at.wall_ms,
            "client": at.client,
            "request_id": at.request_id,
            "acknowledged": if at.acknowledged { "yes" } else { "perhaps" },
            "state": if at.decided { "lost" } else { "undecided" },
        }),
        LostItem::Bound(at) => json!({
            "kind": "bound",
            "id": id,
            "keyspace": at.keyspace,
            "group": at.group.0,
            "before_term": at.term,
            "after_index": at.after_index,
            "nodes": at.nodes.iter().map(|node| node.0).collect::<Vec<_>>(),
            "since_wall_ms": at.since_wall_ms,
            "elected_wall_ms": at.elected_wall_ms,
        }),
        LostItem::More(at) => json!({
            "kind": "more",
            "id": id,
            "keyspace": at.keyspace,
            "group": at.group.0,
            "term": at.term,
            "leader": at.leader.0,
            "writes": at.writes,
        }),
    }
}
