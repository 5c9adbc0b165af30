//! A disk in memory that behaves as badly as a real one may: a crash loses, keeps or tears what was
//! not synced, space runs out, a sync fails, bytes rot. Deterministic: equal calls and equal random
//! numbers give equal disks. The simulator and the tests of this crate run on it.
//!
//! Modelled as promised by [`Files`]: creating, renaming and removing survive a crash; writes and
//! length changes survive only once synced. A file that was removed, or replaced by a rename, stays
//! usable through its open handles until the crash, and no longer counts against the capacity.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{DiskError, File, Files};

/// Unsynced writes tear at this granularity, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// A handle to one simulated disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemFiles {
    disk: Arc<Mutex<Disk>>,
}

/// One length or content change that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write_into(to, *offset as usize, bytes),
            Change::SetLen(len) => to.resize(*len as usize, 0),
        }
    }
}

#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    /// A sync that covered it failed: no later sync makes it durable (as Linux does), yet it may
    /// have reached the disk.
    given_up: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a crash that loses everything unsynced leaves.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    /// Changes from `durable` towards `current`, oldest first.
    pending: Vec<Pending>,
    linked: bool,
    handles: u64,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    /// Number of crashes so far. Handles of an earlier generation are dead.
    generation: u64,
    names: BTreeMap<String, u64>,
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    capacity_bytes: Option<u64>,
    syncs: u64,
    fail_sync_at: Option<u64>,
    operations_left: Option<u64>,
}

impl MemFiles {
    /// An empty disk without a capacity limit.
    pub fn new() -> MemFiles {
        MemFiles::default()
    }

    /// The machine loses power and starts again. Every handle handed out before fails from now on.
    ///
    /// Of each file's unsynced changes `random` chooses: all lost, all kept, or each one kept, lost
    /// or torn in sectors, in any combination. `&mut || 0` loses all of them, `&mut || 1` keeps all.
    /// A pending [`MemFiles::halt_after`] or [`MemFiles::fail_sync`] is forgotten.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) {
        let disk = &mut *self.lock();
        disk.generation += 1;
        disk.operations_left = None;
        disk.fail_sync_at = None;
        disk.inodes.retain(|_, inode| inode.linked);
        disk.inodes.values_mut().for_each(|inode| inode.crash(random));
    }

    /// Crashes so far.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Sets the capacity, in bytes of file contents; `None` is unlimited. What is stored already
    /// stays, even beyond it.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.lock().capacity_bytes = capacity_bytes;
    }

    /// The `nth` sync from now, from 1, fails with [`DiskError::Io`]: what it covered may or may
    /// not survive a crash, and no later sync changes that.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn fail_sync(&self, nth: u64) {
        assert!(nth > 0, "syncs are counted from 1");
        let disk = &mut *self.lock();
        disk.fail_sync_at = Some(disk.syncs + nth);
    }

    /// The disk performs this many more changing operations (create, rename, remove, write, length
    /// change, sync); after them everything fails with [`DiskError::Io`] until [`MemFiles::crash`].
    pub fn halt_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// Flips the bits of `mask` in one byte, as rot does: no sync or crash brings it back.
    ///
    /// # Panics
    /// If there is no such file, or it is not that long.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) {
        let disk = &mut *self.lock();
        let inode = disk.inode_named(name).expect("flipping a byte of a file that exists");
        inode.current[offset as usize] ^= mask;
        if let Some(byte) = inode.durable.get_mut(offset as usize) {
            *byte ^= mask;
        }
    }

    /// What reads of the file see now; `None` if there is no such file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().inode_named(name).ok().map(|inode| inode.current.clone())
    }

    /// Puts a file with these bytes there, durable at once, whatever was there before.
    pub fn set_contents(&self, name: &str, bytes: Vec<u8>) {
        let disk = &mut *self.lock();
        let id = disk.create(name);
        let inode = disk.inodes.get_mut(&id).expect("just created");
        inode.durable.clone_from(&bytes);
        inode.current = bytes;
    }

    /// Sum of the lengths of all files, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Syncs asked for so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Another disk in the same state, unsynced changes included, without open handles.
    pub fn copy(&self) -> MemFiles {
        let mut disk = self.lock().clone();
        disk.inodes.retain(|_, inode| inode.linked);
        disk.inodes.values_mut().for_each(|inode| inode.handles = 0);
        MemFiles { disk: Arc::new(Mutex::new(disk)) }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, disk: &mut Disk, id: u64) -> Arc<dyn File> {
        disk.inodes.get_mut(&id).expect("a linked file has an inode").handles += 1;
        Arc::new(MemFile { files: self.clone(), id, generation: disk.generation })
    }
}

