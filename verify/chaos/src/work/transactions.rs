//! Transactions on lists: read several, and append to some, all at once. The systems under test have no lists: what a
//! client read it writes back longer, in one transaction that demands that nothing it read has changed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

use super::Client;
use crate::{door::TxnTold, record::Kind};

/// Lists are left for new ones when one is longer.
const LIST_MAX: usize = 48;
/// Keys of one transaction at most.
const KEYS_MAX: usize = 4;

/// A client of lists.
#[derive(Debug)]
pub struct Transactions {
    client: Client,
    appended: u64,
    /// Which lists all clients use now.
    generation: Arc<AtomicU64>,
}

impl Transactions {
    /// A client. All of one history share the generation.
    pub fn new(client: Client, generation: Arc<AtomicU64>) -> Transactions {
        Transactions { client, appended: 0, generation }
    }

    /// Works until it is to stop.
    pub async fn run(mut self) {
        while self.client.think().await {
            self.one().await;
        }
    }

    async fn one(&mut self) {
        let generation = self.generation.load(Ordering::Relaxed);
        let mut numbers: Vec<usize> = (0..self.client.manner.keys.max(2)).collect();
        self.client.dice.shuffle(&mut numbers);
        numbers.truncate(self.client.dice.usize(1..=KEYS_MAX.min(numbers.len())));
        let keys: Vec<String> = numbers.iter().map(|number| format!("t{generation}-{number}")).collect();
        let mut appends = Vec::new();
        for key in &keys {
            if self.client.dice.u8(0..100) < 55 {
                self.appended += 1;
                appends.push((key.clone(), format!("{}.{}", self.client.process, self.appended)));
            }
        }
        let op = json!({"f": "txn", "steps": steps(&keys, None, &appends)});
        let began = self.client.invoke(&op);
        let node = self.client.any_node();
        let (kind, lists, trouble) = self.attempt(node, &keys, &appends).await;
        let op = json!({"f": "txn", "steps": steps(&keys, lists.as_deref(), &appends)});
        // That somebody else was faster is no trouble of the system's.
        self.client.complete(began, kind, &op, trouble.as_deref());
        let longest = lists.iter().flatten().map(Vec::len).max();
        if longest >= Some(LIST_MAX) {
            // Whoever is first moves on; the others follow.
            let _ = self.generation.compare_exchange(
                generation,
                generation + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    async fn attempt(
        &self,
        node: std::net::SocketAddr,
        keys: &[String],
        appends: &[(String, String)],
    ) -> (Kind, Option<Vec<Vec<String>>>, Option<String>) {
        let door = &self.client.door;
        let seen = match door.read_together(node, keys).await {
            Ok(seen) => seen,
            Err(code) => return (Kind::Fail, None, Some(code)),
        };
        let lists: Vec<Vec<String>> = seen.iter().map(|seen| list_of(seen.value.as_deref())).collect();
        if appends.is_empty() {
            return (Kind::Ok, Some(lists), None);
        }
        let expected: Vec<(String, u64)> =
            keys.iter().cloned().zip(seen.iter().map(|seen| seen.revision)).collect();
        let longer = |(key, element): &(String, String)| {
            let place = keys.iter().position(|of| of == key).expect("appends are to keys that are read");
            let mut list = lists[place].clone();
            list.push(element.clone());
            (key.clone(), list.join(" "))
        };
        let puts: Vec<(String, String)> = appends.iter().map(longer).collect();
        match door.write_together(node, &expected, &puts).await {
            TxnTold::Committed => (Kind::Ok, Some(lists), None),
            TxnTold::Overtaken => (Kind::Fail, None, None),
            TxnTold::Refused(code) => (Kind::Fail, None, Some(code)),
            TxnTold::Unknown(code) => (Kind::Unknown, None, Some(code)),
        }
    }
}

/// A list as it is stored: its elements, with blanks between.
pub fn list_of(value: Option<&str>) -> Vec<String> {
    value.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Every key is read, then elements are appended.
fn steps(keys: &[String], lists: Option<&[Vec<String>]>, appends: &[(String, String)]) -> Vec<Value> {
    let reads = keys.iter().enumerate().map(|(place, key)| match lists {
        Some(lists) => json!(["read", key, lists[place]]),
        None => json!(["read", key]),
    });
    let appends = appends.iter().map(|(key, element)| json!(["append", key, element]));
    reads.chain(appends).collect()
}

/// All lists of a run are read once more at the end: these are their keys.
pub fn keys_of(generation: u64, keys: usize) -> Vec<String> {
    (0..keys.max(2)).map(|number| format!("t{generation}-{number}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let list = vec!["1.1".to_owned(), "2.7".to_owned()];
        assert_eq!(list_of(Some(&list.join(" "))), list);
        assert!(list_of(None).is_empty() && list_of(Some("")).is_empty());
    }
}
