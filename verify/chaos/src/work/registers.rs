//! Registers: reads, writes, compare-and-set and deletes of single keys. Some writes carry an idempotency key and are
//! sent again through other nodes until they are answered; to the history each is one operation.

use serde_json::{Value, json};

use super::Client;
use crate::{door::Told, record::Kind};

/// How often a request that may be sent again is sent at most.
const SENDS_MAX: usize = 4;
/// Of a thousand changes so many may be sent again.
const ONCE_PER_MILLE: u16 = 300;

/// A client of registers.
#[derive(Debug)]
pub struct Registers {
    client: Client,
    written: u64,
    /// A key and the revision that it was last seen at.
    last: Option<(String, u64)>,
}

impl Registers {
    /// A client that has seen nothing.
    pub fn new(client: Client) -> Registers {
        Registers { client, written: 0, last: None }
    }

    /// Works until it is to stop.
    pub async fn run(mut self) {
        while self.client.think().await {
            let key = self.client.any_key("r");
            match self.client.dice.u8(0..100) {
                0..45 => self.read(&key).await,
                45..75 => self.write(&key).await,
                75..93 => self.cas(&key).await,
                _ => self.delete(&key).await,
            }
        }
    }

    async fn read(&mut self, key: &str) {
        let node = self.client.any_node();
        read(&self.client, node, key).await;
        // What a read told is used by the next compare-and-set, if it is of the same key.
        self.last = None;
    }

    fn value(&mut self) -> (String, String) {
        self.written += 1;
        let token = format!("{}.{}", self.client.process, self.written);
        let length = self.client.dice.usize(0..=self.client.manner.value_bytes);
        let value = value_of(&token, length);
        (token, value)
    }

    fn once(&mut self, token: &str) -> Option<String> {
        let once = self.client.door.sends_once() && self.client.dice.u16(0..1000) < ONCE_PER_MILLE;
        once.then(|| format!("r-{token}"))
    }

    async fn write(&mut self, key: &str) {
        let (token, value) = self.value();
        let once = self.once(&token);
        let op = json!({"f": "write", "key": key, "value": token});
        let began = self.client.invoke(&op);
        let told = self.change(key, None, &value, once.as_deref()).await;
        self.done(began, op, &told);
        if let Told::Written { revision: Some(revision) } = told {
            self.last = Some((key.to_owned(), revision));
        }
    }

    async fn cas(&mut self, key: &str) {
        // Mostly the revision that this client saw last, or none: somebody else may have been faster.
        let expected = match self.last.take() {
            Some((seen, revision)) if seen == key => revision,
            _ => {
                let node = self.client.any_node();
                match read(&self.client, node, key).await {
                    Told::Value { revision, .. } => revision.unwrap_or(0),
                    _ => return,
                }
            }
        };
        let (token, value) = self.value();
        let once = self.once(&token);
        let op = json!({"f": "cas", "key": key, "value": token, "expected_revision": expected});
        let began = self.client.invoke(&op);
        let told = self.change(key, Some(expected), &value, once.as_deref()).await;
        self.done(began, op, &told);
        if let Told::Written { revision: Some(revision) } = told {
            self.last = Some((key.to_owned(), revision));
        }
    }

    /// Sends a change; again through another node while it is not known whether it was done, if that is safe.
    async fn change(&mut self, key: &str, expected: Option<u64>, value: &str, once: Option<&str>) -> Told {
        let mut sent = 0;
        let mut unknown = None;
        loop {
            let node = self.client.any_node();
            let door = &self.client.door;
            let told = match expected {
                Some(expected) => door.cas(node, key, expected, value, once).await,
                None => door.write(node, key, value, once).await,
            };
            sent += 1;
            match told {
                Told::Unknown(code) if once.is_some() && sent < SENDS_MAX => unknown = Some(code),
                Told::Unknown(_) => return told,
                // This one was not done, and one before it perhaps was.
                Told::Refused(_) if unknown.is_some() && sent < SENDS_MAX => {}
                Told::Refused(code) => return unknown.map_or(Told::Refused(code), Told::Unknown),
                told => return told,
            }
        }
    }

