//! `quorate status`: what every endpoint says of itself, side by side.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
};

use comfy_table::{Attribute, Cell, Color, Table, presets};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    args::{Connection, DEV_HTTP_PORT, DEV_NODES_MAX, dev_endpoint},
    client::{CallError, Client, Endpoint, api},
    failure::{Exit, Failure},
    output::say,
};

/// What all endpoints together say.
#[derive(Debug)]
pub struct Overview {
    /// One object per endpoint, in their order.
    pub nodes: Vec<Value>,
    /// The leader of the keyspace's group with the highest term, if one says that it leads.
    pub leader: Option<u64>,
    /// Whether the leader hears from a majority.
    pub quorum: bool,
}

/// Runs the command.
///
/// # Errors
/// If no leader with a quorum is known, after printing what is.
pub async fn run(connection: &Connection, json: bool) -> Result<(), Failure> {
    let overview = look(connection).await?;
    if json {
        let Overview { nodes, leader, quorum } = &overview;
        say!("{}", json!({ "nodes": nodes, "leader": leader, "quorum": quorum }));
    } else {
        say!("{}", overview.table());
    }
    let next = "NO_QUORUM is explained by `quorate explain NO_QUORUM`; look at the nodes that do not answer";
    match (overview.leader, overview.quorum) {
        (Some(_), true) => Ok(()),
        (Some(leader), false) => {
            Err(Failure::new(Exit::Unavailable, format!("node {leader} leads but hears from no majority"))
                .next(next))
        }
        (None, _) if overview.nodes.iter().all(|node| node["error"].is_string()) => {
            Err(Failure::new(Exit::Unavailable, "no endpoint answers")
                .next("start a cluster with `quorate dev`, or name one with --endpoints"))
        }
        (None, _) => Err(Failure::new(Exit::Unavailable, "no node leads").next(next)),
    }
}

/// Asks every endpoint. If none are named, the development cluster is asked how many it has.
async fn look(connection: &Connection) -> Result<Overview, Failure> {
    let (endpoints, answers) = ask_all(connection).await?;
    Ok(overview(&connection.keyspace, &endpoints, answers))
}

/// Every endpoint, and what each answers.
///
/// # Errors
/// If an endpoint is malformed.
pub async fn ask_all(
    connection: &Connection,
) -> Result<(Vec<Endpoint>, Vec<Result<Value, CallError>>), Failure> {
    let client = connection.client()?;
    let mut endpoints = client.endpoints().to_vec();
    let mut answers = ask(&client, &endpoints).await;
    if connection.is_default()
        && let Some(members) = answers.iter().find_map(|answer| members(answer.as_ref().ok()?))
    {
        let in_range = members.into_iter().filter(|&node| node < u64::from(DEV_NODES_MAX));
        endpoints = in_range.map(|node| dev_endpoint(DEV_HTTP_PORT + node as u16)).collect();
        answers = ask(&client, &endpoints).await;
    }
    Ok((endpoints, answers))
}

