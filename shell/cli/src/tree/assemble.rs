//! Keys and values back into files, links and directories, one key at a time and in key order.
//!
//! Guarantee: a split file comes back whole (its parts contiguous, its size and checksum as when it
//! was imported) or not at all; whatever does not come back is listed with the reason.

use std::{
    fs::{File, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{
    keys::{Piece, parse},
    place::{Place, PlaceError},
    stale::MODE_DEFAULT,
    walk::Refused,
};

/// What the `split` key holds, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitNote {
    /// Size of the whole file.
    pub bytes: u64,
    /// XXH3 (64 bits) of the whole file, 16 hexadecimal digits.
    pub xxh3: String,
}

impl SplitNote {
    /// The note of a file of which all bytes went through `hash`.
    pub fn new(bytes: u64, hash: &Xxh3) -> SplitNote {
        SplitNote { bytes, xxh3: format!("{:016x}", hash.digest()) }
    }
}

/// What an export wrote.
#[derive(Debug, Default)]
pub struct Written {
    /// Regular files.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
    /// Empty directories.
    pub empty_directories: u64,
    /// Bytes in files.
    pub bytes: u64,
    /// Paths and keys that did not come back.
    pub refused: Vec<Refused>,
}

/// The path being assembled.
struct Current {
    path: Vec<u8>,
    file: Option<File>,
    bytes: u64,
    parts: u64,
    hash: Xxh3,
    mode: u32,
    note: Option<SplitNote>,
    failed: bool,
}

/// Takes keys in order and writes what they stand for.
pub struct Assembler {
    place: Place,
    current: Option<Current>,
    written: Written,
}

/// Why the path cannot come back, or why nothing more can.
enum Trouble {
    Path(String),
    Disk(io::Error),
}

impl From<&str> for Trouble {
    fn from(reason: &str) -> Trouble {
        Trouble::Path(reason.to_owned())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
                Trouble::Disk(error)
            }
            _ => Trouble::Path(error.to_string()),
        }
    }
}

impl From<PlaceError> for Trouble {
    fn from(error: PlaceError) -> Trouble {
        match error {
            PlaceError::Io(error) => error.into(),
            other => Trouble::Path(other.to_string()),
        }
    }
}

impl Assembler {
    /// Writes below `place`.
    pub fn new(place: Place) -> Assembler {
        Assembler { place, current: None, written: Written::default() }
    }

    /// Takes the next key, its prefix already gone, and its value.
    ///
    /// # Errors
    /// If the disk takes no more. Anything wrong with one path is listed instead.
    pub fn accept(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (path, piece) = match parse(key) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.finish_current()?;
                self.written.refused.push(Refused { path: key.to_vec(), reason: error.to_string() });
                return Ok(());
            }
        };
        if self.current.as_ref().is_none_or(|current| current.path != path) {
            self.finish_current()?;
            self.current = Some(Current::new(path));
        }
        let current = self.current.as_mut().expect("set above");
        if current.failed {
            return Ok(());
        }
        match current.take(piece, value, &mut self.place, &mut self.written) {
            Ok(()) => Ok(()),
            Err(trouble) => self.fail(trouble),
        }
    }

    /// Ends the last path and says what was written.
    ///
    /// # Errors
    /// As for [`Assembler::accept`].
    pub fn finish(mut self) -> io::Result<Written> {
        self.finish_current()?;
        Ok(self.written)
    }

    /// Files, links and empty directories so far.
    pub fn paths(&self) -> u64 {
        self.written.files + self.written.links + self.written.empty_directories
    }

    fn finish_current(&mut self) -> io::Result<()> {
        let Some(current) = self.current.as_mut().filter(|current| !current.failed) else { return Ok(()) };
        match current.complete() {
            Ok(true) => {
                self.written.files += 1;
                self.written.bytes += current.bytes;
            }
            Ok(false) => {}
            Err(trouble) => return self.fail(trouble),
        }
        Ok(())
    }

    /// Lists the current path as refused and removes what was begun of it.
    fn fail(&mut self, trouble: Trouble) -> io::Result<()> {
        let current = self.current.as_mut().expect("a path is being assembled");
        current.failed = true;
        if current.file.take().is_some() {
            self.place.remove_file(&current.path);
        }
        match trouble {
            Trouble::Disk(error) => Err(error),
            Trouble::Path(reason) => {
                self.written.refused.push(Refused { path: current.path.clone(), reason });
                Ok(())
            }
        }
    }
}

impl Current {
    fn new(path: &[u8]) -> Current {
        Current {
            path: path.to_vec(),
            file: None,
            bytes: 0,
            parts: 0,
            hash: Xxh3::new(),
            mode: MODE_DEFAULT,
            note: None,
            failed: false,
        }
    }

