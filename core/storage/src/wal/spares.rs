//! Segments made ahead of need, so that a full disk is seen before it hurts, and so that a durable
//! write overwrites blocks that the file system has allocated already.

use crate::{DiskError, Files};

/// Most spares that are kept. A rotation takes one; freed segments refill up to this number.
pub const SPARES_MAX: usize = 2;

const FILL_BYTES: usize = 256 * 1024;

/// Which spare files there are. All have the length of a segment; their contents mean nothing.
#[derive(Debug)]
pub(super) struct Spares {
    segment_bytes: u64,
    ready: Vec<String>,
    next_number: u64,
}

/// Tells whether a name is of a spare: its number, and whether it was completed.
fn spare_number(name: &str) -> Option<(u64, bool)> {
    let numbered = name.strip_prefix("wal-spare-")?;
    let (digits, complete) = match numbered.strip_suffix(".ready") {
        Some(digits) => (digits, true),
        None => (numbered.strip_suffix(".tmp")?, false),
    };
    Some((digits.parse().ok()?, complete))
}

impl Spares {
    /// Takes over what an earlier process left among `names`: completed spares of the right length.
    /// Other spares are removed.
    pub fn open(files: &dyn Files, names: &[String], segment_bytes: u64) -> Result<Spares, DiskError> {
        let mut spares = Spares { segment_bytes, ready: Vec::new(), next_number: 1 };
        for name in names {
            let Some((number, complete)) = spare_number(name) else { continue };
            spares.next_number = spares.next_number.max(number.saturating_add(1));
            if !complete {
                types::mark!("unfinished_spare_removed");
            }
            if complete && spares.ready.len() < SPARES_MAX && files.open(name)?.len()? == segment_bytes {
                spares.ready.push(name.clone());
            } else {
                files.remove(name)?;
            }
        }
        Ok(spares)
    }

    /// Spares ready.
    pub fn count(&self) -> usize {
        self.ready.len()
    }

    /// Hands out a spare, by name.
    pub fn take(&mut self) -> Option<String> {
        self.ready.pop()
    }

    /// Makes a spare if there is none: fills a file with zeros, syncs and renames it. Answers whether
    /// one is ready; if not, the disk is full, and nothing of the attempt is left.
    pub fn ensure_one(&mut self, files: &dyn Files) -> Result<bool, DiskError> {
        if !self.ready.is_empty() {
            return Ok(true);
        }
        if files.free_bytes()? < self.segment_bytes {
            types::mark!("no_room_for_spare");
            return Ok(false);
        }
        let number = self.next_number();
        let temporary = format!("wal-spare-{number}.tmp");
        match self.fill(files, &temporary) {
            Ok(()) => {}
            Err(DiskError::NoSpace) => {
                return match files.remove(&temporary) {
                    Ok(()) | Err(DiskError::NotFound(_)) => Ok(false),
                    Err(error) => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
        self.add(files, &temporary, number)?;
        Ok(true)
    }

    /// Turns the obsolete segment file `name`, of `file_bytes`, into a spare if one is wanted and it
    /// has the right length; removes it otherwise.
    pub fn recycle(&mut self, files: &dyn Files, name: &str, file_bytes: u64) -> Result<(), DiskError> {
        if self.ready.len() < SPARES_MAX && file_bytes == self.segment_bytes {
            let number = self.next_number();
            self.add(files, name, number)
        } else {
            files.remove(name)
        }
    }

    fn fill(&self, files: &dyn Files, name: &str) -> Result<(), DiskError> {
        let file = files.create(name)?;
        let zeros = vec![0; FILL_BYTES.min(self.segment_bytes as usize)];
        let mut filled = 0;
        while filled < self.segment_bytes {
            let bytes = (self.segment_bytes - filled).min(zeros.len() as u64);
            file.write_at(filled, &zeros[..bytes as usize])?;
            filled += bytes;
        }
        file.sync()
    }

    fn add(&mut self, files: &dyn Files, name: &str, number: u64) -> Result<(), DiskError> {
        let ready = format!("wal-spare-{number}.ready");
        files.rename(name, &ready)?;
        self.ready.push(ready);
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        number
    }
}
