//! A failing run is made smaller, what is found replays, and what is left out is not reported.
//!
//! `cargo test --profile sim -p sim --features planted --test shrink`
#![cfg(feature = "planted")]

use raft_group::Planted;
use sim::{Options, Verdict, run_seed, run_seeds, runner::Extras, shrink};

fn failing() -> (u64, Options, sim::Failure) {
    let options = Options { planted: Some(Planted::AckBeforeFsync), ..Options::default() };
    let extras = Extras { stop_at_violation: true, ..Extras::default() };
    let mut summary = run_seeds(0..100, &options, extras, &|_| {});
    let (seed, failure) = summary.failed.remove(0);
    (seed, options, failure)
}

#[test]
fn what_is_found_is_smaller_and_replays() {
    let (seed, options, failure) = failing();
    let shrunk = shrink::shrink(seed, &options, &failure);
    assert!(shrunk.runs <= shrink::RUNS_MAX);
    assert_eq!(shrunk.failure.invariant, failure.invariant);
    assert!(shrunk.faults.len() <= shrunk.faults_before);
    assert!(!shrunk.options.cut.is_nothing(), "nothing could be left out of seed {seed}: {shrunk:#?}");
    for _ in 0..2 {
        assert_eq!(run_seed(seed, &shrunk.options).verdict, Verdict::Failed(shrunk.failure.clone()));
    }
}

#[test]
fn what_is_left_out_is_not_reported() {
    let (seed, mut options, failure) = failing();
    options.left_out.leave_out(failure.invariant).expect("it is one of ours");
    match run_seed(seed, &options).verdict {
        Verdict::Failed(other) => assert_ne!(other.invariant, failure.invariant),
        verdict => assert_eq!(verdict, Verdict::Passed),
    }
    options.left_out.leave_out("family:durability").expect("there is one");
    if let Verdict::Failed(other) = run_seed(seed, &options).verdict {
        assert_ne!(other.invariant, "promises_are_durable");
    }
}
