//! Writing the log: appending, rotating to the next segment, freeing old ones.

use std::{collections::BTreeMap, sync::Arc};

use types::{GroupId, WriteBatch};

use super::{
    error::{AppendError, OpenError},
    groups::Groups,
    layout::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader},
    record,
    recovery::{self, Recovered},
    spares::Spares,
};
use crate::{DiskError, File, Files, Identity};

/// Smallest `segment_bytes`: the header block and as much again for frames.
pub const SEGMENT_BYTES_MIN: u64 = 2 * SEGMENT_HEADER_BYTES;
/// Largest `segment_bytes`: one segment is read into memory at a time.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How to run a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Length of a new segment file, in bytes: a multiple of 4096 from [`SEGMENT_BYTES_MIN`] to
    /// [`SEGMENT_BYTES_MAX`]. Existing segments keep theirs.
    pub segment_bytes: u64,
    /// Room, in bytes, that is kept for writes without entries once no further segment can be made:
    /// votes and commits go on while a full disk refuses entries.
    pub entry_reserve_bytes: u64,
    /// A number that other starts of this node are unlikely to use; goes into the epochs.
    pub boot_nonce: u64,
    /// The bug: what is done to a log that is damaged in its middle.
    #[cfg(feature = "planted")]
    pub planted: Option<super::planted::AtDamage>,
}

/// Figures for status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalStats {
    /// Segments that hold frames, the active one included.
    pub segments: usize,
    /// Spare segments ready.
    pub spares: usize,
    /// Length of all these files, in bytes.
    pub disk_bytes: u64,
    /// Sequence number of the segment that is appended to.
    pub active_sequence: u64,
    /// Where in it the next frame goes, in bytes.
    pub active_offset: u64,
}

/// The log, open for appending. One per data directory.
#[derive(Debug)]
pub struct Wal {
    files: Arc<dyn Files>,
    identity: Identity,
    options: WalOptions,
    groups: Groups,
    spares: Spares,
    active: Arc<dyn File>,
    epoch: u64,
    /// Invariant: from the end of the first frame up to the length of the active segment.
    offset: u64,
    buffer: Vec<u8>,
    failure: Option<DiskError>,
}

impl Wal {
    /// Reads the log, or begins one where there is none. After it answered `Ok`, all that it recovered
    /// is durable, also if an earlier process died, or its sync failed, before that.
    ///
    /// # Errors
    /// See [`OpenError`]. Files are changed only once all segments were found good.
    ///
    /// # Panics
    /// If `options.segment_bytes` is not as documented.
    pub fn open(
        files: Arc<dyn Files>,
        identity: &Identity,
        options: WalOptions,
    ) -> Result<(Wal, Recovered), OpenError> {
        let sizes = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        let aligned = options.segment_bytes.is_multiple_of(4096);
        assert!(
            aligned && sizes.contains(&options.segment_bytes),
            "segment_bytes is {}",
            options.segment_bytes
        );
        let names = files.list()?;
        #[cfg(feature = "planted")]
        let names = super::planted::open(options.planted, &*files, names, identity)?;
        let read = recovery::read_log(&*files, &names, identity)?;
        let (mut groups, active) = (read.groups, read.active);
        let mut spares = Spares::open(&*files, &names, options.segment_bytes)?;
        let (active, epoch, offset) = match active {
            Some(active) => {
                let file = files.open(&active.name)?;
                make_end_durable(&*file, &active)?;
                (file, active.header.epoch, active.end)
            }
            None => {
                if !spares.ensure_one(&*files)? {
                    return Err(DiskError::NoSpace.into());
                }
                let header = SegmentHeader::new(identity, 1, options.segment_bytes, options.boot_nonce);
                let (file, offset) = begin_segment(&*files, &mut spares, &header, 0, &groups)?;
                groups.begin_segment(1, options.segment_bytes);
                (file, header.epoch, offset)
            }
        };
        spares.ensure_one(&*files)?;
        let identity = *identity;
        let buffer = Vec::new();
        let wal =
            Wal { files, identity, options, groups, spares, active, epoch, offset, buffer, failure: None };
        wal.check_invariants();
        Ok((wal, read.recovered))
    }

