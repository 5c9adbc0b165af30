//! Requests that wait for an answer on this node, its own clients' and those that peers sent on.
//!
//! Guarantee G-PROMPT: every request is answered once, by its deadline; without a majority it is refused sooner, with
//! `NO_QUORUM`.

use std::collections::{BTreeMap, BTreeSet};

use types::{GroupId, NodeId};

use crate::api::{Op, Request};

/// Who gets the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this node.
    Client {
        /// The driver's name for it.
        token: u64,
    },
    /// A peer, on behalf of its client.
    Peer {
        /// Which.
        from: NodeId,
        /// Its boot.
        boot: u64,
        /// Its name for the request.
        id: u64,
    },
    /// This node, asking every shard of a keyspace.
    Gather {
        /// For which request.
        id: u64,
        /// This shard.
        shard: u32,
    },
    /// This node, to know how old its replica is.
    Probe {
        /// Of this group.
        group: GroupId,
    },
    /// Nobody: its client was answered when it was taken in.
    Nobody,
    /// A client of this node, about the list of lost writes.
    LostTask {
        /// The driver's name for it.
        token: u64,
    },
    /// This node, to put what a group's log loses onto the list of lost writes; `None`: to decide what is on it.
    LostReport {
        /// Which group.
        group: Option<GroupId>,
    },
    /// This node, to say within which bounds writes of a group may be lost.
    LostBound {
        /// Which group.
        group: GroupId,
    },
    /// This node, working on a request for a lock.
    Acquire {
        /// Which.
        id: u64,
    },
    /// This node, working on a request about the list of keyspaces.
    Catalog {
        /// Which.
        id: u64,
    },
}

/// How far a request has come. What may have happened to it follows from this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Looking for a leader. Nothing was done.
    Unrouted,
    /// Waiting at this leader to enter the log, or to be read. Nothing was done.
    Queued(GroupId),
    /// In this node's log at this index; may be committed.
    Proposed(GroupId, u64),
    /// Applied, at this index; waiting until every replica has it.
    Held(GroupId, u64),
    /// Waiting for the confirmation that this leader still leads, or for the state to catch up.
    Reading(GroupId),
    /// Confirmed at this leader, and waiting for what the state does not have yet.
    Parked(GroupId),
    /// Sent to the leader; it may have done anything.
    Forwarded(GroupId, NodeId),
}

/// One waiting request.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub origin: Origin,
    pub request: Request,
    /// The group that it came by, or is for; `None`: the one of its keys.
    pub group: Option<GroupId>,
    pub deadline_ms: u64,
    /// When it was last sent to the leader.
    pub sent_ms: u64,
    /// Not routed again before this time, so that two nodes that disagree about the leader do not spin.
    pub not_before_ms: u64,
    /// Tries so far.
    pub attempts: u32,
    /// Whether an earlier try may have been carried out, or may yet be.
    pub maybe_applied: bool,
    pub place: Place,
}

impl Waiting {
    pub(crate) fn is_query(&self) -> bool {
        matches!(self.request.op, Op::Query(_))
    }

    /// Whether it is a write that may be tried again though an earlier try may have been carried out.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self.request.op, Op::Once(..))
    }
}

/// All waiting requests, by a number that is unique in this boot.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(u64, u64)>,
    unrouted: BTreeSet<u64>,
}

impl Requests {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn insert(
        &mut self,
        origin: Origin,
        request: Request,
        group: Option<GroupId>,
        deadline_ms: u64,
        attempts: u32,
    ) {
        self.last_id += 1;
        let id = self.last_id;
        self.deadlines.insert((deadline_ms, id));
        self.unrouted.insert(id);
        let place = Place::Unrouted;
        let waiting = Waiting {
            origin,
            request,
            group,
            deadline_ms,
            sent_ms: 0,
            not_before_ms: 0,
            attempts,
            maybe_applied: false,
            place,
        };
        self.waiting.insert(id, waiting);
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Waiting> {
        self.waiting.get(&id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.deadline_ms, id));
        self.unrouted.remove(&id);
        Some(waiting)
    }

