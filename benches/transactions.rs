//! `cargo bench -p check --bench transactions`: how long judging transactions takes, and how much memory. Prints a
//! table; every row is a run of a strictly serializable store, and then the same with an anomaly planted in it.
//!
//! Nothing is asserted about time. Rows can be chosen: `cargo bench -p check --bench transactions -- lists`.

use std::fs;

use check::{Isolation, TransactionVerdict, check_transactions};
use fastrand::Rng;
use transactions::history;
use transactions::runs::{Shape, plant, plants, run};

#[path = "../verify/check/tests/transactions/mod.rs"]
mod transactions;

const LEVELS: [(Isolation, &str); 4] = [
    (Isolation::ReadCommitted, "read-committed"),
    (Isolation::SnapshotIsolation, "snapshot-isolation"),
    (Isolation::Serializable, "serializable"),
    (Isolation::StrictSerializable, "strict-serializable"),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!("| history | transactions | clients | checker | verdict | CPU seconds | peak MiB |");
    println!("|---|---:|---:|---|---|---:|---:|");
    for (name, shape) in rows() {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let rng = &mut Rng::with_seed(1);
        let mut events = run(rng, shape);
        row(name, shape, &events);
        let planted =
            plants(shape.registers).into_iter().find(|plant| plant.anomaly == check::Anomaly::G2Item);
        assert!(plant(rng, &mut events, &planted.expect("there is one of each"), true));
        row(&format!("{name}, write skew planted"), shape, &events);
    }
}

fn rows() -> Vec<(&'static str, Shape)> {
    let lists = Shape {
        registers: false,
        isolation: Isolation::StrictSerializable,
        transactions: 100_000,
        processes: 20,
        keys: 10,
        writes_per_key: 100,
        reads_first: false,
        revisions: false,
    };
    let registers = Shape { registers: true, writes_per_key: u64::MAX, ..lists };
    vec![
        ("lists, 100 appends a key", lists),
        ("lists, 1,000 appends a key", Shape { writes_per_key: 1_000, ..lists }),
        ("registers, read before written", Shape { reads_first: true, ..registers }),
        ("registers, revisions told", Shape { revisions: true, ..registers }),
        ("registers, 10 keys, nothing told", registers),
        ("registers, 100 writes a key, nothing told", Shape { writes_per_key: 100, ..registers }),
    ]
}

fn row(name: &str, shape: Shape, events: &[transactions::Event]) {
    let history = history(events);
    for (isolation, level) in LEVELS {
        // Forgets the peak so far; where that cannot be done, the peak is that of all rows up to here.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let held = memory("VmRSS:");
        let began = cpu_seconds();
        let verdict = match check_transactions(&history, isolation) {
            TransactionVerdict::Valid => "valid".to_owned(),
            TransactionVerdict::Invalid(found) => format!("invalid: {}", found.anomaly),
            TransactionVerdict::Unknown { .. } => "unknown".to_owned(),
        };
        let seconds = cpu_seconds() - began;
        let peak = memory("VmHWM:").saturating_sub(held);
        let (count, processes) = (history.transactions().len(), shape.processes);
        println!("| {name} | {count} | {processes} | {level} | {verdict} | {seconds:.1} | {peak} |");
    }
}

/// How long this process has worked, in the kernel's account, which counts hundredths: other processes do not
/// disturb it. 0 where there is none.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// MiB of this process, in the kernel's account; 0 where there is none.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
