//! The meta group's rows about lost writes.
//!
//! `lost/`, group, term and index (8 bytes each, big-endian): one write that its leader may have acknowledged before it
//! was committed, and whose entry is about to leave that leader's log. `lost-bound/`, group and term: until when what may be lost
//! is not known exactly. `lost-more/`, group, term and node: a count of those beyond [`LOST_WRITES_MAX`].

use keyspace::{KeyRange, prefix_range};
use prost::Message;
use types::{GroupId, NodeId};

const LOST: &[u8] = b"lost/";
const BOUND: &[u8] = b"lost-bound/";
const MORE: &[u8] = b"lost-more/";

/// Most lost writes that are listed one by one, in the whole cluster. Beyond, they are counted.
pub const LOST_WRITES_MAX: usize = 10_000;

/// One write that may be lost, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWrite {
    /// The keyspace's group.
    pub group: GroupId,
    /// The term in which it was taken,
    pub term: u64,
    /// and the index that it had in that leader's log.
    pub index: u64,
    /// The keyspace.
    pub keyspace: String,
    /// The leader that took it.
    pub leader: NodeId,
    /// The key.
    pub key: Vec<u8>,
    /// Whether it was to delete the key; else, to set it.
    pub deletes: bool,
    /// When it was taken, by that node's wall clock, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// What the client called itself.
    pub client: String,
    /// What the client called the request.
    pub request_id: String,
    /// Whether the node knows that it acknowledged it. False: it may have, and stopped since.
    pub acknowledged: bool,
    /// Whether it is decided that it is lost. False: the index is not committed yet, and the write may yet turn out to be
    /// in the history; then it leaves the list.
    pub decided: bool,
}

/// Until the named nodes are back, or have nothing more to tell, only this is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostBound {
    /// The keyspace's group.
    pub group: GroupId,
    /// The keyspace.
    pub keyspace: String,
    /// The leader of this term says so.
    pub term: u64,
    /// Writes acknowledged with `ack = leader` in earlier terms may be lost if their index is above this.
    pub after_index: u64,
    /// They were taken by one of these nodes,
    pub nodes: Vec<NodeId>,
    /// after this moment, by the wall clock of the node that leads now, as far as that node knows (0: it does not),
    pub since_wall_ms: u64,
    /// and before that node heard of the new term; the new leader was elected at this moment.
    pub elected_wall_ms: u64,
}

/// A count of lost writes that are not listed one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostMore {
    /// The keyspace's group.
    pub group: GroupId,
    /// The keyspace.
    pub keyspace: String,
    /// The term in which they were taken.
    pub term: u64,
    /// The leader that took them.
    pub leader: NodeId,
    /// How many, at most.
    pub writes: u64,
}

/// What one row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostItem {
    /// A write.
    Write(LostWrite),
    /// A bound.
    Bound(LostBound),
    /// A count.
    More(LostMore),
}

#[derive(Clone, PartialEq, Message)]
struct WriteRow {
    #[prost(string, tag = "1")]
    keyspace: String,
    #[prost(uint64, tag = "2")]
    leader: u64,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(bool, tag = "4")]
    deletes: bool,
    #[prost(uint64, tag = "5")]
    wall_ms: u64,
    #[prost(string, tag = "6")]
    client: String,
    #[prost(string, tag = "7")]
    request_id: String,
    #[prost(bool, tag = "8")]
    acknowledged: bool,
    #[prost(bool, tag = "9")]
    decided: bool,
}

#[derive(Clone, PartialEq, Message)]
struct BoundRow {
    #[prost(string, tag = "1")]
    keyspace: String,
    #[prost(uint64, tag = "2")]
    after_index: u64,
    #[prost(uint64, repeated, tag = "3")]
    nodes: Vec<u64>,
    #[prost(uint64, tag = "4")]
    since_wall_ms: u64,
    #[prost(uint64, tag = "5")]
    elected_wall_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct MoreRow {
    #[prost(string, tag = "1")]
    keyspace: String,
    #[prost(uint64, tag = "2")]
    writes: u64,
}

/// The rows of all lost writes, without bounds and counts.
pub(crate) fn all_writes() -> KeyRange {
    prefix_range(LOST)
}

/// The rows of everything that is listed.
pub(crate) fn everything() -> KeyRange {
    let end = prefix_range(MORE).end;
    KeyRange { start: BOUND.to_vec(), end: end.max(prefix_range(LOST).end) }
}

/// The rows of a group's bounds.
pub(crate) fn bounds_of(group: GroupId) -> KeyRange {
    prefix_range(&[BOUND, &group.0.to_be_bytes()].concat())
}

/// Whether a row of the meta group is about lost writes.
pub(crate) fn is_about_lost(key: &[u8]) -> bool {
    [LOST, BOUND, MORE].iter().any(|prefix| key.starts_with(prefix))
}

fn numbers<const N: usize>(rest: &[u8]) -> Option<[u64; N]> {
    let (numbers, left) = rest.as_chunks::<8>();
    let numbers: &[[u8; 8]; N] = numbers.try_into().ok()?;
    left.is_empty().then(|| numbers.map(u64::from_be_bytes))
}

impl LostWrite {
    /// The row that lists it.
    pub(crate) fn row_key(&self) -> Vec<u8> {
        [LOST, &[self.group.0, self.term, self.index].map(u64::to_be_bytes).concat()].concat()
    }

