//! The simulator catches what it is for: nodes built with a deliberate bug break a safety property
//! within few seeds, and the same seeds pass without the bug.
//!
//! `cargo test --profile sim -p sim --features planted --test planted`
#![cfg(feature = "planted")]

use raft_group::Planted;
use sim::{Options, Promise, lab, run_seed, run_seeds, runner::Extras};

const SEEDS: u64 = 1_000;

/// Runs seeds until one breaks a safety property; answers the seed and the invariant.
fn catch(planted: Planted, outcomes_only: bool) -> (u64, &'static str) {
    let options = Options { planted: Some(planted), outcomes_only, ..Options::default() };
    let extras = Extras { stop_at_violation: true, ..Extras::default() };
    let summary = run_seeds(0..SEEDS, &options, extras, &|_| {});
    let mut violations = summary.failed.iter().filter(|(_, failure)| failure.promise == Promise::Safety);
    let (seed, failure) = violations.next().unwrap_or_else(|| panic!("{planted:?} was not caught"));
    println!("{planted:?} caught by {} in seed {seed}: {}", failure.invariant, failure.message);
    (*seed, failure.invariant)
}

fn passes_without(seed: u64) {
    let outcome = run_seed(seed, &Options::default());
    assert_eq!(outcome.verdict, sim::Verdict::Passed, "seed {seed} without the bug");
}

/// A node says that it holds an entry, or that it voted, and its disk does not know yet.
#[test]
fn acknowledging_before_the_sync_is_caught() {
    let (seed, _) = catch(Planted::AckBeforeFsync, false);
    passes_without(seed);
}

/// A node forgets its vote in a crash, and votes again.
#[test]
fn forgetting_votes_is_caught() {
    let (seed, _) = catch(Planted::VoteNotPersisted, false);
    passes_without(seed);
}

/// Also when nobody watches the promises: what was acknowledged is lost.
#[test]
fn acknowledging_before_the_sync_has_consequences() {
    let (seed, _) = catch(Planted::AckBeforeFsync, true);
    passes_without(seed);
}

/// Also when nobody watches the promises: two nodes lead one term.
#[test]
fn forgetting_votes_has_consequences() {
    let (seed, _) = catch(Planted::VoteNotPersisted, true);
    passes_without(seed);
}

/// Nodes number the groups of keyspaces by their own count: they disagree once they start in another order.
#[test]
fn groups_numbered_by_local_count_are_caught() {
    let (seed, invariant) = catch(Planted::GroupByCount, false);
    assert_eq!(invariant, "a_keyspace_is_one_group");
    passes_without(seed);
}

/// Every replica takes a transaction's first branch, whatever its compares say: all agree, and clients see it.
#[test]
fn ignoring_the_compares_of_transactions_is_caught() {
    let (seed, invariant) = catch(Planted::TxnIgnoresCompares, true);
    let seen_by_clients = [
        "transfers_keep_the_sum",
        "linearizable",
        "answers_fit",
        "watches_miss_nothing",
        "the_past_is_as_it_was",
    ];
    assert!(seen_by_clients.contains(&invariant), "{invariant}");
    passes_without(seed);
}

/// A leader does not know which idempotency keys were used before it led: a request that is sent again
/// after a failure is carried out again.
#[test]
fn forgetting_idempotency_keys_is_caught() {
    let (seed, invariant) = catch(Planted::KeysForgottenByNextLeader, true);
    assert!(
        ["one_effect_per_request", "one_answer_per_key", "linearizable"].contains(&invariant),
        "{invariant}"
    );
    passes_without(seed);
}

/// Any replica answers a causal read, whatever the session has seen.
#[test]
fn ignoring_the_session_is_caught() {
    let (seed, invariant) = catch(Planted::SessionIgnored, true);
    assert_eq!(invariant, "causal_reads_see_the_session");
    passes_without(seed);
}

/// A replica that has heard of no change believes that there was none.
#[test]
fn freshness_by_hearsay_is_caught() {
    let (seed, invariant) = catch(Planted::FreshByHearsay, true);
    assert_eq!(invariant, "answers_are_no_older_than_they_say");
    passes_without(seed);
}

/// A receipt says that an answer is new, and it is not.
#[test]
fn a_receipt_that_hides_staleness_is_caught() {
    let (seed, invariant) = catch(Planted::StalenessHidden, true);
    assert_eq!(invariant, "answers_are_no_older_than_they_say");
    passes_without(seed);
}

/// A write for every replica is answered when a majority has it.
#[test]
fn taking_a_majority_for_all_is_caught() {
    let (seed, invariant) = catch(Planted::AllMeansQuorum, false);
    assert_eq!(invariant, "receipt_is_true");
    passes_without(seed);
}

/// A receipt's timestamp is what the wall clock says, which jumps back.
#[test]
fn taking_the_wall_clock_for_the_order_of_events_is_caught() {
    let (seed, invariant) = catch(Planted::HlcIsWallClock, true);
    assert_eq!(invariant, "hlc_follows_causality");
    passes_without(seed);
}

/// Every other leader forgets the quota.
#[test]
fn forgetting_a_quota_is_caught() {
    let (seed, invariant) = catch(Planted::QuotaForgotten, true);
    assert_eq!(invariant, "quotas_hold");
    passes_without(seed);
}

/// A watch that fell behind what is held in memory skips the history between.
#[test]
fn skipping_the_history_is_caught() {
    let (seed, invariant) = catch(Planted::WatchSkipsHistory, true);
    assert_eq!(invariant, "watches_miss_nothing");
    passes_without(seed);
}

/// A watch that was overtaken by a compaction goes on above it, and says nothing.
#[test]
fn skipping_what_was_compacted_is_caught() {
    let (seed, invariant) = catch(Planted::WatchSkipsCompacted, true);
    assert_eq!(invariant, "watches_miss_nothing");
    passes_without(seed);
}

