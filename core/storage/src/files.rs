//! The disk, as this crate sees it: one flat directory of files. The shell implements it with real
//! files, the simulator with ones that lose, tear and corrupt what was not synced.

use std::{fmt, sync::Arc};

/// Why a disk operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No space left. Nothing that was durable before is touched.
    #[error("no space left on the disk")]
    NoSpace,
    /// There is no such file.
    #[error("file {0} does not exist")]
    NotFound(String),
    /// Anything else, in the operating system's words.
    #[error("{0}")]
    Io(String),
}

/// One open file. Positions and lengths are in bytes. Writes are durable only after [`File::sync`].
pub trait File: Send + Sync + fmt::Debug {
    /// Present length.
    fn len(&self) -> Result<u64, DiskError>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from `offset`; reading past the end is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;
    /// Writes all of `bytes` at `offset`, extending the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;
    /// Truncates, or extends with zeros.
    fn set_len(&self, len: u64) -> Result<(), DiskError>;
    /// Makes everything written so far survive a crash (fdatasync). A failure is final: the file's
    /// state is then unknown, and the caller must stop rather than try again.
    fn sync(&self) -> Result<(), DiskError>;
}

/// A directory. Creating, renaming and removing are durable when the call returns.
pub trait Files: Send + Sync + fmt::Debug {
    /// Names of all files, sorted.
    fn list(&self) -> Result<Vec<String>, DiskError>;
    /// Opens an existing file.
    fn open(&self, name: &str) -> Result<Arc<dyn File>, DiskError>;
    /// Creates an empty file, replacing any of that name.
    fn create(&self, name: &str) -> Result<Arc<dyn File>, DiskError>;
    /// Renames atomically, replacing any file called `to`.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes a file; removing one that does not exist is an error.
    fn remove(&self, name: &str) -> Result<(), DiskError>;
    /// Bytes that can still be written.
    fn free_bytes(&self) -> Result<u64, DiskError>;
}
