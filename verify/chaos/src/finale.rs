//! After the last fault: progress is owed through every node within a bound; then everything is read once more through
//! every node, and all replicas come to one state.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    door::{Etcd, Http, Seen, Told},
    record::Kind,
    work::{self, Client},
};

/// Processes of histories from here on are those of the end, one for each node.
pub const LAST_PROCESSES: u64 = 9_000;
/// Most keys that are read at the end, the newest first.
pub const KEYS_MAX: usize = 600;

/// Whether a write and a read through this node succeed within the bound; how long it took, or what it said last.
pub async fn progress(mut client: Client, node: SocketAddr, within: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let key = client.any_key("r");
        let token = format!("{}.{tries}", client.process);
        let op = json!({"f": "write", "key": key, "value": token});
        let asked = client.invoke(&op);
        let value = work::value_of(&token, 0);
        let told = client.door.write(node, &key, &value, None).await;
        let (kind, op) = work::completion(op, &told);
        client.complete(asked, kind, &op, told.trouble());
        let told = match told {
            Told::Written { .. } => work::read(&client, node, &key).await,
            told => told,
        };
        match told {
            Told::Value { .. } => return Ok(began.elapsed()),
            told if began.elapsed() > within => {
                let said = told.trouble().unwrap_or_default().to_owned();
                return Err(format!(
                    "nothing succeeded within {within:?}; the last of {tries} answers: {said}"
                ));
            }
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Reads keys through a node, as operations of the history.
pub async fn read_keys(client: Client, node: SocketAddr, keys: Vec<String>) {
    for key in keys {
        work::read(&client, node, &key).await;
    }
}

/// Reads lists through a node, each list in a transaction of its own.
pub async fn read_lists(client: Client, node: SocketAddr, keys: Vec<String>) {
    for key in keys {
        let op = json!({"f": "txn", "steps": [["read", key]]});
        let began = client.invoke(&op);
        match client.door.read_together(node, std::slice::from_ref(&key)).await {
            Ok(seen) => {
                let value = seen.first().and_then(|seen| seen.value.as_deref());
                let op = json!({"f": "txn", "steps": [["read", key, work::list_of(value)]]});
                client.complete(began, Kind::Ok, &op, None);
            }
            Err(code) => client.complete(began, Kind::Fail, &op, Some(&code)),
        }
    }
}

/// Whether all replicas of a keyspace of Quorate come to one state within the bound, each verified against its files.
pub async fn converge(
    http: &Http,
    nodes: &[SocketAddr],
    keyspace: &str,
    within: Duration,
) -> Result<Duration, String> {
    let began = Instant::now();
    let path = format!("/v1/keyspaces/{keyspace}/hash?verify=true");
    loop {
        let mut said: Vec<Option<Value>> = Vec::new();
        for node in nodes {
            let asked = http.send(*node, Method::GET, &path, &[], "", Duration::from_secs(20)).await;
            said.push(asked.ok().filter(|answer| answer.status == 200).map(|answer| answer.json()));
        }
        let damaged = |answer: &Option<Value>| {
            answer.as_ref().is_some_and(|answer| answer["verified"]["matches"] == false)
        };
        if let Some(node) = said.iter().position(damaged) {
            return Err(format!("node {node}: its files do not add up to its state hash: {:?}", said[node]));
        }
        let state = |answer: &Option<Value>| {
            let answer = answer.as_ref()?;
            Some((answer["applied_index"].as_u64()?, answer["state_hash"].as_str()?.to_owned()))
        };
        let states: Vec<Option<(u64, String)>> = said.iter().map(state).collect();
        if states.iter().all(|state| state.is_some() && *state == states[0]) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > within {
            return Err(format!(
                "after {within:?} the replicas of {keyspace} are in different states: {states:?}"
            ));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether all nodes of etcd have the same under these keys, each asked for what it has itself, within the bound.
pub async fn converge_etcd(
    etcd: &Etcd,
    nodes: &[SocketAddr],
    keys: &[String],
    within: Duration,
) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        let mut said: Vec<Option<Vec<Seen>>> = Vec::new();
        for node in nodes {
            said.push(etcd.local(*node, keys).await);
        }
        if said.iter().all(|state| state.is_some() && *state == said[0]) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > within {
            let silent = said.iter().filter(|state| state.is_none()).count();
            return Err(format!(
                "after {within:?} the nodes have different values under {} keys ({silent} do not say)",
                keys.len()
            ));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
