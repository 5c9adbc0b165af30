//! The watches of a node, and what one of them is told next.

use std::collections::BTreeMap;

use keyspace::{
    KeyRange,
    history::{self, Events, Revision, Wanted},
};
use storage::{ReadRows, StoreError};
use types::{GroupId, limits::WATCH_BUFFER_BYTES_MAX};

use super::{
    PAGE_EVENTS_MAX, WatchEvent, WatchRequest,
    recent::{Recent, within},
};
use crate::problems;

/// All watches, by group.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    groups: BTreeMap<GroupId, Watched>,
    tokens: BTreeMap<u64, GroupId>,
}

/// The watches of one group.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) watchers: BTreeMap<u64, Watcher>,
    pub(super) recent: Recent,
    /// The group's revision when they were last served.
    revision: u64,
    /// Whether one of them may have something to be told though the revision is the same.
    pub(super) unfinished: bool,
    /// Who is served first: whoever was second, so that nobody is always last when pages are short.
    first: u64,
}

/// One watch.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) request: WatchRequest,
    range: KeyRange,
    /// The first revision that it was not told of; `None` before it begins.
    pub(super) position: Option<u64>,
    /// The revision that it knows to be complete.
    known: u64,
    /// When it was last told anything.
    told_ms: u64,
    /// Bytes that it may still be told; below 0 after a revision of more.
    credit: i64,
}

/// What serving a watch came to.
pub(super) struct Served {
    pub(super) events: Vec<WatchEvent>,
    /// Whether there is more that it has credit for.
    pub(super) behind: bool,
}

impl Watches {
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn insert(&mut self, group: GroupId, token: u64, watcher: Watcher) {
        let fresh = || Watched {
            watchers: BTreeMap::new(),
            recent: Recent::default(),
            revision: 0,
            unfinished: true,
            first: 0,
        };
        let watched = self.groups.entry(group).or_insert_with(fresh);
        watched.unfinished = true;
        assert!(watched.watchers.insert(token, watcher).is_none(), "the driver used token {token} twice");
        self.tokens.insert(token, group);
    }

