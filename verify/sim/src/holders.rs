//! Clients that hold locks: they grant leases, keep them alive, write under their tokens, and now and then stand
//! still for longer than their lease and come back with a late write.

use std::collections::BTreeMap;

use keyspace::{
    Command, Expect, Fence, LeaseAnswer, LeaseCommand, LeaseOutcome, LeaseQuery, Outcome, Query, QueryAnswer,
    TxnOutcome,
};
use node::{Acquire, Acquired, Op, Reply, ReplyBody, Request, Under, leave};
use types::{ErrorCode, LeaseId, NodeId, Problem};

use crate::{
    clients::{Clients, Waiting, Wish},
    dice::Dice,
    failure::Broken,
    plan::{CONFIGURED, KEYSPACES, MS},
    world::World,
};

pub(crate) const LOCK: &[u8] = b"lock";
pub(crate) const GUARDED: &[u8] = b"guarded";
/// Clocks of machines differ by a part in a hundred at most, and a client allows for it: what it is promised counts
/// this much, per thousand.
const PROMISED_PER_MILLE: u64 = 980;

/// What a holder asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// For a lease.
    Grant,
    /// To keep it alive.
    KeepAlive,
    /// For the lock, under the lease that it has or a new one.
    Acquire,
    /// For a write under this token.
    Write(u64),
    /// To release the lock.
    Release,
}

#[derive(Debug, Default)]
struct Holder {
    keyspace: usize,
    lease: Option<(LeaseId, u64)>,
    token: Option<u64>,
    sent_us: u64,
    /// How long it stands still after its next answer.
    stands_still_us: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Holders {
    /// Clients with smaller numbers are others.
    first: usize,
    holders: Vec<Holder>,
    /// Token of each accepted write, by keyspace and revision.
    accepted: BTreeMap<(usize, u64), u64>,
}

impl Holders {
    /// So many, whose numbers as clients begin there.
    pub fn new(first: usize, count: u64) -> Holders {
        let holders =
            (0..count).map(|number| Holder { keyspace: number as usize % CONFIGURED, ..Holder::default() });
        Holders { first, holders: holders.collect(), accepted: BTreeMap::new() }
    }

    /// Whether a client is one of them.
    pub fn has(&self, client: usize) -> bool {
        (self.first..self.first + self.holders.len()).contains(&client)
    }

    /// How long a client stands still now, if it does.
    pub fn stands_still_us(&mut self, client: usize) -> Option<u64> {
        let holder = self.holders.get_mut(client.checked_sub(self.first)?)?;
        holder.stands_still_us.take()
    }

    /// What a holder does next, and what it asks for it.
    fn next(&mut self, dice: &mut Dice, client: usize, now_us: u64, value: String) -> (usize, Hold, Request) {
        let holder = &mut self.holders[client - self.first];
        holder.sent_us = now_us;
        if let Some((_, ttl_ms)) = holder.lease
            && dice.chance(120)
        {
            holder.stands_still_us = Some(ttl_ms * MS * dice.between(8, 25) / 10);
        }
        if dice.chance(40) {
            // It goes away, and leaves what it has.
            (holder.lease, holder.token) = (None, None);
        }
        let ttl_ms = dice.pick(&[300, 1_000, 3_000, 6_000]);
        let command = |command| Op::Command(Command::Lease(command));
        let acquire =
            |under| Op::Acquire(Acquire { name: LOCK.to_vec(), under, value: None, keep_place: false });
        let (hold, op) = match (holder.lease, holder.token) {
            (None, _) if dice.chance(200) => (Hold::Acquire, acquire(Under::Ttl(ttl_ms))),
            (None, _) => (Hold::Grant, command(LeaseCommand::Grant { id: None, ttl_ms, beside: Vec::new() })),
            (Some((id, _)), _) if dice.chance(400) => {
                (Hold::KeepAlive, Op::Query(Query::Lease(LeaseQuery::KeepAlive { id })))
            }
            (Some((lease, _)), None) => (Hold::Acquire, acquire(Under::Lease(lease))),
            (Some((lease, _)), Some(token)) if dice.chance(150) => {
                (Hold::Release, Op::Command(Command::Txn(leave(LOCK, lease, Some(token)))))
            }
            (Some(_), Some(token)) => {
                let (key, value) = (GUARDED.to_vec(), value.into_bytes());
                let put = Command::Put { key, value, expect: Expect::Anything, lease: None };
                (Hold::Write(token), Op::Command(put))
            }
        };
        let mut request = Request::new(KEYSPACES[holder.keyspace], op);
        if let Hold::Write(token) = hold {
            request.options.fence = Some(Fence { name: LOCK.to_vec(), token });
        }
        (holder.keyspace, hold, request)
    }