    /// Appends the batches as one frame: one write, one sync. When it answers `Ok` they are durable.
    /// Batches that say nothing cost nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    ///
    /// # Panics
    /// If entries do not continue their group's log, go back in term, or replace entries that were
    /// freed: the caller's consensus state is broken.
    pub fn append(&mut self, batches: &[WriteBatch]) -> Result<(), AppendError> {
        self.check_usable().map_err(AppendError::Disk)?;
        let payload_bytes = record::writes_bytes(batches);
        if payload_bytes == 0 {
            return Ok(());
        }
        self.make_room(batches)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let at = layout::begin_frame(&mut buffer);
        for write in record::writes(batches) {
            record::put_write(&mut buffer, write, self.groups.previous_term(write));
            if let Err(reason) = self.groups.apply(write) {
                panic!("the log was asked to write what does not follow: {reason}");
            }
        }
        layout::end_frame(&mut buffer, at, self.epoch, self.offset, self.active_bytes());
        let written = self.active.write_at(self.offset, &buffer).and_then(|()| self.active.sync());
        self.buffer = buffer;
        self.keep_failure(written).map_err(AppendError::Disk)?;
        self.offset += layout::frame_bytes(payload_bytes);
        self.check_invariants();
        Ok(())
    }

    /// Bytes that these batches would take in the log, in one append.
    pub fn frame_bytes(batches: &[WriteBatch]) -> u64 {
        layout::frame_bytes(record::writes_bytes(batches))
    }

    /// Most bytes that one append may take, by [`Wal::frame_bytes`]. Shrinks a little with every new
    /// group.
    pub fn frame_bytes_max(&self) -> u64 {
        let head_bytes = layout::frame_bytes(record::head_bytes(self.groups.logs.len()));
        self.options.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES + head_bytes)
    }

    /// Whether batches with entries are accepted at present. If not, the disk is full: the active
    /// segment has no room but the reserve, and there is no other. (If so, a batch larger than the room
    /// that is left may still be answered [`AppendError::NoSpace`].)
    pub fn has_space_for_entries(&self) -> bool {
        self.failure.is_none() && self.entries_fit(FRAME_HEADER_BYTES)
    }

    /// Frees the oldest segments as long as no group has an entry in them from its `first_needed` on.
    /// A group without a number there keeps all of its entries; one with the highest number there is, is no more,
    /// never written again, and named by no segment that begins from now on. Answers how many were freed.
    ///
    /// # Errors
    /// The disk failed, now or earlier: as final as [`AppendError::Disk`].
    pub fn retain(&mut self, first_needed: &BTreeMap<GroupId, u64>) -> Result<usize, DiskError> {
        self.check_usable()?;
        let forgotten = first_needed.iter().filter(|(_, needed)| **needed == u64::MAX);
        forgotten.for_each(|(group, _)| self.groups.forget(*group));
        let mut freed = 0;
        while self.groups.segments.len() > 1 && !self.groups.segments[0].is_needed(first_needed) {
            let oldest = &self.groups.segments[0];
            let name = layout::segment_name(oldest.sequence);
            let recycled = self.spares.recycle(&*self.files, &name, oldest.segment_bytes);
            self.keep_failure(recycled)?;
            self.groups.drop_oldest();
            freed += 1;
        }
        self.check_invariants();
        Ok(freed)
    }

    /// Makes a spare segment if there is none. Answers whether one is ready; if not, the disk is still
    /// full. To be called now and then, so that a log that ran out of space recovers.
    ///
    /// # Errors
    /// The disk failed, now or earlier: as final as [`AppendError::Disk`].
    pub fn try_make_spare(&mut self) -> Result<bool, DiskError> {
        self.check_usable()?;
        let made = self.spares.ensure_one(&*self.files);
        self.keep_failure(made)
    }

    /// Figures for status and metrics.
    pub fn stats(&self) -> WalStats {
        let spares = self.spares.count();
        let active = self.groups.segments.back().expect("there is always an active segment");
        let segment_bytes: u64 = self.groups.segments.iter().map(|segment| segment.segment_bytes).sum();
        WalStats {
            segments: self.groups.segments.len(),
            spares,
            disk_bytes: segment_bytes + spares as u64 * self.options.segment_bytes,
            active_sequence: active.sequence,
            active_offset: self.offset,
        }
    }

    /// Sees to it that the frame fits the active segment, if need be a new one.
    fn make_room(&mut self, batches: &[WriteBatch]) -> Result<(), AppendError> {
        let frame_bytes = Wal::frame_bytes(batches);
        let frame_bytes_max = self.frame_bytes_max();
        if frame_bytes > frame_bytes_max {
            return Err(AppendError::TooLarge { frame_bytes, frame_bytes_max });
        }
        let has_entries = record::writes(batches).any(|write| !write.entries.is_empty());
        if frame_bytes > self.active_bytes() - self.offset {
            if self.spares.count() == 0 {
                return Err(AppendError::NoSpace);
            }
            let rotated = self.rotate();
            self.keep_failure(rotated).map_err(AppendError::Disk)?;
        }
        if has_entries && !self.entries_fit(frame_bytes) {
            return Err(AppendError::NoSpace);
        }
        Ok(())
    }

    /// Whether a frame with entries leaves the reserve alone, which is kept while there is no spare.
    fn entries_fit(&self, frame_bytes: u64) -> bool {
        let room_bytes = self.active_bytes() - self.offset;
        self.spares.count() > 0 || frame_bytes.saturating_add(self.options.entry_reserve_bytes) <= room_bytes
    }

    fn rotate(&mut self) -> Result<(), DiskError> {
        let sequence = self.stats().active_sequence + 1;
        let (segment_bytes, boot_nonce) = (self.options.segment_bytes, self.options.boot_nonce);
        let header = SegmentHeader::new(&self.identity, sequence, segment_bytes, boot_nonce);
        self.groups.drop_forgotten();
        let begun = begin_segment(&*self.files, &mut self.spares, &header, self.offset, &self.groups)?;
        (self.active, self.offset) = begun;
        self.epoch = header.epoch;
        self.groups.begin_segment(sequence, segment_bytes);
        self.spares.ensure_one(&*self.files)?;
        Ok(())
    }

    fn active_bytes(&self) -> u64 {
        self.groups.segments.back().expect("there is always an active segment").segment_bytes
    }

    fn check_usable(&self) -> Result<(), DiskError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn keep_failure<T>(&mut self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        result.inspect_err(|error| self.failure = Some(error.clone()))
    }

    fn check_invariants(&self) {
        assert!(self.offset > SEGMENT_HEADER_BYTES && self.offset <= self.active_bytes());
        let mut sequences = self.groups.segments.iter().map(|segment| segment.sequence);
        let first = sequences.next();
        assert!(
            first.is_some_and(|first| sequences.zip(first + 1..).all(|(found, expected)| found == expected))
        );
    }
}

