//! What is to be run: a scenario, and what the caller says beside it. What the scenario leaves to chance is drawn from
//! the seed; what real processes cannot do is named.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use scenario::{Kind, Scenario, Span};

use crate::{
    ChaosError,
    faults::{Fault, Meant, Palette, meant},
    proxy::Effect,
    work::Manner,
};

/// A run of faults is at most this long.
pub const CHAOS_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// Progress is owed within this, unless the scenario says otherwise.
const PROGRESS_WITHIN: Duration = Duration::from_secs(20);
/// Between faults of one lane it is quiet for at least so long, else no election would ever end.
const GAP_MS_MIN: u64 = 400;

/// Which system is judged.
#[derive(Clone, Debug)]
pub enum Target {
    /// A cluster of this `quorate`, started here.
    Quorate {
        /// The program.
        binary: PathBuf,
    },
    /// A cluster of this `etcd`, started here.
    StartEtcd {
        /// The program.
        binary: PathBuf,
    },
    /// An etcd cluster that somebody else runs.
    Etcd {
        /// Where its members serve clients.
        endpoints: Vec<SocketAddr>,
        /// Its processes, if they may be hurt, in order of the endpoints.
        pids: Vec<u32>,
    },
}

/// What the caller says.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The scenario.
    pub scenario: Scenario,
    /// How many nodes; `None`: as the scenario says.
    pub nodes: Option<usize>,
    /// For how long faults happen; `None`: as the scenario says.
    pub chaos: Option<Duration>,
    /// What everything is drawn from.
    pub seed: u64,
    /// Where histories are kept.
    pub history: Option<PathBuf>,
    /// Steps of search for an order of a key's operations.
    pub budget: u64,
    /// Whom.
    pub target: Target,
    /// The command that does this again, for the report.
    pub again: String,
}

/// Something of the scenario that is not done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub what: String,
    /// Why.
    pub why: String,
    /// Whether something near it is done instead.
    pub instead: Option<Fault>,
}

/// What is run: the scenario, with everything drawn.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// How many nodes.
    pub nodes: usize,
    /// Faults, before it is known which the machine permits.
    pub palette: Palette,
    /// What clients do, of what there is here.
    pub kinds: Vec<Kind>,
    /// Clients of registers.
    pub clients: usize,
    /// How they behave.
    pub manner: Manner,
    /// How links between peers are all the time, until everything heals.
    pub network: Vec<Effect>,
    /// Progress is owed within this.
    pub progress_within: Duration,
    /// What is not done.
    pub skipped: Vec<Skipped>,
}

/// What chaos has clients for.
pub const KINDS: [Kind; 6] =
    [Kind::Registers, Kind::Transactions, Kind::Sessions, Kind::Locks, Kind::Counters, Kind::Watches];

