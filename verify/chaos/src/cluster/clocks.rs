//! Wall clocks that can be set: libfaketime under each node, reading its offset from a file again and again.
//! Monotonic clocks stay true.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

const LIBRARY: &str = "libfaketimeMT.so.1";

/// One clock for each node.
#[derive(Debug)]
pub struct FakeClocks {
    library: PathBuf,
    files: Vec<PathBuf>,
}

impl FakeClocks {
    /// Clocks that are right.
    ///
    /// # Errors
    /// In words, if the library is not there.
    pub fn new(dir: &Path, nodes: usize) -> Result<FakeClocks, String> {
        let library = library().ok_or("libfaketime is not there (apt-get install libfaketime)")?;
        let files = (0..nodes).map(|node| dir.join(format!("clock-{node}"))).collect();
        let clocks = FakeClocks { library, files };
        (0..nodes)
            .try_for_each(|node| clocks.set(node, 0))
            .map_err(|error| format!("its file cannot be written: {error}"))?;
        Ok(clocks)
    }

    /// From now on a node's wall clock is so many milliseconds ahead, or behind.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set(&self, node: usize, offset_ms: i64) -> io::Result<()> {
        let file = &self.files[node];
        let new = file.with_extension("new");
        fs::write(&new, format!("{:+}\n", offset_ms as f64 / 1000.0))?;
        fs::rename(new, file)
    }

    /// All are right again.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn heal(&self) -> io::Result<()> {
        (0..self.files.len()).try_for_each(|node| self.set(node, 0))
    }

    pub(super) fn environment(&self, node: usize) -> Vec<(String, String)> {
        let file = self.files[node].display().to_string();
        let library = self.library.display().to_string();
        [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = folders
        .chain([PathBuf::from("/usr/lib64")])
        .map(|folder| folder.join("faketime").join(LIBRARY))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}
