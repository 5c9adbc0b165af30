//! Lost writes: what was acknowledged early (`ack = leader`) and is in no later leader's log.
//!
//! Guarantee G-LOST: a write that its leader may have acknowledged early, that is, one whose entry that leader had on its disk in its own
//! term, is in the committed history, or listed as lost from the moment that the old leader has rejoined its group. Nothing in
//! the history is listed as decided, unless more than [`keyspace::TERMS_MAX`] terms passed before it could be. Until the old leader is back, a bound is listed.
//!
//! How: an old leader's log loses such entries only to a newer leader, by an append that overwrites them or by a snapshot.
//! Before this node takes either, it puts them on the meta group's list; until the meta group has them, the append or
//! snapshot is dropped, and its sender repeats it. So the entries are in this node's log or on the list at every moment,
//! whatever crashes. That an entry left one log does not mean that it is lost: another node may hold it and lead later.
//! So an item is undecided until the state has applied its index, or an entry of a higher term before it; then the terms of
//! what is committed ([`keyspace::term_of`]) say whether the entry is among it. The meta group's leader decides, and takes what turned out to be
//! in the history off the list. An entry is nobody else's: followers' copies are not listed.

mod bound;
mod decide;
mod records;
mod report;

use std::collections::BTreeSet;

use keyspace::{Command, Outcome, Query, QueryAnswer, Txn, TxnOp, TxnOutcome, TxnResult};
use storage::ReadRows;
use types::{ErrorCode, GroupId, Problem, limits::TXN_OPS_MAX};

use crate::{
    api::{Op, Reply, ReplyBody, Request},
    catalog::not_understood,
    node::{META_NAME, Node},
    requests::Origin,
};

pub use records::{LOST_WRITES_MAX, LostBound, LostItem, LostMore, LostWrite};

/// How long this node waits for the meta group to take a report, before it is made again.
const REPORT_TIMEOUT_MS: u64 = 3_000;
/// Items in one page of the list.
pub const LOST_PAGE_MAX: u32 = 500;

/// What this node does about the lost writes of one group.
#[derive(Debug, Default)]
pub(crate) struct LostOfGroup {
    /// Term and index of the entries that are on the list, until their index is applied.
    listed: BTreeSet<(u64, u64)>,
    /// Those of the report that is under way.
    reporting: Option<Vec<(u64, u64)>>,
    bound: bound::BoundOfGroup,
}

impl LostOfGroup {
    /// A leader spoke.
    pub fn heard(&mut self, now: types::Now) {
        self.bound.heard(now);
    }

    /// This node was elected; the first entry of its term is at `opened`.
    pub fn elected(&mut self, now: types::Now, term: u64, opened: u64) {
        self.bound.elected(now, term, opened);
    }
}

/// What this node knows of the list.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// The meta group changed since the list was last looked at.
    pub dirty: bool,
    /// Writes on it, as of the last look.
    pub writes: u64,
    /// Of them, undecided.
    pub undecided: u64,
    /// A decision is on its way to the meta group.
    pub deciding: bool,
}

/// What is asked of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostOp {
    /// A page of it.
    List {
        /// Only what comes after the item of this name.
        after: Option<String>,
    },
    /// Take these off: an operator has seen them.
    Acknowledge {
        /// Names of items.
        ids: Vec<String>,
    },
}

/// The answer to a [`LostOp`]. Its receipt is of the meta group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostAnswer {
    /// For [`LostOp::List`].
    Listed {
        /// In the order of bounds, counts, writes.
        items: Vec<LostItem>,
        /// More come after the last.
        more: bool,
    },
    /// For [`LostOp::Acknowledge`]: how many items were on the list.
    Acknowledged(u64),
}

/// Whether a change to the meta group is about the list of lost writes and nothing else.
pub(crate) fn is_about_lost(command: &Command) -> bool {
    let Command::Txn(txn) = command else { return false };
    let about = |op: &TxnOp| match op {
        TxnOp::Put { key, .. } | TxnOp::Delete { keys: keyspace::Keys::One(key) } => {
            records::is_about_lost(key)
        }
        TxnOp::Delete { keys: keyspace::Keys::Range(range) } => records::is_about_lost(&range.start),
        _ => false,
    };
    txn.otherwise.is_empty() && txn.then.iter().all(about)
}