    /// What the row holds.
    pub(crate) fn row_value(&self) -> Vec<u8> {
        let row = WriteRow {
            keyspace: self.keyspace.clone(),
            leader: self.leader.0,
            key: self.key.clone(),
            deletes: self.deletes,
            wall_ms: self.wall_ms,
            client: self.client.clone(),
            request_id: self.request_id.clone(),
            acknowledged: self.acknowledged,
            decided: self.decided,
        };
        row.encode_to_vec()
    }
}

impl LostBound {
    pub(crate) fn row_key(&self) -> Vec<u8> {
        [BOUND, &[self.group.0, self.term].map(u64::to_be_bytes).concat()].concat()
    }

    pub(crate) fn row_value(&self) -> Vec<u8> {
        let row = BoundRow {
            keyspace: self.keyspace.clone(),
            after_index: self.after_index,
            nodes: self.nodes.iter().map(|node| node.0).collect(),
            since_wall_ms: self.since_wall_ms,
            elected_wall_ms: self.elected_wall_ms,
        };
        row.encode_to_vec()
    }
}

impl LostMore {
    pub(crate) fn row_key(&self) -> Vec<u8> {
        [MORE, &[self.group.0, self.term, self.leader.0].map(u64::to_be_bytes).concat()].concat()
    }

    pub(crate) fn row_value(&self) -> Vec<u8> {
        MoreRow { keyspace: self.keyspace.clone(), writes: self.writes }.encode_to_vec()
    }
}

impl LostItem {
    /// What a row says; `None` for a row that is about something else, or damaged.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<LostItem> {
        if let Some(rest) = key.strip_prefix(LOST) {
            let [group, term, index] = numbers(rest)?;
            let row = WriteRow::decode(value).ok()?;
            return Some(LostItem::Write(LostWrite {
                group: GroupId(group),
                term,
                index,
                keyspace: row.keyspace,
                leader: NodeId(row.leader),
                key: row.key,
                deletes: row.deletes,
                wall_ms: row.wall_ms,
                client: row.client,
                request_id: row.request_id,
                acknowledged: row.acknowledged,
                decided: row.decided,
            }));
        }
        if let Some(rest) = key.strip_prefix(BOUND) {
            let [group, term] = numbers(rest)?;
            let row = BoundRow::decode(value).ok()?;
            return Some(LostItem::Bound(LostBound {
                group: GroupId(group),
                keyspace: row.keyspace,
                term,
                after_index: row.after_index,
                nodes: row.nodes.into_iter().map(NodeId).collect(),
                since_wall_ms: row.since_wall_ms,
                elected_wall_ms: row.elected_wall_ms,
            }));
        }
        let [group, term, leader] = numbers(key.strip_prefix(MORE)?)?;
        let row = MoreRow::decode(value).ok()?;
        let (group, leader) = (GroupId(group), NodeId(leader));
        Some(LostItem::More(LostMore { group, keyspace: row.keyspace, term, leader, writes: row.writes }))
    }

    /// Its name, for acknowledging it: `write-`, `bound-` or `more-`, then the numbers of its row.
    pub fn id(&self) -> String {
        match self {
            LostItem::Write(at) => format!("write-{}-{}-{}", at.group, at.term, at.index),
            LostItem::Bound(at) => format!("bound-{}-{}", at.group, at.term),
            LostItem::More(at) => format!("more-{}-{}-{}", at.group, at.term, at.leader),
        }
    }

    /// The row of an item's name; `None` if it is none.
    pub(crate) fn row_of(id: &str) -> Option<Vec<u8>> {
        let (kind, rest) = id.split_once('-')?;
        let (prefix, count) = match kind {
            "write" => (LOST, 3),
            "bound" => (BOUND, 2),
            "more" => (MORE, 3),
            _ => return None,
        };
        let numbers: Vec<u64> = rest.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        let row =
            [prefix, &numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>()].concat();
        (numbers.len() == count).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_put_into_it() {
        let write = LostWrite {
            group: GroupId(64),
            term: 3,
            index: 17,
            keyspace: "fast".into(),
            leader: NodeId(2),
            key: b"k".to_vec(),
            deletes: false,
            wall_ms: 5,
            client: "c".into(),
            request_id: "r".into(),
            acknowledged: true,
            decided: false,
        };
        let bound = LostBound {
            group: GroupId(64),
            keyspace: "fast".into(),
            term: 4,
            after_index: 16,
            nodes: vec![NodeId(2)],
            since_wall_ms: 1,
            elected_wall_ms: 2,
        };
        let more =
            LostMore { group: GroupId(64), keyspace: "fast".into(), term: 3, leader: NodeId(2), writes: 9 };
        let rows = [
            (write.row_key(), write.row_value(), LostItem::Write(write)),
            (bound.row_key(), bound.row_value(), LostItem::Bound(bound)),
            (more.row_key(), more.row_value(), LostItem::More(more)),
        ];
        let all = everything();
        for (key, value, item) in rows {
            assert_eq!(LostItem::decode(&key, &value).as_ref(), Some(&item));
            assert_eq!(LostItem::row_of(&item.id()), Some(key.clone()));
            assert!(all.start <= key && Some(&key) < all.end.as_ref(), "{}", item.id());
            assert!(is_about_lost(&key));
        }
        for bad in ["", "write", "write-1-2", "write-1-2-3-4", "bound-1-2-3", "other-1-2-3", "more-1-2-x"] {
            assert_eq!(LostItem::row_of(bad), None, "{bad}");
        }
        assert_eq!(LostItem::decode(b"keyspaces/x", b""), None);
        assert_eq!(LostItem::decode(b"lost/x", b""), None);
    }
}
