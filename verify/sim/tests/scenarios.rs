//! Every scenario file runs: one seed of each, cut short.

use std::{path::Path, sync::Arc};

use sim::{Constraints, Cut, Options, run_seed, run_seeds, runner::Extras};

fn folder(name: &str) -> Vec<Arc<Constraints>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let scenarios = Constraints::load_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    scenarios.into_iter().map(Arc::new).collect()
}

fn run_each(name: &str, chaos_ms: u64) {
    let scenarios = folder(name);
    let seeds = 0..scenarios.len() as u64;
    let cut = Cut { chaos_us_max: Some(chaos_ms * 1_000), ..Cut::default() };
    let options = Options { scenarios, cut, ..Options::default() };
    let summary = run_seeds(seeds.clone(), &options, Extras::default(), &|_| {});
    let failed: Vec<_> =
        summary.failed.iter().map(|(seed, f)| (options.scenario(*seed).name().to_owned(), f)).collect();
    assert!(summary.clean(), "{failed:#?} {:?}", summary.unknown);
    assert_eq!(summary.passed, seeds.end);
}

#[test]
fn fast_scenarios_run() {
    assert!(folder("fast").len() >= 20);
    run_each("fast", 2_000);
}

#[test]
fn slow_scenarios_run() {
    assert!(folder("slow").len() >= 6);
    run_each("slow", 1_000);
}

/// The scenario that demands nothing is the world without a scenario.
#[test]
fn anything_is_any_world() {
    let anything = folder("fast").into_iter().find(|scenario| scenario.name() == "anything");
    let cut = Cut { chaos_us_max: Some(500_000), ..Cut::default() };
    let without = Options { cut: cut.clone(), ..Options::default() };
    let with = Options { scenarios: vec![anything.expect("it is there")], cut, ..Options::default() };
    assert_eq!(run_seed(3, &with).trace_hash, run_seed(3, &without).trace_hash);
}

/// What there is not is refused, and the answer says what there is.
#[test]
fn what_cannot_be_simulated_is_refused() {
    let refused = [
        ("[faults]\nkinds = [\"earthquake\"]", "\"earthquake\" is no fault; there are power_loss, kill"),
        ("[checkers]\nnames = [\"taste\"]", "there is no invariant \"taste\""),
        ("[checkers]\nnames = [\"family:taste\"]", "there are linearizability, transactions"),
        ("[workload]\nkeys = { from = 1, to = 500 }", "90 are the most"),
        (
            "[workload]\nkeys = { from = 1, to = 90 }\nvalue_bytes = [20000]\n[disk]\nsegment_kib = [512]",
            "one page",
        ),
        ("[workload]\nvalue_bytes = [30000]", "disk.segment_kib has to be 235 or more"),
        ("[workload]\nkeyspaces = { from = 1, to = 99 }", "names for 12"),
        ("[cluster]\nclock_drift_ppm = [50000]", "list workload.kinds without \"locks\""),
        ("[cluster]\nclock_drift_ppm = [90000]", "50000 at most"),
    ];
    for (text, said) in refused {
        let read = scenario::parse("bad", &format!("about = \"x\"\n{text}")).expect("it can be read");
        let told = Constraints::of(read).expect_err(text);
        assert!(told.starts_with("bad: ") && told.contains(said), "{told:?} lacks {said:?}");
    }
}
