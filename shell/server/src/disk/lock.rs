//! The data directory and its lock: one process at a time.

use std::{
    fs::{self, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::RealFiles;

/// Name of the lock file. It holds the process id of its owner as text, for people.
pub(super) const LOCK_FILE: &str = "LOCK";

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The directory cannot be made, read or written.
    #[error("data directory {path}: {source}; check that it exists, and that this user may write to it")]
    Io {
        /// The directory or file concerned.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "another quorate process (pid {pid}) uses the data directory {path}; stop it, or give this one \
         a data directory of its own"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its owner as the lock file has it, or `unknown`.
        pid: String,
    },
}

/// A locked data directory. The lock lasts until this value is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    files: Arc<RealFiles>,
    /// Held for its lock.
    _lock: fs::File,
}

impl DataDir {
    /// Creates the directory if needed, and locks it.
    pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        // What is in it is for this user alone; a directory that exists keeps the mode it has.
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = owner(&mut lock);
                return Err(DataDirError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => {
                return Err(DataDirError::Io { path: lock_path, source });
            }
        }
        // The id is a courtesy to the next process: a full disk must not keep this one from starting.
        let written = lock.set_len(0).and_then(|()| lock.rewind());
        if let Err(error) = written.and_then(|()| write!(lock, "{}", std::process::id())) {
            tracing::warn!(%error, path = %lock_path.display(), "could not write the process id");
        }
        let files = Arc::new(RealFiles::open(path).map_err(failed(path))?);
        Ok(DataDir { files, _lock: lock })
    }

    /// The directory as the core sees it.
    pub fn files(&self) -> Arc<RealFiles> {
        self.files.clone()
    }
}

fn owner(lock: &mut fs::File) -> String {
    let mut text = String::new();
    let read = lock.take(20).read_to_string(&mut text);
    match read {
        Ok(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text,
        _ => "unknown".to_owned(),
    }
}
