//! Creating, altering, deleting, showing and listing keyspaces, on whichever node is asked.
//!
//! Guarantee G-KEYSPACE: a keyspace's name is one group with one contract on every node, until its contract is altered as a
//! compare-and-set on its version, or it is deleted; what is created anew under its name is empty.
//!
//! Each is a request to the meta group, sent to its leader like any other: changes are
//! compare-and-sets of the keyspace's record, the others are linearizable reads. A change is answered once the
//! node asked goes by it: contracts are kept by each node's replica of the meta group. A creation is answered
//! once the keyspace's group runs on the node asked and knows a leader, so that its client can use it there
//! at once. That a keyspace of the name exists under an equal contract is success too: repeating a creation
//! whose outcome is unknown is safe.

use std::collections::BTreeMap;

use keyspace::{Command, Outcome, Query, QueryAnswer};
use storage::{ReadRows, Row};
use types::{
    Applied, Contract, ErrorCode, GroupId, Now, Problem, Receipt, Role,
    contract::{Changes, check_name},
    limits::{GROUPS_MAX, KEYSPACES_MAX, RANGE_ITEMS_MAX, SHARDS_MAX},
};

use crate::{
    api::{Fatal, Op, Output, Reply, ReplyBody, Request},
    gone, lost, meta,
    node::{META_NAME, Node},
    problems,
    requests::Origin,
};

/// What is asked of the cluster's list of keyspaces; the request's keyspace is the one concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogOp {
    /// Create it under this contract.
    Create(Contract),
    /// Change its contract.
    Alter {
        /// To what.
        to: Altered,
        /// Only if the contract is of this version.
        version: Option<u64>,
    },
    /// Delete it with all that is in it.
    Delete {
        /// Only if the contract is of this version.
        version: Option<u64>,
    },
    /// Its contract.
    Show,
    /// Those of all keyspaces; the request's keyspace says nothing.
    List,
}

