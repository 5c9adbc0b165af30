//! Clients that watch, under all faults: they take what they are told now or later, hang up, and go on at
//! another node from where they were. What each is told is held against [`crate::past`].
//!
//! Guarantee G-WATCH, as its clients see it: exactly the matching changes, in the order of revisions, whole
//! revisions, no gap and no repeat, across all nodes; or `COMPACTED`, truthfully.

use keyspace::{
    Command, KeyRange, Keys, Outcome, Query, QueryAnswer,
    history::{KeyEvent, NotReadable, Revision},
};
use node::{Input, Op, Reply, ReplyBody, Request, WatchEvent, WatchRequest};
use scenario::Kind;
use storage::Row;
use types::{ErrorCode, GroupId, NodeId, Problem};

use crate::{
    counts::Counts,
    dice::Dice,
    event::Event,
    failure::Broken,
    network::Lost,
    past::Line,
    plan::{KEYSPACES, MS, Plan, SHARDED, SHARDS},
    together::TOGETHER,
    world::World,
};

/// Tokens of watchers' requests begin here, so that they are no other client's.
const TOKENS_FROM: u64 = 1 << 48;
/// Mean time between two things that a watcher does of its own accord.
const TURN_US: u64 = 150 * MS;

/// Something that a watching client does to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchInput {
    /// It begins to watch.
    Begin,
    /// It took so many bytes.
    Credit(u64),
    /// It hangs up.
    End,
    /// It asks for something else, with this token.
    Ask(u64),
}

/// One watching client.
#[derive(Debug)]
struct Watcher {
    keyspace: usize,
    shard: Option<u32>,
    keys: Keys,
    prev: bool,
    /// The first revision that it was not told of; `None`: it begins at the newest.
    position: Option<u64>,
    stream: Option<Stream>,
    /// Whether it takes things slowly.
    lazy: bool,
    /// What it last asked: the token, the key, and the revision to read it at, or to compact to.
    asked: Option<(u64, Asked)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// A key at a revision.
    Past(Vec<u8>, u64),
    /// To compact.
    Compact,
}

/// A watch at a node.
#[derive(Clone, Copy, Debug)]
struct Stream {
    token: u64,
    node: NodeId,
    /// The boot that took it; `None` while it is on its way.
    boot: Option<u64>,
    /// Whether it has begun.
    started: bool,
    /// Bytes told and not taken.
    untaken: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Watchers {
    dice: Dice,
    all: Vec<Watcher>,
    tokens: u64,
}

impl Watchers {
    /// Those of a world.
    pub fn new(mut dice: Dice, plan: &Plan) -> Watchers {
        let watching = if plan.idle.contains(&Kind::Watches) { 0 } else { dice.between(1, 4) };
        let all = (0..watching).map(|_| Watcher::draw(&mut dice, plan)).collect();
        Watchers { dice, all, tokens: TOKENS_FROM }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Whether a request is one of theirs.
    pub fn owns(token: u64) -> bool {
        token >= TOKENS_FROM
    }

    fn of_token(&mut self, token: u64) -> Option<&mut Watcher> {
        self.all.iter_mut().find(|watcher| watcher.stream.is_some_and(|stream| stream.token == token))
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }
}

impl Watcher {
    fn draw(dice: &mut Dice, plan: &Plan) -> Watcher {
        let keyspace = dice.below(KEYSPACES.len() as u64) as usize;
        let key = format!("k{}", dice.below(plan.keys)).into_bytes();
        let keys = match dice.below(4) {
            0 => Keys::One(key),
            1 => Keys::Range(KeyRange { start: key, end: None }),
            2 => Keys::Range(keyspace::prefix_range(b"k")),
            _ => Keys::Range(KeyRange::default()),
        };
        let sharded = keyspace == SHARDED && !matches!(keys, Keys::One(_));
        let shard = sharded.then(|| dice.below(u64::from(SHARDS)) as u32);
        let position = if dice.chance(500) { Some(1) } else { None };
        let (prev, lazy) = (dice.chance(500), dice.chance(300));
        Watcher { keyspace, shard, keys, prev, position, stream: None, lazy, asked: None }
    }

