//! Acquiring a lock, on whichever node is asked: granting a lease if the client brings none, taking a place in the
//! queue, waiting for the turn.
//!
//! Each step is a request to the leader of the lock's shard like any other. A place is taken under a lease, which
//! bounds what can be left behind: at the deadline the place is given up, or the lease revoked that was granted
//! for it, unless the client says that it will ask again under its lease. Should that fail, or this node stop, the place stays until its lease ends: a client that gave up holds
//! the lock no longer than that. A lease that was granted here is kept alive while its client waits.

use std::collections::BTreeMap;

use keyspace::{
    Command, Compare, Keys, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, LockWait, Outcome, Query,
    QueryAnswer, Relation, Target, Txn, TxnOp, lease::lock_key,
};
use types::{Applied, ErrorCode, LeaseId, Now, Problem};

use crate::{
    api::{Op, Options, Output, Reply, ReplyBody, Request},
    node::Node,
    problems,
    requests::Origin,
};

/// How long giving up a place may take; its lease ends anyway.
const GIVE_UP_TIMEOUT_MS: u64 = 5_000;
/// A lease that waits is kept alive so many times in its time to live.
const KEEP_ALIVES_PER_TTL: u64 = 3;

/// A lock that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The lock, or the election.
    pub name: Vec<u8>,
    /// Under which lease.
    pub under: Under,
    /// The value of the key; `None`: as it is, or empty.
    pub value: Option<Vec<u8>>,
    /// At the deadline the place in the queue stays, for a client that asks again under the same lease, which
    /// is its own.
    pub keep_place: bool,
}

/// The lease of a lock that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The client's.
    Lease(LeaseId),
    /// A new one that lives so long.
    Ttl(u64),
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The lease that it is held under.
    pub lease: LeaseId,
    /// The fencing token.
    pub token: u64,
}

/// The requests of this node's clients that are under way.
#[derive(Debug, Default)]
pub(crate) struct Acquires {
    last_id: u64,
    tasks: BTreeMap<u64, Task>,
}

#[derive(Debug)]
struct Task {
    token: u64,
    keyspace: String,
    acquire: Acquire,
    options: Options,
    deadline_ms: u64,
    lease: Option<LeaseId>,
    /// The place in the queue, once it is taken.
    place: Option<u64>,
    /// When its lease, if it was granted here, is kept alive next.
    keep_alive_ms: u64,
}

impl Task {
    /// The lease that was granted for it.
    fn granted(&self) -> Option<LeaseId> {
        self.lease.filter(|_| matches!(self.acquire.under, Under::Ttl(_)))
    }
}

impl Node {
    /// Takes in a client's request, or refuses it at once.
    pub(crate) fn take_acquire(
        &mut self,
        token: u64,
        keyspace: String,
        acquire: Acquire,
        options: Options,
        deadline_ms: u64,
    ) {
        let limit = self.config.limits.pending_requests_max;
        if self.acquires.tasks.len() >= limit {
            let result = Err(problems::overloaded("requests waiting on this node", limit));
            self.outbox.push(Output::Reply { token, result });
            return;
        }
        let (lease, op) = match acquire.under {
            Under::Lease(lease) => (Some(lease), enter(&acquire, lease)),
            Under::Ttl(ttl_ms) => {
                let grant = LeaseCommand::Grant { id: None, ttl_ms, beside: acquire.name.clone() };
                (None, Op::Command(Command::Lease(grant)))
            }
        };
        let (place, keep_alive_ms) = (None, 0);
        let task = Task { token, keyspace, acquire, options, deadline_ms, lease, place, keep_alive_ms };
        self.ask(task, op);
    }

    fn ask(&mut self, task: Task, op: Op) {
        self.acquires.last_id += 1;
        let id = self.acquires.last_id;
        let request = Request { keyspace: task.keyspace.clone(), op, options: task.options.clone() };
        let deadline_ms = task.deadline_ms;
        self.acquires.tasks.insert(id, task);
        self.take_request(Origin::Acquire { id }, request, None, deadline_ms, 1);
        self.more_to_do = true;
    }

