//! One run: start, work and hurt, heal, progress, last reads, judgement. Bounded in time by its scenario, in memory and
//! on disk by the limits of its histories.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    ChaosError,
    clock::Clock,
    cluster::{self, Cluster, Wanted},
    crew::{Crew, Kit},
    door::{Door, Etcd, Http, Quorate},
    faults::{self, Fault, Hand, Happened, Planned},
    finale,
    measure::{Measure, Second},
    proxy::Place,
    record::Counts,
    verdict::{self, Verdict, Word},
    watching::{LinkMark, Looking, Sample, Watching, is_ready},
    wish::{self, Drawn, Skipped, Target, Wish},
    work::Manner,
};

/// How long a cluster may take to come up before anything is done to it.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The keyspace that everything is in.
const KEYSPACE: &str = "default";

/// Everything that is told of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The worst that any judge says.
    pub word: Word,
    /// All that judges say.
    pub verdicts: Vec<Verdict>,
    /// Which scenario.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// Which system.
    pub system: String,
    /// How many nodes.
    pub nodes: usize,
    /// What everything was drawn from.
    pub seed: u64,
    /// The command that does this again.
    pub again: String,
    /// Which faults were to happen.
    pub planned: Vec<Planned>,
    /// Which did.
    pub happened: Vec<Happened>,
    /// What of the scenario was not done.
    pub skipped: Vec<Skipped>,
    /// How many clients there were, by history.
    pub clients: BTreeMap<String, usize>,
    /// How many operations there were, by history.
    pub counts: BTreeMap<String, Counts>,
    /// Throughput and latency.
    pub seconds: Vec<Second>,
    /// What each node said of itself.
    pub samples: Vec<Vec<Sample>>,
    /// How links changed.
    pub marks: Vec<LinkMark>,
    /// When faults ended, and when all was over, in milliseconds.
    pub healed_ms: u64,
    /// When the last read had ended.
    pub ended_ms: u64,
    /// How often each node was started.
    pub starts: Vec<u32>,
    /// Whether it was ended early by whoever ran it.
    pub interrupted: bool,
    /// Where the histories are, if they were kept.
    pub kept: Option<PathBuf>,
    /// How clients behaved.
    pub manner: Manner,
}

/// What is going on, line by line, for a person who waits.
pub type Say = mpsc::UnboundedSender<String>;

/// Runs it. `stop` counts how often the caller was told to stop: once ends it early, twice ends it at once.
///
/// # Errors
/// If it could not be run. Nothing is left of it then.
pub async fn run(wish: Wish, say: Say, stop: watch::Receiver<u32>) -> Result<Outcome, ChaosError> {
    let scratch = tempfile::Builder::new()
        .prefix("quorate-chaos-")
        .tempdir()
        .map_err(ChaosError::file(std::env::temp_dir()))?;
    let started = OnceLock::new();
    let mut at_once = stop.clone();
    let outcome = tokio::select! {
        outcome = supervised(wish, say, stop, scratch.path(), &started) => outcome,
        _ = at_once.wait_for(|times| *times >= 2) => Err(ChaosError::Interrupted),
    };
    if let Some(cluster) = started.into_inner() {
        cluster.stop(false).await;
    }
    if let Ok(Outcome { kept: Some(kept), .. }) = &outcome
        && kept == scratch.path()
    {
        // What is needed to look into it stays: histories, logs, data.
        let _ = scratch.keep();
    }
    outcome
}

