//! `quorate keyspace` and `quorate apply`: keyspaces and their contracts.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal},
    path::Path,
};

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};
use types::{Applied, Contract, contract::Changes};

use crate::{
    args::{Alter, Apply, Create, DeleteKeyspace, KeyspaceCommand, Named},
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
        KeyspaceCommand::Delete(args) => delete(&args, json).await,
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

async fn alter(args: &Alter, json: bool) -> Result<(), Failure> {
    let given = args.json();
    // Checked here too: a typing error needs no cluster.
    let changes = serde_json::from_value::<Changes>(given.clone())
        .map_err(|error| Failure::usage(error.to_string()).next("the fields: docs/concepts/contracts.md"))?;
    if changes.is_empty() {
        return Err(
            Failure::usage("no change is given").next("`quorate keyspace alter --help` shows examples")
        );
    }
    let client = args.connection.client()?;
    let body = Bytes::from(given.to_string());
    let found = change(&client, Method::PATCH, &args.name, body, args.if_version).await?;
    if json {
        say!("{found}");
        return Ok(());
    }
    let changes: Vec<&str> =
        found["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if changes.is_empty() {
        say!("nothing to change: contract version {}", found["version"]);
    } else {
        say!("altered keyspace {}, contract version {}: {}", args.name, found["version"], changes.join(", "));
    }
    Ok(())
}

async fn delete(args: &DeleteKeyspace, json: bool) -> Result<(), Failure> {
    if !args.yes {
        confirm(&args.name)?;
    }
    let client = args.connection.client()?;
    let found = change(&client, Method::DELETE, &args.name, Bytes::new(), args.if_version).await?;
    if json {
        say!("{found}");
    } else {
        say!("deleted keyspace {} with all that was in it", args.name);
    }
    Ok(())
}

/// Whoever deletes a keyspace types its name.
fn confirm(name: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let message = format!("deleting keyspace {name:?} takes all that is in it: nothing was changed");
        return Err(Failure::usage(message).next("say --yes to delete it without being asked"));
    }
    eprint!("This deletes keyspace {name} with all that is in it, for good. Type its name to go on: ");
    let mut typed = String::new();
    io::stdin()
        .read_line(&mut typed)
        .map_err(|error| Failure::error(format!("cannot read the name: {error}")))?;
    if typed.trim() == name {
        return Ok(());
    }
    Err(Failure::usage("another name was typed: nothing was changed"))
}

/// A change of a keyspace that exists, in one attempt with all the time that there is.
async fn change(
    client: &Client,
    method: Method,
    name: &str,
    body: Bytes,
    version: Option<u64>,
) -> Result<Value, Failure> {
    let path = format!("/v1/keyspaces/{}", encode(name.as_bytes()));
    let condition = version.map(|version| {
        let tag =
            HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header's value");
        (header::IF_MATCH, tag)
    });
    let headers = condition.into_iter().collect();
    let call = Call { method, path, headers, body, repeat: Repeat::OnceApplied };
    body_of(&client.call(&call).await?)
}

/// What is to be done so that the cluster is as a file says.
#[derive(Debug, Default)]
struct Difference {
    create: Vec<(String, Contract)>,
    /// Name, version of the contract that there is, contract wanted, and what changes.
    alter: Vec<(String, u64, Contract, Vec<String>)>,
    /// Name, and what differs that never changes.
    refused: Vec<(String, Vec<String>)>,
    unchanged: usize,
}

impl Difference {
    fn of(file: &ContractsFile, found: &Value) -> Result<Difference, Failure> {
        let nodes = found["receipt"]["acks"]["of"].as_u64().and_then(|nodes| u32::try_from(nodes).ok());
        let mut existing = BTreeMap::new();
        for keyspace in found["keyspaces"].as_array().into_iter().flatten() {
            let name = keyspace["name"].as_str().unwrap_or_default();
            let version = keyspace["version"].as_u64().unwrap_or_default();
            existing.insert(name, (version, contract_of(&keyspace["contract"])?));
        }
        let mut difference = Difference::default();
        for (name, contract) in &file.keyspaces {
            let wanted = contract.resolved(nodes.unwrap_or(1));
            match existing.get(name.as_str()) {
                None => difference.create.push((name.clone(), wanted)),
                Some((_, existing)) if *existing == wanted => difference.unchanged += 1,
                Some((version, existing)) => {
                    let changes = existing.differences(&wanted);
                    match existing.refuses_change(&wanted) {
                        None => difference.alter.push((name.clone(), *version, wanted, changes)),
                        Some((field, reason)) => {
                            let fixed = format!("{field} stays as it was created: {reason}");
                            difference.refused.push((name.clone(), [changes, vec![fixed]].concat()));
                        }
                    }
                }
            }
        }
        Ok(difference)
    }

