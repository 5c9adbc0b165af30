//! The simulator catches what it is for: nodes built with a deliberate bug break a safety property
//! within few seeds, and the same seeds pass without the bug.
//!
//! `cargo test --profile sim -p sim --features planted --test planted`
#![cfg(feature = "planted")]

use raft_group::Planted;
use sim::{
    Options, Promise, Verdict,
    catalogue::{self, SEEDS_MAX, Search, ablate, find},
    invariants::{FAMILIES, LeftOut},
    lab, run_seed, run_seeds,
    runner::Extras,
};

/// Looks for a bug where the catalogue says; answers the seed and the invariant.
fn catch(bug: Planted) -> (u64, &'static str) {
    let found = find(bug, 0..SEEDS_MAX, LeftOut::NOTHING).expect("there is such a scenario");
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not caught"));
    println!("{bug:?} caught by {} in seed {}: {}", found.invariant, found.seed, found.message);
    (found.seed, found.invariant)
}

/// The same world without the bug.
fn passes_without(bug: Planted, seed: u64) {
    let options = catalogue::options(bug, None, LeftOut::NOTHING).expect("there is such a scenario");
    assert_eq!(run_seed(seed, &options).verdict, Verdict::Passed, "seed {seed} without {bug:?}");
}

/// Looks for a bug by its outcomes alone, where the catalogue looks for broken promises.
fn has_consequences(bug: Planted) {
    assert!(matches!(catalogue::search(bug), Search::Worlds(_)));
    let options = catalogue::options(bug, Some(bug), LeftOut::NOTHING).expect("there is such a scenario");
    let options = Options { outcomes_only: true, ..options };
    let extras = Extras { stop_at_violation: true, ..Extras::default() };
    let summary = run_seeds(0..SEEDS_MAX, &options, extras, &|_| {});
    let mut violations = summary.failed.iter().filter(|(_, failure)| failure.promise == Promise::Safety);
    let (seed, failure) = violations.next().unwrap_or_else(|| panic!("{bug:?} was not caught"));
    println!("{bug:?} comes to {} in seed {seed}: {}", failure.invariant, failure.message);
}

/// A node says that it holds an entry, or that it voted, and its disk does not know yet.
#[test]
fn acknowledging_before_the_sync_is_caught() {
    let (seed, _) = catch(Planted::AckBeforeFsync);
    passes_without(Planted::AckBeforeFsync, seed);
}

/// A node forgets its vote in a crash, and votes again.
#[test]
fn forgetting_votes_is_caught() {
    let (seed, _) = catch(Planted::VoteNotPersisted);
    passes_without(Planted::VoteNotPersisted, seed);
}

/// Also when nobody watches the promises: what was acknowledged is lost.
#[test]
fn acknowledging_before_the_sync_has_consequences() {
    has_consequences(Planted::AckBeforeFsync);
}

/// Also when nobody watches the promises: two nodes lead one term.
#[test]
fn forgetting_votes_has_consequences() {
    has_consequences(Planted::VoteNotPersisted);
}

/// Nodes number the groups of keyspaces by their own count: they disagree once they start in another order.
#[test]
fn groups_numbered_by_local_count_are_caught() {
    let (seed, invariant) = catch(Planted::GroupByCount);
    // Which is noticed first depends on which node starts its groups in another order.
    let caught_by = ["a_keyspace_is_one_group", "nodes_serve_the_keyspaces_they_know"];
    assert!(caught_by.contains(&invariant), "{invariant}");
    passes_without(Planted::GroupByCount, seed);
}

/// Every replica takes a transaction's first branch, whatever its compares say: all agree, and clients see it.
#[test]
fn ignoring_the_compares_of_transactions_is_caught() {
    let (seed, invariant) = catch(Planted::TxnIgnoresCompares);
    let seen_by_clients = [
        "transfers_keep_the_sum",
        "linearizable",
        "answers_fit",
        "watches_miss_nothing",
        "the_past_is_as_it_was",
    ];
    assert!(seen_by_clients.contains(&invariant), "{invariant}");
    passes_without(Planted::TxnIgnoresCompares, seed);
}

