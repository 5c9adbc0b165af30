//! `quorate chaos`: scenarios against real processes, of this or another system.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use ::chaos::{ChaosError, Fault, Outcome, Target, Wish, Word, built_in};
use scenario::Scenario;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    args::{ChaosCommand, ChaosRun},
    failure::Failure,
    output::say,
};

const INVALID: u8 = 1;
const UNDECIDED: u8 = 3;

/// Runs the command. Its exit codes are its own: 0 valid, 1 invalid, 2 not run, 3 not decided.
pub async fn run(command: ChaosCommand, json: bool) -> ExitCode {
    let done = match command {
        ChaosCommand::List => list(json),
        ChaosCommand::Run(args) => run_scenario(&args, json).await,
    };
    done.unwrap_or_else(|failure| failure.report(json))
}

fn list(json: bool) -> Result<ExitCode, Failure> {
    let scenarios = built_in().map_err(|problem| Failure::usage(problem.to_string()))?;
    if json {
        let scenarios: Vec<Value> = scenarios
            .iter()
            .map(|scenario| json!({"name": scenario.name, "about": scenario.about, "faults": scenario.faults.kinds}))
            .collect();
        let faults = Fault::ALL.map(|fault| json!({"name": fault.name(), "about": fault.about()}));
        say!("{}", json!({"scenarios": scenarios, "faults": faults}));
        return Ok(ExitCode::SUCCESS);
    }
    say!("Scenarios, for `quorate chaos run NAME`:");
    for scenario in scenarios {
        say!("  {:<18} {}", scenario.name, scenario.about);
    }
    say!("\nFaults, for `[faults] kinds` of a scenario of your own:");
    for fault in Fault::ALL {
        say!("  {:<18} {}", fault.name(), fault.about());
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_scenario(args: &ChaosRun, json: bool) -> Result<ExitCode, Failure> {
    // Before anything starts: a signal from here on is answered by ending in order.
    let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let scenario = scenario_of(&args.scenario)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let target = target(args)?;
    if let Some(report) = &args.report {
        // Better known before minutes of work than after them.
        fs::write(report, "")
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", report.display())))?;
    }
    let wish = Wish {
        again: again(args, seed),
        nodes: args.nodes.map(usize::from),
        chaos: args.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        seed,
        history: args.history.clone(),
        budget: args.budget,
        target,
        scenario,
    };
    if !json {
        say!("chaos: {}, seed {seed}", wish.scenario.name);
        say!("  {}", wish.scenario.about);
    }
    let (told, mut tells) = mpsc::unbounded_channel::<String>();
    let (stop, stops) = watch::channel(0);
    let stopper = tokio::spawn(count_stops(interrupt, terminate, stop));
    let teller = tokio::spawn(async move {
        while let Some(line) = tells.recv().await {
            if !json {
                say!("{line}");
            }
        }
        Ok::<(), Failure>(())
    });
    let outcome = ::chaos::run(wish, told, stops).await;
    stopper.abort();
    teller.await.map_err(|error| Failure::error(error.to_string()))??;
    let outcome = outcome.map_err(|error| {
        let next = match &error {
            ChaosError::Usage { .. } => "see `quorate chaos list` and `quorate chaos run --help`",
            ChaosError::File { .. } => "check its owner and permissions, and the space there",
            ChaosError::Start { .. } => "nothing was judged; see the message, and try again",
            ChaosError::Interrupted => "run it again",
        };
        Failure::usage(error.to_string()).next(next)
    })?;
    if let Some(report) = &args.report {
        fs::write(report, ::chaos::html(&outcome))
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", report.display())))?;
    }
    if json {
        say!("{}", as_json(&outcome, args.report.as_deref()));
    } else {
        in_words(&outcome, args.report.as_deref())?;
    }
    Ok(match outcome.word {
        Word::Valid => ExitCode::SUCCESS,
        Word::Invalid => ExitCode::from(INVALID),
        Word::Unknown => ExitCode::from(UNDECIDED),
    })
}

async fn count_stops(mut interrupt: Signal, mut terminate: Signal, stop: watch::Sender<u32>) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_modify(|times| *times += 1);
    }
}

