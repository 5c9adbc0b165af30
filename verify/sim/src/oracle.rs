//! What must hold in every state of the cluster, looked at after every poll of a node. It sees all
//! nodes at once, and remembers what any of them ever reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use node::Node;
use raft_group::RaftGroup;
use types::{GroupId, NodeId, Role, WriteBatch};
use wire::{PeerBody, PeerMessage, message::RaftKind};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    brief::Briefs,
    catalog::Catalog,
    durable::DurableLog,
    effects::Effects,
    failure::Broken,
    host::Host,
    invariants::Judged,
    past::{Compaction, Past},
    plan::{CONFIGURED, HISTORY_TTL_S, KEYSPACES, LIMITED, Plan, QUOTA_BYTES, SECOND, SHARDS},
    read_leases, tallies,
    tenure::Lifetimes,
    together,
};

/// What one node last reported of one group, in this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    term: u64,
    commit: u64,
    applied: u64,
    leads: bool,
    /// Index that its rows are at, with their revision and hash.
    state: (u64, u64, u128),
}

/// Where something was seen, in words only when they are needed.
#[derive(Clone, Copy)]
struct At(NodeId, GroupId);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} group {}", self.0, self.1)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Whether promises between nodes are checked as they are made (see [`crate::promises`]), and commits
    /// and receipts against the disks. Without, only the consequences of a broken promise are.
    pub look_inside: bool,
    /// The bound of the nodes' histories.
    history_revisions_max: u64,
    /// By how many parts per million clocks are wrong at most.
    clock_drift_ppm: u64,
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    /// Entry by group, index and term: hash of the data, and term of the entry before.
    entries: BTreeMap<(GroupId, u64, u64), (u64, u64)>,
    /// Entries on their way to a disk: one whose process died meanwhile may be there.
    handed_out: BTreeSet<(GroupId, u64, u64)>,
    /// Committed entry by group and index: term, hash of the data.
    committed: BTreeMap<(GroupId, u64), (u64, Option<u64>)>,
    /// State by group and applied index: revision and state hash.
    states: BTreeMap<(GroupId, u64), (u64, u128)>,
    seen: BTreeMap<(NodeId, GroupId), (u64, Seen)>,
    /// When a revision of a group was first the state of any node, in virtual microseconds.
    revisions: BTreeMap<(GroupId, u64), u64>,
    /// Where written values are in the logs: hash of the value to places.
    values: BTreeMap<u64, Vec<(GroupId, u64, u64)>>,
    /// Which keyspaces there are.
    pub catalog: Catalog,
    /// Those that come and go.
    pub briefs: Briefs,
    /// What the committed entries come to, by a second reading of them.
    pub effects: Effects,
    /// What every revision changed.
    pub past: Past,
    /// How long leases live.
    pub lifetimes: Lifetimes,
    /// Elections won.
    pub elections: u64,
}

impl Oracle {
    /// An oracle that has seen nothing; see [`Oracle::look_inside`].
    pub fn new(look_inside: bool, plan: &Plan) -> Oracle {
        let (history_revisions_max, clock_drift_ppm) =
            (plan.limits.history_revisions_max, plan.clock_drift_ppm);
        let briefs = Briefs::new(plan.briefs);
        Oracle { look_inside, history_revisions_max, clock_drift_ppm, briefs, ..Oracle::default() }
    }

    /// A node asks its log to write this.
    pub fn on_write(&mut self, batch: &WriteBatch) {
        let groups = batch.groups.iter();
        let entries =
            groups.flat_map(|write| write.entries.iter().map(|entry| (write.group, entry.index, entry.term)));
        self.handed_out.extend(entries);
    }

    /// These batches are durable on a node: entries of equal index and term are equal, and so are their
    /// predecessors (log matching, Raft paper, figure 3).
    pub fn on_durable(&mut self, log: &DurableLog, batches: &[WriteBatch]) -> Result<(), Broken> {
        for write in batches.iter().flat_map(|batch| &batch.groups) {
            for entry in &write.entries {
                // What a later batch of the round replaced has no predecessor any more.
                if let Some(previous) = log.previous_term(write.group, entry.index)
                    && log.holds(write.group, entry.index, entry.term)
                {
                    let (index, term) = (entry.index, entry.term);
                    self.on_entry(write.group, index, term, &entry.data, previous).unless_left_out()?;
                }
            }
        }
        Ok(())
    }

