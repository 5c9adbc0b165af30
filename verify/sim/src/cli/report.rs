//! What is printed.

use serde_json::json;

use crate::{
    Counts, constrain::Constraints, failure::Failure, injection::Injected, plan::MS, runner::Summary,
    shrink::Shrunk, world::Options,
};

/// Most faults that are listed one by one.
const FAULTS_LISTED_MAX: usize = 20;

pub fn scenario(scenario: &Constraints) {
    println!("  {:28} {}", scenario.name(), scenario.about());
}

pub fn failure(seed: u64, failure: &Failure, options: &Options) {
    let scenario = options.scenario(seed);
    let of = if scenario.name().is_empty() { String::new() } else { format!(" of {}", scenario.name()) };
    println!("seed {seed}{of} FAILED: {} ({:?})", failure.invariant, failure.promise);
    let (seconds, us) = (failure.time_us / 1_000_000, failure.time_us % 1_000_000);
    println!("  at {seconds}.{us:06} s, step {}", failure.step);
    for line in failure.message.lines() {
        println!("  {line}");
    }
    println!("  replay: {}", command(seed, options));
}

pub fn shrunk(shrunk: &Shrunk) {
    failure(shrunk.seed, &shrunk.failure, &shrunk.options);
    let (left, before, runs) = (shrunk.faults.len(), shrunk.faults_before, shrunk.runs);
    println!("  shrunk in {runs} runs; {left} of {before} faults are left");
    faults(&shrunk.faults);
}

pub fn faults(faults: &[Injected]) {
    for Injected { number, at_us, kind } in faults.iter().take(FAULTS_LISTED_MAX) {
        println!("  fault {number} at {}.{:06} s: {kind}", at_us / 1_000_000, at_us % 1_000_000);
    }
    if faults.len() > FAULTS_LISTED_MAX {
        println!("  and {} faults more", faults.len() - FAULTS_LISTED_MAX);
    }
}

/// The command that runs this seed so once more, and writes its trace.
fn command(seed: u64, options: &Options) -> String {
    let mut words = vec!["cargo run --profile sim -p sim --".to_string()];
    #[cfg(feature = "planted")]
    if let Some(planted) = options.planted {
        words[0] = "cargo run --profile sim -p sim --features planted --".into();
        words.push(format!("--planted {}", kebab(&format!("{planted:?}"))));
    }
    if let Some(file) = options.scenario(seed).file() {
        words.push(format!("--scenario {}", file.display()));
    }
    words.push(format!("--replay {seed}"));
    if options.outcomes_only {
        words.push("--outcomes-only".into());
    }
    words.extend(options.left_out.names().map(|name| format!("--without {name}")));
    if !options.skip_faults.is_empty() {
        words.push(format!("--skip-faults {}", options.skip_faults));
    }
    let cut = &options.cut;
    words.extend(cut.clients_max.map(|clients| format!("--clients {clients}")));
    words.extend(cut.chaos_us_max.map(|us| format!("--chaos-ms {}", us / MS)));
    if !cut.idle.is_empty() {
        let kinds: Vec<_> = cut.idle.iter().map(|kind| kind.name()).collect();
        words.push(format!("--idle {}", kinds.join(",")));
    }
    words.push(format!("--trace /tmp/trace-{seed}.txt"));
    words.join(" ")
}

#[cfg(feature = "planted")]
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

pub fn counts(counts: &Counts) {
    println!(
        "{} events, {} s simulated, {} frames, {} operations, {} ok",
        counts.events,
        counts.simulated_us / 1_000_000,
        counts.frames,
        counts.operations,
        counts.operations_ok
    );
    table("", &counts.named);
    table("faults:", &counts.faults);
    table("marks in the core's code:", &counts.marks);
}

fn table(title: &str, figures: &std::collections::BTreeMap<&'static str, u64>) {
    if !title.is_empty() {
        println!("{title}");
    }
    let width = figures.keys().map(|name| name.len()).max().unwrap_or(0);
    for (name, times) in figures {
        println!("  {name:width$} {times:>10}");
    }
}

pub fn summary(summary: &Summary) {
    for (seed, reason) in &summary.unknown {
        println!("seed {seed} is UNDECIDED: {reason}");
    }
    counts(&summary.counts);
    let missed = summary.marks_missed();
    if !missed.is_empty() {
        println!("marks that no seed passed: {}", missed.join(", "));
    }
    let seconds = summary.elapsed.as_secs_f64();
    println!(
        "{:.1} simulated seconds and {:.0} events per second of wall time",
        summary.counts.simulated_us as f64 / 1e6 / seconds,
        summary.counts.events as f64 / seconds,
    );
    println!(
        "{} seeds in {seconds:.1} s, {:.1} per second; {} passed, {} failed, {} undecided",
        summary.seeds(),
        summary.seeds() as f64 / seconds,
        summary.passed,
        summary.failed.len(),
        summary.unknown.len()
    );
}

pub fn json(summary: &Summary) -> serde_json::Value {
    let failed = summary.failed.iter().map(|(seed, failure)| json!({ "seed": seed, "failure": failure }));
    let unknown = summary.unknown.iter().map(|(seed, reason)| json!({ "seed": seed, "reason": reason }));
    json!({
        "seeds": summary.seeds(),
        "passed": summary.passed,
        "failed": failed.collect::<Vec<_>>(),
        "unknown": unknown.collect::<Vec<_>>(),
        "counts": summary.counts,
        "marks_missed": summary.marks_missed(),
        "elapsed_seconds": summary.elapsed.as_secs_f64(),
    })
}
