//! Each fault bites: alone in a world it leaves its mark, and every promise is kept.

use std::sync::Arc;

use sim::{Constraints, Counts, Cut, Options, Verdict, run_seed};

/// Seeds within which a fault must have left its mark.
const SEEDS: u64 = 12;

fn only(kinds: &[&str]) -> Constraints {
    let text = format!(
        "about = \"one fault\"\n[cluster]\nnodes = [3, 5]\n[workload]\nvalue_bytes = [400]\n[network]\n\
         loss_per_mille = {{ from = 0, to = 0 }}\nduplicate_per_mille = {{ from = 0, to = 0 }}\n\
         reorder_per_mille = {{ from = 0, to = 0 }}\ncorrupt_per_mille = {{ from = 0, to = 0 }}\n\
         [disk]\nlog_cache_kib = [4]\noverlay_kib = [8]\n\
         [faults]\nkinds = {kinds:?}\nevery_ms = {{ from = 100, to = 400 }}"
    );
    let scenario = scenario::parse("only", &text).unwrap_or_else(|problem| panic!("{problem}"));
    Constraints::of(scenario).unwrap_or_else(|error| panic!("{error}"))
}

fn counts_of(kind: &str, marks: &[&str]) -> Counts {
    // Snapshots are for those that were away.
    let chaos_us = if kind == "snapshot_crash" { 8_000_000 } else { 3_000_000 };
    let cut = Cut { chaos_us_max: Some(chaos_us), ..Cut::default() };
    let options = Options { scenarios: vec![Arc::new(only(&[kind]))], cut, ..Options::default() };
    let mut counts = Counts::default();
    for seed in 0..SEEDS {
        let outcome = run_seed(seed, &options);
        assert_eq!(outcome.verdict, Verdict::Passed, "{kind}, seed {seed}");
        counts.merge(&outcome.counts);
        if counts.faults.contains_key(kind) && marks.iter().all(|mark| counts.named.contains_key(mark)) {
            return counts;
        }
    }
    panic!("{kind} left no {marks:?} in {SEEDS} seeds: {counts:#?}");
}

fn bite(faults: &[(&str, &[&str])]) {
    for (kind, marks) in faults {
        counts_of(kind, marks);
    }
}

#[test]
fn partitions() {
    for kind in
        ["split", "majority_ring", "bridge", "partial", "one_way", "isolate_leader", "lost_link", "half_open"]
    {
        bite(&[(kind, &["network_blocked"])]);
    }
    bite(&[("flapping", &["network_blocked", "flaps"])]);
}

#[test]
fn bad_networks() {
    bite(&[
        ("loss", &["network_lost"]),
        ("duplication", &["network_duplicated"]),
        ("reordering", &["network_reordered"]),
        ("corruption", &["network_corrupted"]),
        ("throttle", &["network_throttled"]),
        ("client_cut", &["requests_lost", "answers_lost"]),
        ("lost_answers", &["answers_lost"]),
        ("retry_storm", &["retries_at_once"]),
        ("latency", &[]),
        ("jitter", &[]),
        ("late_links", &[]),
    ]);
}

#[test]
fn processes_and_clocks() {
    bite(&[
        ("pause_then_kill", &["killed_while_paused"]),
        ("kill_in_start", &["starts_failed"]),
        ("power_loss_in_recovery", &["starts_failed"]),
        ("power_loss_of_rack", &[]),
        ("clock_skew", &[]),
        ("clock_strobe", &[]),
        ("clock_drift", &[]),
    ]);
}

#[test]
fn disks() {
    bite(&[
        ("read_error", &["stopped_by_disk_errors"]),
        ("write_error", &["stopped_by_disk_errors"]),
        ("sync_failure", &["stopped_by_disk_errors"]),
        ("stalled_disk", &["disk_work_stalled"]),
        ("bit_rot", &["corruption_refused"]),
        ("truncated_file", &["damage_refused", "forgetful_returned"]),
        ("store_rot", &[]),
    ]);
}

#[test]
fn members_that_forget() {
    bite(&[
        ("lying_sync", &["members_forgot"]),
        ("misdirected_write", &["members_forgot"]),
        ("lost_tail", &["members_forgot", "forgetful_returned"]),
        ("stale_restore", &["members_forgot", "forgetful_returned"]),
        ("disk_loss", &["disks_emptied", "lost_for_good"]),
    ]);
}

#[test]
fn loads() {
    bite(&[
        ("leader_transfer", &["handed_over"]),
        ("snapshot_crash", &["power_lost_at_snapshot"]),
        ("compaction_under_load", &["compactions_asked"]),
        ("slow_consumer", &["watches_unread"]),
        ("hot_key", &[]),
        ("huge_value", &[]),
    ]);
}
