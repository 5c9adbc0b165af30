//! Watches: clients that are told every change of the keys they name, as this replica applies it.
//!
//! Guarantee G-WATCH: a watch from revision R is told every change of its keys from R on, in the order of
//! revisions, all changes of one revision together and each revision once, or it ends with `COMPACTED`; and it is
//! told which revisions are complete, so that it can be resumed after them, at any replica. A replica that
//! has not applied R yet waits until it has.
//!
//! A watch is a position in the history, not a queue: one that falls behind costs no memory. Those at the
//! newest revisions share a copy of them (`recent`); those behind read the history from the store, in
//! bounded pages. What is on its way to a client is bounded by credit, which the driver gives back as the
//! client takes it.

mod recent;
mod registry;

use keyspace::{KeyRange, Keys, Query, checked_shard, history};
use storage::ReadRows;
use types::{Acks, ErrorCode, GroupId, Guarantee, Now, Problem, Receipt, SessionToken, shard_of};

pub(crate) use registry::Watches;
use registry::{Served, Watcher};

use crate::{
    api::{Fatal, Output},
    node::Node,
    problems,
};

/// What a client watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The keyspace's name.
    pub keyspace: String,
    /// One key, or those of a range.
    pub keys: Keys,
    /// The shard, which a range needs in a keyspace of several.
    pub shard: Option<u32>,
    /// The first revision to be told of; `None`: the one after all that this replica has applied.
    pub from: Option<u64>,
    /// Whether to tell the versions before.
    pub prev: bool,
    /// What the session has seen: the watch begins once this replica has it too.
    pub session: SessionToken,
}

/// What a watch is told.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// It has begun; what follows is from this revision on. Comes first, and once.
    Started {
        /// From this revision on.
        from: u64,
        /// What the replica that serves it guarantees.
        receipt: Box<Receipt>,
    },
    /// A revision changed keys that are watched: these are all of its changes.
    Changed(history::Revision),
    /// Every change up to this revision, itself included, has been told.
    Progress(u64),
    /// It is over. Comes last.
    Ended(Problem),
}

/// What an event is counted as beside its changes.
const EVENT_BYTES: u64 = 64;
/// Longest time in which a watch is told nothing though there are new revisions.
const PROGRESS_MS: u64 = 1_000;
/// Pages of the history read in one poll, for all watches together: bounds how long they hold up others.
const PAGES_MAX: usize = 16;
/// Events that are looked at for one page.
const PAGE_EVENTS_MAX: usize = 512;

impl WatchEvent {
    /// Its size, about, for [`crate::Input::WatchCredit`].
    pub fn bytes(&self) -> u64 {
        match self {
            WatchEvent::Changed(revision) => EVENT_BYTES + revision.bytes as u64,
            _ => EVENT_BYTES,
        }
    }
}

impl WatchRequest {
    /// Checks what is asked for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` names what is wrong.
    pub fn validate(&self) -> Result<(), Problem> {
        self.session.validate()?;
        if self.from == Some(0) {
            return Err(Problem::not_applied(
                ErrorCode::InvalidArgument,
                "revision 0 is before every change",
                "watch from 1 for all history there is, or leave the revision out to begin now",
            ));
        }
        match &self.keys {
            Keys::One(key) => Query::Get { key: key.clone() }.validate(),
            Keys::Range(range) => Query::Range { range: range.clone(), limit: 1, keys_only: true }.validate(),
        }
    }

    fn range(&self) -> KeyRange {
        match &self.keys {
            Keys::One(key) => KeyRange { start: key.clone(), end: Some([&key[..], &[0]].concat()) },
            Keys::Range(range) => range.clone(),
        }
    }

    fn shard(&self, shards: u32) -> Result<u32, Problem> {
        match &self.keys {
            Keys::One(key) if self.shard.is_none() => Ok(shard_of(key, shards)),
            _ => checked_shard(self.shard, shards),
        }
    }
}

impl Node {
    /// Admits a watch, or ends it at once.
    pub(crate) fn take_watch(&mut self, token: u64, request: WatchRequest) {
        self.clock.observe(request.session.hlc());
        match self.admit_watch(&request) {
            Ok(group) => self.watches.insert(group, token, Watcher::new(request)),
            Err(problem) => self.tell(token, WatchEvent::Ended(problem)),
        }
    }

