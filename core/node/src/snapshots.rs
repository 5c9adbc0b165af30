//! Snapshots between nodes: announced by the consensus engine, streamed in chunks beside it.
//!
//! Guarantee G-PROGRESS: once a majority runs and its links work, every keyspace takes writes again, and every replica comes to
//! the same state, by entries or by snapshots.
//!
//! The sender keeps a window of unacknowledged chunks and repeats them when nothing is heard; the
//! receiver stages chunks in a file, in order, and lets the engine see the announcement only once the
//! file is whole.

use std::collections::{BTreeMap, VecDeque};

use storage::{SnapshotReader, Staging, StoreError};
use types::{GroupId, NodeId};
use wire::message::{PeerBody, RaftMessage, SnapshotAck, SnapshotChunk};

/// Chunks in flight per transfer: bounds memory, and hides a round trip.
const WINDOW_CHUNKS: usize = 4;
/// Silence after which the window is sent again.
const REPEAT_AFTER_MS: u64 = 500;
/// Silence after which any other transfer may take the place of the one being received. A sender that
/// restarted with its clock set back numbers its transfers lower than before.
const GIVE_WAY_AFTER_MS: u64 = 3 * REPEAT_AFTER_MS;
/// Silence after which a transfer is given up. Also bounds how long an idle transfer pins pages of the store.
const GIVE_UP_AFTER_MS: u64 = 10_000;

/// Snapshots that this node sends.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    transfers: BTreeMap<(GroupId, NodeId), Transfer>,
    last_transfer: u64,
}

#[derive(Debug)]
struct Transfer {
    id: u64,
    announce: RaftMessage,
    reader: SnapshotReader,
    window: VecDeque<SnapshotChunk>,
    next_number: u64,
    read_all: bool,
    heard_ms: u64,
    repeated_ms: u64,
}

/// How a transfer ended, for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub group: GroupId,
    pub to: NodeId,
    pub ok: bool,
}

impl Sending {
    /// `first_transfer` is higher in every boot, so that an old acknowledgement matches nothing.
    pub(crate) fn new(first_transfer: u64) -> Sending {
        Sending { transfers: BTreeMap::new(), last_transfer: first_transfer }
    }

    pub(crate) fn start(
        &mut self,
        now_ms: u64,
        group: GroupId,
        to: NodeId,
        announce: RaftMessage,
        reader: SnapshotReader,
    ) -> Result<Vec<PeerBody>, StoreError> {
        self.last_transfer += 1;
        let transfer = Transfer {
            id: self.last_transfer,
            announce,
            reader,
            window: VecDeque::new(),
            next_number: 0,
            read_all: false,
            heard_ms: now_ms,
            repeated_ms: now_ms,
        };
        self.transfers.insert((group, to), transfer);
        let transfer = self.transfers.get_mut(&(group, to)).expect("it was just put there");
        transfer.fill()
    }

    pub(crate) fn on_ack(
        &mut self,
        now_ms: u64,
        group: GroupId,
        from: NodeId,
        ack: SnapshotAck,
    ) -> Result<(Vec<PeerBody>, Option<Ended>), StoreError> {
        let key = (group, from);
        let Some(transfer) = self.transfers.get_mut(&key).filter(|transfer| transfer.id == ack.transfer)
        else {
            return Ok((Vec::new(), None));
        };
        if ack.done || ack.failed {
            self.transfers.remove(&key);
            return Ok((Vec::new(), Some(Ended { group, to: from, ok: ack.done })));
        }
        transfer.heard_ms = now_ms;
        transfer.repeated_ms = now_ms;
        while transfer.window.front().is_some_and(|chunk| chunk.number < ack.next) {
            transfer.window.pop_front();
        }
        Ok((transfer.fill()?, None))
    }

