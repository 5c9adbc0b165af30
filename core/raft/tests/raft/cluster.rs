//! A cluster in memory: real groups, a network that holds every message until told, disks that
//! hold every write until told, and the invariants that no schedule may break.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use raft_group::{GroupConfig, GroupOutput, GroupReady, RaftGroup, ReadError, RecoveredLog, StepError};
use types::{Entry, GroupId, HardState, LogPosition, NodeId, Role};
use wire::message::{RaftKind, RaftMessage};

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub from: u64,
    pub to: u64,
    pub message: RaftMessage,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub start: LogPosition,
    pub entries: Vec<Entry>,
    pub checkpoint: LogPosition,
}

pub struct Member {
    pub group: Option<RaftGroup>,
    pub disk: Disk,
    pub queue: VecDeque<GroupReady>,
    pub install: Option<(u64, LogPosition)>,
    pub reads: Vec<(u64, u64)>,
    pub applied: LogPosition,
    pub wants_checkpoint: bool,
    /// Tells boots of one node apart.
    pub boots: u64,
    /// Its own monotonic clock, which only moves when told.
    pub now_ms: u64,
}

/// How far a tick moves the clock of its node.
pub const TICK_MS: u64 = 10;

#[derive(Clone, Debug)]
pub struct Setup {
    pub nodes: u64,
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
    pub log_cache_bytes_max: u64,
    pub unapplied_bytes_max: u64,
    pub vote_refusal_ms: u64,
    pub seed: u64,
    #[cfg(feature = "planted")]
    pub planted: Option<raft_group::Planted>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            nodes: 3,
            election_ticks: 10,
            heartbeat_ticks: 3,
            log_cache_bytes_max: 1 << 20,
            unapplied_bytes_max: 1 << 20,
            vote_refusal_ms: 80,
            seed: 1,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

pub struct Cluster {
    pub setup: Setup,
    pub members: Vec<Member>,
    pub network: Vec<Envelope>,
    pub leaders: BTreeMap<u64, u64>,
    /// Applied entries, with the term of the node that applied each first.
    pub committed: BTreeMap<u64, (u64, Entry)>,
    /// Everything that happened, as text.
    pub trace: String,
    /// The first broken invariant, when it should be reported and not panic.
    pub violation: Option<String>,
}

impl Cluster {
    pub fn new(setup: Setup) -> Cluster {
        let mut cluster = Cluster {
            members: Vec::new(),
            network: Vec::new(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            trace: String::new(),
            violation: None,
            setup,
        };
        for node in 0..cluster.setup.nodes {
            cluster.members.push(Member {
                group: None,
                disk: Disk::default(),
                queue: VecDeque::new(),
                install: None,
                reads: Vec::new(),
                applied: LogPosition::default(),
                wants_checkpoint: false,
                boots: 0,
                now_ms: 0,
            });
            cluster.start(node);
        }
        cluster
    }

    pub fn config(&self, node: u64) -> GroupConfig {
        GroupConfig {
            group: GroupId(7),
            node: NodeId(node),
            voters: (0..self.setup.nodes).map(NodeId).collect(),
            election_ticks: self.setup.election_ticks,
            heartbeat_ticks: self.setup.heartbeat_ticks,
            log_cache_bytes_max: self.setup.log_cache_bytes_max,
            unapplied_bytes_max: self.setup.unapplied_bytes_max,
            vote_refusal_ms: self.setup.vote_refusal_ms,
            seed: self.setup.seed + 1000 * self.members[node as usize].boots,
            #[cfg(feature = "planted")]
            planted: self.setup.planted,
        }
    }

    pub fn start(&mut self, node: u64) {
        if self.members[node as usize].group.is_some() {
            return;
        }
        self.members[node as usize].boots += 1;
        let config = self.config(node);
        let member = &mut self.members[node as usize];
        let Disk { hard_state, start, entries, checkpoint } = member.disk.clone();
        let recovered = RecoveredLog { hard_state, start, entries, applied: checkpoint };
        let group = RaftGroup::new(member.now_ms, config, recovered);
        member.group = Some(group.expect("what was written is recoverable"));
        member.applied = checkpoint;
        self.poll(node);
    }

    /// Everything that is not durable is gone.
    pub fn crash(&mut self, node: u64) {
        let member = &mut self.members[node as usize];
        member.group = None;
        member.queue.clear();
        member.install = None;
        member.reads.clear();
    }

    pub fn group(&self, node: u64) -> &RaftGroup {
        self.members[node as usize].group.as_ref().expect("the node is up")
    }

    /// Calls the group, if it is up, then drains it.
    pub fn with<T>(&mut self, node: u64, call: impl FnOnce(&mut RaftGroup) -> T) -> Option<T> {
        let answer = call(self.members[node as usize].group.as_mut()?);
        self.poll(node);
        Some(answer)
    }

    /// A tick, and the time until the next.
    pub fn tick(&mut self, node: u64) {
        let now_ms = &mut self.members[node as usize].now_ms;
        *now_ms += TICK_MS;
        let now_ms = *now_ms;
        self.with(node, |group| group.tick(now_ms));
    }

    /// Asks for a read index now; `None` while the node is down.
    pub fn read_index(&mut self, node: u64) -> Option<Result<u64, ReadError>> {
        let now_ms = self.members[node as usize].now_ms;
        self.with(node, |group| group.read_index(now_ms))
    }

    fn step(&mut self, to: u64, from: NodeId, message: RaftMessage) -> Option<Result<(), StepError>> {
        let now_ms = self.members[to as usize].now_ms;
        self.with(to, |group| group.step(now_ms, from, message))
    }

    fn poll(&mut self, node: u64) {
        loop {
            let member = &mut self.members[node as usize];
            let Some(group) = &mut member.group else { return };
            let mut out = GroupOutput::default();
            group.poll(&mut out);
            let applied = out.committed.last().map(|entry| entry.index);
            let messages = out.messages.into_iter().chain(out.send_snapshot);
            for (to, message) in messages {
                let envelope = Envelope { from: node, to: to.0, message };
                let _ = writeln!(self.trace, "{}", show(&envelope));
                self.network.push(envelope);
            }
            for write in out.writes {
                let _ = writeln!(self.trace, "{node} writes {write:?}");
                member.queue.push_back(write);
            }
            if let Some(install) = out.install {
                assert!(member.install.replace(install).is_none(), "two installations at once");
            }
            member.reads.extend(out.reads);
            member.wants_checkpoint |= out.wants_checkpoint;
            for entry in out.committed {
                let member = &mut self.members[node as usize];
                assert_eq!(entry.index, member.applied.index + 1, "node {node} skips entries");
                assert!(member.install.is_none(), "entries came before the snapshot was installed");
                member.applied = LogPosition { index: entry.index, term: entry.term };
                self.commit(node, entry);
            }
            let Some(applied) = applied else { break };
            if let Some(group) = &mut self.members[node as usize].group {
                group.applied(applied);
            }
        }
        self.check(node);
    }

    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn commit(&mut self, node: u64, entry: Entry) {
        let term = self.group(node).status().term;
        let (_, known) = self.committed.entry(entry.index).or_insert_with(|| (term, entry.clone()));
        if *known != entry {
            let what = format!("node {node} applies {entry:?} where {known:?} was committed");
            self.violate(what);
        }
    }

    /// Thesis 3.2: election safety, log matching, leader completeness.
    fn check(&mut self, node: u64) {
        let status = self.group(node).status();
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(node);
            if leader != node {
                self.violate(format!("nodes {leader} and {node} both lead term {}", status.term));
            }
            let missing = self.committed.values().find(|(term, entry)| {
                *term < status.term
                    && entry.index >= status.first_index
                    && self.group(node).term_at(entry.index) != Some(entry.term)
            });
            if let Some((_, entry)) = missing {
                self.violate(format!("leader {node} lacks the committed entry {}", entry.index));
            }
        }
        for other in (0..self.setup.nodes).filter(|other| *other != node) {
            let (ours, Some(theirs)) =
                (self.group(node), self.members.get(other as usize).and_then(|member| member.group.as_ref()))
            else {
                continue;
            };
            let last = ours.status().last_index.min(theirs.status().last_index);
            let mut same = false;
            for index in (1..=last).rev() {
                let (Some(a), Some(b)) = (ours.entry(index), theirs.entry(index)) else { break };
                if same && a != b {
                    self.violate(format!("logs of {node} and {other} differ below a match, at {index}"));
                    break;
                }
                same |= a.term == b.term;
            }
        }
    }