    /// A leader sends these entries: as for [`Oracle::on_durable`], before they are durable anywhere.
    pub fn on_send(&mut self, message: &PeerMessage) -> Result<(), Broken> {
        let Some(PeerBody::Raft(raft)) = &message.body else { return Ok(()) };
        if raft.kind() != RaftKind::Append {
            return Ok(());
        }
        let mut previous = raft.log_term;
        for entry in &raft.entries {
            self.on_entry(GroupId(message.group), entry.index, entry.term, &entry.data, previous)
                .unless_left_out()?;
            previous = entry.term;
        }
        Ok(())
    }

    fn on_entry(
        &mut self,
        group: GroupId,
        index: u64,
        term: u64,
        data: &[u8],
        previous: u64,
    ) -> Result<(), Broken> {
        let new = (xxh3_64(data), previous);
        let known = *self.entries.entry((group, index, term)).or_insert_with(|| {
            let values = match keyspace::entry::decode_entry(data).map(|entry| entry.command) {
                Ok(keyspace::Command::Put { value, .. }) => vec![value],
                Ok(keyspace::Command::Txn(txn)) => together::values(txn),
                Ok(keyspace::Command::Operate { operations, .. }) => tallies::marks(&operations),
                _ => Vec::new(),
            };
            for value in values {
                self.values.entry(xxh3_64(&value)).or_default().push((group, index, term));
            }
            new
        });
        if known == new {
            return Ok(());
        }
        Err(Broken::safety(
            "log_matching",
            format!(
                "group {group} index {index} term {term}: two entries or predecessors, {known:?} and {new:?}"
            ),
        ))
    }

    fn check_quota(&self, node: NodeId, group: GroupId, bytes: u64) -> Result<(), Broken> {
        if self.catalog.group(KEYSPACES[LIMITED]) != Some(group) || bytes <= QUOTA_BYTES {
            return Ok(());
        }
        let message = format!("node {node} has {bytes} bytes where {QUOTA_BYTES} may be");
        Err(Broken::safety("quotas_hold", message))
    }

    /// A revision above this one, and when it was first the state of any node: the first of those known.
    pub fn missed(&self, keyspace: &str, shard: u32, revision: u64) -> Option<(u64, u64)> {
        let group = self.catalog.group(keyspace)?.shard(shard);
        let above = self.revisions.range((group, revision + 1)..=(group, u64::MAX));
        above.map(|((_, newer), seen_us)| (*newer, *seen_us)).min_by_key(|(_, seen_us)| *seen_us)
    }

    /// Who led a group in a term, if anyone was seen to.
    pub fn leader_of(&self, group: GroupId, term: u64) -> Option<NodeId> {
        self.leaders.get(&(group, term)).copied()
    }

    /// A group's revision in the first state seen of this index or a later one.
    pub fn revision_at(&self, group: GroupId, index: u64) -> Option<u64> {
        let mut states = self.states.range((group, index)..=(group, u64::MAX));
        states.next().map(|(_, (revision, _))| *revision)
    }

    /// This index of a group if it is committed, else 0.
    pub fn committed_up_to(&self, group: GroupId, index: u64) -> u64 {
        let later = self.committed.range((group, index)..=(group, u64::MAX)).next();
        later.map_or(0, |_| index)
    }

    /// Whether any node ever showed a state of this hash.
    pub fn knows_state(&self, group: GroupId, state_hash: u128) -> bool {
        let mut states = self.states.range((group, 0)..=(group, u64::MAX));
        states.any(|(_, (_, known))| *known == state_hash)
    }

    /// Looks at everything that a node's poll may have changed.
    pub fn after_poll(&mut self, now_us: u64, hosts: &[Host], number: usize) -> Result<(), Broken> {
        let host = &hosts[number];
        let Some(process) = &host.process else { return Ok(()) };
        self.catalog.after_poll(host.id, &process.node).unless_left_out()?;
        self.briefs.after_poll(host, &process.node).unless_left_out()?;
        for group in process.node.groups() {
            let raft = process.node.raft(group).expect("a group that is listed runs");
            self.check_group(now_us, hosts, host, group, raft, &process.node)?;
            for (group, lease) in std::mem::take(&mut self.effects.expired) {
                self.lifetimes.expire(group, lease, now_us).unless_left_out()?;
            }
            let state = process.node.group_state(group);
            self.check_quota(host.id, group, state.bytes).unless_left_out()?;
            let revision = state.revision;
            self.revisions.entry((group, revision)).or_insert(now_us);
        }
        Ok(())
    }

