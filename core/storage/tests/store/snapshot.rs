//! Snapshots between two stores: whole ones arrive as they were sent, damaged ones never do.

use bytes::Bytes;
use storage::{MemFiles, ReadRows, SnapshotReader, Store, StoreError};
use types::{GroupId, LogPosition, limits::SNAPSHOT_CHUNK_BYTES};

use crate::support::{GroupModel, apply, checkpoint, fill, open, random, read, snapshot, value};

const GROUP: GroupId = GroupId(7);

fn position(model: &GroupModel) -> LogPosition {
    LogPosition { index: model.state.applied_index, term: model.state.applied_term }
}

fn sender(entries: u64) -> (Store, GroupModel) {
    let mut store = open(&MemFiles::new()).unwrap();
    fill(&mut store, GroupId(6), 5, 1);
    fill(&mut store, GroupId(8), 5, 2);
    let model = fill(&mut store, GROUP, entries, 3);
    checkpoint(&mut store).unwrap();
    (store, model)
}

fn install(store: &mut Store, pieces: &[Bytes], expected: LogPosition) -> Result<(), StoreError> {
    let mut staging = store.begin_staging(GROUP)?;
    for piece in pieces {
        staging.append(piece)?;
    }
    let job = store.begin_install(GROUP, staging, expected)?;
    let done = job.run()?;
    assert_eq!((done.group(), done.position()), (GROUP, expected));
    store.finish_install(done);
    Ok(())
}

fn data(store: &Store) -> Vec<Bytes> {
    snapshot(store, GROUP).unwrap().into_iter().map(|piece| piece.data).collect()
}

#[test]
fn a_snapshot_replaces_one_group_and_no_other() {
    let (sender, model) = sender(900);
    let pieces = snapshot(&sender, GROUP).unwrap();
    assert!(pieces.len() > 3, "many pieces");
    assert!(pieces.iter().rev().skip(1).all(|piece| !piece.last) && pieces.last().unwrap().last);

    let files = MemFiles::new();
    let mut receiver = open(&files).unwrap();
    let before = fill(&mut receiver, GroupId(6), 30, 10);
    let after = fill(&mut receiver, GroupId(8), 30, 11);
    fill(&mut receiver, GROUP, 50, 12);
    checkpoint(&mut receiver).unwrap();
    fill(&mut receiver, GroupId(9), 3, 13);
    install(&mut receiver, &data(&sender), position(&model)).unwrap();
    for _ in 0..2 {
        assert_eq!(read(&receiver, GROUP).unwrap(), model);
        assert_eq!(receiver.checkpointed(GROUP), model.state);
        assert_eq!(receiver.scrub(GROUP).unwrap(), model.state.state_hash);
        assert_eq!(read(&receiver, GroupId(6)).unwrap(), before);
        assert_eq!(read(&receiver, GroupId(8)).unwrap(), after);
        assert_eq!(files.contents("snapshot-7.tmp"), None);
        drop(std::mem::replace(&mut receiver, open(&MemFiles::new()).unwrap()));
        files.crash(&mut || 0);
        receiver = open(&files).unwrap();
    }

    // Life goes on after it, also for values that the snapshot brought.
    let mut model = model;
    for number in 0..40u64 {
        let key = format!("key/{number:04}");
        apply(&mut receiver, &mut model, GROUP, key.as_bytes(), (number % 3 > 0).then(|| value(500, number)));
    }
    checkpoint(&mut receiver).unwrap();
    assert_eq!(read(&receiver, GROUP).unwrap(), model);
    receiver.scrub(GROUP).unwrap();
}

#[test]
fn an_empty_group_and_the_largest_rows_travel() {
    let mut sender = open(&MemFiles::new()).unwrap();
    let mut model = GroupModel::default();
    apply(&mut sender, &mut model, GROUP, b"gone", None);
    checkpoint(&mut sender).unwrap();
    let mut receiver = open(&MemFiles::new()).unwrap();
    install(&mut receiver, &data(&sender), position(&model)).unwrap();
    assert_eq!(read(&receiver, GROUP).unwrap(), model);

    for number in 0..3u8 {
        apply(&mut sender, &mut model, GROUP, &[number; 4096], Some(value(1024 * 1024, number.into())));
    }
    checkpoint(&mut sender).unwrap();
    let pieces = data(&sender);
    assert!(pieces.iter().all(|piece| piece.len() < SNAPSHOT_CHUNK_BYTES + 1100 * 1024));
    install(&mut receiver, &pieces, position(&model)).unwrap();
    assert_eq!(read(&receiver, GROUP).unwrap(), model);
}

/// A snapshot is of one instant, whatever the store does meanwhile.
#[test]
fn an_open_snapshot_does_not_change() {
    let (mut sender, model) = sender(500);
    let whole = data(&sender);
    let mut reader = sender.open_snapshot(GROUP).unwrap();
    let mut pieces = Vec::new();
    let mut changed = model.clone();
    let mut number = 0u64;
    while let Some(piece) = reader.next_chunk().unwrap() {
        pieces.push(piece.data);
        for _ in 0..20 {
            number += 1;
            let key = format!("key/{:04}", number * 7 % 130);
            apply(&mut sender, &mut changed, GROUP, key.as_bytes(), Some(value(2000, number)));
        }
        checkpoint(&mut sender).unwrap();
    }
    assert!(pieces == whole, "the same snapshot");
    assert_eq!((reader.position(), reader.state()), (position(&model), model.state));
    assert_eq!(reader.next_chunk().unwrap(), None);
    assert_eq!(read(&sender, GROUP).unwrap(), changed);
}

