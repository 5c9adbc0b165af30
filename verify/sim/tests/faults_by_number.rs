//! A fault that is left out takes nothing from the others, and what is cut is cut.

use std::sync::Arc;

use scenario::Kind;
use sim::{Constraints, Cut, Numbers, Options, Until, Verdict, run_seed};

/// Worlds with a fault every quarter of a second.
const OFTEN: &str = r#"
about = "Faults come often"
[cluster]
nodes = [3]
[faults]
kinds = ["pause", "kill", "split", "slow_disk"]
every_ms = { from = 250, to = 250 }
together = 4
"#;

fn options(cut_ms: u64) -> Options {
    let often = Constraints::of(scenario::parse("often", OFTEN).expect("it is a scenario"));
    let scenarios = vec![Arc::new(often.expect("it can be simulated"))];
    let cut = Cut { chaos_us_max: Some(cut_ms * 1_000), ..Cut::default() };
    Options { keep_trace: true, scenarios, cut, ..Options::default() }
}

#[test]
fn faults_left_out_take_nothing_from_the_others() {
    let all = run_seed(7, &options(3_000));
    assert!(all.faults.len() > 3, "{:?}", all.faults);
    let second = all.faults[1].number;
    let skip_faults = second.to_string().parse::<Numbers>().expect("it is a number");
    let without = run_seed(7, &Options { skip_faults, ..options(3_000) });
    assert_eq!(without.verdict, Verdict::Passed);
    assert!(without.faults.iter().all(|fault| fault.number != second));
    for fault in &without.faults {
        let same = all.faults.iter().find(|other| other.number == fault.number);
        // One more may have become possible; what was there comes when it did.
        assert!(same.is_none_or(|other| (other.at_us, other.kind) == (fault.at_us, fault.kind)), "{fault:?}");
    }
    let (all, without) = (all.trace.expect("kept"), without.trace.expect("kept"));
    let before = all.lines().take_while(|line| !line.contains(&format!(" fault {second}: "))).count();
    assert!(before > 100 && before < all.lines().count());
    assert!(all.lines().take(before).eq(without.lines().take(before)), "the world before it is the same");
}

#[test]
fn without_its_faults_a_world_has_none() {
    let skip_faults = Numbers::all_but(&[]);
    assert!(run_seed(7, &Options { skip_faults, ..options(2_000) }).faults.is_empty());
}

#[test]
fn idle_clients_do_nothing_of_the_kind() {
    let mut options = options(1_000);
    options.cut.idle = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Locks).collect();
    options.cut.clients_max = Some(1);
    let outcome = run_seed(7, &options);
    assert_eq!(outcome.verdict, Verdict::Passed);
    for done in
        ["watches_started", "additions", "audits", "briefs_answered", "acknowledged_early", "causal_reads"]
    {
        assert_eq!(outcome.counts.named.get(done), None, "{done}");
    }
}

/// A world stops at the first line that has a text in it.
#[test]
fn a_world_stops_where_it_is_told_to() {
    let until = Some(Until::Line("RequestVote".into()));
    let outcome = run_seed(7, &Options { until, ..options(1_000) });
    assert_eq!(outcome.verdict, Verdict::Stopped);
    let trace = outcome.trace.expect("kept");
    let with: Vec<usize> =
        trace.lines().enumerate().filter(|(_, l)| l.contains("RequestVote")).map(|(at, _)| at).collect();
    assert!(!with.is_empty() && trace.lines().count() - with[0] < 20, "it is among the last lines");
}