/// A watch that is resumed at a replica that is behind begins where that replica is.
#[test]
fn beginning_a_watch_at_the_replicas_own_revision_is_caught() {
    let (seed, invariant) = catch(Planted::WatchFromOwnRevision, true);
    assert_eq!(invariant, "watches_miss_nothing");
    passes_without(seed);
}

/// A node that learns at once that a keyspace was deleted and created anew goes on with the old one.
#[test]
fn missing_a_deletion_is_caught() {
    let (seed, invariant) = catch(Planted::DeletionMissed, true);
    assert!(
        ["nodes_serve_the_keyspaces_they_know", "a_new_keyspace_is_empty"].contains(&invariant),
        "{invariant}"
    );
    passes_without(seed);
}

/// A leader answers before its own disk has the write, which a power loss then takes.
#[test]
fn acknowledging_early_before_the_sync_is_caught() {
    let (seed, invariant) = catch(Planted::EarlyBeforeFsync, false);
    assert!(["receipt_is_true", "lost_writes_are_listed"].contains(&invariant), "{invariant}");
    passes_without(seed);
}

/// An early acknowledgement claims a majority.
#[test]
fn a_receipt_that_claims_quorum_before_it_is_caught() {
    let (seed, invariant) = catch(Planted::EarlyClaimsQuorum, false);
    assert_eq!(invariant, "receipt_is_true");
    passes_without(seed);
}

/// The old leader's log is overwritten, and nobody is told what was in it.
#[test]
fn forgetting_what_an_append_overwrites_is_caught() {
    let (seed, invariant) = catch(Planted::LostForgottenAtAppend, true);
    assert_eq!(invariant, "lost_writes_are_listed");
    passes_without(seed);
}

/// A write under the token of a holder that is no more takes effect.
#[test]
fn accepting_a_stale_fencing_token_is_caught() {
    let (seed, invariant) = catch(Planted::StaleFenceAccepted, true);
    assert_eq!(invariant, "no_two_holders_write");
    passes_without(seed);
}

/// A new leader ends leases whose clients were promised more.
#[test]
fn not_extending_leases_is_caught() {
    let (seed, invariant) = catch(Planted::LeasesNotExtended, true);
    assert_eq!(invariant, "leases_live_as_long_as_promised");
    passes_without(seed);
}

/// A leader of an earlier term ends leases that the leader between them kept alive.
#[test]
fn going_by_the_times_of_an_old_term_is_caught() {
    let (seed, invariant) = catch(Planted::LeasesOfOldTerm, true);
    assert_eq!(invariant, "leases_live_as_long_as_promised");
    passes_without(seed);
}

/// A leader that stood still takes the late confirmation of its lease for a new one.
#[test]
fn counting_a_lease_from_its_confirmation_is_caught() {
    let (seed, invariant) = catch(Planted::LeaseFromConfirmation, false);
    assert_eq!(invariant, "a_lease_is_the_last_leaders");
    passes_without(seed);
}

/// A leader that is cut off reads by a lease that nobody keeps for it any more.
#[test]
fn a_lease_that_outlasts_the_refusal_of_votes_is_caught() {
    let (seed, invariant) = catch(Planted::LeaseOutlastsRefusal, false);
    assert_eq!(invariant, "a_lease_is_the_last_leaders");
    passes_without(seed);
}

/// The second of two operations on a value is done on the value as it stood before the first. All replicas agree on what
/// comes of it, and every operation is answered well; the sum is not that of the marks beside it.
#[test]
fn overwriting_the_first_of_two_operations_is_caught() {
    let (seed, invariant) = catch(Planted::FirstOperationOverwritten, true);
    assert_eq!(invariant, "sums_are_of_their_marks");
    passes_without(seed);
}

/// An addition that is sent again under its idempotency key adds again.
#[test]
fn carrying_out_repeated_operations_is_caught() {
    let (seed, invariant) = catch(Planted::OperationsNotDeduplicated, true);
    let caught_by = ["revisions_follow_the_log", "sums_are_of_their_marks", "one_answer_per_key"];
    assert!(caught_by.contains(&invariant), "{invariant}");
    passes_without(seed);
}

/// Holds the planner's predictions against nodes with a bug: answers where they first differ.
fn catch_by_plan(planted: Planted) -> String {
    let options = Options { planted: Some(planted), ..Options::default() };
    let found =
        (0..50).find_map(|seed| lab::confirm(&lab::any(seed), &options).err().map(|told| (seed, told)));
    let (seed, told) = found.unwrap_or_else(|| panic!("{planted:?} was not caught"));
    println!("{planted:?} caught in experiment {seed}: {told}");
    lab::confirm(&lab::any(seed), &Options::default()).expect("without the bug it is as predicted");
    told
}

/// Nothing hangs, and no promise between nodes is broken: but refusals come later than the planner says.
#[test]
fn refusing_at_the_deadline_alone_is_caught() {
    let told = catch_by_plan(Planted::RefusesAtDeadline);
    assert!(told.contains("NO_QUORUM") || told.contains("after"), "{told}");
}

/// A side without a leader should serve them; no other oracle misses that.
#[test]
fn refusing_eventual_reads_without_a_leader_is_caught() {
    let told = catch_by_plan(Planted::EventualNeedsLeader);
    assert!(told.contains("read eventual"), "{told}");
}

/// A build that takes a replica for fresh serves bounded reads for longer than the planner says.
#[test]
fn serving_bounded_reads_for_too_long_is_caught_by_the_planner() {
    let told = catch_by_plan(Planted::FreshByHearsay);
    assert!(told.contains("bounded"), "{told}");
}
