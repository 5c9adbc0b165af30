//! What is in a directory tree: the list that an import works through.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

/// What stands at a path. The tree's paths are in a map of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with so many bytes and these permission bits, when it was looked at.
    File {
        /// Size when it was looked at.
        bytes: u64,
        /// Permission bits, `0o777` at most.
        mode: u32,
    },
    /// A symbolic link, not followed.
    Link,
    /// A directory without entries.
    EmptyDir,
    /// A directory with entries: it needs no key of its own.
    Dir,
}

/// A path that cannot be imported, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Path below the root.
    pub path: Vec<u8>,
    /// For a person.
    pub reason: String,
}

/// A walked tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// Paths below the root, in the order of their keys.
    pub entries: BTreeMap<Vec<u8>, Kind>,
    /// What was left out.
    pub refused: Vec<Refused>,
}

/// Walks `root` (following it if it is itself a link) and nothing outside of it.
///
/// # Errors
/// If `root` itself cannot be read; what is unreadable below it is listed as refused.
pub fn walk(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    let mut waiting: Vec<(Vec<u8>, PathBuf)> = Vec::new();
    let top = read_dir(root)?;
    look_at(&mut tree, &mut waiting, b"", top);
    while let Some((path, dir)) = waiting.pop() {
        match read_dir(&dir) {
            Ok(entries) if entries.is_empty() => {
                tree.entries.insert(path, Kind::EmptyDir);
            }
            Ok(entries) => {
                tree.entries.insert(path.clone(), Kind::Dir);
                look_at(&mut tree, &mut waiting, &path, entries);
            }
            Err(error) => tree.refused.push(Refused { path, reason: error.to_string() }),
        }
    }
    Ok(tree)
}

fn read_dir(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    fs::read_dir(dir)?.collect()
}

fn look_at(tree: &mut Tree, waiting: &mut Vec<(Vec<u8>, PathBuf)>, above: &[u8], entries: Vec<fs::DirEntry>) {
    for entry in entries {
        let mut path = above.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        let kind = match entry.metadata() {
            Err(error) => Err(error.to_string()),
            Ok(metadata) if metadata.is_dir() => {
                waiting.push((path, entry.path()));
                continue;
            }
            Ok(metadata) if metadata.is_symlink() => Ok(Kind::Link),
            Ok(metadata) if metadata.is_file() => {
                Ok(Kind::File { bytes: metadata.len(), mode: metadata.permissions().mode() & 0o777 })
            }
            Ok(_) => Err("it is a socket, pipe or device".to_owned()),
        };
        match kind {
            Ok(kind) => drop(tree.entries.insert(path, kind)),
            Err(reason) => tree.refused.push(Refused { path, reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn everything_is_found_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path();
        fs::create_dir_all(root.join("d/empty")).expect("created");
        fs::write(root.join("d/f"), b"12345").expect("written");
        symlink("/", root.join("l")).expect("linked");
        let _socket = UnixListener::bind(root.join("s")).expect("bound");
        let tree = walk(root).expect("readable");
        let names: Vec<_> = tree.entries.keys().map(|path| String::from_utf8_lossy(path)).collect();
        assert_eq!(names, ["d", "d/empty", "d/f", "l"]);
        assert!(matches!(tree.entries[&b"d/f"[..]], Kind::File { bytes: 5, .. }));
        assert_eq!(tree.entries[&b"d/empty"[..]], Kind::EmptyDir);
        assert_eq!(tree.entries[&b"l"[..]], Kind::Link);
        assert_eq!(tree.refused.len(), 1);
    }
}
