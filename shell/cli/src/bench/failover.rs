//! `quorate bench failover`: how long the cluster takes no writes after its leader was killed.
//!
//! Measured from outside: from the signal to the acknowledgement of a write that was begun after it,
//! through the nodes that are left. Only processes that this command started are killed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    time::sleep,
};

use crate::{
    args::{Failover, PEER_PORT_OFFSET, dev_endpoint},
    client::{Client, Condition, Endpoint, Keyspace, Repeat},
    dev::{Event, Layout, Ports, Supervisor, What},
    failure::{Exit, Failure},
    output::say,
    status::{self, Overview},
};

/// First port that is tried when none is named.
const PORT_FIRST: u16 = 17_400;
/// A cluster that takes longer than this to be whole is not going to be.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
/// A write that takes longer than this ends the measurement.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Kills come at any moment between heartbeats: up to this long after the cluster is whole.
const JITTER_MS: u64 = 500;

/// Runs the command.
///
/// # Errors
/// If the cluster cannot be started, or does not recover from a kill.
pub async fn run(args: Failover, json: bool) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let temporary =
        args.data_dir.is_none().then(|| tempfile::Builder::new().prefix("quorate-failover-").tempdir());
    let temporary = temporary.transpose()?;
    let dir = args.data_dir.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned()));
    let layout = Layout::open(&dir.expect("one or the other"), Some(args.nodes))?;
    let ports = match args.http_port {
        Some(base) => Ports::new(base),
        None => free_ports(args.nodes)?,
    };
    let (mut supervisor, events) = Supervisor::start(layout, ports, true).await?;
    let result = tokio::select! {
        result = measure(&args, &supervisor, events, json) => result,
        _ = interrupt.recv() => Err(Failure::error("interrupted")),
    };
    supervisor.stop();
    supervisor.finished().await;
    let times = result?;
    summarize(times, args.nodes, json);
    Ok(())
}

fn free_ports(nodes: u16) -> Result<Ports, Failure> {
    let bases = (PORT_FIRST..u16::MAX - 2 * PEER_PORT_OFFSET).step_by(usize::from(2 * PEER_PORT_OFFSET));
    let free = bases.map(Ports::new).find(|ports| ports.free(nodes).is_ok());
    free.ok_or_else(|| Failure::error("no free ports from 17400 up").next("name one with --http-port"))
}

async fn measure(
    args: &Failover,
    supervisor: &Supervisor,
    mut events: UnboundedReceiver<Event>,
    json: bool,
) -> Result<Vec<Duration>, Failure> {
    let endpoints: Vec<_> =
        (0..args.nodes).map(|node| dev_endpoint(supervisor.ports().http(node).port())).collect();
    let client = Client::new(endpoints.clone(), WRITE_WITHIN);
    let mut times = Vec::new();
    for kill in 1..=args.kills {
        let leader = whole(&client, &endpoints, &mut events).await?;
        sleep(Duration::from_millis(fastrand::u64(..JITTER_MS))).await;
        let survivors =
            (0..args.nodes).filter(|node| *node != leader).map(|node| endpoints[usize::from(node)].clone());
        let survivors = Keyspace::new(Client::new(survivors.collect(), WRITE_WITHIN), "default");
        let pid = supervisor.pid(leader).and_then(|pid| Pid::from_raw(pid as i32));
        let pid = pid.ok_or_else(|| Failure::error(format!("node {leader} has no process")))?;
        let killed = Instant::now();
        kill_process(pid, Signal::KILL).map_err(std::io::Error::from)?;
        let value = Bytes::from(kill.to_string());
        survivors.put(b"quorate-bench/failover", value, Condition::Always, Repeat::Idempotent).await?;
        let took = killed.elapsed();
        times.push(took);
        let ms = took.as_secs_f64() * 1_000.0;
        if json {
            say!("{}", json!({ "event": "failover", "kill": kill, "node": leader, "ms": ms }));
        } else {
            say!("kill {kill:>3}: leader was node {leader}, next acknowledged write after {ms:>7.1} ms");
        }
    }
    Ok(times)
}

/// Waits until all nodes are up and none lags, and returns the leader. A killed node must have been
/// seen to die: its successor, not its last words, is waited for.
async fn whole(
    client: &Client,
    endpoints: &[Endpoint],
    events: &mut UnboundedReceiver<Event>,
) -> Result<u16, Failure> {
    let until = Instant::now() + WHOLE_WITHIN;
    loop {
        while let Ok(event) = events.try_recv() {
            if let (What::GaveUp { .. }, Some(line)) = (&event.what, event.line()) {
                return Err(Failure::error(line));
            }
        }
        let overview = status::overview("default", endpoints, status::ask(client, endpoints).await);
        if let Some(leader) = whole_under(&overview) {
            return Ok(leader);
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                Exit::Unavailable,
                "the cluster did not become whole again within 60 s",
            )
            .next("keep its logs with --data-dir DIR and look at node-*.log"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn whole_under(overview: &Overview) -> Option<u16> {
    let leader = overview.leader.filter(|_| overview.quorum)?;
    let up = overview.nodes.iter().all(|node| {
        let lags = node["lag_entries"].as_u64().unwrap_or(u64::from(node["node"] != json!(leader)));
        node["healthy"] == true && lags == 0
    });
    if up { u16::try_from(leader).ok() } else { None }
}

fn summarize(mut times: Vec<Duration>, nodes: u16, json: bool) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (Some(min), Some(max)) = (times.first().copied(), times.last().copied()) else { return };
    let (median, p90) = (percentile(&times, 50), percentile(&times, 90));
    let kills = times.len();
    if json {
        let summary = json!({
            "event": "failover_summary", "nodes": nodes, "kills": kills,
            "min_ms": ms(min), "median_ms": ms(median), "p90_ms": ms(p90), "max_ms": ms(max),
        });
        say!("{summary}");
        return;
    }
    say!("\ntime from leader kill to the next acknowledged write, {kills} kills, {nodes} nodes:");
    say!(
        "  min {:.0} ms   median {:.0} ms   p90 {:.0} ms   max {:.0} ms",
        ms(min),
        ms(median),
        ms(p90),
        ms(max)
    );
}

/// The middle two are averaged for the median; other percentiles are the nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let count = sorted.len();
    if percent == 50 && count.is_multiple_of(2) {
        return (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
    }
    sorted[(count * percent).div_ceil(100).max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let ms = |times: &[u64]| times.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(percentile(&ms(&[1, 2, 3]), 50), Duration::from_millis(2));
        assert_eq!(percentile(&ms(&[1, 2, 4, 5]), 50), Duration::from_millis(3));
        assert_eq!(percentile(&ms(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 90), Duration::from_millis(9));
        assert_eq!(percentile(&ms(&[7]), 90), Duration::from_millis(7));
    }

    #[test]
    fn whole_means_everyone_is_up_and_caught_up() {
        let node = |node: u64, lag: Option<u64>, healthy: bool| json!({ "node": node, "lag_entries": lag, "healthy": healthy });
        let overview = |nodes: Vec<serde_json::Value>| Overview { nodes, leader: Some(1), quorum: true };
        assert_eq!(whole_under(&overview(vec![node(0, Some(0), true), node(1, None, true)])), Some(1));
        assert_eq!(whole_under(&overview(vec![node(0, Some(3), true), node(1, Some(0), true)])), None);
        assert_eq!(whole_under(&overview(vec![node(0, Some(0), false), node(1, Some(0), true)])), None);
        assert_eq!(whole_under(&overview(vec![node(0, None, true), node(1, Some(0), true)])), None);
    }
}
