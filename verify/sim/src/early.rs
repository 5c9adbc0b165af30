//! Writes that are acknowledged before they are committed, and the list of those that are lost.
//!
//! Guarantee G-LOST, judged from outside: once all is healed, each write that a client was told to be on its leader's disk is in the
//! committed history, or on the list. Nothing that is listed as lost is in the history, and nothing is listed that no
//! disk ever held.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{Command, Expect};
use node::{
    Op,
    lost::{LostItem, LostWrite},
};
use types::{GroupId, Receipt, contract::Ack};

use crate::{clients::Wish, dice::Dice, failure::Broken, host::Host, invariants::Judged, oracle::Oracle};

/// Keys of such writes: no history has them.
const KEYS: u64 = 4;

/// A write that need not be committed before it is acknowledged: to a key that nothing else is done with.
pub(crate) fn wish(dice: &mut Dice, value: String) -> Wish {
    let key = format!("early{}", dice.below(KEYS));
    Wish::Early { key, value, ack: if dice.chance(250) { Ack::None } else { Ack::Leader } }
}

pub(crate) fn op(key: &str, value: &str) -> Op {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Op::Command(Command::Put { key, value, expect: Expect::Anything, lease: None })
}

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct EarlyWrites {
    acknowledged: Vec<String>,
    /// Of them, by the verdict: lost.
    pub lost: u64,
    /// Of them: those that were on a disk that is lost, or lost them.
    pub forgotten: u64,
    /// Items that were on the list at the end.
    pub listed: u64,
}

impl EarlyWrites {
    /// A write was answered before it was applied.
    ///
    /// # Errors
    /// When the receipt claims more than the disks hold.
    pub fn on_accepted(
        &mut self,
        oracle: &Oracle,
        hosts: &[Host],
        (value, ack): (&str, Ack),
        receipt: &Receipt,
    ) -> Result<(), Broken> {
        let acks = receipt.acks;
        let required = u32::from(ack == Ack::Leader);
        let modest = receipt.revision.is_none()
            && receipt.delivered == types::Guarantee::Eventual
            && (acks.required, acks.of as usize) == (required, hosts.len())
            && acks.got >= required;
        if !modest {
            return Err(Broken::safety("receipt_is_enough", format!("{ack}: {receipt:?}")));
        }
        if ack != Ack::Leader {
            return Ok(());
        }
        self.acknowledged.push(value.to_owned());
        let places = oracle.places(value.as_bytes());
        let holders = |(group, index, term): &(GroupId, u64, u64)| {
            hosts.iter().filter(|host| host.durable.holds(*group, *index, *term)).count()
        };
        let held = places.iter().map(holders).max().unwrap_or(0);
        if oracle.look_inside && held < acks.durable.max(1) as usize {
            return Err(Broken::safety(
                "receipt_is_true",
                format!("{held} disks have the write at {places:?}: {receipt:?}"),
            ));
        }
        Ok(())
    }

    /// All is healed and settled.
    ///
    /// # Errors
    /// When the list is not what was lost.
    pub fn check_list(&mut self, oracle: &Oracle, hosts: &[Host], listed: &[LostItem]) -> Result<(), Broken> {
        let writes = listed.iter().filter_map(|item| match item {
            LostItem::Write(write) => Some(((write.group, write.index, write.term), write)),
            LostItem::Bound(_) | LostItem::More(_) => None,
        });
        let writes: BTreeMap<(GroupId, u64, u64), &LostWrite> = writes.collect();
        let counted: BTreeSet<(GroupId, u64)> = listed
            .iter()
            .filter_map(|item| match item {
                LostItem::More(more) => Some((more.group, more.term)),
                _ => None,
            })
            .collect();
        self.listed = writes.len() as u64;
        for value in &self.acknowledged {
            let places = oracle.places(value.as_bytes());
            let committed = |(group, index, term): &(GroupId, u64, u64)| {
                oracle.committed_term(*group, *index) == Some(*term)
            };
            if places.iter().any(committed) {
                continue;
            }
            self.lost += 1;
            let known = |place: &(GroupId, u64, u64)| {
                writes.contains_key(place) || counted.contains(&(place.0, place.2))
            };
            // A disk that is lost, or lost it, makes no list.
            let forgotten = |(group, index, term): &(GroupId, u64, u64)| {
                hosts.iter().any(|host| host.lost(*group, *index, *term))
            };
            if places.iter().any(forgotten) {
                self.forgotten += 1;
                continue;
            }
            if !places.iter().any(known) {
                let message =
                    format!("{value:.20} was acknowledged, and is neither committed nor listed: {places:?}");
                Err(Broken::safety("lost_writes_are_listed", message)).unless_left_out()?;
            }
        }
        for ((group, index, term), write) in writes {
            let committed = oracle.committed_term(group, index) == Some(term);
            if (committed && write.decided) || !oracle.was_in_a_log(group, index, term) {
                let message = format!("committed: {committed}, listed as {write:?}");
                Err(Broken::safety("listed_writes_are_lost", message)).unless_left_out()?;
            }
        }
        Ok(())
    }
}
