//! Marks on the rare paths of the core, so that whoever tests it sees which of them were taken.
//!
//! `mark!("name")` compiles to nothing unless feature `marks` is on, which the simulator turns on. Then it counts, in
//! cells of the thread, which one world runs on alone: no clock, no entropy, nothing that another thread or run could
//! see, and nothing that the core itself reads. So the core stays deterministic, and does the same with and without.
//!
//! Every mark is in [`MARKS`], in the order in which they are told; a name that is not there does not compile, and
//! `cargo xtask tidy` refuses one that is there and nowhere in the code.

/// Every mark, with what it means that it was passed.
pub const MARKS: &[(&str, &str)] = &[
    ("early_vote_counted", "A vote request that came too soon was looked at once it might be granted"),
    ("no_campaign_while_installing", "A tick began no campaign, for a snapshot was installed"),
    ("vote_request_kept", "A request for a vote came too soon after a start and was kept"),
    ("proposal_too_large_for_now", "A proposal was refused: too much is not applied yet"),
    ("read_index_refused", "A leader could not confirm reads yet"),
    ("late_refusal_dropped", "A follower's late refusal did not lower what it had acknowledged"),
    ("log_truncated_by_conflict", "A newer leader's entries took the place of others in the log"),
    ("log_replaced_by_snapshot", "A snapshot took the place of a whole log"),
    ("snapshot_not_ready", "A follower needs a snapshot newer than the last checkpoint"),
    ("causal_read_at_leader", "A replica had not seen what a causal read's session had"),
    ("bounded_read_at_leader", "A replica could not prove to be as fresh as a bounded read asks"),
    ("snapshot_given_up", "Nothing was heard of a snapshot's receiver for too long"),
    ("snapshot_chunks_repeated", "Chunks of a snapshot were sent once more"),
    ("snapshot_gave_way", "A snapshot whose sender was silent gave way to another"),
    (
        "snapshot_of_older_leader",
        "A chunk of an older leader's snapshot came while a newer one's was under way",
    ),
    ("snapshot_of_deposed_leader", "A chunk of a snapshot came from a leader that is deposed"),
    ("snapshot_chunk_while_installing", "A chunk came while the snapshot was installed already"),
    ("snapshot_waits_for_lost_list", "A snapshot was put off until the writes that it loses are listed"),
    ("snapshot_not_needed", "A whole snapshot was not needed any more"),
    ("overlay_full", "A write was refused: too much waits for a checkpoint"),
    ("proposal_replaced", "Another leader's entry took the place of a proposal"),
    ("read_round_repeated", "A round that confirms reads was asked once more"),
    ("write_held_for_snapshot", "A write to the log waited for a snapshot to be installed"),
    ("key_reused", "An idempotency key was used for something else"),
    ("early_write_unanswered", "A leader was deposed before it could acknowledge a write early"),
    ("lost_write_listed", "Writes were put on the list before the log lost them"),
    ("lost_with_its_keyspace", "A listed write's keyspace was deleted"),
    ("listed_write_was_kept", "A listed write turned out to be in the history"),
    ("listed_write_is_lost", "A listed write turned out to be lost"),
    ("watch_fell_behind", "A watch read the history from the store"),
    ("watch_overtaken", "A watch was overtaken by compaction"),
    ("watch_waits_for_session", "A watch waited for its replica to reach what its session saw"),
    ("watch_began_too_late", "A watch asked for what was compacted"),
    ("lock_waiter_parked", "A request waited for its turn at a lock"),
    ("acquire_undone", "A lock that was not acquired in time was given back"),
    ("keep_alive_of_ending_lease", "A lease was to be kept alive whose end was proposed"),
    ("lease_renewed_by_new_leader", "A new leader gave a lease its whole time"),
    ("append_waits_for_lost_list", "An append was put off until the writes that it overwrites are listed"),
    ("append_refused_for_room", "A follower had no room for a leader's entries"),
    ("forward_repeated", "The network repeated a forwarded request"),
    ("dedup_hit", "A request was answered from the record of its idempotency key"),
    ("key_forgotten", "An idempotency key's time was up"),
    ("key_not_used_up", "A refused request left its idempotency key unused"),
    ("fenced_out", "A write came under a token that is not the holder's"),
    ("quota_refused", "A write would have broken its keyspace's quota"),
    ("history_reclaimed_in_parts", "More history was compacted than one step removes"),
    ("torn_tail", "The log ended in the remains of an interrupted append"),
    ("conflict_recovered", "Recovery read entries that later ones took the place of"),
    ("deleted_group_in_log", "Recovery read entries of a group that was deleted"),
    ("unfinished_spare_removed", "A crash left a half-made segment behind"),
    ("no_room_for_spare", "The disk had no room for another segment"),
];

/// The place of a mark, at compile time.
///
/// # Panics
/// When there is none of this name, which stops the build.
pub const fn place(name: &str) -> usize {
    let mut place = 0;
    while place < MARKS.len() {
        if equal(MARKS[place].0.as_bytes(), name.as_bytes()) {
            return place;
        }
        place += 1;
    }
    panic!("this mark is not in types::marks::MARKS");
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A rare path is taken; see [`marks`](crate::marks).
#[cfg(feature = "marks")]
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        $crate::marks::pass(const { $crate::marks::place($name) })
    };
}

/// A rare path is taken; see [`marks`](crate::marks).
#[cfg(not(feature = "marks"))]
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        const { _ = $crate::marks::place($name) }
    };
}

#[cfg(feature = "marks")]
pub use counting::{pass, take};

#[cfg(feature = "marks")]
mod counting {
    use std::{cell::Cell, collections::BTreeMap};

    use super::MARKS;

    thread_local! {
        static PASSED: [Cell<u64>; MARKS.len()] = const { [const { Cell::new(0) }; MARKS.len()] };
    }

    /// The mark of this place is passed once more.
    pub fn pass(place: usize) {
        PASSED.with(|passed| passed[place].set(passed[place].get() + 1));
    }

    /// How often this thread has passed each mark since it last asked; those never passed are not there.
    pub fn take() -> BTreeMap<&'static str, u64> {
        PASSED.with(|passed| {
            let all = MARKS.iter().zip(passed).map(|((name, _), times)| (*name, times.take()));
            all.filter(|(_, times)| *times > 0).collect()
        })
    }
}
