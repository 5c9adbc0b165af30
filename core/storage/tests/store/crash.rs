//! The machine stops at any operation of a job: what opens afterwards is the old state or the new
//! one, of all groups together.

use storage::{MemFiles, Store};
use types::{GroupId, LogPosition};

use crate::support::{GroupModel, Model, apply, checkpoint, fill, open, random, read, snapshot, value};

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];

fn read_all(store: &Store) -> Model {
    GROUPS.into_iter().map(|group| (group, read(store, group).unwrap())).collect()
}

/// A store with something on disk, and its files.
fn prepared(seed: u64) -> (MemFiles, Store, Model) {
    let files = MemFiles::new();
    let mut store = open(&files).unwrap();
    let model = GROUPS.map(|group| (group, fill(&mut store, group, 30, seed ^ group.0)));
    checkpoint(&mut store).unwrap();
    (files, store, Model::from(model))
}

/// Runs `job` on copies of a prepared disk, stopping after ever more operations until it succeeds.
/// The copies are made by doing the same again: equal calls give equal disks.
fn stop_everywhere(seed: u64, job: &dyn Fn(&mut Store, &mut Model) -> bool) {
    println!("seed {seed}");
    let (mut kept_old, mut kept_new) = (0, 0);
    for operations in 0.. {
        let (files, mut store, old) = prepared(seed);
        let mut new = old.clone();
        files.halt_after(operations);
        let succeeded = job(&mut store, &mut new);
        drop(store);
        files.crash(&mut random(seed ^ operations));
        let store = open(&files).unwrap_or_else(|error| panic!("after {operations} operations: {error}"));
        let found = read_all(&store);
        GROUPS.iter().for_each(|group| assert!(store.scrub(*group).is_ok()));
        if found == new {
            kept_new += 1;
        } else {
            assert!(found == old, "after {operations} operations: neither the old state nor the new");
            assert!(!succeeded, "after {operations} operations: a success was lost");
            kept_old += 1;
        }
        if succeeded {
            break;
        }
    }
    println!("{kept_old} kept the old state, {kept_new} the new");
    assert!(kept_old > 5 && kept_new > 0);
}

#[test]
fn a_checkpoint_is_all_or_nothing() {
    for seed in 0..2 {
        stop_everywhere(seed, &|store, model| {
            for (&group, model) in model.iter_mut() {
                for number in 0..20u64 {
                    let key = format!("key/{number:04}");
                    let value = (number % 4 > 0).then(|| value(number as usize * 40, number));
                    apply(store, model, group, key.as_bytes(), value);
                }
            }
            store.begin_checkpoint().unwrap().run().is_ok()
        });
    }
}

#[test]
fn an_install_is_all_or_nothing() {
    let mut donor = open(&MemFiles::new()).unwrap();
    let group = GROUPS[0];
    let donated = fill(&mut donor, group, 60, 99);
    checkpoint(&mut donor).unwrap();
    let pieces = snapshot(&donor, group).unwrap();
    let position = LogPosition { index: donated.state.applied_index, term: donated.state.applied_term };
    for seed in 0..2 {
        stop_everywhere(seed, &|store, model| {
            let mut install = || {
                let mut staging = store.begin_staging(group)?;
                for piece in &pieces {
                    staging.append(&piece.data)?;
                }
                store.begin_install(group, staging, position)?.run()
            };
            let done = install().is_ok();
            model.insert(group, donated.clone());
            done
        });
    }
}

/// redb cannot always open a file whose creation was interrupted; the store can.
#[test]
fn creation_may_stop_anywhere() {
    for seed in 0..8 {
        for operations in 0.. {
            let files = MemFiles::new();
            files.halt_after(operations);
            let created = open(&files).is_ok();
            files.crash(&mut random(seed ^ (operations << 8)));
            let mut store = open(&files)
                .unwrap_or_else(|error| panic!("seed {seed}, after {operations} operations: {error}"));
            assert_eq!(store.groups(), []);
            apply(&mut store, &mut GroupModel::default(), GROUPS[0], b"key", Some(vec![1]));
            checkpoint(&mut store).unwrap();
            if created {
                break;
            }
        }
    }
}

/// Checkpoints, crashes and reopens many times over on one disk.
#[test]
fn a_disk_outlives_many_crashes() {
    for seed in 0..4 {
        println!("seed {seed}");
        let mut random = random(seed);
        let (files, mut store, mut durable) = prepared(seed);
        for _ in 0..25 {
            let mut model = durable.clone();
            for number in 0..random() % 30 {
                let group = GROUPS[(random() % 2) as usize];
                let key = format!("key/{:04}", random() % 40);
                let value = (!random().is_multiple_of(4)).then(|| value((random() % 3000) as usize, number));
                let model = model.get_mut(&group).unwrap();
                apply(&mut store, model, group, key.as_bytes(), value);
            }
            files.halt_after(random() % 60);
            let succeeded = checkpoint(&mut store).is_ok();
            files.crash(&mut random);
            store = open(&files).unwrap();
            let found = read_all(&store);
            assert!(found == model || (found == durable && !succeeded));
            durable = found;
        }
    }
}
