//! A value: its body with the history that it has seen; applying and merging.

use types::{
    Hlc,
    clock::{Dot, VersionVector, VersionVectorError},
    limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

use crate::{
    Kind,
    codec::encode_value,
    counter::Counter,
    map::Map,
    operation::{Answer, Operation, Refusal},
    register::Register,
    set::Set,
    sorted_set::SortedSet,
};

/// Most members of a set or sorted set, and fields of a map with the members in them: an operation reads and writes
/// the whole value, and others wait for it.
pub const MEMBERS_MAX: usize = 16_384;
/// Longest member or field name, in bytes: as of a key.
pub const MEMBER_BYTES_MAX: usize = KEY_BYTES_MAX;

/// Which operation, and when: what a merge needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Of concurrent assignments the one with the greater wins; [`Hlc::ZERO`] where the dots alone give the order.
    pub at: Hlc,
    /// The operation. Those that are applied together share one.
    pub dot: Dot,
}

impl Stamp {
    /// Of an operation of a group's log, at this revision: later revisions win.
    pub fn of_revision(group: u64, revision: u64) -> Stamp {
        Stamp { at: Hlc::ZERO, dot: Dot { actor: group, counter: revision } }
    }
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// See [`Register`].
    Register(Register),
    /// See [`Counter`].
    Counter(Counter),
    /// See [`Set`].
    Set(Set),
    /// See [`Map`].
    Map(Map),
    /// See [`SortedSet`].
    SortedSet(SortedSet),
}

/// See the crate. Two values are equal if they have seen and hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub(crate) seen: VersionVector,
    pub(crate) body: Body,
}

impl Value {
    /// A value that nothing was done to.
    pub fn new(kind: Kind) -> Value {
        let body = match kind {
            Kind::Register => Body::Register(Register::default()),
            Kind::Counter => Body::Counter(Counter::default()),
            Kind::Set => Body::Set(Set::default()),
            Kind::Map => Body::Map(Map::default()),
            Kind::SortedSet => Body::SortedSet(SortedSet::default()),
        };
        Value { seen: VersionVector::default(), body }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Register(_) => Kind::Register,
            Body::Counter(_) => Kind::Counter,
            Body::Set(_) => Kind::Set,
            Body::Map(_) => Kind::Map,
            Body::SortedSet(_) => Kind::SortedSet,
        }
    }

    /// What is there.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The operations that it has seen.
    pub fn seen(&self) -> &VersionVector {
        &self.seen
    }

    /// Does all operations in order, under one dot that it has not seen, and answers each with the value's new
    /// encoding.
    ///
    /// # Errors
    /// Nothing was done.
    pub fn apply(
        &mut self,
        operations: &[Operation],
        stamp: Stamp,
    ) -> Result<(Vec<Answer>, Vec<u8>), Refusal> {
        let mut after = self.clone();
        after.seen.add(stamp.dot).map_err(|_| Refusal::TooManyActors)?;
        let answers: Result<Vec<Answer>, Refusal> =
            operations.iter().map(|operation| after.body.apply(operation, stamp)).collect();
        let answers = answers?;
        let members_before = self.body.members();
        if after.body.members() > MEMBERS_MAX.max(members_before) {
            return Err(Refusal::TooManyMembers);
        }
        let encoded = encode_value(&after);
        if encoded.len() > VALUE_BYTES_MAX {
            return Err(Refusal::TooLarge { bytes: encoded.len() as u64 });
        }
        *self = after;
        Ok((answers, encoded))
    }

    /// Takes in all that another copy has seen and this one has not. Copies of different kinds are of different
    /// keyspaces: merging them is our own mistake.
    ///
    /// # Errors
    /// When too many replicas changed it; nothing was done.
    ///
    /// # Panics
    /// When the kinds differ.
    pub fn merge(&mut self, other: &Value) -> Result<(), VersionVectorError> {
        let mut both = self.seen.clone();
        both.join(&other.seen)?;
        let (seen, others_seen) = (&self.seen, &other.seen);
        match (&mut self.body, &other.body) {
            (Body::Register(mine), Body::Register(theirs)) => mine.merge(seen, theirs, others_seen),
            (Body::Counter(mine), Body::Counter(theirs)) => mine.merge(seen, theirs, others_seen),
            (Body::Set(mine), Body::Set(theirs)) => mine.merge(seen, theirs, others_seen),
            (Body::Map(mine), Body::Map(theirs)) => mine.merge(seen, theirs, others_seen),
            (Body::SortedSet(mine), Body::SortedSet(theirs)) => mine.merge(seen, theirs, others_seen),
            (mine, theirs) => panic!("{mine:?} and {theirs:?} are no copies of one value"),
        }
        self.seen = both;
        Ok(())
    }
}

