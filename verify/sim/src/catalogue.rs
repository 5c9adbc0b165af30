//! The catalogue of planted bugs: how each is looked for, and in how many seeds it is found.
//!
//! `verify/planted/README.md` says what each does and whence it is; the program `catalogue` measures and writes there.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use raft_group::Planted;
use serde::Serialize;

use crate::{
    constrain::Constraints,
    failure::{Promise, Verdict},
    invariants::{FAMILIES, LeftOut},
    lab,
    runner::run_seed,
    world::Options,
};

/// Seeds at which a search for a bug starts, to see whether it was luck.
pub const STARTS: [u64; 5] = [0, 10_000, 20_000, 30_000, 40_000];
/// Seeds from a start after which a bug counts as not found.
pub const SEEDS_MAX: u64 = 600;

/// Where a bug is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// In worlds of a scenario, with everything checked, the promises between nodes too.
    Worlds(&'static str),
    /// In worlds of a scenario, by what comes of it alone.
    Outcomes(&'static str),
    /// In worlds of a scenario, by what is owed and does not come, or by a node that stops though nothing was done to it.
    Breach(Promise, &'static str),
    /// In worlds of a scenario, each run twice.
    Twice(&'static str),
    /// In experiments with the planner.
    Experiments,
    /// In a scenario of its own, since chance seldom comes upon it: this test.
    Directed(&'static str),
}

/// How a bug is looked for in a run of the checks.
pub fn search(bug: Planted) -> Search {
    use Search::{Breach, Directed, Experiments, Outcomes, Twice, Worlds};
    match bug {
        Planted::AckBeforeFsync
        | Planted::VoteNotPersisted
        | Planted::TermNotPersisted
        | Planted::GroupByCount
        | Planted::AllMeansQuorum => Worlds("anything"),
        Planted::EarlyBeforeFsync | Planted::EarlyClaimsQuorum => Worlds("early_acks"),
        Planted::LeaseFromConfirmation => Worlds("standing_still"),
        Planted::LeaseOutlastsRefusal => Worlds("leader_cut_off"),
        Planted::LostForgottenAtAppend => Outcomes("early_acks"),
        Planted::TxnIgnoresCompares => Outcomes("transfers"),
        Planted::SessionIgnored | Planted::FreshByHearsay | Planted::StalenessHidden => Outcomes("sessions"),
        Planted::HlcIsWallClock => Outcomes("jumping_clocks"),
        Planted::WatchSkipsHistory | Planted::WatchSkipsCompacted | Planted::WatchFromOwnRevision => {
            Outcomes("watches")
        }
        Planted::DeletionMissed | Planted::QuotaForgotten => Outcomes("keyspaces"),
        Planted::LeasesNotExtended
        | Planted::LeasesOfOldTerm
        | Planted::RevokedByOldLeader
        | Planted::StaleFenceAccepted => Outcomes("locks"),
        Planted::LeasesByWallClock => Outcomes("jumping_clocks"),
        Planted::KeysForgottenByNextLeader | Planted::OperationsNotDeduplicated => Outcomes("retries"),
        Planted::KeyApartFromEffect => Outcomes("kills"),
        Planted::SnapshotWithoutKeys => Outcomes("snapshots"),
        Planted::FirstOperationOverwritten => Outcomes("quiet"),
        Planted::ReadUnconfirmed => Outcomes("one_key"),
        Planted::EntryLostInCrash => Outcomes("kills"),
        Planted::DamageTruncated | Planted::RefusalLeavesNote => Outcomes("rotten_logs"),
        Planted::PastIsNewest | Planted::CompactsYoung => Outcomes("watches"),
        Planted::FrontierForgotten => Outcomes("sessions"),
        Planted::ChecksumIgnored => Worlds("flipped_bits"),
        Planted::RoomNeverNoticed => Breach(Promise::Liveness, "full_disks"),
        Planted::LateUnanswered => Breach(Promise::Liveness, "leader_cut_off"),
        Planted::LateReplyPanics => Breach(Promise::Crash, "late_messages"),
        Planted::SeedOfTheProcess => Twice("quiet"),
        Planted::RefusesAtDeadline | Planted::EventualNeedsLeader => Experiments,
        Planted::KeepAliveUnconfirmed => Directed("core/node/tests/scenarios/leases.rs"),
        Planted::StartedVotesAtOnce | Planted::VotesNotRefused | Planted::LeaseOutlivesHandOver => {
            Directed("core/raft/tests/raft/read_leases.rs")
        }
        Planted::PriorTermCommitted | Planted::ReadContextReused => {
            Directed("core/raft/tests/raft/planted.rs")
        }
    }
}

impl Search {
    /// The scenario of worlds.
    fn scenario(self) -> Option<&'static str> {
        match self {
            Search::Worlds(name) | Search::Outcomes(name) | Search::Breach(_, name) | Search::Twice(name) => {
                Some(name)
            }
            Search::Experiments | Search::Directed(_) => None,
        }
    }
}

/// A bug that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The seed in which it was.
    pub seed: u64,
    /// What it broke there.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
}

/// How worlds run in which this bug, if there is one, is looked for like that one.
///
/// # Errors
/// When the scenario cannot be read.
pub fn options(like: Planted, bug: Option<Planted>, left_out: LeftOut) -> Result<Options, String> {
    let looks = search(like);
    let file =
        |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/fast").join(format!("{name}.toml"));
    let scenarios = looks.scenario().map(|name| Constraints::load(&file(name)).map(Arc::new)).transpose()?;
    let outcomes_only = !matches!(looks, Search::Worlds(_) | Search::Experiments);
    let scenarios = scenarios.into_iter().collect();
    Ok(Options { planted: bug, outcomes_only, scenarios, left_out, ..Options::default() })
}

/// Looks for a bug in these seeds. Answers the first in which it is found; `None` also where it is looked for elsewhere.
///
/// # Errors
/// When the scenario cannot be read.
pub fn find(bug: Planted, seeds: Range<u64>, left_out: LeftOut) -> Result<Option<Found>, String> {
    let options = options(bug, Some(bug), left_out)?;
    let looks = search(bug);
    let promise = match looks {
        Search::Directed(_) => return Ok(None),
        Search::Breach(promise, _) => promise,
        _ => Promise::Safety,
    };
    Ok(first(seeds, &|seed| {
        let found = |invariant, message| Some(Found { seed, invariant, message });
        if looks == Search::Experiments {
            let told = lab::confirm(&lab::any(seed), &options).err()?;
            return found("predictions", told);
        }
        let outcome = run_seed(seed, &options);
        match outcome.verdict {
            _ if matches!(looks, Search::Twice(_)) => {
                let differs = run_seed(seed, &options).trace_hash != outcome.trace_hash;
                let judged = differs && !options.left_out.holds("two_runs_are_equal");
                judged.then(|| found("two_runs_are_equal", "two runs had different traces".into()))?
            }
            Verdict::Failed(failure) if failure.promise == promise => {
                found(failure.invariant, failure.message)
            }
            _ => None,
        }
    }))
}

/// The first of these seeds, in their order, in which something is found; looked for on all cores.
fn first(seeds: Range<u64>, look: &(dyn Fn(u64) -> Option<Found> + Sync)) -> Option<Found> {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<Found>> = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while found.lock().expect("no thread panics with the lock").is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let Some(new) = look(seed) else { continue };
                    let mut found = found.lock().expect("no thread panics with the lock");
                    if found.as_ref().is_none_or(|found| new.seed < found.seed) {
                        *found = Some(new);
                    }
                }
            });
        }
    });
    found.into_inner().expect("no thread panics with the lock")
}

