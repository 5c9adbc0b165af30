//! Receiving a snapshot: pieces are checked and kept in a temporary file; when the snapshot is whole,
//! one transaction puts its rows in place of the group's, off the node's loop.

use std::{fmt, sync::Arc};

use types::{GroupId, LogPosition};

use crate::{
    File, Files, GroupState, RowMeta, StoreError,
    snapshot::{HEADER_BYTES, PIECE_BYTES_MAX, SnapshotDecoder, piece_bytes},
    store::{
        engine::{Engine, GROUPS, ROWS, Rows, VALUES, Values, engine_error, guarded},
        format::{Head, Place, ValueKey, encode_row, encode_stored_state, is_inline, row_key},
        view::View,
    },
};

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".tmp";

/// The file in which a group's snapshot is gathered.
fn staging_file(group: GroupId) -> String {
    format!("{PREFIX}{group}{SUFFIX}")
}

/// Whether a file is one of a snapshot that was being received.
pub(super) fn is_staging_file(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// A snapshot being received. It does not survive a restart; opening a store removes what is left.
#[derive(Debug)]
pub struct Staging {
    group: GroupId,
    name: String,
    files: Arc<dyn Files>,
    file: Arc<dyn File>,
    file_bytes: u64,
    decoder: SnapshotDecoder,
    failed: bool,
}

impl Staging {
    pub(super) fn create(files: Arc<dyn Files>, group: GroupId) -> Result<Staging, StoreError> {
        let name = staging_file(group);
        let file = files.create(&name)?;
        let decoder = SnapshotDecoder::new(group);
        Ok(Staging { group, name, files, file, file_bytes: 0, decoder, failed: false })
    }

    /// Takes the next piece, whole, as [`crate::SnapshotReader::next_chunk`] made it.
    ///
    /// # Errors
    /// [`StoreError::BadSnapshot`] for anything but the intact next piece, and after any error:
    /// discard the staging then, also when there was no space.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        if self.failed {
            return Err(self.decoder.bad("an earlier piece of it was refused"));
        }
        let result = self.check_and_write(chunk);
        self.failed = result.is_err();
        result
    }

    fn check_and_write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.decoder.piece(chunk, &mut |_, _, _| Ok(()))?;
        self.file.write_at(self.file_bytes, chunk)?;
        self.file_bytes += chunk.len() as u64;
        Ok(())
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Pieces taken so far, which is the number of the piece wanted next.
    pub fn pieces(&self) -> u64 {
        self.decoder.pieces()
    }

    /// Bytes received so far.
    pub fn received_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The last entry in the snapshot; `None` before the first piece.
    pub fn position(&self) -> Option<LogPosition> {
        self.decoder.claimed().map(position)
    }

    /// Whether the last piece was taken, and all rows add up to the state hash that came with them.
    pub fn is_complete(&self) -> bool {
        !self.failed && self.decoder.complete().is_some()
    }

    /// Gives up and removes the file.
    pub fn discard(self) -> Result<(), StoreError> {
        Ok(self.files.remove(&self.name)?)
    }

    /// The state, if this is the whole snapshot at `expected`.
    pub(super) fn check_complete(&self, expected: LogPosition) -> Result<GroupState, StoreError> {
        match self.decoder.complete() {
            Some(state) if !self.failed && position(state) == expected => Ok(state),
            Some(state) if !self.failed => {
                let found = position(state);
                Err(self.decoder.bad(&format!(
                    "it ends at index {} of term {}, not at {} of {}",
                    found.index, found.term, expected.index, expected.term
                )))
            }
            _ => Err(self.decoder.bad("it is not complete")),
        }
    }
}

fn position(state: GroupState) -> LogPosition {
    LogPosition { index: state.applied_index, term: state.applied_term }
}

/// A whole snapshot on its way into the state store. Jobs of one store are run one at a time, in the
/// order in which they were begun.
pub struct InstallJob {
    pub(super) engine: Arc<Engine>,
    pub(super) staged: Staging,
    pub(super) state: GroupState,
    pub(super) number: u64,
}

/// An install that is durable; for [`super::Store::finish_install`].
#[derive(Debug)]
pub struct InstallDone {
    pub(super) number: u64,
    pub(super) group: GroupId,
    pub(super) state: GroupState,
    pub(super) view: View,
}

impl InstallDone {
    /// The group whose rows were replaced.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The last entry in the group's rows.
    pub fn position(&self) -> LogPosition {
        position(self.state)
    }
}

impl InstallJob {
    /// The group whose rows are replaced.
    pub fn group(&self) -> GroupId {
        self.staged.group
    }

