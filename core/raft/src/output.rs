//! What a group wants done.

use types::{Entry, GroupWrite, LogPosition, NodeId};
use wire::message::RaftMessage;

/// A write with the number by which [`crate::RaftGroup::persisted`] is told of its durability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReady {
    /// Rises from write to write, with gaps.
    pub ready: u64,
    /// What must become durable.
    pub write: GroupWrite,
}

/// Everything that a group wants done now. [`crate::RaftGroup::poll`] appends to it; the caller
/// drains every field each time.
#[derive(Debug, Default)]
pub struct GroupOutput {
    /// May be sent now, in this order; loss, duplication and reordering are allowed for. A leader's
    /// appends leave at once (thesis 10.2.1); votes and acknowledgements came out of
    /// [`crate::RaftGroup::persisted`].
    pub messages: Vec<(NodeId, RaftMessage)>,
    /// Must reach the write-ahead log in this order. Then `persisted(ready)`.
    ///
    /// A write whose number is also in [`GroupOutput::install`] waits, with every later write of
    /// the group, until the snapshot is installed. Any other write goes out at once, also one with
    /// a `reset`: the first write after a recovery that found the log behind its checkpoint.
    pub writes: Vec<GroupReady>,
    /// Committed entries: apply in this order, then [`crate::RaftGroup::applied`].
    pub committed: Vec<Entry>,
    /// Read id with its index: the read is linearizable once the state machine has applied up to
    /// the index (thesis 6.4).
    pub reads: Vec<(u64, u64)>,
    /// A snapshot was accepted. First make the staged state at this position the node's own, durably;
    /// then issue the write with this number (its `reset` is the position) and those held behind
    /// it; then `persisted(ready)`. Until then no committed entries come, and at most one
    /// installation is under way.
    pub install: Option<(u64, LogPosition)>,
    /// Stream the checkpoint to this follower, with this announcement. End each with
    /// [`crate::RaftGroup::report_snapshot`]: until then the follower gets nothing else.
    pub send_snapshot: Vec<(NodeId, RaftMessage)>,
    /// A follower needs a snapshot newer than the one available: make a checkpoint, then
    /// [`crate::RaftGroup::snapshot_available`].
    pub wants_checkpoint: bool,
}
