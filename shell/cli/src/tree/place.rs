//! A directory that files are created in and never outside of.
//!
//! Guarantee: every component of a path is opened from the one before it, as a directory and not
//! through a symbolic link (`openat` with `O_NOFOLLOW`), so neither a key nor a link that an earlier
//! key made can lead out of the directory, not even while someone else changes the tree.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

/// Why a path was not created. Nothing outside the directory was touched.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A component above the path is a link or a file.
    #[error("a link or a file is in the way of one of its directories")]
    InTheWay,
    /// A directory is where the file should be.
    #[error("a directory is in its place")]
    Directory,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for PlaceError {
    fn from(errno: Errno) -> PlaceError {
        match errno {
            Errno::LOOP | Errno::NOTDIR => PlaceError::InTheWay,
            Errno::ISDIR => PlaceError::Directory,
            errno => PlaceError::Io(errno.into()),
        }
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The directory, open.
#[derive(Debug)]
pub struct Place {
    root: OwnedFd,
    /// The directory used last and its path: trees come in order, most files share it.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Place {
    /// Opens `dir`, creating it (and what is above it) if it does not exist.
    ///
    /// # Errors
    /// If it cannot be created or opened.
    pub fn open(dir: &Path) -> io::Result<Place> {
        std::fs::create_dir_all(dir)?;
        let root = fs::openat(CWD, dir, OFlags::RDONLY | DIRECTORY, Mode::empty())?;
        Ok(Place { root, last: None })
    }

    /// Creates the file at `path` with these permissions, replacing a file or link that is there.
    /// `path` must have passed [`super::keys::parse`].
    ///
    /// # Errors
    /// If something other than a directory is above it, or a directory is in its place.
    pub fn create_file(&mut self, path: &[u8]) -> Result<File, PlaceError> {
        let (dir, name) = self.parent(path)?;
        remove(dir, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(File::from(file))
    }

    /// Creates a symbolic link, replacing a file or link that is there. The target is stored as it is,
    /// wherever it points; nothing is ever written through it.
    ///
    /// # Errors
    /// As for [`Place::create_file`].
    pub fn create_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), PlaceError> {
        let (dir, name) = self.parent(path)?;
        remove(dir, name)?;
        Ok(fs::symlinkat(OsStr::from_bytes(target), dir, name)?)
    }

    /// Creates a directory and those above it; that it exists is fine.
    ///
    /// # Errors
    /// If something other than a directory is above it or in its place.
    pub fn create_dir(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        self.enter(path).map(|_| ())
    }

    /// Removes the file at `path` as far as possible: it was begun and is not to stay.
    pub fn remove_file(&mut self, path: &[u8]) {
        if let Ok((dir, name)) = self.parent(path) {
            let _ = remove(dir, name);
        }
    }

    fn parent<'a>(&mut self, path: &'a [u8]) -> Result<(&OwnedFd, &'a OsStr), PlaceError> {
        match path.iter().rposition(|&byte| byte == b'/') {
            None => Ok((&self.root, OsStr::from_bytes(path))),
            Some(at) => Ok((self.enter(&path[..at])?, OsStr::from_bytes(&path[at + 1..]))),
        }
    }

    fn enter(&mut self, path: &[u8]) -> Result<&OwnedFd, PlaceError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let mut dir = None;
            for component in path.split(|&byte| byte == b'/') {
                let above = dir.as_ref().unwrap_or(&self.root);
                let name = OsStr::from_bytes(component);
                match fs::mkdirat(above, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                let flags = OFlags::RDONLY | DIRECTORY | OFlags::NOFOLLOW;
                dir = Some(fs::openat(above, name, flags, Mode::empty())?);
            }
            let dir = dir.expect("a path has a component");
            self.last = Some((path.to_vec(), dir));
        }
        let (_, dir) = self.last.as_ref().expect("entered above");
        Ok(dir)
    }
}

fn remove(dir: &OwnedFd, name: &OsStr) -> Result<(), PlaceError> {
    match fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_links_and_directories_appear_where_they_should() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut place = Place::open(&dir.path().join("new/tree")).expect("created");
        place.create_file(b"a/b/c").expect("file").write_all(b"x").expect("written");
        place.create_file(b"a/b/c").expect("replaced").write_all(b"y").expect("written");
        place.create_link(b"a/l", b"../../../anywhere").expect("link");
        place.create_dir(b"empty").expect("directory");
        let root = dir.path().join("new/tree");
        assert_eq!(std::fs::read(root.join("a/b/c")).expect("there"), b"y");
        assert_eq!(std::fs::read_link(root.join("a/l")).expect("there"), Path::new("../../../anywhere"));
        assert!(root.join("empty").is_dir());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).expect("created");
        std::fs::write(outside.join("kept"), b"kept").expect("written");
        let mut place = Place::open(&dir.path().join("tree")).expect("created");
        place.create_link(b"out", b"../outside").expect("link");
        place.create_link(b"file", b"../outside/kept").expect("link");
        assert!(matches!(place.create_file(b"out/new"), Err(PlaceError::InTheWay)));
        assert!(matches!(place.create_dir(b"out"), Err(PlaceError::InTheWay)));
        assert!(matches!(place.create_link(b"out/new", b"x"), Err(PlaceError::InTheWay)));
        place.create_file(b"file").expect("replaces the link").write_all(b"new").expect("written");
        assert_eq!(std::fs::read(outside.join("kept")).expect("there"), b"kept");
        assert_eq!(std::fs::read_dir(&outside).expect("readable").count(), 1);
    }

    #[test]
    fn a_file_is_not_a_directory_and_the_reverse() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut place = Place::open(dir.path()).expect("opened");
        place.create_file(b"f").expect("file");
        assert!(matches!(place.create_file(b"f/x"), Err(PlaceError::InTheWay)));
        place.create_dir(b"d").expect("directory");
        assert!(matches!(place.create_file(b"d"), Err(PlaceError::Directory)));
    }
}