    /// A step is done, or will not be.
    pub(crate) fn on_acquire_answer(&mut self, id: u64, result: Result<Reply, Problem>) {
        let Some(mut task) = self.acquires.tasks.remove(&id) else { return };
        let reply = match result {
            Ok(reply) => reply,
            Err(problem) => return self.give_up(task, problem),
        };
        match (&reply.body, task.lease) {
            (ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { id, .. })), None) => {
                task.lease = Some(*id);
                let op = enter(&task.acquire, *id);
                task.options.session = reply.receipt.session;
                self.ask(task, op);
            }
            (ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Entered { token, held, .. })), Some(lease)) => {
                let token = *token;
                if *held {
                    return self.acquired(task, Acquired { lease, token }, reply);
                }
                task.place = Some(token);
                task.options.session = reply.receipt.session;
                let (name, wait) = (task.acquire.name.clone(), LockWait::Turn { token });
                self.ask(task, Op::Query(Query::Lease(LeaseQuery::Lock { name, wait })));
            }
            (ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lock { holder, .. })), Some(lease)) => {
                match (holder, task.place) {
                    (Some(holder), Some(token)) if holder.token == token => {
                        self.acquired(task, Acquired { lease, token }, reply);
                    }
                    _ => self.give_up(task, place_lost(lease)),
                }
            }
            // What was refused is told as it is, with its receipt.
            (ReplyBody::Outcome(_), _) => {
                self.clean_up(&task);
                self.outbox.push(Output::Reply { token: task.token, result: Ok(reply) });
            }
            _ => self.give_up(task, not_understood()),
        }
    }

    fn acquired(&mut self, task: Task, acquired: Acquired, reply: Reply) {
        let result = Ok(Reply { body: ReplyBody::Acquired(acquired), ..reply });
        self.outbox.push(Output::Reply { token: task.token, result });
    }

    /// The lock is not to be had. What was done for it is undone.
    fn give_up(&mut self, task: Task, problem: Problem) {
        let undone = self.clean_up(&task);
        let problem = match problem.applied {
            Applied::NotApplied => problem,
            _ if undone => Problem { applied: Applied::NotApplied, ..problem },
            _ => {
                Problem { next_step: "acquire it again with the same lease, or release it".into(), ..problem }
            }
        };
        self.outbox.push(Output::Reply { token: task.token, result: Err(problem) });
    }

    /// Gives up a place, or the lease that was granted for it. Answers whether there was anything to undo.
    fn clean_up(&mut self, task: &Task) -> bool {
        let command = match (task.granted(), task.lease, task.place) {
            (Some(id), ..) => Command::Lease(LeaseCommand::Revoke { id }),
            (None, Some(lease), Some(token)) if !task.acquire.keep_place => {
                Command::Txn(leave(&task.acquire.name, lease, Some(token)))
            }
            _ => return false,
        };
        types::mark!("acquire_undone");
        let request = Request::new(task.keyspace.clone(), Op::Command(command));
        let deadline_ms = task.deadline_ms + GIVE_UP_TIMEOUT_MS;
        self.take_request(Origin::Nobody, request, None, deadline_ms, 1);
        self.more_to_do = true;
        true
    }

    /// Keeps the leases alive whose clients wait and cannot do it themselves.
    pub(crate) fn keep_waiting_leases(&mut self, now: Now) {
        let mut kept = Vec::new();
        for task in self.acquires.tasks.values_mut() {
            let (Some(id), Under::Ttl(ttl_ms)) = (task.lease, task.acquire.under) else { continue };
            if task.place.is_some() && now.mono_ms >= task.keep_alive_ms {
                task.keep_alive_ms = now.mono_ms + ttl_ms / KEEP_ALIVES_PER_TTL;
                kept.push((task.keyspace.clone(), id, now.mono_ms + ttl_ms));
            }
        }
        for (keyspace, id, deadline_ms) in kept {
            let request = Request::new(keyspace, Op::Query(Query::Lease(LeaseQuery::KeepAlive { id })));
            self.take_request(Origin::Nobody, request, None, deadline_ms, 1);
        }
    }
}

fn enter(acquire: &Acquire, lease: LeaseId) -> Op {
    let Acquire { name, value, .. } = acquire.clone();
    Op::Command(Command::Lease(LeaseCommand::Enter { name, lease, value }))
}

/// Gives up a lease's place in the queue of a lock; with a token, only if it is that one.
pub fn leave(name: &[u8], lease: LeaseId, token: Option<u64>) -> Txn {
    let key = Keys::One(lock_key(name, lease));
    let (target, relation) = match token {
        Some(token) => (Target::CreateRevision(token), Relation::Equal),
        None => (Target::CreateRevision(0), Relation::NotEqual),
    };
    let compares = vec![Compare { keys: key.clone(), target, relation }];
    Txn { compares, then: vec![TxnOp::Delete { keys: key }], otherwise: Vec::new() }
}

/// Sets the value of the leader of an election, while it leads.
pub fn proclaim(name: &[u8], lease: LeaseId, token: u64, value: Vec<u8>) -> Txn {
    let key = lock_key(name, lease);
    let (target, relation) = (Target::CreateRevision(token), Relation::Equal);
    let compares = vec![Compare { keys: Keys::One(key.clone()), target, relation }];
    Txn { compares, then: vec![TxnOp::Put { key, value, lease: Some(lease) }], otherwise: Vec::new() }
}

fn place_lost(lease: LeaseId) -> Problem {
    Problem::not_applied(
        ErrorCode::LeaseNotFound,
        format!("the place in the queue is gone: lease {lease} has ended, or its key was removed"),
        "grant a new lease, keep it alive, and acquire the lock again",
    )
}

fn not_understood() -> Problem {
    Problem::unknown(
        ErrorCode::UnsupportedVersion,
        "the leader's answer is to another question: the nodes may be of versions that do not fit",
        "see GET /v1/status of every node for its version",
    )
}