/// Makes a spare the next segment: its header and first frame are durable before it gets its name, so
/// that no crash leaves a segment without them. Answers the file, and where its first frame ends.
fn begin_segment(
    files: &dyn Files,
    spares: &mut Spares,
    header: &SegmentHeader,
    previous_end: u64,
    groups: &Groups,
) -> Result<(Arc<dyn File>, u64), DiskError> {
    let spare = spares.take().expect("the caller saw to a spare");
    let mut bytes = header.encode();
    let at = layout::begin_frame(&mut bytes);
    record::put_head(&mut bytes, previous_end, groups.heads());
    layout::end_frame(&mut bytes, at, header.epoch, SEGMENT_HEADER_BYTES, header.segment_bytes);
    let file = files.open(&spare)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    files.rename(&spare, &layout::segment_name(header.sequence))?;
    let head_bytes = layout::frame_bytes(record::head_bytes(groups.logs.len()));
    Ok((file, SEGMENT_HEADER_BYTES + head_bytes))
}

/// The last frame may have been read from the operating system's memory alone: after a killed process,
/// or a failed sync, which may even mark it clean. It is written again, with the zero header that ends
/// the log (so an interrupted append is cut off), and synced.
fn make_end_durable(file: &dyn File, active: &recovery::Active) -> Result<(), DiskError> {
    let mut bytes = active.last_frame.clone();
    let terminator_bytes = FRAME_HEADER_BYTES.min(active.header.segment_bytes - active.end);
    bytes.resize(bytes.len() + terminator_bytes as usize, 0);
    file.write_at(active.last_frame_at, &bytes)?;
    file.sync()
}
