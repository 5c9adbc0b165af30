//! What a frame's payload says: the group writes of one append, or, in the first frame of a segment,
//! where every group stands. Coded by hand with fixed widths: entry bytes go straight between the
//! log's buffer and the entry, every byte has one meaning, and the length is known before encoding.

use std::sync::Arc;

use types::{Entry, GroupId, GroupWrite, HardState, LogPosition, WriteBatch};

const KIND_WRITE: u8 = 1;
const KIND_STATE: u8 = 2;
const HAS_RESET: u8 = 1;
const HAS_ENTRIES: u8 = 2;
const HAS_HARD_STATE: u8 = 4;
/// Term and length before an entry's data.
const ENTRY_HEADER_BYTES: usize = 12;
const WRITE_HEADER_BYTES: usize = 16;
const STATE_BYTES: usize = 56;

/// Where one group stands at the head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHead {
    pub group: GroupId,
    /// Position of the last entry, or where the log was reset to.
    pub end: LogPosition,
    pub hard_state: HardState,
}

/// A group write as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoggedWrite {
    pub write: GroupWrite,
    /// Term of the entry before the first of `write.entries`.
    pub previous_term: u64,
}

/// Payload bytes of a frame with these batches; 0 when they say nothing.
pub(super) fn writes_bytes(batches: &[WriteBatch]) -> u64 {
    writes(batches).map(write_bytes).sum()
}

/// The writes of the batches that say something.
pub(super) fn writes(batches: &[WriteBatch]) -> impl Iterator<Item = &GroupWrite> {
    batches.iter().flat_map(|batch| &batch.groups).filter(|write| flags(write) != 0)
}

fn flags(write: &GroupWrite) -> u8 {
    let mut flags = 0;
    flags |= if write.reset.is_some() { HAS_RESET } else { 0 };
    flags |= if write.entries.is_empty() { 0 } else { HAS_ENTRIES };
    flags |= if write.hard_state.is_some() { HAS_HARD_STATE } else { 0 };
    flags
}

fn write_bytes(write: &GroupWrite) -> u64 {
    let entries = write.entries.iter().map(|entry| (ENTRY_HEADER_BYTES + entry.data.len()) as u64);
    WRITE_HEADER_BYTES as u64
        + if write.reset.is_some() { 16 } else { 0 }
        + if write.entries.is_empty() { 0 } else { 16 }
        + entries.sum::<u64>()
        + if write.hard_state.is_some() { 24 } else { 0 }
}

/// Appends one write to a payload.
pub(super) fn put_write(out: &mut Vec<u8>, write: &GroupWrite, previous_term: u64) {
    let count = u32::try_from(write.entries.len()).expect("a frame is smaller than 4 GiB");
    out.extend([KIND_WRITE, flags(write), 0, 0]);
    out.extend(count.to_le_bytes());
    out.extend(write.group.0.to_le_bytes());
    if let Some(position) = write.reset {
        put_position(out, position);
    }
    if let Some(first) = write.entries.first() {
        out.extend(first.index.to_le_bytes());
        out.extend(previous_term.to_le_bytes());
    }
    for entry in &write.entries {
        let data_bytes = u32::try_from(entry.data.len()).expect("a frame is smaller than 4 GiB");
        out.extend(entry.term.to_le_bytes());
        out.extend(data_bytes.to_le_bytes());
        out.extend_from_slice(&entry.data);
    }
    if let Some(hard_state) = write.hard_state {
        put_hard_state(out, hard_state);
    }
}

/// Payload bytes of the first frame of a segment, with this many groups.
pub(super) fn head_bytes(groups: usize) -> u64 {
    (8 + groups * STATE_BYTES) as u64
}