async fn supervised(
    wish: Wish,
    say: Say,
    mut stop: watch::Receiver<u32>,
    scratch: &Path,
    started: &OnceLock<Arc<Cluster>>,
) -> Result<Outcome, ChaosError> {
    let mut drawn = wish::draw(&wish)?;
    let histories_dir = match &wish.history {
        Some(dir) => dir.clone(),
        None => scratch.join("histories"),
    };
    std::fs::create_dir_all(&histories_dir).map_err(ChaosError::file(&histories_dir))?;

    let wants = |fault: fn(Fault) -> bool| drawn.palette.faults.iter().any(|kind| fault(*kind));
    let wanted =
        Wanted { clocks: wants(Fault::needs_clocks), disks: wants(|fault| fault == Fault::DiskFull) };
    let (dir, etcd) = (scratch.to_owned(), Etcd::default());
    let cluster = match &wish.target {
        Target::Quorate { binary } => cluster::start(binary, dir, drawn.nodes, wish.seed, wanted).await?,
        Target::StartEtcd { binary } => {
            cluster::start_etcd(binary, dir, drawn.nodes, wish.seed, wanted).await?
        }
        Target::Etcd { endpoints, pids } => cluster::join_etcd(endpoints, pids).await?,
    };
    let cluster = Arc::new(cluster);
    let cluster = Arc::clone(started.get_or_init(|| cluster));
    let is_quorate = matches!(wish.target, Target::Quorate { .. });
    let looking = if is_quorate { Looking::Quorate(Http::default()) } else { Looking::Etcd(etcd.clone()) };
    let ready = |address: SocketAddr| {
        let looking = looking.clone();
        async move { is_ready(&looking, address).await }
    };
    tokio::select! {
        ready = cluster.wait_ready(READY_WITHIN, ready) => ready?,
        _ = stop.wait_for(|times| *times >= 1) => return Err(ChaosError::Interrupted),
    }
    let system = match is_quorate {
        true => format!("quorate {}", env!("CARGO_PKG_VERSION")),
        false => format!("etcd {}", etcd.version(cluster.direct[0]).await.unwrap_or_default()),
    };
    without_what_is_not_there(&mut drawn, &cluster);
    let planned = faults::draw(&drawn.palette, wish.seed);
    let _ = say.send(format!("{system}: {} nodes serve; {} faults are planned", drawn.nodes, planned.len()));

    let clock = Clock::start();
    let measure = Arc::new(Measure::new(clock));
    let (faults_over, faults_are_over) = watch::channel(false);
    let (all_done, all_is_done) = watch::channel(false);
    let watching = Arc::new(Watching::new(looking.clone(), Arc::clone(&cluster), clock));
    let (fault_said, mut fault_says) = mpsc::unbounded_channel();
    let hand =
        Hand::new(Arc::clone(&cluster), Arc::clone(&watching), clock, faults_are_over.clone(), fault_said);

    let mut beside = JoinSet::new();
    beside.spawn(Arc::clone(&watching).run(all_is_done.clone()));
    beside.spawn(hand.clone().watch_over_processes(all_is_done.clone()));
    let line = say.clone();
    beside.spawn(async move {
        while let Some(words) = fault_says.recv().await {
            let _ = line.send(format!("{:7.1} s  {words}", clock.elapsed().as_secs_f64()));
        }
    });

    let kit = Kit {
        door: match is_quorate {
            true => || Door::Quorate(Quorate::new(KEYSPACE)),
            false => || Door::Etcd(Etcd::default()),
        },
        doors: cluster.doors.clone(),
        manner: drawn.manner.clone(),
        dir: histories_dir,
        clock,
        measure: Arc::clone(&measure),
        keeps_hlc: !drawn.palette.faults.iter().any(|fault| fault.sets_clocks_far()),
    };
    let mut crew = Crew::new(kit, wish.seed);
    crew.begin(&drawn.kinds, drawn.clients)?;

    let all_ways = faults::pairs(drawn.nodes).flat_map(|(a, b)| {
        let ways = drawn.network.iter().map(move |effect| (Place::Node(a), Place::Node(b), *effect));
        ways.collect::<Vec<_>>()
    });
    let always = cluster.network.apply(all_ways.collect());
    let mut lanes = JoinSet::new();
    for lane in 0..drawn.palette.together {
        let planned = planned.iter().filter(|planned| planned.lane == lane).cloned().collect();
        lanes.spawn(hand.clone().run(planned));
    }
    let interrupted = timeout(drawn.palette.total, stop.wait_for(|times| *times >= 1)).await.is_ok();
    let _ = faults_over.send(true);
    while lanes.join_next().await.is_some() {}
    cluster.network.lift(always);
    hand.heal().await;
    let healed_ms = clock.ms();
    let within = drawn.progress_within;
    let _ =
        say.send(format!("{:7.1} s  everything heals; progress is owed within {within:?}", secs(healed_ms)));

    let mut verdicts = Vec::new();
    let findings = crew.progress(within).await?;
    let asks = "after the last fault a write and a read succeed through every node within the bound";
    verdicts.push(Verdict::of_findings("progress", asks, &findings));

    crew.end().await;
    crew.read_all().await?;
    let converged = match is_quorate {
        true => finale::converge(&Http::default(), &cluster.direct, KEYSPACE, within).await,
        false => {
            let keys = crew.register_keys();
            finale::converge_etcd(&etcd, &cluster.direct, &keys, within).await
        }
    };
    let findings: Vec<String> = converged.err().into_iter().collect();
    let asks = match is_quorate {
        true => "all replicas come to one state, and each one's files add up to its state hash",
        false => "all nodes come to have the same values, each asked for what it has itself",
    };
    verdicts.push(Verdict::of_findings("convergence", asks, &findings));
    let ended_ms = clock.ms();

    // Nodes are stopped before anything is judged: judging takes the processors.
    let _ = all_done.send(true);
    let mut starts = Vec::new();
    for node in &cluster.nodes {
        starts.push(node.starts().await);
    }
    let late = cluster.stop(true).await;
    let mut problems = hand.problems();
    problems.extend(late.iter().map(|node| format!("node {node} did not stop within 60 s of SIGTERM")));
    let asks = "no node ends by itself, all start, and all stop when they are told to";
    verdicts.push(Verdict::of_findings("processes", asks, &problems));
    beside.shutdown().await;

    let counts = crew.counts();
    let operations: u64 = counts.values().map(|counts| counts.invoked).sum();
    let _ = say.send(format!("{:7.1} s  {operations} operations are judged", secs(clock.ms())));
    for case in crew.cases()? {
        let budget = wish.budget;
        let judged = tokio::task::spawn_blocking(move || verdict::judge_history(&case, budget)).await;
        verdicts.extend(judged.map_err(|error| ChaosError::start(format!("a judge failed: {error}")))?);
    }

    let word = verdict::overall(&verdicts);
    let happened = hand.happened();
    let kept = match (&wish.history, word) {
        (Some(dir), _) => Some(dir.clone()),
        (None, Word::Valid) => None,
        (None, _) => Some(scratch.to_owned()),
    };
    Ok(Outcome {
        word,
        verdicts,
        scenario: wish.scenario.name,
        about: wish.scenario.about,
        system,
        nodes: drawn.nodes,
        seed: wish.seed,
        again: wish.again,
        planned,
        happened,
        skipped: drawn.skipped,
        clients: crew.clients(),
        counts,
        seconds: measure.seconds(),
        samples: watching.samples(),
        marks: watching.marks(),
        healed_ms,
        ended_ms,
        starts,
        interrupted,
        kept,
        manner: drawn.manner,
    })
}

fn secs(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Faults that the machine does not permit are left out, and named.
fn without_what_is_not_there(drawn: &mut Drawn, cluster: &Cluster) {
    let why_not = |fault: Fault| match (&cluster.clocks, &cluster.disks) {
        (Err(why), _) if fault.needs_clocks() => Some(why.clone()),
        (_, Err(why)) if fault == Fault::DiskFull => Some(why.clone()),
        _ => None,
    };
    let (kept, left): (Vec<Fault>, Vec<Fault>) =
        drawn.palette.faults.iter().partition(|fault| why_not(**fault).is_none());
    drawn.palette.faults = kept;
    for fault in left {
        let why = why_not(fault).unwrap_or_default();
        drawn.skipped.push(Skipped { what: fault.name().to_owned(), why, instead: None });
    }
}
