//! A small replicated store, simulated: groups of keys, each a log with replicas that lag behind; sessions with
//! tokens, and what entries remember of their writers'. It is right, until a bug is switched on; and it keeps books
//! of its own of what each session must see, from which is known whether what it answered was wrong.

use std::collections::{BTreeMap, BTreeSet};

use check::receipt::{Acks, Hlc, Role};
use check::{Action, Answer, Completion, History, Level, Receipt, Terms};

use crate::dice::Dice;

/// What the store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Causal reads do not wait for what their session has seen.
    IgnoresTokens,
    /// Who reads something is not told of what its writer had seen.
    ForgetsCauses,
    /// Bounded reads are answered however old a replica is.
    IgnoresBounds,
    /// Receipts say that answers are younger than they are.
    HidesAge,
}

/// How a run is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub bug: Bug,
    pub steps: u64,
    pub deletes: bool,
    /// Whether revisions are told.
    pub revisions: bool,
    /// Whether every answer has a whole receipt.
    pub receipts: bool,
    /// The level of reads that are not strong.
    pub level: Level,
}

const PROCESSES: u64 = 5;
const GROUPS: usize = 2;
const REPLICAS: usize = 3;
const KEYS: [&str; 4] = ["w", "x", "y", "z"];

/// Group, and how many of its entries.
type Token = [usize; GROUPS];

/// What is known of each key: how many of its group's entries.
type Known = BTreeMap<&'static str, usize>;

#[derive(Clone)]
struct Entry {
    key: &'static str,
    value: Option<String>,
    /// What all writers up to this had seen.
    frontier: Token,
    /// The entries that are causes of it, with itself.
    causes: BTreeSet<(usize, usize)>,
    /// What its session itself had been answered before.
    known: Known,
    /// When it took effect.
    executed_us: u64,
    /// When it was acknowledged.
    acknowledged_us: Option<u64>,
}

#[derive(Clone, Default)]
struct Session {
    token: Token,
    causes: BTreeSet<(usize, usize)>,
    known: Known,
    /// What the writers of what it read had been answered.
    adopted: Known,
    hlc: u64,
}

struct Asked {
    key: &'static str,
    value: Option<String>,
    read: bool,
    level: Level,
    bound_ms: u64,
    session: Session,
    invoked_us: u64,
    executed: Option<Done>,
}

#[derive(Clone)]
struct Done {
    /// How many entries of the group the answer is of; of a change, with itself.
    index: usize,
    value: Option<String>,
    /// The entry that made the value, from 1; 0: none did.
    version: usize,
    existed: bool,
    strong: bool,
    told_ms: Option<u64>,
}

/// What the books say of a run.
#[derive(Default)]
pub struct Run {
    pub history: History,
    /// A session was answered with what is older than it, or a writer whose change it read, was answered before.
    pub session_broken: bool,
    /// A read shows what a cause of it had overwritten, as can be told without revisions.
    pub causes_broken: bool,
    /// A read was too old for what was asked for.
    pub too_old: bool,
    /// A receipt says less than the age.
    pub age_hidden: bool,
    /// The same, if what was not acknowledged, but may have been seen, counts too.
    pub perhaps_too_old: bool,
    pub perhaps_hidden: bool,
}

struct Store {
    dice: Dice,
    setup: Setup,
    logs: Vec<Vec<Entry>>,
    applied: [[usize; REPLICAS]; GROUPS],
    sessions: BTreeMap<u64, Session>,
    open: BTreeMap<u64, Asked>,
    shared: bool,
    now_us: u64,
    values: u64,
    run: Run,
}

fn group_of(key: &str) -> usize {
    usize::from(key > "x")
}

pub fn run(seed: u64, setup: Setup) -> Run {
    let mut dice = Dice(seed);
    let shared = dice.chance(30);
    let mut store = Store {
        dice,
        setup,
        logs: vec![Vec::new(); GROUPS],
        applied: [[0; REPLICAS]; GROUPS],
        sessions: BTreeMap::new(),
        open: BTreeMap::new(),
        shared,
        now_us: 0,
        values: 0,
        run: Run::default(),
    };
    for _ in 0..setup.steps {
        store.step();
    }
    store.run
}

impl Store {
    fn step(&mut self) {
        self.now_us += 1 + self.dice.below(30_000);
        for group in 0..GROUPS {
            for replica in 0..REPLICAS {
                let behind = self.logs[group].len() - self.applied[group][replica];
                if self.dice.chance(if replica == 0 { 60 } else { 12 }) {
                    self.applied[group][replica] += self.dice.below(behind as u64 + 1) as usize;
                }
            }
        }
        let process = self.dice.below(PROCESSES);
        if self.open.contains_key(&process) {
            self.end(process);
        } else {
            self.begin(process);
        }
    }

    fn session_of(&self, process: u64) -> u64 {
        if self.shared { process / 2 } else { process }
    }