    /// A leader compacts of its own accord only what is old enough, or too much.
    fn check_compaction(&self, now_us: u64, group: GroupId, compaction: Compaction) -> Result<(), Broken> {
        let Compaction { floor, revision } = compaction;
        let seen_us = self.revisions.get(&(group, floor)).copied();
        let short = KEYSPACES[CONFIGURED..]
            .iter()
            .filter_map(|name| self.catalog.group(name))
            .any(|first| (0..SHARDS).any(|shard| first.shard(shard) == group));
        let ttl_us = if short { HISTORY_TTL_S * SECOND } else { 3_600 * SECOND };
        // Clocks may be a little fast.
        let young = seen_us
            .is_none_or(|seen_us| now_us - seen_us < ttl_us - ttl_us * 2 * self.clock_drift_ppm / 1_000_000);
        if young && revision - floor < self.history_revisions_max {
            let message = format!(
                "group {group} at revision {revision}: a leader compacts to {floor}, seen first {:?} us ago",
                seen_us.map(|seen_us| now_us - seen_us)
            );
            return Err(Broken::safety("history_lives_its_time", message));
        }
        Ok(())
    }

    fn check_group(
        &mut self,
        now_us: u64,
        hosts: &[Host],
        host: &Host,
        group: GroupId,
        raft: &RaftGroup,
        node: &Node,
    ) -> Result<(), Broken> {
        let (boot, before) = self.seen.get(&(host.id, group)).copied().unwrap_or_default();
        let before = if boot == host.boot { before } else { Seen { term: before.term, ..Seen::default() } };
        let state = node.group_state(group);
        let now = Seen {
            term: raft.term(),
            commit: raft.commit_index(),
            applied: raft.applied_index(),
            leads: raft.role() == Role::Leader,
            state: (state.applied_index, state.revision, state.state_hash),
        };
        let at = At(host.id, group);
        if boot == host.boot && before == now {
            // Most groups in most polls. What others did meanwhile may still be wrong of it.
            if now.leads && self.look_inside {
                read_leases::check(now_us, hosts, group, host, raft).unless_left_out()?;
            }
            let (index, revision, _) = now.state;
            return self.effects.check_revision(&at, group, index, revision).unless_left_out();
        }
        if boot == host.boot
            && (now.term < before.term || now.commit < before.commit || now.applied < before.applied)
        {
            let message = format!("{at}: {before:?} then {now:?}");
            Err(Broken::safety("monotonic", message)).unless_left_out()?;
        }
        if now.leads && !(before.leads && before.term == now.term) {
            self.check_leader(host.id, group, now.term, raft).unless_left_out()?;
        }
        if now.leads && self.look_inside {
            read_leases::check(now_us, hosts, group, host, raft).unless_left_out()?;
        }
        for index in before.commit + 1..=now.commit {
            self.check_commit(hosts, at, group, index, raft).unless_left_out()?;
            if let Some(entry) = raft.entry(index) {
                self.effects.on_commit(group, entry).unless_left_out()?;
                for compaction in self.past.on_commit(group, entry) {
                    self.check_compaction(now_us, group, compaction).unless_left_out()?;
                }
            }
        }
        // While a snapshot is installed the store shows its last checkpoint again.
        let index = state.applied_index;
        if index > now.commit {
            let message = format!("{at}: applied {index}, {now:?}");
            Err(Broken::safety("applied_is_committed", message)).unless_left_out()?;
        }
        self.effects.check_revision(&at, group, index, state.revision).unless_left_out()?;
        if index > 0 {
            let found = (state.revision, state.state_hash);
            let known = *self.states.entry((group, index)).or_insert(found);
            if known != found {
                let message = format!(
                    "{at}: at applied index {index} revision and hash are {found:?}, elsewhere {known:?}"
                );
                Err(Broken::safety("states_agree", message)).unless_left_out()?;
            }
        }
        self.seen.insert((host.id, group), (host.boot, now));
        Ok(())
    }

    /// At most one leader per term, and it has every committed entry (Raft paper, figure 3: election
    /// safety, leader completeness).
    fn check_leader(
        &mut self,
        node: NodeId,
        group: GroupId,
        term: u64,
        raft: &RaftGroup,
    ) -> Result<(), Broken> {
        let leader = match self.leaders.get(&(group, term)) {
            Some(leader) => *leader,
            None => {
                self.elections += 1;
                self.leaders.insert((group, term), node);
                node
            }
        };
        if leader != node {
            let message = format!("group {group} term {term}: nodes {leader} and {node} both lead");
            Err(Broken::safety("one_leader_per_term", message)).unless_left_out()?;
        }
        let last = self.committed.range((group, 0)..=(group, u64::MAX)).next_back();
        if let Some((&(_, index), &(committed_term, _))) = last
            && committed_term < term
            && index >= raft.status().first_index
            && raft.term_at(index) != Some(committed_term)
        {
            return Err(Broken::safety(
                "leader_completeness",
                format!(
                    "group {group}: node {node} leads term {term} without entry {index} of term {committed_term}, which \
                     was committed; it has {:?} there",
                    raft.term_at(index)
                ),
            ));
        }
        Ok(())
    }

