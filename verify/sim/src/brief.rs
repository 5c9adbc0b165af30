//! Keyspaces that come and go, and whose contracts change. What was acknowledged of one is in every later strong
//! read of it; nothing of one is ever in another of the same name; nodes agree on contracts and their versions; and
//! what is deleted is gone where that was acknowledged, in time everywhere, and from every disk.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{Command, Expect, Outcome, Query, QueryAnswer};
use node::{Altered, CatalogAnswer, CatalogOp, KeyspaceInfo, Node, Op, Reply, ReplyBody};
use types::{Applied, Contract, GroupId, Guarantee, NodeId, Problem};

use crate::{clients::Wish, dice::Dice, failure::Broken, host::Host};

/// Their names: the first so many as the plan says.
pub const NAMES: [&str; 12] = [
    "brief-a", "brief-b", "brief-c", "brief-d", "brief-e", "brief-f", "brief-g", "brief-h", "brief-i",
    "brief-j", "brief-k", "brief-l",
];
/// The one key that clients write and read in them.
const KEY: &[u8] = b"key";

/// What is asked of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Create it.
    Create,
    /// Give its contract these fields, perhaps only if it is of a version.
    Alter {
        /// As JSON.
        changes: &'static str,
        /// The version.
        version: Option<u64>,
    },
    /// Delete it.
    Delete,
    /// Write a value that no other write has.
    Put(String),
    /// Read it.
    Get {
        /// When, in virtual microseconds.
        asked_us: u64,
    },
}

/// Changes that clients make.
const CHANGES: [&str; 7] = [
    r#"{"ack":"all"}"#,
    r#"{"ack":"quorum"}"#,
    r#"{"idempotency_ttl_s":60,"quota_bytes":100000}"#,
    r#"{"quota_bytes":null}"#,
    r#"{"shards":2}"#,
    r#"{"lease_reads":true}"#,
    r#"{"lease_reads":false}"#,
];

impl Ask {
    /// Any of them.
    pub fn draw(dice: &mut Dice, now_us: u64, token: u64) -> Ask {
        match dice.below(100) {
            0..15 => Ask::Create,
            15..30 => {
                let version = if dice.chance(500) { Some(dice.between(1, 4)) } else { None };
                Ask::Alter { changes: dice.pick(&CHANGES), version }
            }
            30..38 => Ask::Delete,
            38..68 => Ask::Put(format!("brief{token}")),
            _ => Ask::Get { asked_us: now_us },
        }
    }

