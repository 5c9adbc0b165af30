//! `quorate keyspace` and `quorate apply`: keyspaces and their contracts.

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use types::{Applied, Contract};

use crate::{
    args::{Apply, Create, KeyspaceCommand, Named},
    client::{Answer, AttemptError, Call, Client, Repeat, api::encode},
    failure::{Exit, Failure},
    output::say,
};

/// A contracts file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractsFile {
    keyspaces: BTreeMap<String, Contract>,
}

/// Runs `quorate keyspace`.
///
/// # Errors
/// If the contract makes no sense or the cluster refuses.
pub async fn run(command: KeyspaceCommand, json: bool) -> Result<(), Failure> {
    match command {
        KeyspaceCommand::Create(args) => create(&args, json).await,
        KeyspaceCommand::Show(args) => show(&args, json).await,
        KeyspaceCommand::List(args) => list(&args.connection.client()?, json).await,
        KeyspaceCommand::Alter(args) => alter(&args, json).await,
        KeyspaceCommand::Delete(args) => {
            let message = format!("this version does not remove keyspaces; {:?} was not changed", args.name);
            Err(Failure::error(message).next("remove its keys with `quorate delete`"))
        }
    }
}

async fn create(args: &Create, json: bool) -> Result<(), Failure> {
    // Checked here too: a typing error needs no cluster.
    contract_of(&args.fields.json())?;
    let client = args.connection.client()?;
    let answer = put(&client, &args.name, &args.fields.json()).await?;
    let created = &body_of(&answer)?["created"];
    if json {
        say!("{}", String::from_utf8_lossy(&answer.body));
    } else if created == true {
        say!("created keyspace {}", args.name);
    } else {
        say!("keyspace {} exists already, under an equal contract", args.name);
    }
    Ok(())
}

