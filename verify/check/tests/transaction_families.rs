//! Families of histories: runs of stores that keep an isolation are valid, and an anomaly that is planted in
//! such a run is found, under its name.

mod transactions;

use std::collections::BTreeMap;

use check::{Anomaly, Isolation, TransactionVerdict};
use fastrand::Rng;
use transactions::judge;
use transactions::runs::{Shape, plant, plants, run};

const LEVELS: [Isolation; 4] = [
    Isolation::ReadCommitted,
    Isolation::SnapshotIsolation,
    Isolation::Serializable,
    Isolation::StrictSerializable,
];

/// How many runs of each store, and of each anomaly.
const RUNS: u64 = 150;
const PLANTED: u64 = 40;

#[test]
fn runs_that_keep_an_isolation_are_valid() {
    for registers in [false, true] {
        for kept in LEVELS.into_iter().filter(|kept| *kept != Isolation::Serializable) {
            let mut undecided = 0;
            for seed in 0..RUNS {
                let rng = &mut Rng::with_seed(seed);
                let shape = Shape::drawn(rng, registers, kept);
                let events = run(rng, shape);
                for level in LEVELS.into_iter().filter(|level| *level <= kept) {
                    match judge(&events, level) {
                        TransactionVerdict::Valid => {}
                        TransactionVerdict::Unknown { .. } => undecided += 1,
                        TransactionVerdict::Invalid(found) => {
                            panic!("seed {seed}, {shape:?}, {level:?}: {}", found.explanation)
                        }
                    }
                }
            }
            println!("registers {registers}: {RUNS} runs that keep {kept:?}, {undecided} undecided");
            assert!(undecided <= if registers { RUNS / 30 } else { 0 }, "{undecided} undecided");
        }
    }
}

#[test]
fn what_is_planted_is_found_by_name() {
    for registers in [false, true] {
        // By anomaly: in how many runs, and in how many of them under its own name.
        let mut counts: BTreeMap<Anomaly, [u64; 2]> = BTreeMap::new();
        for (planted, number) in plants(registers).iter().zip(0..) {
            let mut seed = number * 100_000;
            let mut done = 0;
            while done < PLANTED {
                seed += 1;
                let rng = &mut Rng::with_seed(seed);
                let shape = Shape::drawn(rng, registers, Isolation::StrictSerializable);
                let mut events = run(rng, Shape { revisions: false, ..shape });
                let alone = done % 2 == 0;
                if !plant(rng, &mut events, planted, alone) {
                    continue;
                }
                done += 1;
                let verdicts = LEVELS.map(|level| judge(&events, level));
                let TransactionVerdict::Invalid(found) = &verdicts[3] else {
                    panic!("seed {seed}: {} is not found: {}", planted.anomaly, verdicts[3]);
                };
                let named = found.anomaly == planted.anomaly;
                // Together with the rest of the run it may be a worse one, but never a lesser one.
                assert!(
                    found.anomaly <= planted.anomaly,
                    "seed {seed}: {} for {}",
                    found.anomaly,
                    planted.anomaly
                );
                let count = counts.entry(planted.anomaly).or_default();
                *count = [count[0] + 1, count[1] + u64::from(named)];
                for (level, verdict) in LEVELS.iter().zip(&verdicts) {
                    let excluded = *level >= weakest(planted.anomaly);
                    let invalid = matches!(verdict, TransactionVerdict::Invalid(_));
                    // Alone it is nothing else, so a weaker isolation allows it.
                    let right = if alone { invalid == excluded } else { invalid || !excluded };
                    assert!(right, "seed {seed}, {}, {level:?}: {verdict}", planted.anomaly);
                }
            }
        }
        println!("registers {registers}: anomaly: [planted, found by name] {counts:?}");
        assert!(counts.len() >= 14 && counts.values().map(|[all, _]| all).sum::<u64>() >= 300);
        for (anomaly, [_, named]) in counts {
            assert!(named >= 15, "{anomaly} is found by name {named} times alone");
        }
    }
}

/// The weakest isolation that excludes it, as it is planted.
fn weakest(anomaly: Anomaly) -> Isolation {
    match anomaly {
        Anomaly::Invented
        | Anomaly::Duplicate
        | Anomaly::IncompatibleOrder
        | Anomaly::Internal
        | Anomaly::DirtyUpdate
        | Anomaly::G0
        | Anomaly::G1a
        | Anomaly::G1b
        | Anomaly::G1c => Isolation::ReadCommitted,
        Anomaly::LostUpdate | Anomaly::GSingle | Anomaly::GNonadjacent => Isolation::SnapshotIsolation,
        Anomaly::G2Item => Isolation::Serializable,
        _ => Isolation::StrictSerializable,
    }
}
