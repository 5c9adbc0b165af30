//! A sorted set: members with scores, ordered by score, then by the bytes of the member. A member is there as long as an
//! assignment of its score is; the greatest stamp's is its score.

use std::collections::BTreeMap;

use types::{Hlc, clock::VersionVector};

use crate::{dots::Dots, score::Score, set::merge_by_key, value::Stamp};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SortedSet(pub(crate) BTreeMap<Vec<u8>, Dots<(Hlc, Score)>>);

impl SortedSet {
    /// A member's score; `None` when it is not in the set.
    pub fn score(&self, member: &[u8]) -> Option<Score> {
        self.0.get(member).and_then(score)
    }

    /// Members with scores, the least score first.
    pub fn by_score(&self) -> Vec<(&[u8], Score)> {
        let mut all: Vec<(&[u8], Score)> =
            self.0.iter().filter_map(|(member, dots)| Some((member.as_slice(), score(dots)?))).collect();
        all.sort_by(|one, other| (one.1, one.0).cmp(&(other.1, other.0)));
        all
    }

    /// How many members have a smaller score, or the same and lesser bytes; `None` when it is not in the set.
    pub fn rank(&self, member: &[u8]) -> Option<u64> {
        let own = (self.score(member)?, member);
        let before = self.0.iter().filter_map(|(member, dots)| Some((score(dots)?, member.as_slice())));
        Some(before.filter(|other| *other < own).count() as u64)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Answers whether the member was there.
    pub(crate) fn put(&mut self, member: &[u8], score: Score, stamp: Stamp) -> bool {
        let dots = Dots::replaced_by(stamp.dot, (stamp.at, score));
        self.0.insert(member.to_vec(), dots).is_some()
    }

    /// Answers whether it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        self.0.remove(member).is_some()
    }

    pub(crate) fn merge(&mut self, seen: &VersionVector, other: &SortedSet, others_seen: &VersionVector) {
        merge_by_key(&mut self.0, &other.0, |mine, theirs| {
            let merged = mine.merged(seen, theirs, others_seen);
            (!merged.is_empty()).then_some(merged)
        });
    }
}

fn score(dots: &Dots<(Hlc, Score)>) -> Option<Score> {
    let last = dots.iter().max_by_key(|(dot, (at, _))| Stamp { at: *at, dot: *dot });
    last.map(|(_, (_, score))| *score)
}