    pub fn assert_safe(&self) {
        assert_eq!(self.violation, None);
    }

    /// Completes the node's oldest write; false when there is none.
    pub fn persist_one(&mut self, node: u64) -> bool {
        let member = &mut self.members[node as usize];
        let Some(GroupReady { ready, write }) = member.queue.pop_front() else { return false };
        let disk = &mut member.disk;
        if let Some((_, position)) = member.install.take_if(|(install, _)| *install == ready) {
            disk.checkpoint = position;
            member.applied = position;
        }
        if let Some(position) = write.reset {
            disk.start = position;
            disk.entries.clear();
        }
        if let Some(first) = write.entries.first() {
            let keep = (first.index - disk.start.index - 1) as usize;
            assert!(keep <= disk.entries.len(), "a gap in the log on disk");
            disk.entries.truncate(keep);
            disk.entries.extend(write.entries);
        }
        disk.hard_state = write.hard_state.unwrap_or(disk.hard_state);
        let _ = writeln!(self.trace, "{node} persisted {ready}");
        self.with(node, |group| group.persisted(ready));
        true
    }

    /// Only the first half of an installation, then a crash.
    pub fn crash_while_installing(&mut self, node: u64) {
        let member = &mut self.members[node as usize];
        let (_, position) = member.install.take().expect("an installation is under way");
        member.disk.checkpoint = position;
        self.crash(node);
    }

