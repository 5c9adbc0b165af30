//! What a node's write-ahead log must hold: a second bookkeeping of every append that was answered
//! with success, made from the writes alone. Recovery is compared with it, and so are promises.

use std::collections::{BTreeMap, BTreeSet};

use storage::wal::Recovered;
use types::{GroupId, GroupWrite, HardState, LogPosition, WriteBatch};
use xxhash_rust::xxh3::xxh3_64;

/// One group's durable log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DurableGroup {
    /// Last hard state.
    hard_state: HardState,
    /// The log begins after this position.
    start: LogPosition,
    /// Index to term and hash of the data.
    entries: BTreeMap<u64, (u64, u64)>,
}

impl DurableGroup {
    fn last_index(&self) -> u64 {
        self.entries.last_key_value().map_or(self.start.index, |(index, _)| *index)
    }

    fn apply(&mut self, write: &GroupWrite) {
        if let Some(position) = write.reset {
            self.start = position;
            self.entries.clear();
        }
        if let Some(first) = write.entries.first() {
            self.entries.split_off(&first.index);
        }
        for entry in &write.entries {
            self.entries.insert(entry.index, (entry.term, xxh3_64(&entry.data)));
        }
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }
}

/// All groups of one node.
#[derive(Clone, Debug, Default)]
pub struct DurableLog {
    groups: BTreeMap<GroupId, DurableGroup>,
    /// Last entry in the state store's durable rows, where a snapshot brought it or a start found it:
    /// the store may be ahead of the log.
    stored: BTreeMap<GroupId, LogPosition>,
    /// Groups that the log was told to let go of: they may be in it or not.
    forgotten: BTreeSet<GroupId>,
}

impl DurableLog {
    /// The batches are durable.
    pub fn append(&mut self, batches: &[WriteBatch]) {
        for write in batches.iter().flat_map(|batch| &batch.groups) {
            if write.reset.is_none() && write.entries.is_empty() && write.hard_state.is_none() {
                continue;
            }
            self.groups.entry(write.group).or_default().apply(write);
        }
    }

    /// The state store's rows of a group are durable up to here.
    pub fn stored(&mut self, group: GroupId, position: LogPosition) {
        self.stored.insert(group, position);
    }

    /// The log is told what it may free.
    pub fn retain(&mut self, first_needed: &BTreeMap<GroupId, u64>) {
        let forgotten = first_needed.iter().filter(|(_, needed)| **needed == u64::MAX);
        self.forgotten.extend(forgotten.map(|(group, _)| *group));
    }

    /// The last hard state of a group.
    pub fn hard_state(&self, group: GroupId) -> HardState {
        self.groups.get(&group).map_or_else(HardState::default, |log| log.hard_state)
    }

    /// The last index of a group, in the log or in the state store.
    pub fn last_index(&self, group: GroupId) -> u64 {
        let stored = self.stored.get(&group).map_or(0, |position| position.index);
        self.groups.get(&group).map_or(0, DurableGroup::last_index).max(stored)
    }

    /// Whether the entry of this term, or a state that covers the index, is there.
    pub fn holds(&self, group: GroupId, index: u64, term: u64) -> bool {
        let stored = self.stored.get(&group).is_some_and(|position| index <= position.index);
        let logged = self.groups.get(&group).is_some_and(|log| {
            index <= log.start.index || log.entries.get(&index).is_some_and(|entry| entry.0 == term)
        });
        stored || logged
    }

    /// Term of the entry before `index` in the log.
    pub fn previous_term(&self, group: GroupId, index: u64) -> Option<u64> {
        let log = self.groups.get(&group)?;
        match index.checked_sub(1)? {
            previous if previous == log.start.index => Some(log.start.term),
            previous => log.entries.get(&previous).map(|entry| entry.0),
        }
    }

    /// Compares with what was recovered; an append that was interrupted may be there, whole, or not.
    /// The answer is what is durable from now on, and whether that append is part of it.
    pub fn recover(
        &self,
        interrupted: &[WriteBatch],
        recovered: &Recovered,
    ) -> Result<(DurableLog, bool), String> {
        let without = match self.differs(recovered) {
            None => return Ok((self.clone(), false)),
            Some(difference) => difference,
        };
        let mut with = self.clone();
        with.append(interrupted);
        match with.differs(recovered) {
            None => Ok((with, true)),
            Some(_) => Err(without),
        }
    }

    /// What a log holds of which nothing is known.
    pub fn adopt(recovered: &Recovered) -> DurableLog {
        let adopted = recovered.groups.iter().map(|(id, group)| {
            let entries = group.entries.iter().map(|entry| (entry.index, (entry.term, xxh3_64(&entry.data))));
            let (hard_state, start) = (group.hard_state, group.start);
            (*id, DurableGroup { hard_state, start, entries: entries.collect() })
        });
        DurableLog { groups: adopted.collect(), ..DurableLog::default() }
    }

    /// Group, index and term of every entry, and the hash of its data.
    pub fn entries(&self) -> impl Iterator<Item = (GroupId, u64, u64, u64)> + '_ {
        let of = |(group, log): (&GroupId, &DurableGroup)| (*group, log.entries.clone());
        self.groups.iter().map(of).flat_map(|(group, entries)| {
            entries.into_iter().map(move |(index, (term, hash))| (group, index, term, hash))
        })
    }

    fn differs(&self, recovered: &Recovered) -> Option<String> {
        let unknown = recovered.groups.keys().find(|group| !self.groups.contains_key(group));
        if let Some(group) = unknown {
            return Some(format!("group {group} was recovered and never written"));
        }
        let mut groups = self.groups.iter();
        groups.find_map(|(id, group)| {
            if self.forgotten.contains(id) {
                return None;
            }
            let Some(found) = recovered.groups.get(id) else {
                return Some(format!("group {id} was durable and is missing"));
            };
            if found.hard_state != group.hard_state {
                let (found, durable) = (found.hard_state, group.hard_state);
                return Some(format!("group {id}: recovered {found:?}, durable was {durable:?}"));
            }
            let last = found.start.index + found.entries.len() as u64;
            if last != group.last_index() {
                return Some(format!(
                    "group {id}: recovered up to {last}, durable was {}",
                    group.last_index()
                ));
            }
            let wrong = found
                .entries
                .iter()
                .find(|entry| group.entries.get(&entry.index) != Some(&(entry.term, xxh3_64(&entry.data))));
            wrong.map(|entry| format!("group {id}: entry {} is not the one that was durable", entry.index))
        })
    }
}