/// Appends the payload of the first frame of a segment. `previous_end` is where the frames of the
/// segment before it end; 0 when there was none.
pub(super) fn put_head(out: &mut Vec<u8>, previous_end: u64, groups: impl Iterator<Item = GroupHead>) {
    out.extend(previous_end.to_le_bytes());
    for head in groups {
        out.extend([KIND_STATE, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(head.group.0.to_le_bytes());
        put_position(out, head.end);
        put_hard_state(out, head.hard_state);
    }
}

fn put_position(out: &mut Vec<u8>, position: LogPosition) {
    out.extend(position.index.to_le_bytes());
    out.extend(position.term.to_le_bytes());
}

fn put_hard_state(out: &mut Vec<u8>, hard_state: HardState) {
    out.extend(hard_state.term.to_le_bytes());
    out.extend(hard_state.vote.to_le_bytes());
    out.extend(hard_state.commit.to_le_bytes());
}

/// Reads the payload of an ordinary frame. The error says what is wrong.
pub(super) fn read_writes(payload: &[u8]) -> Result<Vec<LoggedWrite>, String> {
    let mut fields = Fields(payload);
    let mut writes = Vec::new();
    while !fields.0.is_empty() {
        writes.push(read_write(&mut fields)?);
    }
    Ok(writes)
}

fn read_write(fields: &mut Fields<'_>) -> Result<LoggedWrite, String> {
    let [kind, flags, 0, 0] = fields.array()? else { return Err("a record is malformed".into()) };
    if kind != KIND_WRITE || flags == 0 || flags & !(HAS_RESET | HAS_ENTRIES | HAS_HARD_STATE) != 0 {
        return Err(format!("a record of kind {kind} with flags {flags} where a group write should be"));
    }
    let count = u32::from_le_bytes(fields.array()?);
    if (count > 0) != (flags & HAS_ENTRIES != 0) {
        return Err(format!("a record with flags {flags} claims {count} entries"));
    }
    let group = GroupId(fields.u64()?);
    let reset = if flags & HAS_RESET != 0 { Some(fields.position()?) } else { None };
    let mut previous_term = 0;
    // An entry takes at least its header, so a false count cannot ask for more than the frame holds.
    let mut entries = Vec::with_capacity((count as usize).min(fields.0.len() / ENTRY_HEADER_BYTES));
    if count > 0 {
        let first = fields.u64()?;
        let too_far = || format!("{count} entries from index {first} go past the largest index");
        first.checked_add(u64::from(count)).ok_or_else(too_far)?;
        previous_term = fields.u64()?;
        for index in first..first + u64::from(count) {
            let term = fields.u64()?;
            let data_bytes = u32::from_le_bytes(fields.array()?);
            let data = Arc::from(fields.take(data_bytes as usize)?);
            entries.push(Entry { index, term, data });
        }
    }
    let hard_state = if flags & HAS_HARD_STATE != 0 { Some(fields.hard_state()?) } else { None };
    Ok(LoggedWrite { write: GroupWrite { group, reset, entries, hard_state }, previous_term })
}

/// Reads the payload of the first frame of a segment: `previous_end`, and all groups.
pub(super) fn read_head(payload: &[u8]) -> Result<(u64, Vec<GroupHead>), String> {
    let mut fields = Fields(payload);
    let previous_end = fields.u64()?;
    let mut heads = Vec::with_capacity(fields.0.len() / STATE_BYTES);
    while !fields.0.is_empty() {
        if fields.array()? != [KIND_STATE, 0, 0, 0, 0, 0, 0, 0] {
            return Err("a malformed record where a group's state should be".into());
        }
        let group = GroupId(fields.u64()?);
        heads.push(GroupHead { group, end: fields.position()?, hard_state: fields.hard_state()? });
    }
    Ok((previous_end, heads))
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let missing = || format!("a record ends {} bytes early", bytes - self.0.len());
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(missing)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn position(&mut self) -> Result<LogPosition, String> {
        Ok(LogPosition { index: self.u64()?, term: self.u64()? })
    }

    fn hard_state(&mut self) -> Result<HardState, String> {
        Ok(HardState { term: self.u64()?, vote: self.u64()?, commit: self.u64()? })
    }
}
