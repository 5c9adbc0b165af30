//! All clients of a run, by history: one for each kind of work.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use check::Checker;
use scenario::Kind;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    ChaosError,
    clock::Clock,
    door::Door,
    finale,
    measure::Measure,
    record::{Counts, Recorder},
    verdict::{self, Case},
    work::{self, Client, EPOCH, Effects, Locks, Manner, Registers, Sessions, Transactions, Watches},
};

/// How long clients may take to end: longer than any request, and than a lock is slept over.
const END_WITHIN: Duration = Duration::from_secs(20);
/// How long the last reads may take.
const READS_WITHIN: Duration = Duration::from_secs(120);

/// What every client is made of.
#[derive(Clone, Debug)]
pub struct Kit {
    /// How it talks; each client has connections of its own.
    pub door: fn() -> Door,
    /// To whom.
    pub doors: Vec<SocketAddr>,
    /// How it behaves.
    pub manner: Manner,
    /// Where histories are written.
    pub dir: PathBuf,
    /// Since when.
    pub clock: Clock,
    /// What it is told is counted here.
    pub measure: Arc<Measure>,
    /// Whether receipts keep their hybrid clock.
    pub keeps_hlc: bool,
}

/// The clients, and what they record.
#[derive(Debug)]
pub struct Crew {
    kit: Kit,
    dice: fastrand::Rng,
    stop: watch::Sender<bool>,
    histories: BTreeMap<&'static str, History>,
    working: JoinSet<()>,
    /// Which lists are in use.
    generation: Arc<AtomicU64>,
}

#[derive(Debug)]
struct History {
    recorder: Arc<Recorder>,
    clients: usize,
}

/// What a history of this kind is called.
fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Transactions => "transactions",
        Kind::Sessions => "sessions",
        Kind::Locks => "locks",
        Kind::Counters => "effects",
        Kind::Watches => "watches",
        _ => "registers",
    }
}

impl Crew {
    /// Nobody yet.
    pub fn new(kit: Kit, seed: u64) -> Crew {
        let dice = fastrand::Rng::with_seed(seed ^ 0x636c_6965_6e74_7321);
        let (stop, _) = watch::channel(false);
        let (histories, generation) = Default::default();
        Crew { kit, dice, stop, histories, working: JoinSet::new(), generation }
    }

    /// The clients of these kinds begin to work; `clients` is how many have registers.
    ///
    /// # Errors
    /// If a history cannot be made.
    pub fn begin(&mut self, kinds: &[Kind], clients: usize) -> Result<(), ChaosError> {
        for kind in kinds {
            let count = match kind {
                Kind::Registers => clients,
                Kind::Locks | Kind::Watches => clients.clamp(2, 4),
                _ => clients.div_ceil(2),
            };
            let recorder = self.history(name_of(*kind), count)?;
            if *kind == Kind::Locks {
                work::terms(&recorder);
            }
            for process in 0..count as u64 {
                let client = self.client(&recorder, process);
                match kind {
                    Kind::Transactions => {
                        let generation = Arc::clone(&self.generation);
                        self.working.spawn(Transactions::new(client, generation).run());
                    }
                    Kind::Sessions => {
                        if let Some(client) = Sessions::new(client, self.kit.keeps_hlc) {
                            self.working.spawn(client.run());
                        }
                    }
                    Kind::Counters => {
                        if let Some(client) = Effects::new(client) {
                            self.working.spawn(client.run());
                        }
                    }
                    Kind::Watches => {
                        if let Some(client) = Watches::new(client) {
                            self.working.spawn(client.run());
                        }
                    }
                    Kind::Locks => {
                        if let Some(client) = Locks::new(client) {
                            self.working.spawn(client.run());
                        }
                    }
                    _ => {
                        self.working.spawn(Registers::new(client).run());
                    }
                }
            }
        }
        Ok(())
    }

    fn history(&mut self, name: &'static str, clients: usize) -> Result<Arc<Recorder>, ChaosError> {
        if let Some(history) = self.histories.get(name) {
            return Ok(Arc::clone(&history.recorder));
        }
        let path = self.kit.dir.join(format!("{name}.jsonl"));
        let recorder = Recorder::create(path.clone(), self.kit.clock).map_err(ChaosError::file(path))?;
        let recorder = Arc::new(recorder);
        self.histories.insert(name, History { recorder: Arc::clone(&recorder), clients });
        Ok(recorder)
    }

