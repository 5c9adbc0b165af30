//! A failing run made smaller before anyone reads it: shorter, with fewer kinds of work, fewer clients and fewer faults,
//! as long as the same invariant breaks.
//!
//! It is a search within [`RUNS_MAX`] runs, so what is found need not be the smallest. What is found was run: its
//! options replay it, to the byte.

use std::collections::BTreeSet;

use scenario::Kind;

use crate::{
    dice::Dice,
    failure::{Failure, Verdict},
    injection::{Injected, Numbers},
    plan::{MS, Plan},
    runner::run_seed,
    world::Options,
};

/// Runs that one seed's search may take.
pub const RUNS_MAX: u32 = 64;
/// Shortest time of faults that is tried, in microseconds.
const CHAOS_US_MIN: u64 = 100 * MS;

/// A failing run, and what makes it.
#[derive(Debug)]
pub struct Shrunk {
    /// The seed.
    pub seed: u64,
    /// What replays it.
    pub options: Options,
    /// How it fails.
    pub failure: Failure,
    /// The faults that are left.
    pub faults: Vec<Injected>,
    /// How many there were.
    pub faults_before: usize,
    /// Runs that the search took.
    pub runs: u32,
}

/// Looks for a smaller run that breaks the same invariant.
pub fn shrink(seed: u64, options: &Options, failure: &Failure) -> Shrunk {
    let mut search = Search {
        shrunk: Shrunk {
            seed,
            options: Options { keep_trace: false, untraced: true, until: None, ..options.clone() },
            failure: failure.clone(),
            faults: Vec::new(),
            faults_before: 0,
            runs: 0,
        },
    };
    if !search.try_with(|_| {}) {
        // A run that was ended by a panic is not told with its faults, and one that differs each time not at all.
        return search.shrunk;
    }
    search.shrunk.faults_before = search.shrunk.faults.len();
    search.shorten();
    search.idle();
    search.fewer_clients();
    search.fewer_faults();
    search.shrunk
}

struct Search {
    shrunk: Shrunk,
}

impl Search {
    /// Runs with a change, and keeps it if the same invariant breaks.
    fn try_with(&mut self, change: impl FnOnce(&mut Options)) -> bool {
        if self.shrunk.runs == RUNS_MAX {
            return false;
        }
        self.shrunk.runs += 1;
        let mut options = self.shrunk.options.clone();
        change(&mut options);
        let outcome = run_seed(self.shrunk.seed, &options);
        match outcome.verdict {
            Verdict::Failed(failure) if failure.invariant == self.shrunk.failure.invariant => {
                self.shrunk.options = options;
                self.shrunk.failure = failure;
                self.shrunk.faults = outcome.faults;
                true
            }
            _ => false,
        }
    }

    fn plan(&self) -> Plan {
        let (seed, options) = (self.shrunk.seed, &self.shrunk.options);
        let mut plan = Plan::draw(&mut Dice::new(seed), &options.scenario(seed));
        options.cut.apply(&mut plan);
        plan
    }

    fn shorten(&mut self) {
        let mut chaos_us = self.plan().chaos_us / 2;
        while chaos_us >= CHAOS_US_MIN {
            // The command line says it in milliseconds.
            let whole_us = chaos_us / MS * MS;
            if !self.try_with(|options| options.cut.chaos_us_max = Some(whole_us)) {
                return;
            }
            chaos_us /= 2;
        }
    }

    fn idle(&mut self) {
        let idle = self.plan().idle;
        for kind in Kind::ALL.into_iter().filter(|kind| !idle.contains(kind)) {
            self.try_with(|options| {
                options.cut.idle.insert(kind);
            });
        }
    }

    fn fewer_clients(&mut self) {
        let all = self.plan().clients;
        let fewer: BTreeSet<u64> =
            [1, 2, all / 2].into_iter().filter(|fewer| (1..all).contains(fewer)).collect();
        for clients in fewer {
            if self.try_with(|options| options.cut.clients_max = Some(clients)) {
                return;
            }
        }
    }

    fn fewer_faults(&mut self) {
        if self.keep_faults(&[]) {
            return;
        }
        let mut kept: Vec<u64> = self.shrunk.faults.iter().map(|fault| fault.number).collect();
        // Those that were due and did not happen may have done something all the same; usually they have not.
        self.keep_faults(&kept);
        let mut part = kept.len().div_ceil(2);
        while part > 0 && kept.len() > 1 && self.shrunk.runs < RUNS_MAX {
            let mut from = 0;
            while from < kept.len() {
                let rest = [&kept[..from], &kept[(from + part).min(kept.len())..]].concat();
                if self.keep_faults(&rest) {
                    kept = rest;
                } else {
                    from += part;
                }
            }
            part /= 2;
        }
    }

    fn keep_faults(&mut self, kept: &[u64]) -> bool {
        self.try_with(|options| options.skip_faults = Numbers::all_but(kept))
    }
}
