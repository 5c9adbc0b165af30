//! Creating, showing and listing keyspaces, on whichever node is asked.
//!
//! Each is a request to the meta group, sent to its leader like any other: creating is a
//! compare-and-set of the keyspace's record, the others are linearizable reads. A creation is answered
//! once the keyspace's group runs on the node asked and knows a leader, so that its client can use it there
//! at once. That a keyspace of the name exists under an equal contract is success too: repeating a creation
//! whose outcome is unknown is safe.

use std::collections::BTreeMap;

use keyspace::{Command, Outcome, Query, QueryAnswer};
use storage::{ReadRows, Row};
use types::{
    Applied, Contract, ErrorCode, GroupId, Now, Problem, Receipt, Role,
    contract::check_name,
    limits::{GROUPS_MAX, KEYSPACES_MAX, RANGE_ITEMS_MAX, SHARDS_MAX},
};

use crate::{
    api::{Fatal, Op, Output, Reply, ReplyBody, Request},
    meta,
    node::{META_NAME, Node},
    problems,
    requests::Origin,
};

/// What is asked of the cluster's list of keyspaces; the request's keyspace is the one concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogOp {
    /// Create it under this contract.
    Create(Contract),
    /// Its contract.
    Show,
    /// Those of all keyspaces; the request's keyspace says nothing.
    List,
}

/// The answer to a [`CatalogOp`]. Its receipt is of the meta group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogAnswer {
    /// The keyspace exists under the contract, and can be used on this node.
    Created {
        /// The keyspace.
        keyspace: KeyspaceInfo,
        /// False: it existed already.
        created: bool,
    },
    /// For [`CatalogOp::Show`].
    Shown(KeyspaceInfo),
    /// For [`CatalogOp::List`], in name order.
    Listed(Vec<KeyspaceInfo>),
}

/// A keyspace as the meta group records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceInfo {
    /// Its name.
    pub name: String,
    /// The group that replicates it.
    pub group: GroupId,
    /// How many times the contract was written, from 1.
    pub version: u64,
    /// The contract, with everything spelled out.
    pub contract: Contract,
}

/// The requests of this node's clients that are under way.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    last_id: u64,
    tasks: BTreeMap<u64, Task>,
}

#[derive(Debug)]
struct Task {
    token: u64,
    name: String,
    op: CatalogOp,
    deadline_ms: u64,
    /// The keyspace exists: what to answer once it can be used here.
    exists: Option<(KeyspaceInfo, bool, Receipt)>,
}

impl Catalog {
    fn insert(&mut self, task: Task) -> u64 {
        self.last_id += 1;
        self.tasks.insert(self.last_id, task);
        self.last_id
    }
}

impl Node {
    /// Takes in a client's request, or refuses it at once.
    pub(crate) fn take_catalog(&mut self, token: u64, name: String, op: CatalogOp, deadline_ms: u64) {
        let nodes = self.nodes();
        let op = match op {
            CatalogOp::Create(contract) => match refuse_contract(&name, &contract, nodes) {
                Some(problem) => return self.reply_catalog(token, Err(problem)),
                None => CatalogOp::Create(contract.resolved(nodes)),
            },
            op => op,
        };
        let limit = self.config.limits.pending_requests_max;
        if self.catalog.tasks.len() >= limit {
            let problem = problems::overloaded("requests waiting on this node", limit);
            return self.reply_catalog(token, Err(problem));
        }
        let asked = match &op {
            CatalogOp::Create(contract) => Op::Command(meta::create(&name, contract)),
            CatalogOp::Show => Op::Query(Query::Get { key: meta::keyspace_key(&name) }),
            CatalogOp::List => {
                let (range, limit) = (meta::all_keyspaces(), RANGE_ITEMS_MAX);
                Op::Query(Query::Range { range, limit, keys_only: false })
            }
        };
        self.ask_meta(Task { token, name, op, deadline_ms, exists: None }, asked);
    }

    fn ask_meta(&mut self, task: Task, op: Op) {
        let deadline_ms = task.deadline_ms;
        let id = self.catalog.insert(task);
        let request = Request::new(META_NAME, op);
        self.take_request(Origin::Catalog { id }, request, None, deadline_ms, 1);
    }

