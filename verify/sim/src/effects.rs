//! What the committed entries come to: a second, simpler reading of the log than the nodes', which knows
//! revisions and which request did what, and neither values nor forgetting.
//!
//! Every request of the simulator's clients writes a value of its own, so a value that takes effect in
//! two entries is a request that was carried out twice.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{Command, Expect, LogCommand, entry::decode_entry};
use types::GroupId;
use xxhash_rust::xxh3::xxh3_64;

use crate::failure::Broken;

/// See the module.
#[derive(Debug, Default)]
pub struct Effects {
    groups: BTreeMap<GroupId, Model>,
    /// Entries read.
    pub checked: u64,
}

/// One group, as far as its entries were seen without a gap.
#[derive(Debug, Default)]
struct Model {
    /// Revision after each entry.
    revisions: Vec<u64>,
    /// Modification revision of each key, and its bytes with its value.
    rows: BTreeMap<Vec<u8>, (u64, u64)>,
    /// Idempotency keys used.
    used: BTreeSet<Vec<u8>>,
    /// Hash of each value that took effect, and the entry that did it.
    effects: BTreeMap<u64, u64>,
}

impl Effects {
    /// An entry is committed. Those that were seen before, or come after a gap, are not looked at.
    ///
    /// # Errors
    /// When a request takes effect for the second time.
    pub fn on_commit(&mut self, group: GroupId, index: u64, data: &[u8]) -> Result<(), Broken> {
        let model = self.groups.entry(group).or_default();
        if index != model.revisions.len() as u64 + 1 {
            return Ok(());
        }
        // What a transaction does is not read again here: the group is not looked at any further. Half of
        // the seeds have no transactions, so that their logs are read to the end.
        if decode_entry(data).is_ok_and(|entry| matches!(entry.command, Command::Txn(_))) {
            return Ok(());
        }
        self.checked += 1;
        let revision = model.revision() + u64::from(model.takes_effect(group, index, data)?);
        model.revisions.push(revision);
        Ok(())
    }

    /// A node is at this index of a group, with this revision.
    ///
    /// # Errors
    /// When the entries up to there come to another revision.
    pub fn check_revision(&self, at: &str, group: GroupId, index: u64, revision: u64) -> Result<(), Broken> {
        let model =
            self.groups.get(&group).and_then(|model| model.revisions.get(index.checked_sub(1)? as usize));
        match model {
            Some(expected) if *expected != revision => Err(Broken::safety(
                "revisions_follow_the_log",
                format!("{at}: entries up to {index} come to revision {expected}, and it has {revision}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Model {
    fn revision(&self) -> u64 {
        self.revisions.last().copied().unwrap_or(0)
    }

    /// Whether the entry changes a row; then the row is changed.
    fn takes_effect(&mut self, group: GroupId, index: u64, data: &[u8]) -> Result<bool, Broken> {
        // Otherwise it is the entry with which a leader opens its term.
        let Ok(LogCommand { terms, command }) = decode_entry(data) else { return Ok(false) };
        let used = terms.once.map(|once| once.key.as_bytes().to_vec());
        if used.as_ref().is_some_and(|key| self.used.contains(key)) {
            return Ok(false);
        }
        let (Command::Put { key, expect, .. } | Command::Delete { key, expect }) = &command else {
            // What is done to the history changes no key.
            return Ok(false);
        };
        let (current, held) = self.rows.get(key).copied().unzip();
        let holds = match *expect {
            Expect::Anything => true,
            Expect::Absent => current.is_none(),
            Expect::Present => current.is_some(),
            Expect::Revision(revision) => current == Some(revision),
        };
        let held = held.unwrap_or(0);
        let all: u64 = self.rows.values().map(|(_, bytes)| bytes).sum();
        let fits =
            |bytes: u64| terms.quota_bytes.is_none_or(|quota| bytes <= held || all - held + bytes <= quota);
        if let Command::Put { key, value, .. } = &command
            && holds
            && !fits((key.len() + value.len()) as u64)
        {
            return Ok(false);
        }
        self.used.extend(used);
        match command {
            Command::Put { key, value, .. } if holds => {
                if group != GroupId::META
                    && let Some(before) = self.effects.insert(xxh3_64(&value), index)
                {
                    return Err(Broken::safety(
                        "one_effect_per_request",
                        format!(
                            "group {group}: the put of entry {before} takes effect again in entry {index}"
                        ),
                    ));
                }
                let bytes = (key.len() + value.len()) as u64;
                self.rows.insert(key, (self.revision() + 1, bytes));
                Ok(true)
            }
            Command::Delete { key, .. } if holds => Ok(self.rows.remove(&key).is_some()),
            _ => Ok(false),
        }
    }
}
