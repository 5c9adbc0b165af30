//! One seed gives one run: two traces of it are equal, byte for byte.

use sim::{Options, Verdict, run_seed};

#[test]
fn two_runs_of_a_seed_give_identical_traces() {
    let options = Options { keep_trace: true, ..Options::default() };
    for seed in [1, 2, 7, 62, 98] {
        let (first, second) = (run_seed(seed, &options), run_seed(seed, &options));
        assert_eq!(first.verdict, Verdict::Passed, "seed {seed}");
        let (first_text, second_text) = (first.trace.expect("kept"), second.trace.expect("kept"));
        let mut lines = first_text.lines().zip(second_text.lines()).enumerate();
        if let Some((number, (first, second))) = lines.find(|(_, (first, second))| first != second) {
            panic!("seed {seed} line {number}:\n{first}\n{second}");
        }
        assert_eq!(first_text.len(), second_text.len(), "seed {seed}");
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
    }
}

/// Different seeds are different worlds.
#[test]
fn seeds_differ() {
    let options = Options::default();
    assert_ne!(run_seed(1, &options).trace_hash, run_seed(2, &options).trace_hash);
}
