//! The operations on typed values, what they answer, and why they may do nothing.

use types::{
    ErrorCode, Problem,
    limits::{TXN_OPS_MAX, VALUE_BYTES_MAX},
};

use crate::{
    Kind,
    score::Score,
    value::{MEMBER_BYTES_MAX, MEMBERS_MAX},
};

/// Most operations on one key at once: as of a transaction.
pub const OPERATIONS_MAX: usize = TXN_OPS_MAX;

/// A change of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Of a register: sets it.
    Assign {
        /// To this.
        value: Vec<u8>,
    },
    /// Of a counter, or of a register that holds a decimal whole number: adds to it. Sent twice, it adds twice.
    Add {
        /// What is added.
        by: i64,
    },
    /// Of a counter: sets it to 0.
    Reset,
    /// Of a set: adds members.
    Insert {
        /// Which.
        members: Vec<Vec<u8>>,
    },
    /// Of a set or a sorted set: removes members; those that are not there are no error.
    Remove {
        /// Which.
        members: Vec<Vec<u8>>,
    },
    /// Of a map: sets a field's register.
    Put {
        /// The field.
        field: Vec<u8>,
        /// To this.
        value: Vec<u8>,
    },
    /// Of a map: removes a field with all that is in it.
    RemoveField {
        /// The field.
        field: Vec<u8>,
    },
    /// Of a map: an operation on the counter or set in a field, which is made if there is none.
    Within {
        /// The field.
        field: Vec<u8>,
        /// [`Operation::Add`], [`Operation::Reset`], [`Operation::Insert`] or [`Operation::Remove`].
        operation: Box<Operation>,
    },
    /// Of a sorted set: gives a member a score, and adds it if it is not there.
    Score {
        /// The member.
        member: Vec<u8>,
        /// The score.
        score: Score,
    },
    /// Of a sorted set: adds to a member's score; one that is not there has 0. Sent twice, it adds twice.
    AddScore {
        /// The member.
        member: Vec<u8>,
        /// What is added.
        by: Score,
    },
}

