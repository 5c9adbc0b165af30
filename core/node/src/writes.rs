//! Batches on their way to the write-ahead log: numbering them, and knowing which Raft readies
//! became durable with each. Batches are bounded, so that each fits one frame of the log.

use std::collections::{BTreeMap, VecDeque};

use raft_group::GroupReady;
use types::{Entry, GroupId, GroupWrite, HardState, WriteBatch, WriteSeq};

/// Collects writes and completes them in order.
#[derive(Debug)]
pub(crate) struct Writes {
    batch_bytes_max: u64,
    next_seq: WriteSeq,
    collected: Vec<GroupReady>,
    in_flight: VecDeque<(WriteSeq, Vec<(GroupId, u64)>)>,
}

impl Writes {
    /// `batch_bytes_max` bounds the entry bytes of one batch, a single larger entry excepted.
    pub(crate) fn new(batch_bytes_max: u64) -> Writes {
        Writes { batch_bytes_max, next_seq: WriteSeq(1), collected: Vec::new(), in_flight: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, ready: GroupReady) {
        self.collected.push(ready);
    }

    /// Whether a write of this group is not durable yet.
    pub(crate) fn concern(&self, group: GroupId) -> bool {
        let in_flight = self.in_flight.iter().flat_map(|(_, readies)| readies);
        in_flight
            .map(|(of, _)| *of)
            .chain(self.collected.iter().map(|ready| ready.write.group))
            .any(|of| of == group)
    }

    /// Batches what was collected. A group appears at most once in a batch, and its writes keep their order.
    pub(crate) fn drain(&mut self) -> Vec<WriteBatch> {
        let mut batches = Vec::new();
        let mut open = Open::default();
        for ready in std::mem::take(&mut self.collected) {
            let parts = split(ready.write, self.batch_bytes_max);
            let last = parts.len() - 1;
            for (number, part) in parts.into_iter().enumerate() {
                let bytes = entries_bytes(&part);
                if !open.groups.is_empty() && open.bytes + bytes > self.batch_bytes_max {
                    self.close(&mut open, &mut batches);
                }
                if let Some(earlier) = open.groups.get_mut(&part.group)
                    && !merge(earlier, &part)
                {
                    self.close(&mut open, &mut batches);
                }
                open.bytes += bytes;
                if number == last {
                    open.readies.insert(part.group, ready.ready);
                }
                open.groups.entry(part.group).or_insert(part);
            }
        }
        self.close(&mut open, &mut batches);
        batches
    }

    fn close(&mut self, open: &mut Open, batches: &mut Vec<WriteBatch>) {
        let open = std::mem::take(open);
        if open.groups.is_empty() {
            return;
        }
        let seq = self.next_seq;
        self.next_seq = WriteSeq(seq.0 + 1);
        self.in_flight.push_back((seq, open.readies.into_iter().collect()));
        batches.push(WriteBatch { seq, groups: open.groups.into_values().collect() });
    }

    /// The log is durable up to `seq`: answers the last durable ready of each group concerned.
    ///
    /// # Panics
    /// When the driver reports a batch that it was never given.
    pub(crate) fn written(&mut self, seq: WriteSeq) -> BTreeMap<GroupId, u64> {
        assert!(seq < self.next_seq, "the driver reported a write that was never asked for");
        let mut durable = BTreeMap::new();
        while self.in_flight.front().is_some_and(|(first, _)| *first <= seq) {
            let (_, readies) = self.in_flight.pop_front().expect("the front was just seen");
            durable.extend(readies);
        }
        durable
    }
}

#[derive(Default)]
struct Open {
    bytes: u64,
    groups: BTreeMap<GroupId, GroupWrite>,
    readies: BTreeMap<GroupId, u64>,
}

/// What the log keeps of an entry beside its data, rounded up: a batch of small entries fits too.
const ENTRY_OVERHEAD_BYTES: u64 = 16;

fn entry_bytes(entry: &Entry) -> u64 {
    entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES
}

fn entries_bytes(write: &GroupWrite) -> u64 {
    write.entries.iter().map(entry_bytes).sum()
}

/// Joins `later` to `earlier` when one element can say both; the caller then still inserts nothing,
/// since the group is there.
fn merge(earlier: &mut GroupWrite, later: &GroupWrite) -> bool {
    let connects = match (earlier.entries.last(), later.entries.first()) {
        (Some(last), Some(first)) => first.index == last.index + 1,
        _ => true,
    };
    if later.reset.is_some() || !connects {
        return false;
    }
    earlier.entries.extend(later.entries.iter().cloned());
    earlier.hard_state = later.hard_state.or(earlier.hard_state);
    true
}

/// Cuts a write into parts of bounded entry bytes. Every part carries the term and vote, so that no
/// entry is ever durable without the term that it was accepted in, and a commit index no higher than
/// the entries durable with it.
fn split(write: GroupWrite, bytes_max: u64) -> Vec<GroupWrite> {
    if entries_bytes(&write) <= bytes_max {
        return vec![write];
    }
    let GroupWrite { group, mut reset, entries, hard_state } = write;
    let mut parts: Vec<GroupWrite> = Vec::new();
    let mut chunk: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry_bytes(&entry);
        if !chunk.is_empty() && bytes + size > bytes_max {
            let end = chunk.last().expect("the chunk is not empty").index;
            let bounded = hard_state.map(|state| HardState { commit: state.commit.min(end), ..state });
            let entries = std::mem::take(&mut chunk);
            parts.push(GroupWrite { group, reset: reset.take(), entries, hard_state: bounded });
            bytes = 0;
        }
        bytes += size;
        chunk.push(entry);
    }
    parts.push(GroupWrite { group, reset, entries: chunk, hard_state });
    parts
}