    fn begin(&mut self, process: u64) {
        let key = KEYS[self.dice.below(KEYS.len() as u64) as usize];
        let read = self.dice.chance(60);
        let strong = !read || self.dice.chance(15);
        let level = if strong { Level::Strong } else { self.setup.level };
        let bound_ms = 20 + self.dice.below(200);
        let delete = !read && self.setup.deletes && self.dice.chance(25);
        let value = (!read && !delete).then(|| {
            self.values += 1;
            format!("v{}", self.values)
        });
        let action = match (read, &value) {
            (true, _) => Action::Read { key: key.to_owned() },
            (false, Some(value)) => Action::Write { key: key.to_owned(), value: value.clone() },
            (false, None) => Action::Delete { key: key.to_owned() },
        };
        let terms = Terms {
            session: self.shared.then(|| format!("s{}", self.session_of(process))),
            level: (read && level != Level::Strong).then_some(level),
            bound_ms: (read && level == Level::Bounded).then_some(bound_ms),
            idempotency_key: None,
        };
        self.run.history.invoke_with(process, self.now_us, action, terms).unwrap();
        let session = self.sessions.entry(self.session_of(process)).or_default().clone();
        let (invoked_us, executed) = (self.now_us, None);
        let mut asked = Asked { key, value, read, level, bound_ms, session, invoked_us, executed };
        if self.dice.chance(50) {
            asked.executed = Some(self.execute(&asked));
        }
        self.open.insert(process, asked);
    }

    fn end(&mut self, process: u64) {
        let mut asked = self.open.remove(&process).unwrap();
        if self.dice.chance(6) && !asked.read {
            self.run.history.complete(process, self.now_us, Completion::Unknown).unwrap();
            return;
        }
        let done = asked.executed.take().unwrap_or_else(|| self.execute(&asked));
        let group = group_of(asked.key);
        if asked.read {
            self.judge(&asked, &done);
        } else if let Some(entry) =
            done.index.checked_sub(1).filter(|_| asked.value.is_some() || done.existed)
        {
            self.logs[group][entry].acknowledged_us = Some(self.now_us);
        }
        let revision = (self.setup.revisions && done.version > 0).then_some(done.version as u64);
        let answer = match (asked.read, &asked.value) {
            (true, _) => Answer::Read {
                value: done.value.clone(),
                revision: revision.filter(|_| done.value.is_some()),
            },
            (false, Some(_)) => Answer::Written { revision },
            (false, None) => {
                Answer::Deleted { existed: Some(done.existed), revision: revision.filter(|_| done.existed) }
            }
        };
        let receipt = self.receipt(process, &asked, &done);
        self.run.history.complete_with(process, self.now_us, Completion::Ok(answer), receipt).unwrap();
        self.learn(self.session_of(process), &asked, &done);
    }

    /// What a replica has of a key at an index: value, and which entry.
    fn at(&self, key: &str, index: usize) -> (Option<String>, usize) {
        let entries = self.logs[group_of(key)][..index].iter().enumerate().rev();
        let last = entries.into_iter().find(|(_, entry)| entry.key == key);
        last.map_or((None, 0), |(at, entry)| (entry.value.clone(), at + 1))
    }

    fn execute(&mut self, asked: &Asked) -> Done {
        let group = group_of(asked.key);
        let end = self.logs[group].len();
        if !asked.read {
            let existed = self.at(asked.key, end).0.is_some();
            if asked.value.is_none() && !existed {
                return Done { index: end, value: None, version: 0, existed, strong: true, told_ms: Some(0) };
            }
            let mut frontier = self.logs[group].last().map_or([0; GROUPS], |entry| entry.frontier);
            for (known, seen) in frontier.iter_mut().zip(asked.session.token) {
                *known = (*known).max(seen);
            }
            let mut causes = asked.session.causes.clone();
            causes.insert((group, end + 1));
            let entry = Entry {
                key: asked.key,
                value: asked.value.clone(),
                frontier,
                causes,
                known: asked.session.known.clone(),
                executed_us: self.now_us,
                acknowledged_us: None,
            };
            self.logs[group].push(entry);
            let (index, version) = (end + 1, end + 1);
            return Done { index, value: None, version, existed, strong: true, told_ms: Some(0) };
        }
        let replica = self.dice.below(REPLICAS as u64) as usize;
        let applied = self.applied[group][replica];
        let age_us = self.age_us(group, applied);
        let here = match asked.level {
            Level::Strong => false,
            Level::Causal => applied >= asked.session.token[group] || self.setup.bug == Bug::IgnoresTokens,
            Level::Bounded => age_us <= asked.bound_ms * 1000 || self.setup.bug == Bug::IgnoresBounds,
            Level::Eventual => true,
        };
        let index = if here { applied } else { end };
        let (value, version) = self.at(asked.key, index);
        let told_ms = match (here, self.setup.bug) {
            (false, _) => Some(0),
            (true, Bug::IgnoresBounds) => None,
            (true, Bug::HidesAge) => Some(age_us / 5000),
            (true, _) => Some(age_us.div_ceil(1000)),
        };
        Done { index, existed: value.is_some(), value, version, strong: !here, told_ms }
    }

