//! The commands of `testdata/clocks/*.txt`.

use std::collections::BTreeMap;

use types::{
    Hlc, HybridClock, NodeId,
    clock::{Dot, DottedVersion, Lamport, LamportClock, VersionVector},
};

/// One event of a history, as each clock has it.
#[derive(Clone, Debug)]
pub struct Event {
    pub node: u64,
    pub what: String,
    pub wall_ms: u64,
    pub lamport: Lamport,
    pub hlc: Hlc,
    pub version: Version,
}

/// The event's dot with all that it knew of, itself included.
#[derive(Clone, Debug)]
pub struct Version(pub VersionVector);

impl Version {
    pub fn past_with_dot(&self) -> String {
        self.0.to_string()
    }
}

/// One node's three clocks.
#[derive(Clone, Debug)]
struct Clocks {
    wall_ms: u64,
    lamport: LamportClock,
    hybrid: HybridClock,
    history: VersionVector,
}

#[derive(Debug, Default)]
pub struct Run {
    clock: HybridClock,
    nodes: BTreeMap<u64, Clocks>,
    messages: BTreeMap<String, Event>,
    pub events: BTreeMap<String, Event>,
    pub relations: Vec<String>,
}

impl Run {
    pub fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["wall", node, ms] => {
                let wall_ms = ms.parse().unwrap();
                let id: u64 = node.parse().unwrap();
                let new = Clocks {
                    wall_ms,
                    lamport: LamportClock::new(NodeId(id)),
                    hybrid: HybridClock::default(),
                    history: VersionVector::default(),
                };
                self.nodes.entry(id).or_insert(new).wall_ms = wall_ms;
                "ok".into()
            }
            ["does", name, node] => self.event(name, node, "works".into(), None),
            ["sends", name, node, message] => {
                let shown = self.event(name, node, format!("sends {message}"), None);
                self.messages.insert((*message).into(), self.events[*name].clone());
                shown
            }
            ["receives", name, node, message] => {
                let sent = self.messages[*message].clone();
                self.event(name, node, format!("receives {message}"), Some(sent))
            }
            ["relate", one, other] => self.relate(one, other),
            ["tick", wall_ms] => self.clock.tick(wall_ms.parse().unwrap()).to_string(),
            ["observe", remote, wall_ms] => {
                match self.clock.observe(remote.parse().unwrap(), wall_ms.parse().unwrap()) {
                    Ok(hlc) => hlc.to_string(),
                    Err(error) => format!("error: {error}"),
                }
            }
            [command, rest @ ..] => {
                on_vectors(command, rest).unwrap_or_else(|error| format!("error: {error}"))
            }
            [] => unreachable!("an empty line is no command"),
        }
    }

    fn event(&mut self, name: &str, node: &str, what: String, sent: Option<Event>) -> String {
        let id: u64 = node.parse().unwrap();
        let clocks = self.nodes.get_mut(&id).expect("its wall clock was set first");
        let (lamport, hlc) = match &sent {
            None => (clocks.lamport.tick().unwrap(), clocks.hybrid.tick(clocks.wall_ms)),
            Some(sent) => {
                clocks.history.join(&sent.version.0).unwrap();
                let hlc = clocks.hybrid.observe(sent.hlc, clocks.wall_ms).unwrap();
                (clocks.lamport.receive(sent.lamport).unwrap(), hlc)
            }
        };
        clocks.history.event(id).unwrap();
        let version = Version(clocks.history.clone());
        let shown = format!("lamport={lamport} hlc={hlc} history={}", version.0);
        self.events
            .insert(name.into(), Event { node: id, what, wall_ms: clocks.wall_ms, lamport, hlc, version });
        shown
    }

    fn relate(&mut self, one: &str, other: &str) -> String {
        let (a, b) = (&self.events[one], &self.events[other]);
        let sign = |less: bool| if less { "<" } else { ">" };
        let causality = format!("{:?}", a.version.0.compare(&b.version.0)).to_lowercase();
        let line = format!(
            "{one} and {other}: {} {} {}, {} {} {}, {causality}",
            a.lamport,
            sign(a.lamport < b.lamport),
            b.lamport,
            a.hlc,
            sign(a.hlc < b.hlc),
            b.hlc
        );
        self.relations.push(line.clone());
        line
    }
}

fn on_vectors(command: &str, words: &[&str]) -> Result<String, types::clock::VersionVectorError> {
    let vector = |text: &str| if text == "-" { Ok(VersionVector::default()) } else { text.parse() };
    let dot = |text: &str| {
        let (actor, counter) = text.split_once(':').expect("a dot");
        Dot { actor: actor.parse().unwrap(), counter: counter.parse().unwrap() }
    };
    Ok(match (command, words) {
        ("compare", [one, other]) => format!("{:?}", vector(one)?.compare(&vector(other)?)).to_lowercase(),
        ("join", [one, other]) => {
            let mut joined = vector(one)?;
            joined.join(&vector(other)?)?;
            joined.to_string()
        }
        ("contains", [one, event]) => vector(one)?.contains(dot(event)).to_string(),
        ("event", [one, actor]) => {
            let mut after = vector(one)?;
            let dot = after.event(actor.parse().unwrap())?;
            format!("{dot}, then {after}")
        }
        ("bytes", [one]) => {
            let bytes = vector(one)?.to_bytes();
            assert_eq!(VersionVector::from_bytes(&bytes), Ok(vector(one)?));
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        ("versions", [one, one_past, other, other_past]) => {
            let one = DottedVersion { dot: dot(one), past: vector(one_past)? };
            let other = DottedVersion { dot: dot(other), past: vector(other_past)? };
            format!("{:?}", one.compare(&other)).to_lowercase()
        }
        _ => panic!("no such command: {command} {words:?}"),
    })
}