    fn request(&self) -> WatchRequest {
        WatchRequest {
            keyspace: KEYSPACES[self.keyspace].into(),
            keys: self.keys.clone(),
            shard: self.shard,
            from: self.position,
            prev: self.prev,
            session: Default::default(),
        }
    }

    fn range(&self) -> KeyRange {
        match &self.keys {
            Keys::One(key) => KeyRange { start: key.clone(), end: Some([&key[..], &[0]].concat()) },
            Keys::Range(range) => range.clone(),
        }
    }

    fn shard(&self) -> u32 {
        match &self.keys {
            Keys::One(key) if self.keyspace == SHARDED => types::shard_of(key, SHARDS),
            _ => self.shard.unwrap_or(0),
        }
    }

    /// Up to which revision an event tells all changes, and what it tells of that one.
    fn told_up_to<'a>(&self, event: &'a WatchEvent) -> Option<(u64, Option<&'a Revision>)> {
        let started = self.stream.is_some_and(|stream| stream.started);
        match event {
            WatchEvent::Changed(revision) if started => Some((revision.revision, Some(revision))),
            WatchEvent::Progress(revision) if started => Some((*revision, None)),
            _ => None,
        }
    }

    /// Those of these keys that it watches.
    fn seen(&self, keys: Vec<String>) -> impl Iterator<Item = String> + use<> {
        let (range, keyspace, shard) = (self.range(), self.keyspace, self.shard());
        keys.into_iter().filter(move |key| {
            let key = key.as_bytes();
            let inside =
                range.start.as_slice() <= key && range.end.as_ref().is_none_or(|end| key < end.as_slice());
            // That one stands for several, which only transactions change.
            inside
                && key != TOGETHER.as_bytes()
                && (keyspace != SHARDED || types::shard_of(key, SHARDS) == shard)
        })
    }

    /// It is told something: what it must have been told before is known from the past.
    fn learn(&mut self, past: Option<&Line>, event: &WatchEvent) -> Result<(), String> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.untaken += event.bytes();
        match (event, stream.started) {
            (WatchEvent::Started { from, .. }, false) => {
                stream.started = true;
                let newest = past.map_or(0, Line::revision);
                match self.position {
                    Some(position) if position != *from => {
                        Err(format!("it begins at {from}, not at {position}"))
                    }
                    None if *from > newest + 1 => Err(format!("it begins at {from}, beyond {newest}")),
                    _ => {
                        self.position = Some(*from);
                        Ok(())
                    }
                }
            }
            (WatchEvent::Ended(problem), _) => self.end(past, problem),
            (WatchEvent::Changed(revision), true) => self.advance(past, revision.revision, Some(revision)),
            (WatchEvent::Progress(revision), true) => self.advance(past, *revision, None),
            (event, _) => Err(format!("it is told {event:?} out of turn")),
        }
    }

    fn advance(&mut self, past: Option<&Line>, to: u64, changed: Option<&Revision>) -> Result<(), String> {
        let position = self.position.ok_or("it has no position")?;
        if to < position {
            return Err(format!("it is told of {to}, and was told of all before {position}"));
        }
        self.position = Some(to + 1);
        let Some(past) = past.filter(|past| past.revision() >= to) else {
            return Err(format!("it is told of {to}, which is not committed"));
        };
        let expected = past.changes(&self.range(), position, to);
        let told = changed.map(|revision| (revision.revision, revision.events.as_slice()));
        let fits = match (expected.as_slice(), told) {
            ([], None) => true,
            ([(revision, changes)], Some((at, events))) => {
                *revision == at
                    && changes.len() == events.len()
                    && changes.iter().zip(events).all(|((key, before, after), event)| {
                        is_change(event, key, before.as_ref(), after.as_ref(), self.prev)
                    })
            }
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(format!("from {position} to {to} it is told {told:?}, not {expected:?}"))
        }
    }

    fn end(&mut self, past: Option<&Line>, problem: &Problem) -> Result<(), String> {
        self.stream = None;
        if problem.code != ErrorCode::Compacted {
            return Ok(());
        }
        let (floor, oldest) = (past.map_or(0, Line::floor), problem.oldest_revision.unwrap_or(0));
        let true_of = self.position.is_some_and(|position| position < oldest) && oldest <= floor + 1;
        let position = self.position.take();
        // It reads anew, which takes it to the newest revision.
        if true_of { Ok(()) } else { Err(format!("at {position:?}, with floor {floor}: {problem}")) }
    }
}