    /// Repeats what is unacknowledged, and gives up on receivers that stay silent.
    pub(crate) fn on_tick(&mut self, now_ms: u64) -> (Vec<(GroupId, NodeId, PeerBody)>, Vec<Ended>) {
        let mut sends = Vec::new();
        let mut ended = Vec::new();
        for (&(group, to), transfer) in &mut self.transfers {
            if now_ms >= transfer.heard_ms + GIVE_UP_AFTER_MS {
                types::mark!("snapshot_given_up");
                ended.push(Ended { group, to, ok: false });
            } else if now_ms >= transfer.repeated_ms + REPEAT_AFTER_MS {
                types::mark!("snapshot_chunks_repeated");
                transfer.repeated_ms = now_ms;
                let again = transfer.window.iter().cloned();
                sends.extend(again.map(|chunk| (group, to, PeerBody::SnapshotChunk(chunk))));
            }
        }
        for end in &ended {
            self.transfers.remove(&(end.group, end.to));
        }
        (sends, ended)
    }

    /// Drops the transfers that `doomed` picks, and answers how they ended.
    pub(crate) fn drop_where(&mut self, doomed: impl Fn(GroupId, NodeId) -> bool) -> Vec<Ended> {
        let keys: Vec<_> = self.transfers.keys().copied().filter(|(group, to)| doomed(*group, *to)).collect();
        keys.into_iter()
            .map(|(group, to)| {
                self.transfers.remove(&(group, to));
                Ended { group, to, ok: false }
            })
            .collect()
    }
}

impl Transfer {
    /// Reads and returns as many new chunks as the window has room for.
    fn fill(&mut self) -> Result<Vec<PeerBody>, StoreError> {
        let mut sends = Vec::new();
        while self.window.len() < WINDOW_CHUNKS && !self.read_all {
            let Some(piece) = self.reader.next_chunk()? else {
                self.read_all = true;
                break;
            };
            self.read_all = piece.last;
            let chunk = SnapshotChunk {
                transfer: self.id,
                number: self.next_number,
                data: piece.data,
                last: piece.last,
                announce: Some(self.announce.clone()),
            };
            self.next_number += 1;
            self.window.push_back(chunk.clone());
            sends.push(PeerBody::SnapshotChunk(chunk));
        }
        Ok(sends)
    }
}

/// A snapshot that this node receives for one group.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub from: NodeId,
    pub transfer: u64,
    /// The sender's term as a leader.
    pub term: u64,
    pub next: u64,
    pub heard_ms: u64,
    pub staging: Staging,
}

/// What to do with a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChunkStep {
    /// Append it: it is the next one.
    Append,
    /// A new transfer begins: stage afresh, then append it.
    Begin,
    /// Already there, or too early: say again which is expected.
    Repeat(u64),
    /// Of a transfer that was never begun here or was replaced.
    Ignore,
}

impl Receiving {
    /// Whether the sender has been silent for so long that the staged chunks are worth nothing.
    pub(crate) fn is_stale(&self, now_ms: u64) -> bool {
        now_ms >= self.heard_ms + GIVE_UP_AFTER_MS
    }

    /// Decides what to do with a chunk of a leader of `term`.
    pub(crate) fn step(
        current: Option<&Receiving>,
        now_ms: u64,
        from: NodeId,
        term: u64,
        chunk: &SnapshotChunk,
    ) -> ChunkStep {
        let silent = |receiving: &Receiving| now_ms >= receiving.heard_ms + GIVE_WAY_AFTER_MS;
        match current {
            Some(receiving) if receiving.from == from && receiving.transfer == chunk.transfer => {
                if chunk.number == receiving.next {
                    ChunkStep::Append
                } else {
                    ChunkStep::Repeat(receiving.next)
                }
            }
            Some(receiving) if silent(receiving) && chunk.number == 0 => {
                types::mark!("snapshot_gave_way");
                ChunkStep::Begin
            }
            // Transfer numbers of one sender grow, so a late chunk of an older one starts nothing. Nor
            // does one of an older leader.
            Some(receiving) if receiving.from == from && receiving.transfer > chunk.transfer => {
                ChunkStep::Ignore
            }
            Some(receiving) if receiving.term > term => {
                types::mark!("snapshot_of_older_leader");
                ChunkStep::Ignore
            }
            _ if chunk.number == 0 => ChunkStep::Begin,
            _ => ChunkStep::Ignore,
        }
    }
}
