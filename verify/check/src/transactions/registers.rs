//! Registers, which a write overwrites. A read shows one version, by its value, and nothing of those before
//! it. So the order of versions is known in part: the absent register comes before all; who read a version
//! and then wrote comes after it; and revisions, if told, order what they were told for. Nothing else is taken
//! for granted.

use std::collections::{BTreeMap, HashMap};

use super::history::{Outcome, Seen, Step, TransactionHistory};
use super::versions::{Direct, Told};
use super::{Anomaly, Isolation};
use crate::history::OpId;

/// A write of a value.
#[derive(Clone, Copy, Debug)]
struct Write {
    by: OpId,
    /// Whether it is what the transaction left there.
    last: bool,
}

/// A read, by a transaction that had not written the key yet.
#[derive(Clone, Copy, Debug)]
struct Read<'a> {
    by: OpId,
    value: Option<&'a str>,
    revision: Option<u64>,
    /// Whether the transaction wrote the key after that.
    updates: bool,
}

/// Who wrote a version.
#[derive(Clone, Debug)]
pub struct Writer {
    pub by: OpId,
    pub revision: Option<u64>,
    /// What it had read before: versions by their writers, `None` for the absent register.
    pub after: Vec<Option<OpId>>,
}

/// The register of one key.
#[derive(Clone, Debug, Default)]
pub struct Register<'a> {
    writes: HashMap<&'a str, Vec<Write>>,
    reads: Vec<Read<'a>>,
    wrote: Vec<OpId>,
    /// By writer: the revision of its version, as told to it or to a reader.
    revisions: BTreeMap<OpId, u64>,
    /// Committed reads of what others wrote: by whom, and whose version; `None` for the absent register.
    pub readings: Vec<(OpId, Option<OpId>)>,
    /// Who wrote a version that took effect, in order of invocation.
    pub writers: Vec<Writer>,
}

impl<'a> Register<'a> {
    /// Notes what a transaction does to the register. Returns what is wrong within it.
    pub fn note(&mut self, name: &str, by: OpId, steps: &[&'a Step]) -> Option<Direct> {
        let written = |step: &&'a Step| match step {
            Step::Write { value, .. } => Some(value.as_str()),
            _ => None,
        };
        let last = steps.iter().rev().find_map(written);
        for value in steps.iter().filter_map(written) {
            let writes = self.writes.entry(value).or_default();
            if writes.last().is_none_or(|write| write.by != by) {
                writes.push(Write { by, last: Some(value) == last });
            }
        }
        self.wrote.extend(last.map(|_| by));
        // What it knows the register to be, and whether from its own write.
        let mut known: Option<(Option<&str>, bool)> = None;
        let mut wrong = None;
        for step in steps {
            match step {
                Step::Write { value, .. } => known = Some((Some(value), true)),
                Step::Read { seen: Some(Seen::Register { value, revision }), .. } => {
                    let value = value.as_deref();
                    if let Some((before, own)) = known
                        && before != value
                    {
                        wrong = wrong.or_else(|| Some(internal(name, by, value, before, own)));
                    }
                    let own = known.is_some_and(|(_, own)| own);
                    if !own && (revision.is_some() || known.is_none_or(|(before, _)| before != value)) {
                        self.reads.push(Read { by, value, revision: *revision, updates: last.is_some() });
                    }
                    known = Some((value, own));
                }
                _ => {}
            }
        }
        wrong
    }

    /// Finds whose version each read saw, what is wrong with that, and who took effect because it was read.
    pub fn resolve(&mut self, name: &str, history: &TransactionHistory, happened: &mut [bool]) -> Told {
        let mut told = Told::default();
        for by in &self.wrote {
            if let Some(revision) = history.transactions()[by.0].revision {
                self.revisions.insert(*by, revision);
            }
        }
        for read in std::mem::take(&mut self.reads) {
            let Some(value) = read.value else {
                self.readings.push((read.by, None));
                continue;
            };
            match self.writer(name, history, &read, value) {
                Err(direct) => told.found.push(direct),
                Ok(None) => {
                    told.unclear.get_or_insert_with(|| {
                        format!(
                            "{value:?} is written to {name:?} by more than one transaction, so who reads it cannot \
                             tell whose it is; let what is written to a key be unique, or tell revisions"
                        )
                    });
                }
                Ok(Some(write)) => {
                    told.found.extend(dirty(name, history, &read, value, write));
                    happened[write.by.0] = true;
                    self.readings.push((read.by, Some(write.by)));
                }
            }
        }
        self.readings.dedup();
        told
    }

