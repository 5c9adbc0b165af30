//! From a scenario to the worlds that it allows: what it says goes into a plan, the rest stays as the seed drew it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use scenario::{Kind, Scenario, Span};

use crate::{
    brief,
    dice::Dice,
    invariants::LeftOut,
    plan::{CLOCK_DRIFT_PPM, FaultKind, MS, Plan, SECOND, WIDE_CLOCK_DRIFT_PPM},
};

const KIB: u64 = 1024;
/// Most keys per keyspace: clients read all of them at once, and the history has each read apart.
const KEYS_MAX: u64 = 90;
/// Most bytes of usual values in all keys of a keyspace: they are read in one page.
const KEYSPACE_BYTES_MAX: u64 = 1_200_000;
/// A file of the log is this many times as long as the longest usual value: some are four times as long.
const SEGMENT_PER_VALUE: u64 = 8;
/// Smallest file of the log that is drawn.
const SEGMENT_KIB: u64 = 32;

/// A scenario that the simulator can run.
#[derive(Clone, Debug, Default)]
pub struct Constraints {
    scenario: Scenario,
    file: Option<PathBuf>,
    faults: Option<Vec<FaultKind>>,
    left_out: LeftOut,
}

/// A part of a world that is left out beside what its scenario says: what shrinking tries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// At most so many ordinary clients.
    pub clients_max: Option<u64>,
    /// At most so much time of faults, in microseconds.
    pub chaos_us_max: Option<u64>,
    /// Kinds of thing that clients do not do.
    pub idle: BTreeSet<Kind>,
}

impl Constraints {
    /// What a scenario demands.
    ///
    /// # Errors
    /// When it names what there is not, or demands what does not fit together; nothing was run.
    pub fn of(scenario: Scenario) -> Result<Constraints, String> {
        let name = scenario.name.clone();
        let wrong = |what: String| format!("{name}: {what}");
        let fault = |text: &String| {
            text.parse::<FaultKind>().map_err(|error| wrong(format!("faults.kinds: {error}")))
        };
        let kinds = scenario.faults.kinds.as_ref();
        let faults = kinds.map(|kinds| kinds.iter().map(fault).collect::<Result<_, _>>()).transpose()?;
        let left_out = LeftOut::all_but(&scenario.checkers.names)
            .map_err(|error| wrong(format!("checkers.names: {error}")))?;
        fits(&scenario).map_err(wrong)?;
        Ok(Constraints { scenario, file: None, faults, left_out })
    }

    /// The scenario of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is none that the simulator can run.
    pub fn load(file: &Path) -> Result<Constraints, String> {
        let scenario = scenario::load(file).map_err(|problem| problem.to_string())?;
        Ok(Constraints { file: Some(file.into()), ..Constraints::of(scenario)? })
    }

    /// The scenarios of a folder, in order of their names.
    ///
    /// # Errors
    /// As [`Constraints::load`].
    pub fn load_folder(folder: &Path) -> Result<Vec<Constraints>, String> {
        let scenarios = scenario::load_folder(folder).map_err(|problem| problem.to_string())?;
        let constrain = |scenario: Scenario| {
            let file = Some(folder.join(format!("{}.toml", scenario.name)));
            Ok(Constraints { file, ..Constraints::of(scenario)? })
        };
        scenarios.into_iter().map(constrain).collect()
    }

    /// The scenario's name; that of no scenario is empty.
    pub fn name(&self) -> &str {
        &self.scenario.name
    }

    /// The file that it is from, if it is from one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What it shows.
    pub fn about(&self) -> &str {
        &self.scenario.about
    }

    /// What is not judged.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Puts what the scenario says into a plan.
    pub fn apply(&self, plan: &mut Plan, mut dice: Dice) {
        let Scenario { cluster, workload, faults, network, disk, duration, .. } = &self.scenario;
        let dice = &mut dice;
        pick(dice, &cluster.nodes, 1, &mut plan.nodes);
        pick(dice, &cluster.clock_drift_ppm, 1, &mut plan.clock_drift_ppm);
        if let Some(kinds) = &workload.kinds {
            self.apply_kinds(plan, dice, kinds);
        }
        within(dice, workload.clients, 1, &mut plan.clients);
        within(dice, workload.keys, 1, &mut plan.keys);
        pick(dice, &workload.value_bytes, 1, &mut plan.value_bytes);
        within(dice, workload.think_ms, MS, &mut plan.think_us);
        if let Some(Span { from, to }) = workload.keyspaces {
            plan.briefs = dice.between(from, to) as usize;
        }
        plan.hot_key_per_mille = workload.hot_key_per_mille.unwrap_or(plan.hot_key_per_mille);

        if let Some(faults) = &self.faults {
            plan.faults.clone_from(faults);
            if faults.is_empty() {
                plan.network.loss_per_mille = 0;
                plan.network.duplicate_per_mille = 0;
                plan.network.reorder_per_mille = 0;
                plan.network.corrupt_per_mille = 0;
            }
        }
        within(dice, faults.every_ms, MS, &mut plan.fault_every_us);
        plan.together = faults.together.unwrap_or(plan.together);

        pick(dice, &network.latency_us, 1, &mut plan.network.latency_us);
        pick(dice, &network.jitter_us, 1, &mut plan.network.jitter_us);
        pick(dice, &network.bytes_per_s, 1, &mut plan.network.bytes_per_s);
        within(dice, network.loss_per_mille, 1, &mut plan.network.loss_per_mille);
        within(dice, network.duplicate_per_mille, 1, &mut plan.network.duplicate_per_mille);
        within(dice, network.reorder_per_mille, 1, &mut plan.network.reorder_per_mille);
        within(dice, network.corrupt_per_mille, 1, &mut plan.network.corrupt_per_mille);

        pick(dice, &disk.write_us, 1, &mut plan.write_us);
        pick(dice, &disk.job_us, 1, &mut plan.job_us);
        pick(dice, &disk.log_cache_kib, KIB, &mut plan.limits.log_cache_bytes_max);
        pick(dice, &disk.checkpoint_kib, KIB, &mut plan.limits.log_bytes_per_checkpoint);
        pick(dice, &disk.overlay_kib, KIB, &mut plan.limits.overlay_bytes);
        pick(dice, &disk.segment_kib, KIB, &mut plan.limits.segment_bytes);
        pick(dice, &disk.history_revisions, 1, &mut plan.limits.history_revisions_max);

        within(dice, duration.chaos_s, SECOND, &mut plan.chaos_us);
        plan.progress_us = duration.progress_within_s.map_or(plan.progress_us, |within| within * SECOND);
    }

