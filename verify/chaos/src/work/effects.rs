//! Idempotent effects: a request that adds to a number is sent through node after node under one idempotency key, until it
//! is answered and sometimes once more, or with another content; the number shows how often it was carried out.

use std::collections::VecDeque;

use http::Method;
use serde_json::json;

use super::Client;
use crate::{
    door::{Door, Quorate, Told},
    record::Kind,
};

/// How often one key is sent at most.
const SENDS_MAX: usize = 5;
/// Keys whose number is looked at again later.
const LOOKED_AT_MAX: usize = 64;
/// What the content adds, and what another content under the same key would add.
const ADDS: [(&str, u64); 2] = [("add 1", 1), ("add 1000", 1_000)];

/// A client that repeats itself.
#[derive(Debug)]
pub struct Effects {
    client: Client,
    door: Quorate,
    sent: u64,
    keys: VecDeque<String>,
}

impl Effects {
    /// A client of Quorate; of any other system there is none.
    pub fn new(client: Client) -> Option<Effects> {
        let Door::Quorate(door) = &client.door else { return None };
        let door = door.clone();
        Some(Effects { client, door, sent: 0, keys: VecDeque::new() })
    }

    /// Works until it is to stop.
    pub async fn run(mut self) {
        while self.client.think().await {
            self.sent += 1;
            let key = format!("e{}.{}", self.client.process, self.sent);
            let mut answered = false;
            for _ in 0..SENDS_MAX {
                answered |= self.attempt(&key, ADDS[0]).await;
                if answered && self.client.dice.u8(0..100) < 70 {
                    break;
                }
                if !self.client.think().await {
                    return;
                }
            }
            if self.client.dice.u8(0..100) < 10 {
                self.attempt(&key, ADDS[1]).await;
            }
            self.look(&key).await;
            self.keys.push_back(key);
            if self.keys.len() > LOOKED_AT_MAX {
                self.keys.pop_front();
            }
            let again = self.client.dice.usize(0..self.keys.len());
            let old = self.keys[again].clone();
            self.look(&old).await;
        }
    }

    /// Sends it once more. Returns whether it was answered.
    async fn attempt(&mut self, key: &str, (body, by): (&str, u64)) -> bool {
        let op = json!({"f": "attempt", "key": key, "body": body});
        let add = json!({"compares": [], "then": [{"increment": {"key": key, "by": by}}], "else": []});
        let once = [("idempotency-key", format!("\"{key}\""))];
        let node = self.client.any_node();
        let began = self.client.invoke(&op);
        let path = self.door.path("txn");
        let answer = self.door.ask(node, Method::POST, &path, &once, add.to_string()).await;
        let mut told = op.clone();
        if let Ok(answer) = &answer
            && answer.status.is_success()
        {
            let said = answer.json();
            told["result"] =
                json!(format!("{} at {}", said["responses"][0]["increment"]["value"], said["revision"]));
            self.client.complete(began, Kind::Ok, &told, None);
            return true;
        }
        let reused = answer.as_ref().is_ok_and(|answer| answer.status == 422);
        match answer.map_or_else(Quorate::not_answered, |answer| Quorate::refusal(&answer)) {
            Told::Refused(_) if reused => {
                told["reused"] = json!(true);
                self.client.complete(began, Kind::Fail, &told, None);
            }
            Told::Refused(code) => self.client.complete(began, Kind::Fail, &told, Some(&code)),
            told => self.client.complete(began, Kind::Unknown, &op, told.trouble()),
        }
        false
    }

    /// Reads how often what was carried out.
    async fn look(&mut self, key: &str) {
        let op = json!({"f": "effects", "key": key});
        let node = self.client.any_node();
        let began = self.client.invoke(&op);
        match self.client.door.read(node, key).await {
            Told::Value { value, .. } => {
                let sum = value.map_or(Some(0), |value| value.parse::<u64>().ok());
                let bodies = match sum {
                    Some(sum) => bodies_of(sum),
                    None => vec!["no number".to_owned()],
                };
                let op = json!({"f": "effects", "key": key, "bodies": bodies});
                self.client.complete(began, Kind::Ok, &op, None);
            }
            told => self.client.complete(began, Kind::Fail, &op, told.trouble()),
        }
    }
}

/// The contents that come to this sum, each as often as it was carried out.
fn bodies_of(sum: u64) -> Vec<String> {
    let [(small, _), (large, by)] = ADDS;
    let times = |body: &str, count: u64| vec![body.to_owned(); usize::try_from(count.min(20)).unwrap_or(20)];
    [times(small, sum % by), times(large, sum / by)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_tells_what_was_carried_out() {
        assert!(bodies_of(0).is_empty());
        assert_eq!(bodies_of(1), ["add 1"]);
        assert_eq!(bodies_of(1_002), ["add 1", "add 1", "add 1000"]);
    }
}
