//! A look over a payload's protobuf structure before it is decoded: how many messages and log entries
//! it would become. The decoder proper allocates as it goes, so the counts are bounded first.

use bytes::Bytes;

use crate::frame::MESSAGES_KEY;

/// The bytes are not the protobuf that they should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where each message of a payload is, in order, and how many items they hold in all.
#[derive(Debug, Default)]
pub struct Contents {
    /// The encoded messages.
    pub messages: Vec<Bytes>,
    /// Log entries, and bytes of voter lists.
    pub items: usize,
}

// Field numbers of `message.rs`.
const PEER_RAFT: usize = 2;
const PEER_SNAPSHOT_CHUNK: usize = 5;
const CHUNK_ANNOUNCE: usize = 5;
const RAFT_ENTRIES: usize = 5;
const RAFT_VOTERS: usize = 14;

/// Finds the messages of a payload; stops, with `messages_max + 1` of them, when there are more.
/// Other fields than `Frame.messages` are those of a newer peer, and skipped.
pub fn contents(payload: &Bytes, messages_max: usize) -> Result<Contents, Malformed> {
    let mut found = Contents::default();
    for field in Fields(payload) {
        let field = field?;
        if field.number == usize::from(MESSAGES_KEY >> 3) {
            let message = field.value.ok_or(Malformed)?;
            found.items += peer_items(message)?;
            found.messages.push(payload.slice_ref(message));
            if found.messages.len() > messages_max {
                break;
            }
        }
    }
    Ok(found)
}

fn peer_items(message: &[u8]) -> Result<usize, Malformed> {
    sum(message, |field| match (field.number, field.value) {
        (PEER_RAFT, Some(raft)) => raft_items(raft),
        (PEER_SNAPSHOT_CHUNK, Some(chunk)) => sum(chunk, |field| match (field.number, field.value) {
            (CHUNK_ANNOUNCE, Some(raft)) => raft_items(raft),
            _ => Ok(0),
        }),
        _ => Ok(0),
    })
}

/// A voter takes at least one byte, packed or not, so its bytes bound the voters.
fn raft_items(message: &[u8]) -> Result<usize, Malformed> {
    sum(message, |field| match field.number {
        RAFT_ENTRIES => Ok(1),
        RAFT_VOTERS => Ok(field.value.map_or(1, <[u8]>::len)),
        _ => Ok(0),
    })
}

fn sum(message: &[u8], count: impl Fn(Field<'_>) -> Result<usize, Malformed>) -> Result<usize, Malformed> {
    Fields(message).try_fold(0, |total, field| Ok(total + count(field?)?))
}

/// One field; its bytes if it is length-delimited.
struct Field<'a> {
    number: usize,
    value: Option<&'a [u8]>,
}

/// The fields of one encoded message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<usize, Malformed> {
        prost::decode_length_delimiter(&mut self.0).map_err(|_| Malformed)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => self.varint().map(|_| None),
            1 => self.take(8).map(|_| None),
            2 => self.varint().and_then(|bytes| self.take(bytes)).map(Some),
            5 => self.take(4).map(|_| None),
            // Groups: no version of the protocol has them.
            _ => Err(Malformed),
        }?;
        Ok(Field { number: key >> 3, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