    fn take(
        &mut self,
        piece: Piece,
        value: &[u8],
        place: &mut Place,
        written: &mut Written,
    ) -> Result<(), Trouble> {
        match piece {
            Piece::Dir | Piece::Link if self.file.is_some() => {
                return Err("it is a file and something else".into());
            }
            Piece::Mode | Piece::Part(_) | Piece::Split if self.file.is_none() => {
                return Err("keys about a file exist, but not the file's first key".into());
            }
            Piece::File => {
                self.file = Some(place.create_file(&self.path)?);
                self.append(value)?;
            }
            Piece::Part(number) if number != self.parts + 1 => {
                return Err(Trouble::Path(format!("part {} is missing", self.parts + 1)));
            }
            Piece::Part(number) => {
                self.parts = number;
                self.append(value)?;
            }
            Piece::Dir => {
                place.create_dir(&self.path)?;
                written.empty_directories += 1;
            }
            Piece::Link => {
                place.create_link(&self.path, value)?;
                written.links += 1;
            }
            Piece::Mode => {
                let text = std::str::from_utf8(value).ok();
                let mode =
                    text.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o777);
                self.mode = mode.ok_or("its permissions are not an octal number up to 777")?;
            }
            Piece::Split => {
                let note = serde_json::from_slice(value).ok();
                self.note = Some(note.ok_or("its split key cannot be read")?);
            }
        }
        Ok(())
    }

    fn append(&mut self, value: &[u8]) -> io::Result<()> {
        self.file.as_mut().expect("checked by the caller").write_all(value)?;
        self.hash.update(value);
        self.bytes += value.len() as u64;
        Ok(())
    }

    /// True if a file was completed.
    fn complete(&mut self) -> Result<bool, Trouble> {
        let Some(file) = &self.file else { return Ok(false) };
        match &self.note {
            None if self.parts > 0 => return Err("its import did not finish: run the import again".into()),
            Some(note) if *note != SplitNote::new(self.bytes, &self.hash) => {
                return Err(
                    "its parts do not add up to the file that was imported: run the import again".into()
                );
            }
            _ => {}
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(keys: &[(&str, &[u8])]) -> (tempfile::TempDir, Written) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut assembler = Assembler::new(Place::open(dir.path()).expect("opened"));
        for (key, value) in keys {
            assembler.accept(key.as_bytes(), value).expect("the disk has room");
        }
        (dir, assembler.finish().expect("the disk has room"))
    }

    fn note(bytes: &[u8]) -> Vec<u8> {
        let mut hash = Xxh3::new();
        hash.update(bytes);
        serde_json::to_vec(&SplitNote::new(bytes.len() as u64, &hash)).expect("serializes")
    }

    #[test]
    fn a_tree_comes_back() {
        let note = note(b"abcdef");
        let (dir, written) = assemble(&[
            ("d\0dir", b""),
            ("l\0link", b"../x"),
            ("run", b"#!"),
            ("run\0mode", b"755"),
            ("s", b"ab"),
            ("s\0part00000001", b"cd"),
            ("s\0part00000002", b"ef"),
            ("s\0split", &note),
        ]);
        assert!(written.refused.is_empty(), "{:?}", written.refused);
        assert_eq!((written.files, written.links, written.empty_directories, written.bytes), (2, 1, 1, 8));
        assert_eq!(std::fs::read(dir.path().join("s")).expect("there"), b"abcdef");
        let mode =
            |name| std::fs::metadata(dir.path().join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("run"), mode("s")), (0o755, 0o644));
    }

    #[test]
    fn a_split_file_is_whole_or_absent() {
        let whole = note(b"abcd");
        let cases: [&[(&str, &[u8])]; 5] = [
            &[("s", b"ab"), ("s\0part00000002", b"cd"), ("s\0split", &whole)],
            &[("s", b"ab"), ("s\0part00000001", b"cd")],
            &[("s", b"ab"), ("s\0part00000001", b"cX"), ("s\0split", &whole)],
            &[("s", b"ab"), ("s\0split", &whole)],
            &[("s\0part00000001", b"cd"), ("s\0split", &whole)],
        ];
        for keys in cases {
            let (dir, written) = assemble(keys);
            assert_eq!(written.refused.len(), 1, "{keys:?}");
            assert!(!dir.path().join("s").exists(), "{keys:?}");
        }
    }

    #[test]
    fn keys_that_lead_outside_are_listed_and_the_rest_comes_back() {
        let (dir, written) = assemble(&[
            ("../evil", b"x"),
            ("/etc/evil", b"x"),
            ("a", b"file"),
            ("a/b", b"x"),
            ("l\0link", b".."),
            ("l/evil", b"x"),
            ("z", b"fine"),
        ]);
        let refused: Vec<_> = written.refused.iter().map(|r| String::from_utf8_lossy(&r.path)).collect();
        assert_eq!(refused, ["../evil", "/etc/evil", "a/b", "l/evil"]);
        assert_eq!(std::fs::read(dir.path().join("z")).expect("there"), b"fine");
        assert!(!dir.path().parent().expect("has one").join("evil").exists());
    }
}
