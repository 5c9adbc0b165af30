//! Locks and fencing: clients wait for a lock, write to what it guards under its token, keep it alive, release it; and
//! some stand still until their time is over, and write then, as if they held it still.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Client;
use crate::{
    door::{Answer, Door, Quorate, Told},
    record::{Kind, Recorder},
};

/// How many locks there are at a time.
const LOCKS: usize = 2;
/// How long a lock is held without a keep-alive: longer than an election.
const TTL_MS: u64 = 2_500;
/// By how much clocks that count the same time may differ.
const CLOCK_ERROR_PER_MILLE: u64 = 20;

/// The first line of a history: what locks of Quorate promise.
pub fn terms(recorder: &Recorder) {
    let terms =
        json!({"f": "lock-terms", "clock_error_per_mille": CLOCK_ERROR_PER_MILLE, "fenced_by": "holder"});
    recorder.note(0, Kind::Note, &terms);
}

/// A client of locks.
#[derive(Debug)]
pub struct Locks {
    client: Client,
    door: Quorate,
    written: u64,
}

struct Held {
    name: String,
    token: u64,
    lease: String,
}

impl Locks {
    /// A client of Quorate; of any other system there is none.
    pub fn new(client: Client) -> Option<Locks> {
        let Door::Quorate(door) = &client.door else { return None };
        let door = door.clone();
        Some(Locks { client, door, written: 0 })
    }

    /// Works until it is to stop.
    pub async fn run(mut self) {
        while self.client.think().await {
            let name = format!("l{}", self.client.dice.usize(0..LOCKS));
            if self.client.dice.u8(0..100) < 25 {
                self.read(&name).await;
                continue;
            }
            if let Some(held) = self.acquire(&name).await {
                self.hold(&held).await;
            }
        }
    }

    async fn hold(&mut self, held: &Held) {
        for _ in 0..self.client.dice.usize(1..=4) {
            if !self.client.think().await {
                break;
            }
            match self.client.dice.u8(0..100) {
                0..60 => self.write(held).await,
                60..85 => self.keep_alive(held).await,
                85..95 => self.read(&held.name).await,
                _ => {
                    // Longer than it is promised: somebody else may hold the lock when it writes.
                    sleep(Duration::from_millis(TTL_MS + self.client.dice.u64(0..1_500))).await;
                    self.write(held).await;
                    return;
                }
            }
        }
        self.release(held).await;
    }

    async fn acquire(&mut self, name: &str) -> Option<Held> {
        let op = json!({"f": "acquire", "lock": name});
        let path = self.door.path(&format!("locks/{name}"));
        let body = json!({"ttl_ms": TTL_MS}).to_string();
        let answer = self.one(op, Method::POST, &path, &[], body, |op, answer| {
            op["token"] = json!(answer.json()["token"].as_u64()?);
            op["ttl_ms"] = json!(TTL_MS);
            Some(Kind::Ok)
        });
        let said = answer.await?.json();
        let (token, lease) = (said["token"].as_u64()?, said["lease"].as_str()?.to_owned());
        Some(Held { name: name.to_owned(), token, lease })
    }

    async fn keep_alive(&mut self, held: &Held) {
        let op = json!({"f": "keep-alive", "lock": held.name, "token": held.token});
        let path = self.door.path(&format!("leases/{}/keepalive", held.lease));
        self.one(op, Method::POST, &path, &[], String::new(), |op, answer| {
            op["ttl_ms"] = json!(answer.json()["remaining_ms"].as_u64()?);
            Some(Kind::Ok)
        })
        .await;
    }

    async fn release(&mut self, held: &Held) {
        let op = json!({"f": "release", "lock": held.name, "token": held.token});
        let path = self.door.path(&format!("locks/{}?lease={}&token={}", held.name, held.lease, held.token));
        self.one(op, Method::DELETE, &path, &[], String::new(), |_, answer| {
            // Its time may have been over: then there was nothing to release.
            Some(if answer.json()["released"].as_bool()? { Kind::Ok } else { Kind::Fail })
        })
        .await;
    }

    async fn write(&mut self, held: &Held) {
        self.written += 1;
        let value = format!("{}.{}", self.client.process, self.written);
        let resource = resource(&held.name);
        let op = json!({
            "f": "guarded-write", "lock": held.name, "resource": resource, "token": held.token, "value": value,
        });
        let path = self.door.key_path(&resource);
        let fence = [("quorate-fence", format!("{}:{}", held.name, held.token))];
        self.one(op, Method::PUT, &path, &fence, value, |op, answer| {
            op["revision"] = json!(answer.json()["revision"].as_u64()?);
            Some(Kind::Ok)
        })
        .await;
    }

    async fn read(&mut self, name: &str) {
        let resource = resource(name);
        let op = json!({"f": "guarded-read", "lock": name, "resource": resource});
        let path = self.door.key_path(&resource);
        self.one(op, Method::GET, &path, &[], String::new(), |op, answer| {
            let Told::Value { value, .. } = Quorate::value_of(answer)? else { return None };
            op["value"] = json!(value);
            Some(Kind::Ok)
        })
        .await;
    }

    /// One recorded request. `told` adds to the operation what an answer that is no refusal tells, and says how it ended.
    /// Returns the answer of what was done.
    async fn one(
        &mut self,
        op: Value,
        method: Method,
        path: &str,
        extra: &[(&str, String)],
        body: String,
        told: impl FnOnce(&mut Value, &Answer) -> Option<Kind>,
    ) -> Option<Answer> {
        let is_read = method == Method::GET;
        let node = self.client.any_node();
        let began = self.client.invoke(&op);
        let answer = self.door.ask(node, method, path, extra, body).await;
        let mut full = op.clone();
        let done = answer.as_ref().ok().filter(|answer| answer.status.is_success() || answer.status == 404);
        if let Some(kind) = done.and_then(|answer| told(&mut full, answer)) {
            self.client.complete(began, kind, &full, None);
            return answer.ok().filter(|_| kind == Kind::Ok);
        }
        let (kind, code) = match answer.map_or_else(Quorate::not_answered, |answer| Quorate::refusal(&answer))
        {
            Told::Refused(code) => (Kind::Fail, code),
            Told::Unknown(code) if is_read => (Kind::Fail, code),
            Told::Unknown(code) => (Kind::Unknown, code),
            _ => (Kind::Unknown, "MALFORMED_ANSWER".to_owned()),
        };
        // That a late one is fenced off, or finds its lease gone, is what is promised.
        let trouble = Some(code).filter(|code| code != "FENCED" && code != "LEASE_NOT_FOUND");
        self.client.complete(began, kind, &op, trouble.as_deref());
        None
    }
}

/// What a lock guards: a key.
fn resource(name: &str) -> String {
    format!("guarded-{name}")
}
