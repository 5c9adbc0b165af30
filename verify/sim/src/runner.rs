//! Many seeds on all cores. Each world is a thread's own; only results are shared.

use std::{
    cell::RefCell,
    ops::Range,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::{
        Mutex, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    counts::Counts,
    failure::{Broken, Failure, Promise, Verdict},
    invariants::is_left_out,
    world::{Options, Outcome, World},
};

thread_local! {
    /// What the code under test said as it panicked; `None` while no world runs on this thread.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that kept every promise.
    pub passed: u64,
    /// Seeds that did not, with how.
    pub failed: Vec<(u64, Failure)>,
    /// Seeds that the checker gave up on.
    pub unknown: Vec<(u64, String)>,
    /// What happened in all of them.
    pub counts: Counts,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    /// Seeds run.
    pub fn seeds(&self) -> u64 {
        self.passed + self.failed.len() as u64 + self.unknown.len() as u64
    }

    /// Marks in the code that no seed passed.
    pub fn marks_missed(&self) -> Vec<&'static str> {
        types::marks::MARKS
            .iter()
            .map(|(mark, _)| *mark)
            .filter(|mark| !self.counts.marks.contains_key(mark))
            .collect()
    }

    /// Whether every seed passed.
    pub fn clean(&self) -> bool {
        self.failed.is_empty() && self.unknown.is_empty()
    }
}

/// What [`run_seeds`] does beside running each seed once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Run every seed twice and compare the traces.
    pub twice: bool,
    /// Start no more seeds once one has broken a safety property.
    pub stop_at_violation: bool,
}

/// Runs one seed; a panic of the code under test is a failure of the seed.
pub fn run_seed(seed: u64, options: &Options) -> Outcome {
    quiet_panics();
    PANIC.set(Some(String::new()));
    let mut world = World::new(seed, options);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| world.verdict()));
    let verdict = ran.unwrap_or_else(|_| {
        let said = PANIC.replace(Some(String::new())).unwrap_or_default();
        // A world that goes without this invariant ends here all the same.
        if is_left_out("no_panic") { Verdict::Stopped } else { world.failed(Broken::crash("no_panic", said)) }
    });
    let outcome = world.outcome(seed, verdict);
    // What panicked once may do so again as it is taken down, which is no news.
    drop(panic::catch_unwind(AssertUnwindSafe(|| drop(world))));
    PANIC.set(None);
    outcome
}

/// Runs seeds on all cores, calling `progress` with what they came to so far, now and then.
pub fn run_seeds(
    seeds: Range<u64>,
    options: &Options,
    extras: Extras,
    progress: &(dyn Fn(&Summary) + Sync),
) -> Summary {
    let started = Instant::now();
    let options = &Options { untraced: !extras.twice, ..options.clone() };
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut outcome = run_seed(seed, options);
                    if extras.twice && run_seed(seed, options).trace_hash != outcome.trace_hash {
                        outcome.verdict = Verdict::Failed(differs(&outcome.counts));
                    }
                    let violated =
                        matches!(&outcome.verdict, Verdict::Failed(f) if f.promise == Promise::Safety);
                    let mut summary = summary.lock().expect("no thread panics with the lock");
                    summary.add(outcome);
                    progress(&summary);
                    if violated && extras.stop_at_violation {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no thread panics with the lock");
    summary.failed.sort_by_key(|(seed, _)| *seed);
    summary.unknown.sort();
    summary.elapsed = started.elapsed();
    summary
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.counts.merge(&outcome.counts);
        match outcome.verdict {
            Verdict::Passed | Verdict::Stopped => self.passed += 1,
            Verdict::Failed(failure) => self.failed.push((outcome.seed, failure)),
            Verdict::Unknown(reason) => self.unknown.push((outcome.seed, reason)),
        }
    }
}

fn differs(counts: &Counts) -> Failure {
    Failure {
        promise: Promise::Crash,
        invariant: "two_runs_are_equal",
        message: "a second run gave another trace; the test `meta` shows the first line that differs".into(),
        step: counts.events,
        time_us: counts.simulated_us,
    }
}

/// Panics inside worlds are kept for the report instead of printed.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let inside = PANIC.with_borrow_mut(|said| match said {
                Some(said) => {
                    *said = describe(info);
                    true
                }
                None => false,
            });
            if !inside {
                usual(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    match info.location() {
        Some(place) => format!("{message} (at {}:{})", place.file(), place.line()),
        None => message.to_string(),
    }
}