/// A leader does not know which idempotency keys were used before it led: a request that is sent again
/// after a failure is carried out again.
#[test]
fn forgetting_idempotency_keys_is_caught() {
    let (seed, invariant) = catch(Planted::KeysForgottenByNextLeader);
    assert!(
        ["one_effect_per_request", "one_answer_per_key", "linearizable"].contains(&invariant),
        "{invariant}"
    );
    passes_without(Planted::KeysForgottenByNextLeader, seed);
}

/// Any replica answers a causal read, whatever the session has seen.
#[test]
fn ignoring_the_session_is_caught() {
    let (seed, invariant) = catch(Planted::SessionIgnored);
    assert_eq!(invariant, "causal_reads_see_the_session");
    passes_without(Planted::SessionIgnored, seed);
}

/// A replica that has heard of no change believes that there was none.
#[test]
fn freshness_by_hearsay_is_caught() {
    let (seed, invariant) = catch(Planted::FreshByHearsay);
    assert_eq!(invariant, "answers_are_no_older_than_they_say");
    passes_without(Planted::FreshByHearsay, seed);
}

/// A receipt says that an answer is new, and it is not.
#[test]
fn a_receipt_that_hides_staleness_is_caught() {
    let (seed, invariant) = catch(Planted::StalenessHidden);
    assert_eq!(invariant, "answers_are_no_older_than_they_say");
    passes_without(Planted::StalenessHidden, seed);
}

/// A write for every replica is answered when a majority has it.
#[test]
fn taking_a_majority_for_all_is_caught() {
    let (seed, invariant) = catch(Planted::AllMeansQuorum);
    assert_eq!(invariant, "receipt_is_true");
    passes_without(Planted::AllMeansQuorum, seed);
}

/// A receipt's timestamp is what the wall clock says, which jumps back.
#[test]
fn taking_the_wall_clock_for_the_order_of_events_is_caught() {
    let (seed, invariant) = catch(Planted::HlcIsWallClock);
    assert_eq!(invariant, "hlc_follows_causality");
    passes_without(Planted::HlcIsWallClock, seed);
}

/// Every other leader forgets the quota.
#[test]
fn forgetting_a_quota_is_caught() {
    let (seed, invariant) = catch(Planted::QuotaForgotten);
    assert_eq!(invariant, "quotas_hold");
    passes_without(Planted::QuotaForgotten, seed);
}

/// A watch that fell behind what is held in memory skips the history between.
#[test]
fn skipping_the_history_is_caught() {
    let (seed, invariant) = catch(Planted::WatchSkipsHistory);
    assert_eq!(invariant, "watches_miss_nothing");
    passes_without(Planted::WatchSkipsHistory, seed);
}

/// A watch that was overtaken by a compaction goes on above it, and says nothing.
#[test]
fn skipping_what_was_compacted_is_caught() {
    let (seed, invariant) = catch(Planted::WatchSkipsCompacted);
    assert_eq!(invariant, "watches_miss_nothing");
    passes_without(Planted::WatchSkipsCompacted, seed);
}

/// A watch that is resumed at a replica that is behind begins where that replica is.
#[test]
fn beginning_a_watch_at_the_replicas_own_revision_is_caught() {
    let (seed, invariant) = catch(Planted::WatchFromOwnRevision);
    assert_eq!(invariant, "watches_miss_nothing");
    passes_without(Planted::WatchFromOwnRevision, seed);
}

/// A node that learns at once that a keyspace was deleted and created anew goes on with the old one.
#[test]
fn missing_a_deletion_is_caught() {
    let (seed, invariant) = catch(Planted::DeletionMissed);
    assert!(
        ["nodes_serve_the_keyspaces_they_know", "a_new_keyspace_is_empty"].contains(&invariant),
        "{invariant}"
    );
    passes_without(Planted::DeletionMissed, seed);
}

