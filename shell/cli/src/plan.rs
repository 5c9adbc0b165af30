//! `quorate plan`: the planner of the core, asked about a running cluster or one that is only thought of.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use types::{
    Contract, NodeId, Timing,
    plan::{Answer, Case, FaultError, Faults, Outcome, Plan},
};

use crate::{
    args,
    failure::{Exit, Failure},
    keyspaces,
    output::say,
    status,
};

/// What is planned for.
#[derive(Debug, Default)]
struct Cluster {
    nodes: BTreeSet<NodeId>,
    contracts: BTreeMap<String, Contract>,
    /// Who leads each keyspace; not in here if no one node is known to.
    leaders: BTreeMap<String, NodeId>,
    timing: Timing,
    /// Nodes whose leaders hear nothing of them.
    silent: BTreeSet<NodeId>,
}

/// Runs the command.
///
/// # Errors
/// If the faults make no sense, or no cluster answers and none is described.
pub async fn run(args: args::Plan, json: bool) -> Result<(), Failure> {
    let mut faults = faults(&args).map_err(wrong)?;
    let mut cluster = cluster(&args).await?;
    if let Some(name) = &args.only {
        cluster.contracts.retain(|known, _| known == name);
        if cluster.contracts.is_empty() {
            return Err(Failure::new(Exit::NotFound, format!("there is no keyspace {name:?}"))
                .next("quorate keyspace list has them all"));
        }
    }
    if let Some(leader) = args.leader.map(NodeId) {
        if !cluster.nodes.contains(&leader) {
            return Err(
                Failure::usage(format!("there is no node {leader} to lead")).next("see quorate status")
            );
        }
        cluster.leaders = cluster.contracts.keys().map(|name| (name.clone(), leader)).collect();
    }
    let silent = cluster.silent.iter().copied().filter(|node| !faults.is_down(*node));
    faults.lost.extend(silent.collect::<Vec<_>>());
    faults.slow.retain(|node, _| !cluster.silent.contains(node));
    let mut plans = Vec::new();
    for (name, contract) in &cluster.contracts {
        plans.push((name.as_str(), plan(&cluster, name, contract, &faults)?));
    }
    if json {
        let shown = plans.iter().map(|(name, plan)| json!({ "keyspace": name, "plan": plan }));
        let shown = shown.collect::<Vec<_>>();
        say!("{}", json!({ "nodes": cluster.nodes, "faults": faults, "keyspaces": shown }));
        return Ok(());
    }
    say!("{}", heading(&cluster, &faults));
    for (name, plan) in &plans {
        let contract = &cluster.contracts[*name];
        let led =
            cluster.leaders.get(*name).map_or_else(String::new, |leader| format!("; node {leader} leads"));
        say!(
            "\nkeyspace {name}: ack = {}, read = {}; {} of {} replicas are a majority{led}",
            contract.ack,
            contract.read,
            plan.majority,
            plan.replicas
        );
        plan.says.iter().for_each(|sentence| say!("  {sentence}"));
        say!("\n{}\n", table(plan));
        for loss in &plan.losses {
            let answer = if loss.possible { "yes" } else { "no" };
            say!("  lost, ack = {:<7} {answer:<4}{}", format!("{}:", loss.ack), loss.what);
        }
    }
    Ok(())
}

fn faults(args: &args::Plan) -> Result<Faults, FaultError> {
    let mut faults = Faults::default();
    args.lose.iter().try_for_each(|text| faults.lose(text))?;
    args.destroy.iter().try_for_each(|text| faults.destroy(text))?;
    args.cut.iter().try_for_each(|text| faults.split(text))?;
    args.slow.iter().try_for_each(|text| faults.slow_down(text))?;
    Ok(faults)
}

async fn cluster(args: &args::Plan) -> Result<Cluster, Failure> {
    let mut cluster = match args.nodes {
        Some(nodes) => Cluster {
            nodes: (0..nodes).map(NodeId).collect(),
            contracts: [("default".to_owned(), Contract::default())].into(),
            ..Cluster::default()
        },
        None => running(&args.connection, args.contracts.is_none()).await?,
    };
    if let Some(path) = &args.contracts {
        cluster.contracts = keyspaces::read_contracts(path)?;
    }
    Ok(cluster)
}