/// Whether an event says this of a key.
fn is_change(event: &KeyEvent, key: &[u8], before: Option<&Row>, after: Option<&Row>, prev: bool) -> bool {
    let same = |version: &Option<keyspace::history::Version>, row: Option<&Row>| match (version, row) {
        (None, None) => true,
        (Some(version), Some(row)) => {
            (version.create_revision, version.mod_revision, version.version)
                == (row.create_revision, row.mod_revision, row.version)
                && version.value == row.value
        }
        _ => false,
    };
    event.key == key
        && same(&event.put, after)
        && event.prev_revision == before.map_or(0, |row| row.mod_revision)
        && same(&event.prev, before.filter(|_| prev))
}

impl World {
    fn watched_group(&self, number: usize) -> Option<GroupId> {
        let watcher = &self.watchers.all[number];
        Some(self.oracle.catalog.group(KEYSPACES[watcher.keyspace])?.shard(watcher.shard()))
    }

    fn send_watch(&mut self, node: NodeId, number: usize, what: WatchInput) {
        let delay = self.dice.delay_us(self.plan.network.latency_us);
        self.queue.push(self.now_us + delay, Event::Watch { node, watcher: number, what });
    }

    pub(crate) fn wake_watcher(&mut self, number: usize) {
        let delay = self.watchers.dice.delay_us(TURN_US);
        self.queue.push(self.now_us + delay, Event::WatchTurn(number));
    }

    /// A watcher does something.
    pub(crate) fn on_watch_turn(&mut self, number: usize) {
        self.wake_watcher(number);
        let healed = !self.in_chaos();
        let group = self.watched_group(number);
        let (kind, node) = (self.watchers.dice.below(100), NodeId(self.watchers.dice.below(self.plan.nodes)));
        let (unread, kind) = (self.load.unread, if self.load.compacting { 90 + kind % 4 } else { kind });
        let watcher = &mut self.watchers.all[number];
        let Some(stream) = watcher.stream else {
            let token = self.watchers.token();
            let stream = Stream { token, node, boot: None, started: false, untaken: 0 };
            self.watchers.all[number].stream = Some(stream);
            return self.send_watch(node, number, WatchInput::Begin);
        };
        let host = &self.hosts[stream.node.0 as usize];
        // What has not arrived by now may have been lost with the process that it was held up by.
        let broken = host.process.is_none() || stream.boot != Some(host.boot);
        if broken || (!healed && kind < 12) {
            watcher.stream = None;
            if !broken && kind < 2 {
                // It forgets where it was, and wants all there is.
                watcher.position = Some(1);
            }
            self.counts.add("watches_resumed", 1);
            return self.send_watch(stream.node, number, WatchInput::End);
        }
        if unread && stream.untaken > 0 {
            self.counts.add("watches_unread", 1);
            return;
        }
        if stream.boot.is_some() && stream.untaken > 0 && (healed || !watcher.lazy || kind < 30) {
            watcher.stream = Some(Stream { untaken: 0, ..stream });
            return self.send_watch(stream.node, number, WatchInput::Credit(stream.untaken));
        }
        let Some(past) = group.and_then(|group| self.oracle.past.of(group)).filter(|_| !healed) else {
            return;
        };
        let revision = past.revision();
        match kind {
            90..94 if revision > 0 => {
                // Mostly what is old, now and then everything.
                let back = self.watchers.dice.below(revision.min(20));
                let (revision, shard) = (revision - back, Some(watcher.shard()));
                self.ask(number, node, Asked::Compact, Op::Command(Command::Compact { revision, shard }));
            }
            94..100 => {
                let revision = self.watchers.dice.below(revision + 2);
                let key = format!("k{}", self.watchers.dice.below(self.plan.keys)).into_bytes();
                let query = Box::new(Query::Get { key: key.clone() });
                self.ask(number, node, Asked::Past(key, revision), Op::Query(Query::At { revision, query }));
            }
            _ => {}
        }
    }