impl Node {
    /// Takes in a client's question about the list, or refuses it at once.
    pub(crate) fn take_lost(&mut self, token: u64, op: &LostOp, deadline_ms: u64) {
        let origin = Origin::LostTask { token };
        match lost_request(op) {
            Ok(op) => self.take_request(origin, Request::new(META_NAME, op), None, deadline_ms, 1),
            Err(problem) => self.reply(Origin::Client { token }, Err(problem)),
        }
    }

    /// The meta group answered a client's question about the list.
    pub(crate) fn on_lost_task(&mut self, token: u64, result: Result<Reply, Problem>) {
        let answer = result.and_then(|Reply { body, receipt }| {
            let answer = match body {
                ReplyBody::Answer(QueryAnswer::Range { items, next, .. }) => LostAnswer::Listed {
                    items: items
                        .iter()
                        .filter_map(|item| LostItem::decode(&item.key, &item.row.value))
                        .collect(),
                    more: next.is_some(),
                },
                ReplyBody::Outcome(Outcome::Txn(TxnOutcome::Done { results, .. })) => {
                    let removed = |result: &TxnResult| match result {
                        TxnResult::Deleted { keys } => *keys,
                        _ => 0,
                    };
                    LostAnswer::Acknowledged(results.iter().map(removed).sum())
                }
                _ => return Err(not_understood("the meta group's answer is to another question".into())),
            };
            Ok(Reply { body: ReplyBody::Lost(answer), receipt })
        });
        self.reply(Origin::Client { token }, answer);
    }

    /// The meta group took a report of this node's, or did not.
    pub(crate) fn on_lost_report(&mut self, group: Option<GroupId>, result: &Result<Reply, Problem>) {
        let Some(group) = group else {
            self.lost.deciding = false;
            self.lost.dirty = true;
            return;
        };
        let Some(group) = self.groups.get_mut(&group) else { return };
        let reported = group.lost.reporting.take().unwrap_or_default();
        if result.is_ok() {
            group.lost.listed.extend(reported);
        }
    }

    /// The list, as this node's replica of the meta group has it now: perhaps not the newest.
    ///
    /// # Errors
    /// When the replica cannot be read, with the reason.
    pub fn known_lost(&self) -> Result<Vec<LostItem>, String> {
        let range = records::everything();
        let mut found = Vec::new();
        let scanned = self.store.scan(GroupId::META, &range.start, range.end.as_deref(), &mut |key, row| {
            found.extend(LostItem::decode(key, &row.value));
            true
        });
        scanned.map_err(|error| error.to_string())?;
        Ok(found)
    }

    /// Asks the meta group for a change of the list; `group`: a report of this one's entries.
    fn change_list(&mut self, now: types::Now, origin: Origin, txn: Txn) {
        let request = Request::new(META_NAME, Op::Command(Command::Txn(txn)));
        self.take_request(origin, request, None, now.mono_ms + REPORT_TIMEOUT_MS, 1);
    }
}

fn lost_request(op: &LostOp) -> Result<Op, Problem> {
    let refused = |message: String| {
        let next_step = "take names from GET /v1/lost-writes";
        Problem::not_applied(ErrorCode::InvalidArgument, message, next_step)
    };
    let row = |id: &String| {
        LostItem::row_of(id).ok_or_else(|| refused(format!("{id:?} does not name an item of the list")))
    };
    match op {
        LostOp::List { after } => {
            let mut range = records::everything();
            if let Some(after) = after {
                // The first key after the row's own.
                range.start = [row(after)?, vec![0]].concat();
            }
            Ok(Op::Query(Query::Range { range, limit: LOST_PAGE_MAX, keys_only: false }))
        }
        LostOp::Acknowledge { ids } if ids.is_empty() || ids.len() > TXN_OPS_MAX => {
            Err(refused(format!("{} names, and 1 to {TXN_OPS_MAX} may be given at once", ids.len())))
        }
        LostOp::Acknowledge { ids } => {
            let rows: BTreeSet<Vec<u8>> = ids.iter().map(row).collect::<Result<_, _>>()?;
            let then = rows.into_iter().map(|row| TxnOp::Delete { keys: keyspace::Keys::One(row) });
            Ok(Op::Command(Command::Txn(Txn { then: then.collect(), ..Txn::default() })))
        }
    }
}