/// Draws what the scenario leaves open.
///
/// # Errors
/// If it names a fault that there is not, or the run would be too long.
pub fn draw(wish: &Wish) -> Result<Drawn, ChaosError> {
    let scenario = &wish.scenario;
    let mut dice = fastrand::Rng::with_seed(wish.seed ^ 0x7363_656e_6172_696f);
    let one_of = |dice: &mut fastrand::Rng, list: &Option<Vec<u64>>, default: u64| match list.as_deref() {
        Some(list @ [_, ..]) => list[dice.usize(0..list.len())],
        _ => default,
    };
    let within = |dice: &mut fastrand::Rng, span: Option<Span>, from: u64, to: u64| {
        let Span { from, to } = span.unwrap_or(Span { from, to });
        dice.u64(from..=to.max(from))
    };
    let drawn_nodes = one_of(&mut dice, &scenario.cluster.nodes, 3) as usize;
    let nodes = match &wish.target {
        Target::Etcd { endpoints, .. } => endpoints.len(),
        _ => wish.nodes.unwrap_or(drawn_nodes),
    };
    let clients = within(&mut dice, scenario.workload.clients, 4, 8) as usize;
    let keys = within(&mut dice, scenario.workload.keys, 3, 6) as usize;
    let value_bytes = one_of(&mut dice, &scenario.workload.value_bytes, 200) as usize;
    let think = Duration::from_millis(within(&mut dice, scenario.workload.think_ms, 10, 30));
    let chaos_s = within(&mut dice, scenario.duration.chaos_s, 60, 60);
    let total = wish.chaos.unwrap_or(Duration::from_secs(chaos_s));
    if total > CHAOS_MAX {
        return Err(ChaosError::usage(format!(
            "a run may have {} hours at most",
            CHAOS_MAX.as_secs() / 3600
        )));
    }
    let (faults, mut skipped) = faults_of(scenario, nodes)?;
    let faults = of_target(faults, &wish.target, &mut skipped);
    let every = scenario.faults.every_ms.unwrap_or(Span { from: 800, to: 4_000 });
    let gap = |ms: u64| Duration::from_millis(ms.max(GAP_MS_MIN));
    let palette = Palette {
        faults,
        gap: (gap(every.from), gap(every.to.max(every.from + 1_000))),
        together: scenario.faults.together.unwrap_or(1).clamp(1, 8) as usize,
        total,
        nodes,
    };
    let asked = scenario.workload.kinds.clone().unwrap_or_else(|| KINDS.to_vec());
    let has = |kind: &Kind| match wish.target {
        Target::Quorate { .. } => KINDS.contains(kind),
        _ => matches!(kind, Kind::Registers | Kind::Transactions),
    };
    let (kinds, left): (Vec<Kind>, Vec<Kind>) = asked.iter().partition(|kind| has(kind));
    for kind in left {
        let why = match KINDS.contains(&kind) {
            true => "etcd has other ones, and no clients of them are here",
            false => "clients of this kind are in the simulator alone",
        };
        let what = format!("workload: {}", format!("{kind:?}").to_lowercase());
        skipped.push(Skipped { what, why: why.to_owned(), instead: None });
    }
    // Something has to be judged, whatever the scenario is about.
    let kinds = if kinds.is_empty() { vec![Kind::Registers] } else { kinds };
    skipped.extend(not_of_links(scenario));
    let ms = |us: u64| Duration::from_micros(us);
    let delay = ms(one_of(&mut dice, &scenario.network.latency_us, 0));
    let jitter = ms(one_of(&mut dice, &scenario.network.jitter_us, 0));
    let bytes_per_s = one_of(&mut dice, &scenario.network.bytes_per_s, 0);
    let mut network = Vec::new();
    if !(delay + jitter).is_zero() {
        network.push(Effect::Late { delay, jitter });
    }
    if bytes_per_s > 0 {
        network.push(Effect::Narrow { bytes_per_s });
    }
    Ok(Drawn {
        nodes,
        palette,
        kinds,
        clients,
        manner: Manner {
            keys,
            value_bytes,
            think,
            hot_key_per_mille: scenario.workload.hot_key_per_mille.unwrap_or(0) as u16,
        },
        network,
        progress_within: scenario.duration.progress_within_s.map_or(PROGRESS_WITHIN, Duration::from_secs),
        skipped,
    })
}

