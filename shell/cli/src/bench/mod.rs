//! `quorate bench`: what durable writes and strong reads cost on this cluster.

pub mod failover;
mod load;
mod report;

use std::time::Duration;

use bytes::Bytes;
use load::{Load, Operation, Run};
use report::Report;
use serde_json::json;
use types::limits::RANGE_ITEMS_MAX;

use crate::{
    args::{Bench, Target},
    client::{Client, Endpoint, Keyspace, api::PageRequest},
    failure::Failure,
    output::say,
    status,
};

/// Share of the measured throughput at which latency is measured.
const RATE_SHARE: f64 = 0.7;

/// Runs the command.
///
/// # Errors
/// If the cluster does not answer, or nothing but errors was measured.
pub async fn run(args: Bench, json: bool) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let (targets, talk_to) = targets(&args, &client).await?;
    let run = format!("{:08x}", fastrand::u32(..));
    let prefix = format!("quorate-bench/{run}/");
    if !json {
        say!("writes: {} bytes, durable on a majority; reads: strong; keys below {prefix}", args.value_bytes);
        say!("clients talk to {talk_to}");
    }
    let value: Bytes = (0..args.value_bytes).map(|_| fastrand::u8(..)).collect();
    let keyspaces = targets
        .iter()
        .map(|endpoint| Keyspace::new(client.only(endpoint.clone()), &args.connection.keyspace));
    let load = Load::new(keyspaces.collect(), &prefix, args.keys, value);
    let result = measure(&args, &load, json).await;
    let keyspace = args.connection.keyspace()?;
    if args.keep {
        if !json {
            say!("keys kept below {prefix}");
        }
    } else {
        clean_up(&keyspace, &prefix).await?;
    }
    let reports = result?;
    if json {
        let results: Vec<_> = reports.iter().map(Report::json).collect();
        say!(
            "{}",
            json!({ "event": "bench", "value_bytes": args.value_bytes, "target": talk_to, "results": results })
        );
    }
    Ok(())
}

async fn measure(args: &Bench, load: &Load, json: bool) -> Result<Vec<Report>, Failure> {
    let seconds = Duration::from_secs(args.seconds);
    load.fill().await?;
    if !json {
        say!("\n{}", Report::header());
    }
    let mut reports = Vec::new();
    for &clients in &args.clients {
        for operation in [Operation::Write, Operation::Read] {
            let closed = load.run(Run { operation, clients, seconds, rate: None }).await;
            if closed.done() == 0 {
                let reason =
                    closed.first_error.map_or_else(|| "nothing was answered".to_owned(), |e| e.to_string());
                return Err(Failure::error(format!("the benchmark got no answers: {reason}"))
                    .next("see `quorate status`"));
            }
            let rate = args.rate.map_or(closed.per_second() * RATE_SHARE, f64::from).max(1.0);
            let open = load.run(Run { operation, clients, seconds, rate: Some(rate) }).await;
            let report = Report { operation, clients, rate, closed, open };
            if !json {
                say!("{}", report.line());
            }
            reports.push(report);
        }
    }
    if !json {
        say!(
            "\nthroughput: closed loop. Latency in ms at the fixed rate, from the intended start of each request."
        );
        say!("A run that cannot keep its rate shows it as `kept` below 100%.");
    }
    Ok(reports)
}

async fn targets(args: &Bench, client: &Client) -> Result<(Vec<Endpoint>, String), Failure> {
    let endpoints = client.endpoints().to_vec();
    let answers = status::ask(client, &endpoints).await;
    let up: Vec<_> = endpoints
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.is_ok())
        .map(|(endpoint, _)| endpoint.clone())
        .collect();
    if let (true, Some(Err(error))) = (up.is_empty(), answers.first()) {
        return Err(error.clone().into());
    }
    if args.target == Target::Spread {
        let count = up.len();
        return Ok((up, format!("{count} endpoints in turn")));
    }
    let overview = status::overview(&args.connection.keyspace, &endpoints, answers);
    let leads = overview
        .nodes
        .iter()
        .position(|node| overview.leader.is_some() && node["node"] == json!(overview.leader));
    match leads {
        Some(at) => Ok((vec![endpoints[at].clone()], format!("the leader, {}", endpoints[at]))),
        None => Err(Failure::new(crate::failure::Exit::Unavailable, "no endpoint leads")
            .next("wait for a leader (`quorate status`), or use --target spread")),
    }
}

async fn clean_up(keyspace: &Keyspace, prefix: &str) -> Result<(), Failure> {
    loop {
        let request =
            PageRequest { prefix: prefix.as_bytes(), limit: RANGE_ITEMS_MAX, cursor: None, values: false };
        let page = keyspace.page(request).await?;
        if page.items.is_empty() {
            return Ok(());
        }
        load::each(page.items.into_iter().map(|item| item.key), |key| {
            let keyspace = keyspace.clone();
            async move { keyspace.remove(&key).await }
        })
        .await?;
    }
}