    fn ask(&mut self, number: usize, node: NodeId, asked: Asked, op: Op) {
        let token = self.watchers.token();
        let watcher = &mut self.watchers.all[number];
        watcher.asked = Some((token, asked));
        let request = Request::new(KEYSPACES[watcher.keyspace], op);
        self.note(format_args!("watcher {number} asks node {node} ({token}): {request:?}"));
        self.watch_requests.insert(token, request);
        self.send_watch(node, number, WatchInput::Ask(token));
    }

    /// What a watcher sent arrives.
    pub(crate) fn on_watch_input(
        &mut self,
        node: NodeId,
        number: usize,
        what: &WatchInput,
    ) -> Result<(), Broken> {
        let host = &self.hosts[node.0 as usize];
        let (boot, running) = (host.boot, host.process.is_some());
        let cut = self.network.loses(self.clients.count() + number, node, Lost::Requests);
        if cut && *what != WatchInput::End {
            self.counts.add("requests_lost", 1);
            if let WatchInput::Ask(token) = what {
                self.watch_requests.remove(token);
            }
            if let Some(stream) = self.watchers.all[number].stream.filter(|stream| stream.node == node) {
                self.watchers.all[number].stream = None;
                // The node finds the connection gone.
                self.note(format_args!("watcher {number} loses watch {}", stream.token));
                self.send_watch(node, number, WatchInput::End);
            }
            return Ok(());
        }
        if let WatchInput::Ask(token) = what {
            let Some(request) = self.watch_requests.remove(token).filter(|_| running) else { return Ok(()) };
            let deadline_ms = host.clock.now(self.now_us).mono_ms + 2_000;
            return self.input_or_stop(node, Input::Client { token: *token, request, deadline_ms });
        }
        if *what == WatchInput::End {
            // Which of its watches there is meant: all but the present one.
            let present = self.watchers.all[number].stream.map(|stream| stream.token);
            let ended: Vec<u64> = self
                .watched
                .extract_if(.., |token, (of, at, _)| *of == number && *at == node && Some(*token) != present)
                .map(|(token, _)| token)
                .collect();
            for token in ended {
                self.input_or_stop(node, Input::Unwatch { token })?;
            }
            return Ok(());
        }
        let Some(stream) = &mut self.watchers.all[number].stream else { return Ok(()) };
        if stream.node != node {
            return Ok(());
        }
        if !running {
            self.watchers.all[number].stream = None;
            return Ok(());
        }
        let token = stream.token;
        match what {
            WatchInput::Begin if stream.boot.is_none() => {
                stream.boot = Some(boot);
                self.watched.insert(token, (number, node, boot));
                let request = self.watchers.all[number].request();
                self.note(format_args!("watcher {number} watches at node {node} ({token}): {request:?}"));
                self.input_or_stop(node, Input::Watch { token, request })
            }
            WatchInput::Credit(bytes) if stream.boot == Some(boot) => {
                self.input_or_stop(node, Input::WatchCredit { token, bytes: *bytes })
            }
            _ => Ok(()),
        }
    }

    /// A node tells a watch something.
    pub(crate) fn on_watch_event(
        &mut self,
        node: NodeId,
        token: u64,
        event: &WatchEvent,
    ) -> Result<(), Broken> {
        self.note(format_args!("node {node} tells watch {token}: {event:?}"));
        if self.watch_is_lost(node, token) {
            return Ok(());
        }
        let name = |watcher: &Watcher| (watcher.keyspace, watcher.shard());
        let Some(watcher) = self.watchers.of_token(token) else { return Ok(()) };
        let (keyspace, shard) = name(watcher);
        if let (Some(from), Some((to, changed))) = (watcher.position, watcher.told_up_to(event))
            && from <= to
        {
            let seen = watcher.seen(self.clients.keys());
            let number = self.watched.get(&token).map_or(0, |(number, ..)| *number);
            self.clients.saw.watched(self.now_us, (number, keyspace), seen, (from, to), changed);
        }
        let group = self.oracle.catalog.group(KEYSPACES[keyspace]).map(|group| group.shard(shard));
        let past = group.and_then(|group| self.oracle.past.of(group));
        let learned = watcher.learn(past, event);
        count(&mut self.counts, event);
        learned.map_err(|what| {
            let message = format!("watch {token} at node {node} of {group:?}: {what}; {event:?}");
            Broken::safety("watches_miss_nothing", message)
        })
    }