/// A leader answers before its own disk has the write, which a power loss then takes.
#[test]
fn acknowledging_early_before_the_sync_is_caught() {
    let (seed, invariant) = catch(Planted::EarlyBeforeFsync);
    assert!(["receipt_is_true", "lost_writes_are_listed"].contains(&invariant), "{invariant}");
    passes_without(Planted::EarlyBeforeFsync, seed);
}

/// An early acknowledgement claims a majority.
#[test]
fn a_receipt_that_claims_quorum_before_it_is_caught() {
    let (seed, invariant) = catch(Planted::EarlyClaimsQuorum);
    assert_eq!(invariant, "receipt_is_true");
    passes_without(Planted::EarlyClaimsQuorum, seed);
}

/// The old leader's log is overwritten, and nobody is told what was in it.
#[test]
fn forgetting_what_an_append_overwrites_is_caught() {
    let (seed, invariant) = catch(Planted::LostForgottenAtAppend);
    assert_eq!(invariant, "lost_writes_are_listed");
    passes_without(Planted::LostForgottenAtAppend, seed);
}

/// A write under the token of a holder that is no more takes effect.
#[test]
fn accepting_a_stale_fencing_token_is_caught() {
    let (seed, invariant) = catch(Planted::StaleFenceAccepted);
    assert_eq!(invariant, "no_two_holders_write");
    passes_without(Planted::StaleFenceAccepted, seed);
}

/// A new leader ends leases whose clients were promised more.
#[test]
fn not_extending_leases_is_caught() {
    let (seed, invariant) = catch(Planted::LeasesNotExtended);
    assert_eq!(invariant, "leases_live_as_long_as_promised");
    passes_without(Planted::LeasesNotExtended, seed);
}

/// A leader of an earlier term ends leases that the leader between them kept alive.
#[test]
fn going_by_the_times_of_an_old_term_is_caught() {
    let (seed, invariant) = catch(Planted::LeasesOfOldTerm);
    assert_eq!(invariant, "leases_live_as_long_as_promised");
    passes_without(Planted::LeasesOfOldTerm, seed);
}

/// A leader that stood still takes the late confirmation of its lease for a new one.
#[test]
fn counting_a_lease_from_its_confirmation_is_caught() {
    let (seed, invariant) = catch(Planted::LeaseFromConfirmation);
    assert_eq!(invariant, "a_lease_is_the_last_leaders");
    passes_without(Planted::LeaseFromConfirmation, seed);
}

/// A leader that is cut off reads by a lease that nobody keeps for it any more.
#[test]
fn a_lease_that_outlasts_the_refusal_of_votes_is_caught() {
    let (seed, invariant) = catch(Planted::LeaseOutlastsRefusal);
    assert_eq!(invariant, "a_lease_is_the_last_leaders");
    passes_without(Planted::LeaseOutlastsRefusal, seed);
}

/// The second of two operations on a value is done on the value as it stood before the first. All replicas agree on what
/// comes of it, and every operation is answered well; the sum is not that of the marks beside it.
#[test]
fn overwriting_the_first_of_two_operations_is_caught() {
    let (seed, invariant) = catch(Planted::FirstOperationOverwritten);
    assert_eq!(invariant, "sums_are_of_their_marks");
    passes_without(Planted::FirstOperationOverwritten, seed);
}

/// An addition that is sent again under its idempotency key adds again.
#[test]
fn carrying_out_repeated_operations_is_caught() {
    let (seed, invariant) = catch(Planted::OperationsNotDeduplicated);
    let caught_by = ["revisions_follow_the_log", "sums_are_of_their_marks", "one_answer_per_key"];
    assert!(caught_by.contains(&invariant), "{invariant}");
    passes_without(Planted::OperationsNotDeduplicated, seed);
}