fn scenario_of(name: &str) -> Result<Scenario, Failure> {
    let problem = |problem: scenario::Problem| {
        Failure::usage(problem.to_string()).next("see docs/internals/simulation.md for the format")
    };
    let all = built_in().map_err(problem)?;
    if let Some(scenario) = all.iter().find(|scenario| scenario.name == name) {
        return Ok(scenario.clone());
    }
    if !Path::new(name).exists() {
        let names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        let message = format!("{name} is neither a file nor a built-in scenario");
        return Err(Failure::usage(message).next(format!("built in are {}", names.join(", "))));
    }
    scenario::load(Path::new(name)).map_err(problem)
}

fn target(args: &ChaosRun) -> Result<Target, Failure> {
    if !args.etcd.is_empty() {
        return Ok(Target::Etcd { endpoints: args.etcd.clone(), pids: args.etcd_pids.clone() });
    }
    if let Some(binary) = &args.start_etcd {
        return Ok(Target::StartEtcd { binary: binary.clone() });
    }
    let binary = match &args.server {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?,
    };
    Ok(Target::Quorate { binary })
}

/// The command that does the same again.
fn again(args: &ChaosRun, seed: u64) -> String {
    let mut words = vec!["quorate chaos run".to_owned(), args.scenario.clone()];
    if let Some(nodes) = args.nodes {
        words.push(format!("--nodes {nodes}"));
    }
    if let Some(minutes) = args.minutes {
        words.push(format!("--minutes {minutes}"));
    }
    words.push(format!("--seed {seed}"));
    if let Some(binary) = &args.start_etcd {
        words.push(format!("--start-etcd {}", binary.display()));
    }
    if !args.etcd.is_empty() {
        let endpoints: Vec<String> = args.etcd.iter().map(|address| format!("http://{address}")).collect();
        words.push(format!("--etcd {}", endpoints.join(",")));
    }
    words.join(" ")
}

fn in_words(outcome: &Outcome, report: Option<&Path>) -> Result<(), Failure> {
    say!("");
    for skipped in &outcome.skipped {
        match skipped.instead {
            Some(fault) => say!("as {fault}: {}: {}", skipped.what, skipped.why),
            None => say!("skipped: {}: {}", skipped.what, skipped.why),
        }
    }
    for verdict in &outcome.verdicts {
        let of = if verdict.of.is_empty() { String::new() } else { format!(" ({})", verdict.of) };
        match verdict.word {
            Word::Valid => say!("{}{of}: valid", verdict.judge),
            Word::Invalid => say!("{}{of}: INVALID\n{}", verdict.judge, verdict.words),
            Word::Unknown => say!("{}{of}: UNKNOWN, which is no pass: {}", verdict.judge, verdict.words),
        }
    }
    let operations: u64 = outcome.counts.values().map(|counts| counts.invoked).sum();
    say!(
        "{}: {operations} operations, {} faults, {} nodes, {:.0} s, seed {}",
        outcome.word,
        outcome.happened.len(),
        outcome.nodes,
        outcome.ended_ms as f64 / 1000.0,
        outcome.seed
    );
    if let Some(kept) = &outcome.kept {
        say!("kept in {}", kept.display());
    }
    if let Some(report) = report {
        say!("report in {}", report.display());
    }
    if outcome.word != Word::Valid {
        say!("again: {}", outcome.again);
    }
    Ok(())
}

fn as_json(outcome: &Outcome, report: Option<&Path>) -> Value {
    let verdicts: Vec<Value> = outcome
        .verdicts
        .iter()
        .map(|verdict| {
            json!({"judge": verdict.judge, "of": verdict.of, "verdict": verdict.word.text(), "words": verdict.words})
        })
        .collect();
    let faults: Vec<Value> = outcome
        .happened
        .iter()
        .map(|fault| {
            json!({
                "fault": fault.fault.name(),
                "began_ms": fault.began_ms,
                "ended_ms": fault.ended_ms,
                "words": fault.words,
            })
        })
        .collect();
    let skipped: Vec<Value> = outcome
        .skipped
        .iter()
        .map(|skipped| {
            json!({"what": skipped.what, "why": skipped.why, "instead": skipped.instead.map(Fault::name)})
        })
        .collect();
    let operations: u64 = outcome.counts.values().map(|counts| counts.invoked).sum();
    json!({
        "verdict": outcome.word.text(),
        "scenario": outcome.scenario,
        "system": outcome.system,
        "nodes": outcome.nodes,
        "seed": outcome.seed,
        "operations": operations,
        "verdicts": verdicts,
        "faults": faults,
        "skipped": skipped,
        "kept": outcome.kept,
        "report": report,
        "again": outcome.again,
    })
}
