//! What the committed entries come to: a second, simpler reading of the log than the nodes', which knows
//! revisions and which request did what, and neither values nor forgetting.
//!
//! Every request of the simulator's clients writes a value of its own, or a mark, so a value that takes effect in
//! two entries is a request that was carried out twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use keyspace::{Command, Expect, LogCommand, codec::encode_command, entry::decode_entry};
use types::{Entry, GroupId, LeaseId};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    failure::Broken,
    tenure::{At, Step, Tenure},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Effects {
    groups: BTreeMap<GroupId, Model>,
    /// Entries read.
    pub checked: u64,
    /// Leases whose time was up, not yet taken out.
    pub expired: Vec<(GroupId, LeaseId)>,
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
    /// Leases and locks.
    tenure: Tenure,
    /// There is an entry that was not read: what comes after it is not known.
    ends_early: bool,
}

impl Effects {
    /// An entry is committed. Those that were seen before, or come after a gap, are not looked at.
    ///
    /// # Errors
    /// When a request takes effect for the second time.
    pub fn on_commit(&mut self, group: GroupId, entry: &Entry) -> Result<(), Broken> {
        let Entry { index, term, data } = entry;
        let (index, term) = (*index, *term);
        let model = self.groups.entry(group).or_default();
        if index != model.revisions.len() as u64 + 1 {
            model.ends_early |= index > model.revisions.len() as u64;
            return Ok(());
        }
        // What a transaction does is not read again here: the group is not looked at any further. Half of
        // the seeds have no transactions, so that their logs are read to the end.
        let is_read = |command: &Command| match command {
            Command::Txn(txn) => Tenure::left(txn).is_some(),
            _ => true,
        };
        if decode_entry(data).is_ok_and(|entry| !is_read(&entry.command)) {
            model.ends_early = true;
            return Ok(());
        }
        self.checked += 1;
        let mut expired = None;
        let takes_effect = model.takes_effect(group, index, term, data, &mut expired)?;
        let revision = model.revision() + u64::from(takes_effect);
        model.revisions.push(revision);
        self.expired.extend(expired.map(|lease| (group, lease)));
        Ok(())
    }

    /// Leases that there are, in the groups whose logs were read to the end.
    pub fn leases(&self) -> usize {
        self.groups.values().filter(|model| !model.ends_early).map(|model| model.tenure.leases()).sum()
    }

    /// A node is at this index of a group, with this revision.
    ///
    /// # Errors
    /// When the entries up to there come to another revision.
    pub fn check_revision(
        &self,
        at: &dyn fmt::Display,
        group: GroupId,
        index: u64,
        revision: u64,
    ) -> Result<(), Broken> {
        let Some(model) = self.groups.get(&group) else { return Ok(()) };
        let expected = index.checked_sub(1).and_then(|at| model.revisions.get(at as usize));
        match (expected, model.tenure.first_fenced(index)) {
            (Some(expected), Some(fenced)) if *expected < revision => Err(Broken::safety(
                "no_two_holders_write",
                format!(
                    "{at}: entry {fenced} is under the token of no holder, and took effect: revision {revision} at \
                     {index}, where {expected} is due"
                ),
            )),
            (Some(expected), _) if *expected != revision => Err(Broken::safety(
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
    fn takes_effect(
        &mut self,
        group: GroupId,
        index: u64,
        term: u64,
        data: &[u8],
        expired: &mut Option<LeaseId>,
    ) -> Result<bool, Broken> {
        // Otherwise it is the entry with which a leader opens its term.
        let Ok(LogCommand { terms, command }) = decode_entry(data) else { return Ok(false) };
        let used = terms.once.map(|once| once.key.as_bytes().to_vec());
        if used.as_ref().is_some_and(|key| self.used.contains(key)) {
            return Ok(false);
        }
        if terms.fence.is_some_and(|fence| !self.tenure.admits(index, &fence.name, fence.token)) {
            return Ok(false);
        }
        let at = At { index, term, shards: terms.shards.unwrap_or(1) };
        let (key, expect) = match &command {
            Command::Put { key, expect, .. }
            | Command::Delete { key, expect }
            | Command::Operate { key, expect, .. } => (key, expect),
            other => {
                self.used.extend(used);
                return Ok(self.tenure_changes(at, other, expired));
            }
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
            Command::Put { lease: Some(lease), .. } if holds && !self.tenure.has(lease) => Ok(false),
            Command::Put { key, value, lease, .. } if holds => {
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
                self.tenure.put(&key, self.revision() + 1, lease);
                self.rows.insert(key, (self.revision() + 1, bytes));
                Ok(true)
            }
            Command::Delete { key, .. } if holds => Ok(self.remove(&key)),
            Command::Operate { .. } if holds => self.operate(group, index, &command).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Operations on a value take effect: clients send none that their values refuse, and each once.
    fn operate(&mut self, group: GroupId, index: u64, command: &Command) -> Result<(), Broken> {
        let Command::Operate { key, .. } = command else { return Ok(()) };
        if let Some(before) = self.effects.insert(xxh3_64(&encode_command(command)), index) {
            return Err(Broken::safety(
                "one_effect_per_request",
                format!("group {group}: the operations of entry {before} take effect again in entry {index}"),
            ));
        }
        let revision = self.revision() + 1;
        self.tenure.keep(key, revision);
        self.rows.entry(key.clone()).or_default().0 = revision;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.tenure.delete(key);
        self.rows.remove(key).is_some()
    }

    /// Whether a command about leases or locks changes a row; then rows are changed.
    fn tenure_changes(&mut self, at: At, command: &Command, expired: &mut Option<LeaseId>) -> bool {
        let command = match command {
            Command::Lease(command) => command,
            Command::Txn(txn) => {
                let left = Tenure::left(txn).filter(|(key, token)| self.tenure.created(key) == Some(*token));
                return left.is_some_and(|(key, _)| self.remove(key));
            }
            _ => return false,
        };
        match self.tenure.run(at, command) {
            Step::Nothing => false,
            Step::Created(key) => {
                let keyspace::LeaseCommand::Enter { lease, value, .. } = command else { return false };
                let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
                self.tenure.put(&key, self.revision() + 1, Some(*lease));
                self.rows.insert(key, (self.revision() + 1, bytes as u64));
                true
            }
            Step::Ended { lease, keys } => {
                *expired = Some(lease);
                for key in &keys {
                    self.remove(key);
                }
                !keys.is_empty()
            }
        }
    }
}
