//! A set (an observed-remove set, optimized as in Bieniusa et al. 2012): a removal takes away the additions that it has
//! seen, so that a concurrent addition wins.

use std::collections::BTreeMap;

use types::clock::VersionVector;

use crate::{dots::Dots, value::Stamp};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(pub(crate) BTreeMap<Vec<u8>, Dots<()>>);

impl Set {
    /// Whether a member is in it.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.0.contains_key(member)
    }

    /// Members from this one on, in the order of their bytes.
    pub fn members_from(&self, start: &[u8]) -> impl Iterator<Item = &[u8]> + use<'_> {
        self.0.range(start.to_vec()..).map(|(member, _)| member.as_slice())
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Answers whether it is new.
    pub(crate) fn insert(&mut self, member: &[u8], stamp: Stamp) -> bool {
        self.0.insert(member.to_vec(), Dots::replaced_by(stamp.dot, ())).is_none()
    }

    /// Answers whether it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        self.0.remove(member).is_some()
    }

    pub(crate) fn merge(&mut self, seen: &VersionVector, other: &Set, others_seen: &VersionVector) {
        merge_by_key(&mut self.0, &other.0, |mine, theirs| {
            let merged = mine.merged(seen, theirs, others_seen);
            (!merged.is_empty()).then_some(merged)
        });
    }
}

/// Merges what is under each key of either side; a side that lacks the key has the default there. `None` drops it.
pub(crate) fn merge_by_key<K: Ord + Clone, V: Clone + Default>(
    mine: &mut BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
    merge: impl Fn(&V, &V) -> Option<V>,
) {
    let none = V::default();
    let mut merged = BTreeMap::new();
    for key in mine.keys().chain(theirs.keys()) {
        if merged.contains_key(key) {
            continue;
        }
        let both = merge(mine.get(key).unwrap_or(&none), theirs.get(key).unwrap_or(&none));
        if let Some(both) = both {
            merged.insert(key.clone(), both);
        }
    }
    *mine = merged;
}