/// What a bug came to from every start.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub bug: String,
    /// Where it was looked for.
    pub scenario: String,
    /// What it broke, from each start.
    pub caught_by: Vec<&'static str>,
    /// Seeds from each start up to the one in which it was found; `None`: not in [`SEEDS_MAX`].
    pub seeds: Vec<Option<u64>>,
    /// The families that find it in the seeds of the first start: each without those before it. One that stands alone is needed.
    pub families: Vec<&'static str>,
}

/// Looks for a bug from every start; then, in the seeds of the first, without the family that found it.
///
/// # Errors
/// When the scenario cannot be read.
pub fn measure(bug: Planted) -> Result<Row, String> {
    let scenario = match search(bug) {
        Search::Worlds(name) => format!("`{name}`"),
        Search::Outcomes(name) => format!("`{name}`, outcomes alone"),
        Search::Breach(_, name) => format!("`{name}`, breaches that harm no data"),
        Search::Twice(name) => format!("`{name}`, twice"),
        Search::Experiments => "experiments with the planner".into(),
        Search::Directed(test) => format!("`{test}`"),
    };
    let (bug_name, seeds, caught_by, families) = (bug.name(), Vec::new(), Vec::new(), Vec::new());
    let mut row = Row { bug: bug_name, scenario, caught_by, seeds, families };
    if let Search::Directed(_) = search(bug) {
        return Ok(row);
    }
    for start in STARTS {
        let found = find(bug, start..start + SEEDS_MAX, LeftOut::NOTHING)?;
        row.seeds.push(found.as_ref().map(|found| found.seed - start + 1));
        row.caught_by.extend(found.map(|found| found.invariant));
    }
    if search(bug) != Search::Experiments
        && let Some(first) = row.seeds[0]
    {
        row.families = ablate(bug, STARTS[0]..STARTS[0] + first)?;
    }
    row.caught_by.sort_unstable();
    row.caught_by.dedup();
    Ok(row)
}

/// The families that find a bug in these seeds: the first with all of them, each other one without those before it.
///
/// # Errors
/// When the scenario cannot be read.
pub fn ablate(bug: Planted, seeds: Range<u64>) -> Result<Vec<&'static str>, String> {
    let (mut found, mut left_out) = (Vec::new(), LeftOut::NOTHING);
    while let Some(Found { invariant, .. }) = find(bug, seeds.clone(), left_out.clone())? {
        let family = family(invariant).ok_or_else(|| format!("{invariant} is of no family"))?;
        found.push(family);
        left_out.leave_out(&format!("family:{family}"))?;
    }
    Ok(found)
}

/// The family of an invariant.
pub fn family(invariant: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(_, names)| names.contains(&invariant)).map(|(family, _)| *family)
}

impl Row {
    /// A row of a Markdown table.
    pub fn markdown(&self) -> String {
        let number = |seeds: Option<u64>| seeds.map_or(format!("> {SEEDS_MAX}"), |seeds| seeds.to_string());
        let mut sorted = self.seeds.clone();
        sorted.sort_by_key(|seeds| seeds.unwrap_or(u64::MAX));
        let seeds = match sorted[..] {
            [] => "one run".to_string(),
            [.., worst] => format!("{} (at most {})", number(sorted[sorted.len() / 2]), number(worst)),
        };
        let caught_by = if self.caught_by.is_empty() { "the test".into() } else { self.caught_by.join(", ") };
        let families = match self.families[..] {
            [] => "-".to_string(),
            [only] => format!("**{only}** alone"),
            [..] => self.families.join(", then "),
        };
        format!("| `{}` | {} | {caught_by} | {seeds} | {families} |", self.bug, self.scenario)
    }
}