    /// Delivers one message; the answer tells whether it was refused.
    pub fn deliver(&mut self, envelope: Envelope) -> Result<(), StepError> {
        let snapshot = envelope.message.kind() == RaftKind::Snapshot;
        let from = NodeId(envelope.from);
        let _ = writeln!(self.trace, "deliver {}", show(&envelope));
        let answer = self.step(envelope.to, from, envelope.message);
        if snapshot {
            self.with(envelope.from, |group| group.report_snapshot(NodeId(envelope.to), answer.is_some()));
        }
        answer.unwrap_or(Ok(()))
    }

    /// Delivers one message, and tells its sender nothing about snapshots.
    pub fn deliver_alone(&mut self, to: u64, from: u64, message: RaftMessage) -> Result<(), StepError> {
        self.step(to, NodeId(from), message).unwrap_or(Ok(()))
    }

    /// A durable checkpoint of what is applied, then compaction here and of the log on disk.
    pub fn checkpoint(&mut self, node: u64) {
        let member = &mut self.members[node as usize];
        if member.install.is_some() || member.group.is_none() {
            return;
        }
        let position = member.applied;
        member.disk.checkpoint = position;
        let log = &mut member.disk.entries;
        if let Some(at) =
            log.iter().position(|entry| (entry.index, entry.term) == (position.index, position.term))
        {
            log.drain(..=at);
            member.disk.start = position;
        }
        self.with(node, |group| {
            group.snapshot_available(position);
            group.compact();
        });
    }

    /// Persists and delivers everything, oldest first, until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for node in 0..self.setup.nodes {
                while self.persist_one(node) {
                    moved = true;
                }
            }
            let messages = std::mem::take(&mut self.network);
            moved |= !messages.is_empty();
            for envelope in messages {
                self.deliver(envelope).expect("correct peers are understood");
            }
            if !moved {
                return;
            }
        }
    }

    /// Ticks one node until it campaigns; then lets it win if it can.
    pub fn elect(&mut self, node: u64) {
        for _ in 0..4 * self.setup.election_ticks {
            if self.group(node).status().role != Role::Follower {
                break;
            }
            self.tick(node);
        }
        self.settle();
    }

    pub fn propose(
        &mut self,
        node: u64,
        data: &[&str],
    ) -> Result<raft_group::Proposed, raft_group::ProposeError> {
        let commands = data.iter().map(|data| Arc::from(data.as_bytes())).collect();
        self.with(node, |group| group.propose(commands)).expect("the node is up")
    }
}

/// One line for a message.
pub fn show(envelope: &Envelope) -> String {
    let m = &envelope.message;
    let mut line = format!("{} -> {} {:?} term={}", envelope.from, envelope.to, m.kind(), m.term);
    match m.kind() {
        RaftKind::Append => {
            let _ = write!(line, " after={}/{} commit={}", m.index, m.log_term, m.commit);
            for entry in &m.entries {
                let data = String::from_utf8_lossy(&entry.data);
                let _ = write!(line, " [{}/{} {data:?}]", entry.index, entry.term);
            }
        }
        RaftKind::AppendResponse if m.reject => {
            let _ = write!(line, " refused={} hint={}/{}", m.index, m.reject_hint, m.log_term);
        }
        RaftKind::AppendResponse => {
            let _ = write!(line, " index={}", m.index);
        }
        RaftKind::RequestVote | RaftKind::RequestPreVote => {
            let _ = write!(line, " last={}/{}", m.index, m.log_term);
        }
        RaftKind::RequestVoteResponse | RaftKind::RequestPreVoteResponse => {
            line += if m.reject { " refused" } else { " granted" };
        }
        RaftKind::Snapshot => {
            let _ = write!(line, " at={}/{}", m.snapshot_index, m.snapshot_term);
        }
        RaftKind::Heartbeat => {
            let _ = write!(line, " commit={}", m.commit);
        }
        _ => {}
    }
    if let [.., a, b, c, d, e, f, g, h] = m.context[..]
        && m.context.len() == 24
    {
        let _ = write!(line, " read={}", u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    }
    line
}
