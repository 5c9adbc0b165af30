//! What nodes say to each other. Protocol Buffers encoding, so that fields can be added; field
//! numbers are never reused. The engine's own message types never appear on the wire.

/// One message to a peer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerMessage {
    /// The Raft group it concerns.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// What is said. Absent when a newer peer says something unknown: ignored, and counted.
    #[prost(oneof = "PeerBody", tags = "2, 3, 4, 5, 6")]
    pub body: Option<PeerBody>,
    /// The sender's hybrid logical clock ([`types::Hlc`]) as it sent it; 0 when it says none. Whatever it is, the
    /// message counts.
    #[prost(fixed64, tag = "50")]
    pub hlc: u64,
}

/// The kinds of message.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PeerBody {
    /// Consensus.
    #[prost(message, tag = "2")]
    Raft(RaftMessage),
    /// A client's request, sent on to the leader.
    #[prost(message, tag = "3")]
    Forward(Forward),
    /// The leader's answer to it.
    #[prost(message, tag = "4")]
    ForwardReply(ForwardReply),
    /// A piece of a snapshot.
    #[prost(message, tag = "5")]
    SnapshotChunk(SnapshotChunk),
    /// The receiver's word on a snapshot.
    #[prost(message, tag = "6")]
    SnapshotAck(SnapshotAck),
}

/// A Raft message (Ongaro's thesis, chapters 3, 4, 6 and 9; etcd's message set).
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftMessage {
    /// A [`RaftKind`].
    #[prost(enumeration = "RaftKind", tag = "1")]
    pub kind: i32,
    /// Sender's term (or the term it would campaign in, for pre-votes).
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Term of the entry at `index`.
    #[prost(uint64, tag = "3")]
    pub log_term: u64,
    /// Log index; its meaning depends on the kind.
    #[prost(uint64, tag = "4")]
    pub index: u64,
    /// Entries to append.
    #[prost(message, repeated, tag = "5")]
    pub entries: Vec<WireEntry>,
    /// Sender's commit index.
    #[prost(uint64, tag = "6")]
    pub commit: u64,
    /// Term of the entry at `commit`.
    #[prost(uint64, tag = "7")]
    pub commit_term: u64,
    /// Whether the request was refused.
    #[prost(bool, tag = "8")]
    pub reject: bool,
    /// Where the refusing follower's log ends, so that the leader can skip back.
    #[prost(uint64, tag = "9")]
    pub reject_hint: u64,
    /// Opaque context: ReadIndex, campaign type.
    #[prost(bytes = "vec", tag = "10")]
    pub context: Vec<u8>,
    /// Index that a follower asks a snapshot for.
    #[prost(uint64, tag = "11")]
    pub request_snapshot: u64,
    /// Position of a snapshot, for [`RaftKind::Snapshot`]; its data travels in chunks.
    #[prost(uint64, tag = "12")]
    pub snapshot_index: u64,
    /// Term at `snapshot_index`.
    #[prost(uint64, tag = "13")]
    pub snapshot_term: u64,
    /// Voters at `snapshot_index`, by node number.
    #[prost(uint64, repeated, tag = "14")]
    pub snapshot_voters: Vec<u64>,
    /// Sender's election priority.
    #[prost(int64, tag = "15")]
    pub priority: i64,
}

/// Kinds of Raft message that may cross the network. Anything else from a peer is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum RaftKind {
    /// Never sent; what an unknown number decodes to.
    Unspecified = 0,
    /// Append entries.
    Append = 1,
    /// Its answer.
    AppendResponse = 2,
    /// Ask for a vote.
    RequestVote = 3,
    /// Its answer.
    RequestVoteResponse = 4,
    /// Announce a snapshot.
    Snapshot = 5,
    /// Leader's heartbeat.
    Heartbeat = 6,
    /// Its answer.
    HeartbeatResponse = 7,
    /// Ask whether a vote could be won (thesis 9.6).
    RequestPreVote = 8,
    /// Its answer.
    RequestPreVoteResponse = 9,
    /// Leadership transfer: campaign now (thesis 3.10).
    TimeoutNow = 10,
    /// A follower asks the leader to hand over to it.
    TransferLeader = 11,
}

/// One log entry on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireEntry {
    /// Index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Command.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: bytes::Bytes,
}

/// A request sent on to the leader.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Forward {
    /// Chosen by the sender; comes back in the reply.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Milliseconds that the client still waits, counted from arrival.
    #[prost(uint64, tag = "2")]
    pub timeout_ms: u64,
    /// The encoded request (`keyspace::codec`).
    #[prost(bytes = "bytes", tag = "3")]
    pub request: bytes::Bytes,
    /// Tries so far, the first is 1.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
    /// The term in which the sender knows the receiver as leader. In any other term the receiver
    /// refuses, so that a copy that outlived a restart is never carried out twice.
    #[prost(uint64, tag = "5")]
    pub term: u64,
    /// The sender's boot; `id` counts up from 1 within it.
    #[prost(uint64, tag = "6")]
    pub boot: u64,
}

/// The answer to a [`Forward`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardReply {
    /// The request's id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The encoded answer (`node::codec`).
    #[prost(bytes = "bytes", tag = "2")]
    pub reply: bytes::Bytes,
    /// The boot of the [`Forward`].
    #[prost(uint64, tag = "3")]
    pub boot: u64,
}

/// A piece of a snapshot, in order from 0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotChunk {
    /// The transfer, unique per sender and boot.
    #[prost(uint64, tag = "1")]
    pub transfer: u64,
    /// Number of this chunk, from 0.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// Encoded and checksummed rows (`storage::snapshot`).
    #[prost(bytes = "bytes", tag = "3")]
    pub data: bytes::Bytes,
    /// Whether it is the last.
    #[prost(bool, tag = "4")]
    pub last: bool,
    /// The announcement, a [`RaftKind::Snapshot`], on every chunk.
    #[prost(message, optional, tag = "5")]
    pub announce: Option<RaftMessage>,
}

/// The receiver's word on a transfer.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SnapshotAck {
    /// The transfer.
    #[prost(uint64, tag = "1")]
    pub transfer: u64,
    /// Chunks received so far: the next number expected.
    #[prost(uint64, tag = "2")]
    pub next: u64,
    /// The receiver gave up (wrong chunk, checksum, space): start again.
    #[prost(bool, tag = "3")]
    pub failed: bool,
    /// The snapshot is installed, or was not needed.
    #[prost(bool, tag = "4")]
    pub done: bool,
}
