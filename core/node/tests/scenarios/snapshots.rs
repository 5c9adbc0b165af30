//! Snapshots under disturbance: repeated, displaced, delayed, and with a slow or full disk beside them.

use types::{Limits, NodeId};
use wire::{PeerBody, PeerMessage, message::SnapshotChunk};

use crate::cluster::{Cluster, put};

/// A cluster in which one node needs a snapshot and has just come back, cut off; its leader; that node.
/// Every change is reason enough for a checkpoint.
fn lagging() -> (Cluster, NodeId, NodeId) {
    let limits = Limits {
        segment_bytes: 64 * 1024,
        log_bytes_per_checkpoint: 1,
        log_cache_bytes_max: 16 * 1024,
        ..Limits::default()
    };
    let mut cluster = Cluster::new(3, limits);
    cluster.full.extend((0..3).map(NodeId));
    let leader = cluster.elect();
    let lagging = (0..3).map(NodeId).find(|node| *node != leader).expect("there are three");
    // Nothing is checkpointed there: it will have something to write as soon as there is room.
    let disk = cluster.kill(lagging);
    cluster.full.clear();
    cluster.run_ms(1_500);
    for number in 0..100 {
        cluster.call(leader, put(&format!("k{number}"), &"x".repeat(600))).expect("it succeeds");
    }
    cluster.full.insert(lagging);
    cluster.boot(lagging, disk);
    cluster.cut.insert((lagging, leader));
    (cluster, leader, lagging)
}

/// Lets the leader send its snapshot, and answers the chunk, which is the only one, undelivered.
fn caught_chunk(cluster: &mut Cluster, leader: NodeId, lagging: NodeId) -> (PeerMessage, SnapshotChunk) {
    cluster.cut.clear();
    cluster.catch_snapshots = true;
    for _ in 0..200 {
        cluster.run_ms(20);
        for (from, to, message) in &cluster.sent {
            if let Some(PeerBody::SnapshotChunk(chunk)) = &message.body
                && (*from, *to) == (leader, lagging)
            {
                assert!(chunk.last && chunk.number == 0);
                return (message.clone(), chunk.clone());
            }
        }
    }
    panic!("the leader sends no snapshot");
}

fn with(message: &PeerMessage, chunk: SnapshotChunk) -> PeerMessage {
    PeerMessage { body: Some(PeerBody::SnapshotChunk(chunk)), ..message.clone() }
}

fn assert_catches_up(cluster: &mut Cluster, leader: NodeId, lagging: NodeId) {
    cluster.catch_snapshots = false;
    cluster.full.clear();
    cluster.run_ms(3_000);
    let state = |node| cluster.machines[&node].node.group_state(cluster.group());
    assert_eq!(state(lagging), state(leader));
}

#[test]
fn another_transfer_does_not_displace_a_snapshot_that_was_accepted() {
    let (mut cluster, leader, lagging) = lagging();
    let (message, chunk) = caught_chunk(&mut cluster, leader, lagging);
    let another = SnapshotChunk { transfer: chunk.transfer + 1, data: Default::default(), ..chunk };
    cluster.inject(leader, lagging, message.clone());
    cluster.inject(leader, lagging, with(&message, another));
    cluster.settle();
    assert_catches_up(&mut cluster, leader, lagging);
}

#[test]
fn a_long_pause_does_not_lose_a_snapshot_that_was_accepted() {
    let (mut cluster, leader, lagging) = lagging();
    let (message, _) = caught_chunk(&mut cluster, leader, lagging);
    cluster.inject(leader, lagging, message);
    cluster.now.mono_ms += 20_000;
    cluster.run_ms(20);
    assert_catches_up(&mut cluster, leader, lagging);
}

#[test]
fn a_sender_whose_clock_went_back_is_heard_soon() {
    let (mut cluster, leader, lagging) = lagging();
    let (message, chunk) = caught_chunk(&mut cluster, leader, lagging);
    let abandoned = SnapshotChunk { transfer: chunk.transfer + 1_000_000, last: false, ..chunk };
    cluster.inject(leader, lagging, with(&message, abandoned));
    assert_catches_up(&mut cluster, leader, lagging);
}

#[test]
fn the_log_keeps_its_old_entries_until_it_begins_at_the_installed_snapshot() {
    let (mut cluster, leader, lagging) = lagging();
    let (message, _) = caught_chunk(&mut cluster, leader, lagging);
    let group = cluster.group();
    cluster.slow.insert(lagging);
    cluster.inject(leader, lagging, message);
    cluster.settle();
    let installed = cluster.machines[&lagging].node.group_state(group).applied_index;
    assert!(installed > 100, "the snapshot is installed");
    // A checkpoint that was refused for want of space is tried again, and succeeds now.
    cluster.full.clear();
    cluster.run_ms(1_500);
    let retained = &cluster.machines[&lagging].retained;
    assert!(!retained.is_empty(), "a checkpoint was made");
    assert_eq!(retained.get(&group), None, "the log does not begin at the snapshot yet");
    cluster.slow.clear();
    assert_catches_up(&mut cluster, leader, lagging);
    for number in 0..60 {
        cluster.call(leader, put(&format!("k{number}"), &"y".repeat(600))).expect("it succeeds");
    }
    assert!(cluster.machines[&lagging].retained.get(&group).is_some_and(|needed| *needed > installed));
}
