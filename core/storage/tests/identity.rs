//! The identity file: created once, read by people, refused when it is another's or damaged.

use storage::{
    Files, Identity, IdentityError, Loaded, MemFiles,
    identity::{DIRECTORY_VERSION, IDENTITY_FILE},
};
use types::{ClusterId, NodeId};

const OURS: Identity = Identity { cluster: ClusterId([0xab; 16]), node: NodeId(2) };

fn text(disk: &MemFiles) -> String {
    String::from_utf8(disk.contents(IDENTITY_FILE).unwrap()).unwrap()
}

/// The file with other lines and their right checksum.
fn with_lines(lines: &str) -> MemFiles {
    let disk = MemFiles::new();
    let text = format!("{lines}checksum {:08x}\n", crc32fast::hash(lines.as_bytes()));
    disk.set_contents(IDENTITY_FILE, text.into_bytes());
    disk
}

#[test]
fn it_is_created_durably_once() {
    let disk = MemFiles::new();
    assert_eq!(Identity::load(&disk), Ok(None));
    assert_eq!(Identity::load_or_create(&disk, &OURS), Ok(Loaded::Created));
    disk.crash(&mut || 0);
    let written = text(&disk);
    assert_eq!(
        written,
        "quorate data directory\nversion 1\ncluster abababababababababababababababab\nnode 2\nchecksum 3c91e58d\n"
    );
    assert_eq!(Identity::load_or_create(&disk, &OURS), Ok(Loaded::Existing));
    assert_eq!(Identity::load(&disk), Ok(Some(OURS)));
    assert_eq!(text(&disk), written);
    assert_eq!(disk.list().unwrap(), [IDENTITY_FILE]);
}

/// However few disk operations a start gets through, the next one finds an identity whole or none.
#[test]
fn an_interrupted_creation_is_repeated() {
    for operations in 0..5 {
        for kept in [0, 1] {
            let disk = MemFiles::new();
            disk.halt_after(operations);
            let _ = Identity::load_or_create(&disk, &OURS);
            disk.crash(&mut || kept);
            assert!(Identity::load_or_create(&disk, &OURS).is_ok());
            assert_eq!(Identity::load(&disk), Ok(Some(OURS)));
        }
    }
}

#[test]
fn another_owner_is_named() {
    let disk = MemFiles::new();
    Identity::load_or_create(&disk, &OURS).unwrap();
    let node = Identity { node: NodeId(3), ..OURS };
    let refused = Identity::load_or_create(&disk, &node).unwrap_err();
    assert_eq!(refused, IdentityError::WrongNode { found: NodeId(2), expected: NodeId(3) });
    let cluster = Identity { cluster: ClusterId([1; 16]), ..OURS };
    let refused = Identity::load_or_create(&disk, &cluster).unwrap_err();
    assert_eq!(refused, IdentityError::WrongCluster { found: OURS.cluster, expected: cluster.cluster });
    let message = refused.to_string();
    for word in ["abababab", "01010101", "nothing was changed", "start with"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(Identity::load(&disk), Ok(Some(OURS)));
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let disk = with_lines("quorate data directory\nversion 7\nwhatever it says\n");
    let expected = IdentityError::UnsupportedVersion { found: 7, supported: DIRECTORY_VERSION };
    assert_eq!(Identity::load_or_create(&disk, &OURS), Err(expected));
}

#[test]
fn every_flipped_bit_and_every_shortening_is_refused() {
    let whole = MemFiles::new();
    Identity::load_or_create(&whole, &OURS).unwrap();
    let bytes = whole.contents(IDENTITY_FILE).unwrap();
    for offset in 0..bytes.len() {
        let shortened = MemFiles::new();
        shortened.set_contents(IDENTITY_FILE, bytes[..offset].to_vec());
        let refused = Identity::load_or_create(&shortened, &OURS);
        assert!(matches!(refused, Err(IdentityError::Corrupt { .. })), "{refused:?}");
        for bit in 0..8 {
            let flipped = whole.copy();
            flipped.flip(IDENTITY_FILE, offset as u64, 1 << bit);
            let refused = Identity::load_or_create(&flipped, &OURS);
            // A flip that makes the version another number reads as that version; it is refused as well.
            let another = matches!(refused, Err(IdentityError::UnsupportedVersion { .. }));
            assert!(another || matches!(refused, Err(IdentityError::Corrupt { .. })), "{refused:?}");
        }
    }
}

#[test]
fn malformed_lines_are_damage_whatever_their_checksum() {
    for lines in [
        "",
        "another product\nversion 1\ncluster abababababababababababababababab\nnode 2\n",
        "quorate data directory\nversion one\n",
        "quorate data directory\nversion 1\ncluster abab\nnode 2\n",
        "quorate data directory\nversion 1\ncluster abababababababababababababababab\nnode x\n",
        "quorate data directory\nversion 1\ncluster abababababababababababababababab\nnode 2\nmore\n",
    ] {
        let refused = Identity::load(&with_lines(lines));
        assert!(matches!(refused, Err(IdentityError::Corrupt { .. })), "{lines:?}: {refused:?}");
    }
}
