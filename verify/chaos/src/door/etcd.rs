//! etcd v3 by its JSON gateway: the same operations, so that the same checkers judge it. Keys and values are base64,
//! numbers are text.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Method;
use serde_json::{Value, json};

use super::{Http, Lost, Seen, Told, TxnTold};

/// etcd gives up a request after about 7 seconds; a client of ours does not wait that long.
const ANSWER_WITHIN: Duration = Duration::from_millis(4_000);

/// A client.
#[derive(Clone, Debug, Default)]
pub struct Etcd {
    http: Http,
}

/// Why there is no result.
enum Trouble {
    /// Nothing was done.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
}

impl Trouble {
    fn code(self) -> String {
        match self {
            Trouble::NotDone(code) | Trouble::Unknown(code) => code,
        }
    }

    fn told(self) -> Told {
        match self {
            Trouble::NotDone(code) => Told::Refused(code),
            Trouble::Unknown(code) => Told::Unknown(code),
        }
    }
}

impl Etcd {
    async fn ask(&self, node: SocketAddr, path: &str, body: Value) -> Result<Value, Trouble> {
        let headers = [("content-type", "application/json".to_owned())];
        let sent = self.http.send(node, Method::POST, path, &headers, body.to_string(), ANSWER_WITHIN).await;
        let answer = sent.map_err(|lost| match lost {
            Lost::NotSent => Trouble::NotDone(lost.code().to_owned()),
            Lost::Broken | Lost::Late => Trouble::Unknown(lost.code().to_owned()),
        })?;
        if answer.status.is_success() {
            return Ok(answer.json());
        }
        // Every refusal may come after the proposal was made: etcd does not say which.
        let said = answer.json();
        let words = said["error"].as_str().or_else(|| said["message"].as_str()).unwrap_or_default();
        let words = words.trim_start_matches("etcdserver: ");
        Err(Trouble::Unknown(match words {
            "" => format!("HTTP_{}", answer.status.as_u16()),
            words => words.to_ascii_uppercase().replace([' ', ','], "_"),
        }))
    }

    /// Whether the node serves.
    pub async fn is_ready(&self, node: SocketAddr) -> bool {
        matches!(self.read(node, "ready").await, Told::Value { .. })
    }

    /// Its own view: `POST /v3/maintenance/status`.
    pub async fn status(&self, node: SocketAddr) -> Option<Value> {
        self.ask(node, "/v3/maintenance/status", json!({})).await.ok()
    }

    /// What this node itself has under some keys: its value and revision, however old.
    pub async fn local(&self, node: SocketAddr, keys: &[String]) -> Option<Vec<Seen>> {
        let mut all = Vec::new();
        for key in keys {
            let body = json!({"key": encode(key), "serializable": true});
            let said = self.ask(node, "/v3/kv/range", body).await.ok()?;
            all.push(seen(&said["kvs"][0])?);
        }
        Some(all)
    }

    /// Which version it is.
    pub async fn version(&self, node: SocketAddr) -> Option<String> {
        let sent = self.http.send(node, Method::GET, "/version", &[], "", ANSWER_WITHIN).await.ok()?;
        sent.json()["etcdserver"].as_str().map(str::to_owned)
    }

    pub(super) async fn read(&self, node: SocketAddr, key: &str) -> Told {
        match self.ask(node, "/v3/kv/range", json!({"key": encode(key)})).await {
            // A read changes nothing.
            Err(trouble) => Told::Refused(trouble.code()),
            Ok(said) => match seen(&said["kvs"][0]) {
                Some(Seen { value, revision }) => {
                    Told::Value { value, revision: Some(revision).filter(|revision| *revision > 0) }
                }
                None => Told::Refused("MALFORMED_ANSWER".to_owned()),
            },
        }
    }

    pub(super) async fn write(&self, node: SocketAddr, key: &str, value: &str) -> Told {
        let body = json!({"key": encode(key), "value": encode(value)});
        match self.ask(node, "/v3/kv/put", body).await {
            Err(trouble) => trouble.told(),
            Ok(said) => Told::Written { revision: number(&said["header"]["revision"]) },
        }
    }

    pub(super) async fn cas(&self, node: SocketAddr, key: &str, expected: u64, value: &str) -> Told {
        let put = json!({"requestPut": {"key": encode(key), "value": encode(value)}});
        let get = json!({"requestRange": {"key": encode(key)}});
        let body = json!({"compare": [compare(key, expected)], "success": [put], "failure": [get]});
        match self.ask(node, "/v3/kv/txn", body).await {
            Err(trouble) => trouble.told(),
            Ok(said) if said["succeeded"].as_bool() == Some(true) => {
                Told::Written { revision: number(&said["header"]["revision"]) }
            }
            Ok(said) => Told::Conflict {
                current: seen(&said["responses"][0]["response_range"]["kvs"][0]).map(|seen| seen.revision),
            },
        }
    }

    pub(super) async fn delete(&self, node: SocketAddr, key: &str) -> Told {
        match self.ask(node, "/v3/kv/deleterange", json!({"key": encode(key)})).await {
            Err(trouble) => trouble.told(),
            Ok(said) => {
                let existed = number(&said["deleted"]).unwrap_or(0) > 0;
                let revision = number(&said["header"]["revision"]).filter(|_| existed);
                Told::Deleted { existed: Some(existed), revision }
            }
        }
    }

    pub(super) async fn read_together(&self, node: SocketAddr, keys: &[String]) -> Result<Vec<Seen>, String> {
        let gets: Vec<Value> = keys.iter().map(|key| json!({"requestRange": {"key": encode(key)}})).collect();
        let said = self.ask(node, "/v3/kv/txn", json!({"success": gets})).await;
        let said = said.map_err(Trouble::code)?;
        let responses = said["responses"].as_array().filter(|responses| responses.len() == keys.len());
        let all: Option<Vec<Seen>> = responses.and_then(|responses| {
            responses.iter().map(|response| seen(&response["response_range"]["kvs"][0])).collect()
        });
        all.ok_or_else(|| "MALFORMED_ANSWER".to_owned())
    }

    pub(super) async fn write_together(
        &self,
        node: SocketAddr,
        expected: &[(String, u64)],
        puts: &[(String, String)],
    ) -> TxnTold {
        let compares: Vec<Value> = expected.iter().map(|(key, revision)| compare(key, *revision)).collect();
        let puts: Vec<Value> = puts
            .iter()
            .map(|(key, value)| json!({"requestPut": {"key": encode(key), "value": encode(value)}}))
            .collect();
        match self.ask(node, "/v3/kv/txn", json!({"compare": compares, "success": puts})).await {
            Err(Trouble::NotDone(code)) => TxnTold::Refused(code),
            Err(Trouble::Unknown(code)) => TxnTold::Unknown(code),
            Ok(said) if said["succeeded"].as_bool() == Some(true) => TxnTold::Committed,
            Ok(_) => TxnTold::Overtaken,
        }
    }
}

fn compare(key: &str, revision: u64) -> Value {
    json!({"key": encode(key), "target": "MOD", "result": "EQUAL", "modRevision": revision.to_string()})
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// Numbers of 64 bits are text in this API, and left out when they are 0.
pub fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn seen(item: &Value) -> Option<Seen> {
    if item.is_null() {
        return Some(Seen::default());
    }
    let bytes = BASE64_STANDARD.decode(item["value"].as_str().unwrap_or_default()).ok()?;
    let value = Some(String::from_utf8_lossy(&bytes).into_owned());
    Some(Seen { value, revision: number(&item["mod_revision"])? })
}
