//! Requests that wait at a leader until the state has what they wait for: a turn in the queue of a lock, or another
//! leader of an election.
//!
//! They were confirmed as reads, and what they wait for had not come; so whatever brings it is applied between
//! their call and their answer, and the answer is linearizable. They look again after entries that changed a queue.

use std::collections::BTreeSet;

use keyspace::{LeaseQuery, Query, QueryAnswer, lease::lock_changes};
use storage::StoreError;
use types::{Acks, ErrorCode, Problem, Role, limits::LOCK_WAITS_MAX};

use crate::{
    api::{Op, ReplyBody},
    group::Group,
    node::Node,
    problems,
    pump::Backing,
    requests::Place,
};

/// The waiting requests of one group.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    ids: BTreeSet<u64>,
    /// Changes of the queues when they last looked.
    seen: u64,
}

impl Parked {
    /// Takes out all.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(self).ids.into_iter()
    }
}

impl Node {
    /// A confirmed read has not what it waits for.
    pub(crate) fn park(&mut self, group: &mut Group, id: u64) -> Result<(), StoreError> {
        if group.parked.ids.len() >= LOCK_WAITS_MAX {
            group.parked.ids.retain(|id| self.requests.get(*id).is_some());
        }
        if group.parked.ids.len() >= LOCK_WAITS_MAX {
            self.answer(id, Err(problems::overloaded("requests waiting for locks", LOCK_WAITS_MAX)));
            return Ok(());
        }
        if group.parked.ids.is_empty() {
            group.parked.seen = lock_changes(&self.store, group.id)?;
        }
        types::mark!("lock_waiter_parked");
        group.parked.ids.insert(id);
        self.requests.place(id, Place::Parked(group.id));
        Ok(())
    }

    /// Answers those that have by now what they wait for. Only a leader has any.
    pub(crate) fn answer_parked(&mut self, group: &mut Group) -> Result<(), StoreError> {
        if group.parked.ids.is_empty() {
            return Ok(());
        }
        let changes = lock_changes(&self.store, group.id)?;
        if changes == group.parked.seen {
            return Ok(());
        }
        let waiting = group.parked.drain().collect::<Vec<_>>();
        group.parked.seen = changes;
        for id in waiting {
            let Some(request) = self.requests.get(id).map(|waiting| &waiting.request) else { continue };
            let Op::Query(query) = &request.op else { unreachable!("only questions wait so") };
            let answer = keyspace::answer(&self.store, group.id, query)?;
            if ends_wait(query, &answer) {
                let term = group.raft.term();
                self.answer_confirmed(id, group, ReplyBody::Answer(answer), term);
            } else {
                group.parked.ids.insert(id);
            }
        }
        Ok(())
    }

    /// Answers a read whose leader was confirmed in this term.
    pub(crate) fn answer_confirmed(&mut self, id: u64, group: &Group, body: ReplyBody, term: u64) {
        use storage::ReadRows;
        let quorum = self.quorum();
        let acks = Acks { required: quorum, got: quorum, of: self.nodes(), durable: 0 };
        // Of the leader that was confirmed, also when it is deposed by now.
        let at = (Role::Leader, term, self.store.state(group.id).applied_index);
        let backing = Backing { acks, deduplicated: false, read_lease: None };
        self.answer_with(id, group, body, at, backing);
    }
}

/// Whether an answer is what its question waits for.
pub(crate) fn ends_wait(query: &Query, answer: &QueryAnswer) -> bool {
    match (query, answer) {
        (Query::Lease(query), QueryAnswer::Lease(answer)) => answer.ends_wait(query),
        _ => true,
    }
}

/// Whether a question is the leader's alone to answer, whatever is asked of it.
pub(crate) fn is_leaders(query: &Query) -> bool {
    use keyspace::LockWait;
    match query {
        Query::Lease(LeaseQuery::KeepAlive { .. } | LeaseQuery::Show { .. }) => true,
        Query::Lease(LeaseQuery::Lock { wait, .. }) => *wait != LockWait::No,
        _ => false,
    }
}

/// What was waited for did not come by the deadline.
pub(crate) fn waited_in_vain() -> Problem {
    Problem::not_applied(
        ErrorCode::DeadlineExceeded,
        "what the request waits for did not come by its deadline: another holds the lock, or nothing changed",
        "ask again; a lock that is waited for is acquired in the order of the requests",
    )
}
