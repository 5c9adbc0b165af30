//! Watches: producers write keys of one prefix, and consumers are told of every change by watches that end and are taken
//! up again, at the revision after the last one told, at another node each time.

use http::Method;
use serde_json::{Value, json};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::Client;
use crate::{
    door::{Answer, Door, Quorate, Told},
    record::Kind,
};

/// The log, to the history; the prefix, to the store.
const LOG: &str = "w";
/// Different keys that are written.
const KEYS: u64 = 8;
/// How long one watch lasts.
const WATCH_MS: u64 = 1_200;

/// A producer or a consumer.
#[derive(Debug)]
pub struct Watches {
    client: Client,
    door: Quorate,
    written: u64,
    /// The first revision that was not told yet.
    next: u64,
}

impl Watches {
    /// A client of Quorate; of any other system there is none.
    pub fn new(client: Client) -> Option<Watches> {
        let Door::Quorate(door) = &client.door else { return None };
        let door = door.clone();
        Some(Watches { client, door, written: 0, next: 1 })
    }

    /// Works until it is to stop: one in two consumes.
    pub async fn run(mut self) {
        while self.client.think().await {
            if self.client.process.is_multiple_of(2) { self.send().await } else { self.poll().await }
        }
    }

    async fn send(&mut self) {
        self.written += 1;
        let value = format!("{}.{}", self.client.process, self.written);
        let key = format!("{LOG}/{}", self.client.dice.u64(0..KEYS));
        let op = json!({"f": "send", "log": LOG, "value": value});
        let node = self.client.any_node();
        let began = self.client.invoke(&op);
        match self.client.door.write(node, &key, &value, None).await {
            Told::Written { revision } => {
                let op = json!({"f": "send", "log": LOG, "value": value, "offset": revision});
                self.client.complete(began, Kind::Ok, &op, None);
            }
            Told::Refused(code) => self.client.complete(began, Kind::Fail, &op, Some(&code)),
            told => self.client.complete(began, Kind::Unknown, &op, told.trouble()),
        }
    }

    async fn poll(&mut self) {
        let op = json!({"f": "poll", "log": LOG, "from": self.next});
        let path =
            self.door.path(&format!("watch?prefix={LOG}/&from_revision={}&for_ms={WATCH_MS}", self.next));
        let node = self.client.any_node();
        let began = self.client.invoke(&op);
        let answer = self.door.ask(node, Method::GET, &path, &[], String::new()).await;
        let (code, told) = match &answer {
            Ok(answer) if answer.status.is_success() => (None, told_by(answer, self.next)),
            Ok(answer) => (Some(answer.header("quorate-error").unwrap_or("HTTP_ERROR").to_owned()), None),
            Err(lost) => (Some(lost.code().to_owned()), None),
        };
        let Some((messages, next)) = told else {
            let code = code.unwrap_or_else(|| "MALFORMED_ANSWER".to_owned());
            self.client.complete(began, Kind::Fail, &op, Some(&code));
            return;
        };
        let op = json!({"f": "poll", "log": LOG, "from": self.next, "messages": messages, "next": next});
        self.client.recorder.note(self.client.process, Kind::Ok, &op);
        self.next = next;
    }
}

/// What the events of a watch tell: each change, and the revision to go on at.
fn told_by(answer: &Answer, from: u64) -> Option<(Vec<(u64, String)>, u64)> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    let (mut messages, mut next) = (Vec::new(), from);
    for block in text.split("\n\n") {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let Some(data) = field("data: ") else { continue };
        let data: Value = serde_json::from_str(data).ok()?;
        match field("event: ") {
            Some("changes") => {
                let revision = data["revision"].as_u64()?;
                for event in data["events"].as_array()? {
                    let value =
                        event["value_base64"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok())?;
                    messages.push((revision, String::from_utf8_lossy(&value).into_owned()));
                }
                next = next.max(revision + 1);
            }
            Some("progress") => next = next.max(data["revision"].as_u64()? + 1),
            // It ended with a refusal: what was told before counts.
            Some("error") => break,
            _ => {}
        }
    }
    Some((messages, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_watch_are_messages_at_their_revisions() {
        let body = concat!(
            "event: started\nid: 3\ndata: {\"from_revision\":4}\n\n",
            "event: changes\nid: 4\ndata: {\"revision\":4,\"events\":[{\"type\":\"put\",\"value_base64\":\"MS4x\"}]}\n\n",
            ": still here\n\n",
            "event: progress\nid: 9\ndata: {\"revision\":9}\n\n",
        );
        let answer =
            Answer { status: http::StatusCode::OK, headers: http::HeaderMap::new(), body: body.into() };
        assert_eq!(told_by(&answer, 4), Some((vec![(4, "1.1".to_owned())], 10)));
        let empty = Answer { body: "".into(), ..answer };
        assert_eq!(told_by(&empty, 4), Some((Vec::new(), 4)));
    }
}
