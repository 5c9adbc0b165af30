//! Reads of all shards of a keyspace: each shard is asked for its part, and the parts are put together.
//!
//! Each part is as its own receipt says; together they are no snapshot, since the shards have no order in
//! common. The receipt of the whole says so: it has no revision, and names the number of shards.

use std::collections::BTreeMap;

use keyspace::{Placement, Query, QueryAnswer, merge_pages, shard_limit};
use types::{GroupId, Problem, Receipt};

use crate::{
    api::{Op, Reply, ReplyBody, Request},
    catalog::not_understood,
    node::Node,
    requests::{Origin, Waiting},
};

/// The reads under way.
#[derive(Debug, Default)]
pub(crate) struct Gathers {
    last_id: u64,
    tasks: BTreeMap<u64, Gather>,
}

#[derive(Debug)]
struct Gather {
    origin: Origin,
    limit: u32,
    shards: u32,
    parts: BTreeMap<u32, Reply>,
}

impl Node {
    /// The group that a waiting request concerns; `None` when this node knows no such keyspace.
    pub(crate) fn group_of(&self, waiting: &Waiting) -> Option<Result<GroupId, Problem>> {
        let keyspace = self.keyspaces.get(&waiting.request.keyspace)?;
        if let Some(group) = waiting.group {
            return Some(Ok(group));
        }
        let shards = keyspace.contract.shards;
        let shard = match &waiting.request.op {
            Op::Command(command) | Op::Once(_, command) => command.shard(shards),
            Op::Query(query) => query.placement(shards).map(|placement| match placement {
                Placement::One(shard) => shard,
                Placement::Any => 0,
                Placement::All => unreachable!("it was taken apart when it came"),
            }),
            Op::Catalog(_) | Op::Lost(_) | Op::Acquire(_) => {
                unreachable!("it was turned into other requests")
            }
        };
        let fenced = |shard| match &waiting.request.options.fence {
            Some(fence) => fence.check_shard(shard, shards).map(|()| shard),
            None => Ok(shard),
        };
        Some(shard.and_then(fenced).map(|shard| keyspace.group.shard(shard)))
    }

    /// Whether a request that a peer sent on concerns this group, as far as this node knows its keyspace.
    pub(crate) fn may_come_by(&self, request: &Request, group: GroupId) -> bool {
        let Some(keyspace) = self.keyspaces.get(&request.keyspace) else { return true };
        let shards = keyspace.contract.shards;
        let shard = match &request.op {
            Op::Command(command) | Op::Once(_, command) => command.shard(shards).ok(),
            Op::Query(query) => match query.placement(shards) {
                Ok(Placement::One(shard)) => Some(shard),
                Ok(Placement::All | Placement::Any) => {
                    return keyspace.groups().any(|of_shard| of_shard == group);
                }
                Err(_) => None,
            },
            Op::Catalog(_) | Op::Lost(_) | Op::Acquire(_) => None,
        };
        shard.is_some_and(|shard| keyspace.group.shard(shard) == group)
    }

    /// Takes a client's request apart if all shards of its keyspace must answer it. Answers whether it was.
    pub(crate) fn gather(&mut self, origin: Origin, request: &Request, deadline_ms: u64) -> bool {
        let Op::Query(Query::Range { range, limit, keys_only }) = &request.op else { return false };
        let Some(keyspace) = self.keyspaces.get(&request.keyspace) else { return false };
        let shards = keyspace.contract.shards;
        if shards == 1 || !matches!(origin, Origin::Client { .. }) {
            return false;
        }
        let groups: Vec<GroupId> = keyspace.groups().collect();
        self.gathers.last_id += 1;
        let id = self.gathers.last_id;
        let task = Gather { origin, limit: *limit, shards, parts: BTreeMap::new() };
        self.gathers.tasks.insert(id, task);
        let query =
            Query::Range { range: range.clone(), limit: shard_limit(*limit, shards), keys_only: *keys_only };
        for (shard, group) in (0..).zip(groups) {
            let part = Request { op: Op::Query(query.clone()), ..request.clone() };
            self.requests.insert(Origin::Gather { id, shard }, part, Some(group), deadline_ms, 1);
        }
        true
    }

    /// A shard answered, or nobody will. The first failure is the whole's.
    pub(crate) fn on_gather_answer(&mut self, id: u64, shard: u32, result: Result<Reply, Problem>) {
        let Some(task) = self.gathers.tasks.get_mut(&id) else { return };
        let whole = match result {
            Ok(reply) => {
                task.parts.insert(shard, reply);
                if task.parts.len() < task.shards as usize {
                    return;
                }
                let Gather { limit, parts, .. } = task;
                put_together(*limit, std::mem::take(parts).into_values().collect())
            }
            Err(problem) => Err(problem),
        };
        let task = self.gathers.tasks.remove(&id).expect("it was just there");
        for other in self.requests.of_gather(id) {
            self.requests.remove(other);
        }
        self.reply(task.origin, whole);
    }
}

fn put_together(limit: u32, parts: Vec<Reply>) -> Result<Reply, Problem> {
    let mut pages = Vec::with_capacity(parts.len());
    let mut receipts = Vec::with_capacity(parts.len());
    for Reply { body, receipt } in parts {
        let ReplyBody::Answer(QueryAnswer::Range { items, next, .. }) = body else {
            return Err(not_understood("a shard's answer is to another question".into()));
        };
        pages.push((items, next));
        receipts.push(receipt);
    }
    let receipt = Receipt::of_all(receipts).expect("a keyspace has a shard");
    let (items, next) = merge_pages(pages, limit);
    let answer = QueryAnswer::Range { revision: 0, items, next };
    Ok(Reply { body: ReplyBody::Answer(answer), receipt })
}
