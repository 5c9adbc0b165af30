//! The old leader's part: what its log is about to lose goes onto the list first.

use keyspace::{
    Command, Txn, TxnOp,
    entry::{decode_entry, is_early},
};
use raft_group::RaftGroup;
use types::{Entry, GroupId, NodeId, Now};
use wire::message::RaftMessage;

use super::records::{LOST_WRITES_MAX, LostMore, LostWrite};
use crate::{group::Group, node::Node, requests::Origin};

/// Writes in one report.
const REPORT_WRITES_MAX: usize = 64;
/// Bytes of keys in one report.
const REPORT_BYTES_MAX: usize = 256 * 1024;

impl Node {
    /// Whether an append must wait, since it would overwrite writes that this node may have acknowledged and that are not on the
    /// list. The list is asked to take them; the append's sender repeats it.
    pub(crate) fn list_before_append(&mut self, now: Now, id: GroupId, append: &RaftMessage) -> bool {
        let Some(group) = self.groups.get(&id) else { return false };
        #[cfg(feature = "planted")]
        if self.planted_forgets(raft_group::Planted::LostForgottenAtAppend) {
            return false;
        }
        let doomed = self.unlisted(group, group.raft.overwritten_by(append));
        self.list_first(now, id, doomed)
    }

    /// The same of a snapshot, which replaces the whole log: everything in it that is not known to be committed.
    pub(crate) fn list_before_snapshot(&mut self, now: Now, id: GroupId) -> bool {
        let Some(group) = self.groups.get(&id) else { return false };
        let doomed = self.unlisted(group, uncommitted(&group.raft));
        self.list_first(now, id, doomed)
    }

    /// Of these entries, the writes of this node's that may have been acknowledged early and are not listed.
    fn unlisted<'a>(&self, group: &Group, doomed: impl Iterator<Item = &'a Entry>) -> Vec<LostWrite> {
        let unlisted = doomed.filter(|entry| !group.lost.listed.contains(&(entry.term, entry.index)));
        unlisted.filter_map(|entry| self.lost_write(group, entry)).collect()
    }

    fn lost_write(&self, group: &Group, entry: &Entry) -> Option<LostWrite> {
        if !is_early(&entry.data) {
            return None;
        }
        let decoded = decode_entry(&entry.data).ok()?;
        let early = decoded.terms.early.filter(|early| early.leader == self.config.node)?;
        let (key, deletes) = match decoded.command {
            Command::Put { key, .. } => (key, false),
            Command::Delete { key, .. } => (key, true),
            _ => return None,
        };
        Some(LostWrite {
            group: group.id,
            term: entry.term,
            index: entry.index,
            keyspace: group.name.clone(),
            leader: early.leader,
            key,
            deletes,
            wall_ms: early.wall_ms,
            client: early.client,
            request_id: early.request_id,
            acknowledged: group.early.answered.contains(&(entry.index, entry.term)),
            decided: false,
        })
    }

    fn list_first(&mut self, now: Now, id: GroupId, doomed: Vec<LostWrite>) -> bool {
        if doomed.is_empty() {
            return false;
        }
        let full = self.lost.writes + doomed.len() as u64 > LOST_WRITES_MAX as u64;
        let group = self.groups.get_mut(&id).expect("the caller found it");
        if group.lost.reporting.is_some() {
            return true;
        }
        let (reported, puts) = if full { count(&doomed) } else { one_by_one(&doomed) };
        types::mark!("lost_write_listed");
        group.lost.reporting = Some(reported);
        let txn = Txn { then: puts, ..Txn::default() };
        self.change_list(now, Origin::LostReport { group: Some(id) }, txn);
        true
    }
}

type Report = (Vec<(u64, u64)>, Vec<TxnOp>);

/// As many as one report holds, at least one.
fn one_by_one(doomed: &[LostWrite]) -> Report {
    let mut report = Report::default();
    let mut bytes = 0;
    for write in doomed.iter().take(REPORT_WRITES_MAX) {
        bytes += write.key.len() + write.client.len() + write.request_id.len();
        if bytes > REPORT_BYTES_MAX && !report.0.is_empty() {
            break;
        }
        report.0.push((write.term, write.index));
        report.1.push(TxnOp::Put { key: write.row_key(), value: write.row_value(), lease: None });
    }
    report
}

/// The list is full: all of one term and leader as one number, the same however often it is reported.
fn count(doomed: &[LostWrite]) -> Report {
    let Some(first) = doomed.first() else { return Report::default() };
    let same: Vec<&LostWrite> = doomed.iter().filter(|write| write.term == first.term).collect();
    let more = LostMore {
        group: first.group,
        keyspace: first.keyspace.clone(),
        term: first.term,
        leader: NodeId(first.leader.0),
        writes: same.len() as u64,
    };
    let put = TxnOp::Put { key: more.row_key(), value: more.row_value(), lease: None };
    (same.iter().map(|write| (write.term, write.index)).collect(), vec![put])
}

fn uncommitted(raft: &RaftGroup) -> impl Iterator<Item = &Entry> {
    raft.durable_from(raft.commit_index() + 1)
}
