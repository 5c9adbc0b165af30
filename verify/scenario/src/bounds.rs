//! The bounds of every number and list: wide enough for any trial that ends, and so that none waits for what cannot come.

use crate::{Scenario, Span};

/// Most entries of a list.
const ITEMS_MAX: usize = 64;
/// Longest sentence of a scenario, in characters.
const ABOUT_CHARS_MAX: usize = 200;

/// What is out of bounds, field by field.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn number(&mut self, field: &str, number: Option<u64>, (least, most): (u64, u64)) {
        if let Some(number) = number
            && !(least..=most).contains(&number)
        {
            self.0.push(format!("{field} is {number}; it can be {least} to {most}"));
        }
    }

    fn span(&mut self, field: &str, span: Option<Span>, bounds: (u64, u64)) {
        let Some(Span { from, to }) = span else { return };
        self.number(&format!("{field}.from"), Some(from), bounds);
        self.number(&format!("{field}.to"), Some(to), bounds);
        if from > to {
            self.0.push(format!("{field} goes from {from} down to {to}; write the smaller number first"));
        }
    }

    fn list(&mut self, field: &str, list: Option<&Vec<u64>>, bounds: (u64, u64)) {
        let Some(list) = list else { return };
        for number in list {
            self.number(field, Some(*number), bounds);
        }
        self.length(field, list.len());
        if list.is_empty() {
            self.0.push(format!(
                "{field} is an empty list; one of its numbers is to be drawn: leave it out instead"
            ));
        }
    }

    fn names(&mut self, field: &str, names: &[impl AsRef<str>]) {
        self.length(field, names.len());
        for (at, name) in names.iter().map(AsRef::as_ref).enumerate() {
            if names[..at].iter().any(|earlier| earlier.as_ref() == name) {
                self.0.push(format!("{field} names {name:?} twice"));
            }
        }
    }

    fn length(&mut self, field: &str, length: usize) {
        if length > ITEMS_MAX {
            self.0.push(format!("{field} has {length} entries; {ITEMS_MAX} are the most"));
        }
    }
}

/// Everything that is out of bounds.
pub fn check(scenario: &Scenario) -> Vec<String> {
    let Scenario { name: _, about, cluster, workload, faults, network, disk, duration, checkers } = scenario;
    let mut found = Findings::default();
    let chars = about.chars().count();
    if chars == 0 || chars > ABOUT_CHARS_MAX || about.contains('\n') {
        found.0.push(format!(
            "about has to be one line of 1 to {ABOUT_CHARS_MAX} characters that says what this shows"
        ));
    }
    found.list("cluster.nodes", cluster.nodes.as_ref(), (1, 9));
    found.list("cluster.clock_drift_ppm", cluster.clock_drift_ppm.as_ref(), (0, 100_000));

    if let Some(kinds) = &workload.kinds {
        let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        found.names("workload.kinds", &names);
        if kinds.is_empty() {
            found.0.push(
                "workload.kinds is an empty list: clients would do nothing; leave it out for all kinds"
                    .into(),
            );
        }
    }
    found.span("workload.clients", workload.clients, (1, 64));
    found.span("workload.keys", workload.keys, (1, 100_000));
    found.span("workload.keyspaces", workload.keyspaces, (1, 1_000));
    found.list("workload.value_bytes", workload.value_bytes.as_ref(), (1, 1_048_576));
    found.span("workload.think_ms", workload.think_ms, (0, 60_000));
    found.number("workload.hot_key_per_mille", workload.hot_key_per_mille, (0, 1_000));

    found.names("faults.kinds", faults.kinds.as_deref().unwrap_or_default());
    found.span("faults.every_ms", faults.every_ms, (10, 600_000));
    found.number("faults.together", faults.together, (1, 16));

    found.list("network.latency_us", network.latency_us.as_ref(), (1, 1_000_000));
    found.list("network.jitter_us", network.jitter_us.as_ref(), (0, 1_000_000));
    found.list("network.bytes_per_s", network.bytes_per_s.as_ref(), (0, 10_000_000_000));
    // With more than half of all messages lost for long, nothing is owed, and nothing would be shown.
    found.span("network.loss_per_mille", network.loss_per_mille, (0, 500));
    found.span("network.duplicate_per_mille", network.duplicate_per_mille, (0, 500));
    found.span("network.reorder_per_mille", network.reorder_per_mille, (0, 500));
    found.span("network.corrupt_per_mille", network.corrupt_per_mille, (0, 500));

    found.list("disk.write_us", disk.write_us.as_ref(), (1, 1_000_000));
    found.list("disk.job_us", disk.job_us.as_ref(), (1, 10_000_000));
    found.list("disk.log_cache_kib", disk.log_cache_kib.as_ref(), (4, 1_048_576));
    found.list("disk.checkpoint_kib", disk.checkpoint_kib.as_ref(), (4, 1_048_576));
    found.list("disk.overlay_kib", disk.overlay_kib.as_ref(), (4, 1_048_576));
    found.list("disk.segment_kib", disk.segment_kib.as_ref(), (32, 1_048_576));
    found.list("disk.history_revisions", disk.history_revisions.as_ref(), (1, 10_000_000));

    found.span("duration.chaos_s", duration.chaos_s, (1, 86_400));
    found.number("duration.progress_within_s", duration.progress_within_s, (1, 3_600));
    found.names("checkers.names", &checkers.names);
    found.0
}
