//! Runs of stores in memory that keep an isolation and no more, with transactions that overlap, abort, and end
//! in the unknown; and what is then planted in them.

use std::collections::{BTreeMap, BTreeSet};

use check::{Anomaly, Isolation, Outcome, Seen, Step};
use fastrand::Rng;

use super::{Event, Store};

/// What a store is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub registers: bool,
    pub isolation: Isolation,
    pub transactions: usize,
    pub processes: u64,
    pub keys: usize,
    /// How often a key is written before another takes its place.
    pub writes_per_key: u64,
    /// Registers alone: whether a transaction reads what it writes, and whether revisions are told.
    pub reads_first: bool,
    pub revisions: bool,
}

impl Shape {
    /// A small one, drawn.
    pub fn drawn(rng: &mut Rng, registers: bool, isolation: Isolation) -> Shape {
        Shape {
            registers,
            isolation,
            transactions: rng.usize(20..60),
            processes: rng.u64(1..6),
            keys: rng.usize(2..5),
            writes_per_key: u64::MAX,
            reads_first: rng.bool(),
            revisions: rng.u8(..4) == 0,
        }
    }
}

/// A transaction under way.
struct Open {
    asked: Vec<Step>,
    /// The store as it began; with each of its own steps carried out.
    own: Store,
    began: Store,
    seen: Vec<Step>,
    committed: Option<Outcome>,
    revision: Option<u64>,
}

/// A run. Under snapshot isolation and below transactions see and write step by step; a commit that would
/// overwrite what somebody wrote meanwhile is an abort there. Under read committed what is written is locked until
/// the end, and who meets a lock waits or aborts.
pub fn run(rng: &mut Rng, shape: Shape) -> Vec<Event> {
    let mut events = Vec::new();
    let mut open: BTreeMap<u64, Open> = BTreeMap::new();
    let (mut store, mut next, mut revision, mut begun) = (Store::default(), 0, 0, 0);
    while begun < shape.transactions || !open.is_empty() {
        let process = rng.u64(0..shape.processes);
        let Some(mut transaction) = open.remove(&process) else {
            if begun < shape.transactions {
                begun += 1;
                let asked = steps(rng, shape, &mut next);
                events.push(Event { process, end: None, steps: asked.clone(), revision: None });
                let steps_apart = shape.isolation < Isolation::Serializable;
                let began = if steps_apart { store.clone() } else { Store::default() };
                let own = began.clone();
                let seen = Vec::new();
                open.insert(process, Open { asked, own, began, seen, committed: None, revision: None });
            }
            continue;
        };
        let Some(outcome) = transaction.committed else {
            let locked = open.values().filter(|other| other.committed.is_none());
            let locks = shape.isolation == Isolation::ReadCommitted;
            let locked: BTreeSet<String> =
                locked.filter(|_| locks).flat_map(|other| other.seen.iter()).filter_map(written).collect();
            advance(rng, shape, &mut transaction, &mut store, &mut revision, &locked);
            open.insert(process, transaction);
            continue;
        };
        let steps = if outcome == Outcome::Committed { transaction.seen } else { transaction.asked };
        let revision = transaction.revision.filter(|_| shape.revisions && outcome == Outcome::Committed);
        events.push(Event { process, end: Some(outcome), steps, revision });
    }
    events
}

fn steps(rng: &mut Rng, shape: Shape, next: &mut u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..rng.usize(1..5) {
        let key = format!("k{}", *next / shape.writes_per_key + rng.u64(0..shape.keys as u64));
        if rng.bool() {
            steps.push(Step::Read { key, seen: None });
            continue;
        }
        *next += 1;
        let value = format!("v{next}");
        if shape.registers {
            if shape.reads_first {
                steps.push(Step::Read { key: key.clone(), seen: None });
            }
            steps.push(Step::Write { key, value });
        } else {
            steps.push(Step::Append { key, value });
        }
    }
    steps
}

/// The key that a step writes.
fn written(step: &Step) -> Option<String> {
    match step {
        Step::Append { key, .. } | Step::Write { key, .. } => Some(key.clone()),
        Step::Read { .. } => None,
    }
}

