//! Messages that no correct peer sends, at a group in any state: an error or nothing, never a panic.

use crate::cluster::{Cluster, Envelope, Setup};
use bytes::Bytes;
use proptest::prelude::*;
use raft_group::{INDEX_MAX, TERM_MAX};
use types::NodeId;
use wire::message::{RaftKind, RaftMessage, WireEntry};

fn number(max: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => 0..8_u64,
        2 => 0..40_u64,
        1 => prop_oneof![Just(max - 1), Just(max), Just(max + 1), Just(u64::MAX), any::<u64>()],
    ]
}

fn entries() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((number(TERM_MAX), number(INDEX_MAX)), 0..4)
}

prop_compose! {
    fn message()(
        kind in prop_oneof![20 => 1..12_i32, 1 => any::<i32>()],
        terms in (number(TERM_MAX), number(TERM_MAX), number(TERM_MAX), number(TERM_MAX)),
        indexes in (number(INDEX_MAX), number(INDEX_MAX), number(INDEX_MAX), number(INDEX_MAX)),
        entries in entries(),
        in_order in prop::bool::weighted(0.8),
        reject in any::<bool>(),
        context in prop_oneof![
            8 => Just(Vec::new()),
            1 => Just(b"CampaignTransfer".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..80),
        ],
        extra in prop_oneof![10 => Just((0, 0)), 1 => (number(INDEX_MAX), any::<i64>())],
        voters in prop_oneof![10 => Just(vec![0, 1, 2]), 1 => prop::collection::vec(0..4_u64, 0..4)],
    ) -> RaftMessage {
        let carries = kind == RaftKind::Append as i32 || !in_order;
        let entries = entries.into_iter().enumerate().filter(|_| carries).map(|(i, (term, index))| {
            let (index, term) = if in_order {
                (indexes.0.saturating_add(1 + i as u64), terms.0.min(terms.1.saturating_add(i as u64)))
            } else {
                (index, term)
            };
            WireEntry { index, term, data: Bytes::from_static(b"x") }
        });
        RaftMessage {
            kind,
            term: terms.0,
            log_term: terms.1,
            index: indexes.0,
            entries: entries.collect(),
            commit: indexes.1,
            commit_term: terms.2,
            reject,
            reject_hint: indexes.2,
            context,
            request_snapshot: extra.0,
            snapshot_index: indexes.3,
            snapshot_term: terms.3,
            snapshot_voters: voters,
            priority: extra.1,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Forge(u64, RaftMessage),
    Tick,
    Persist,
    Propose,
    Read,
    Exchange,
    Checkpoint,
    Report(u64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (prop_oneof![20 => 0..3_u64, 1 => any::<u64>()], message()).prop_map(|(from, m)| Step::Forge(from, m)),
        6 => Just(Step::Tick),
        4 => Just(Step::Persist),
        2 => Just(Step::Propose),
        1 => Just(Step::Read),
        2 => Just(Step::Exchange),
        1 => Just(Step::Checkpoint),
        1 => (0..3_u64, any::<bool>()).prop_map(|(to, ok)| Step::Report(to, ok)),
    ]
}

/// Node 0 is lied to by both its peers; correct messages pass in between. The peers run as they
/// will, and may refuse what node 0 was led to say.
fn attack(steps: Vec<Step>) -> usize {
    let setup = Setup { election_ticks: 3, heartbeat_ticks: 1, log_cache_bytes_max: 200, ..Setup::default() };
    let mut cluster = Cluster::new(setup);
    let mut accepted = 0;
    for step in steps {
        match step {
            Step::Forge(from, message) => {
                let before = cluster.group(0).status();
                match cluster.deliver_alone(0, from, message) {
                    Ok(()) => accepted += 1,
                    Err(_) => assert_eq!(cluster.group(0).status(), before, "an error changed something"),
                }
            }
            Step::Tick => {
                cluster.tick(0);
            }
            Step::Persist => {
                cluster.persist_one(0);
            }
            Step::Propose => {
                let _ = cluster.propose(0, &["y"]);
            }
            Step::Read => {
                let _ = cluster.read_index(0);
            }
            Step::Exchange => {
                for node in 1..3 {
                    while cluster.persist_one(node) {}
                }
                for envelope in std::mem::take(&mut cluster.network) {
                    let Envelope { from, to, message } = envelope;
                    let _ = cluster.deliver_alone(to, from, message);
                }
            }
            Step::Checkpoint => cluster.checkpoint(0),
            Step::Report(to, ok) => {
                cluster.with(0, |group| group.report_snapshot(NodeId(to), ok));
            }
        }
    }
    accepted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_peer_stops_the_process(steps in prop::collection::vec(step(), 1..250)) {
        attack(steps);
    }
}

/// The engine would parse the data of its configuration-change entries; a peer cannot name one. Bytes
/// that are such a change stay bytes.
#[test]
fn entry_data_is_never_parsed() {
    // ConfChange { change_type: RemoveNode, node_id: 2 } and ConfChangeV2 with the same, encoded.
    let changes: [&[u8]; 2] = [&[0x10, 0x01, 0x18, 0x02], &[0x12, 0x04, 0x08, 0x01, 0x10, 0x02]];
    let mut cluster = Cluster::new(Setup::default());
    let entry = |index, data| WireEntry { index, term: 1, data: Bytes::from_static(data) };
    let message = RaftMessage {
        kind: RaftKind::Append as i32,
        term: 1,
        entries: vec![entry(1, changes[0]), entry(2, changes[1])],
        commit: 2,
        ..RaftMessage::default()
    };
    cluster.deliver(Envelope { from: 1, to: 0, message }).unwrap();
    cluster.persist_one(0);
    assert_eq!(cluster.group(0).status().voters, [NodeId(0), NodeId(1), NodeId(2)]);
    let data: Vec<&[u8]> = cluster.committed.values().map(|(_, entry)| &entry.data[..]).collect();
    assert_eq!(data, changes);
}

/// The engine's message types have a parser; this crate never calls it.
#[test]
fn the_engines_parser_is_not_called() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for call in ["parse_from", "merge_from", "merge_field", "CodedInputStream", "set_entry_type"] {
            assert!(!text.contains(call), "{} calls {call}", path.display());
        }
    }
}

/// What leaves a group is understood by its peers whatever the wire did to unused fields: a message
/// survives its encoding.
#[test]
fn messages_survive_their_encoding() {
    use prost::Message as _;
    let mut cluster = Cluster::new(Setup { log_cache_bytes_max: 0, ..Setup::default() });
    cluster.elect(0);
    for round in 0..20 {
        cluster.propose(0, &["a", "b"]).unwrap();
        cluster.read_index(0);
        let mut quiet = false;
        while !quiet {
            for node in 0..3 {
                while cluster.persist_one(node) {}
            }
            let messages = std::mem::take(&mut cluster.network);
            quiet = messages.is_empty();
            for mut envelope in messages {
                let bytes = envelope.message.encode_to_vec();
                envelope.message = RaftMessage::decode(&bytes[..]).unwrap();
                if round % 5 != 4 || envelope.to != 2 {
                    cluster.deliver(envelope).unwrap();
                }
            }
        }
        if round % 5 == 4 {
            cluster.checkpoint(0);
        }
        cluster.tick(0);
    }
    cluster.assert_safe();
    assert!(cluster.trace.contains("Snapshot"), "the round trip covered a snapshot");
}