/// What a contract is changed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Altered {
    /// What it is, but for these fields.
    But(Changes),
    /// This, whole.
    Whole(Contract),
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
    /// The keyspace has this contract, and this node goes by it.
    Altered {
        /// The keyspace.
        keyspace: KeyspaceInfo,
        /// What changed, each as `field: before -> now`. None: it was so before.
        changes: Vec<String>,
    },
    /// The keyspace is gone, and this node serves nothing of it any more.
    Deleted(KeyspaceInfo),
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
    /// The record that a change is about to replace, and what changes.
    found: Option<(KeyspaceInfo, Vec<String>)>,
    /// It is done: what to answer once this node goes by it.
    done: Option<(CatalogAnswer, Receipt)>,
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
            CatalogOp::Delete { .. } if self.config.keyspaces.contains(&name) => {
                return self.reply_catalog(token, Err(configured(&name)));
            }
            op => op,
        };
        let limit = self.config.limits.pending_requests_max;
        if self.catalog.tasks.len() >= limit {
            let problem = problems::overloaded("requests waiting on this node", limit);
            return self.reply_catalog(token, Err(problem));
        }
        let asked = match &op {
            CatalogOp::Create(contract) => Op::Command(meta::create(&name, contract)),
            CatalogOp::Show | CatalogOp::Alter { .. } | CatalogOp::Delete { .. } => {
                Op::Query(Query::Get { key: meta::keyspace_key(&name) })
            }
            CatalogOp::List => {
                let (range, limit) = (meta::all_keyspaces(), RANGE_ITEMS_MAX);
                Op::Query(Query::Range { range, limit, keys_only: false })
            }
        };
        self.ask_meta(Task { token, name, op, deadline_ms, found: None, done: None }, asked);
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
                let problem = of_change(&task.op, problem);
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
                task.done = Some((CatalogAnswer::Created { keyspace, created: true }, receipt));
                self.catalog.insert(task);
                return;
            }
            (
                CatalogOp::Alter { .. } | CatalogOp::Delete { .. },
                ReplyBody::Answer(QueryAnswer::Get { row: Some(row), .. }),
            ) => match self.begin_change(&mut task, &row) {
                Ok(Some(command)) => return self.ask_meta(task, Op::Command(command)),
                Ok(None) => {
                    self.catalog.insert(Task { done: unchanged(&task, receipt), ..task });
                    return;
                }
                Err(problem) => Err(problem),
            },
            (CatalogOp::Alter { .. }, ReplyBody::Outcome(Outcome::Put { version, .. })) => {
                let (keyspace, changes) = task.found.take().expect("its record was read first");
                let keyspace = KeyspaceInfo { version, ..keyspace };
                task.done = Some((CatalogAnswer::Altered { keyspace, changes }, receipt));
                self.catalog.insert(task);
                return;
            }
            (CatalogOp::Delete { .. }, ReplyBody::Outcome(Outcome::Deleted { .. })) => {
                let (keyspace, _) = task.found.take().expect("its record was read first");
                task.done = Some((CatalogAnswer::Deleted(keyspace), receipt));
                self.catalog.insert(task);
                return;
            }
            (
                CatalogOp::Alter { .. } | CatalogOp::Delete { .. },
                ReplyBody::Outcome(Outcome::Conflict { current, .. }),
            ) => Err(changed_meanwhile(&task.name, current)),
            (
                CatalogOp::Alter { .. } | CatalogOp::Delete { .. },
                ReplyBody::Answer(QueryAnswer::Get { row: None, .. }),
            ) => Err(problems::keyspace_not_found(&task.name)),
            (CatalogOp::Create(_), ReplyBody::Outcome(Outcome::Conflict { .. })) => {
                let key = meta::keyspace_key(&task.name);
                return self.ask_meta(task, Op::Query(Query::Get { key }));
            }
            (CatalogOp::Create(contract), ReplyBody::Answer(QueryAnswer::Get { row: Some(row), .. })) => {
                match self.info_of(&task.name, &row) {
                    Ok(existing) if existing.contract == *contract => {
                        let answer = CatalogAnswer::Created { keyspace: existing, created: false };
                        task.done = Some((answer, receipt));
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

    /// What a change of this record comes to: the command, or nothing to do.
    fn begin_change(&self, task: &mut Task, row: &Row) -> Result<Option<Command>, Problem> {
        let found = self.info_of(&task.name, row)?;
        let (CatalogOp::Alter { version, .. } | CatalogOp::Delete { version }) = &task.op else {
            unreachable!("only changes begin")
        };
        if version.is_some_and(|version| version != found.version) {
            return Err(other_version(&found, row.mod_revision));
        }
        let CatalogOp::Alter { to, .. } = &task.op else {
            let command = meta::delete(&task.name, row.mod_revision);
            task.found = Some((found, Vec::new()));
            return Ok(Some(command));
        };
        let nodes = self.nodes();
        let wanted = match to {
            Altered::But(changes) => changes.apply(found.contract),
            Altered::Whole(contract) => *contract,
        };
        if let Some((field, reason)) = found.contract.refuses_change(&wanted.resolved(nodes)) {
            return Err(fixed(&found, field, reason));
        }
        if let Some(problem) = refuse_contract(&task.name, &wanted, nodes) {
            return Err(problem);
        }
        let wanted = wanted.resolved(nodes);
        let changes = found.contract.differences(&wanted);
        let command = meta::alter(&task.name, &wanted, row.mod_revision);
        let changed = !changes.is_empty();
        task.found = Some((KeyspaceInfo { contract: wanted, ..found }, changes));
        Ok(changed.then_some(command))
    }

    /// Answers the changes that this node goes by, and those whose time is up.
    pub(crate) fn answer_catalog(&mut self, now: Now) {
        let late_ms = self.late_ms(now);
        let mut over = Vec::new();
        for (id, task) in &self.catalog.tasks {
            let Some((answer, _)) = &task.done else { continue };
            let kept = self.goes_by(answer);
            if kept != Kept::NotYet || task.deadline_ms <= late_ms {
                over.push((*id, kept));
            }
        }
        for (id, kept) in over {
            let task = self.catalog.tasks.remove(&id).expect("its number was just listed");
            let (answer, receipt) = task.done.expect("only those that are done were listed");
            let result = match (kept, answer) {
                (Kept::Yes, answer) => Ok(Reply { body: ReplyBody::Catalog(answer), receipt }),
                (Kept::Gone, _) => Err(gone::deleted(&task.name, Applied::Applied)),
                (Kept::NotYet, CatalogAnswer::Created { .. }) => Err(not_started(&task.name)),
                (Kept::NotYet, _) => Err(not_followed(&task.name)),
            };
            self.reply_catalog(task.token, result);
        }
    }

    fn goes_by(&self, answer: &CatalogAnswer) -> Kept {
        let (wanted, leaders) = match answer {
            CatalogAnswer::Created { keyspace, .. } => (keyspace, true),
            CatalogAnswer::Altered { keyspace, .. } => (keyspace, false),
            CatalogAnswer::Deleted(keyspace) if self.is_gone(keyspace.group) => return Kept::Yes,
            _ => return Kept::NotYet,
        };
        let led = |group| self.groups.get(&group).is_some_and(|group| group.raft.leader().is_some());
        match self.keyspaces.get(&wanted.name) {
            Some(own) if own.group == wanted.group => {
                let kept = own.version >= wanted.version && (!leaders || own.groups().all(led));
                if kept { Kept::Yes } else { Kept::NotYet }
            }
            _ if self.is_gone(wanted.group) => Kept::Gone,
            _ => Kept::NotYet,
        }
    }

    /// Whether the meta group's leader must refuse this change. No entry in its log creates more than one
    /// keyspace, so counting all that are not applied yet keeps the limit whatever they turn out to be.
    pub(crate) fn refuse_change_if_leading(&self, command: &Command) -> Option<Problem> {
        if self.groups[&GroupId::META].raft.role() != Role::Leader {
            return None;
        }
        if let Some(name) = meta::deletes(command)
            && self.config.keyspaces.iter().any(|configured| configured == name)
        {
            return Some(configured(name));
        }
        if lost::is_about_lost(command) || meta::alters(command) {
            return None;
        }
        let Command::Put { key, .. } = command else { return Some(not_a_change()) };
        if !meta::creates(command) {
            return Some(not_a_change());
        }
        if self.keyspaces.keys().any(|name| meta::keyspace_key(name) == *key) {
            return None;
        }
        let meta = &self.groups[&GroupId::META];
        let (state, raft) = (self.store.state(GroupId::META), meta.raft.status());
        let unapplied = raft.last_index.saturating_sub(state.applied_index) + meta.proposing.len() as u64;
        let limit = KEYSPACES_MAX as u64;
        let keyspaces = self.keyspaces.len() as u64;
        if keyspaces >= limit {
            let message = format!("the cluster has {limit} keyspaces, which is the limit");
            let next_step = "use keys with a prefix of their own in a keyspace that exists";
            return Some(Problem::not_applied(ErrorCode::InvalidArgument, message, next_step));
        }
        if keyspaces + unapplied >= limit {
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

/// How far this node is with a change that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    NotYet,
    /// The keyspace was deleted since.
    Gone,
}

/// The answer to an alteration that changes nothing.
fn unchanged(task: &Task, receipt: Receipt) -> Option<(CatalogAnswer, Receipt)> {
    let (keyspace, changes) = task.found.clone()?;
    Some((CatalogAnswer::Altered { keyspace, changes }, receipt))
}

/// A failure of the meta group, in the words of what was asked.
fn of_change(op: &CatalogOp, problem: Problem) -> Problem {
    let next_step = match op {
        _ if problem.applied != Applied::Unknown => return problem,
        CatalogOp::Create(_) => {
            "create it again with the same contract: that is safe, and tells what became of it"
        }
        CatalogOp::Alter { .. } => "show the keyspace: its version and contract tell what became of it",
        CatalogOp::Delete { .. } => {
            "show the keyspace: its group number tells whether it is still the same one"
        }
        CatalogOp::Show | CatalogOp::List => return problem,
    };
    Problem { next_step: next_step.into(), ..problem }
}

fn configured(name: &str) -> Problem {
    Problem::not_applied(
        ErrorCode::InvalidArgument,
        format!(
            "keyspace {name:?} is in the configuration of the nodes, which would create it again at once"
        ),
        "start every node without it first, then delete it; to empty it, delete its keys",
    )
}

fn other_version(found: &KeyspaceInfo, revision: u64) -> Problem {
    let message =
        format!("the contract of keyspace {:?} is of version {}, another one", found.name, found.version);
    let next_step = "look at the contract that it has now, then decide again, with its version";
    let problem = Problem::not_applied(ErrorCode::Conflict, message, next_step);
    Problem { current_revision: Some(revision), ..problem }
}

fn changed_meanwhile(name: &str, current: u64) -> Problem {
    let message = format!("keyspace {name:?} was altered or deleted by somebody else at the same time");
    let next_step = "nothing was changed: look at the contract that it has now, then decide again";
    let problem = Problem::not_applied(ErrorCode::Conflict, message, next_step);
    Problem { current_revision: Some(current), ..problem }
}

fn fixed(found: &KeyspaceInfo, field: &str, reason: &str) -> Problem {
    Problem::not_applied(
        ErrorCode::InvalidArgument,
        format!("{field} of keyspace {:?} stays as it was created: {reason}", found.name),
        "create a keyspace with the other contract, and copy the keys (quorate export, quorate import)",
    )
}

fn not_followed(name: &str) -> Problem {
    let message = format!("keyspace {name:?} is changed, and this node has not heard of it yet");
    let next_step = "it goes by the change as soon as it catches up with the cluster's facts";
    let problem = Problem::not_applied(ErrorCode::DeadlineExceeded, message, next_step);
    Problem { applied: Applied::Applied, ..problem }
}

fn other_contract(existing: &KeyspaceInfo, asked: &Contract, revision: u64) -> Problem {
    let changes = existing.contract.differences(asked).join(", ");
    let message = format!("keyspace {:?} exists under another contract: {changes}", existing.name);
    let next_step = "alter it (quorate keyspace alter), create it under another name, or ask for the contract that it has";
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

fn not_a_change() -> Problem {
    Problem::not_applied(
        ErrorCode::InvalidArgument,
        "the cluster's own facts change by creating, altering and deleting keyspaces alone",
        "create a keyspace with PUT /v1/keyspaces/{keyspace}",
    )
}