    fn json(&self, dry_run: bool) -> Value {
        let create = |(name, contract): &(String, Contract)| json!({ "name": name, "contract": contract });
        let alter = |(name, version, contract, changes): &(String, u64, Contract, Vec<String>)| json!({ "name": name, "version": version, "contract": contract, "changes": changes });
        let refused = |(name, changes): &(String, Vec<String>)| json!({ "name": name, "changes": changes });
        json!({
            "create": self.create.iter().map(create).collect::<Vec<_>>(),
            "alter": self.alter.iter().map(alter).collect::<Vec<_>>(),
            "refused": self.refused.iter().map(refused).collect::<Vec<_>>(),
            "unchanged": self.unchanged,
            "dry_run": dry_run,
        })
    }

    fn print(&self) {
        for (name, contract) in &self.create {
            say!("+ {name}");
            let set = contract.fields().into_iter().filter_map(|(field, value)| Some((field, value?)));
            set.for_each(|(field, value)| say!("    {field} = {value}"));
        }
        for (name, _, _, changes) in &self.alter {
            say!("~ {name}");
            changes.iter().for_each(|change| say!("    {change}"));
        }
        for (name, changes) in &self.refused {
            say!("! {name}");
            changes.iter().for_each(|change| say!("    {change}"));
        }
        let (create, alter, refused) = (self.create.len(), self.alter.len(), self.refused.len());
        say!("{create} to create, {alter} to alter, {refused} refused, {} unchanged", self.unchanged);
    }
}

/// The contracts of a file, by keyspace.
///
/// # Errors
/// If it cannot be read, or makes no sense.
pub fn read_contracts(path: &Path) -> Result<BTreeMap<String, Contract>, Failure> {
    let shown = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| Failure::error(format!("cannot read {shown}: {error}")))?;
    let file: ContractsFile = toml::from_str(&text).map_err(|error| {
        Failure::usage(format!("{shown}: {error}")).next("`quorate apply --help` shows an example")
    })?;
    Ok(file.keyspaces)
}

/// The contracts of a cluster, by keyspace.
///
/// # Errors
/// If no node answers with them.
pub async fn contracts(client: &Client) -> Result<BTreeMap<String, Contract>, Failure> {
    let found = get(client, "").await?;
    let keyspaces = found["keyspaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = keyspaces.iter().map(|keyspace| {
        let name = keyspace["name"].as_str().unwrap_or_default().to_owned();
        Ok((name, contract_of(&keyspace["contract"])?))
    });
    named.collect()
}

/// Runs `quorate apply`.
///
/// # Errors
/// If the file makes no sense, a field differs that never changes, or the cluster refuses.
pub async fn apply(args: &Apply, json: bool) -> Result<(), Failure> {
    let file = ContractsFile { keyspaces: read_contracts(&args.file)? };
    let client = args.connection.client()?;
    let difference = Difference::of(&file, &get(&client, "").await?)?;
    if json {
        say!("{}", difference.json(args.dry_run));
    } else {
        difference.print();
    }
    if !difference.refused.is_empty() {
        return Err(Failure::new(Exit::Conflict, "a field differs that never changes; nothing was applied")
            .next("make the file say what the keyspaces have, or give the new contracts new names"));
    }
    if args.dry_run {
        return Ok(());
    }
    let mut done = 0;
    let failed = |name: &str, done: usize, failure: Failure| {
        let message = format!("keyspace {name}, after {done} changed: {}", failure.message);
        Failure { message, ..failure }
    };
    for (name, contract) in &difference.create {
        put(&client, name, &json!(contract)).await.map_err(|failure| failed(name, done, failure))?;
        done += 1;
        if !json {
            say!("created keyspace {name}");
        }
    }
    for (name, version, contract, _) in &difference.alter {
        let body = Bytes::from(json!(contract).to_string());
        let altered = change(&client, Method::PUT, name, body, Some(*version)).await;
        altered.map_err(|failure| failed(name, done, failure))?;
        done += 1;
        if !json {
            say!("altered keyspace {name}");
        }
    }
    Ok(())
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