    /// Who wrote what was read; `None` if that cannot be told.
    fn writer(
        &mut self,
        name: &str,
        history: &TransactionHistory,
        read: &Read<'_>,
        value: &str,
    ) -> Result<Option<Write>, Direct> {
        let writes = self.writes.get(value).map_or(&[][..], Vec::as_slice);
        let others: Vec<Write> = writes.iter().filter(|write| write.by != read.by).copied().collect();
        if others.is_empty() {
            let (anomaly, what) = match writes.is_empty() {
                true => (Anomaly::Invented, "which nobody wrote to it"),
                false => (Anomaly::Internal, "which it writes itself, later"),
            };
            let text = format!("a transaction reads {name:?} as {value:?}, {what}");
            return Err(Direct::new(anomaly, text, vec![read.by]));
        }
        let revision_of = |write: &Write| match history.transactions()[write.by.0].outcome() {
            // One value that is read with two revisions was perhaps written twice.
            _ if others.len() > 1 => history.transactions()[write.by.0].revision,
            _ => self.revisions.get(&write.by).copied(),
        };
        let fits = |write: &&Write| match (read.revision, revision_of(write)) {
            (Some(read), Some(written)) => read == written,
            _ => true,
        };
        let fitting: Vec<Write> = others.iter().filter(fits).copied().collect();
        match fitting[..] {
            [write] => {
                if let Some(revision) = read.revision {
                    self.revisions.entry(write.by).or_insert(revision);
                }
                Ok(Some(write))
            }
            [] => {
                let text = format!(
                    "{name:?} is read as {value:?} at revision {}, and that value has another revision",
                    read.revision.unwrap_or_default()
                );
                Err(Direct::new(Anomaly::IncompatibleOrder, text, vec![others[0].by, read.by]))
            }
            _ => Ok(None),
        }
    }

    /// Finds who wrote versions, once it is known who took effect. Returns what is wrong with their
    /// revisions.
    pub fn find_writers(
        &mut self,
        name: &str,
        history: &TransactionHistory,
        happened: &[bool],
    ) -> Vec<Direct> {
        let mut after: HashMap<OpId, Vec<Option<OpId>>> = HashMap::new();
        for (by, version) in &self.readings {
            after.entry(*by).or_default().push(*version);
        }
        let mut taken: HashMap<u64, OpId> = HashMap::new();
        let mut found = Vec::new();
        for by in self.wrote.iter().copied().filter(|by| happened[by.0]) {
            let revision = self.revisions.get(&by).copied();
            if let Some(revision) = revision
                && let Some(other) = taken.insert(revision, by)
            {
                let value = |by: OpId| last_written(history, by, name).unwrap_or_default();
                let text = format!(
                    "{name:?} is {:?} at revision {revision}, and {:?} at the same revision",
                    value(other),
                    value(by)
                );
                found.push(Direct::new(Anomaly::IncompatibleOrder, text, vec![other, by]));
            }
            self.writers.push(Writer { by, revision, after: after.remove(&by).unwrap_or_default() });
        }
        found
    }

    /// Two who read the same version, and then wrote.
    pub fn lost_update(&self) -> Option<[OpId; 2]> {
        let mut first: HashMap<Option<OpId>, OpId> = HashMap::new();
        self.writers.iter().find_map(|writer| {
            writer
                .after
                .iter()
                .find_map(|version| first.insert(*version, writer.by))
                .filter(|other| *other != writer.by)
                .map(|other| [other, writer.by])
        })
    }
}

/// What a transaction left in a register.
pub fn last_written<'a>(history: &'a TransactionHistory, by: OpId, name: &str) -> Option<&'a str> {
    history.transactions()[by.0].steps.iter().rev().find_map(|step| match step {
        Step::Write { key, value } if key == name => Some(value.as_str()),
        _ => None,
    })
}

fn internal(name: &str, by: OpId, value: Option<&str>, known: Option<&str>, own: bool) -> Direct {
    let shown = |value: Option<&str>| value.map_or("absent".to_owned(), |value| format!("{value:?}"));
    let before = if own { "wrote" } else { "read" };
    let text = format!(
        "a transaction reads {name:?} as {}, though it {before} {} before, and nothing since",
        shown(value),
        shown(known)
    );
    // Under read committed others may write between two reads.
    let from = if own { Isolation::ReadCommitted } else { Isolation::SnapshotIsolation };
    Direct { from, ..Direct::new(Anomaly::Internal, text, vec![by]) }
}

/// What is wrong with reading what somebody wrote.
fn dirty(
    name: &str,
    history: &TransactionHistory,
    read: &Read<'_>,
    value: &str,
    write: Write,
) -> Option<Direct> {
    let transactions = vec![write.by, read.by];
    if history.transactions()[write.by.0].outcome() == Outcome::Aborted {
        if read.updates {
            let text = format!(
                "{name:?} is read as {value:?}, whose transaction was aborted, and written by who read that"
            );
            return Some(Direct::new(Anomaly::DirtyUpdate, text, transactions));
        }
        let text = format!("{name:?} is read as {value:?}, whose transaction was aborted");
        return Some(Direct::new(Anomaly::G1a, text, transactions));
    }
    (!write.last).then(|| {
        let text = format!("{name:?} is read as {value:?}, after which its transaction wrote more");
        Direct::new(Anomaly::G1b, text, transactions)
    })
}
