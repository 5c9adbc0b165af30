//! Every invariant and judgement by name, in families, and which of them a world goes without.
//!
//! Guarantee: what is left out is not reported and ends no world. What follows from it may still be: an invariant is
//! needed exactly if a bug goes unnoticed without it.
//!
//! A world runs on one thread, and its judges are all over it; so what is left out is kept with the thread, by
//! [`LeftOut::apply`], and asked for where something broke: [`Judged::unless_left_out`].

use std::{cell::RefCell, collections::BTreeSet};

use crate::failure::Broken;

/// A family and its members.
pub type Family = (&'static str, &'static [&'static str]);

/// All of them. `docs/internals/simulation.md` says what each means.
pub const FAMILIES: &[Family] = &[
    ("linearizability", &["linearizable", "revisions_in_order", "answers_fit"]),
    ("transactions", &["transactions_are_atomic", "transfers_keep_the_sum"]),
    ("sessions", &["causal_reads_see_the_session", "hlc_follows_causality"]),
    ("staleness", &["answers_are_no_older_than_they_say"]),
    (
        "convergence",
        &["states_agree", "checkpoints_hold_past_states", "revisions_follow_the_log", "quotas_hold"],
    ),
    (
        "locks",
        &["no_two_holders_write", "leases_live_as_long_as_promised", "dead_leases_end", "holders_history"],
    ),
    (
        "effects",
        &["one_effect_per_request", "one_answer_per_key", "sums_are_of_their_marks", "keyed_history"],
    ),
    ("receipts", &["receipt_is_true", "receipt_is_enough", "one_reply"]),
    (
        "delivery",
        &["watches_miss_nothing", "the_past_is_as_it_was", "history_lives_its_time", "watched_history"],
    ),
    (
        "consensus",
        &[
            "one_leader_per_term",
            "log_matching",
            "leader_completeness",
            "committed_never_changes",
            "a_lease_is_the_last_leaders",
            "monotonic",
            "applied_is_committed",
            "good_peers_are_not_accused",
        ],
    ),
    (
        "durability",
        &[
            "promises_are_durable",
            "commit_is_durable",
            "acknowledged_is_committed",
            "durable_log_survives",
            "lost_writes_are_listed",
            "listed_writes_are_lost",
        ],
    ),
    (
        "damage",
        &[
            "corruption_is_refused",
            "damage_is_not_taken_for_data",
            "corrupt_logs_stay_as_they_are",
            "good_logs_are_accepted",
            "damaged_frames_are_refused",
            "whole_frames_are_accepted",
        ],
    ),
    (
        "keyspaces",
        &[
            "a_keyspace_is_one_group",
            "keyspaces_are_created_once",
            "contracts_stay",
            "contracts_are_understood",
            "acknowledged_keyspaces_exist",
            "nodes_know_the_same_keyspaces",
            "nodes_serve_the_keyspaces_they_know",
            "a_version_is_one_contract",
            "altering_compares_versions",
            "deleted_is_gone_where_it_was_asked",
            "deleted_keyspaces_do_not_answer",
            "a_new_keyspace_is_empty",
            "acknowledged_writes_stay",
            "refused_writes_never_happen",
        ],
    ),
    ("liveness", &["answers_by_the_deadline", "healed_cluster_comes_together"]),
    (
        "crash",
        &[
            "no_panic",
            "no_stop_without_cause",
            "node_goes_on",
            "node_recovers",
            "identity_is_accepted",
            "log_opens",
            "store_opens",
            "store_works",
            "batches_fit_the_log",
        ],
    ),
    ("determinism", &["two_runs_are_equal"]),
];

/// Names of invariants that are not judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeSet<&'static str>);

thread_local! {
    static LEFT_OUT: RefCell<LeftOut> = const { RefCell::new(LeftOut(BTreeSet::new())) };
}

/// Every name.
pub fn all() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|(_, names)| names.iter().copied())
}

/// What a name stands for: an invariant, or a family as `family:sessions`.
///
/// # Errors
/// When there is none of that name; the text says which there are.
pub fn named(name: &str) -> Result<Vec<&'static str>, String> {
    if let Some(family) = name.strip_prefix("family:") {
        let found = FAMILIES.iter().find(|(known, _)| *known == family);
        let known = || FAMILIES.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        return found
            .map(|(_, names)| names.to_vec())
            .ok_or_else(|| format!("there is no family {family:?}; there are {}", known()));
    }
    let found = all().find(|known| *known == name);
    found.map(|name| vec![name]).ok_or_else(|| {
        let all = all().collect::<Vec<_>>().join(", ");
        format!("there is no invariant {name:?}; there are {all}, and families of them as family:NAME")
    })
}

impl LeftOut {
    /// Nothing is left out.
    pub const NOTHING: LeftOut = LeftOut(BTreeSet::new());

    /// Everything but these, or nothing if these are none.
    ///
    /// # Errors
    /// As [`named`].
    pub fn all_but(names: &[String]) -> Result<LeftOut, String> {
        if names.is_empty() {
            return Ok(LeftOut::NOTHING);
        }
        let mut left_out: BTreeSet<_> = all().collect();
        for name in names {
            for judged in named(name)? {
                left_out.remove(judged);
            }
        }
        Ok(LeftOut(left_out))
    }

    /// Leaves this out too: an invariant or `family:NAME`.
    ///
    /// # Errors
    /// As [`named`].
    pub fn leave_out(&mut self, name: &str) -> Result<(), String> {
        self.0.extend(named(name)?);
        Ok(())
    }

    /// Both.
    pub fn and(&self, other: &LeftOut) -> LeftOut {
        LeftOut(self.0.union(&other.0).copied().collect())
    }

    /// Whether it is not judged.
    pub fn holds(&self, invariant: &str) -> bool {
        self.0.contains(invariant)
    }

    /// The names of the invariants.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// From now on this is what the worlds of this thread go without.
    pub fn apply(self) {
        LEFT_OUT.set(self);
    }
}

/// Whether the world of this thread goes without this invariant.
pub fn is_left_out(invariant: &str) -> bool {
    LEFT_OUT.with_borrow(|left_out| left_out.holds(invariant))
}

/// What was judged.
pub trait Judged {
    /// The same, but what breaks only an invariant that is left out is good.
    fn unless_left_out(self) -> Self;
}

impl Judged for Result<(), Broken> {
    fn unless_left_out(self) -> Self {
        self.or_else(|broken| if is_left_out(broken.invariant) { Ok(()) } else { Err(broken) })
    }
}