async fn show(args: &Named, json: bool) -> Result<(), Failure> {
    let found = get(&args.connection.client()?, &format!("/{}", encode(args.name.as_bytes()))).await?;
    if json {
        say!("{found}");
        return Ok(());
    }
    let contract = contract_of(&found["contract"])?;
    say!("keyspace {}, contract version {}, group {}\n", args.name, found["version"], found["group"]);
    for (field, value) in contract.fields() {
        say!("  {field:<18} {}", value.as_deref().unwrap_or("none"));
    }
    let said = &found["explanation"];
    let (survived, slow) = (&said["failures_survived"], &said["failures_survived_with_one_slow"]);
    say!(
        "\nfault budget   {survived} of {} replicas may fail; {slow} while another is slow",
        said["replicas"]
    );
    let lines = [
        ("one failure", "one_failure"),
        ("two failures", "two_failures"),
        ("a partition", "partition"),
        ("a slow node", "slow_node"),
    ];
    for (title, field) in lines {
        say!("{title:<14} {}", said[field].as_str().unwrap_or_default());
    }
    for note in said["notes"].as_array().into_iter().flatten() {
        say!("note           {}", note.as_str().unwrap_or_default());
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let found = get(client, "").await?;
    if json {
        say!("{found}");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["NAME", "REPLICATION", "ON PARTITION", "REPLICAS", "ACK", "READ", "VERSION", "GROUP"]);
    for keyspace in found["keyspaces"].as_array().into_iter().flatten() {
        let contract = contract_of(&keyspace["contract"])?;
        table.add_row([
            keyspace["name"].as_str().unwrap_or_default().to_owned(),
            contract.replication.to_string(),
            contract.on_partition.to_string(),
            contract.replicas.map_or_else(String::new, |replicas| replicas.to_string()),
            contract.ack.to_string(),
            contract.read.to_string(),
            keyspace["version"].to_string(),
            keyspace["group"].to_string(),
        ]);
    }
    say!("{table}");
    Ok(())
}

/// Fields that are given and equal change nothing; any other is refused.
async fn alter(args: &Create, json: bool) -> Result<(), Failure> {
    let given = args.fields.json();
    contract_of(&given)?;
    let found = get(&args.connection.client()?, &format!("/{}", encode(args.name.as_bytes()))).await?;
    let mut wanted = found["contract"].clone();
    for (field, value) in given.as_object().into_iter().flatten() {
        wanted[field] = value.clone();
    }
    let changes = contract_of(&found["contract"])?.differences(&contract_of(&wanted)?);
    if !changes.is_empty() {
        let message = format!("this version alters no contract; not changed: {}", changes.join(", "));
        let step = "create a keyspace under the other contract, and copy the keys";
        return Err(Failure::new(Exit::Conflict, message).next(step));
    }
    if json {
        say!("{}", json!({ "changed": false, "name": args.name }));
    } else {
        say!("nothing to change");
    }
    Ok(())
}

/// Runs `quorate apply`.
///
/// # Errors
/// If the file makes no sense, a keyspace exists under another contract, or the cluster refuses.
pub async fn apply(args: &Apply, json: bool) -> Result<(), Failure> {
    let shown = args.file.display();
    let text = fs::read_to_string(&args.file)
        .map_err(|error| Failure::error(format!("cannot read {shown}: {error}")))?;
    let file: ContractsFile = toml::from_str(&text).map_err(|error| {
        Failure::usage(format!("{shown}: {error}")).next("`quorate apply --help` shows an example")
    })?;
    let client = args.connection.client()?;
    let found = get(&client, "").await?;
    let nodes =
        found["receipt"]["acks"]["of"].as_u64().and_then(|nodes| u32::try_from(nodes).ok()).unwrap_or(1);
    let mut existing = BTreeMap::new();
    for keyspace in found["keyspaces"].as_array().into_iter().flatten() {
        let name = keyspace["name"].as_str().unwrap_or_default().to_owned();
        existing.insert(name, contract_of(&keyspace["contract"])?);
    }
    let (mut missing, mut refused) = (Vec::new(), Vec::new());
    for (name, contract) in &file.keyspaces {
        let wanted = contract.resolved(nodes);
        match existing.get(name).map(|existing| existing.differences(&wanted)) {
            None => missing.push((name, wanted)),
            Some(changes) if changes.is_empty() => {}
            Some(changes) => refused.push((name, changes)),
        }
    }
    let same = file.keyspaces.len() - missing.len() - refused.len();
    if json {
        let create: Vec<Value> =
            missing.iter().map(|(name, contract)| json!({ "name": name, "contract": contract })).collect();
        let alter: Vec<Value> =
            refused.iter().map(|(name, changes)| json!({ "name": name, "changes": changes })).collect();
        say!("{}", json!({ "create": create, "refused": alter, "unchanged": same, "dry_run": args.dry_run }));
    } else {
        print_difference(&missing, &refused, same);
    }
    if !refused.is_empty() {
        return Err(Failure::new(Exit::Conflict, "this version alters no contract; nothing was applied")
            .next("make the file say what the keyspaces have, or give the new contracts new names"));
    }
    if args.dry_run {
        return Ok(());
    }
    for (done, (name, contract)) in missing.iter().enumerate() {
        let wanted = json!(contract);
        put(&client, name, &wanted).await.map_err(|failure| {
            let message = format!("keyspace {name}, after {done} created: {}", failure.message);
            Failure { message, ..failure }
        })?;
        if !json {
            say!("created keyspace {name}");
        }
    }
    Ok(())
}

fn print_difference(missing: &[(&String, Contract)], refused: &[(&String, Vec<String>)], same: usize) {
    for (name, contract) in missing {
        say!("+ {name}");
        for (field, value) in contract.fields().into_iter().filter_map(|(field, value)| Some((field, value?)))
        {
            say!("    {field} = {value}");
        }
    }
    for (name, changes) in refused {
        say!("! {name}");
        changes.iter().for_each(|change| say!("    {change}"));
    }
    say!("{} to create, {} refused, {same} unchanged", missing.len(), refused.len());
}

fn contract_of(json: &Value) -> Result<Contract, Failure> {
    serde_json::from_value(json.clone())
        .map_err(|error| Failure::usage(error.to_string()).next("the fields: docs/concepts/contracts.md"))
}

fn body_of(answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::error("the answer is not one that quorate gives").next("check the address"))
}

async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    let path = format!("/v1/keyspaces{path}");
    let call =
        Call { method: Method::GET, path, headers: Vec::new(), body: Bytes::new(), repeat: Repeat::Read };
    body_of(&client.call(&call).await?)
}

/// One attempt has all the time that there is: a new keyspace elects its leader first.
async fn put(client: &Client, name: &str, contract: &Value) -> Result<Answer, Failure> {
    let path = format!("/v1/keyspaces/{}", encode(name.as_bytes()));
    let body = Bytes::from(contract.to_string());
    let call = Call { method: Method::PUT, path, headers: Vec::new(), body, repeat: Repeat::OnceApplied };
    client.call(&call).await.map_err(|error| {
        let exists = match &error.error {
            AttemptError::Problem(problem) if problem.applied == Applied::Applied => Some(problem.clone()),
            _ => None,
        };
        let mut failure = Failure::from(error);
        if let Some(problem) = exists {
            failure.message = format!("{}: {}", problem.code, problem.detail);
            failure.next_step = Some(problem.next_step);
            failure.applied = Some(Applied::Applied);
        } else if failure.applied == Some(Applied::Unknown) {
            let step = "create it again with the same contract: that is safe, and tells what became of it";
            failure.next_step = Some(step.to_owned());
        }
        failure
    })
}