    /// The meta group's leader answered, or nobody will.
    pub(crate) fn on_catalog_answer(&mut self, id: u64, result: Result<Reply, Problem>) {
        let Some(mut task) = self.catalog.tasks.remove(&id) else { return };
        let Reply { body, receipt } = match result {
            Ok(reply) => reply,
            Err(problem) => {
                let problem = of_creation(&task.op, problem);
                return self.reply_catalog(task.token, Err(problem));
            }
        };
        let answer = match (&task.op, body) {
            (
                CatalogOp::Create(contract),
                ReplyBody::Outcome(Outcome::Put { create_revision, version, .. }),
            ) => {
                let group = GroupId::of_keyspace(create_revision);
                let keyspace = KeyspaceInfo { name: task.name.clone(), group, version, contract: *contract };
                task.exists = Some((keyspace, true, receipt));
                self.catalog.insert(task);
                return;
            }
            (CatalogOp::Create(_), ReplyBody::Outcome(Outcome::Conflict { .. })) => {
                let key = meta::keyspace_key(&task.name);
                return self.ask_meta(task, Op::Query(Query::Get { key }));
            }
            (CatalogOp::Create(contract), ReplyBody::Answer(QueryAnswer::Get { row: Some(row), .. })) => {
                match self.info_of(&task.name, &row) {
                    Ok(existing) if existing.contract == *contract => {
                        task.exists = Some((existing, false, receipt));
                        self.catalog.insert(task);
                        return;
                    }
                    Ok(existing) => Err(other_contract(&existing, contract, row.mod_revision)),
                    Err(problem) => Err(problem),
                }
            }
            (CatalogOp::Show, ReplyBody::Answer(QueryAnswer::Get { row, .. })) => match row {
                Some(row) => self.info_of(&task.name, &row).map(CatalogAnswer::Shown),
                None => Err(problems::keyspace_not_found(&task.name)),
            },
            (CatalogOp::List, ReplyBody::Answer(QueryAnswer::Range { items, .. })) => {
                let nodes = self.nodes();
                let found = items.iter().map(|item| meta::info(&item.key, &item.row, nodes));
                found.collect::<Result<_, _>>().map(CatalogAnswer::Listed).map_err(not_understood)
            }
            _ => Err(not_understood("the meta group's answer is to another question".into())),
        };
        let reply = answer.map(|answer| Reply { body: ReplyBody::Catalog(answer), receipt });
        self.reply_catalog(task.token, reply);
    }

    /// Answers the creations whose keyspace can be used by now, and those whose time is up.
    pub(crate) fn answer_created(&mut self, now: Now) {
        let late_ms = self.late_ms(now);
        let mut over = Vec::new();
        for (id, task) in &self.catalog.tasks {
            let Some((keyspace, ..)) = &task.exists else { continue };
            let led = |group| self.groups.get(&group).is_some_and(|group| group.raft.leader().is_some());
            let usable = self.keyspaces.get(&keyspace.name).is_some_and(|own| own.groups().all(led));
            if usable || task.deadline_ms <= late_ms {
                over.push((*id, usable));
            }
        }
        for (id, usable) in over {
            let task = self.catalog.tasks.remove(&id).expect("its number was just listed");
            let (keyspace, created, receipt) = task.exists.expect("only those that exist were listed");
            let answer = if usable {
                Ok(Reply { body: ReplyBody::Catalog(CatalogAnswer::Created { keyspace, created }), receipt })
            } else {
                Err(not_started(&keyspace.name))
            };
            self.reply_catalog(task.token, answer);
        }
    }

    /// Whether the meta group's leader must refuse this change. No entry in its log creates more than one
    /// keyspace, so counting all that are not applied yet keeps the limit whatever they turn out to be.
    pub(crate) fn refuse_creation_if_leading(&self, command: &Command) -> Option<Problem> {
        if self.groups[&GroupId::META].raft.role() != Role::Leader {
            return None;
        }
        let Command::Put { key, .. } = command else { return Some(not_a_creation()) };
        if !meta::creates(command) {
            return Some(not_a_creation());
        }
        if self.keyspaces.keys().any(|name| meta::keyspace_key(name) == *key) {
            return None;
        }
        let meta = &self.groups[&GroupId::META];
        let (state, raft) = (self.store.state(GroupId::META), meta.raft.status());
        let unapplied = raft.last_index.saturating_sub(state.applied_index) + meta.proposing.len() as u64;
        let limit = KEYSPACES_MAX as u64;
        if state.keys >= limit {
            let message = format!("the cluster has {limit} keyspaces, which is the limit");
            let next_step = "use keys with a prefix of their own in a keyspace that exists";
            return Some(Problem::not_applied(ErrorCode::InvalidArgument, message, next_step));
        }
        if state.keys + unapplied >= limit {
            return Some(problems::overloaded("keyspaces, with those being created,", limit));
        }
        self.refuse_groups(meta::shards(command), unapplied)
    }

