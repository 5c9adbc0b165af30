//! `quorate lost-writes`: what was acknowledged early and did not survive a failover.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::{
    args::LostWrites,
    client::{Call, Client, Repeat, api::encode},
    failure::Failure,
    output::say,
};

/// Items acknowledged in one request.
const ACKNOWLEDGED_AT_ONCE: usize = 100;

/// Runs the command.
///
/// # Errors
/// If the cluster does not answer.
pub async fn run(args: LostWrites, json: bool) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let mut items = listed(&client).await?;
    if let Some(keyspace) = &args.only {
        items.retain(|item| item["keyspace"] == keyspace.as_str());
    }
    match args.acknowledge.as_deref() {
        None if json => say!("{}", json!({"items": items})),
        None => print(&items),
        Some(named) => {
            let chosen: Vec<&str> = match named {
                "all" => items.iter().filter_map(|item| item["id"].as_str()).collect(),
                id => vec![id],
            };
            let mut acknowledged = 0;
            for some in chosen.chunks(ACKNOWLEDGED_AT_ONCE) {
                let path = format!("/v1/lost-writes?ids={}", encode(some.join(",").as_bytes()));
                let answer = call(&client, Method::DELETE, path).await?;
                acknowledged += answer["acknowledged"].as_u64().unwrap_or(0);
            }
            match json {
                true => say!("{}", json!({"acknowledged": acknowledged})),
                false => say!("acknowledged {acknowledged} of {}", chosen.len()),
            }
        }
    }
    Ok(())
}

async fn listed(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut path = "/v1/lost-writes".to_owned();
    loop {
        let page = call(client, Method::GET, path).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/lost-writes?after={}", encode(next.as_bytes())),
            None => return Ok(items),
        }
    }
}

async fn call(client: &Client, method: Method, path: String) -> Result<Value, Failure> {
    // Both may be asked twice: the second time there is nothing left to take off.
    let call = Call { method, path, headers: Vec::new(), body: Bytes::new(), repeat: Repeat::Idempotent };
    let answer = client.call(&call).await?;
    Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn print(items: &[Value]) {
    if items.is_empty() {
        say!("no writes are listed as lost");
    }
    for item in items {
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let (id, keyspace) = (text("id"), text("keyspace"));
        match item["kind"].as_str() {
            Some("write") => say!(
                "{id}  {keyspace}  {} {}  {}, acknowledged: {}, by node {} at {} ms{}",
                text("operation"),
                text("key"),
                text("state"),
                text("acknowledged"),
                item["leader"],
                item["wall_ms"],
                match (text("client"), text("request_id")) {
                    (client, request) if client.is_empty() && request.is_empty() => String::new(),
                    (client, request) => format!(", client {client:?}, request {request:?}"),
                }
            ),
            Some("bound") => say!(
                "{id}  {keyspace}  nodes {} are not back: what they acknowledged before term {} after index {} may be lost",
                item["nodes"],
                item["before_term"],
                item["after_index"]
            ),
            _ => say!(
                "{id}  {keyspace}  {} more of term {} by node {}, not listed one by one",
                item["writes"],
                item["term"],
                item["leader"]
            ),
        }
    }
}