/// What the nodes of a cluster say.
async fn running(connection: &args::Connection, contracts: bool) -> Result<Cluster, Failure> {
    let or_describe = "start it, name it with --endpoints, or describe one with --nodes";
    let (_, answers) = status::ask_all(connection).await?;
    let statuses: Vec<Value> = answers.into_iter().flatten().collect();
    let Some(any) = statuses.first() else {
        return Err(Failure::new(Exit::Unavailable, "no endpoint answers").next(or_describe));
    };
    let members = any["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let nodes = members.iter().filter_map(|member| member["node"].as_u64()).map(NodeId).collect();
    let timing = serde_json::from_value(any["timing"].clone()).unwrap_or_default();
    let contracts = match contracts {
        true => keyspaces::contracts(&connection.client()?).await.map_err(|failure| Failure {
            next_step: Some(format!("{or_describe}, and --contracts FILE")),
            ..failure
        })?,
        false => BTreeMap::new(),
    };
    let led = led_groups(&statuses);
    let leaders = led.values().fold(BTreeMap::<String, BTreeSet<NodeId>>::new(), |mut leaders, group| {
        leaders.entry(group.keyspace.clone()).or_default().insert(group.leader);
        leaders
    });
    // Shards may be led by different nodes: then none counts as known.
    let one = |(name, leaders): (String, BTreeSet<NodeId>)| match leaders.len() {
        1 => leaders.first().map(|leader| (name, *leader)),
        _ => None,
    };
    let silent = led.values().flat_map(|group| group.silent.iter().copied()).collect();
    Ok(Cluster { nodes, contracts, leaders: leaders.into_iter().filter_map(one).collect(), timing, silent })
}

/// A group, by the word of its leader.
#[derive(Debug)]
struct Led {
    keyspace: String,
    term: u64,
    leader: NodeId,
    silent: Vec<NodeId>,
}

/// Every group of which a leader answers: that of the highest term.
fn led_groups(statuses: &[Value]) -> BTreeMap<u64, Led> {
    let mut led: BTreeMap<u64, Led> = BTreeMap::new();
    for status in statuses {
        let Some(leader) = status["node"].as_u64().map(NodeId) else { continue };
        for group in status["groups"].as_array().into_iter().flatten() {
            let (Some(id), Some(term)) = (group["group"].as_u64(), group["term"].as_u64()) else { continue };
            if group["role"] != "leader" || led.get(&id).is_some_and(|known| known.term > term) {
                continue;
            }
            let replicas = group["replicas"].as_array().into_iter().flatten();
            let silent = replicas.filter(|replica| replica["recent_active"] == false);
            let silent = silent.filter_map(|replica| replica["node"].as_u64()).map(NodeId);
            let silent = silent.filter(|node| *node != leader).collect();
            let keyspace = group["keyspace"].as_str().unwrap_or_default().to_owned();
            led.insert(id, Led { keyspace, term, leader, silent });
        }
    }
    led
}

fn plan(cluster: &Cluster, name: &str, contract: &Contract, faults: &Faults) -> Result<Plan, Failure> {
    let count = cluster.nodes.len() as u32;
    contract.check(count).map_err(|refusal| {
        Failure::usage(format!("keyspace {name}: {}", refusal.reason))
            .next(format!("nearest that would hold: {}", refusal.changes.join(", ")))
    })?;
    if let Some(unsupported) = contract.unsupported(count) {
        return Err(Failure::usage(format!("keyspace {name}: {unsupported}"))
            .next("plan for a contract that is kept"));
    }
    let case = Case {
        replicas: &cluster.nodes,
        contract: contract.resolved(count),
        leader: cluster.leaders.get(name).copied(),
        timing: cluster.timing,
        faults,
    };
    case.plan().map_err(wrong)
}

fn wrong(error: FaultError) -> Failure {
    Failure::usage(error.message).next(error.next_step)
}

fn heading(cluster: &Cluster, faults: &Faults) -> String {
    let list = |nodes: &BTreeSet<NodeId>| {
        let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let mut said = vec![format!("nodes {}", list(&cluster.nodes))];
    let lost: BTreeSet<NodeId> = faults.lost.difference(&cluster.silent).copied().collect();
    let slow = faults.slow.iter().map(|(node, ms)| format!("{node} by {ms} ms")).collect::<Vec<_>>();
    let cut = faults.cut.iter().map(|(one, other)| format!("{one}-{other}")).collect::<Vec<_>>();
    let all = [
        ("lost", list(&lost)),
        ("lost already, its leader hears nothing of it:", list(&cluster.silent)),
        ("destroyed", list(&faults.destroyed)),
        ("no link", cut.join(", ")),
        ("slow", slow.join(", ")),
    ];
    let named = all.into_iter().filter(|(_, nodes)| !nodes.is_empty());
    said.extend(named.map(|(what, nodes)| format!("{what} {nodes}")));
    if said.len() == 1 {
        said.push("nothing fails".into());
    }
    said.join("; ")
}

/// A row per operation; nodes that answer everything alike share a column.
fn table(plan: &Plan) -> Table {
    let mut columns: Vec<(Vec<NodeId>, &[Answer])> = Vec::new();
    for node in &plan.nodes {
        match columns.iter_mut().find(|(_, answers)| *answers == node.answers.as_slice()) {
            Some((nodes, _)) => nodes.push(node.node),
            None => columns.push((vec![node.node], &node.answers)),
        }
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let named = columns.iter().map(|(nodes, _)| {
        let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        format!("NODE{} {}", if names.len() == 1 { "" } else { "S" }, names.join(", "))
    });
    table.set_header([String::from("OPERATION")].into_iter().chain(named));
    let rows = plan.nodes.first().map(|node| node.answers.len()).unwrap_or(0);
    for row in 0..rows {
        let first = &columns[0].1[row];
        let mark = if first.by_contract { " *" } else { "" };
        let answers = columns.iter().map(|(_, answers)| shown(&answers[row].outcome));
        table.add_row([format!("{}{mark}", first.asked)].into_iter().chain(answers));
    }
    table
}

fn shown(outcome: &Outcome) -> String {
    outcome.to_string()
}