    fn apply_kinds(&self, plan: &mut Plan, dice: &mut Dice, kinds: &[Kind]) {
        let wanted = |kind| kinds.contains(&kind);
        plan.idle = Kind::ALL.into_iter().filter(|kind| !wanted(*kind)).collect();
        plan.transactions = wanted(Kind::Transactions);
        let (holders, talliers) = (dice.between(2, 3), dice.between(2, 3));
        if wanted(Kind::Locks) && self.scenario.cluster.clock_drift_ppm.is_none() {
            plan.clock_drift_ppm = CLOCK_DRIFT_PPM;
        }
        plan.holders = if wanted(Kind::Locks) { holders } else { 0 };
        plan.talliers = if wanted(Kind::Counters) { talliers } else { 0 };
    }
}

impl Cut {
    /// Whether nothing is left out.
    pub fn is_nothing(&self) -> bool {
        *self == Cut::default()
    }

    /// Takes it out of a plan.
    pub fn apply(&self, plan: &mut Plan) {
        plan.clients = plan.clients.min(self.clients_max.unwrap_or(u64::MAX));
        plan.chaos_us = plan.chaos_us.min(self.chaos_us_max.unwrap_or(u64::MAX));
        plan.idle.extend(&self.idle);
        plan.transactions &= !plan.idle.contains(&Kind::Transactions);
        if plan.idle.contains(&Kind::Locks) {
            plan.holders = 0;
        }
        if plan.idle.contains(&Kind::Counters) {
            plan.talliers = 0;
        }
    }
}

fn pick(dice: &mut Dice, list: &Option<Vec<u64>>, unit: u64, place: &mut u64) {
    if let Some(list) = list {
        *place = dice.pick(list) * unit;
    }
}

fn within(dice: &mut Dice, span: Option<Span>, unit: u64, place: &mut u64) {
    if let Some(Span { from, to }) = span {
        *place = dice.between(from * unit, to * unit);
    }
}

/// Whether what it demands can be simulated, and fits together.
fn fits(scenario: &Scenario) -> Result<(), String> {
    let Scenario { cluster, workload, disk, .. } = scenario;
    let drift_ppm = cluster.clock_drift_ppm.iter().flatten().copied().max().unwrap_or(0);
    if drift_ppm > WIDE_CLOCK_DRIFT_PPM {
        return Err(format!(
            "cluster.clock_drift_ppm: reads by lease allow for {WIDE_CLOCK_DRIFT_PPM} at most"
        ));
    }
    if drift_ppm > CLOCK_DRIFT_PPM && workload.kinds.as_ref().is_none_or(|kinds| kinds.contains(&Kind::Locks))
    {
        return Err(format!(
            "clocks that are wrong by {drift_ppm} ppm are more than clients with locks allow for ({CLOCK_DRIFT_PPM}): list workload.kinds without \"locks\""
        ));
    }
    let most = brief::NAMES.len();
    if workload.keyspaces.is_some_and(|keyspaces| keyspaces.to > most as u64) {
        return Err(format!("workload.keyspaces: the simulator has names for {most}"));
    }
    let keys = workload.keys.map_or(6, |keys| keys.to);
    if keys > KEYS_MAX {
        return Err(format!(
            "workload.keys: the simulator's clients read all keys at once; {KEYS_MAX} are the most"
        ));
    }
    let value_bytes = workload.value_bytes.iter().flatten().copied().max().unwrap_or(0);
    if keys * value_bytes > KEYSPACE_BYTES_MAX {
        return Err(format!(
            "{keys} keys of {value_bytes} bytes are more than one page of {KEYSPACE_BYTES_MAX} bytes"
        ));
    }
    let segment_kib = disk.segment_kib.iter().flatten().copied().min().unwrap_or(SEGMENT_KIB);
    if segment_kib * KIB < SEGMENT_PER_VALUE * value_bytes {
        let least = (SEGMENT_PER_VALUE * value_bytes).div_ceil(KIB);
        return Err(format!("disk.segment_kib has to be {least} or more for values of {value_bytes} bytes"));
    }
    Ok(())
}
