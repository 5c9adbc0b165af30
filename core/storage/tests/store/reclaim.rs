//! Groups that are no more: their rows go in bounded steps, whatever stops the machine between them.

use storage::{MemFiles, ReadRows, Store};
use types::GroupId;

use crate::support::{GroupModel, apply, checkpoint, fill, open, read, value};

const GONE: GroupId = GroupId(64);
const OTHER: GroupId = GroupId(128);

/// One step; answers whether the group is gone.
fn step(store: &mut Store) -> bool {
    let job = store.begin_reclaim(GONE).expect("nothing else runs");
    let done = job.run().expect("there is space");
    assert_eq!(done.group(), GONE);
    store.finish_reclaim(done)
}

#[test]
fn rows_go_step_by_step_and_no_other_group_changes() {
    let files = MemFiles::new();
    let mut store = open(&files).unwrap();
    let mut model = GroupModel::default();
    for number in 0..2_500_u64 {
        let key = format!("k{number}");
        apply(
            &mut store,
            &mut model,
            GONE,
            key.as_bytes(),
            Some(value(20 + 100 * (number as usize % 2), number)),
        );
    }
    let other = fill(&mut store, OTHER, 50, 2);
    checkpoint(&mut store).unwrap();
    store.forget(GONE);
    let rows = |store: &Store| read(store, GONE).unwrap().rows.len();
    let mut left = rows(&store);
    let mut steps = 0;
    while !step(&mut store) {
        steps += 1;
        assert!(rows(&store) < left, "each step removes some");
        left = rows(&store);
        assert!(store.groups().contains(&GONE), "it is listed while anything of it is left");
        // As after a crash: what was removed stays removed.
        drop(store);
        store = open(&files).unwrap();
        assert_eq!(rows(&store), left);
    }
    assert!(steps > 0, "several steps");
    assert_eq!(store.groups(), [OTHER]);
    assert_eq!(rows(&store), 0);
    assert_eq!(read(&store, OTHER).unwrap(), other);
    assert_eq!(store.scrub(OTHER).unwrap(), other.state.state_hash);
}

/// What was applied since the last checkpoint goes with the group, also when the checkpoint that had it fails.
#[test]
fn a_forgotten_group_is_in_no_later_checkpoint() {
    let files = MemFiles::new();
    let mut store = open(&files).unwrap();
    fill(&mut store, GONE, 20, 1);
    let job = store.begin_checkpoint().expect("there are changes");
    fill(&mut store, OTHER, 5, 2);
    store.forget(GONE);
    assert!(store.begin_reclaim(GONE).is_none(), "the checkpoint may yet write its rows");
    drop(job);
    store.abort_checkpoint();
    checkpoint(&mut store).unwrap();
    assert_eq!(store.groups(), [OTHER]);
    assert_eq!(store.state(GONE), storage::GroupState::default());
}
