//! The simulated disk keeps the contract of `Files`, and breaks nothing but what the contract allows.

use proptest::prelude::*;
use storage::{DiskError, Files, MemFiles, mem_files::SECTOR_BYTES};

fn io(result: Result<impl std::fmt::Debug, DiskError>) {
    assert!(matches!(result, Err(DiskError::Io(_))), "{result:?}");
}

#[test]
fn a_crash_takes_what_was_not_synced_and_every_handle() {
    let disk = MemFiles::new();
    let file = disk.create("a").unwrap();
    file.write_at(0, b"durable").unwrap();
    file.sync().unwrap();
    file.write_at(0, b"DURABLE!").unwrap();
    file.set_len(100).unwrap();
    disk.crash(&mut || 0);
    assert_eq!(disk.contents("a").unwrap(), b"durable");
    io(file.len());
    io(file.write_at(0, b"x"));
    io(file.sync());
    drop(file);
    let file = disk.open("a").unwrap();
    file.write_at(7, b"!").unwrap();
    disk.crash(&mut || 1);
    assert_eq!(disk.contents("a").unwrap(), b"durable!");
    assert_eq!(disk.generation(), 2);
}

#[test]
fn names_are_durable_at_once_and_removed_files_stay_usable_through_handles() {
    let disk = MemFiles::new();
    let (a, b) = (disk.create("a").unwrap(), disk.create("b").unwrap());
    a.write_at(0, b"aaa").unwrap();
    a.sync().unwrap();
    b.write_at(0, b"b").unwrap();
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert_eq!(disk.used_bytes(), 3);
    assert_eq!(b.len().unwrap(), 1);
    assert_eq!(disk.remove("a"), Err(DiskError::NotFound("a".into())));
    disk.crash(&mut || 0);
    assert_eq!(disk.contents("b").unwrap(), b"aaa");
    disk.remove("b").unwrap();
    disk.crash(&mut || 0);
    assert!(disk.list().unwrap().is_empty());
}

#[test]
fn space_runs_out_without_changing_anything() {
    let disk = MemFiles::new();
    disk.set_capacity(Some(10));
    let file = disk.create("a").unwrap();
    file.write_at(0, &[1; 8]).unwrap();
    assert_eq!(disk.free_bytes(), Ok(2));
    assert_eq!(file.write_at(4, &[2; 8]), Err(DiskError::NoSpace));
    assert_eq!(file.set_len(11), Err(DiskError::NoSpace));
    assert_eq!(disk.contents("a").unwrap(), [1; 8]);
    file.write_at(0, &[3; 10]).unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.free_bytes(), Ok(10));
}

/// As on Linux: pages of a failed sync are marked clean, so that a later sync answers well for nothing.
#[test]
fn what_a_failed_sync_covered_is_not_made_durable_by_the_next() {
    for (kept, expected) in [(0, b"old2"), (1, b"new2")] {
        let disk = MemFiles::new();
        let file = disk.create("a").unwrap();
        file.write_at(0, b"old1").unwrap();
        file.sync().unwrap();
        disk.fail_sync(1);
        file.write_at(0, b"new").unwrap();
        io(file.sync());
        file.write_at(3, b"2").unwrap();
        if kept == 0 {
            file.sync().unwrap();
            assert_eq!(disk.contents("a").unwrap(), b"new2", "reads see it until the crash");
        }
        disk.crash(&mut || kept);
        assert_eq!(disk.contents("a").unwrap(), expected);
    }
}

#[test]
fn a_halting_machine_performs_no_more_operations() {
    let disk = MemFiles::new();
    disk.halt_after(3);
    let file = disk.create("a").unwrap();
    file.write_at(0, b"x").unwrap();
    file.sync().unwrap();
    io(file.write_at(0, b"y"));
    io(disk.list());
    io(disk.open("a"));
    disk.crash(&mut || 1);
    assert_eq!(disk.contents("a").unwrap(), b"x");
}

#[test]
fn copies_share_nothing_and_flips_outlive_crashes() {
    let disk = MemFiles::new();
    disk.set_contents("a", vec![0; 4]);
    let copy = disk.copy();
    disk.flip("a", 2, 0x81);
    disk.crash(&mut || 0);
    assert_eq!(disk.contents("a").unwrap(), [0, 0, 0x81, 0]);
    assert_eq!(copy.contents("a").unwrap(), [0; 4]);
    io(copy.open("a").unwrap().read_at(2, &mut [0; 3]));
}

proptest! {
    /// After a crash each sector is as it was durable, or as some unsynced write made it.
    #[test]
    fn sectors_are_old_or_new(
        writes in prop::collection::vec((0..3000u64, 1..2000usize), 1..6),
        numbers in prop::collection::vec(any::<u64>(), 64),
    ) {
        let disk = MemFiles::new();
        disk.set_contents("a", vec![0; 5000]);
        let file = disk.open("a").unwrap();
        let mut versions = vec![vec![0; 5000]];
        for (number, (offset, len)) in writes.iter().enumerate() {
            let bytes = vec![number as u8 + 1; *len];
            file.write_at(*offset, &bytes).unwrap();
            for version in versions.clone() {
                let mut next = version;
                next[*offset as usize..][..*len].copy_from_slice(&bytes);
                versions.push(next);
            }
        }
        let crashed = |disk: MemFiles| {
            let mut random = numbers.iter().copied().cycle();
            disk.crash(&mut || random.next().unwrap());
            disk.contents("a").unwrap()
        };
        let copy = disk.copy();
        let after = crashed(disk);
        prop_assert_eq!(&after, &crashed(copy), "equal numbers give equal disks");
        prop_assert_eq!(after.len(), 5000);
        for sector in (0..5000).step_by(SECTOR_BYTES) {
            let range = sector..(sector + SECTOR_BYTES).min(5000);
            prop_assert!(versions.iter().any(|version| version[range.clone()] == after[range.clone()]));
        }
    }
}
