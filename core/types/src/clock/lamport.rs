//! Lamport's clock (Lamport 1978, "Time, clocks, and the ordering of events in a distributed system").
//!
//! Guarantee: an event that happened before another has the smaller timestamp, and no two events of a system have
//! the same: equal counters are ordered by node.
//!
//! Not promised: the converse. A smaller timestamp may belong to a concurrent event.

use std::fmt;

use crate::NodeId;

/// A timestamp, ordered by counter, then by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lamport {
    /// One more than that of every event known to its node; from 1.
    pub counter: u64,
    /// The node of the event: the tie-break.
    pub node: NodeId,
}

impl fmt::Display for Lamport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.counter, self.node)
    }
}

/// Why a clock gave no timestamp. The clock is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LamportError {
    /// No greater counter would be left. A count of real events never gets there: whoever sent it is broken; leave
    /// its message aside.
    #[error("the counter {counter} leaves no greater one: its sender is broken, leave its message aside")]
    Exhausted {
        /// What was given.
        counter: u64,
    },
}

/// One node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LamportClock {
    node: NodeId,
    counter: u64,
}

impl LamportClock {
    /// The clock of a node at which nothing happened yet.
    pub fn new(node: NodeId) -> LamportClock {
        LamportClock { node, counter: 0 }
    }

    /// An event of the node's own, such as sending a message: answers its timestamp.
    ///
    /// # Errors
    /// [`LamportError::Exhausted`].
    pub fn tick(&mut self) -> Result<Lamport, LamportError> {
        self.after(self.counter)
    }

    /// The event of receiving a message with this timestamp: the greater of both counters, and 1.
    ///
    /// # Errors
    /// [`LamportError::Exhausted`]: the timestamp was not taken in.
    pub fn receive(&mut self, remote: Lamport) -> Result<Lamport, LamportError> {
        self.after(self.counter.max(remote.counter))
    }

    fn after(&mut self, counter: u64) -> Result<Lamport, LamportError> {
        // The last counter is given to no event, so that a clock can always follow one that it has met.
        let next = counter.checked_add(1).filter(|next| *next < u64::MAX);
        self.counter = next.ok_or(LamportError::Exhausted { counter })?;
        Ok(Lamport { counter: self.counter, node: self.node })
    }
}