    fn admit_watch(&self, request: &WatchRequest) -> Result<GroupId, Problem> {
        request.validate()?;
        let limit = self.config.limits.watchers_max;
        if self.watches.len() >= limit {
            return Err(problems::overloaded("watches of this node", limit));
        }
        let name = &request.keyspace;
        let keyspace = self.keyspaces.get(name).ok_or_else(|| problems::keyspace_not_found(name))?;
        Ok(keyspace.group.shard(request.shard(keyspace.contract.shards)?))
    }

    /// The keyspace of a group was deleted: its watches end.
    pub(crate) fn end_watches(&mut self, group: GroupId, problem: &Problem) {
        for token in self.watches.end_group(group) {
            self.tell(token, WatchEvent::Ended(problem.clone()));
        }
    }

    fn tell(&mut self, token: u64, event: WatchEvent) {
        self.outbox.push(Output::Watch { token, event });
    }

    /// Tells every watch what it has credit for.
    pub(crate) fn serve_watches(&mut self, now: Now) -> Result<(), Fatal> {
        let mut pages = PAGES_MAX;
        for id in self.watches.groups() {
            let state = self.store.state(id);
            let Some(mut watched) = self.watches.take_due(id, state.revision) else { continue };
            let served = self.serve_group(now, id, &mut watched, &mut pages);
            self.watches.put_back(id, watched);
            served?;
        }
        Ok(())
    }

    fn serve_group(
        &mut self,
        now: Now,
        id: GroupId,
        watched: &mut registry::Watched,
        pages: &mut usize,
    ) -> Result<(), Fatal> {
        let state = self.store.state(id);
        let floor = history::floor(&self.store, id)?.revision;
        watched.recent.fill(&self.store, id, state.revision)?;
        for token in watched.in_turn() {
            let Some(watcher) = watched.watchers.get_mut(&token) else { continue };
            if watcher.position.is_none() {
                if watcher.request.session.seen(id) > state.applied_index {
                    types::mark!("watch_waits_for_session");
                    continue;
                }
                let from = watcher.request.from.unwrap_or(state.revision + 1);
                #[cfg(feature = "planted")]
                let from = self.planted_watch_from(from, state.revision, floor);
                if from <= floor {
                    types::mark!("watch_began_too_late");
                    watched.watchers.remove(&token);
                    self.watches.forget(token);
                    self.tell(token, WatchEvent::Ended(problems::compacted(floor, from)));
                    continue;
                }
                watcher.begin(from, now.mono_ms);
                let receipt = Box::new(self.watch_receipt(now, id, &watcher.request));
                self.tell(token, WatchEvent::Started { from, receipt });
            }
            #[cfg(feature = "planted")]
            if let Some(position) = &mut watcher.position {
                *position = self.planted_watch_position(*position, watched.recent.from(), floor);
            }
            let served = watcher.serve(&self.store, id, &watched.recent, floor, pages)?;
            let Served { events, behind } = served;
            watched.unfinished |= behind;
            let ended = matches!(events.last(), Some(WatchEvent::Ended(_)));
            for event in events {
                self.tell(token, event);
            }
            if ended {
                watched.watchers.remove(&token);
                self.watches.forget(token);
            } else if let Some(progress) = watcher.progress(now.mono_ms, PROGRESS_MS) {
                self.tell(token, progress);
            }
        }
        Ok(())
    }

    fn watch_receipt(&mut self, now: Now, id: GroupId, request: &WatchRequest) -> Receipt {
        let hlc = self.answer_hlc();
        let (group, state) = (&self.groups[&id], self.store.state(id));
        let mut session = request.session.clone();
        session.see_hlc(hlc);
        session.see(id, state.applied_index);
        session.join(&group.frontier);
        let staleness_ms = group.freshness.staleness_ms(state.applied_index, now.mono_ms);
        #[cfg(feature = "planted")]
        let staleness_ms = self.planted_staleness(staleness_ms);
        Receipt {
            keyspace: request.keyspace.clone(),
            requested: Guarantee::Eventual,
            delivered: Guarantee::Eventual,
            session,
            hlc,
            degraded: None,
            revision: Some(state.revision),
            staleness_ms,
            acks: Acks { required: 0, got: 0, of: self.config.members.len() as u32, durable: 0 },
            served_by: self.config.node,
            role: group.raft.role(),
            term: group.raft.term(),
            attempts: 1,
            deduplicated: false,
            shards: None,
            read_lease: None,
        }
    }
}