/// Asks these endpoints at the same time; answers in their order.
pub async fn ask(client: &Client, endpoints: &[Endpoint]) -> Vec<Result<Value, CallError>> {
    let mut asking = JoinSet::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        let (client, endpoint) = (client.clone(), endpoint.clone());
        asking.spawn(async move { (at, api::status_once(&client, &endpoint).await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Puts the answers together for one keyspace.
pub fn overview(keyspace: &str, endpoints: &[Endpoint], answers: Vec<Result<Value, CallError>>) -> Overview {
    let (mut leader, mut lags, mut quorum) = (None::<(u64, u64)>, BTreeMap::new(), false);
    for status in answers.iter().flatten() {
        let group = group(status, keyspace);
        let (Some(node), Some(term)) = (status["node"].as_u64(), group["term"].as_u64()) else { continue };
        if group["role"] == "leader" && leader.is_none_or(|(before, _)| term > before) {
            leader = Some((term, node));
            lags = replica_lags(group);
            quorum = has_quorum(node, group);
        }
    }
    let names = names(&answers);
    let nodes = endpoints.iter().zip(answers).map(|(endpoint, answer)| match answer {
        Ok(mut status) => {
            let lag = status["node"].as_u64().and_then(|node| lags.get(&node)).copied().unwrap_or_default();
            (status["lag_entries"], status["lag_ms"]) = (json!(lag.entries), json!(lag.ms));
            status["http"] = json!(endpoint.to_string());
            status
        }
        Err(error) => {
            let node = names.get(&endpoint.to_string());
            let lag = node.and_then(|node| lags.get(node)).copied().unwrap_or_default();
            json!({
            "node": node, "pid": null, "http": endpoint.to_string(), "role": null, "term": null,
            "commit_index": null, "applied_index": null, "lag_entries": lag.entries, "lag_ms": lag.ms,
            "healthy": false, "error": error.error.to_string(),
            })
        }
    });
    Overview { nodes: nodes.collect(), leader: leader.map(|(_, node)| node), quorum }
}

/// The members that a node knows, if it says.
fn members(status: &Value) -> Option<Vec<u64>> {
    let members = status["members"].as_array()?;
    members.iter().map(|member| member.as_u64().or_else(|| member["node"].as_u64())).collect()
}

/// Which node serves at which address, as those that answer know it.
fn names(answers: &[Result<Value, CallError>]) -> BTreeMap<String, u64> {
    let members = answers.iter().flatten().filter_map(|status| status["members"].as_array()).flatten();
    let named = members.filter_map(|member| {
        let endpoint: Endpoint = member["http"].as_str()?.parse().ok()?;
        Some((endpoint.to_string(), member["node"].as_u64()?))
    });
    named.collect()
}

/// The keyspace's group as a node sees it; the node's own summary if it has no such group.
fn group<'a>(status: &'a Value, keyspace: &str) -> &'a Value {
    let groups = status["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    groups.iter().find(|group| group["keyspace"] == keyspace).unwrap_or(status)
}

fn replicas(group: &Value) -> &[Value] {
    group["replicas"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How far a replica is behind, as its leader sees it; nothing where no leader says.
#[derive(Clone, Copy, Default)]
struct Lag {
    entries: Option<u64>,
    ms: Option<u64>,
}

fn replica_lags(group: &Value) -> BTreeMap<u64, Lag> {
    let lag =
        |replica: &Value| Lag { entries: replica["lag_entries"].as_u64(), ms: replica["lag_ms"].as_u64() };
    replicas(group).iter().filter_map(|replica| Some((replica["node"].as_u64()?, lag(replica)))).collect()
}

fn has_quorum(leader: u64, group: &Value) -> bool {
    let replicas = replicas(group);
    let others = replicas.iter().filter(|replica| replica["node"] != leader);
    let (of, heard) = others
        .fold((1, 1), |(of, heard), replica| (of + 1, heard + usize::from(replica["recent_active"] == true)));
    heard > of / 2
}

impl Overview {
    fn table(&self) -> Table {
        let mut table = Table::new();
        let colour = io::stdout().is_terminal();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "NODE", "HTTP", "PID", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "LAG MS", "HEALTHY",
        ]);
        for node in &self.nodes {
            let healthy = node["healthy"] == true;
            let mut cells: Vec<Cell> =
                ["node", "http", "pid", "role", "term", "commit_index", "applied_index"]
                    .map(|field| Cell::new(text(&node[field])))
                    .into();
            cells.extend(["lag_entries", "lag_ms"].map(|field| Cell::new(text(&node[field]))));
            let verdict = match node["error"].as_str() {
                Some(error) => format!("no: {error}"),
                None if healthy => "yes".to_owned(),
                None => "no".to_owned(),
            };
            let mut verdict = Cell::new(verdict);
            if colour {
                verdict = verdict.fg(if healthy { Color::Green } else { Color::Red });
            }
            cells.push(verdict);
            if colour && node["role"] == "leader" {
                cells[3] = Cell::new("leader").add_attribute(Attribute::Bold);
            }
            table.add_row(cells);
        }
        table
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Repeat, answer::AttemptError};

    fn endpoints(count: u16) -> Vec<Endpoint> {
        (0..count).map(|node| dev_endpoint(DEV_HTTP_PORT + node)).collect()
    }

    fn node(node: u64, role: &str, term: u64, replicas: Value) -> Result<Value, CallError> {
        let group = json!({ "keyspace": "default", "role": role, "term": term, "replicas": replicas });
        let members = json!([{ "node": 2, "http": "127.0.0.1:7402" }]);
        Ok(json!({ "node": node, "role": role, "healthy": true, "groups": [group], "members": members }))
    }

    fn silent() -> Result<Value, CallError> {
        let (endpoint, error) = (dev_endpoint(1), AttemptError::TimedOut);
        Err(CallError { error, endpoint, attempts: 1, maybe_applied: false, repeat: Repeat::Read })
    }

    fn replica(node: u64, lag: u64, recent: bool) -> Value {
        json!({ "node": node, "lag_entries": lag, "lag_ms": 10 * lag, "recent_active": recent })
    }

    #[test]
    fn the_leader_of_the_highest_term_counts() {
        let old = node(0, "leader", 3, json!([replica(1, 9, false), replica(2, 9, false)]));
        let new =
            node(1, "leader", 4, json!([replica(0, 5, false), replica(1, 0, true), replica(2, 1, true)]));
        let overview = overview("default", &endpoints(3), vec![old, new, silent()]);
        assert_eq!((overview.leader, overview.quorum), (Some(1), true));
        assert_eq!(
            (&overview.nodes[0]["lag_entries"], &overview.nodes[0]["lag_ms"]),
            (&json!(5), &json!(50))
        );
        assert_eq!(overview.nodes[2]["lag_ms"], 10, "also of a node that does not answer");
        assert_eq!((&overview.nodes[2]["healthy"], &overview.nodes[2]["node"]), (&json!(false), &json!(2)));
        assert_eq!(overview.nodes[2]["http"], "http://127.0.0.1:7402");
    }

    #[test]
    fn a_leader_that_hears_nobody_has_no_quorum() {
        let alone =
            node(0, "leader", 3, json!([replica(0, 0, true), replica(1, 9, false), replica(2, 9, false)]));
        assert!(!overview("default", &endpoints(3), vec![alone, silent(), silent()]).quorum);
        let single = node(0, "leader", 1, json!([]));
        assert!(overview("default", &endpoints(1), vec![single]).quorum);
        let none = overview("default", &endpoints(1), vec![node(0, "follower", 1, json!([]))]);
        assert_eq!((none.leader, none.quorum), (None, false));
    }

    #[test]
    fn members_may_be_numbers_or_objects() {
        assert_eq!(members(&json!({ "members": [0, 1] })), Some(vec![0, 1]));
        assert_eq!(members(&json!({ "members": [{ "node": 4 }] })), Some(vec![4]));
        assert_eq!(members(&json!({})), None);
    }
}
