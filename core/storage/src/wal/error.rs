//! Why the write-ahead log refuses.

use crate::{DiskError, Identity};

/// Why the log cannot be opened. In all cases but [`OpenError::Disk`] no file was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk failed. What was durable still is; fix the disk and start again.
    #[error("write-ahead log: {0}")]
    Disk(#[from] DiskError),
    /// Bytes that were durable are damaged or missing. No file was changed. Restore the file, or
    /// replace the node: an emptied node forgets its votes and acknowledgements.
    #[error(
        "write-ahead log: {file} is corrupt at offset {offset}: {reason}; nothing was changed; restore the file from \
         a copy, or replace the node as docs/internals/log-format.md says"
    )]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The file is another node's. No file was changed. Start with the right data directory.
    #[error(
        "write-ahead log: {file} belongs to {found}, and this is {expected}; nothing was changed; start with this \
         node's own data directory"
    )]
    WrongOwner {
        /// The file.
        file: String,
        /// Whose it is.
        found: Identity,
        /// Who opened it.
        expected: Identity,
    },
    /// The file is of a version that this build cannot read. No file was changed. Start the version
    /// that wrote it.
    #[error(
        "write-ahead log: {file} has format version {found}, and this build reads version {supported}; nothing was \
         changed; start the version of the program that wrote it"
    )]
    UnsupportedVersion {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
        /// [`crate::wal::FORMAT_VERSION`].
        supported: u32,
    },
}

/// Why batches were not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. Nothing was written, and the log is as usable as before: free space, call
    /// [`crate::wal::Wal::try_make_spare`], append again.
    #[error("write-ahead log: no space for another segment; nothing was written; free disk space")]
    NoSpace,
    /// The batches do not fit one segment. Nothing was written. Append fewer at a time.
    #[error(
        "write-ahead log: {frame_bytes} bytes in one append, at most {frame_bytes_max} fit; nothing was written"
    )]
    TooLarge {
        /// Bytes that they need.
        frame_bytes: u64,
        /// See [`crate::wal::Wal::frame_bytes_max`].
        frame_bytes_max: u64,
    },
    /// The disk failed, now or earlier. Whether the batches are on it is unknown, and every further
    /// call answers the same. Stop the process; opening the log again finds the truth.
    #[error("write-ahead log: {0}; the log is unusable until it is opened again")]
    Disk(DiskError),
}
