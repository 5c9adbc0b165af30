//! A small state machine over the store, and a model that does the same in memory.

use std::{collections::BTreeMap, sync::Arc};

use storage::{
    GroupState, MemFiles, ReadRows, Row, RowMeta, SnapshotPiece, Store, StoreError, StoreOptions, WriteRows,
    rows::row_hash,
};
use types::GroupId;

/// Small, so that pages are evicted while they are written.
pub const OPTIONS: StoreOptions = StoreOptions { cache_bytes: 64 * 1024 };

pub fn open(files: &MemFiles) -> Result<Store, StoreError> {
    Store::open(Arc::new(files.clone()), OPTIONS)
}

/// SplitMix64.
pub fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One group as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupModel {
    pub state: GroupState,
    pub rows: BTreeMap<Vec<u8>, Row>,
}

/// All groups as they should be; a group that was never written is absent.
pub type Model = BTreeMap<GroupId, GroupModel>;

/// Bytes that do not compress, and that differ for each `salt`.
pub fn value(bytes: usize, salt: u64) -> Vec<u8> {
    let mut random = random(salt);
    let mut value = Vec::with_capacity(bytes + 8);
    while value.len() < bytes {
        value.extend_from_slice(&random().to_le_bytes());
    }
    value.truncate(bytes);
    value
}

/// Applies one entry that puts `value`, or deletes if there is none, as a keyspace would: to the
/// store and to the model.
pub fn apply(store: &mut Store, model: &mut GroupModel, group: GroupId, key: &[u8], value: Option<Vec<u8>>) {
    let mut state = store.state(group);
    let old = store.meta(group, key).expect("the disk is good");
    if let Some(old) = &old {
        state.state_hash = state.state_hash.wrapping_sub(row_hash(key, old));
        state.keys -= 1;
        state.bytes -= key.len() as u64 + old.value_bytes;
    }
    state.applied_index += 1;
    state.applied_term = 1 + state.applied_index / 7;
    match value {
        Some(value) => {
            state.revision += 1;
            let row = Row {
                create_revision: old.map_or(state.revision, |old| old.create_revision),
                mod_revision: state.revision,
                version: old.map_or(0, |old| old.version) + 1,
                value,
            };
            state.state_hash = state.state_hash.wrapping_add(row_hash(key, &RowMeta::of(&row)));
            state.keys += 1;
            state.bytes += key.len() as u64 + row.value.len() as u64;
            model.rows.insert(key.to_vec(), row.clone());
            store.put(group, key, row);
        }
        None if old.is_some() => {
            state.revision += 1;
            model.rows.remove(key);
            store.delete(group, key);
        }
        None => {}
    }
    store.set_state(group, state);
    model.state = state;
}

/// Writes everything out.
pub fn checkpoint(store: &mut Store) -> Result<(), StoreError> {
    if let Some(job) = store.begin_checkpoint() {
        let done = job.run()?;
        store.finish_checkpoint(done);
    }
    Ok(())
}

/// All rows and the state of a group.
pub fn read(store: &Store, group: GroupId) -> Result<GroupModel, StoreError> {
    let mut rows = BTreeMap::new();
    store.scan(group, &[], None, &mut |key, row| {
        assert!(rows.last_key_value().is_none_or(|(last, _): (&Vec<u8>, _)| last[..] < *key));
        rows.insert(key.to_vec(), row);
        true
    })?;
    Ok(GroupModel { state: store.state(group), rows })
}

/// A group's whole snapshot.
pub fn snapshot(store: &Store, group: GroupId) -> Result<Vec<SnapshotPiece>, StoreError> {
    let mut reader = store.open_snapshot(group)?;
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_chunk()? {
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Fills a group with rows of every size class, some overwritten and some deleted.
pub fn fill(store: &mut Store, group: GroupId, entries: u64, seed: u64) -> GroupModel {
    let mut model = GroupModel::default();
    let mut random = random(seed);
    for _ in 0..entries {
        let key = format!("key/{:04}", random() % (entries / 2 + 1));
        let bytes = [0, 3, 64, 65, 300, 5_000, 40_000][(random() % 7) as usize];
        let value = (!random().is_multiple_of(5)).then(|| value(bytes, random()));
        apply(store, &mut model, group, key.as_bytes(), value);
    }
    model
}