/// A node is back with an earlier term, in which it votes and acknowledges again.
#[test]
fn forgetting_the_term_is_caught() {
    let (seed, invariant) = catch(Planted::TermNotPersisted);
    assert_eq!(invariant, "promises_are_durable");
    passes_without(Planted::TermNotPersisted, seed);
}

/// A leader that was deposed, or has not committed anything in its term, answers strong reads.
#[test]
fn reading_without_asking_a_majority_is_caught() {
    let (seed, invariant) = catch(Planted::ReadUnconfirmed);
    let seen_by_clients = [
        "linearizable",
        "answers_fit",
        "sums_are_of_their_marks",
        "causal_reads_see_the_session",
        "revisions_in_order",
    ];
    assert!(seen_by_clients.contains(&invariant), "{invariant}");
    passes_without(Planted::ReadUnconfirmed, seed);
}

/// A recovery counts an entry as applied that it has not applied: the replica's revisions differ from then on.
#[test]
fn losing_an_entry_in_a_crash_is_caught() {
    let (seed, invariant) = catch(Planted::EntryLostInCrash);
    assert!(["states_agree", "revisions_follow_the_log"].contains(&invariant), "{invariant}");
    passes_without(Planted::EntryLostInCrash, seed);
}

/// A leader that was deposed has the leases ended whose keep-alives went to the next one.
#[test]
fn ending_leases_as_a_deposed_leader_is_caught() {
    let (seed, invariant) = catch(Planted::RevokedByOldLeader);
    assert_eq!(invariant, "leases_live_as_long_as_promised");
    passes_without(Planted::RevokedByOldLeader, seed);
}

/// The wall clock jumps, and leases end before their time.
#[test]
fn counting_leases_by_the_wall_clock_is_caught() {
    let (seed, invariant) = catch(Planted::LeasesByWallClock);
    assert_eq!(invariant, "leases_live_as_long_as_promised");
    passes_without(Planted::LeasesByWallClock, seed);
}

/// A damaged log is cut off, and its node votes and leads without what it had acknowledged.
#[test]
fn cutting_a_damaged_log_off_is_caught() {
    let (seed, invariant) = catch(Planted::DamageTruncated);
    assert!(["corruption_is_refused", "durable_log_survives"].contains(&invariant), "{invariant}");
    passes_without(Planted::DamageTruncated, seed);
}

/// A damaged log is refused, and not left as it is.
#[test]
fn writing_to_a_disk_that_is_refused_is_caught() {
    let (seed, invariant) = catch(Planted::RefusalLeavesNote);
    assert_eq!(invariant, "corrupt_logs_stay_as_they_are");
    passes_without(Planted::RefusalLeavesNote, seed);
}

/// The record of an idempotency key is on disk later than its effect: a crash between them, and it is done again.
#[test]
fn writing_the_key_apart_from_its_effect_is_caught() {
    let (seed, invariant) = catch(Planted::KeyApartFromEffect);
    assert!(OF_LOST_RECORDS.contains(&invariant), "{invariant}");
    passes_without(Planted::KeyApartFromEffect, seed);
}

/// A follower that was sent a snapshot does not know the keys that were used before it.
#[test]
fn installing_a_snapshot_without_its_keys_is_caught() {
    let (seed, invariant) = catch(Planted::SnapshotWithoutKeys);
    assert!(OF_LOST_RECORDS.contains(&invariant), "{invariant}");
    passes_without(Planted::SnapshotWithoutKeys, seed);
}

/// What comes of a replica that lacks idempotency records.
const OF_LOST_RECORDS: [&str; 5] = [
    "states_agree",
    "revisions_follow_the_log",
    "checkpoints_hold_past_states",
    "one_answer_per_key",
    "sums_are_of_their_marks",
];

/// A request is never answered. No safety property is broken by that, nor by the two that follow.
#[test]
fn forgetting_late_requests_is_caught() {
    let (seed, invariant) = catch(Planted::LateUnanswered);
    assert_eq!(invariant, "answers_by_the_deadline");
    passes_without(Planted::LateUnanswered, seed);
}