    /// Why a keyspace of so many shards cannot be created beside those there are and those under way.
    fn refuse_groups(&self, shards: u32, unapplied: u64) -> Option<Problem> {
        let groups: u64 = self.keyspaces.values().map(|keyspace| u64::from(keyspace.contract.shards)).sum();
        let wanted = groups + u64::from(shards);
        if wanted > GROUPS_MAX {
            let message =
                format!("the cluster's keyspaces would have {wanted} shards, more than {GROUPS_MAX}");
            return Some(Problem::not_applied(ErrorCode::InvalidArgument, message, "use fewer shards"));
        }
        let reached = wanted + unapplied * u64::from(SHARDS_MAX) > GROUPS_MAX;
        reached.then(|| problems::overloaded("shards, with those being created,", GROUPS_MAX))
    }

    /// Every keyspace, as this node's replica of the meta group has it now: perhaps not the newest.
    ///
    /// # Errors
    /// When the replica cannot be read or understood, with the reason.
    pub fn known_keyspaces(&self) -> Result<Vec<KeyspaceInfo>, String> {
        let range = meta::all_keyspaces();
        let mut found = Vec::new();
        let scanned = self.store.scan(GroupId::META, &range.start, range.end.as_deref(), &mut |key, row| {
            found.push(meta::info(key, &row, self.nodes()));
            true
        });
        scanned.map_err(|error| error.to_string())?;
        found.into_iter().collect()
    }

    /// [`Node::known_keyspaces`], which this node must understand to run.
    pub(crate) fn recorded_keyspaces(&self) -> Result<Vec<KeyspaceInfo>, Fatal> {
        self.known_keyspaces().map_err(|reason| Fatal::Recover { group: GroupId::META, reason })
    }

    /// Nodes of the cluster.
    pub(crate) fn nodes(&self) -> u32 {
        self.config.members.len() as u32
    }

    fn info_of(&self, name: &str, row: &Row) -> Result<KeyspaceInfo, Problem> {
        meta::info(&meta::keyspace_key(name), row, self.nodes()).map_err(not_understood)
    }

    fn reply_catalog(&mut self, token: u64, result: Result<Reply, Problem>) {
        self.outbox.push(Output::Reply { token, result });
    }
}

/// Why a keyspace cannot be created under this name and contract, whatever the cluster holds.
fn refuse_contract(name: &str, contract: &Contract, nodes: u32) -> Option<Problem> {
    if let Err(problem) = check_name(name) {
        return Some(problem);
    }
    let invalid = |message: String, next_step| {
        Some(Problem::not_applied(ErrorCode::InvalidArgument, message, next_step))
    };
    if let Err(refusal) = contract.check(nodes) {
        let next_step = format!("change it, for example {}", refusal.changes.join(", "));
        return invalid(refusal.reason, next_step);
    }
    let unsupported = contract.unsupported(nodes)?;
    invalid(unsupported.to_string(), format!("create it with {} = {}", unsupported.field, unsupported.works))
}

/// A failure of the meta group, in the words of what was asked.
fn of_creation(op: &CatalogOp, problem: Problem) -> Problem {
    if matches!(op, CatalogOp::Create(_)) && problem.applied == Applied::Unknown {
        let next_step = "create it again with the same contract: that is safe, and tells what became of it";
        return Problem { next_step: next_step.into(), ..problem };
    }
    problem
}

fn other_contract(existing: &KeyspaceInfo, asked: &Contract, revision: u64) -> Problem {
    let changes = existing.contract.differences(asked).join(", ");
    let message = format!("keyspace {:?} exists under another contract: {changes}", existing.name);
    let next_step =
        "create it under another name, or ask for the contract that it has; this version alters none";
    let problem = Problem::not_applied(ErrorCode::Conflict, message, next_step);
    Problem { current_revision: Some(revision), ..problem }
}

fn not_started(name: &str) -> Problem {
    let message = format!("keyspace {name:?} exists, and has no leader yet that this node knows");
    let next_step = "use it in a moment: requests wait for its leader until their deadline";
    let problem = Problem::not_applied(ErrorCode::DeadlineExceeded, message, next_step);
    Problem { applied: Applied::Applied, ..problem }
}

pub(crate) fn not_understood(reason: String) -> Problem {
    Problem::not_applied(
        ErrorCode::UnsupportedVersion,
        format!("the record of a keyspace is not one that this version understands: {reason}"),
        "ask a node of the version that wrote it",
    )
}

fn not_a_creation() -> Problem {
    Problem::not_applied(
        ErrorCode::InvalidArgument,
        "the cluster's own facts change by creating keyspaces alone",
        "create a keyspace with PUT /v1/keyspaces/{keyspace}",
    )
}