impl Operation {
    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Assign { .. } => "set",
            Operation::Add { .. } => "increment",
            Operation::Reset => "reset",
            Operation::Insert { .. } => "add",
            Operation::Remove { .. } => "remove",
            Operation::Put { .. } => "put",
            Operation::RemoveField { .. } => "remove_field",
            Operation::Within { .. } => "within",
            Operation::Score { .. } => "score",
            Operation::AddScore { .. } => "increment_score",
        }
    }

    /// The operations of a kind of value, by name.
    pub fn names_of(kind: Kind) -> &'static str {
        match kind {
            Kind::Register => "set, increment",
            Kind::Counter => "increment, reset",
            Kind::Set => "add, remove",
            Kind::Map => "put, remove_field, within",
            Kind::SortedSet => "score, increment_score, remove",
        }
    }

    /// Whether it is an operation of this kind of value.
    pub fn is_of(&self, kind: Kind) -> bool {
        match self {
            Operation::Assign { .. } => kind == Kind::Register,
            Operation::Add { .. } => matches!(kind, Kind::Register | Kind::Counter),
            Operation::Reset => kind == Kind::Counter,
            Operation::Insert { .. } => kind == Kind::Set,
            Operation::Remove { .. } => matches!(kind, Kind::Set | Kind::SortedSet),
            Operation::Put { .. } | Operation::RemoveField { .. } | Operation::Within { .. } => {
                kind == Kind::Map
            }
            Operation::Score { .. } | Operation::AddScore { .. } => kind == Kind::SortedSet,
        }
    }

    /// Whether it may be inside [`Operation::Within`].
    pub(crate) fn may_be_within(&self) -> bool {
        matches!(
            self,
            Operation::Add { .. } | Operation::Reset | Operation::Insert { .. } | Operation::Remove { .. }
        )
    }

    /// Bytes of members, fields and values, and how many members and fields there are.
    fn size(&self) -> (usize, usize) {
        let all = |members: &[Vec<u8>]| (members.iter().map(Vec::len).sum(), members.len());
        match self {
            Operation::Assign { value } => (value.len(), 0),
            Operation::Add { .. } | Operation::Reset => (0, 0),
            Operation::Insert { members } | Operation::Remove { members } => all(members),
            Operation::Put { field, value } => (field.len() + value.len(), 1),
            Operation::RemoveField { field } => (field.len(), 1),
            Operation::Within { field, operation } => {
                let (bytes, names) = operation.size();
                (field.len() + bytes, names + 1)
            }
            Operation::Score { member, .. } | Operation::AddScore { member, .. } => (member.len(), 1),
        }
    }

    fn longest_name(&self) -> usize {
        match self {
            Operation::Assign { .. } | Operation::Add { .. } | Operation::Reset => 0,
            Operation::Insert { members } | Operation::Remove { members } => {
                members.iter().map(Vec::len).max().unwrap_or(0)
            }
            Operation::Put { field, .. } | Operation::RemoveField { field } => field.len(),
            Operation::Within { field, operation } => field.len().max(operation.longest_name()),
            Operation::Score { member, .. } | Operation::AddScore { member, .. } => member.len(),
        }
    }

    /// Checks the limits of what one request asks for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` names the limit and what was found.
    pub fn validate(operations: &[Operation]) -> Result<(), Problem> {
        let refuse = |message: String, next_step: &str| {
            Err(Problem::not_applied(ErrorCode::InvalidArgument, message, next_step))
        };
        if !(1..=OPERATIONS_MAX).contains(&operations.len()) {
            let message = format!("{} operations, the limits are 1 to {OPERATIONS_MAX}", operations.len());
            return refuse(message, "send them in several requests");
        }
        let sizes = operations.iter().map(Operation::size);
        let (bytes, names) = sizes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        if bytes > VALUE_BYTES_MAX || names > MEMBERS_MAX {
            let message = format!(
                "the operations have {bytes} bytes and {names} members, more than the limits of {VALUE_BYTES_MAX} and \
                 {MEMBERS_MAX}"
            );
            return refuse(message, "send them in several requests");
        }
        let longest = operations.iter().map(Operation::longest_name).max().unwrap_or(0);
        if longest > MEMBER_BYTES_MAX {
            let message = format!(
                "a member or field of {longest} bytes is longer than the limit of {MEMBER_BYTES_MAX}"
            );
            return refuse(message, "use a shorter one");
        }
        let nested = |operation: &Operation| match operation {
            Operation::Within { operation, .. } => operation.may_be_within(),
            _ => true,
        };
        if !operations.iter().all(nested) {
            return refuse(
                "within a field only increment, reset, add and remove work".into(),
                "to set a field, send put; a map inside a map is not kept",
            );
        }
        Ok(())
    }
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Operation::Assign`] and [`Operation::Put`].
    Assigned {
        /// Whether there was something before.
        existed: bool,
    },
    /// To [`Operation::Add`] and [`Operation::Reset`].
    Count {
        /// The number now.
        value: i64,
    },
    /// To [`Operation::Insert`].
    Inserted {
        /// Members that were not there.
        members: u32,
    },
    /// To [`Operation::Remove`] and [`Operation::RemoveField`].
    Removed {
        /// Members, or fields, that were there.
        members: u32,
    },
    /// To [`Operation::Score`] and [`Operation::AddScore`].
    Scored {
        /// The score now.
        score: Score,
        /// Whether the member was there.
        existed: bool,
    },
}

/// Why operations did nothing, found only as they ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The value is of a kind that has no such operation.
    #[error("a {} has no such operation: its operations are {}", kind, Operation::names_of(*kind))]
    WrongKind {
        /// What the value is.
        kind: Kind,
    },
    /// The field holds another kind.
    #[error("the field {} holds a {}, which has no such operation", field.escape_ascii(), is)]
    FieldIs {
        /// The field.
        field: Vec<u8>,
        /// What is in it.
        is: Kind,
    },
    /// The sum does not fit.
    #[error("the number leaves the range of 64 bits")]
    Overflow,
    /// A register does not hold a decimal whole number of 64 bits.
    #[error("the key does not hold a decimal whole number of 64 bits")]
    NotANumber,
    /// The score would be infinite.
    #[error("the score leaves the range of finite numbers")]
    ScoreNotFinite,
    /// See [`MEMBERS_MAX`].
    #[error("the value would have more than {MEMBERS_MAX} members")]
    TooManyMembers,
    /// See [`VALUE_BYTES_MAX`].
    #[error("the value would be encoded in {bytes} bytes, more than the limit of {VALUE_BYTES_MAX}")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// What the key holds is no value of the keyspace's kind: it was not written by operations.
    #[error("the key holds no {kind}")]
    NotAValue {
        /// What it should be.
        kind: Kind,
    },
    /// More replicas changed the value than it can tell apart.
    #[error("too many replicas changed the value")]
    TooManyActors,
    /// Under an idempotency key the answer is remembered, and it is too long for that.
    #[error("the answer is too long to be remembered under an idempotency key")]
    AnswerTooLong,
}

impl Refusal {
    /// What to do next, for a person.
    pub fn next_step(&self) -> &'static str {
        match self {
            Refusal::WrongKind { .. } => "send an operation of the keyspace's kind of values",
            Refusal::FieldIs { .. } => "remove the field first, or use another",
            Refusal::Overflow | Refusal::ScoreNotFinite => "add less",
            Refusal::NotANumber => "put a number there first, or use another key",
            Refusal::TooManyMembers | Refusal::TooLarge { .. } => {
                "remove members, or spread them over several keys"
            }
            Refusal::NotAValue { .. } => "delete the key, then send it again",
            Refusal::TooManyActors => "write the value anew under another key",
            Refusal::AnswerTooLong => "send fewer operations at once",
        }
    }
}
