//! Which keys of an older import no longer belong to the tree. Pure: one key against the walked tree.
//!
//! An import adds and replaces; it does not mirror. A file that is gone from the tree stays in the
//! store. What is removed is only what would make a path of the new tree come back wrong.

use std::collections::BTreeMap;

use super::{
    keys::{Piece, ancestors, parse},
    walk::Kind,
};

/// What to do with a key that exists before the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right, foreign, or about a path that the tree does not have.
    Keep,
    /// It contradicts the tree.
    Remove,
    /// It belongs to a split file: removed after the file is written, unless it was written anew.
    RemoveUnlessWritten,
}

/// The permissions that need no key.
pub const MODE_DEFAULT: u32 = 0o644;

/// Judges a key, its prefix already gone.
pub fn judge(tree: &BTreeMap<Vec<u8>, Kind>, key: &[u8]) -> Verdict {
    let Ok((path, piece)) = parse(key) else { return Verdict::Keep };
    if ancestors(path).any(|above| matches!(tree.get(above), Some(Kind::File { .. } | Kind::Link))) {
        return Verdict::Remove;
    }
    let right = match (tree.get(path), piece) {
        (None, _) => true,
        (Some(Kind::File { .. }), Piece::Part(_) | Piece::Split) => return Verdict::RemoveUnlessWritten,
        (Some(Kind::File { mode, .. }), Piece::Mode) => *mode != MODE_DEFAULT,
        (Some(Kind::File { .. }), piece) => piece == Piece::File,
        (Some(Kind::Link), piece) => piece == Piece::Link,
        (Some(Kind::EmptyDir), piece) => piece == Piece::Dir,
        (Some(Kind::Dir), _) => false,
    };
    if right { Verdict::Keep } else { Verdict::Remove }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let file = |mode| Kind::File { bytes: 1, mode };
        let tree = BTreeMap::from([
            (b"dir".to_vec(), Kind::Dir),
            (b"dir/file".to_vec(), file(0o644)),
            (b"empty".to_vec(), Kind::EmptyDir),
            (b"link".to_vec(), Kind::Link),
            (b"run".to_vec(), file(0o755)),
        ]);
        let table = [
            ("gone", Verdict::Keep),
            ("gone\0dir", Verdict::Keep),
            ("../foreign", Verdict::Keep),
            ("dir/file", Verdict::Keep),
            ("dir/file\0part00000001", Verdict::RemoveUnlessWritten),
            ("dir/file\0split", Verdict::RemoveUnlessWritten),
            ("dir/file\0mode", Verdict::Remove),
            ("dir/file\0link", Verdict::Remove),
            ("dir/file/below", Verdict::Remove),
            ("dir/file/deep/below\0dir", Verdict::Remove),
            ("dir", Verdict::Remove),
            ("dir\0dir", Verdict::Remove),
            ("dir\0part00000001", Verdict::Remove),
            ("empty", Verdict::Remove),
            ("empty\0dir", Verdict::Keep),
            ("empty/below", Verdict::Keep),
            ("link", Verdict::Remove),
            ("link\0link", Verdict::Keep),
            ("link/below", Verdict::Remove),
            ("run\0mode", Verdict::Keep),
        ];
        for (key, verdict) in table {
            assert_eq!(judge(&tree, key.as_bytes()), verdict, "{key:?}");
        }
    }
}