    /// Replaces the group's rows and state in one durable commit, after checking all of the staged
    /// snapshot again, and removes the temporary file.
    ///
    /// # Errors
    /// [`crate::DiskError::NoSpace`] before anything was written: the job may be run again. Every
    /// other error is final; the database has the group's old rows or the new ones, never a mix.
    pub fn run(&self) -> Result<InstallDone, StoreError> {
        let group = self.staged.group;
        let sum = self.staged.decoder.sum();
        self.engine.check_space(sum.keys, sum.bytes)?;
        guarded(|| self.write())?;
        self.staged.files.remove(&self.staged.name)?;
        let view = View::open(self.engine.clone())?;
        Ok(InstallDone { number: self.number, group, state: self.state, view })
    }

    fn write(&self) -> Result<(), StoreError> {
        let group = self.staged.group;
        let write = self.engine.begin_write()?;
        {
            let mut rows = write.open_table(ROWS).map_err(engine_error)?;
            let mut values = write.open_table(VALUES).map_err(engine_error)?;
            let mut groups = write.open_table(GROUPS).map_err(engine_error)?;
            remove_group(&mut rows, &mut values, group)?;
            self.insert_staged(&mut rows, &mut values)?;
            let stored = encode_stored_state(group, &self.state);
            groups.insert(group.0, stored.as_slice()).map_err(engine_error)?;
        }
        write.commit().map_err(engine_error)
    }

    /// Reads the staged pieces and inserts their rows, in key order. Values are placed in the same
    /// order, under the snapshot's revision: later writes have higher ones.
    fn insert_staged(&self, rows: &mut Rows<'_>, values: &mut Values<'_>) -> Result<(), StoreError> {
        let group = self.staged.group;
        let mut decoder = SnapshotDecoder::new(group);
        let mut number = 0;
        let mut insert = |key: &[u8], meta: &RowMeta, value: &[u8]| {
            let row_key = row_key(group, key);
            let revision = self.state.revision;
            let place = (!is_inline(meta.value_bytes)).then_some(Place { revision, number });
            if let Some(place) = place {
                values.insert(&place.key(group), value).map_err(engine_error)?;
                number += 1;
            }
            let bytes = encode_row(&row_key, &Head { meta: *meta, place }, value);
            rows.insert(row_key.as_slice(), bytes.as_slice()).map_err(engine_error)?;
            Ok(())
        };
        let mut offset = 0;
        while offset < self.staged.file_bytes {
            let piece = self.read_piece(offset)?;
            decoder.piece(&piece, &mut insert).map_err(|error| self.staged_corrupt(error))?;
            offset += piece.len() as u64;
        }
        if decoder.complete() != Some(self.state) {
            return Err(self.staged_corrupt(decoder.bad("it has changed since it was received")));
        }
        Ok(())
    }

    fn read_piece(&self, offset: u64) -> Result<Vec<u8>, StoreError> {
        let left = self.staged.file_bytes - offset;
        let mut header = [0; HEADER_BYTES];
        if left < HEADER_BYTES as u64 {
            return Err(self.staged_corrupt(self.staged.decoder.bad("a piece is too short")));
        }
        self.staged.file.read_at(offset, &mut header)?;
        let bytes = piece_bytes(&header);
        if bytes > PIECE_BYTES_MAX || bytes as u64 > left {
            return Err(self.staged_corrupt(self.staged.decoder.bad("a piece is too long")));
        }
        let mut piece = vec![0; bytes];
        self.staged.file.read_at(offset, &mut piece)?;
        Ok(piece)
    }

    /// The snapshot was good when it was received: now it is the disk that is bad.
    fn staged_corrupt(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::BadSnapshot { reason, .. } => {
                StoreError::Corrupt { file: self.staged.name.clone(), reason }
            }
            error => error,
        }
    }
}

impl fmt::Debug for InstallJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallJob")
            .field("number", &self.number)
            .field("group", &self.staged.group)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

fn remove_group(rows: &mut Rows<'_>, values: &mut Values<'_>, group: GroupId) -> Result<(), StoreError> {
    let first = row_key(group, &[]);
    match group.0.checked_add(1) {
        Some(next) => {
            let end = row_key(GroupId(next), &[]);
            rows.retain_in(first.as_slice()..end.as_slice(), |_, _| false)
        }
        None => rows.retain_in(first.as_slice().., |_, _| false),
    }
    .map_err(engine_error)?;
    let first = Place { revision: 0, number: 0 }.key(group);
    let last = Place { revision: u64::MAX, number: u64::MAX }.key(group);
    values.retain_in::<&ValueKey, _>(&first..=&last, |_, _| false).map_err(engine_error)
}