    async fn delete(&mut self, key: &str) {
        let op = json!({"f": "delete", "key": key});
        let node = self.client.any_node();
        let began = self.client.invoke(&op);
        let told = self.client.door.delete(node, key).await;
        self.done(began, op, &told);
    }

    fn done(&self, began: tokio::time::Instant, op: Value, told: &Told) {
        let (kind, op) = completion(op, told);
        self.client.complete(began, kind, &op, told.trouble());
    }
}

/// One recorded read. Also the reads at the end, through every node.
pub async fn read(client: &Client, node: std::net::SocketAddr, key: &str) -> Told {
    let op = json!({"f": "read", "key": key});
    let began = client.invoke(&op);
    let told = match client.door.read(node, key).await {
        Told::Value { value, revision } => {
            Told::Value { value: value.map(|value| token_of(&value)), revision }
        }
        told => told,
    };
    let (kind, op) = completion(op, &told);
    client.complete(began, kind, &op, told.trouble());
    told
}

/// The completion of an operation, as histories have it.
pub fn completion(mut op: Value, told: &Told) -> (Kind, Value) {
    let kind = match told {
        Told::Value { value, revision } => {
            op["value"] = json!(value);
            if let (Some(_), Some(revision)) = (value, revision) {
                op["revision"] = json!(revision);
            }
            Kind::Ok
        }
        Told::Written { revision } => {
            if let Some(revision) = revision {
                op["revision"] = json!(revision);
            }
            Kind::Ok
        }
        Told::Deleted { existed, revision } => {
            if let Some(existed) = existed {
                op["existed"] = json!(existed);
            }
            if let Some(revision) = revision {
                op["revision"] = json!(revision);
            }
            Kind::Ok
        }
        Told::Conflict { current } => {
            if let Some(current) = current {
                op["current"] = json!(current);
            }
            Kind::Fail
        }
        Told::Refused(_) => Kind::Fail,
        Told::Unknown(_) => Kind::Unknown,
    };
    (kind, op)
}

/// A value of about this length: its token, and filler that follows from it.
pub fn value_of(token: &str, length: usize) -> String {
    let mut value = format!("{token}|");
    let filler = token.bytes().cycle().map(char::from);
    value.extend(filler.take(length.saturating_sub(value.len())));
    value
}

/// The token of a value that is whole. Of any other the beginning is told, which nobody ever wrote.
pub fn token_of(value: &str) -> String {
    match value.split_once('|') {
        Some((token, _)) if value_of(token, value.len()) == value => token.to_owned(),
        _ => format!("damaged:{}", value.chars().take(60).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_value_has_its_token_and_a_damaged_one_has_not() {
        for length in [0, 3, 50, 4_000] {
            assert_eq!(token_of(&value_of("12.7", length)), "12.7");
        }
        let mut value = value_of("12.7", 100);
        value.replace_range(50..51, "x");
        assert!(token_of(&value).starts_with("damaged:"));
        assert!(token_of(&value_of("12.7", 100)[..99]).eq("12.7"), "filler of any length is whole");
        assert!(token_of("").starts_with("damaged:"));
    }

    #[test]
    fn what_was_not_decided_is_unknown() {
        let op = json!({"f": "write", "key": "a", "value": "1"});
        assert_eq!(completion(op.clone(), &Told::Unknown("X".into())).0, Kind::Unknown);
        assert_eq!(completion(op.clone(), &Told::Refused("X".into())).0, Kind::Fail);
        let (kind, op) = completion(op, &Told::Written { revision: Some(7) });
        assert_eq!((kind, op["revision"].as_u64()), (Kind::Ok, Some(7)));
    }
}
