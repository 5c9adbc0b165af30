//! Bad and full disks: every damage is an error that names the file, and no space is not the end.

use storage::{DiskError, MemFiles, ReadRows, StoreError};
use types::GroupId;

use crate::support::{GroupModel, apply, checkpoint, fill, open, random, read, value};

const GROUP: GroupId = GroupId(1);

/// Flips single bits of a closed database. Opening and scrubbing it either reports the damage or
/// finds every row as it was (the bit was in free space): never other rows.
#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let files = MemFiles::new();
    let mut store = open(&files).unwrap();
    let model = fill(&mut store, GROUP, 150, 8);
    checkpoint(&mut store).unwrap();
    drop(store);
    let bytes = files.contents("state.redb").unwrap().len() as u64;
    let mut random = random(21);
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..250 {
        let damaged = files.copy();
        damaged.flip("state.redb", random() % bytes, 1 << (random() % 8));
        let opened = open(&damaged).and_then(|store| {
            store.scrub(GROUP)?;
            read(&store, GROUP)
        });
        match opened {
            Ok(rows) => {
                assert!(rows == model, "other rows, and no error");
                harmless += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("state"), "{error}");
                found += 1;
            }
        }
    }
    println!("{found} found, {harmless} harmless");
    assert!(found > 20);
}

#[test]
fn a_file_that_is_no_database_is_refused_untouched() {
    let whole = MemFiles::new();
    drop(open(&whole).unwrap());
    let whole = whole.contents("state.redb").unwrap();
    for contents in
        [vec![], vec![0; 8192], value(100_000, 1), whole[..whole.len() / 2].to_vec(), whole[..10].to_vec()]
    {
        let files = MemFiles::new();
        files.set_contents("state.redb", contents.clone());
        let error = open(&files).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{} bytes: {error}", contents.len());
        assert!(files.contents("state.redb").unwrap() == contents, "{} bytes changed", contents.len());
    }
}

#[test]
fn a_full_disk_delays_a_checkpoint_and_loses_nothing() {
    let files = MemFiles::new();
    let mut store = open(&files).unwrap();
    let mut model = fill(&mut store, GROUP, 100, 3);
    let mut random = random(4);
    checkpoint(&mut store).unwrap();
    let durable = model.state;
    for round in 0..4u64 {
        for number in 0..30 {
            let key = format!("key/{:04}", random() % 60);
            let value = (!random().is_multiple_of(4)).then(|| value(800, round << 8 | number));
            apply(&mut store, &mut model, GROUP, key.as_bytes(), value);
        }
        files.set_capacity(Some(files.used_bytes() + 100_000));
        let syncs = files.syncs();
        let job = store.begin_checkpoint().unwrap();
        assert!(job.estimated_bytes() > 0);
        assert_eq!(job.run().map(|_| ()), Err(StoreError::Disk(DiskError::NoSpace)));
        assert_eq!(files.syncs(), syncs, "the database was not touched");
        assert_eq!(read(&store, GROUP).unwrap(), model);
        store.abort_checkpoint();
        assert!(!store.checkpoint_running());
        assert_eq!(read(&store, GROUP).unwrap(), model);
        assert_eq!(store.checkpointed(GROUP), durable);
    }
    files.set_capacity(None);
    checkpoint(&mut store).unwrap();
    assert_eq!(store.overlay_bytes(), 0);
    drop(store);
    files.crash(&mut || 0);
    assert_eq!(read(&open(&files).unwrap(), GROUP).unwrap(), model);
}

/// Whatever space there is: a checkpoint is refused in time, or fits.
#[test]
fn the_estimate_of_space_is_enough() {
    let mut capacity = 64 * 1024;
    let (mut refused, mut fitted) = (0, 0);
    while capacity < 256 * 1024 * 1024 {
        let files = MemFiles::new();
        let mut store = open(&files).unwrap();
        let mut model = GroupModel::default();
        let mut random = random(capacity);
        files.set_capacity(Some(files.used_bytes() + capacity));
        for _ in 0..12 {
            for _ in 0..60 {
                let key = random().to_be_bytes();
                let bytes = [10, 100, 3_000, 30_000, 70_000][(random() % 5) as usize];
                apply(&mut store, &mut model, GROUP, &key, Some(value(bytes, 1)));
            }
            let job = store.begin_checkpoint().unwrap();
            match job.run() {
                Ok(done) => {
                    store.finish_checkpoint(done);
                    fitted += 1;
                }
                Err(StoreError::Disk(DiskError::NoSpace)) => {
                    store.abort_checkpoint();
                    refused += 1;
                }
                Err(error) => panic!("with {capacity} bytes: {error}"),
            }
        }
        assert_eq!(read(&store, GROUP).unwrap(), model);
        capacity *= 3;
    }
    println!("{refused} refused, {fitted} fitted");
    assert!(refused > 5 && fitted > 5);
}

#[test]
fn a_disk_without_room_for_a_store_says_so() {
    let files = MemFiles::new();
    files.set_capacity(Some(1000));
    let error = open(&files).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("space"), "{error}");
    files.set_capacity(None);
    assert_eq!(open(&files).unwrap().state(GROUP), GroupModel::default().state);
}

/// A sync that fails is final, and nothing is lost by starting again.
#[test]
fn a_failed_sync_is_final() {
    for nth in 1..6 {
        let files = MemFiles::new();
        let mut store = open(&files).unwrap();
        let mut model = fill(&mut store, GROUP, 30, 3);
        checkpoint(&mut store).unwrap();
        let old = model.clone();
        apply(&mut store, &mut model, GROUP, b"key", Some(value(100, 1)));
        files.fail_sync(nth);
        let failed = checkpoint(&mut store).is_err();
        if failed {
            apply(&mut store, &mut GroupModel::default(), GROUP, b"more", Some(vec![1]));
            assert_eq!(store.begin_checkpoint().map(|_| ()), None, "it was not aborted");
        }
        drop(store);
        files.crash(&mut random(nth));
        let found = read(&open(&files).unwrap(), GROUP).unwrap();
        assert!(found == model || (failed && found == old), "sync {nth}");
    }
}