fn append_all(receiver: &mut Store, pieces: &[Bytes]) -> Result<bool, StoreError> {
    let mut staging = receiver.begin_staging(GROUP)?;
    for piece in pieces {
        staging.append(piece)?;
    }
    Ok(staging.is_complete())
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (sender, _) = sender(120);
    let pieces = data(&sender);
    let mut receiver = open(&MemFiles::new()).unwrap();
    assert!(append_all(&mut receiver, &pieces).unwrap());
    let mut random = random(5);
    for (number, piece) in pieces.iter().enumerate() {
        // All of the header, and a sample of the payload.
        let sample: Vec<usize> = (0..40).map(|_| random() as usize % piece.len()).collect();
        for at in (0..40).chain(sample).filter(|at| *at < piece.len()) {
            let mut damaged = pieces.clone();
            let mut bytes = piece.to_vec();
            bytes[at] ^= 1 << (random() % 8);
            damaged[number] = bytes.into();
            let error = append_all(&mut receiver, &damaged).unwrap_err();
            assert!(matches!(error, StoreError::BadSnapshot { group: GROUP, .. }), "{number}@{at}: {error}");
        }
    }
}

#[test]
fn pieces_cut_swapped_repeated_or_missing_are_refused() {
    let (sender, model) = sender(500);
    let pieces = data(&sender);
    let mut receiver = open(&MemFiles::new()).unwrap();
    let mut refused = |pieces: Vec<Bytes>| {
        let complete = append_all(&mut receiver, &pieces);
        assert!(!matches!(complete, Ok(true)), "accepted");
    };
    let mut swapped = pieces.clone();
    swapped.swap(1, 2);
    refused(swapped);
    refused([&pieces[..2], &pieces[1..]].concat());
    refused([&pieces[..1], &pieces[2..]].concat());
    refused(pieces[..pieces.len() - 1].to_vec());
    refused(pieces[1..].to_vec());
    refused([&pieces[..], &pieces[pieces.len() - 1..]].concat());
    refused(vec![Bytes::new()]);
    refused(vec![pieces[0].slice(..pieces[0].len() - 1)]);
    refused(vec![pieces[0].slice(..27)]);

    let other = snapshot(&sender, GroupId(8)).unwrap().into_iter().map(|piece| piece.data).collect();
    refused(other);

    let wrong = LogPosition { index: 1, ..position(&model) };
    let error = install(&mut receiver, &pieces, wrong).unwrap_err();
    assert!(matches!(error, StoreError::BadSnapshot { .. }), "{error}");
    let error = install(&mut receiver, &pieces[..1], position(&model)).unwrap_err();
    assert!(matches!(error, StoreError::BadSnapshot { .. }), "{error}");
    install(&mut receiver, &pieces, position(&model)).unwrap();
}

/// Lengths that lie, under a right checksum: nothing is allocated for them.
#[test]
fn a_forged_length_is_refused() {
    let forged = |payload_bytes: u32, packed: &[u8]| {
        let mut piece = b"QRS1".to_vec();
        piece.extend_from_slice(&1u32.to_le_bytes());
        piece.extend_from_slice(&0u64.to_le_bytes());
        piece.extend_from_slice(&payload_bytes.to_le_bytes());
        piece.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&piece);
        hasher.update(packed);
        piece.extend_from_slice(&hasher.finalize().to_le_bytes());
        piece.extend_from_slice(packed);
        Bytes::from(piece)
    };
    let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 1).unwrap();
    let mut row = GROUP.0.to_le_bytes().to_vec();
    row.extend_from_slice(&[0; 56]);
    row.extend_from_slice(&[255; 32]);
    let long_row = zstd::bulk::compress(&row, 1).unwrap();
    let mut receiver = open(&MemFiles::new()).unwrap();
    for piece in [
        forged(u32::MAX, &bomb),
        forged(64 * 1024 * 1024, &bomb),
        forged(1024, &bomb),
        forged(96, &long_row),
        forged(97, &long_row),
        forged(10, b"not zstd"),
        forged(0, b""),
    ] {
        let error = append_all(&mut receiver, &[piece]).unwrap_err();
        assert!(matches!(error, StoreError::BadSnapshot { .. }), "{error}");
    }
}

#[test]
fn a_staging_is_gone_after_a_restart_or_discard() {
    let (sender, _) = sender(20);
    let files = MemFiles::new();
    let mut receiver = open(&files).unwrap();
    let mut staging = receiver.begin_staging(GROUP).unwrap();
    let first = &data(&sender)[0];
    staging.append(first).unwrap();
    assert_eq!((staging.pieces(), staging.received_bytes()), (1, first.len() as u64));
    assert_eq!(staging.group(), GROUP);
    staging.discard().unwrap();
    assert!(files.contents("snapshot-7.tmp").is_none());
    receiver.begin_staging(GROUP).unwrap().append(first).unwrap();
    files.set_contents("state.redb.tmp", vec![1, 2, 3]);
    drop(receiver);
    assert!(files.contents("snapshot-7.tmp").is_some());
    let receiver = open(&files).unwrap();
    assert!(files.contents("snapshot-7.tmp").is_none());
    assert!(files.contents("state.redb.tmp").is_none());
    assert_eq!(receiver.state(GROUP), GroupModel::default().state);
}

/// What crosses threads may.
#[test]
fn jobs_and_readers_are_send() {
    fn send<T: Send + 'static>() {}
    send::<Store>();
    send::<SnapshotReader>();
    send::<storage::CheckpointJob>();
    send::<storage::CheckpointDone>();
    send::<storage::InstallJob>();
    send::<storage::InstallDone>();
    send::<storage::ScrubJob>();
    send::<storage::Staging>();
}
