//! Reading a log back. Everything is checked before anything is changed.
//!
//! Guarantee G-CORRUPTION: bytes that were durable and are damaged now are refused, with the file and the offset, and nothing is
//! changed on disk. Not promised: for the last frame of the log, which cannot be told from a torn write.

use std::collections::BTreeMap;

use types::{Entry, GroupId, HardState, LogPosition};

use super::{
    error::OpenError,
    groups::Groups,
    layout::{self, FORMAT_VERSION, FRAME_HEADER_BYTES, Found, SEGMENT_HEADER_BYTES, SegmentHeader},
    record::{self, LoggedWrite},
};
use crate::{Files, Identity};

/// What a log holds when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// All groups that ever wrote.
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    /// The append that a crash interrupted, if there is a trace of one. It was cut off.
    pub truncated: Option<TornTail>,
}

/// One group's part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The last hard state written.
    pub hard_state: HardState,
    /// The log begins after this position.
    pub start: LogPosition,
    /// All entries, the first at `start.index + 1`. They take as much memory as the segments that
    /// hold them take on disk, at most.
    pub entries: Vec<Entry>,
}

/// An incomplete frame that was cut off the end of the log. It was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The newest segment's file.
    pub file: String,
    /// Where the frame began, in bytes.
    pub offset: u64,
    /// Length of the frame; of its header alone, if not even that is whole.
    pub bytes: u64,
}

/// A log as it was read, before anything is changed.
#[derive(Debug)]
pub(super) struct ReadLog {
    pub groups: Groups,
    pub recovered: Recovered,
    /// The newest segment; `None` when there is no segment.
    pub active: Option<Active>,
}

/// The newest segment, and where its frames end.
#[derive(Debug)]
pub(super) struct Active {
    pub name: String,
    pub header: SegmentHeader,
    pub end: u64,
    pub last_frame_at: u64,
    /// The bytes of the last frame.
    pub last_frame: Vec<u8>,
}

/// Reads and checks all segments among `names`, which is sorted.
pub(super) fn read_log(
    files: &dyn Files,
    names: &[String],
    identity: &Identity,
) -> Result<ReadLog, OpenError> {
    let headers = read_headers(files, names, identity)?;
    let mut reader = Reader { groups: Groups::default(), entries: BTreeMap::new(), previous: None };
    let newest = headers.len().checked_sub(1);
    let mut read = ReadLog { groups: Groups::default(), recovered: Recovered::default(), active: None };
    for (number, (name, header)) in headers.into_iter().enumerate() {
        let mut bytes = vec![0; header.segment_bytes as usize];
        files.open(&name)?.read_at(0, &mut bytes)?;
        let (last_frame_at, end) = reader.read_segment(&name, &header, &bytes)?;
        if Some(number) == newest {
            read.recovered.truncated = check_tail(&name, &header, &bytes, end)?;
            let last_frame = bytes[last_frame_at as usize..end as usize].to_vec();
            read.active = Some(Active { name, header, end, last_frame_at, last_frame });
        }
    }
    read.recovered.groups = reader.recovered_groups();
    read.groups = reader.groups;
    Ok(read)
}

fn corrupt(file: &str, offset: u64, reason: impl Into<String>) -> OpenError {
    OpenError::Corrupt { file: file.to_owned(), offset, reason: reason.into() }
}

/// Reads the headers of all segments, in order of their sequence numbers.
fn read_headers(
    files: &dyn Files,
    names: &[String],
    identity: &Identity,
) -> Result<Vec<(String, SegmentHeader)>, OpenError> {
    let mut headers: Vec<(String, SegmentHeader)> = Vec::new();
    for name in names {
        let Some(sequence) = layout::segment_sequence(name) else { continue };
        if let Some((before, header)) = headers.last()
            && header.sequence.checked_add(1) != Some(sequence)
        {
            return Err(corrupt(name, 0, format!("the segments between {before} and this one are missing")));
        }
        let file = files.open(name)?;
        let len = file.len()?;
        if len < SEGMENT_HEADER_BYTES {
            return Err(corrupt(name, len, "the file ends inside the segment header"));
        }
        let mut block = [0; SEGMENT_HEADER_BYTES as usize];
        file.read_at(0, &mut block)?;
        let header = SegmentHeader::decode(&block).map_err(|reason| corrupt(name, 0, reason))?;
        if header.version != FORMAT_VERSION {
            let (file, found) = (name.clone(), header.version);
            return Err(OpenError::UnsupportedVersion { file, found, supported: FORMAT_VERSION });
        }
        if header.owner != *identity {
            let (file, found) = (name.clone(), header.owner);
            return Err(OpenError::WrongOwner { file, found, expected: *identity });
        }
        if header.sequence != sequence {
            let reason = format!("the header is of {}", layout::segment_name(header.sequence));
            return Err(corrupt(name, 0, reason));
        }
        if header.segment_bytes != len {
            let reason = format!("the file has {len} bytes instead of {}", header.segment_bytes);
            return Err(corrupt(name, len.min(header.segment_bytes), reason));
        }
        headers.push((name.clone(), header));
    }
    Ok(headers)
}

