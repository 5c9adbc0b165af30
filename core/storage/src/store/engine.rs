//! The embedded database below the store: redb on one of our own files.
//!
//! redb refuses everything after its first I/O error, and so does the store: such an error is
//! final. Space is therefore checked before a transaction begins.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use redb::{Database, ReadableDatabase, StorageBackend, Table, TableDefinition, WriteTransaction};

use crate::{
    DiskError, File, Files, StoreError,
    store::{
        StoreOptions,
        format::{FORMAT, ValueKey},
    },
};

/// The database's file.
pub(crate) const STATE_FILE: &str = "state.redb";
/// The database's file while it is being created.
const NEW_STATE_FILE: &str = "state.redb.tmp";

/// Row key to head and inline value.
pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Place to value.
pub(super) const VALUES: TableDefinition<'_, &ValueKey, &[u8]> = TableDefinition::new("values");
/// Group to its state.
pub(super) const GROUPS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("groups");
/// [`ROWS`], open for writing.
pub(super) type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;
/// [`VALUES`], open for writing.
pub(super) type Values<'txn> = Table<'txn, &'static ValueKey, &'static [u8]>;
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";

/// Always left free, for the engine's own records.
const FREE_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// The engine doubles a file that is full. On most disks a longer file takes no space until it is
/// written; up to this much, be ready for one where it does.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of one page of the engine.
const PAGE_BYTES: u64 = 4096;

/// One open database.
#[derive(Debug)]
pub(super) struct Engine {
    pub database: Database,
    file: Arc<dyn File>,
    pub files: Arc<dyn Files>,
}

impl Engine {
    /// Opens the database, or makes it. Making it is atomic: a file of the final name is complete.
    pub fn open(files: Arc<dyn Files>, options: StoreOptions) -> Result<Engine, StoreError> {
        let names = files.list()?;
        if names.iter().any(|name| name == NEW_STATE_FILE) {
            files.remove(NEW_STATE_FILE)?;
        }
        if !names.iter().any(|name| name == STATE_FILE) {
            create(&files)?;
        }
        let file = files.open(STATE_FILE)?;
        if file.len()? < PAGE_BYTES {
            return Err(corrupt("it is cut short".into()));
        }
        guarded(|| {
            let database = open_database(&file, options.cache_bytes)?;
            let engine = Engine { database, file, files };
            engine.check_format()?;
            Ok(engine)
        })
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let read = self.database.begin_read().map_err(engine_error)?;
        let table = read.open_table(META).map_err(engine_error)?;
        let found = table.get(FORMAT_KEY).map_err(engine_error)?;
        match found.map(|found| found.value()) {
            Some(FORMAT) => Ok(()),
            Some(found) => {
                Err(StoreError::UnsupportedFormat { file: STATE_FILE.into(), found, supported: FORMAT })
            }
            None => Err(corrupt("it does not say which format it has".into())),
        }
    }

    /// Begins a transaction whose commit is durable and needs no repair after a crash.
    pub fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        begin_write(&self.database)
    }

    /// Refuses with [`DiskError::NoSpace`] unless `rows` changed rows with `value_bytes` of keys and
    /// values surely fit: every row may touch a page of its own in both tables, pages are written
    /// anew and not in place, and a long value may take twice its length.
    pub fn check_space(&self, rows: u64, value_bytes: u64) -> Result<(), StoreError> {
        let file_bytes = self.file.len()?;
        let required = required_bytes(rows, value_bytes, file_bytes);
        if self.files.free_bytes()? < required {
            return Err(DiskError::NoSpace.into());
        }
        Ok(())
    }
}

/// Free bytes demanded before a transaction begins; see [`Engine::check_space`].
pub(super) fn required_bytes(rows: u64, value_bytes: u64, file_bytes: u64) -> u64 {
    let rewritten = rows.saturating_mul(2 * PAGE_BYTES).min(file_bytes);
    let written = value_bytes.saturating_mul(2).saturating_add(rows.saturating_mul(256));
    let growth = file_bytes.min(GROWTH_BYTES_MAX);
    FREE_BYTES_MIN.saturating_add(rewritten).saturating_add(written).saturating_add(growth)
}

/// Makes an empty database under a temporary name, and renames it once it is durable: the engine
/// may be unable to open a file that a crash left before its first commit.
fn create(files: &Arc<dyn Files>) -> Result<(), StoreError> {
    let database = open_database(&files.create(NEW_STATE_FILE)?, 0)?;
    let write = begin_write(&database)?;
    write.open_table(ROWS).map_err(engine_error)?;
    write.open_table(VALUES).map_err(engine_error)?;
    write.open_table(GROUPS).map_err(engine_error)?;
    {
        let mut table = write.open_table(META).map_err(engine_error)?;
        table.insert(FORMAT_KEY, FORMAT).map_err(engine_error)?;
    }
    write.commit().map_err(engine_error)?;
    database.close().map_err(engine_error)?;
    Ok(files.rename(NEW_STATE_FILE, STATE_FILE)?)
}

fn open_database(file: &Arc<dyn File>, cache_bytes: usize) -> Result<Database, StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder.create_with_backend(RedbFile(file.clone())).map_err(engine_error)
}

fn begin_write(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut write = database.begin_write().map_err(engine_error)?;
    write.set_two_phase_commit(true);
    write.set_quick_repair(true);
    Ok(write)
}

/// One of our files, as redb wants it. Locking is left to whoever owns the directory.
#[derive(Debug)]
struct RedbFile(Arc<dyn File>);

impl StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len().map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out).map_err(io::Error::other)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len).map_err(io::Error::other)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync().map_err(io::Error::other)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data).map_err(io::Error::other)
    }
}

/// The error for a damaged database.
pub(crate) fn corrupt(reason: String) -> StoreError {
    StoreError::Corrupt { file: STATE_FILE.into(), reason }
}

/// Calls redb. It panics on some files that were damaged outside it; that is an error here, and final
/// like every other: whatever the panic left half done is not used again.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(corrupt(format!("the database engine stopped: {}", text.unwrap_or("no reason given"))))
    })
}

/// What an error of redb means here. Never [`DiskError::NoSpace`], which would promise that nothing
/// happened: an error from within redb is final.
pub(super) fn engine_error(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => corrupt(error.to_string()),
        redb::Error::Io(error) => match error.downcast::<DiskError>() {
            Ok(DiskError::NoSpace) => {
                DiskError::Io(format!("no space left while writing {STATE_FILE}")).into()
            }
            Ok(error) => error.into(),
            Err(error) => DiskError::Io(error.to_string()).into(),
        },
        error @ (redb::Error::Corrupted(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::UpgradeRequired(_)) => corrupt(error.to_string()),
        error => DiskError::Io(error.to_string()).into(),
    }
}
