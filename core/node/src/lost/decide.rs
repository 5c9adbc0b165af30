//! What became of the writes on the list: decided by the meta group's leader, as soon as its replica of their group has
//! their index applied.

use keyspace::{Compare, Keys, Relation, Target, TermOf, Txn, TxnOp};
use storage::ReadRows;
use types::{GroupId, Now, Role};

use super::records::{self, LostItem, LostWrite};
use crate::{api::Fatal, node::Node, requests::Origin};

/// Writes decided at once.
const DECISIONS_MAX: usize = 32;

impl Node {
    /// On every tick: looks at the list if it changed, and decides what can be.
    pub(crate) fn decide_lost(&mut self, now: Now) -> Result<(), Fatal> {
        for group in self.groups.values_mut() {
            let applied = self.store.state(group.id).applied_index;
            group.lost.listed.retain(|(_, index)| *index > applied);
            group.early.applied(applied);
        }
        if self.lost.dirty {
            self.look_at_list()?;
        }
        let leads = self.groups[&GroupId::META].raft.role() == Role::Leader;
        if !leads || self.lost.undecided == 0 || self.lost.deciding {
            return Ok(());
        }
        let mut txn = Txn::default();
        let mut failed = None;
        let range = records::all_writes();
        self.store.scan(GroupId::META, &range.start, range.end.as_deref(), &mut |key, row| {
            let Some(LostItem::Write(write)) = LostItem::decode(key, &row.value) else { return true };
            match self.fate(&write) {
                Ok(Some(op)) => {
                    // Unless an operator took it off, or it was decided, meanwhile.
                    txn.compares.push(Compare {
                        keys: Keys::One(key.to_vec()),
                        target: Target::ModRevision(row.mod_revision),
                        relation: Relation::Equal,
                    });
                    txn.then.push(op);
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
            txn.then.len() < DECISIONS_MAX && failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !txn.then.is_empty() {
            self.lost.deciding = true;
            self.change_list(now, Origin::LostReport { group: None }, txn);
        }
        Ok(())
    }

    /// What to do with a write on the list, if that can be said by now.
    fn fate(&self, write: &LostWrite) -> Result<Option<TxnOp>, Fatal> {
        let key = write.row_key();
        let decided = || TxnOp::Put {
            key: key.clone(),
            value: LostWrite { decided: true, ..write.clone() }.row_value(),
            lease: None,
        };
        if self.is_gone(write.group) {
            types::mark!("lost_with_its_keyspace");
            // Its keyspace is deleted, with all that was in it.
            return Ok(Some(TxnOp::Delete { keys: Keys::One(key) }));
        }
        if write.decided {
            return Ok(None);
        }
        // Terms never fall along a log: a higher one at its index, or before it, and the entry is in no history.
        let applied = self.store.state(write.group).applied_index.min(write.index);
        let reached = applied == write.index;
        Ok(match keyspace::term_of(&self.store, write.group, applied)? {
            TermOf::Term(term) if term > write.term => {
                types::mark!("listed_write_is_lost");
                Some(decided())
            }
            TermOf::Term(term) if reached && term == write.term => {
                types::mark!("listed_write_was_kept");
                Some(TxnOp::Delete { keys: Keys::One(key) })
            }
            // Not known any more: better listed than forgotten.
            TermOf::Term(_) | TermOf::Unknown if reached => Some(decided()),
            TermOf::Term(_) | TermOf::Unknown => None,
        })
    }

    fn look_at_list(&mut self) -> Result<(), Fatal> {
        let (mut writes, mut undecided) = (0, 0);
        let range = records::all_writes();
        self.store.scan(GroupId::META, &range.start, range.end.as_deref(), &mut |key, row| {
            if let Some(LostItem::Write(write)) = LostItem::decode(key, &row.value) {
                writes += 1;
                undecided += u64::from(!write.decided);
            }
            true
        })?;
        self.lost.dirty = false;
        (self.lost.writes, self.lost.undecided) = (writes, undecided);
        Ok(())
    }
}