    /// Whether a watching client and its node are cut off from each other: then the watch is at an end.
    fn watch_is_lost(&mut self, node: NodeId, token: u64) -> bool {
        let number =
            self.watchers.all.iter().position(|watcher| watcher.stream.is_some_and(|s| s.token == token));
        let Some(number) = number else { return false };
        let lost = self.network.loses(self.clients.count() + number, node, Lost::Answers);
        if lost {
            self.counts.add("watches_cut", 1);
            self.watchers.all[number].stream = None;
            self.send_watch(node, number, WatchInput::End);
        }
        lost
    }

    /// A watcher's other request is answered.
    pub(crate) fn on_watcher_reply(
        &mut self,
        token: u64,
        result: &Result<Reply, Problem>,
    ) -> Result<(), Broken> {
        let asking = self
            .watchers
            .all
            .iter_mut()
            .find(|watcher| watcher.asked.as_ref().is_some_and(|(asked, _)| *asked == token));
        let Some(watcher) = asking else { return Ok(()) };
        let Some((_, asked)) = watcher.asked.take() else { return Ok(()) };
        let keyspace = watcher.keyspace;
        let Ok(reply) = result else { return Ok(()) };
        let wrong = |what: String| Err(Broken::safety("the_past_is_as_it_was", format!("{asked:?}: {what}")));
        let Some(first) = self.oracle.catalog.group(KEYSPACES[keyspace]) else { return Ok(()) };
        match (&asked, &reply.body) {
            (Asked::Compact, ReplyBody::Outcome(Outcome::Compacted { .. })) => {
                self.counts.add("compactions_asked", 1);
                Ok(())
            }
            (Asked::Past(key, revision), ReplyBody::Answer(answer)) => {
                let shard = if keyspace == SHARDED { types::shard_of(key, SHARDS) } else { 0 };
                let Some(past) = self.oracle.past.of(first.shard(shard)) else { return Ok(()) };
                match answer {
                    QueryAnswer::Get { row, .. } if past.at(key, *revision) == row.as_ref() => {
                        self.counts.add("past_reads", 1);
                        Ok(())
                    }
                    QueryAnswer::NotReadable(NotReadable { floor, revision: newest, .. })
                        if (revision < floor && *floor <= past.floor()) || revision > newest =>
                    {
                        Ok(())
                    }
                    other => wrong(format!("{other:?}, and it was {:?}", past.at(key, *revision))),
                }
            }
            (_, other) => wrong(format!("{other:?} is no answer")),
        }
    }

    /// Whether all watches of the healed world have been told everything.
    pub(crate) fn watches_are_complete(&self) -> Result<(), String> {
        for (number, watcher) in self.watchers.all.iter().enumerate() {
            let newest = self.watched_group(number).and_then(|group| self.oracle.past.of(group));
            let next = newest.map_or(0, Line::revision) + 1;
            if !watcher.stream.is_some_and(|stream| stream.started) || watcher.position != Some(next) {
                return Err(format!("watcher {number} waits for revision {next}: {watcher:?}"));
            }
        }
        Ok(())
    }

    /// Whether a node's histories are what the past leaves above the floors.
    pub(crate) fn histories_are_reclaimed(&self) -> Result<(), String> {
        for host in &self.hosts {
            let Some(process) = &host.process else { continue };
            for group in process.node.groups().into_iter().filter(|group| *group != GroupId::META) {
                let Some(past) = self.oracle.past.of(group) else { continue };
                let found = process.node.history_records(group).map_err(|error| error.to_string())?;
                if found != past.records() {
                    return Err(format!(
                        "node {} group {group} has {found:?} events and versions, not {:?}",
                        host.id,
                        past.records()
                    ));
                }
            }
        }
        Ok(())
    }
}

fn count(counts: &mut Counts, event: &WatchEvent) {
    let what = match event {
        WatchEvent::Started { .. } => "watches_started",
        WatchEvent::Changed(_) => "watch_revisions",
        WatchEvent::Progress(_) => "watch_progress",
        WatchEvent::Ended(problem) if problem.code == ErrorCode::Compacted => "watches_compacted",
        WatchEvent::Ended(_) => "watches_refused",
    };
    counts.add(what, 1);
}
