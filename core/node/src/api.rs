//! What goes into a node and what comes out.

use std::collections::BTreeMap;

use keyspace::{Command, Fence, IdempotencyKey, Outcome, Query, QueryAnswer, Txn};
use storage::{CheckpointDone, CheckpointJob, InstallDone, InstallJob, ReclaimDone, ReclaimJob};
use types::{
    ClusterId, ErrorCode, GroupId, Limits, NodeId, Problem, Receipt, Role, SessionToken, Timing, WriteBatch,
    WriteSeq,
    contract::{Ack, Read},
};
use wire::PeerMessage;

use crate::acquire::{Acquire, Acquired};
use crate::catalog::{CatalogAnswer, CatalogOp};
use crate::lost::{LostAnswer, LostOp};
use crate::watch::{WatchEvent, WatchRequest};

/// Who a node is and how it behaves.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Which member it is.
    pub node: NodeId,
    /// All members, this one included, sorted.
    pub members: Vec<NodeId>,
    /// Keyspaces that the first leader creates when the cluster is new.
    pub keyspaces: Vec<String>,
    /// Speeds.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// Seeds every random choice. Differs on every start of a real node.
    pub seed: u64,
    /// A bug to run with, in builds made to prove that the checkers catch it.
    #[cfg(feature = "planted")]
    pub planted: Option<raft_group::Planted>,
}

impl NodeConfig {
    /// Node `node` of `members`, which are sorted here, with default speeds and bounds, no keyspaces,
    /// and no planted bug.
    pub fn new(cluster: ClusterId, node: NodeId, mut members: Vec<NodeId>, seed: u64) -> NodeConfig {
        members.sort();
        NodeConfig {
            cluster,
            node,
            members,
            keyspaces: Vec::new(),
            timing: Timing::default(),
            limits: Limits::default(),
            seed,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A tick passed.
    Tick,
    /// A peer, authenticated as `from`, said something.
    Peer {
        /// The sender.
        from: NodeId,
        /// What it said.
        message: PeerMessage,
    },
    /// The connection to a peer was lost: what was sent may not have arrived.
    PeerDown(NodeId),
    /// A client asks. Exactly one [`Output::Reply`] with this token follows, at the latest at the deadline.
    Client {
        /// Chosen by the driver, unique among the waiting ones.
        token: u64,
        /// What is asked.
        request: Request,
        /// When the client stops waiting, on the monotonic clock.
        deadline_ms: u64,
    },
    /// A client watches. Any number of [`Output::Watch`] with this token follow, until one of them is
    /// [`WatchEvent::Ended`] or the driver says [`Input::Unwatch`].
    Watch {
        /// Chosen by the driver, unique among the watches.
        token: u64,
        /// What is watched.
        request: WatchRequest,
    },
    /// So many bytes of what a watch was told are off the driver's hands: as many more may follow. A watch begins
    /// with [`types::limits::WATCH_BUFFER_BYTES_MAX`].
    WatchCredit {
        /// Its token; ignored if it ended.
        token: u64,
        /// The bytes, as [`WatchEvent::bytes`] counts them.
        bytes: u64,
    },
    /// Nobody listens to a watch any more.
    Unwatch {
        /// Its token; ignored if it ended.
        token: u64,
    },
    /// All batches up to and including this one are durable.
    Written(WriteSeq),
    /// Whether the disk has room for log entries (reported when it changes).
    LogSpace {
        /// False: client writes are refused with `NO_SPACE`, and entries from a leader are left
        /// unacknowledged, until it is true again.
        entries_accepted: bool,
    },
    /// A checkpoint job ended. `None`: there was no space; nothing changed.
    CheckpointDone(Option<CheckpointDone>),
    /// An install job succeeded.
    InstallDone(InstallDone),
    /// A reclaim job ended. `None`: there was no space; nothing changed.
    ReclaimDone(Option<ReclaimDone>),
}

/// What a client asks of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The keyspace's name.
    pub keyspace: String,
    /// What to do.
    pub op: Op,
    /// How.
    pub options: Options,
}

impl Request {
    /// Asks this of a keyspace, on the terms of its contract.
    pub fn new(keyspace: impl Into<String>, op: Op) -> Request {
        Request { keyspace: keyspace.into(), op, options: Options::default() }
    }
}

/// What a request asks for beyond its keyspace's contract; what it leaves out is as the contract says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// When a write is acknowledged.
    pub ack: Option<Ack>,
    /// What a read guarantees.
    pub read: Option<Read>,
    /// What the session has seen.
    pub session: SessionToken,
    /// What the client calls itself, for the list of lost writes; at most [`CLIENT_BYTES_MAX`] bytes.
    pub client: String,
    /// What the client calls the request, likewise.
    pub request_id: String,
    /// Carry out a write only while this is the fence of a lock's holder.
    pub fence: Option<Fence>,
}

/// Longest name of a client or a request, in bytes: it is in the entry of every write that is acknowledged early.
pub const CLIENT_BYTES_MAX: usize = 64;

impl Options {
    /// Checks what is asked for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, for what no keyspace keeps.
    pub fn validate(&self) -> Result<(), Problem> {
        self.session.validate()?;
        self.read.map_or(Ok(()), Read::validate)?;
        if self.client.len().max(self.request_id.len()) <= CLIENT_BYTES_MAX {
            return Ok(());
        }
        Err(Problem::not_applied(
            ErrorCode::InvalidArgument,
            format!("the name of a client or request is longer than {CLIENT_BYTES_MAX} bytes"),
            "use a shorter one: a UUID has 36",
        ))
    }
}

