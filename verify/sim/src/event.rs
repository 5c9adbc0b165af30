//! What can happen next, and the queue that says when.

use std::collections::BTreeMap;

use types::NodeId;

use crate::{
    faults::kinds::FaultKind,
    network::{Frame, Lost},
    watchers::WatchInput,
};

/// Something due at a moment.
#[derive(Clone, Debug)]
pub enum Event {
    /// For a process; void in any other boot.
    Process {
        /// Whose.
        node: NodeId,
        /// Of which start.
        boot: u64,
        /// What.
        what: ProcessEvent,
    },
    /// A frame arrives.
    Frame(Frame),
    /// A node notices that the connection to a peer is gone.
    PeerDown {
        /// Who notices.
        node: NodeId,
        /// Which peer.
        peer: NodeId,
    },
    /// A client's request arrives at a node.
    Request {
        /// The node asked.
        node: NodeId,
        /// The request.
        token: u64,
    },
    /// A client's next operation is due.
    Wake(usize),
    /// What a watching client does arrives at a node.
    Watch {
        /// The node.
        node: NodeId,
        /// Whose.
        watcher: usize,
        /// What.
        what: WatchInput,
    },
    /// A watching client's next turn.
    WatchTurn(usize),
    /// A node must have answered by now.
    Overdue {
        /// The node asked.
        node: NodeId,
        /// The request.
        token: u64,
    },
    /// The next fault is due.
    Fault,
    /// A fault passes.
    Recover(Recovery),
    /// The last look, again and again, at whether the healed world has come together.
    Converge,
}

/// What happens inside a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A tick.
    Tick,
    /// The loop comes round to polling.
    Poll,
    /// The log's thread finishes a round.
    LogDone,
    /// The log's thread looks for space.
    LogRetry,
    /// The store's thread finishes a job.
    JobDone,
}

/// The end of a fault.
#[derive(Clone, Debug)]
pub enum Recovery {
    /// A machine starts its process.
    Start(NodeId),
    /// A process goes on.
    Resume(NodeId),
    /// Links work again.
    Unblock(Vec<(NodeId, NodeId)>),
    /// Links that come and go are cut, or work, as long as it is before this virtual time.
    Flap {
        /// Which.
        links: Vec<(NodeId, NodeId)>,
        /// Whether they are cut now.
        cut: bool,
        /// When they are to stay.
        until_us: u64,
    },
    /// A node finds that a peer does not hear it, and connects anew.
    Notice(NodeId, NodeId),
    /// The network is as good as before this episode.
    Relent(u64),
    /// Clients and nodes reach each other again.
    Reconnect(Vec<(usize, NodeId, Lost)>),
    /// What is sent to a node arrives as soon as ever.
    Prompt(NodeId),
    /// A process that dies again and again does so, until this virtual time.
    Crash(NodeId, u64),
    /// A process that stands still is killed.
    KillPaused(NodeId),
    /// A wall clock is off no more by so much.
    Unskew(NodeId, i64),
    /// A wall clock does not jump to and fro any more.
    Steady(NodeId),
    /// Clocks run as fast as before.
    Undrift(NodeId),
    /// A load is as it was planned.
    Calm(FaultKind),
    /// Clients that reached nobody do again, and all try at once.
    Storm(Vec<(usize, NodeId, Lost)>),
    /// A machine loses power.
    LosePower(NodeId),
    /// A disk does not lie any more, or what it put in the wrong place is found: the process ends.
    Expose(NodeId),
    /// An older image of a disk takes its place.
    Restore(NodeId),
    /// A disk has space again.
    Space(NodeId),
    /// A disk is as fast as before.
    Fast(NodeId),
    /// All faults end.
    Heal,
}

/// Events in order of time, then of scheduling.
#[derive(Debug, Default)]
pub struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

impl Queue {
    /// Adds an event at a virtual time in microseconds.
    pub fn push(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at_us, self.scheduled), event);
    }

    /// When the next event is due.
    pub fn next_us(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at_us, _), _)| *at_us)
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at_us, _), event)| (at_us, event))
    }
}
