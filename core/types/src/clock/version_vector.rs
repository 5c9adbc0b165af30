//! Version vectors (Parker et al. 1983) with dots (Preguiça, Baquero, Almeida, Fonte and Gonçalves 2012, "Dotted
//! version vectors").
//!
//! A dot names one event: the n-th of an actor. A version vector names a history without gaps: for each actor, how
//! many of its events it has. A dotted version is one event with the history that it knew of.
//!
//! Guarantee: one version is before another exactly if it happened before it; if neither is, they are concurrent.
//! Joining histories is commutative, associative and idempotent.

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

/// Most actors of one vector: all members that a cluster can have had, with room to spare. Bounds what a peer can
/// make this node hold.
pub const VERSION_VECTOR_ACTORS_MAX: usize = 1_024;
/// Bytes of one actor with its counter.
const PAIR_BYTES: usize = 16;

/// One event: the `counter`-th, from 1, of an actor. An actor is whatever counts by itself: a node, or a group with
/// its revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who.
    pub actor: u64,
    /// Which of its events.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

/// How two histories relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causality {
    /// The first is part of the second.
    Before,
    /// The second is part of the first.
    After,
    /// They are the same.
    Equal,
    /// Each has something that the other lacks.
    Concurrent,
}

/// Why something is no version vector, or would be none. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionVectorError {
    /// Retire actors that are gone.
    #[error("a version vector has at most {VERSION_VECTOR_ACTORS_MAX} actors")]
    TooManyActors,
    /// A count of real events never gets there: its source is broken.
    #[error("the counter of actor {actor} leaves no greater one")]
    Exhausted {
        /// Whose.
        actor: u64,
    },
    /// Not what this build writes: damaged, or of another version.
    #[error("a version vector is pairs of actor and counter as in 0:5,2:7, by rising actor, counters from 1")]
    Malformed,
}

/// A history; see the module. As text `actor:counter` pairs by rising actor, as in `0:5,2:7`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VersionVector(BTreeMap<u64, u64>);

impl VersionVector {
    /// How many of an actor's events it has.
    pub fn get(&self, actor: u64) -> u64 {
        self.0.get(&actor).copied().unwrap_or(0)
    }

    /// Whether it has this event.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.actor)
    }

    /// The next event of an actor becomes part of it.
    ///
    /// # Errors
    /// When there are too many actors, or no counter is left.
    pub fn event(&mut self, actor: u64) -> Result<Dot, VersionVectorError> {
        let counter = self.get(actor).checked_add(1).ok_or(VersionVectorError::Exhausted { actor })?;
        let dot = Dot { actor, counter };
        self.add(dot)?;
        Ok(dot)
    }

    /// An event, and all earlier ones of its actor, become part of it.
    ///
    /// # Errors
    /// When there are too many actors.
    pub fn add(&mut self, dot: Dot) -> Result<(), VersionVectorError> {
        if self.contains(dot) {
            return Ok(());
        }
        if self.0.len() == VERSION_VECTOR_ACTORS_MAX && !self.0.contains_key(&dot.actor) {
            return Err(VersionVectorError::TooManyActors);
        }
        self.0.insert(dot.actor, dot.counter);
        Ok(())
    }

    /// All of another history becomes part of it.
    ///
    /// # Errors
    /// When there would be too many actors.
    pub fn join(&mut self, other: &VersionVector) -> Result<(), VersionVectorError> {
        let new = other.0.keys().filter(|actor| !self.0.contains_key(actor)).count();
        if self.0.len() + new > VERSION_VECTOR_ACTORS_MAX {
            return Err(VersionVectorError::TooManyActors);
        }
        for (actor, counter) in &other.0 {
            let known = self.0.entry(*actor).or_default();
            *known = (*known).max(*counter);
        }
        Ok(())
    }

    /// How this history relates to another.
    pub fn compare(&self, other: &VersionVector) -> Causality {
        match (self.is_part_of(other), other.is_part_of(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::Before,
            (false, true) => Causality::After,
            (false, false) => Causality::Concurrent,
        }
    }

    fn is_part_of(&self, other: &VersionVector) -> bool {
        self.dots().all(|last| other.contains(last))
    }

    /// The last event of each actor, by rising actor.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|(actor, counter)| Dot { actor: *actor, counter: *counter })
    }

    /// Actors in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one byte form of it: for each actor, by rising actor, actor and counter as 8 bytes each, big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.dots().flat_map(|dot| [dot.actor, dot.counter]).flat_map(u64::to_be_bytes).collect()
    }

    /// Reads what [`VersionVector::to_bytes`] wrote, and nothing else.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<VersionVector, VersionVectorError> {
        if bytes.len() > VERSION_VECTOR_ACTORS_MAX * PAIR_BYTES {
            return Err(VersionVectorError::TooManyActors);
        }
        let (numbers, rest) = bytes.as_chunks::<8>();
        let (pairs, odd) = numbers.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() {
            return Err(VersionVectorError::Malformed);
        }
        let number = |bytes: [u8; 8]| u64::from_be_bytes(bytes);
        VersionVector::from_rising(pairs.iter().map(|[actor, counter]| (number(*actor), number(*counter))))
    }

    fn from_rising(pairs: impl Iterator<Item = (u64, u64)>) -> Result<VersionVector, VersionVectorError> {
        let mut vector = VersionVector::default();
        for (actor, counter) in pairs {
            let rises = vector.0.last_key_value().is_none_or(|(last, _)| *last < actor);
            if !rises || counter == 0 {
                return Err(VersionVectorError::Malformed);
            }
            vector.add(Dot { actor, counter })?;
        }
        Ok(vector)
    }
}

impl PartialOrd for VersionVector {
    /// `None` for concurrent histories.
    fn partial_cmp(&self, other: &VersionVector) -> Option<Ordering> {
        match self.compare(other) {
            Causality::Before => Some(Ordering::Less),
            Causality::After => Some(Ordering::Greater),
            Causality::Equal => Some(Ordering::Equal),
            Causality::Concurrent => None,
        }
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, dot) in self.dots().enumerate() {
            write!(f, "{}{dot}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for VersionVector {
    type Err = VersionVectorError;

    fn from_str(text: &str) -> Result<VersionVector, VersionVectorError> {
        let number = |text: &str| {
            let number: u64 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        };
        let pair = |text: &str| {
            let (actor, counter) = text.split_once(':')?;
            Some((number(actor)?, number(counter)?))
        };
        let parts = text.split(',').filter(|_| !text.is_empty());
        let pairs: Option<Vec<(u64, u64)>> = parts.take(VERSION_VECTOR_ACTORS_MAX + 1).map(pair).collect();
        VersionVector::from_rising(pairs.ok_or(VersionVectorError::Malformed)?.into_iter())
    }
}

/// One version of something: the event that made it, and the history that its maker knew of, itself not among it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DottedVersion {
    /// The event.
    pub dot: Dot,
    /// What it knew of.
    pub past: VersionVector,
}

impl DottedVersion {
    /// How this version relates to another of the same thing: whether one was made knowing the other.
    pub fn compare(&self, other: &DottedVersion) -> Causality {
        match (other.past.contains(self.dot), self.past.contains(other.dot)) {
            _ if self.dot == other.dot => Causality::Equal,
            (true, _) => Causality::Before,
            (_, true) => Causality::After,
            (false, false) => Causality::Concurrent,
        }
    }
}