    /// What a node is asked.
    pub fn op(&self) -> Op {
        match self {
            Ask::Create => Op::Catalog(CatalogOp::Create(Contract::default())),
            Ask::Alter { changes, version } => {
                let changes = serde_json::from_str(changes).expect("they are changes");
                Op::Catalog(CatalogOp::Alter { to: Altered::But(changes), version: *version })
            }
            Ask::Delete => Op::Catalog(CatalogOp::Delete { version: None }),
            Ask::Put(value) => Op::Command(Command::Put {
                key: KEY.to_vec(),
                value: value.as_bytes().to_vec(),
                expect: Expect::Anything,
                lease: None,
            }),
            Ask::Get { .. } => Op::Query(Query::Get { key: KEY.to_vec() }),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Briefs {
    /// How many names there are.
    count: usize,
    /// The name of each group.
    names: BTreeMap<GroupId, String>,
    /// Group of each name on each node, after its last poll and after the one before.
    at: BTreeMap<(NodeId, &'static str), [Option<GroupId>; 2]>,
    /// Meta revision of each node and boot when its list was last looked at.
    looked: BTreeMap<NodeId, (u64, u64)>,
    /// Every contract that was ever seen, by group and version.
    contracts: BTreeMap<(GroupId, u64), Contract>,
    deleted: BTreeSet<GroupId>,
    /// Group that each value was written in, as far as an answer told.
    written: BTreeMap<String, GroupId>,
    /// Values whose write was refused.
    refused: BTreeSet<String>,
    /// By group: when a write was acknowledged, and its revision.
    acknowledged: BTreeMap<GroupId, Vec<(u64, u64)>>,
}

fn broken(invariant: &'static str, message: String) -> Broken {
    Broken::safety(invariant, message)
}

impl Briefs {
    /// None of so many has been seen.
    pub fn new(count: usize) -> Briefs {
        Briefs { count, ..Briefs::default() }
    }

    /// A node was polled.
    pub fn after_poll(&mut self, host: &Host, state: &Node) -> Result<(), Broken> {
        for name in NAMES.into_iter().take(self.count) {
            let now = state.known_keyspace_group(name);
            let [last, _] = self.at.get(&(host.id, name)).copied().unwrap_or_default();
            self.at.insert((host.id, name), [now, last]);
        }
        let revision = state.group_state(GroupId::META).revision;
        if self.looked.insert(host.id, (host.boot, revision)) == Some((host.boot, revision)) {
            return Ok(());
        }
        let known = state.known_keyspaces();
        let known = known.map_err(|reason| broken("contracts_are_understood", reason))?;
        for keyspace in &known {
            self.see(keyspace)?;
        }
        for name in NAMES.into_iter().take(self.count) {
            let recorded = known.iter().find(|keyspace| keyspace.name == name).map(|keyspace| keyspace.group);
            let runs = state.known_keyspace_group(name);
            // While a snapshot of the meta group is installed, its rows are those of the last checkpoint.
            let installing = state.raft(GroupId::META).is_some_and(raft_group::RaftGroup::is_installing);
            if recorded != runs && !installing {
                let message =
                    format!("node {} runs {name} as {runs:?}, and knows it as {recorded:?}", host.id);
                return Err(broken("nodes_serve_the_keyspaces_they_know", message));
            }
        }
        Ok(())
    }

    /// A contract, from a node's replica or in an answer.
    fn see(&mut self, keyspace: &KeyspaceInfo) -> Result<(), Broken> {
        let name = self.names.entry(keyspace.group).or_insert_with(|| keyspace.name.clone());
        if *name != keyspace.name {
            return Err(broken("a_keyspace_is_one_group", format!("{name:?} is {keyspace:?}")));
        }
        let version = (keyspace.group, keyspace.version);
        let known = *self.contracts.entry(version).or_insert(keyspace.contract);
        if known != keyspace.contract {
            return Err(broken("a_version_is_one_contract", format!("{keyspace:?}, elsewhere {known:?}")));
        }
        Ok(())
    }

    /// A client is answered.
    pub fn on_reply(
        &mut self,
        now_us: u64,
        node: NodeId,
        (name, ask): (&'static str, &Ask),
        result: &Result<Reply, Problem>,
    ) -> Result<(), Broken> {
        let reply = match (result, ask) {
            (Ok(reply), _) => reply,
            (Err(problem), Ask::Put(value)) if problem.applied == Applied::NotApplied => {
                self.refused.insert(value.clone());
                return Ok(());
            }
            (Err(_), _) => return Ok(()),
        };
        match (&reply.body, ask) {
            (ReplyBody::Catalog(CatalogAnswer::Created { keyspace, .. }), Ask::Create) => self.see(keyspace),
            (
                ReplyBody::Catalog(CatalogAnswer::Altered { keyspace, changes }),
                Ask::Alter { version, .. },
            ) => {
                let next = version.map(|version| version + u64::from(!changes.is_empty()));
                if next.is_some_and(|next| next != keyspace.version) {
                    return Err(broken("altering_compares_versions", format!("{ask:?} gave {keyspace:?}")));
                }
                self.see(keyspace)
            }
            (ReplyBody::Catalog(CatalogAnswer::Deleted(keyspace)), Ask::Delete) => {
                self.deleted.insert(keyspace.group);
                let [now, _] = self.at.get(&(node, name)).copied().unwrap_or_default();
                if now == Some(keyspace.group) {
                    let message = format!("node {node} acknowledged the end of {keyspace:?}, and runs it");
                    return Err(broken("deleted_is_gone_where_it_was_asked", message));
                }
                Ok(())
            }
            (ReplyBody::Outcome(Outcome::Put { revision, .. }), Ask::Put(value)) => {
                let group = self.answered_by(node, name, reply)?;
                self.bind(value, group)?;
                self.acknowledged.entry(group).or_default().push((now_us, *revision));
                Ok(())
            }
            (ReplyBody::Outcome(Outcome::OverQuota { .. }), Ask::Put(_)) => Ok(()),
            (ReplyBody::Answer(QueryAnswer::Get { row, .. }), Ask::Get { asked_us }) => {
                let group = self.answered_by(node, name, reply)?;
                if let Some(row) = row {
                    let value = String::from_utf8_lossy(&row.value).into_owned();
                    if self.refused.contains(&value) {
                        return Err(broken(
                            "refused_writes_never_happen",
                            format!("{value} in group {group}"),
                        ));
                    }
                    self.bind(&value, group)?;
                }
                let found = row.as_ref().map_or(0, |row| row.mod_revision);
                let before = self.acknowledged.get(&group).into_iter().flatten();
                let newest =
                    before.filter(|(at_us, _)| at_us < asked_us).map(|(_, revision)| *revision).max();
                let strong = reply.receipt.delivered == Guarantee::Linearizable;
                if strong && newest.is_some_and(|newest| newest > found) {
                    let message = format!("group {group}: {newest:?} was acknowledged, and {found} is read");
                    return Err(broken("acknowledged_writes_stay", message));
                }
                Ok(())
            }
            (body, ask) => Err(broken("answers_fit", format!("{ask:?} got {body:?}"))),
        }
    }

    /// The group that an answer is of: one that the node asked ran when it answered.
    fn answered_by(&mut self, node: NodeId, name: &'static str, reply: &Reply) -> Result<GroupId, Broken> {
        let mut groups = reply.receipt.session.iter().map(|(group, _)| group);
        let (Some(group), None) = (groups.next(), groups.next()) else {
            return Err(broken("answers_fit", format!("not of one group: {:?}", reply.receipt)));
        };
        let ran = self.at.get(&(node, name)).copied().unwrap_or_default();
        if self.names.get(&group).map(String::as_str) != Some(name) || !ran.contains(&Some(group)) {
            let message = format!("node {node} answers for {name} from group {group}, and runs {ran:?}");
            return Err(broken("deleted_keyspaces_do_not_answer", message));
        }
        Ok(group)
    }

    /// A value is in this group, and in no other.
    fn bind(&mut self, value: &str, group: GroupId) -> Result<(), Broken> {
        let known = *self.written.entry(value.to_owned()).or_insert(group);
        if known == group {
            return Ok(());
        }
        let message = format!("{value} of group {known} is in group {group}, of the same name");
        Err(broken("a_new_keyspace_is_empty", message))
    }

    /// All is healed: what there is of these keyspaces on a node, or what is left that should be gone.
    pub fn settled(&self, host: &Host, state: &Node) -> Result<usize, String> {
        let known = state.known_keyspaces()?;
        let living = known.iter().filter(|keyspace| NAMES.contains(&keyspace.name.as_str()));
        let living: BTreeSet<GroupId> = living.map(|keyspace| keyspace.group).collect();
        if let Some(group) = living.intersection(&self.deleted).next() {
            return Err(format!("node {} has group {group}, which was deleted", host.id));
        }
        let runs: BTreeSet<GroupId> = state.groups().into_iter().collect();
        if let Some(group) = state.stored_groups().into_iter().find(|group| !runs.contains(group)) {
            return Err(format!("node {} has rows of group {group}, which does not run", host.id));
        }
        Ok(living.len())
    }
}

/// The keyspace and the question of a wish that is about one of these.
pub fn of(wish: &Wish) -> Option<(&'static str, &Ask)> {
    match wish {
        Wish::Brief { name, ask } => Some((name, ask)),
        _ => None,
    }
}