    fn client(&mut self, recorder: &Arc<Recorder>, process: u64) -> Client {
        Client {
            process,
            door: (self.kit.door)(),
            nodes: self.kit.doors.clone(),
            manner: self.kit.manner.clone(),
            recorder: Arc::clone(recorder),
            measure: Arc::clone(&self.kit.measure),
            clock: self.kit.clock,
            dice: fastrand::Rng::with_seed(self.dice.u64(..)),
            stop: self.stop.subscribe(),
        }
    }

    /// Whether a write and a read succeed through every node within the bound: those that do not, with words.
    ///
    /// # Errors
    /// If a history cannot be made.
    pub async fn progress(&mut self, within: Duration) -> Result<Vec<String>, ChaosError> {
        let registers = self.history(name_of(Kind::Registers), 0)?;
        let mut asked = JoinSet::new();
        for (number, node) in self.kit.doors.clone().into_iter().enumerate() {
            let client = self.client(&registers, finale::LAST_PROCESSES + number as u64);
            asked.spawn(async move { (number, finale::progress(client, node, within).await) });
        }
        let mut findings = Vec::new();
        while let Some(Ok((number, result))) = asked.join_next().await {
            if let Err(words) = result {
                findings.push(format!("node {number}: {words}"));
            }
        }
        findings.sort();
        Ok(findings)
    }

    /// All clients end.
    pub async fn end(&mut self) {
        self.stop.send_replace(true);
        let ended = timeout(END_WITHIN, async { while self.working.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            // What such a client asked stays without an end, which is an unknown one.
            self.working.abort_all();
        }
    }

    /// Everything is read once more, through every node, as operations of the histories.
    ///
    /// # Errors
    /// If a history cannot be made.
    pub async fn read_all(&mut self) -> Result<(), ChaosError> {
        let registers = self.history(name_of(Kind::Registers), 0)?;
        let mut reads = JoinSet::new();
        for (number, node) in self.kit.doors.clone().into_iter().enumerate() {
            let process = finale::LAST_PROCESSES + number as u64;
            let client = self.client(&registers, process);
            reads.spawn(finale::read_keys(client, node, self.register_keys()));
            let lists = self.histories.get(name_of(Kind::Transactions));
            if let Some(recorder) = lists.map(|history| Arc::clone(&history.recorder)) {
                let client = self.client(&recorder, process);
                reads.spawn(finale::read_lists(client, node, self.list_keys()));
            }
        }
        // Those that do not come in time are operations without an end.
        let _ = timeout(READS_WITHIN, async { while reads.join_next().await.is_some() {} }).await;
        Ok(())
    }

    /// All keys of registers that were in use, the newest first.
    pub fn register_keys(&self) -> Vec<String> {
        let (keys, epochs) = (self.kit.manner.keys, self.kit.clock.elapsed().as_secs() / EPOCH.as_secs());
        let all = (0..=epochs).rev().flat_map(|epoch| (0..keys).map(move |key| format!("r{epoch}-{key}")));
        all.take(finale::KEYS_MAX).collect()
    }

    /// All keys of lists that were in use, the newest first.
    fn list_keys(&self) -> Vec<String> {
        let newest = self.generation.load(Ordering::Relaxed);
        let all = (0..=newest).rev().flat_map(|of| work::keys_of(of, self.kit.manner.keys));
        all.take(finale::KEYS_MAX).collect()
    }

    /// How many clients there were, by history.
    pub fn clients(&self) -> BTreeMap<String, usize> {
        self.histories.iter().map(|(name, history)| ((*name).to_owned(), history.clients)).collect()
    }

    /// How many operations there were, by history.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let counts = |(name, history): (&&str, &History)| ((*name).to_owned(), history.recorder.counts());
        self.histories.iter().map(counts).collect()
    }

    /// The histories, written to the end, to be judged.
    ///
    /// # Errors
    /// If one is not whole.
    pub fn cases(&self) -> Result<Vec<Case>, ChaosError> {
        let mut cases = Vec::new();
        for (name, history) in &self.histories {
            verdict::finish(&history.recorder).map_err(ChaosError::start)?;
            let strict = *name == name_of(Kind::Transactions);
            cases.push(Case {
                name: (*name).to_owned(),
                path: history.recorder.path().clone(),
                also: if strict { vec![Checker::StrictSerializable] } else { Vec::new() },
            });
        }
        Ok(cases)
    }
}
