//! The command line.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    ops::Range,
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use serde_json::json;

use crate::{
    failure::{Failure, Verdict},
    lab,
    runner::{Extras, Summary, run_seed, run_seeds},
    world::{Options, Until},
};

/// Runs many simulated clusters, each from one seed, and checks every promise.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// Seeds to run: `FROM..TO`, the end not included.
    #[arg(long, value_name = "FROM..TO", value_parser = parse_seeds, default_value = "0..100")]
    seeds: Range<u64>,
    /// Run this seed alone, and say where it fails.
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    replay: Option<u64>,
    /// With --replay: write what happened to this file.
    #[arg(long, value_name = "FILE", requires = "replay")]
    trace: Option<PathBuf>,
    /// With --replay: stop before this event (`12345`) or virtual time (`2.5s`).
    #[arg(long, value_name = "STEP|TIME", value_parser = parse_until, requires = "replay")]
    until: Option<Until>,
    /// Not random worlds, but experiments: hold the planner's predictions against what happens, one case per seed.
    #[arg(long, conflicts_with_all = ["replay", "meta", "json"])]
    plans: bool,
    /// Run every seed twice and compare the traces.
    #[arg(long)]
    meta: bool,
    /// Look for the consequences of broken promises alone: what is checked between nodes is not.
    #[arg(long)]
    outcomes_only: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Run with a deliberate bug.
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "BUG", value_parser = parse_planted)]
    planted: Option<raft_group::Planted>,
    /// Succeed only if a seed breaks a safety property.
    #[cfg(feature = "planted")]
    #[arg(long, requires = "planted")]
    expect_caught: bool,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let seeds = number(from)?..number(to)?;
    if seeds.is_empty() { Err("there are no seeds in this range".into()) } else { Ok(seeds) }
}

fn parse_until(text: &str) -> Result<Until, String> {
    match text.strip_suffix('s') {
        Some(seconds) => {
            let seconds: f64 = seconds.parse().map_err(|_| format!("{text:?} is no time"))?;
            Ok(Until::TimeUs((seconds * 1e6) as u64))
        }
        None => text.parse().map(Until::Step).map_err(|_| format!("{text:?} is no step")),
    }
}

#[cfg(feature = "planted")]
fn parse_planted(text: &str) -> Result<raft_group::Planted, String> {
    match text {
        "ack-before-fsync" => Ok(raft_group::Planted::AckBeforeFsync),
        "vote-not-persisted" => Ok(raft_group::Planted::VoteNotPersisted),
        "txn-ignores-compares" => Ok(raft_group::Planted::TxnIgnoresCompares),
        "group-by-count" => Ok(raft_group::Planted::GroupByCount),
        "all-means-quorum" => Ok(raft_group::Planted::AllMeansQuorum),
        "quota-forgotten" => Ok(raft_group::Planted::QuotaForgotten),
        "session-ignored" => Ok(raft_group::Planted::SessionIgnored),
        "fresh-by-hearsay" => Ok(raft_group::Planted::FreshByHearsay),
        "staleness-hidden" => Ok(raft_group::Planted::StalenessHidden),
        "keys-forgotten-by-next-leader" => Ok(raft_group::Planted::KeysForgottenByNextLeader),
        _ => Err("there are ack-before-fsync, vote-not-persisted, txn-ignores-compares, group-by-count and \
                  keys-forgotten-by-next-leader"
            .into()),
    }
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        keep_trace: arguments.trace.is_some(),
        until: arguments.until,
        outcomes_only: arguments.outcomes_only,
        #[cfg(feature = "planted")]
        planted: arguments.planted,
    };
    let ended = match arguments.replay {
        _ if arguments.plans => Ok(plans(&arguments.seeds, &options)),
        Some(seed) => replay(seed, &options, arguments.trace.as_deref()),
        None => many(&arguments, &options),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("sim: {error}");
        ExitCode::FAILURE
    })
}