/// One step of a transaction, or its commit, or its abort.
fn advance(
    rng: &mut Rng,
    shape: Shape,
    open: &mut Open,
    store: &mut Store,
    revision: &mut u64,
    locked: &BTreeSet<String>,
) {
    let fate = rng.u8(..100);
    if fate < 4 {
        open.committed = Some(if fate < 2 { Outcome::Aborted } else { Outcome::Unknown });
        return;
    }
    match shape.isolation {
        Isolation::Serializable | Isolation::StrictSerializable => {
            open.seen = store.execute(&open.asked, shape.registers);
        }
        Isolation::ReadCommitted | Isolation::SnapshotIsolation => {
            if let Some(step) = open.asked.get(open.seen.len()) {
                // Under read committed each step begins with what is committed, and its own writes on it.
                if shape.isolation == Isolation::ReadCommitted {
                    if written(step).is_some_and(|key| locked.contains(&key)) {
                        open.committed = (fate < 30).then_some(Outcome::Aborted);
                        return;
                    }
                    let own: Vec<Step> =
                        open.seen.iter().filter(|step| written(step).is_some()).cloned().collect();
                    open.own = store.clone();
                    open.own.execute(&own, shape.registers);
                }
                let told = open.own.execute(std::slice::from_ref(step), shape.registers);
                open.seen.extend(told);
                return;
            }
            let keys: BTreeSet<String> = open.asked.iter().filter_map(written).collect();
            let touched = |key: &String| {
                open.began.lists.get(key) != store.lists.get(key)
                    || open.began.writes.get(key) != store.writes.get(key)
            };
            if shape.isolation == Isolation::SnapshotIsolation && keys.iter().any(touched) {
                open.committed = Some(Outcome::Aborted);
                return;
            }
            store.execute(&open.asked, shape.registers);
        }
    }
    *revision += 1;
    open.revision = Some(*revision);
    open.committed = Some(if fate < 8 { Outcome::Unknown } else { Outcome::Committed });
}

/// Steps that are added to a transaction, as they were asked and as they were told.
struct Added {
    /// To which of the chosen transactions.
    to: usize,
    step: Step,
}

/// What is planted: steps of up to four transactions on keys that nobody else uses, which together are an
/// anomaly.
pub struct Plant {
    pub anomaly: Anomaly,
    added: Vec<Added>,
    /// Which of them is aborted.
    aborted: Option<usize>,
    /// Whether each ends before the next begins.
    apart: bool,
}

/// Builds plants.
struct Planter {
    registers: bool,
    added: Vec<Added>,
}

impl Planter {
    /// Transaction `to` writes, or appends.
    fn write(mut self, to: usize, key: &str, value: &str) -> Planter {
        let (key, value) = (key.to_owned(), value.to_owned());
        let step = if self.registers { Step::Write { key, value } } else { Step::Append { key, value } };
        self.added.push(Added { to, step });
        self
    }

    /// Transaction `to` sees the list, or the last of it in a register.
    fn read(self, to: usize, key: &str, list: &[&str]) -> Planter {
        self.told(to, key, list, None)
    }

    fn told(mut self, to: usize, key: &str, list: &[&str], revision: Option<u64>) -> Planter {
        let list: Vec<String> = list.iter().map(|value| (*value).to_owned()).collect();
        let seen = if self.registers {
            Seen::Register { value: list.last().cloned(), revision }
        } else {
            Seen::List(list)
        };
        self.added.push(Added { to, step: Step::Read { key: key.to_owned(), seen: Some(seen) } });
        self
    }

    fn is(self, anomaly: Anomaly) -> Plant {
        Plant { anomaly, added: self.added, aborted: None, apart: false }
    }
}

/// One of each kind.
pub fn plants(registers: bool) -> Vec<Plant> {
    let new = || Planter { registers, added: Vec::new() };
    let aborted = |plant: Plant| Plant { aborted: Some(0), ..plant };
    let apart = |plant: Plant| Plant { apart: true, ..plant };
    let mut plants = vec![
        new().read(0, "p", &["ghost"]).is(Anomaly::Invented),
        new().write(0, "p", "a").read(0, "p", &[]).is(Anomaly::Internal),
        aborted(new().write(0, "p", "a").read(1, "p", &["a"]).is(Anomaly::G1a)),
        aborted(
            new()
                .write(0, "p", "a")
                .read(1, "p", &["a"])
                .write(1, "p", "b")
                .read(2, "p", &["a", "b"])
                .is(Anomaly::DirtyUpdate),
        ),
        new().write(0, "p", "a").write(0, "p", "b").read(1, "p", &["a"]).is(Anomaly::G1b),
        new()
            .write(0, "p", "a")
            .read(0, "q", &["b"])
            .write(1, "q", "b")
            .read(1, "p", &["a"])
            .is(Anomaly::G1c),
        new()
            .read(0, "p", &[])
            .write(0, "p", "a")
            .read(1, "p", &[])
            .write(1, "p", "b")
            .is(Anomaly::LostUpdate),
        new()
            .read(0, "p", &[])
            .write(0, "p", "a")
            .write(0, "q", "a")
            .read(1, "p", &["a"])
            .read(1, "q", &[])
            .is(Anomaly::GSingle),
        new()
            .write(0, "p", "a")
            .write(1, "q", "b")
            .read(2, "p", &["a"])
            .read(2, "q", &[])
            .read(3, "p", &[])
            .read(3, "q", &["b"])
            .is(Anomaly::GNonadjacent),
        new().read(0, "p", &[]).write(0, "q", "a").read(1, "q", &[]).write(1, "p", "b").is(Anomaly::G2Item),
        apart(new().write(0, "p", "a").read(1, "p", &[]).is(Anomaly::GSingleRealtime)),
        apart(new().read(0, "p", &["a"]).write(1, "p", "a").is(Anomaly::G1cRealtime)),
    ];
    let both = new().write(0, "p", "a").write(0, "q", "a").write(1, "p", "b").write(1, "q", "b");
    if registers {
        let both = both.told(2, "p", &["a"], Some(1)).told(2, "q", &["a"], Some(4));
        plants.push(both.told(3, "p", &["b"], Some(2)).told(3, "q", &["b"], Some(3)).is(Anomaly::G0));
        let two = new().write(0, "p", "a").told(1, "p", &["a"], Some(7)).told(2, "p", &["a"], Some(8));
        plants.push(two.is(Anomaly::IncompatibleOrder));
        let stale = new().write(0, "p", "a").write(1, "p", "b").read(2, "p", &["a"]);
        plants.push(apart(stale.is(Anomaly::GSingleRealtime)));
    } else {
        plants.push(both.read(2, "p", &["a", "b"]).read(2, "q", &["b", "a"]).is(Anomaly::G0));
        plants.push(new().write(0, "p", "a").read(1, "p", &["a", "a"]).is(Anomaly::Duplicate));
        let two = new().write(0, "p", "a").write(1, "p", "b").read(2, "p", &["a", "b"]);
        plants.push(two.read(3, "p", &["b", "a"]).is(Anomaly::IncompatibleOrder));
        let late = new().write(0, "p", "a").write(1, "p", "b").read(2, "p", &["b", "a"]);
        plants.push(apart(late.is(Anomaly::G0Realtime)));
    }
    plants
}