/// A change or a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Replicated, durable on a majority, then applied.
    Command(Command),
    /// As [`Op::Command`], but carried out at most once for as long as the key is remembered, however
    /// often and wherever it is asked. The node tries it again by itself when a leader is lost.
    Once(IdempotencyKey, Command),
    /// Linearizable read.
    Query(Query),
    /// Of the list of keyspaces, not of a keyspace's keys.
    Catalog(CatalogOp),
    /// Of the list of lost writes; the request's keyspace says nothing.
    Lost(LostOp),
    /// Waits until a lock is held. Its fence is its steps'.
    Acquire(Acquire),
}

impl From<Txn> for Op {
    /// A transaction that changes nothing, whichever way it goes, needs no place in the log.
    fn from(txn: Txn) -> Op {
        if txn.is_read_only() { Op::Query(Query::Txn(txn)) } else { Op::Command(Command::Txn(txn)) }
    }
}

/// An answer with its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub body: ReplyBody,
    /// What it guarantees.
    pub receipt: Receipt,
}

/// The answer to an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// To a command.
    Outcome(Outcome),
    /// To a query.
    Answer(QueryAnswer),
    /// To an operation on the list of keyspaces.
    Catalog(CatalogAnswer),
    /// To an operation on the list of lost writes.
    Lost(LostAnswer),
    /// To a command that was acknowledged before it was applied: what it did is not known yet.
    Accepted,
    /// To [`Op::Acquire`].
    Acquired(Acquired),
}

/// Something the driver must do. Carry them out in the order given.
#[derive(Debug)]
pub enum Output {
    /// Send, best effort: may be lost, repeated or reordered.
    Send {
        /// Whom to.
        to: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// Append to the write-ahead log and sync, in order; then [`Input::Written`]. Several batches may
    /// share one write. If there is no space, keep it and try again; if the disk fails, stop the process.
    Write(WriteBatch),
    /// Run off the loop, strictly after every store job given before; then [`Input::CheckpointDone`].
    Checkpoint(CheckpointJob),
    /// Run off the loop, strictly after every store job given before; then [`Input::InstallDone`]. A
    /// failure stops the process.
    Install(Box<InstallJob>),
    /// Run off the loop, strictly after every store job given before; then [`Input::ReclaimDone`].
    Reclaim(ReclaimJob),
    /// The log may free segments without entries from these indexes on; a group with the highest number is no more.
    Retain(BTreeMap<GroupId, u64>),
    /// Answer a client.
    Reply {
        /// Its token.
        token: u64,
        /// The answer.
        result: Result<Reply, Problem>,
    },
    /// Tell a watching client.
    Watch {
        /// Its token.
        token: u64,
        /// What happened.
        event: WatchEvent,
    },
    /// A peer broke the protocol: close its connections.
    Disconnect {
        /// Which.
        peer: NodeId,
        /// Why, for the log.
        reason: String,
    },
    /// For logs and metrics; nothing needs doing.
    Event(NodeEvent),
}

/// Something worth telling an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// This node's role in a group, or the leader it knows, changed.
    Role {
        /// The group.
        group: GroupId,
        /// Role now.
        role: Role,
        /// Term now.
        term: u64,
        /// The leader it follows, if it knows one.
        leader: Option<NodeId>,
    },
    /// A keyspace's group started here.
    GroupStarted {
        /// The group.
        group: GroupId,
        /// Its keyspace.
        keyspace: String,
    },
    /// A keyspace was deleted: its group stopped here.
    GroupStopped {
        /// The group.
        group: GroupId,
        /// What its keyspace was called.
        keyspace: String,
    },
    /// Nothing of a deleted keyspace's group is in the state store any more.
    GroupReclaimed {
        /// The group.
        group: GroupId,
    },
    /// A snapshot begins to stream to a peer.
    SnapshotSending {
        /// The group.
        group: GroupId,
        /// Receiver.
        to: NodeId,
        /// Log index of the snapshot.
        index: u64,
    },
    /// A snapshot from the leader replaced this node's state of a group.
    SnapshotInstalled {
        /// The group.
        group: GroupId,
        /// Log index of the snapshot.
        index: u64,
    },
    /// Applied writes up to these indexes are in the checkpoint.
    Checkpointed {
        /// Per group.
        applied: BTreeMap<GroupId, u64>,
    },
}

/// The replica must stop: going on could break a promise. Keep its files and look at the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The state store failed or is damaged.
    #[error(transparent)]
    Store(#[from] storage::StoreError),
    /// A committed entry cannot be understood: written by a newer version, or damaged.
    #[error("group {group} entry {index} cannot be applied: {reason}; start a version that knows it")]
    Entry {
        /// The group.
        group: GroupId,
        /// The entry.
        index: u64,
        /// Why.
        reason: String,
    },
    /// The log and the checkpoint on disk do not fit together.
    #[error("group {group} cannot be recovered: {reason}")]
    Recover {
        /// The group.
        group: GroupId,
        /// Why.
        reason: String,
    },
}
