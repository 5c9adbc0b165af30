//! The command line.

use std::{
    fs,
    io::{self, IsTerminal},
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use scenario::Kind;

use crate::{
    constrain::{Constraints, Cut},
    failure::{Failure, Verdict},
    injection::Numbers,
    invariants::{FAMILIES, LeftOut},
    lab,
    runner::{Extras, Summary, run_seed, run_seeds},
    shrink::shrink,
    world::{Options, Until},
};

mod parse;
mod report;

/// So many failing seeds are shrunk; the others are told as they are.
const SHRUNK_MAX: usize = 3;

/// Runs many simulated clusters, each from one seed, and checks every promise.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// Seeds to run: `FROM..TO`, the end not included.
    #[arg(long, value_name = "FROM..TO", value_parser = parse::seeds, default_value = "0..100")]
    seeds: Range<u64>,
    /// Run this seed alone, and say where it fails.
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    replay: Option<u64>,
    /// Only worlds that this scenario allows.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Worlds of all scenarios of a folder, one after the other in order of their names, seed by seed.
    #[arg(long, value_name = "FOLDER", conflicts_with = "scenario")]
    scenarios: Option<PathBuf>,
    /// Print the scenarios of --scenarios, or of this source tree, and what each shows.
    #[arg(long)]
    list: bool,
    /// Print every invariant by name, in families.
    #[arg(long)]
    list_checkers: bool,
    /// Do not judge this: an invariant, or a family of them as `family:sessions`. May be given again.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// With --replay: write what happened, every message among it, to this file.
    #[arg(long, value_name = "FILE", requires = "replay")]
    trace: Option<PathBuf>,
    /// With --replay: stop before the event of this number (`12345`) or virtual time (`2.5s`), or after the first line of
    /// the trace that has this text in it.
    #[arg(long, value_name = "STEP|TIME|TEXT", value_parser = parse::until, requires = "replay")]
    until: Option<Until>,
    /// Leave out the faults of these numbers, as `3,7-20,31-`.
    #[arg(long, value_name = "NUMBERS")]
    skip_faults: Option<Numbers>,
    /// At most so many ordinary clients.
    #[arg(long, value_name = "COUNT")]
    clients: Option<u64>,
    /// Clients do none of these: registers, transactions, sessions, locks, counters, watches, keyspaces, early_acks.
    #[arg(long, value_name = "KINDS", value_parser = parse::kind, value_delimiter = ',')]
    idle: Vec<Kind>,
    /// Faults happen for so many milliseconds of virtual time at most.
    #[arg(long, value_name = "MS")]
    chaos_ms: Option<u64>,
    /// Tell failing seeds as they are, without looking for smaller runs that fail alike.
    #[arg(long)]
    no_shrink: bool,
    /// Fail also if a mark in the core's code was never passed.
    #[arg(long)]
    require_marks: bool,
    /// Not random worlds, but experiments: hold the planner's predictions against what happens, one case per seed.
    #[arg(long, conflicts_with_all = ["replay", "meta", "json"])]
    plans: bool,
    /// Run every seed twice and compare the traces.
    #[arg(long)]
    meta: bool,
    /// Look for the consequences of broken promises alone: what is checked between nodes is not.
    #[arg(long)]
    outcomes_only: bool,
    /// Let members that forgot what they had acknowledged start at once, as nobody may: something is lost then.
    #[arg(long)]
    forgetful_return_at_once: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Run with a deliberate bug.
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "BUG", value_parser = parse::planted)]
    planted: Option<raft_group::Planted>,
    /// Succeed only if a seed breaks a safety property.
    #[cfg(feature = "planted")]
    #[arg(long, requires = "planted")]
    expect_caught: bool,
}

impl Arguments {
    fn options(&self) -> Result<Options, String> {
        let scenarios = match (&self.scenario, &self.scenarios) {
            (Some(file), _) => vec![Constraints::load(file)?],
            (None, Some(folder)) => Constraints::load_folder(folder)?,
            (None, None) => Vec::new(),
        };
        let mut left_out = LeftOut::NOTHING;
        for name in &self.without {
            left_out.leave_out(name)?;
        }
        Ok(Options {
            forgetful_return_at_once: self.forgetful_return_at_once,
            keep_trace: self.trace.is_some(),
            untraced: false,
            until: self.until.clone(),
            outcomes_only: self.outcomes_only,
            scenarios: scenarios.into_iter().map(Arc::new).collect(),
            left_out,
            cut: Cut {
                clients_max: self.clients,
                chaos_us_max: self.chaos_ms.map(|ms| ms * crate::plan::MS),
                idle: self.idle.iter().copied().collect(),
            },
            skip_faults: self.skip_faults.clone().unwrap_or_default(),
            #[cfg(feature = "planted")]
            planted: self.planted,
        })
    }

