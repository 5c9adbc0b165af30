//! [`storage::Files`] over one directory of the real file system.
//!
//! Guarantee G-LOG-DURABLE rests on this: creating, renaming and removing are durable when the call returns (the
//! directory is synced). What was written before [`storage::File::sync`]
//! returned survives a crash (fdatasync). Not promised: anything about disks that lie about either.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use storage::{DiskError, File, Files};

use super::lock::LOCK_FILE;

/// Files of this ending are replacements that a crash left unfinished: not listed, removed on opening.
const UNFINISHED: &str = ".unfinished";

/// A directory of files.
#[derive(Debug)]
pub struct RealFiles {
    path: PathBuf,
    /// Open for syncing.
    directory: fs::File,
}

impl RealFiles {
    /// Opens an existing directory and clears away unfinished replacements.
    pub fn open(path: &Path) -> io::Result<RealFiles> {
        let directory = fs::File::open(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        directory.sync_all()?;
        Ok(RealFiles { path: path.to_owned(), directory })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file, if its name is one that the core may use.
    fn at(&self, name: &str) -> Result<PathBuf, DiskError> {
        let reserved = name == LOCK_FILE || name.ends_with(UNFINISHED);
        if reserved || name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(DiskError::Io(format!("{name:?} cannot name a file here")));
        }
        Ok(self.path.join(name))
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        self.directory.sync_all().map_err(|error| disk_error(&self.path, &error))
    }

    fn file(&self, file: fs::File, path: PathBuf) -> Arc<dyn File> {
        Arc::new(RealFile { file, path })
    }
}

impl Files for RealFiles {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let failed = |error: io::Error| disk_error(&self.path, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_file = entry.file_type().map_err(failed)?.is_file();
            // A name that is not UTF-8 is not one of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_file && name != LOCK_FILE && !name.ends_with(UNFINISHED) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, DiskError> {
        let path = self.at(name)?;
        let opened = fs::OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|error| named_error(name, &path, &error))?;
        Ok(self.file(file, path))
    }

    /// A handle of a file that this one replaces stays what it was.
    fn create(&self, name: &str) -> Result<Arc<dyn File>, DiskError> {
        let path = self.at(name)?;
        let failed = |error: io::Error| disk_error(&path, &error);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true);
        let file = match options.clone().create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
                let file = options.create(true).truncate(true).open(&unfinished).map_err(failed)?;
                fs::rename(&unfinished, &path).map_err(failed)?;
                file
            }
            created => created.map_err(failed)?,
        };
        self.sync_directory()?;
        Ok(self.file(file, path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let (source, target) = (self.at(from)?, self.at(to)?);
        fs::rename(&source, target).map_err(|error| named_error(from, &source, &error))?;
        self.sync_directory()
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let path = self.at(name)?;
        fs::remove_file(&path).map_err(|error| named_error(name, &path, &error))?;
        self.sync_directory()
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let stat = rustix::fs::fstatvfs(&self.directory);
        let stat = stat.map_err(|error| disk_error(&self.path, &error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// One open file.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
    /// Where it was when opened; for messages.
    path: PathBuf,
}

impl RealFile {
    fn done<T>(&self, result: io::Result<T>) -> Result<T, DiskError> {
        result.map_err(|error| disk_error(&self.path, &error))
    }
}

impl File for RealFile {
    fn len(&self) -> Result<u64, DiskError> {
        self.done(self.file.metadata()).map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.done(self.file.read_exact_at(buffer, offset))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.done(self.file.write_all_at(bytes, offset))
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.done(self.file.set_len(len))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.done(self.file.sync_data())
    }
}

/// Tells a missing file from other failures.
fn named_error(name: &str, path: &Path, error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound(name.to_owned()),
        _ => disk_error(path, error),
    }
}

fn disk_error(path: &Path, error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace,
        _ => DiskError::Io(format!("{}: {error}", path.display())),
    }
}