/// Confirms predictions.
fn plans(seeds: &Range<u64>, options: &Options) -> ExitCode {
    let (mut counts, mut failed) = (lab::Confirmed::new(), 0);
    for seed in seeds.clone() {
        match lab::confirm(&lab::any(seed), options) {
            Ok(confirmed) => {
                confirmed.into_iter().for_each(|(kind, more)| *counts.entry(kind).or_default() += more)
            }
            Err(reason) => {
                failed += 1;
                println!("seed {seed} FAILED: {reason}");
            }
        }
    }
    for (kind, count) in &counts {
        println!("  {count:>10} {kind}");
    }
    println!("{} experiments as predicted, {failed} not", seeds.end - seeds.start - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, options: &Options, trace: Option<&std::path::Path>) -> io::Result<ExitCode> {
    let outcome = run_seed(seed, options);
    if let (Some(path), Some(text)) = (trace, &outcome.trace) {
        fs::write(path, text)?;
        println!("trace: {} lines in {}", text.lines().count(), path.display());
    }
    println!("trace hash: {:032x}", outcome.trace_hash);
    print_counts(&outcome.counts);
    Ok(match outcome.verdict {
        Verdict::Passed => {
            println!("seed {seed} passed");
            ExitCode::SUCCESS
        }
        Verdict::Stopped => {
            println!("seed {seed} stopped where it was told to");
            ExitCode::SUCCESS
        }
        Verdict::Unknown(reason) => {
            println!("seed {seed} is undecided: {reason}");
            ExitCode::FAILURE
        }
        Verdict::Failed(failure) => {
            print_failure(seed, &failure);
            ExitCode::FAILURE
        }
    })
}

fn many(arguments: &Arguments, options: &Options) -> io::Result<ExitCode> {
    let total = arguments.seeds.end - arguments.seeds.start;
    let terminal = io::stderr().is_terminal();
    let progress = |done: u64| {
        if terminal {
            // A progress line that cannot be written is not missed.
            let _ = write!(io::stderr(), "\r{done} of {total} seeds");
        }
    };
    let extras = Extras { twice: arguments.meta, stop_at_violation: expects_caught(arguments) };
    let summary = run_seeds(arguments.seeds.clone(), options, extras, &progress);
    if terminal {
        eprintln!();
    }
    if arguments.json {
        println!("{}", to_json(&summary));
    } else {
        print_summary(&summary);
    }
    if expects_caught(arguments) {
        return Ok(report_caught(&summary));
    }
    if !arguments.json {
        println!("{} passed, {} failed", summary.passed, summary.seeds() - summary.passed);
    }
    Ok(if summary.clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(feature = "planted")]
fn expects_caught(arguments: &Arguments) -> bool {
    arguments.expect_caught
}

#[cfg(not(feature = "planted"))]
fn expects_caught(_arguments: &Arguments) -> bool {
    false
}

/// Only a violated safety property counts: a bug that merely stops nodes was not caught.
fn report_caught(summary: &Summary) -> ExitCode {
    let violations = summary.failed.iter().filter(|(_, failure)| failure.promise == crate::Promise::Safety);
    let mut violations = violations.peekable();
    match violations.peek() {
        Some((seed, failure)) => {
            println!("caught by {} in seed {seed}, after {} seeds", failure.invariant, summary.seeds());
            ExitCode::SUCCESS
        }
        None => {
            println!("NOT caught in {} seeds", summary.seeds());
            ExitCode::FAILURE
        }
    }
}

fn print_failure(seed: u64, failure: &Failure) {
    println!("seed {seed} FAILED: {} ({:?})", failure.invariant, failure.promise);
    println!(
        "  at {}.{:06} s, step {}",
        failure.time_us / 1_000_000,
        failure.time_us % 1_000_000,
        failure.step
    );
    for line in failure.message.lines() {
        println!("  {line}");
    }
    println!("  replay: cargo run --profile sim -p sim -- --replay {seed} --trace /tmp/trace-{seed}.txt");
}

fn print_counts(counts: &crate::Counts) {
    println!(
        "{} events, {} s simulated, {} frames, {} operations, {} ok",
        counts.events,
        counts.simulated_us / 1_000_000,
        counts.frames,
        counts.operations,
        counts.operations_ok
    );
    let width = counts.named.keys().map(|name| name.len()).max().unwrap_or(0);
    for (name, times) in &counts.named {
        println!("  {name:width$} {times:>10}");
    }
}

fn print_summary(summary: &Summary) {
    for (seed, failure) in &summary.failed {
        print_failure(*seed, failure);
    }
    for (seed, reason) in &summary.unknown {
        println!("seed {seed} is UNDECIDED: {reason}");
    }
    print_counts(&summary.counts);
    let seconds = summary.elapsed.as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s, {:.1} per second; {} passed, {} failed, {} undecided",
        summary.seeds(),
        summary.seeds() as f64 / seconds,
        summary.passed,
        summary.failed.len(),
        summary.unknown.len()
    );
}

fn to_json(summary: &Summary) -> serde_json::Value {
    let failed = summary.failed.iter().map(|(seed, failure)| json!({ "seed": seed, "failure": failure }));
    let unknown = summary.unknown.iter().map(|(seed, reason)| json!({ "seed": seed, "reason": reason }));
    json!({
        "seeds": summary.seeds(),
        "passed": summary.passed,
        "failed": failed.collect::<Vec<_>>(),
        "unknown": unknown.collect::<Vec<_>>(),
        "counts": summary.counts,
        "elapsed_seconds": summary.elapsed.as_secs_f64(),
    })
}