    #[cfg(feature = "planted")]
    fn expect_caught(&self) -> bool {
        self.expect_caught
    }

    #[cfg(not(feature = "planted"))]
    fn expect_caught(&self) -> bool {
        false
    }
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = arguments.options().and_then(|options| match arguments.replay {
        _ if arguments.list_checkers => {
            list_checkers();
            Ok(ExitCode::SUCCESS)
        }
        _ if arguments.list => list(&arguments).map(|()| ExitCode::SUCCESS),
        _ if arguments.plans => Ok(plans(&arguments.seeds, &options)),
        Some(seed) => replay(seed, &options, &arguments).map_err(|error| error.to_string()),
        None => Ok(many(&arguments, &options)),
    });
    ended.unwrap_or_else(|error| {
        eprintln!("sim: {error}");
        ExitCode::FAILURE
    })
}

fn list_checkers() {
    for (family, names) in FAMILIES {
        println!("family:{family}");
        for name in *names {
            println!("  {name}");
        }
    }
}

fn list(arguments: &Arguments) -> Result<(), String> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let folders = match (&arguments.scenario, &arguments.scenarios) {
        (Some(file), _) => return Constraints::load(file).map(|scenario| report::scenario(&scenario)),
        (None, Some(folder)) => vec![folder.clone()],
        (None, None) => vec![ours.join("fast"), ours.join("slow")],
    };
    for folder in folders {
        println!("{}", folder.display());
        Constraints::load_folder(&folder)?.iter().for_each(report::scenario);
    }
    Ok(())
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

fn replay(seed: u64, options: &Options, arguments: &Arguments) -> io::Result<ExitCode> {
    let outcome = run_seed(seed, options);
    if let (Some(path), Some(text)) = (&arguments.trace, &outcome.trace) {
        fs::write(path, text)?;
        println!("trace: {} lines in {}", text.lines().count(), path.display());
    }
    println!("trace hash: {:032x}", outcome.trace_hash);
    report::counts(&outcome.counts);
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
            report::failure(seed, &failure, options);
            report::faults(&outcome.faults);
            ExitCode::FAILURE
        }
    })
}

fn many(arguments: &Arguments, options: &Options) -> ExitCode {
    let bar = progress_bar(arguments.seeds.end - arguments.seeds.start);
    let progress = |summary: &Summary| {
        bar.set_position(summary.seeds());
        let bad = summary.failed.len() + summary.unknown.len();
        if bad > 0 {
            bar.set_message(format!("{bad} failed"));
        }
    };
    let extras = Extras { twice: arguments.meta, stop_at_violation: arguments.expect_caught() };
    let summary = run_seeds(arguments.seeds.clone(), options, extras, &progress);
    bar.finish_and_clear();
    if arguments.json {
        println!("{}", report::json(&summary));
    } else {
        let smaller = !arguments.no_shrink && !arguments.expect_caught();
        print_failures(&summary, options, smaller);
        report::summary(&summary);
    }
    if arguments.expect_caught() {
        return report_caught(&summary);
    }
    let missed = if arguments.require_marks { summary.marks_missed() } else { Vec::new() };
    for mark in &missed {
        eprintln!("sim: no seed passed the mark {mark}");
    }
    if summary.clean() && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn progress_bar(seeds: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} seeds, {per_sec}, {eta} left {msg}");
    ProgressBar::new(seeds).with_style(style.expect("the template is well formed"))
}

fn print_failures(summary: &Summary, options: &Options, smaller: bool) {
    for (number, (seed, failure)) in summary.failed.iter().enumerate() {
        if smaller && number < SHRUNK_MAX {
            report::shrunk(&shrink(*seed, options, failure));
        } else {
            report::failure(*seed, failure, options);
        }
    }
}

/// Only a violated safety property counts: a bug that merely stops nodes was not caught.
fn report_caught(summary: &Summary) -> ExitCode {
    let safety = |(_, failure): &&(u64, Failure)| failure.promise == crate::Promise::Safety;
    match summary.failed.iter().find(safety) {
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
