//! Replicas of one value that take operations by themselves and merge, and an account of their own of what happened:
//! every operation with all that its replica had seen. What each kind of value must show follows from that account
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use types::{Hlc, clock::Dot};
use values::{Answer, Body, Kind, Operation, Refusal, Score, Stamp, Value, codec};

/// One operation, as the account has it.
#[derive(Clone, Debug)]
pub struct Event {
    pub operation: Operation,
    pub stamp: Stamp,
    /// What its replica had seen before it.
    pub seen: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub struct Replica {
    pub value: Value,
    pub seen: BTreeSet<usize>,
    count: u64,
}

#[derive(Clone, Debug)]
pub struct World {
    pub replicas: Vec<Replica>,
    pub events: Vec<Event>,
}

impl World {
    pub fn new(kind: Kind, replicas: usize) -> World {
        let replica = Replica { value: Value::new(kind), seen: BTreeSet::new(), count: 0 };
        World { replicas: vec![replica; replicas], events: Vec::new() }
    }

    /// A replica does an operation. Time passes: stamps follow causality, as those of a hybrid clock do.
    pub fn apply(&mut self, at: usize, operation: &Operation) -> Result<Answer, Refusal> {
        let replica = &mut self.replicas[at];
        let dot = Dot { actor: at as u64, counter: replica.count + 1 };
        let stamp = Stamp { at: Hlc::at_ms(self.events.len() as u64), dot };
        let (answers, encoded) = replica.value.apply(std::slice::from_ref(operation), stamp)?;
        assert_eq!(codec::decode_value(&encoded).as_ref(), Ok(&replica.value));
        replica.count += 1;
        self.events.push(Event { operation: operation.clone(), stamp, seen: replica.seen.clone() });
        replica.seen.insert(self.events.len() - 1);
        Ok(answers.into_iter().next().expect("one operation, one answer"))
    }

    /// One replica takes in what another has.
    pub fn merge(&mut self, into: usize, from: usize) {
        let other = self.replicas[from].clone();
        self.replicas[into].value.merge(&other.value).unwrap();
        self.replicas[into].seen.extend(other.seen);
    }

    /// What a replica must show, by the account.
    pub fn expected(&self, at: usize) -> BTreeMap<String, String> {
        let seen = &self.replicas[at].seen;
        let mut shown: BTreeMap<String, (Stamp, String)> = BTreeMap::new();
        for number in seen {
            for (name, what) in puts(&self.events[*number].operation) {
                let removed = |other: &usize| {
                    let other = &self.events[*other];
                    other.seen.contains(number) && removes(&other.operation, &name)
                };
                if seen.iter().any(removed) {
                    continue;
                }
                let stamp = self.events[*number].stamp;
                let known = shown.entry(name).or_insert((stamp, what.clone()));
                if stamp >= known.0 {
                    *known = (stamp, what);
                }
            }
        }
        shown.into_iter().map(|(name, (_, what))| (name, what)).collect()
    }

    /// What it does show.
    pub fn shown(&self, at: usize) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut shown = BTreeMap::new();
        match self.replicas[at].value.body() {
            Body::Register(register) => {
                shown.extend(register.get().map(|value| (String::new(), text(value))));
            }
            Body::Counter(_) => {}
            Body::Set(set) => shown.extend(set.members_from(b"").map(|member| (text(member), String::new()))),
            Body::SortedSet(set) => {
                shown.extend(
                    set.by_score().into_iter().map(|(member, score)| (text(member), score.to_string())),
                );
            }
            Body::Map(map) => {
                for (name, field) in map.fields() {
                    if let Some(value) = field.register.as_ref().and_then(values::Register::get) {
                        shown.insert(format!("{}=", text(name)), text(value));
                    }
                    for member in field.set.iter().flat_map(|set| set.members_from(b"")) {
                        shown.insert(format!("{}/{}", text(name), text(member)), String::new());
                    }
                }
            }
        }
        shown
    }
}

/// What an operation puts in place. Counters are judged by their sums.
fn puts(operation: &Operation) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match operation {
        Operation::Assign { value } => vec![(String::new(), text(value))],
        Operation::Insert { members } => members.iter().map(|member| (text(member), String::new())).collect(),
        Operation::Score { member, score } => vec![(text(member), score.to_string())],
        Operation::Put { field, value } => vec![(format!("{}=", text(field)), text(value))],
        Operation::Within { field, operation } => match &**operation {
            Operation::Insert { members } => members
                .iter()
                .map(|member| (format!("{}/{}", text(field), text(member)), String::new()))
                .collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn removes(operation: &Operation, name: &str) -> bool {
    match operation {
        Operation::Remove { members } => members.iter().any(|member| member == name.as_bytes()),
        Operation::RemoveField { field } => {
            let field = String::from_utf8_lossy(field).into_owned();
            name == format!("{field}=") || name.starts_with(&format!("{field}/"))
        }
        Operation::Within { field, operation } => match &**operation {
            Operation::Remove { members } => {
                let (field, name) = (String::from_utf8_lossy(field), name.as_bytes());
                members.iter().any(|member| name == [field.as_bytes(), b"/", member].concat())
            }
            _ => false,
        },
        _ => false,
    }
}

pub fn score(number: f64) -> Score {
    Score::new(number).unwrap()
}
