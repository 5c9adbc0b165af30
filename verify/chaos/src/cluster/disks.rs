//! Disks that can be filled: a small file system in memory for each node's data. Needs root.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What a node may use, with room for a few segments, checkpoints and their copies.
const SIZE_MIB: u64 = 512;
const FILLER: &str = "filler";

/// One for each node. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisks {
    mounted: Vec<PathBuf>,
}

impl SmallDisks {
    /// Mounts a small file system on each directory, which is made.
    ///
    /// # Errors
    /// In words, if that is not permitted here.
    pub fn mount(directories: &[PathBuf]) -> Result<SmallDisks, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a small file system can be mounted by root alone".to_owned());
        }
        let mut disks = SmallDisks { mounted: Vec::new() };
        for directory in directories {
            fs::create_dir_all(directory).map_err(|error| error.to_string())?;
            let size = format!("size={SIZE_MIB}m,mode=0700");
            let output = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "quorate-chaos"])
                .arg(directory)
                .output()
                .map_err(|error| format!("the tool mount cannot be run: {error}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("no small file system can be mounted here: {}", said.trim()));
            }
            disks.mounted.push(directory.clone());
        }
        Ok(disks)
    }

    /// Takes all the space that a node has left.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn fill(&self, node: usize) -> io::Result<()> {
        let directory = &self.mounted[node];
        let free = |directory: &Path| -> io::Result<u64> {
            let stat = rustix::fs::statvfs(directory)?;
            Ok(stat.f_bavail * stat.f_frsize)
        };
        let file = fs::File::create(directory.join(FILLER))?;
        let mut length = 0;
        // The node goes on writing meanwhile: what is left is asked again.
        for _ in 0..8 {
            let left = free(directory)?;
            if left == 0 {
                break;
            }
            length += left;
            if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length).is_err() {
                length -= left;
            }
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn free(&self, node: usize) -> io::Result<()> {
        match fs::remove_file(self.mounted[node].join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives all back.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn heal(&self) -> io::Result<()> {
        (0..self.mounted.len()).try_for_each(|node| self.free(node))
    }
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        for directory in &self.mounted {
            // At once from the tree, and from memory when the last process that uses it has ended.
            match Command::new("umount").arg("-l").arg(directory).output() {
                Ok(output) if output.status.success() => {}
                _ => eprintln!("cannot unmount {}: umount it by hand", directory.display()),
            }
        }
    }
}