    fn check_commit(
        &mut self,
        hosts: &[Host],
        at: At,
        group: GroupId,
        index: u64,
        raft: &RaftGroup,
    ) -> Result<(), Broken> {
        let Some(term) = raft.term_at(index) else { return Ok(()) };
        let hash = raft.entry(index).map(|entry| xxh3_64(&entry.data));
        let Some((known_term, known_hash)) = self.committed.get_mut(&(group, index)) else {
            self.committed.insert((group, index), (term, hash));
            return if self.look_inside { check_durable(hosts, at, group, index, term) } else { Ok(()) };
        };
        let differs = matches!((*known_hash, hash), (Some(known), Some(hash)) if known != hash);
        if *known_term != term || differs {
            return Err(Broken::safety(
                "committed_never_changes",
                format!(
                    "{at}: entry {index} is of term {term}, and was committed with term {known_term} before"
                ),
            ));
        }
        *known_hash = known_hash.or(hash);
        Ok(())
    }

    /// The highest committed index of every group.
    pub fn all_committed(&self) -> BTreeMap<GroupId, u64> {
        // In order: the last of each group is the highest.
        self.committed.keys().copied().collect()
    }

    /// What a log of which nothing is known turned out to hold was written once.
    ///
    /// # Errors
    /// When an entry never was.
    pub fn check_adopted(&self, node: NodeId, log: &DurableLog) -> Result<(), Broken> {
        for (group, index, term, hash) in log.entries() {
            let written = match self.entries.get(&(group, index, term)) {
                Some((known, _)) => *known == hash,
                // It was on its way to the disk when its process ended.
                None => self.was_in_a_log(group, index, term),
            };
            if !written {
                let message =
                    format!("node {node} group {group} has entry {index} of term {term} on its disk");
                return Err(Broken::safety("damage_is_not_taken_for_data", message));
            }
        }
        Ok(())
    }

    /// Where a written value is, or was, in the logs: group, index and term.
    pub fn places(&self, value: &[u8]) -> &[(GroupId, u64, u64)] {
        self.values.get(&xxh3_64(value)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The term of a committed entry.
    pub fn committed_term(&self, group: GroupId, index: u64) -> Option<u64> {
        self.committed.get(&(group, index)).map(|(term, _)| *term)
    }

    /// Whether any log ever held this entry, or may have.
    pub fn was_in_a_log(&self, group: GroupId, index: u64, term: u64) -> bool {
        let place = (group, index, term);
        self.entries.contains_key(&place) || self.handed_out.contains(&place)
    }

    /// A write of this value was acknowledged as durable on so many nodes: it is committed, and it is on
    /// that many disks.
    pub fn check_acknowledged(&self, hosts: &[Host], value: &[u8], durable: u32) -> Result<(), Broken> {
        let places = self.values.get(&xxh3_64(value)).map(Vec::as_slice).unwrap_or_default();
        let committed = places.iter().find(|(group, index, term)| {
            self.committed.get(&(*group, *index)).is_some_and(|(committed, _)| committed == term)
        });
        let Some(&(group, index, term)) = committed else {
            let message = format!("it is in the logs at {places:?} only");
            return Err(Broken::safety("acknowledged_is_committed", message));
        };
        let holders = holders(hosts, group, index, term);
        if self.look_inside && holders < durable as usize {
            return Err(Broken::safety(
                "receipt_is_true",
                format!(
                    "group {group} entry {index}: the receipt says durable on {durable}, and {holders} disks have it"
                ),
            ));
        }
        Ok(())
    }
}

fn holders(hosts: &[Host], group: GroupId, index: u64, term: u64) -> usize {
    let holds = |host: &&Host| host.held(group, index, term);
    hosts.iter().filter(holds).count()
}

/// Committed means durable on a majority.
fn check_durable(hosts: &[Host], at: At, group: GroupId, index: u64, term: u64) -> Result<(), Broken> {
    let holders = holders(hosts, group, index, term);
    if holders > hosts.len() / 2 {
        return Ok(());
    }
    Err(Broken::safety(
        "commit_is_durable",
        format!(
            "{at}: entry {index} of term {term} is committed, and {holders} of {} disks have it",
            hosts.len()
        ),
    ))
}
