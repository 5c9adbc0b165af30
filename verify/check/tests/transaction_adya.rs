//! The checker of transactions agrees with `adya`, an independent one by the same method (Elle's).

mod transactions;

use std::collections::BTreeMap;

use check::{Anomaly, Isolation, Outcome, Seen, Step, TransactionVerdict};
use fastrand::Rng;
use serde_json::{Value, json};
use transactions::runs::{Shape, plant, plants, run};
use transactions::{Event, judge};

const LEVELS: [(Isolation, &str); 4] = [
    (Isolation::ReadCommitted, "read-committed"),
    (Isolation::SnapshotIsolation, "snapshot-isolation"),
    (Isolation::Serializable, "serializable"),
    (Isolation::StrictSerializable, "strict-serializable"),
];

/// In the other's format. A process whose transaction ended in the unknown goes on as another.
fn translated(events: &[Event]) -> adya::History {
    let mut lines = String::new();
    let mut names: BTreeMap<u64, u64> = BTreeMap::new();
    for event in events {
        let name = *names.entry(event.process).or_insert(event.process);
        let kind = match event.end {
            None => "invoke",
            Some(Outcome::Committed) => "ok",
            Some(Outcome::Aborted) => "fail",
            Some(Outcome::Unknown) => {
                names.insert(event.process, name + 100);
                "info"
            }
        };
        let steps: Vec<Value> = event.steps.iter().map(step).collect();
        lines.push_str(&json!({"type": kind, "process": name, "f": "txn", "value": steps}).to_string());
        lines.push('\n');
    }
    adya::History::from_json(&lines).unwrap()
}

fn step(step: &Step) -> Value {
    match step {
        Step::Append { key, value } => json!(["append", key, value]),
        Step::Write { key, value } => json!(["w", key, value]),
        Step::Read { key, seen: None } => json!(["r", key, null]),
        Step::Read { key, seen: Some(Seen::List(list)) } => json!(["r", key, list]),
        Step::Read { key, seen: Some(Seen::Register { value, .. }) } => json!(["r", key, value]),
    }
}

fn other(events: &[Event], registers: bool, model: &str) -> adya::Report {
    let opts = adya::Opts {
        models: vec![model.to_owned()],
        wfr_keys: true,
        linearizable_keys: model == "strict-serializable",
        ..adya::Opts::default()
    };
    let workload = if registers { adya::Workload::RwRegister } else { adya::Workload::ListAppend };
    adya::check(&translated(events), workload, &opts)
}

/// What both say of runs of four kinds of stores, half of them with something planted.
fn compare(registers: bool, allowed: impl Fn(Isolation, Anomaly) -> bool) {
    let plants = plants(registers);
    // By level: both valid, both invalid, and invalid by us alone.
    let mut counts: BTreeMap<Isolation, [u32; 3]> = BTreeMap::new();
    for seed in 0..200 {
        let rng = &mut Rng::with_seed(seed);
        let kept = LEVELS[rng.usize(..4)].0;
        let shape = Shape::drawn(rng, registers, kept);
        let mut events = run(rng, Shape { revisions: false, ..shape });
        if rng.bool() {
            let planted = &plants[rng.usize(..plants.len())];
            plant(rng, &mut events, planted, seed % 2 == 0);
        }
        for (level, model) in LEVELS {
            let (ours, theirs) = (judge(&events, level), other(&events, registers, model));
            let count = counts.entry(level).or_default();
            match (&ours, theirs.valid) {
                (TransactionVerdict::Valid, adya::Valid::True) => count[0] += 1,
                (TransactionVerdict::Invalid(_), adya::Valid::False) => count[1] += 1,
                (TransactionVerdict::Invalid(found), adya::Valid::True) if allowed(level, found.anomaly) => {
                    count[2] += 1;
                }
                // Where we are undecided it has found no cycle.
                (TransactionVerdict::Unknown { .. }, adya::Valid::True) if registers => {}
                _ => {
                    panic!("seed {seed}, {model}: {ours}, but {:?}: {:?}", theirs.valid, theirs.anomaly_types)
                }
            }
        }
    }
    println!("registers {registers}: both valid, both invalid, invalid by us alone: {counts:?}");
    for [valid, invalid, _] in counts.into_values() {
        assert!(valid >= 50 && invalid >= 20, "{valid} valid, {invalid} invalid");
    }
}

/// It does not look for what nobody wrote, nor under read committed for what a transaction does not see of its
/// own.
fn not_looked_for(level: Isolation, anomaly: Anomaly) -> bool {
    anomaly == Anomaly::Invented || (anomaly == Anomaly::Internal && level == Isolation::ReadCommitted)
}

#[test]
fn of_lists_both_say_the_same() {
    compare(false, not_looked_for);
}

/// It knows no revisions, and follows the order of versions less far.
#[test]
fn of_registers_we_say_invalid_at_least_where_it_does() {
    compare(true, |level, anomaly| {
        not_looked_for(level, anomaly)
            || matches!(anomaly, Anomaly::G0 | Anomaly::IncompatibleOrder)
            || anomaly >= Anomaly::GSingle
    });
}