    pub(crate) fn place(&mut self, id: u64, place: Place) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.place = place;
            self.unrouted.remove(&id);
        }
    }

    /// It goes to the leader now.
    pub(crate) fn sent(&mut self, id: u64, now_ms: u64) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.sent_ms = now_ms;
        }
    }

    /// Back to looking for a leader, since nothing was done yet. Does nothing for an answered request.
    pub(crate) fn retry(&mut self, id: u64, not_before_ms: u64) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.place = Place::Unrouted;
            waiting.attempts = waiting.attempts.saturating_add(1);
            waiting.not_before_ms = not_before_ms;
            self.unrouted.insert(id);
        }
    }

    /// Back to looking for a leader, though this try may have been carried out, if the request allows
    /// it: a read, or a write under an idempotency key. Answers whether it does.
    pub(crate) fn retry_repeatable(&mut self, id: u64, not_before_ms: u64) -> bool {
        let Some(waiting) = self.waiting.get_mut(&id) else { return true };
        if !waiting.is_query() && !waiting.is_once() {
            return false;
        }
        waiting.maybe_applied |= waiting.is_once();
        self.retry(id, not_before_ms);
        true
    }

    /// Gives a request a new number, which it answers. Late answers to its old one then match nothing.
    pub(crate) fn renumber(&mut self, id: u64) -> Option<u64> {
        let waiting = self.remove(id)?;
        self.last_id += 1;
        let id = self.last_id;
        self.deadlines.insert((waiting.deadline_ms, id));
        if waiting.place == Place::Unrouted {
            self.unrouted.insert(id);
        }
        self.waiting.insert(id, waiting);
        Some(id)
    }

    /// Those to be routed now: not those whose deadline is at or before `late_ms`, which are refused instead.
    pub(crate) fn routable(&self, now_ms: u64, late_ms: u64) -> Vec<u64> {
        let wanted = |waiting: &Waiting| waiting.not_before_ms <= now_ms && waiting.deadline_ms > late_ms;
        self.unrouted.iter().filter(|id| self.waiting.get(id).is_some_and(wanted)).copied().collect()
    }

    /// Those whose deadline is at or before `by_ms`.
    pub(crate) fn due(&self, by_ms: u64) -> Vec<u64> {
        self.deadlines.range(..=(by_ms, u64::MAX)).map(|(_, id)| *id).collect()
    }

    /// Writes that a leader of the group was sent, and that nobody may be sent again.
    pub(crate) fn forwarded_for_good(&self, group: GroupId) -> Vec<u64> {
        let sent = |waiting: &Waiting| matches!(waiting.place, Place::Forwarded(of, _) if of == group);
        let again = |waiting: &Waiting| waiting.is_query() || waiting.is_once();
        let found = self.waiting.iter().filter(|(_, waiting)| sent(waiting) && !again(waiting));
        found.map(|(id, _)| *id).collect()
    }

    /// The parts of a read of all shards.
    pub(crate) fn of_gather(&self, id: u64) -> Vec<u64> {
        let part = |waiting: &Waiting| matches!(waiting.origin, Origin::Gather { id: of, .. } if of == id);
        self.waiting.iter().filter(|(_, waiting)| part(waiting)).map(|(id, _)| *id).collect()
    }

    /// Those that `wanted` picks.
    pub(crate) fn which(&self, wanted: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        self.waiting.iter().filter(|(_, waiting)| wanted(waiting)).map(|(id, _)| *id).collect()
    }

    /// Those at a place that `wanted` picks.
    pub(crate) fn at(&self, wanted: impl Fn(Place) -> bool) -> Vec<u64> {
        self.waiting.iter().filter(|(_, waiting)| wanted(waiting.place)).map(|(id, _)| *id).collect()
    }
}
