//! The real disk keeps the contract that `storage::Files` states.

use std::fs;

use storage::{DiskError, Files};

use super::{DataDir, DataDirError, RealFiles};

fn directory() -> (tempfile::TempDir, RealFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = RealFiles::open(directory.path()).unwrap();
    (directory, files)
}

#[test]
fn what_is_written_is_read_by_every_handle() {
    let (_directory, files) = directory();
    let file = files.create("log").unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(4, b"data").unwrap();
    file.sync().unwrap();
    let other = files.open("log").unwrap();
    assert_eq!(other.len().unwrap(), 8);
    let mut bytes = [1; 8];
    other.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0\0data");
    other.set_len(2).unwrap();
    assert_eq!(file.len().unwrap(), 2);
    file.set_len(4).unwrap();
    let mut bytes = [1; 4];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
}

#[test]
fn reading_past_the_end_is_an_error_and_names_the_file() {
    let (_directory, files) = directory();
    let file = files.create("short").unwrap();
    file.write_at(0, b"abc").unwrap();
    for (offset, length) in [(0, 4), (2, 2), (3, 1), (1000, 1)] {
        let error = file.read_at(offset, &mut vec![0; length]).unwrap_err();
        assert!(matches!(&error, DiskError::Io(text) if text.contains("short")), "{error:?}");
    }
    file.read_at(3, &mut []).unwrap();
}

#[test]
fn names_are_listed_in_order_without_the_lock_and_directories() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let files = data.files();
    for name in ["b", "a", "c"] {
        files.create(name).unwrap();
    }
    fs::create_dir(directory.path().join("other")).unwrap();
    assert_eq!(files.list().unwrap(), ["a", "b", "c"]);
}

#[test]
fn creating_again_replaces_and_leaves_old_handles_as_they_were() {
    let (_directory, files) = directory();
    let old = files.create("file").unwrap();
    old.write_at(0, b"old").unwrap();
    let new = files.create("file").unwrap();
    assert!(new.is_empty().unwrap());
    assert_eq!(old.len().unwrap(), 3);
    assert_eq!(files.list().unwrap(), ["file"]);
}

#[test]
fn an_unfinished_replacement_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("file.unfinished");
    fs::write(&left, "x").unwrap();
    let files = RealFiles::open(directory.path()).unwrap();
    assert!(!left.exists());
    assert!(files.list().unwrap().is_empty());
}

#[test]
fn renaming_replaces_and_removing_what_is_not_there_is_an_error() {
    let (_directory, files) = directory();
    files.create("a").unwrap().write_at(0, b"a").unwrap();
    files.create("b").unwrap();
    files.rename("a", "b").unwrap();
    assert_eq!(files.list().unwrap(), ["b"]);
    assert_eq!(files.open("b").unwrap().len().unwrap(), 1);
    assert_eq!(files.open("a").unwrap_err(), DiskError::NotFound("a".into()));
    assert_eq!(files.rename("a", "c").unwrap_err(), DiskError::NotFound("a".into()));
    files.remove("b").unwrap();
    assert_eq!(files.remove("b").unwrap_err(), DiskError::NotFound("b".into()));
}

#[test]
fn names_cannot_leave_the_directory() {
    let (_directory, files) = directory();
    for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "nul\0", "LOCK", "x.unfinished"] {
        for result in [files.open(name).map(drop), files.create(name).map(drop), files.remove(name)] {
            assert!(matches!(result, Err(DiskError::Io(_))), "{name:?}: {result:?}");
        }
        assert!(matches!(files.rename(name, "ok"), Err(DiskError::Io(_))), "{name:?}");
    }
}

#[test]
fn a_full_device_is_no_space() {
    let (directory, files) = directory();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("full")).unwrap();
    let file = files.open("full").unwrap();
    assert_eq!(file.write_at(0, b"x").unwrap_err(), DiskError::NoSpace);
    assert!(files.free_bytes().unwrap() > 0);
}

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let directory = tempfile::tempdir().unwrap();
    let first = DataDir::open(directory.path()).unwrap();
    let error = DataDir::open(directory.path()).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, DataDirError::InUse { pid: owner, .. } if *owner == pid), "{error}");
    drop(first);
    DataDir::open(directory.path()).unwrap();
}

#[test]
fn a_path_that_is_a_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "x").unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}