    /// For how long a replica has lacked the first entry that it does not have.
    fn age_us(&self, group: usize, applied: usize) -> u64 {
        self.logs[group].get(applied).map_or(0, |missing| self.now_us - missing.executed_us)
    }

    /// Notes in the books what the answer breaks.
    fn judge(&mut self, asked: &Asked, done: &Done) {
        let log = &self.logs[group_of(asked.key)];
        let group = group_of(asked.key);
        if asked.level <= Level::Causal {
            let known = |of: &Known| of.get(asked.key).copied().unwrap_or(0);
            let newest = known(&asked.session.known).max(known(&asked.session.adopted));
            self.run.session_broken |= done.version < newest;
            let overwrote = |(of, index): &(usize, usize)| {
                if *of != group || log[index - 1].key != asked.key || *index == done.version {
                    return false;
                }
                done.version == 0 || log[index - 1].causes.contains(&(group, done.version))
            };
            self.run.causes_broken |= asked.session.causes.iter().any(overwrote);
        }
        let overwritten = |limit_us: u64| {
            let since_us = asked.invoked_us.saturating_sub(limit_us);
            let mut later = log.iter().skip(done.version).filter(|entry| entry.key == asked.key);
            later.any(|entry| entry.acknowledged_us.is_some_and(|at_us| at_us < since_us))
        };
        let older = |limit_us: u64| {
            let since_us = asked.invoked_us.saturating_sub(limit_us);
            log.iter().skip(done.version).any(|entry| entry.key == asked.key && entry.executed_us < since_us)
        };
        self.run.too_old |= asked.level == Level::Bounded && overwritten(asked.bound_ms * 1000);
        self.run.perhaps_too_old |= asked.level == Level::Bounded && older(asked.bound_ms * 1000);
        self.run.perhaps_hidden |= done.told_ms.is_some_and(|told_ms| older(told_ms * 1000));
        self.run.age_hidden |=
            self.setup.receipts && done.told_ms.is_some_and(|told_ms| overwritten(told_ms * 1000));
    }

    fn learn(&mut self, session: u64, asked: &Asked, done: &Done) {
        let group = group_of(asked.key);
        let version = done.version;
        let entry = version.checked_sub(1).map(|index| self.logs[group][index].clone());
        let last = done.index.checked_sub(1).map(|index| self.logs[group][index].frontier);
        let session = self.sessions.entry(session).or_default();
        session.token[group] = session.token[group].max(done.index);
        if let Some(frontier) = last.filter(|_| self.setup.bug != Bug::ForgetsCauses) {
            for (seen, known) in session.token.iter_mut().zip(frontier) {
                *seen = (*seen).max(known);
            }
        }
        let Some(entry) = entry else { return };
        // A judge cannot tell which delete made a key absent.
        if asked.read && done.value.is_none() {
            return;
        }
        session.causes.extend(&entry.causes);
        let known = session.known.entry(asked.key).or_default();
        *known = (*known).max(version);
        if asked.read {
            for (key, index) in entry.known {
                let adopted = session.adopted.entry(key).or_default();
                *adopted = (*adopted).max(index);
            }
        }
    }

    fn receipt(&mut self, process: u64, asked: &Asked, done: &Done) -> Option<Receipt> {
        if !self.setup.receipts {
            return None;
        }
        let session = self.session_of(process);
        let group = group_of(asked.key) as u64;
        let greatest = self.sessions.values().map(|session| session.hlc).max().unwrap_or(0);
        let hlc = greatest.max(self.now_us / 1000) + 1;
        self.sessions.entry(session).or_default().hlc = hlc;
        let delivered = if done.strong { Level::Strong } else { asked.level };
        let got = if done.strong { 2 } else { 0 };
        Some(Receipt {
            keyspace: Some("default".to_owned()),
            requested: Some(asked.level),
            delivered: Some(delivered),
            hlc: Some(Hlc { wall_ms: hlc, counter: 0 }),
            revision: self.setup.revisions.then_some(done.index as u64),
            staleness_ms: done.told_ms,
            acks: Some(Acks {
                required: Some(got),
                got: Some(got),
                of: Some(3),
                durable: Some(if asked.read { 0 } else { got }),
            }),
            served_by: Some(if done.strong { group } else { 2 }),
            role: Some(if done.strong { Role::Leader } else { Role::Follower }),
            term: Some(7),
            attempts: Some(1),
            deduplicated: Some(false),
            ..Receipt::default()
        })
    }
}
