//! `cargo bench -p check`: how long judging takes, and how much memory. Prints a table; every row is a
//! run of a correct store, and then the same with a stale read at its end.
//!
//! Nothing is asserted about time. Rows can be chosen: `cargo bench -p check -- repeated`.

use std::fs;
use std::time::Instant;

use check::{BUDGET_DEFAULT, History, Verdict, check_linearizable, check_linearizable_map};
use runs::{Run, real_run, spoiled};

#[path = "../verify/check/tests/runs/mod.rs"]
mod runs;

type Judge = fn(&History, u64) -> Verdict;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!(
        "| history | operations | keys | clients | unknown | verdict | seconds | of them computing | peak MiB |"
    );
    println!("|---|---:|---:|---:|---:|---|---:|---:|---:|");
    for (name, run, judge) in rows() {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let history = real_run(&run, 1);
        row(name, &run, &history, judge);
        row(&format!("{name}, stale read at the end"), &run, &spoiled(&history), judge);
    }
}

fn rows() -> Vec<(&'static str, Run, Judge)> {
    let plain = Run { ops: 100_000, unknown_per_mille: 10, ..Run::PLAIN };
    let with = |change: &dyn Fn(&mut Run)| {
        let mut run = plain.clone();
        change(&mut run);
        run
    };
    let key: Judge = check_linearizable;
    vec![
        ("reads and writes", plain.clone(), key),
        ("with compare-and-set by value", with(&|run| run.cas_by_value = true), key),
        (
            "with compare-and-set by revision, deletes",
            with(&|run| (run.revisions, run.deletes) = (true, true)),
            key,
        ),
        ("with deletes, no revisions", with(&|run| run.deletes = true), key),
        ("values repeated: 100 a key", with(&|run| run.values = Some(100)), key),
        (
            "values repeated: 100 a key, compare-and-set by value",
            with(&|run| (run.values, run.cas_by_value) = (Some(100), true)),
            key,
        ),
        ("one key", with(&|run| (run.ops, run.keys) = (10_000, 1)), key),
        (
            "values repeated: 5, as Jepsen has them",
            with(&|run| {
                (run.ops, run.keys, run.processes, run.values, run.cas_by_value) =
                    (1_000, 1, 5, Some(5), true)
            }),
            key,
        ),
        (
            "keys read together, one map",
            with(&|run| (run.ops, run.keys, run.processes, run.read_many) = (10_000, 3, 6, true)),
            check_linearizable_map,
        ),
    ]
}

fn row(name: &str, run: &Run, history: &History, judge: Judge) {
    // Forgets the peak so far; where that cannot be done, the peak is that of all rows up to here.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let held = memory("VmRSS:");
    let (began, computed) = (Instant::now(), computed_s());
    let verdict = match judge(history, BUDGET_DEFAULT) {
        Verdict::Valid => "valid".to_owned(),
        Verdict::Invalid(found) => format!("invalid, shown by {}", found.shown.len()),
        Verdict::Unknown { reason } => format!("unknown: {}", reason.split(':').next().unwrap_or_default()),
    };
    let (seconds, computing) = (began.elapsed().as_secs_f64(), computed_s() - computed);
    let peak = memory("VmHWM:").saturating_sub(held);
    println!(
        "| {name} | {} | {} | {} | {} | {verdict} | {seconds:.2} | {computing:.2} | {peak} |",
        history.ops().len(),
        run.keys,
        run.processes,
        history.ops().iter().filter(|op| is_unknown(op)).count(),
    );
}

fn is_unknown(op: &check::Op) -> bool {
    matches!(op.completed, None | Some((_, check::Completion::Unknown)))
}

/// Seconds that this process has had a processor, where the kernel tells it: on a busy machine less than
/// have passed. In `/proc/self/stat`, user and system time follow the name by 12 fields, in hundredths.
fn computed_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// MiB of this process, in the kernel's account; 0 where there is none.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
