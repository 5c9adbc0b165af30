//! Sessions: each client carries what it has seen from node to node, as a token, and asks for answers as new as that,
//! as new as a bound, or of any age. Every answer is recorded with its receipt. A client loses its session now and then,
//! and begins another. Some changes that were answered are sent again under their idempotency key, as an operation of its
//! own. Those of unknown outcome are not: a judge could not tell which of the sendings was read.

use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};

use super::{Client, registers};
use crate::{
    door::{Answer, Door, Quorate, Told},
    record::Kind,
};

/// Of a thousand operations so many begin a new session.
const LOST_PER_MILLE: u16 = 15;
/// How often a change is sent at most.
const SENDS_MAX: usize = 2;

/// A client of sessions.
#[derive(Debug)]
pub struct Sessions {
    client: Client,
    door: Quorate,
    /// Whether receipts keep their hybrid clock: not where wall clocks are set further apart than nodes follow.
    keeps_hlc: bool,
    session: u64,
    token: Option<String>,
    written: u64,
}

impl Sessions {
    /// A client of Quorate; of any other system there is none.
    pub fn new(client: Client, keeps_hlc: bool) -> Option<Sessions> {
        let Door::Quorate(door) = &client.door else { return None };
        let door = door.clone();
        Some(Sessions { client, door, keeps_hlc, session: 0, token: None, written: 0 })
    }

    /// Works until it is to stop.
    pub async fn run(mut self) {
        while self.client.think().await {
            if self.client.dice.u16(0..1000) < LOST_PER_MILLE {
                self.session += 1;
                self.token = None;
            }
            let key = self.client.any_key("s");
            match self.client.dice.u8(0..100) {
                0..65 => self.read(&key).await,
                65..92 => self.write(&key).await,
                _ => self.delete(&key).await,
            }
        }
    }

    fn op(&self, f: &str, key: &str) -> Value {
        json!({"f": f, "key": key, "session": format!("{}.{}", self.client.process, self.session)})
    }

    async fn read(&mut self, key: &str) {
        let mut op = self.op("read", key);
        let read = match self.client.dice.u8(0..100) {
            0..30 => "strong".to_owned(),
            30..65 => "causal".to_owned(),
            65..85 => {
                let bound_ms = self.client.dice.u64(2..=30) * 100;
                op["bound_ms"] = json!(bound_ms);
                format!("bounded({bound_ms}ms)")
            }
            _ => "eventual".to_owned(),
        };
        op["level"] = json!(read.split('(').next());
        let path = format!("{}?read={read}", self.door.key_path(key));
        let node = self.client.any_node();
        self.one(node, Method::GET, &path, None, String::new(), op, read_told).await;
    }

    async fn write(&mut self, key: &str) {
        self.written += 1;
        let token = format!("{}.{}", self.client.process, self.written);
        let length = self.client.dice.usize(0..=self.client.manner.value_bytes.min(1_000));
        let value = registers::value_of(&token, length);
        let once = self.client.dice.bool().then(|| format!("s-{token}"));
        let path = self.door.key_path(key);
        for _ in 0..SENDS_MAX {
            let mut op = self.op("write", key);
            op["value"] = json!(token);
            if let Some(once) = &once {
                op["idempotency_key"] = json!(once);
            }
            let node = self.client.any_node();
            let told =
                self.one(node, Method::PUT, &path, once.as_deref(), value.clone(), op, changed_told).await;
            let again = once.is_some() && self.client.dice.u8(0..100) < 30;
            if !again || !matches!(told, Told::Written { .. }) {
                return;
            }
        }
    }

    async fn delete(&mut self, key: &str) {
        let (op, path) = (self.op("delete", key), self.door.key_path(key));
        let node = self.client.any_node();
        self.one(node, Method::DELETE, &path, None, String::new(), op, deleted_told).await;
    }

    /// One recorded request within the session.
    #[expect(clippy::too_many_arguments, reason = "a request has as many parts")]
    async fn one(
        &mut self,
        node: SocketAddr,
        method: Method,
        path: &str,
        once: Option<&str>,
        body: String,
        op: Value,
        told: fn(&Answer) -> Option<Told>,
    ) -> Told {
        let mut extra = Vec::new();
        if let Some(token) = &self.token {
            extra.push(("quorate-session", token.clone()));
        }
        if let Some(once) = once {
            extra.push(("idempotency-key", format!("\"{once}\"")));
        }
        let is_read = method == Method::GET;
        let began = self.client.invoke(&op);
        let answer = self.door.ask(node, method, path, &extra, body).await;
        let told = match &answer {
            Ok(answer) => told(answer).unwrap_or_else(|| Quorate::refusal(answer)),
            Err(lost) => Quorate::not_answered(*lost),
        };
        // A read changes nothing, whatever became of it.
        let told = match told {
            Told::Unknown(code) if is_read => Told::Refused(code),
            told => told,
        };
        let (kind, mut op) = registers::completion(op, &told);
        if let (Kind::Ok, Ok(answer)) = (kind, &answer) {
            if let Some(receipt) = self.receipt(answer) {
                op["receipt"] = receipt;
            }
            if let Some(token) = answer.header("quorate-session") {
                self.token = Some(token.to_owned());
            }
        }
        self.client.complete(began, kind, &op, told.trouble());
        told
    }

    fn receipt(&self, answer: &Answer) -> Option<Value> {
        let mut receipt: Value = serde_json::from_str(answer.header("quorate-receipt")?).ok()?;
        if !self.keeps_hlc {
            receipt.as_object_mut()?.remove("hlc");
        }
        Some(receipt)
    }
}

fn read_told(answer: &Answer) -> Option<Told> {
    Some(match Quorate::value_of(answer)? {
        Told::Value { value, revision } => {
            Told::Value { value: value.map(|value| registers::token_of(&value)), revision }
        }
        told => told,
    })
}

fn changed_told(answer: &Answer) -> Option<Told> {
    answer.status.is_success().then(|| Told::Written { revision: answer.json()["revision"].as_u64() })
}

fn deleted_told(answer: &Answer) -> Option<Told> {
    answer.status.is_success().then(|| Quorate::deleted(&answer.json()))
}