    pub(crate) fn remove(&mut self, token: u64) {
        let Some(group) = self.tokens.remove(&token) else { return };
        if let Some(watched) = self.groups.get_mut(&group) {
            watched.watchers.remove(&token);
            if watched.watchers.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// The group is no more: answers who watched it.
    pub(super) fn end_group(&mut self, group: GroupId) -> Vec<u64> {
        let watched = self.groups.remove(&group);
        let tokens: Vec<u64> = watched.into_iter().flat_map(|watched| watched.watchers.into_keys()).collect();
        tokens.iter().for_each(|token| self.forget(*token));
        tokens
    }

    /// A watch that has been taken out of its group ended.
    pub(super) fn forget(&mut self, token: u64) {
        self.tokens.remove(&token);
    }

    pub(crate) fn credit(&mut self, token: u64, bytes: u64) {
        let Some(watched) = self.tokens.get(&token).and_then(|group| self.groups.get_mut(group)) else {
            return;
        };
        let Some(watcher) = watched.watchers.get_mut(&token) else { return };
        let most = WATCH_BUFFER_BYTES_MAX as i64;
        watcher.credit = watcher.credit.saturating_add_unsigned(bytes).min(most);
        watched.unfinished = true;
    }

    /// Some may have to be told of progress.
    pub(crate) fn on_tick(&mut self) {
        self.groups.values_mut().for_each(|watched| watched.unfinished = true);
    }

    pub(super) fn groups(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    /// Takes out the watches of a group if any may have something to be told.
    pub(super) fn take_due(&mut self, group: GroupId, revision: u64) -> Option<Watched> {
        let watched = self.groups.get(&group)?;
        if watched.revision == revision && !watched.unfinished {
            return None;
        }
        let mut watched = self.groups.remove(&group)?;
        (watched.revision, watched.unfinished) = (revision, false);
        Some(watched)
    }

    pub(super) fn put_back(&mut self, group: GroupId, watched: Watched) {
        if !watched.watchers.is_empty() {
            self.groups.insert(group, watched);
        }
    }
}

impl Watched {
    /// Every token, beginning with another one each time.
    pub(super) fn in_turn(&mut self) -> Vec<u64> {
        let mut tokens: Vec<u64> = self.watchers.range(self.first..).map(|(token, _)| *token).collect();
        tokens.extend(self.watchers.range(..self.first).map(|(token, _)| *token));
        self.first = tokens.get(1).copied().unwrap_or(0);
        tokens
    }
}

impl Watcher {
    pub(super) fn new(request: WatchRequest) -> Watcher {
        let (range, credit) = (request.range(), WATCH_BUFFER_BYTES_MAX as i64);
        Watcher { request, range, position: None, known: 0, told_ms: 0, credit }
    }

    pub(super) fn begin(&mut self, from: u64, now_ms: u64) {
        (self.position, self.known, self.told_ms) = (Some(from), from - 1, now_ms);
    }

    /// What it is told next, within its credit; a page of the store is taken from `pages`.
    pub(super) fn serve(
        &mut self,
        rows: &dyn ReadRows,
        group: GroupId,
        recent: &Recent,
        floor: u64,
        pages: &mut usize,
    ) -> Result<Served, StoreError> {
        let mut served = Served { events: Vec::new(), behind: false };
        let Some(mut position) = self.position else { return Ok(served) };
        // What is below the floor is on its way out, or gone: nobody can say any more what it was.
        if position <= floor {
            types::mark!("watch_overtaken");
            served.events.push(WatchEvent::Ended(problems::compacted(floor, position)));
            return Ok(served);
        }
        while self.credit > 0 && position < recent.from() {
            if *pages == 0 {
                served.behind = true;
                break;
            }
            types::mark!("watch_fell_behind");
            *pages -= 1;
            let wanted = Wanted {
                range: &self.range,
                prev: self.request.prev,
                events_max: PAGE_EVENTS_MAX,
                bytes_max: self.credit as usize,
            };
            let (revisions, next) = match history::events(rows, group, position, wanted)? {
                Events::Page { revisions, next } => (revisions, next),
                Events::Compacted(_) => unreachable!("its position is above the floor"),
            };
            // A page of an older state, while a snapshot is installed, may have nothing new.
            if next <= position {
                break;
            }
            for revision in revisions {
                self.change(&mut served, revision);
            }
            position = next;
        }
        if position >= recent.from() {
            for revision in recent.since(position) {
                if self.credit <= 0 {
                    break;
                }
                position = revision.revision + 1;
                if let Some(revision) = within(revision, &self.range, self.request.prev) {
                    self.change(&mut served, revision);
                }
            }
            if self.credit > 0 {
                position = position.max(recent.next());
            }
        }
        self.position = Some(position);
        if let Some(WatchEvent::Changed(last)) = served.events.last() {
            self.known = last.revision;
        }
        Ok(served)
    }

    fn change(&mut self, served: &mut Served, revision: Revision) {
        let event = WatchEvent::Changed(revision);
        self.credit = self.credit.saturating_sub_unsigned(event.bytes());
        served.events.push(event);
    }

    /// Notes what it was told at `now_ms`; answers what it should know if it has heard nothing for too long.
    pub(super) fn progress(&mut self, now_ms: u64, quiet_ms: u64) -> Option<WatchEvent> {
        let complete = self.position? - 1;
        if complete <= self.known || self.credit <= 0 || now_ms < self.told_ms + quiet_ms {
            return None;
        }
        (self.known, self.told_ms) = (complete, now_ms);
        let event = WatchEvent::Progress(complete);
        self.credit = self.credit.saturating_sub_unsigned(event.bytes());
        Some(event)
    }
}