/// What stands behind the last good frame of the newest segment: nothing, the remains of an
/// interrupted append, or damage.
fn check_tail(
    name: &str,
    header: &SegmentHeader,
    bytes: &[u8],
    end: u64,
) -> Result<Option<TornTail>, OpenError> {
    if let Some(later) = layout::next_header(bytes, header.epoch, end) {
        return Err(corrupt(
            name,
            end,
            format!("the frame here is damaged, for a good one follows at byte {later}"),
        ));
    }
    Ok(match layout::look(bytes, header.epoch, end) {
        Found::Bad { frame_bytes } => {
            types::mark!("torn_tail");
            let bytes = frame_bytes.unwrap_or(FRAME_HEADER_BYTES);
            Some(TornTail { file: name.to_owned(), offset: end, bytes })
        }
        Found::End | Found::Frame { .. } => None,
    })
}

#[derive(Debug)]
struct Reader {
    groups: Groups,
    entries: BTreeMap<GroupId, Vec<Entry>>,
    /// Name of the segment before, and where its frames end.
    previous: Option<(String, u64)>,
}

impl Reader {
    /// Reads all good frames, and answers where the last one begins and ends.
    fn read_segment(
        &mut self,
        name: &str,
        header: &SegmentHeader,
        bytes: &[u8],
    ) -> Result<(u64, u64), OpenError> {
        let first = layout::look(bytes, header.epoch, SEGMENT_HEADER_BYTES);
        let Found::Frame { payload, mut end } = first else {
            return Err(corrupt(
                name,
                SEGMENT_HEADER_BYTES,
                "the first frame, which every segment begins with, is bad",
            ));
        };
        self.read_head(name, payload)?;
        self.groups.begin_segment(header.sequence, header.segment_bytes);
        let mut last_frame_at = SEGMENT_HEADER_BYTES;
        while let Found::Frame { payload, end: next } = layout::look(bytes, header.epoch, end) {
            let damaged =
                |reason| corrupt(name, end, format!("a frame with a good checksum makes no sense: {reason}"));
            let writes = record::read_writes(payload).map_err(damaged)?;
            writes.into_iter().try_for_each(|write| self.read_write(write)).map_err(damaged)?;
            (last_frame_at, end) = (end, next);
        }
        self.previous = Some((name.to_owned(), end));
        Ok((last_frame_at, end))
    }

    fn read_head(&mut self, name: &str, payload: &[u8]) -> Result<(), OpenError> {
        let (previous_end, heads) =
            record::read_head(payload).map_err(|reason| corrupt(name, SEGMENT_HEADER_BYTES, reason))?;
        match &self.previous {
            None => self.groups.begin_from(&heads),
            Some((before, end)) if *end != previous_end => {
                let reason =
                    format!("good frames end here, but {name} says that they end at byte {previous_end}");
                return Err(corrupt(before, *end, reason));
            }
            Some((before, _)) => {
                for group in self.groups.forget_unnamed(&heads) {
                    types::mark!("deleted_group_in_log");
                    self.entries.remove(&group);
                }
                if !self.groups.heads().eq(heads) {
                    let reason = format!("the groups do not stand where the frames of {before} leave them");
                    return Err(corrupt(name, SEGMENT_HEADER_BYTES, reason));
                }
            }
        }
        Ok(())
    }

    fn read_write(&mut self, logged: LoggedWrite) -> Result<(), String> {
        let LoggedWrite { mut write, previous_term } = logged;
        self.groups.lower_start(&write, previous_term);
        let known = self.groups.previous_term(&write);
        self.groups.apply(&write)?;
        if known != previous_term {
            return Err(format!(
                "group {}: an entry of term {known} has a successor that claims it to be of term {previous_term}",
                write.group
            ));
        }
        let start = self.groups.logs[&write.group].start.index;
        let entries = self.entries.entry(write.group).or_default();
        if write.reset.is_some() {
            entries.clear();
        }
        if let Some(first) = write.entries.first() {
            let kept = (first.index - start - 1) as usize;
            if kept < entries.len() {
                types::mark!("conflict_recovered");
            }
            entries.truncate(kept);
            entries.append(&mut write.entries);
        }
        Ok(())
    }

    fn recovered_groups(&mut self) -> BTreeMap<GroupId, RecoveredGroup> {
        let mut groups = BTreeMap::new();
        for (&group, log) in &self.groups.logs {
            let entries = self.entries.remove(&group).unwrap_or_default();
            assert_eq!(log.start.index + entries.len() as u64, log.end.index, "entries and index agree");
            groups.insert(group, RecoveredGroup { hard_state: log.hard_state, start: log.start, entries });
        }
        groups
    }
}