/// Plants an anomaly in a run: among transactions of it that committed, or among new ones (`alone`). `false` if
/// there are too few.
pub fn plant(rng: &mut Rng, events: &mut Vec<Event>, plant: &Plant, alone: bool) -> bool {
    let count = plant.added.iter().map(|added| added.to + 1).max().unwrap();
    if alone {
        insert(rng, events, count, plant.apart);
    }
    // Invocation and completion.
    let mut committed: Vec<(usize, usize)> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        match event.end {
            None => drop(open.insert(event.process, at)),
            Some(outcome) => {
                let began = open.remove(&event.process).unwrap();
                let usable = outcome == Outcome::Committed && (!alone || event.process >= ALONE);
                committed.extend(usable.then_some((began, at)));
            }
        }
    }
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    if plant.apart {
        let mut after = 0;
        committed.sort_unstable_by_key(|(_, end)| *end);
        for (began, end) in committed {
            let apart = chosen.is_empty() || began > after;
            if chosen.len() < count && apart && (alone || rng.u8(..3) > 0) {
                chosen.push((began, end));
                after = end;
            }
        }
    } else {
        rng.shuffle(&mut committed);
        chosen = committed;
    }
    if let Some(place) = plant.aborted {
        // Nobody may have seen anything of it.
        let silent =
            |&(_, end): &(usize, usize)| events[end].steps.iter().all(|step| written(step).is_none());
        let Some(found) = chosen.iter().position(silent) else { return false };
        chosen.swap(place, found);
    }
    if chosen.len() < count {
        return false;
    }
    for Added { to, step } in &plant.added {
        let (began, end) = chosen[*to];
        let asked = match step {
            Step::Read { key, .. } => Step::Read { key: key.clone(), seen: None },
            step => step.clone(),
        };
        events[began].steps.push(asked);
        events[end].steps.push(step.clone());
    }
    if let Some(place) = plant.aborted {
        let (began, end) = chosen[place];
        events[end].end = Some(Outcome::Aborted);
        events[end].revision = None;
        events[end].steps = events[began].steps.clone();
    }
    true
}

/// The first process of those that do only what is planted.
const ALONE: u64 = 1000;

/// Inserts transactions without steps, one after another or in any way.
fn insert(rng: &mut Rng, events: &mut Vec<Event>, count: usize, apart: bool) {
    let mut places: Vec<usize> = (0..2 * count).map(|_| rng.usize(..=events.len())).collect();
    places.sort_unstable();
    let mut ends: Vec<(u64, Option<Outcome>)> = (0..2 * count as u64)
        .map(|number| (ALONE + number / 2, (number % 2 == 1).then_some(Outcome::Committed)))
        .collect();
    if !apart {
        // Who comes twice begins with the first.
        rng.shuffle(&mut ends);
        let mut begun = BTreeSet::new();
        for (process, end) in &mut ends {
            *end = (!begun.insert(*process)).then_some(Outcome::Committed);
        }
    }
    for (place, (process, end)) in places.into_iter().zip(ends).rev() {
        events.insert(place, Event { process, end, steps: Vec::new(), revision: None });
    }
}
