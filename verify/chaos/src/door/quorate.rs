//! Quorate's HTTP API, as far as the workloads use it.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Answer, Http, Lost, Seen, Told, TxnTold};

/// How long a node may take to answer a request; it says so itself when it cannot.
const ANSWER_WITHIN: Duration = Duration::from_millis(3_000);
/// How much longer a client waits, for a node that does not say anything.
const PATIENCE: Duration = Duration::from_millis(1_000);

/// A client of one keyspace.
#[derive(Clone, Debug)]
pub struct Quorate {
    http: Http,
    keyspace: String,
}

/// Headers beside the usual ones.
pub type Extra<'a> = &'a [(&'a str, String)];

impl Quorate {
    /// A client with connections of its own.
    pub fn new(keyspace: &str) -> Quorate {
        Quorate { http: Http::default(), keyspace: keyspace.to_owned() }
    }

    /// The path of something in the keyspace.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/keyspaces/{}/{rest}", self.keyspace)
    }

    /// The path of a key.
    pub fn key_path(&self, key: &str) -> String {
        self.path(&format!("keys/{}", utf8_percent_encode(key, NON_ALPHANUMERIC)))
    }

    /// One request, with the usual deadline.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn ask(
        &self,
        node: SocketAddr,
        method: Method,
        path: &str,
        extra: Extra<'_>,
        body: String,
    ) -> Result<Answer, Lost> {
        let mut headers = vec![("quorate-timeout-ms", ANSWER_WITHIN.as_millis().to_string())];
        headers.extend(extra.iter().cloned());
        self.http.send(node, method, path, &headers, body, ANSWER_WITHIN + PATIENCE).await
    }

    pub(super) async fn read(&self, node: SocketAddr, key: &str) -> Told {
        match self.ask(node, Method::GET, &self.key_path(key), &[], String::new()).await {
            Err(lost) => Told::Refused(lost.code().to_owned()),
            Ok(answer) => Quorate::value_of(&answer).unwrap_or_else(|| Told::Refused(code(&answer))),
        }
    }

    pub(super) async fn write(
        &self,
        node: SocketAddr,
        key: &str,
        value: &str,
        expected: Option<u64>,
        once: Option<&str>,
    ) -> Told {
        let mut extra = Vec::new();
        match expected {
            Some(0) => extra.push(("if-none-match", "*".to_owned())),
            Some(revision) => extra.push(("if-match", format!("\"{revision}\""))),
            None => {}
        }
        if let Some(once) = once {
            extra.push(("idempotency-key", format!("\"{once}\"")));
        }
        match self.ask(node, Method::PUT, &self.key_path(key), &extra, value.to_owned()).await {
            Err(lost) => Quorate::not_answered(lost),
            Ok(answer) if answer.status.is_success() => {
                Told::Written { revision: answer.json()["revision"].as_u64() }
            }
            Ok(answer) if expected.is_some() && answer.status == 412 => {
                Told::Conflict { current: answer.json()["current_revision"].as_u64() }
            }
            Ok(answer) => Quorate::refusal(&answer),
        }
    }

    pub(super) async fn delete(&self, node: SocketAddr, key: &str) -> Told {
        match self.ask(node, Method::DELETE, &self.key_path(key), &[], String::new()).await {
            Err(lost) => Quorate::not_answered(lost),
            Ok(answer) if answer.status.is_success() => Quorate::deleted(&answer.json()),
            Ok(answer) => Quorate::refusal(&answer),
        }
    }

    /// What a delete that was done says.
    pub fn deleted(said: &Value) -> Told {
        let existed = said["existed"].as_bool();
        let revision = said["revision"].as_u64().filter(|_| existed == Some(true));
        Told::Deleted { existed, revision }
    }

    /// What a read says; `None` for a refusal.
    pub fn value_of(answer: &Answer) -> Option<Told> {
        if answer.status == 404 && answer.header("quorate-error") == Some("KEY_NOT_FOUND") {
            return Some(Told::Value { value: None, revision: None });
        }
        answer.status.is_success().then(|| Told::Value {
            value: Some(String::from_utf8_lossy(&answer.body).into_owned()),
            revision: answer.header("quorate-mod-revision").and_then(|revision| revision.parse().ok()),
        })
    }

    /// What a client knows of a change that was not answered.
    pub fn not_answered(lost: Lost) -> Told {
        match lost {
            Lost::NotSent => Told::Refused(lost.code().to_owned()),
            Lost::Broken | Lost::Late => Told::Unknown(lost.code().to_owned()),
        }
    }

    /// What a client knows of a change that was refused.
    pub fn refusal(answer: &Answer) -> Told {
        match answer.json()["applied"].as_str() {
            Some("not_applied") => Told::Refused(code(answer)),
            _ => Told::Unknown(code(answer)),
        }
    }

    pub(super) async fn read_together(&self, node: SocketAddr, keys: &[String]) -> Result<Vec<Seen>, String> {
        let gets: Vec<Value> = keys.iter().map(|key| json!({"get": {"key": key}})).collect();
        let body = json!({"compares": [], "then": gets, "else": []}).to_string();
        let answer = self.ask(node, Method::POST, &self.path("txn"), &[], body).await;
        let answer = answer.map_err(|lost| lost.code().to_owned())?;
        if !answer.status.is_success() {
            return Err(code(&answer));
        }
        let said = answer.json();
        let seen = |response: &Value| -> Option<Seen> {
            let item = &response["get"]["item"];
            if item.is_null() {
                return Some(Seen::default());
            }
            let bytes = BASE64_STANDARD.decode(item["value_base64"].as_str()?).ok()?;
            Some(Seen {
                value: Some(String::from_utf8_lossy(&bytes).into_owned()),
                revision: item["mod_revision"].as_u64()?,
            })
        };
        let responses = said["responses"].as_array().filter(|responses| responses.len() == keys.len());
        let seen: Option<Vec<Seen>> = responses.and_then(|all| all.iter().map(seen).collect());
        seen.ok_or_else(|| "MALFORMED_ANSWER".to_owned())
    }

    pub(super) async fn write_together(
        &self,
        node: SocketAddr,
        expected: &[(String, u64)],
        puts: &[(String, String)],
    ) -> TxnTold {
        let compares: Vec<Value> = expected
            .iter()
            .map(|(key, revision)| {
                json!({"key": key, "target": "mod_revision", "result": "equal", "value": revision})
            })
            .collect();
        let puts: Vec<Value> =
            puts.iter().map(|(key, value)| json!({"put": {"key": key, "value": value}})).collect();
        let body = json!({"compares": compares, "then": puts, "else": []}).to_string();
        match self.ask(node, Method::POST, &self.path("txn"), &[], body).await {
            Err(lost) => match Quorate::not_answered(lost) {
                Told::Refused(code) => TxnTold::Refused(code),
                _ => TxnTold::Unknown(lost.code().to_owned()),
            },
            Ok(answer) if answer.status.is_success() => match answer.json()["succeeded"].as_bool() {
                Some(true) => TxnTold::Committed,
                Some(false) => TxnTold::Overtaken,
                None => TxnTold::Unknown("MALFORMED_ANSWER".to_owned()),
            },
            Ok(answer) => match Quorate::refusal(&answer) {
                Told::Refused(code) => TxnTold::Refused(code),
                _ => TxnTold::Unknown(code(&answer)),
            },
        }
    }
}

/// The code of a refusal.
fn code(answer: &Answer) -> String {
    answer.header("quorate-error").map_or_else(|| format!("HTTP_{}", answer.status.as_u16()), str::to_owned)
}