impl Body {
    /// Members, or fields with the members in them.
    pub fn members(&self) -> usize {
        match self {
            Body::Register(_) | Body::Counter(_) => 0,
            Body::Set(set) => set.len(),
            Body::Map(map) => map.len(),
            Body::SortedSet(set) => set.len(),
        }
    }

    fn apply(&mut self, operation: &Operation, stamp: Stamp) -> Result<Answer, Refusal> {
        match (self, operation) {
            (Body::Register(register), Operation::Assign { value }) => {
                let existed = register.get().is_some();
                register.assign(value.clone(), stamp);
                Ok(Answer::Assigned { existed })
            }
            (Body::Register(register), Operation::Add { by }) => {
                let sum = number(register.get())?.checked_add(*by).ok_or(Refusal::Overflow)?;
                register.assign(sum.to_string().into_bytes(), stamp);
                Ok(Answer::Count { value: sum })
            }
            (Body::Counter(counter), operation) => on_counter(counter, operation, stamp),
            (Body::Set(set), operation) => on_set(set, operation, stamp),
            (Body::Map(map), Operation::Put { field, value }) => {
                let ((), existed) = map.register(field, |register| register.assign(value.clone(), stamp))?;
                Ok(Answer::Assigned { existed })
            }
            (Body::Map(map), Operation::RemoveField { field }) => {
                Ok(Answer::Removed { members: u32::from(map.remove(field)) })
            }
            (Body::Map(map), Operation::Within { field, operation }) => match &**operation {
                Operation::Add { .. } | Operation::Reset => {
                    map.counter(field, |counter| on_counter(counter, operation, stamp))
                }
                _ => map.set(field, |set| on_set(set, operation, stamp)),
            },
            (Body::SortedSet(set), Operation::Score { member, score }) => {
                let existed = set.put(member, *score, stamp);
                Ok(Answer::Scored { score: *score, existed })
            }
            (Body::SortedSet(set), Operation::AddScore { member, by }) => {
                let score = set.score(member).unwrap_or_default().plus(*by);
                let score = score.map_err(|_| Refusal::ScoreNotFinite)?;
                let existed = set.put(member, score, stamp);
                Ok(Answer::Scored { score, existed })
            }
            (Body::SortedSet(set), Operation::Remove { members }) => {
                let removed = members.iter().filter(|member| set.remove(member)).count();
                Ok(Answer::Removed { members: removed as u32 })
            }
            (Body::Register(_), _) => Err(Refusal::WrongKind { kind: Kind::Register }),
            (Body::Map(_), _) => Err(Refusal::WrongKind { kind: Kind::Map }),
            (Body::SortedSet(_), _) => Err(Refusal::WrongKind { kind: Kind::SortedSet }),
        }
    }
}

fn on_counter(counter: &mut Counter, operation: &Operation, stamp: Stamp) -> Result<Answer, Refusal> {
    match operation {
        Operation::Add { by } => Ok(Answer::Count { value: counter.add(*by, stamp)? }),
        Operation::Reset => {
            counter.reset();
            Ok(Answer::Count { value: 0 })
        }
        _ => Err(Refusal::WrongKind { kind: Kind::Counter }),
    }
}

fn on_set(set: &mut Set, operation: &Operation, stamp: Stamp) -> Result<Answer, Refusal> {
    match operation {
        Operation::Insert { members } => {
            let inserted = members.iter().filter(|member| set.insert(member, stamp)).count();
            Ok(Answer::Inserted { members: inserted as u32 })
        }
        Operation::Remove { members } => {
            let removed = members.iter().filter(|member| set.remove(member)).count();
            Ok(Answer::Removed { members: removed as u32 })
        }
        _ => Err(Refusal::WrongKind { kind: Kind::Set }),
    }
}

/// The decimal whole number in a register; one that is not there counts as 0.
///
/// # Errors
/// [`Refusal::NotANumber`].
pub fn number(bytes: Option<&[u8]>) -> Result<i64, Refusal> {
    match bytes {
        None => Ok(0),
        Some(bytes) => {
            let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
            let text = std::str::from_utf8(bytes).ok();
            let text = text.filter(|_| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
            text.and_then(|text| text.parse().ok()).ok_or(Refusal::NotANumber)
        }
    }
}