impl Files for MemFiles {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let disk = self.lock();
        disk.check_running()?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, DiskError> {
        let disk = &mut *self.lock();
        disk.check_running()?;
        let id = disk.id_named(name)?;
        Ok(self.handle(disk, id))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>, DiskError> {
        let disk = &mut *self.lock();
        disk.count_operation()?;
        let id = disk.create(name);
        Ok(self.handle(disk, id))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let disk = &mut *self.lock();
        disk.count_operation()?;
        let id = disk.id_named(from)?;
        if from != to {
            disk.unlink(to);
            disk.names.remove(from);
            disk.names.insert(to.to_owned(), id);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let disk = &mut *self.lock();
        disk.count_operation()?;
        disk.id_named(name)?;
        disk.unlink(name);
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let disk = self.lock();
        disk.check_running()?;
        Ok(disk.free_bytes())
    }
}

/// An open file of a [`MemFiles`].
#[derive(Debug)]
struct MemFile {
    files: MemFiles,
    id: u64,
    generation: u64,
}

impl MemFile {
    /// The disk, if this handle is still of its generation.
    fn disk(&self) -> Result<MutexGuard<'_, Disk>, DiskError> {
        let disk = self.files.lock();
        disk.check_running()?;
        if disk.generation != self.generation {
            return Err(DiskError::Io("the handle is of before the crash".into()));
        }
        Ok(disk)
    }

    fn change(&self, change: Change, end: u64) -> Result<(), DiskError> {
        let disk = &mut *self.disk()?;
        let inode = disk.inode(self.id);
        let (linked, growth) = (inode.linked, end.saturating_sub(inode.current.len() as u64));
        if linked && growth > disk.free_bytes() {
            return Err(DiskError::NoSpace);
        }
        disk.count_operation()?;
        let inode = disk.inode(self.id);
        change.apply(&mut inode.current);
        inode.pending.push(Pending { change, given_up: false });
        Ok(())
    }
}

impl File for MemFile {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.disk()?.inode(self.id).current.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let disk = &mut *self.disk()?;
        let end = offset.checked_add(buffer.len() as u64);
        let bytes = &disk.inode(self.id).current;
        match end {
            Some(end) if end <= bytes.len() as u64 => {
                buffer.copy_from_slice(&bytes[offset as usize..end as usize]);
                Ok(())
            }
            _ => Err(DiskError::Io("read past the end of the file".into())),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.ok_or_else(|| DiskError::Io("write past the largest offset".into()))?;
        self.change(Change::Write { offset, bytes: bytes.to_vec() }, end)
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.change(Change::SetLen(len), len)
    }

    fn sync(&self) -> Result<(), DiskError> {
        let disk = &mut *self.disk()?;
        disk.count_operation()?;
        disk.syncs += 1;
        if disk.fail_sync_at == Some(disk.syncs) {
            disk.fail_sync_at = None;
            disk.inode(self.id).pending.iter_mut().for_each(|pending| pending.given_up = true);
            return Err(DiskError::Io("the sync failed".into()));
        }
        disk.inode(self.id).sync();
        Ok(())
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let disk = &mut *self.files.lock();
        if disk.generation == self.generation {
            let inode = disk.inode(self.id);
            inode.handles -= 1;
            if inode.handles == 0 && !inode.linked {
                disk.inodes.remove(&self.id);
            }
        }
    }
}

impl Disk {
    fn check_running(&self) -> Result<(), DiskError> {
        match self.operations_left {
            Some(0) => Err(DiskError::Io("the machine is halting".into())),
            _ => Ok(()),
        }
    }

    fn count_operation(&mut self) -> Result<(), DiskError> {
        self.check_running()?;
        if let Some(left) = &mut self.operations_left {
            *left -= 1;
        }
        Ok(())
    }

    fn id_named(&self, name: &str) -> Result<u64, DiskError> {
        self.names.get(name).copied().ok_or_else(|| DiskError::NotFound(name.to_owned()))
    }

    fn inode_named(&mut self, name: &str) -> Result<&mut Inode, DiskError> {
        let id = self.id_named(name)?;
        Ok(self.inode(id))
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("an open or linked file has an inode")
    }

    fn create(&mut self, name: &str) -> u64 {
        self.unlink(name);
        self.inodes_made += 1;
        self.inodes.insert(self.inodes_made, Inode { linked: true, ..Inode::default() });
        self.names.insert(name.to_owned(), self.inodes_made);
        self.inodes_made
    }

    fn unlink(&mut self, name: &str) {
        if let Some(id) = self.names.remove(name) {
            let inode = self.inode(id);
            inode.linked = false;
            if inode.handles == 0 {
                self.inodes.remove(&id);
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        let linked = self.inodes.values().filter(|inode| inode.linked);
        linked.map(|inode| inode.current.len() as u64).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }
}

impl Inode {
    fn sync(&mut self) {
        for Pending { change, given_up } in self.pending.drain(..) {
            if !given_up {
                change.apply(&mut self.durable);
            }
        }
    }

    fn crash(&mut self, random: &mut dyn FnMut() -> u64) {
        self.handles = 0;
        if self.pending.is_empty() {
            // Also forgets what a sync gave up on and a later sync did not bring back.
            self.current.clone_from(&self.durable);
            return;
        }
        let choice = random() % 4;
        for Pending { change, .. } in std::mem::take(&mut self.pending) {
            let kept = match choice {
                0 => false,
                1 => true,
                _ => random() % 2 == 1,
            };
            if kept {
                change.apply(&mut self.durable);
            } else if let (2.., Change::Write { offset, bytes }) = (choice, &change)
                && random() % 2 == 1
            {
                tear_into(&mut self.durable, *offset as usize, bytes, random);
            }
        }
        self.current.clone_from(&self.durable);
    }
}

fn write_into(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

/// Writes some of the sectors that `bytes` touches.
fn tear_into(to: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut dyn FnMut() -> u64) {
    let mut done = 0;
    while done < bytes.len() {
        let sector_end = (offset + done) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        let end = bytes.len().min(sector_end - offset);
        if random() % 2 == 1 {
            write_into(to, offset + done, &bytes[done..end]);
        }
        done = end;
    }
}