/// A node stops, and nothing was done to it.
#[test]
fn panicking_at_a_late_answer_is_caught() {
    let (seed, invariant) = catch(Planted::LateReplyPanics);
    assert_eq!(invariant, "no_panic");
    passes_without(Planted::LateReplyPanics, seed);
}

/// The same inputs with the same seed give other outputs.
#[test]
fn counting_in_the_process_is_caught() {
    let (seed, invariant) = catch(Planted::SeedOfTheProcess);
    assert_eq!(invariant, "two_runs_are_equal");
    passes_without(Planted::SeedOfTheProcess, seed);
}

/// For each family a bug that it alone finds, in the seeds in which it is found with all of them.
const ALONE: [(&str, Planted); 16] = [
    ("linearizability", Planted::ReadUnconfirmed),
    ("transactions", Planted::TxnIgnoresCompares),
    ("sessions", Planted::SessionIgnored),
    ("staleness", Planted::StalenessHidden),
    ("convergence", Planted::QuotaForgotten),
    ("locks", Planted::StaleFenceAccepted),
    ("effects", Planted::FirstOperationOverwritten),
    ("receipts", Planted::AllMeansQuorum),
    ("delivery", Planted::WatchSkipsCompacted),
    ("consensus", Planted::LeaseOutlastsRefusal),
    ("durability", Planted::VoteNotPersisted),
    ("damage", Planted::RefusalLeavesNote),
    ("keyspaces", Planted::DeletionMissed),
    ("liveness", Planted::LateUnanswered),
    ("crash", Planted::LateReplyPanics),
    ("determinism", Planted::SeedOfTheProcess),
];

/// Each family of invariants is needed: without it a bug goes unnoticed.
#[test]
fn no_family_is_idle() {
    let mut families: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
    for (family, bug) in ALONE {
        let (seed, _) = catch(bug);
        let found = ablate(bug, 0..seed + 1).expect("there is such a scenario");
        assert_eq!(found, [family], "{bug:?} in seeds up to {seed}");
        families.retain(|known| *known != family);
    }
    assert!(families.is_empty(), "no bug proves that these are needed: {families:?}");
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

/// A read at a revision shows the newest state.
#[test]
fn reading_the_newest_for_the_past_is_caught() {
    let (seed, invariant) = catch(Planted::PastIsNewest);
    assert_eq!(invariant, "the_past_is_as_it_was");
    passes_without(Planted::PastIsNewest, seed);
}

/// A leader compacts history at half the age that the contract says.
#[test]
fn compacting_young_history_is_caught() {
    let (seed, invariant) = catch(Planted::CompactsYoung);
    assert_eq!(invariant, "history_lives_its_time");
    passes_without(Planted::CompactsYoung, seed);
}

/// A read in one keyspace does not lead to what its writer had seen in another.
#[test]
fn forgetting_what_writers_had_seen_elsewhere_is_caught() {
    let (seed, invariant) = catch(Planted::FrontierForgotten);
    assert_eq!(invariant, "causal_reads_see_the_session");
    passes_without(Planted::FrontierForgotten, seed);
}

/// A frame with a flipped bit is taken for what it says.
#[test]
fn ignoring_checksums_is_caught() {
    let (seed, invariant) = catch(Planted::ChecksumIgnored);
    assert_eq!(invariant, "damaged_frames_are_refused");
    passes_without(Planted::ChecksumIgnored, seed);
}

/// A disk that was full has room again, and its node refuses entries for ever: nothing wrong is said, nothing goes on.
#[test]
fn not_noticing_room_on_the_disk_is_caught() {
    let (seed, invariant) = catch(Planted::RoomNeverNoticed);
    assert_eq!(invariant, "healed_cluster_comes_together");
    passes_without(Planted::RoomNeverNoticed, seed);
}
