//! How a path of a directory tree becomes keys, and back. The layout is documented in
//! `docs/operating/files-as-keys.md`.
//!
//! Paths never hold a NUL byte, so a key is a path unless it has one; what follows the NUL says what
//! the key adds to the path before it. NUL sorts first: everything about a path directly follows it.

/// Digits of a part's number.
const PART_DIGITS: usize = 8;
/// Parts beyond the first that a file can have: what the digits can count.
pub const PARTS_MAX: u64 = 99_999_999;

/// What one key holds of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// The bytes of a file, or the first part of a split one. The key is the path itself.
    File,
    /// An empty directory.
    Dir,
    /// The target of a symbolic link.
    Link,
    /// The permissions of a file, in octal, when they are not 644.
    Mode,
    /// A further part of a split file, numbered from 1.
    Part(u64),
    /// Size and checksum of a split file, written after its parts.
    Split,
}

/// Why a key is not one that an import writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// What follows the NUL byte is unknown.
    #[error("what follows the NUL byte is not a part, split, link, dir or mode")]
    Suffix,
    /// The path before the NUL, or the whole key, is not a relative path inside the tree.
    #[error("it is not a path inside the directory ({0})")]
    Path(&'static str),
}

/// The key of a piece of `path`, below `prefix`.
pub fn key(prefix: &[u8], path: &[u8], piece: Piece) -> Vec<u8> {
    let mut key = [prefix, path].concat();
    match piece {
        Piece::File => {}
        Piece::Dir => key.extend_from_slice(b"\0dir"),
        Piece::Link => key.extend_from_slice(b"\0link"),
        Piece::Mode => key.extend_from_slice(b"\0mode"),
        Piece::Split => key.extend_from_slice(b"\0split"),
        Piece::Part(number) => key.extend_from_slice(format!("\0part{number:0PART_DIGITS$}").as_bytes()),
    }
    key
}

/// The path and piece of a key whose prefix is already gone. The path is safe to create below a
/// directory as far as its text goes: relative, no `.`, no `..`, no empty component.
///
/// # Errors
/// If no import writes such a key.
pub fn parse(key: &[u8]) -> Result<(&[u8], Piece), KeyError> {
    let nul = key.iter().position(|&byte| byte == 0);
    let (path, piece) = match nul {
        None => (key, Piece::File),
        Some(at) => (&key[..at], parse_suffix(&key[at + 1..]).ok_or(KeyError::Suffix)?),
    };
    check_path(path)?;
    Ok((path, piece))
}

fn parse_suffix(suffix: &[u8]) -> Option<Piece> {
    match suffix {
        b"dir" => Some(Piece::Dir),
        b"link" => Some(Piece::Link),
        b"mode" => Some(Piece::Mode),
        b"split" => Some(Piece::Split),
        _ => {
            let digits = suffix.strip_prefix(b"part")?;
            if digits.len() != PART_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            (number > 0).then_some(Piece::Part(number))
        }
    }
}

fn check_path(path: &[u8]) -> Result<(), KeyError> {
    if path.is_empty() {
        return Err(KeyError::Path("it is empty"));
    }
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" => return Err(KeyError::Path("it is absolute or has an empty component")),
            b"." | b".." => return Err(KeyError::Path("it has a `.` or `..` component")),
            _ => {}
        }
    }
    Ok(())
}

/// Every directory above `path`, outermost first, without the path itself.
pub fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

/// A key or path as a person can read it: printable UTF-8 as it is, everything else escaped as `\xNN`.
pub fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                char if char.is_control() => {
                    let mut buffer = [0; 4];
                    let encoded = char.encode_utf8(&mut buffer).bytes();
                    encoded.for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
                }
                char => text.push(char),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn component() -> impl Strategy<Value = Vec<u8>> {
        let byte = any::<u8>().prop_filter("a file name has no NUL and no slash", |b| ![0, b'/'].contains(b));
        vec(byte, 1..12).prop_filter("not . or ..", |c| c != b"." && c != b"..")
    }

    fn path() -> impl Strategy<Value = Vec<u8>> {
        vec(component(), 1..5).prop_map(|components| components.join(&b'/'))
    }

    fn piece() -> impl Strategy<Value = Piece> {
        let fixed = [Piece::File, Piece::Dir, Piece::Link, Piece::Mode, Piece::Split];
        prop_oneof![proptest::sample::select(fixed.to_vec()), (1..=PARTS_MAX).prop_map(Piece::Part)]
    }

    proptest! {
        #[test]
        fn every_path_comes_back(prefix in vec(any::<u8>(), 0..8), path in path(), piece in piece()) {
            let key = key(&prefix, &path, piece);
            let rest = key.strip_prefix(&prefix[..]).expect("begins with the prefix");
            prop_assert_eq!(parse(rest), Ok((&path[..], piece)));
        }

        #[test]
        fn no_key_names_a_path_outside(bytes in vec(prop_oneof![Just(b'/'), Just(b'.'), Just(0), any::<u8>()], 0..24)) {
            if let Ok((path, _)) = parse(&bytes) {
                let components = path.split(|b| *b == b'/');
                for component in components {
                    prop_assert!(!component.is_empty() && component != b"." && component != b"..");
                    prop_assert!(!component.contains(&0));
                }
            }
        }

        #[test]
        fn whatever_is_about_a_path_follows_it_directly(path in path(), other in path(), piece in piece()) {
            prop_assume!(path != other);
            let (file, about, other) = (key(b"", &path, Piece::File), key(b"", &path, piece), key(b"", &other, Piece::File));
            prop_assert!(!(file < other && other < about));
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            ".",
            "a\0",
            "a\0part1",
            "a\0part00000000",
            "a\0part0000000x",
            "a\0other",
            "\0dir",
            "../x\0link",
            "a\0dir\0dir",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ancestors_are_outermost_first() {
        let all: Vec<_> = ancestors(b"a/b/c").collect();
        assert_eq!(all, [&b"a"[..], b"a/b"]);
        assert_eq!(ancestors(b"a").count(), 0);
    }

    #[test]
    fn keys_are_readable_and_never_drive_a_terminal() {
        assert_eq!(readable("grüße/a\\b".as_bytes()), "grüße/a\\\\b");
        assert_eq!(readable(b"a\0part00000001\x1b[2J\xff"), "a\\x00part00000001\\x1b[2J\\xff");
    }
}
