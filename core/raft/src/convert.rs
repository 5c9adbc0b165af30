//! Between the wire's messages and the engine's.
//!
//! Entries from peers are always of the engine's normal type: its configuration-change types, the
//! only ones whose data it parses, cannot be named on the wire.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb;
use raft::eraftpb::MessageType;
use types::{Entry, NodeId};
use wire::message::{RaftKind, RaftMessage, WireEntry};

/// The engine's id of a node: its number plus one, since 0 means none.
pub(crate) fn engine_id(node: NodeId) -> u64 {
    node.0 + 1
}

/// The node of an engine id; `None` for 0.
pub(crate) fn node_id(id: u64) -> Option<NodeId> {
    id.checked_sub(1).map(NodeId)
}

/// Shares the data; nothing is copied.
pub(crate) fn engine_entry(entry: &Entry) -> eraftpb::Entry {
    eraftpb::Entry {
        term: entry.term,
        index: entry.index,
        data: shared_bytes(&entry.data),
        ..Default::default()
    }
}

pub(crate) fn shared_bytes(data: &Arc<[u8]>) -> Bytes {
    if data.is_empty() { Bytes::new() } else { Bytes::from_owner(Arc::clone(data)) }
}

pub(crate) fn own_entry(entry: &eraftpb::Entry) -> Entry {
    assert_eq!(entry.get_entry_type(), eraftpb::EntryType::EntryNormal, "membership is fixed");
    Entry { index: entry.index, term: entry.term, data: Arc::from(&entry.data[..]) }
}

/// The engine's form of a checked message. Fields that the kind does not use stay behind.
pub(crate) fn to_engine(from: NodeId, kind: RaftKind, message: RaftMessage) -> eraftpb::Message {
    let mut out = eraftpb::Message {
        from: engine_id(from),
        term: message.term,
        commit: message.commit,
        ..Default::default()
    };
    out.set_msg_type(engine_kind(kind));
    match kind {
        RaftKind::Append => {
            (out.index, out.log_term) = (message.index, message.log_term);
            let entries = message.entries.into_iter().map(|entry| eraftpb::Entry {
                index: entry.index,
                term: entry.term,
                data: entry.data,
                ..Default::default()
            });
            out.set_entries(entries.collect::<Vec<_>>().into());
        }
        RaftKind::AppendResponse => {
            (out.index, out.log_term) = (message.index, message.log_term);
            (out.reject, out.reject_hint) = (message.reject, message.reject_hint);
        }
        RaftKind::RequestVote | RaftKind::RequestPreVote => {
            (out.index, out.log_term) = (message.index, message.log_term);
            out.commit_term = message.commit_term;
            out.context = message.context.into();
        }
        RaftKind::RequestVoteResponse | RaftKind::RequestPreVoteResponse => {
            out.reject = message.reject;
            out.commit_term = message.commit_term;
        }
        RaftKind::Snapshot => {
            let metadata = out.mut_snapshot().mut_metadata();
            (metadata.index, metadata.term) = (message.snapshot_index, message.snapshot_term);
            let voters = message.snapshot_voters.iter().map(|node| engine_id(NodeId(*node)));
            metadata.mut_conf_state().voters = voters.collect();
        }
        RaftKind::Heartbeat | RaftKind::HeartbeatResponse => {
            out.context = message.context.into();
        }
        RaftKind::TimeoutNow | RaftKind::TransferLeader | RaftKind::Unspecified => {}
    }
    out
}

/// The wire's form of what the engine wants sent.
pub(crate) fn to_wire(mut message: eraftpb::Message) -> RaftMessage {
    let entries = message.take_entries().into_iter().map(|mut entry| WireEntry {
        index: entry.index,
        term: entry.term,
        data: entry.take_data(),
    });
    let mut out = RaftMessage {
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: entries.collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.to_vec(),
        ..RaftMessage::default()
    };
    out.set_kind(wire_kind(message.get_msg_type()));
    if message.has_snapshot() {
        let metadata = message.get_snapshot().get_metadata();
        (out.snapshot_index, out.snapshot_term) = (metadata.index, metadata.term);
        let voters = metadata.get_conf_state().voters.iter();
        out.snapshot_voters = voters.filter_map(|id| node_id(*id)).map(|node| node.0).collect();
        out.snapshot_voters.sort_unstable();
    }
    out
}

fn engine_kind(kind: RaftKind) -> MessageType {
    match kind {
        RaftKind::Append => MessageType::MsgAppend,
        RaftKind::AppendResponse => MessageType::MsgAppendResponse,
        RaftKind::RequestVote => MessageType::MsgRequestVote,
        RaftKind::RequestVoteResponse => MessageType::MsgRequestVoteResponse,
        RaftKind::Snapshot => MessageType::MsgSnapshot,
        RaftKind::Heartbeat => MessageType::MsgHeartbeat,
        RaftKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        RaftKind::RequestPreVote => MessageType::MsgRequestPreVote,
        RaftKind::RequestPreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        RaftKind::TimeoutNow => MessageType::MsgTimeoutNow,
        RaftKind::TransferLeader => MessageType::MsgTransferLeader,
        RaftKind::Unspecified => unreachable!("refused by the message check"),
    }
}

fn wire_kind(kind: MessageType) -> RaftKind {
    match kind {
        MessageType::MsgAppend => RaftKind::Append,
        MessageType::MsgAppendResponse => RaftKind::AppendResponse,
        MessageType::MsgRequestVote => RaftKind::RequestVote,
        MessageType::MsgRequestVoteResponse => RaftKind::RequestVoteResponse,
        MessageType::MsgSnapshot => RaftKind::Snapshot,
        MessageType::MsgHeartbeat => RaftKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => RaftKind::HeartbeatResponse,
        MessageType::MsgRequestPreVote => RaftKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => RaftKind::RequestPreVoteResponse,
        MessageType::MsgTimeoutNow => RaftKind::TimeoutNow,
        MessageType::MsgTransferLeader => RaftKind::TransferLeader,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => panic!("the engine sends no {kind:?} to peers"),
    }
}
