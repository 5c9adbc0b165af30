//! Reading a value, whole or in parts. Parts are pages of a stated size.

use types::limits::RANGE_ITEMS_MAX;
use types::{ErrorCode, Problem};

use crate::{
    Kind,
    map::Map,
    score::Score,
    value::{Body, MEMBER_BYTES_MAX, Value},
};

/// What of a value is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Of a set or sorted set: whether a member is in it, and its score and rank.
    Member {
        /// The member.
        member: Vec<u8>,
    },
    /// Of a set: a page of members, in the order of their bytes.
    Members {
        /// From this one on.
        start: Vec<u8>,
        /// Most members, 1 to [`RANGE_ITEMS_MAX`].
        limit: u32,
    },
    /// Of a map: one field.
    Field {
        /// The field.
        field: Vec<u8>,
    },
    /// Of a sorted set: a page of members with scores, by score.
    Scores {
        /// No score below this.
        min: Option<Score>,
        /// No score above this.
        max: Option<Score>,
        /// How many of these to leave out first: without bounds, the rank of the first.
        skip: u64,
        /// Most members, 1 to [`RANGE_ITEMS_MAX`].
        limit: u32,
        /// The greatest score first.
        descending: bool,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// For [`Part::Whole`], and for [`Part::Field`] a map with this field alone.
    Value(Value),
    /// For [`Part::Member`].
    Member {
        /// Whether it is in the set.
        present: bool,
        /// Its score, in a sorted set.
        score: Option<Score>,
        /// How many members come before it, the least score first.
        rank: Option<u64>,
    },
    /// For [`Part::Members`].
    Members {
        /// The page.
        members: Vec<Vec<u8>>,
        /// Members in all.
        total: u64,
        /// Where the next page starts; `None` after the last.
        next: Option<Vec<u8>>,
    },
    /// For [`Part::Scores`].
    Scores {
        /// The page.
        scores: Vec<(Vec<u8>, Score)>,
        /// Members within the bounds.
        total: u64,
        /// What to leave out for the next page; `None` after the last.
        next: Option<u64>,
    },
    /// The value has no such parts.
    NotOf {
        /// What it is.
        kind: Kind,
    },
}

impl Part {
    /// Whether a kind of value has such parts.
    pub fn is_of(&self, kind: Kind) -> bool {
        match self {
            Part::Whole => true,
            Part::Member { .. } => matches!(kind, Kind::Set | Kind::SortedSet),
            Part::Members { .. } => kind == Kind::Set,
            Part::Field { .. } => kind == Kind::Map,
            Part::Scores { .. } => kind == Kind::SortedSet,
        }
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` names the limit and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        let refuse = |message: String, next_step: &str| {
            Err(Problem::not_applied(ErrorCode::InvalidArgument, message, next_step))
        };
        let limit = match self {
            Part::Members { limit, .. } | Part::Scores { limit, .. } => *limit,
            _ => 1,
        };
        if !(1..=RANGE_ITEMS_MAX).contains(&limit) {
            let message = format!("a limit of {limit} members is not within 1 to {RANGE_ITEMS_MAX}");
            return refuse(message, "ask for that many; a following page starts at `next`");
        }
        let name = match self {
            Part::Member { member: name }
            | Part::Members { start: name, .. }
            | Part::Field { field: name } => name.len(),
            _ => 0,
        };
        // One byte more: `member + 0x00`, the first possible one after it, is a start too.
        if name > MEMBER_BYTES_MAX + 1 {
            let message =
                format!("a member or field of {name} bytes is longer than the limit of {MEMBER_BYTES_MAX}");
            return refuse(message, "use a shorter one: none is longer");
        }
        Ok(())
    }

    /// This part of a value.
    pub fn of(&self, value: &Value) -> Shown {
        match (self, value.body()) {
            (Part::Whole, _) => Shown::Value(value.clone()),
            (Part::Member { member }, Body::Set(set)) => {
                Shown::Member { present: set.contains(member), score: None, rank: None }
            }
            (Part::Member { member }, Body::SortedSet(set)) => {
                let score = set.score(member);
                Shown::Member { present: score.is_some(), score, rank: set.rank(member) }
            }
            (Part::Members { start, limit }, Body::Set(set)) => {
                let mut found = set.members_from(start).map(<[u8]>::to_vec);
                let members = found.by_ref().take(*limit as usize).collect();
                Shown::Members { members, total: set.len() as u64, next: found.next() }
            }
            (Part::Field { field }, Body::Map(map)) => {
                let found = map.field(field).map(|found| (field.clone(), found.clone()));
                let body = Body::Map(Map(found.into_iter().collect()));
                Shown::Value(Value { seen: value.seen.clone(), body })
            }
            (Part::Scores { min, max, skip, limit, descending }, Body::SortedSet(set)) => {
                let mut all = set.by_score();
                let within =
                    |score: Score| min.is_none_or(|min| min <= score) && max.is_none_or(|max| score <= max);
                all.retain(|(_, score)| within(*score));
                if *descending {
                    all.reverse();
                }
                let total = all.len() as u64;
                let from = (*skip).min(total) as usize;
                let page = all[from..].iter().take(*limit as usize);
                let scores: Vec<_> = page.map(|(member, score)| (member.to_vec(), *score)).collect();
                let end = (from + scores.len()) as u64;
                Shown::Scores { scores, total, next: (end < total).then_some(end) }
            }
            _ => Shown::NotOf { kind: value.kind() },
        }
    }
}
