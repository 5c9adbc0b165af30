//! A machine's disk as its process sees it: [`MemFiles`], which does what is promised, and on top of it what disks do
//! that nobody promised. Reads and writes fail, a write lands somewhere else, syncs say that they are done and are not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage::{DiskError, File, Files, MemFiles};

/// A disk with troubles. Handles to one file share them.
#[derive(Debug)]
pub struct Disk {
    files: MemFiles,
    troubles: Troubles,
}

/// What is wrong with a disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Wrong>>);

#[derive(Debug, Default)]
struct Wrong {
    /// So many reads from now on the next one that fails is.
    reads_until_error: Option<u64>,
    /// As above.
    writes_until_error: Option<u64>,
    /// Whether the simulator itself looks: its reads are not the node's, and none of them fails.
    looked_at: bool,
    /// Whether an operation failed for it, in this boot.
    failed: bool,
    /// Whether syncs do nothing.
    lies: bool,
    /// The next write to the log lands elsewhere in its file: where, is drawn with this.
    misdirect: Option<u64>,
    /// Whether one did.
    misdirected: bool,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, Wrong> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The read after so many others fails.
    pub fn fail_read_after(&self, reads: u64) {
        self.lock().reads_until_error = Some(reads);
    }

    /// The write after so many others fails, and changes nothing.
    pub fn fail_write_after(&self, writes: u64) {
        self.lock().writes_until_error = Some(writes);
    }

    /// The next write to the log lands elsewhere in the same file.
    pub fn misdirect_write(&self, luck: u64) {
        self.lock().misdirect = Some(luck);
    }

    /// Whether a write landed where it should not.
    pub fn misdirected(&self) -> bool {
        self.lock().misdirected
    }

    /// From now on syncs do nothing, and say that they did it; or are honest again.
    pub fn lie(&self, lies: bool) {
        self.lock().lies = lies;
    }

    /// Whether syncs do nothing.
    pub fn lies(&self) -> bool {
        self.lock().lies
    }

    /// The simulator begins to look at what a node holds, or is done with it.
    pub fn look(&self, looks: bool) {
        self.lock().looked_at = looks;
    }

    /// Whether a read or write failed since the process started.
    pub fn failed(&self) -> bool {
        self.lock().failed
    }

    /// A process ended: failures that were to come to it do not come to the next one.
    pub fn on_stop(&self) {
        let wrong = &mut *self.lock();
        *wrong = Wrong { lies: wrong.lies, misdirected: wrong.misdirected, ..Wrong::default() };
    }

    /// The disk is good again, or another one.
    pub fn clear(&self) {
        *self.lock() = Wrong::default();
    }

    fn on_read(&self) -> Result<(), DiskError> {
        let wrong = &mut *self.lock();
        let due = !wrong.looked_at && due(&mut wrong.reads_until_error);
        wrong.failed |= due;
        if due { Err(DiskError::Io("the medium could not be read (EIO)".into())) } else { Ok(()) }
    }

    fn on_write(&self) -> Result<(), DiskError> {
        let wrong = &mut *self.lock();
        let due = due(&mut wrong.writes_until_error);
        wrong.failed |= due;
        if due { Err(DiskError::Io("the medium could not be written (EIO)".into())) } else { Ok(()) }
    }

    /// Where a write to the log lands.
    fn place(&self, offset: u64, bytes: u64, file_bytes: u64) -> u64 {
        let wrong = &mut *self.lock();
        let Some(luck) = wrong.misdirect.take() else { return offset };
        wrong.misdirected = true;
        let elsewhere = luck % file_bytes.saturating_sub(bytes).max(1);
        if elsewhere == offset { 0 } else { elsewhere }
    }
}

/// Counts down; whether this one is it.
fn due(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
        None => false,
    }
}

impl Disk {
    /// This disk, with these troubles.
    pub fn new(files: MemFiles, troubles: Troubles) -> Disk {
        Disk { files, troubles }
    }

    fn handle(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let log = name.starts_with("wal-");
        Arc::new(Handle { file, log, troubles: self.troubles.clone() })
    }
}

impl Files for Disk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        self.files.list()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, DiskError> {
        Ok(self.handle(name, self.files.open(name)?))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>, DiskError> {
        Ok(self.handle(name, self.files.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.files.remove(name)
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        self.files.free_bytes()
    }
}

/// An open file of a [`Disk`].
#[derive(Debug)]
struct Handle {
    file: Arc<dyn File>,
    /// Whether it is one of the log's.
    log: bool,
    troubles: Troubles,
}

impl File for Handle {
    fn len(&self) -> Result<u64, DiskError> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.troubles.on_read()?;
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.troubles.on_write()?;
        if !self.log {
            return self.file.write_at(offset, bytes);
        }
        let offset = self.troubles.place(offset, bytes.len() as u64, self.file.len()?);
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len)
    }

    fn sync(&self) -> Result<(), DiskError> {
        if self.troubles.lies() { Ok(()) } else { self.file.sync() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (MemFiles, Disk, Arc<dyn File>) {
        let (files, troubles) = (MemFiles::new(), Troubles::default());
        let disk = Disk::new(files.clone(), troubles);
        let file = disk.create("wal-1.log").expect("there is room");
        file.write_at(0, &[7; 100]).expect("there is room");
        file.sync().expect("it is honest");
        (files, disk, file)
    }

    #[test]
    fn one_read_and_one_write_fail_and_change_nothing() {
        let (files, disk, file) = disk();
        disk.troubles.fail_read_after(1);
        disk.troubles.fail_write_after(0);
        assert_eq!(file.read_at(0, &mut [0]), Ok(()));
        assert!(file.read_at(0, &mut [0]).is_err() && disk.troubles.failed());
        assert_eq!(file.read_at(0, &mut [0]), Ok(()));
        assert!(file.write_at(0, &[9]).is_err());
        assert_eq!(files.contents("wal-1.log"), Some(vec![7; 100]));
    }

    #[test]
    fn what_a_lie_covers_is_lost_with_the_power() {
        let (files, disk, file) = disk();
        disk.troubles.lie(true);
        file.write_at(0, &[9; 100]).expect("there is room");
        assert_eq!(file.sync(), Ok(()));
        files.crash(&mut || 0);
        assert_eq!(files.contents("wal-1.log"), Some(vec![7; 100]));
    }

    #[test]
    fn one_write_to_the_log_lands_elsewhere() {
        let (files, disk, file) = disk();
        disk.troubles.misdirect_write(40);
        file.write_at(10, &[9; 5]).expect("there is room");
        assert!(disk.troubles.misdirected());
        file.write_at(90, &[8; 5]).expect("there is room");
        let bytes = files.contents("wal-1.log").expect("it is there");
        assert_eq!((&bytes[10..15], &bytes[40..45], &bytes[90..95]), (&[7; 5][..], &[9; 5][..], &[8; 5][..]));
    }
}
