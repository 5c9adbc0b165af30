//! What happened in a world, in figures: to see that the rare paths are walked.

use std::collections::BTreeMap;

use serde::Serialize;

/// Figures of one world, or of many added up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Events handled.
    pub events: u64,
    /// Virtual time that passed, in microseconds.
    pub simulated_us: u64,
    /// Frames sent.
    pub frames: u64,
    /// Client operations invoked.
    pub operations: u64,
    /// Client operations that were answered with success.
    pub operations_ok: u64,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each mark in the code was passed; see [`types::marks`].
    pub marks: BTreeMap<&'static str, u64>,
    /// Rare events by name.
    pub named: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts something by name.
    pub fn add(&mut self, name: &'static str, times: u64) {
        if times > 0 {
            *self.named.entry(name).or_default() += times;
        }
    }

    /// Counts a fault.
    pub fn add_fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Adds another world's figures.
    pub fn merge(&mut self, other: &Counts) {
        self.events += other.events;
        self.simulated_us += other.simulated_us;
        self.frames += other.frames;
        self.operations += other.operations;
        self.operations_ok += other.operations_ok;
        for (name, times) in &other.named {
            self.add(name, *times);
        }
        for (kind, times) in &other.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        for (mark, times) in &other.marks {
            *self.marks.entry(mark).or_default() += times;
        }
    }
}
