//! Pieces of state under dots, at most one of each actor, and how two copies of them merge.

use types::clock::{Dot, VersionVector};

/// A piece for each actor whose last operation here nobody has removed, by rising actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dots<V>(Vec<(Dot, V)>);

impl<V> Default for Dots<V> {
    fn default() -> Dots<V> {
        Dots(Vec::new())
    }
}

impl<V: Clone> Dots<V> {
    /// The only piece: whatever was there is seen, and replaced.
    pub fn replaced_by(dot: Dot, piece: V) -> Dots<V> {
        Dots(vec![(dot, piece)])
    }

    /// Replaces the actor's own piece.
    pub fn put(&mut self, dot: Dot, piece: V) {
        match self.0.binary_search_by_key(&dot.actor, |(own, _)| own.actor) {
            Ok(at) => self.0[at] = (dot, piece),
            Err(at) => self.0.insert(at, (dot, piece)),
        }
    }

    /// Adds a piece that was read; answers whether it was in its place: behind those of lesser actors.
    pub fn push(&mut self, dot: Dot, piece: V) -> bool {
        let rises = self.0.last().is_none_or(|(last, _)| last.actor < dot.actor);
        self.0.push((dot, piece));
        rises
    }

    pub fn get(&self, actor: u64) -> Option<&V> {
        self.0.iter().find(|(dot, _)| dot.actor == actor).map(|(_, piece)| piece)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Dot, V)> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left of both: a piece that one side lacks stays if that side has not seen its dot.
    pub fn merged(&self, seen: &VersionVector, other: &Dots<V>, others_seen: &VersionVector) -> Dots<V> {
        let kept = |of: &Dots<V>, against: &Dots<V>, known: &VersionVector| -> Vec<(Dot, V)> {
            let stays =
                |dot: &Dot| !known.contains(*dot) || against.0.iter().any(|(theirs, _)| theirs == dot);
            of.0.iter().filter(|(dot, _)| stays(dot)).cloned().collect()
        };
        let mut all = kept(self, other, others_seen);
        all.extend(kept(other, self, seen));
        // Of one actor both sides can have kept the same dot only: a later one's side has seen the earlier.
        all.sort_by_key(|(dot, _)| (dot.actor, std::cmp::Reverse(dot.counter)));
        all.dedup_by_key(|(dot, _)| dot.actor);
        Dots(all)
    }
}