fn faults_of(scenario: &Scenario, nodes: usize) -> Result<(Vec<Fault>, Vec<Skipped>), ChaosError> {
    let (mut faults, mut skipped) = (Vec::new(), Vec::new());
    let names: Vec<String> = match &scenario.faults.kinds {
        Some(kinds) => kinds.clone(),
        None => Fault::ALL.map(|fault| fault.name().to_owned()).to_vec(),
    };
    for name in names {
        let Some(meant) = meant(&name) else {
            let all = Fault::ALL.map(Fault::name).join(", ");
            return Err(ChaosError::usage(format!("there is no fault {name:?}; there are {all}")));
        };
        let mut skip = |why: &str, instead| {
            skipped.push(Skipped { what: name.clone(), why: why.to_owned(), instead });
        };
        let fault = match meant {
            Meant::Same(fault) => fault,
            Meant::Nearest(fault, why) => {
                skip(why, Some(fault));
                fault
            }
            Meant::Never(why) => {
                skip(why, None);
                continue;
            }
        };
        if nodes < fault.nodes_min() {
            skip(&format!("it takes {} nodes", fault.nodes_min()), None);
        } else if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    Ok((faults, skipped))
}

/// Faults that this system can be given.
fn of_target(faults: Vec<Fault>, target: &Target, skipped: &mut Vec<Skipped>) -> Vec<Fault> {
    let why_not = |fault: Fault| match target {
        Target::Quorate { .. } => None,
        Target::StartEtcd { .. } if fault == Fault::Corrupt => {
            Some("its peers speak without TLS here: nobody could notice")
        }
        Target::StartEtcd { .. } if fault == Fault::DiskFull => {
            Some("etcd ends when its disk is full, and promises nothing else")
        }
        Target::StartEtcd { .. } => None,
        Target::Etcd { .. } if matches!(fault, Fault::ClientCut | Fault::LostAnswers) => None,
        Target::Etcd { pids, .. } if fault == Fault::Pause => {
            pids.is_empty().then_some("it is not known which processes these are (--etcd-pids)")
        }
        Target::Etcd { .. } if fault.needs_processes() => Some(
            "the cluster was not started here: its processes may be paused alone (--start-etcd starts one)",
        ),
        Target::Etcd { .. } => Some("the cluster was not started here: its peers have no links of ours"),
    };
    let mut kept = Vec::new();
    for fault in faults {
        match why_not(fault) {
            None => kept.push(fault),
            Some(why) => {
                skipped.push(Skipped { what: fault.name().to_owned(), why: why.to_owned(), instead: None });
            }
        }
    }
    kept
}

/// What the scenario wants of the network all the time, and links cannot do.
fn not_of_links(scenario: &Scenario) -> Option<Skipped> {
    let network = &scenario.network;
    let wants = |span: Option<Span>| span.is_some_and(|span| span.to > 0);
    let lossy = wants(network.loss_per_mille)
        || wants(network.duplicate_per_mille)
        || wants(network.reorder_per_mille)
        || wants(network.corrupt_per_mille);
    lossy.then(|| Skipped {
        what: "network: loss, duplicates, reordering, corruption of messages".to_owned(),
        why: "TCP repairs them before a node could see it; the simulator has messages that suffer them"
            .to_owned(),
        instead: None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn wish(scenario: Scenario, nodes: Option<usize>) -> Wish {
        Wish {
            scenario,
            nodes,
            chaos: None,
            seed: 7,
            history: None,
            budget: 1,
            target: Target::Quorate { binary: PathBuf::new() },
            again: String::new(),
        }
    }

    #[test]
    fn every_scenario_of_the_simulator_can_be_run_or_says_what_is_skipped() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/scenarios");
        for part in ["fast", "slow"] {
            for scenario in scenario::load_folder(&folder.join(part)).expect("they can be read") {
                let name = scenario.name.clone();
                let asked = scenario.faults.kinds.clone().unwrap_or_default().len();
                let drawn = draw(&wish(scenario, Some(5))).unwrap_or_else(|error| panic!("{name}: {error}"));
                let done = drawn.palette.faults.len() + drawn.skipped.len();
                assert!(done >= asked.min(1), "{name}: its faults are neither done nor named");
                assert!(!drawn.kinds.is_empty(), "{name}: nothing would be judged");
            }
        }
    }

    #[test]
    fn what_takes_five_nodes_is_skipped_with_three_and_an_unknown_fault_is_refused() {
        let scenario = |faults: &str| {
            let text = format!("about = \"a test\"\n[faults]\nkinds = [{faults}]\n");
            scenario::parse("test", &text).expect("it is one")
        };
        let drawn = draw(&wish(scenario("\"bridge\", \"kill\""), Some(3))).expect("drawn");
        assert_eq!(drawn.palette.faults, [Fault::Kill]);
        assert_eq!(drawn.skipped[0].what, "bridge");
        let error = draw(&wish(scenario("\"earthquake\""), None)).expect_err("no such fault");
        assert!(error.to_string().contains("rolling_restart"), "{error}");
    }

    #[test]
    fn a_cluster_that_was_not_started_here_is_never_killed() {
        let all = Fault::ALL.to_vec();
        let endpoints = vec!["127.0.0.1:1".parse().expect("an address")];
        for pids in [Vec::new(), vec![1]] {
            let target = Target::Etcd { endpoints: endpoints.clone(), pids: pids.clone() };
            let kept = of_target(all.clone(), &target, &mut Vec::new());
            assert!(kept.iter().all(|fault| *fault == Fault::Pause || !fault.needs_processes()), "{kept:?}");
            assert_eq!(kept.contains(&Fault::Pause), !pids.is_empty());
        }
    }
}