    /// An answer. What it promises of the life of a lease: until when, in virtual microseconds.
    ///
    /// # Errors
    /// When a write was accepted under a token that is older than one before it.
    fn on_reply(
        &mut self,
        client: usize,
        hold: &Hold,
        reply: &Reply,
    ) -> Result<Option<Option<(LeaseId, u64)>>, Broken> {
        let holder = &mut self.holders[client - self.first];
        let until = |ttl_ms: u64| holder.sent_us + ttl_ms * PROMISED_PER_MILLE;
        match (hold, &reply.body) {
            (Hold::Grant, ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::Granted { id, ttl_ms, .. }))) => {
                let promised = (*id, until(*ttl_ms));
                holder.lease = Some((*id, *ttl_ms));
                return Ok(Some(Some(promised)));
            }
            (
                Hold::KeepAlive,
                ReplyBody::Answer(QueryAnswer::Lease(LeaseAnswer::Lease { id, lease, remaining_ms, .. })),
            ) => {
                if let (Some(_), Some(remaining_ms)) = (lease, remaining_ms) {
                    return Ok(Some(Some((*id, until(*remaining_ms)))));
                }
                (holder.lease, holder.token) = (None, None);
            }
            (Hold::Acquire, ReplyBody::Acquired(Acquired { lease, token })) => {
                // How long a lease of its own making lives, it does not know before it keeps it alive.
                holder.lease.get_or_insert((*lease, 1_000));
                holder.token = Some(*token);
            }
            (Hold::Write(token), ReplyBody::Outcome(Outcome::Put { revision, .. })) => {
                let (keyspace, token, revision) = (holder.keyspace, *token, *revision);
                self.accepted.insert((keyspace, revision), token);
                let before = self.accepted.range((keyspace, 0)..(keyspace, revision)).next_back();
                let after = self.accepted.range((keyspace, revision + 1)..=(keyspace, u64::MAX)).next();
                if before.is_some_and(|(_, before)| *before > token)
                    || after.is_some_and(|(_, after)| *after < token)
                {
                    let message = format!("token {token} wrote revision {revision}: {before:?} {after:?}");
                    return Err(Broken::safety("no_two_holders_write", message));
                }
            }
            (Hold::Write(_), ReplyBody::Outcome(Outcome::Fenced { .. })) => holder.token = None,
            (Hold::Release, ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Done { .. }))) => holder.token = None,
            (
                Hold::Grant | Hold::Acquire,
                ReplyBody::Outcome(Outcome::Lease(LeaseOutcome::NotFound { .. } | LeaseOutcome::Full { .. })),
            ) => (holder.lease, holder.token) = (None, None),
            _ => return Ok(None),
        }
        Ok(Some(None))
    }

    /// No answer, or a refusal.
    pub fn on_problem(&mut self, client: usize, problem: Option<&Problem>) {
        let holder = &mut self.holders[client - self.first];
        if problem.is_some_and(|problem| problem.code == ErrorCode::LeaseNotFound) {
            (holder.lease, holder.token) = (None, None);
        }
    }
}

impl Clients {
    /// A holder does its next step.
    pub fn invoke_holder(&mut self, client: usize, now_us: u64, nodes: u64) -> u64 {
        let value = self.value();
        let (keyspace, hold, mut request) = self.holders.next(&mut self.dice, client, now_us, value);
        self.tokens += 1;
        let node = NodeId(self.dice.below(nodes));
        let timeout_ms = self.dice.pick(&[200, 1_000, 3_000]);
        let session = self.sessions.of(client).clone();
        request.options.session = session.token.clone();
        let waiting = Waiting {
            client,
            keyspace,
            wish: Wish::Hold(hold),
            session,
            request,
            node,
            timeout_ms,
            delivered: None,
            task: None,
            try_of: None,
        };
        self.saw.asks(now_us, &waiting);
        self.waiting.insert(self.tokens, waiting);
        self.tokens
    }
}

impl World {
    /// An answer to a holder: what it promises is kept, and what it says fits the question.
    pub(crate) fn check_hold(&mut self, token: u64, reply: &Reply) -> Result<(), Broken> {
        let Some(waiting) = self.clients.waiting(token) else { return Ok(()) };
        let Wish::Hold(hold) = waiting.wish.clone() else { return Ok(()) };
        let (client, keyspace) = (waiting.client, waiting.keyspace);
        match (&hold, &reply.body) {
            (Hold::Acquire, ReplyBody::Acquired(_)) => self.counts.add("locks_held", 1),
            (Hold::Write(_), ReplyBody::Outcome(Outcome::Put { .. })) => {
                self.counts.add("fenced_writes_accepted", 1)
            }
            (Hold::Write(_), ReplyBody::Outcome(Outcome::Fenced { .. })) => {
                self.counts.add("fenced_writes_refused", 1)
            }
            (Hold::KeepAlive, _) => self.counts.add("keep_alives", 1),
            (Hold::Grant, _) => self.counts.add("leases_granted", 1),
            _ => {}
        }
        match self.clients.holders.on_reply(client, &hold, reply)? {
            Some(Some((lease, until_us))) => match self.oracle.catalog.group(KEYSPACES[keyspace]) {
                Some(group) => self.oracle.lifetimes.promise(group, lease, until_us),
                None => Ok(()),
            },
            Some(None) => Ok(()),
            None => {
                Err(Broken::safety("answers_fit", format!("request {token} {hold:?} got {:?}", reply.body)))
            }
        }
    }
}
