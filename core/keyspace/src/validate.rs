//! Limits on what clients ask, checked before anything is proposed or read.
//!
//! Applying does not check them again: an entry in the log is law, also when a later version has
//! other limits.

use types::limits::{KEY_BYTES_MAX, RANGE_ITEMS_MAX, RESERVED_KEY_PREFIX, VALUE_BYTES_MAX, is_reserved_key};
use types::{ErrorCode, Problem};
use values::Operation;

use crate::command::{Command, Expect, KeyRange, Query};
use crate::lease::validate_leased;

/// Longest bound of a range, in bytes: one more than a key, so that `key + 0x00`, the first possible
/// key after `key`, is a bound too.
pub const RANGE_BOUND_BYTES_MAX: usize = KEY_BYTES_MAX + 1;

impl Command {
    /// Checks the limits. `INVALID_ARGUMENT` names the limit and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        let (key, expect) = match self {
            Command::Put { key, value, expect, lease } => {
                if lease.is_some() {
                    validate_leased(key)?;
                }
                if value.len() > VALUE_BYTES_MAX {
                    return Err(invalid(
                        format!(
                            "the value has {} bytes, more than the limit of {VALUE_BYTES_MAX}",
                            value.len()
                        ),
                        "store a smaller value, or split it over several keys",
                    ));
                }
                (key, expect)
            }
            Command::Delete { key, expect } => (key, expect),
            Command::Operate { key, operations, expect } => {
                Operation::validate(operations)?;
                (key, expect)
            }
            Command::Txn(txn) => return txn.validate(),
            Command::Compact { revision, .. } => {
                let none =
                    || invalid("revision 0 is before every change".to_owned(), "name a revision from 1 on");
                return if *revision == 0 { Err(none()) } else { Ok(()) };
            }
            Command::Reclaim { .. } => {
                return Err(invalid(
                    "only a leader reclaims history".to_owned(),
                    "compact to a revision instead",
                ));
            }
            Command::Lease(command) => return command.validate(),
        };
        if *expect == Expect::Revision(0) {
            return Err(invalid(
                "no key has revision 0".to_owned(),
                "to demand that the key does not exist, use `If-None-Match: *`",
            ));
        }
        validate_key(key)
    }
}

impl Query {
    /// Checks the limits. `INVALID_ARGUMENT` names the limit and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        match self {
            Query::Get { key } => validate_key(key),
            Query::Value { key, part } => {
                part.validate()?;
                validate_key(key)
            }
            Query::Range { range, limit, .. } => {
                if !(1..=RANGE_ITEMS_MAX).contains(limit) {
                    return Err(invalid(
                        format!("a limit of {limit} items is not within 1 to {RANGE_ITEMS_MAX}"),
                        "ask for that many; a following page starts at `next`",
                    ));
                }
                validate_range(range)
            }
            Query::Txn(txn) if !txn.is_read_only() => Err(invalid(
                "a transaction that changes something is no question".to_owned(),
                "send it as a command",
            )),
            Query::Txn(txn) => txn.validate(),
            Query::At { query, .. } => query.validate(),
            Query::Lease(query) => query.validate(),
        }
    }
}

pub(crate) fn validate_key(key: &[u8]) -> Result<(), Problem> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        if is_reserved_key(key) {
            return Err(invalid(
                format!("keys that begin with {} bytes 0xff are reserved", RESERVED_KEY_PREFIX.len()),
                "use a key that begins with another byte",
            ));
        }
        return Ok(());
    }
    Err(invalid(
        format!("the key has {} bytes, the limits are 1 to {KEY_BYTES_MAX}", key.len()),
        "use a key within the limits",
    ))
}

pub(crate) fn validate_range(range: &KeyRange) -> Result<(), Problem> {
    let bounds = [("start", Some(&range.start)), ("end", range.end.as_ref())];
    for (name, bound) in bounds {
        let bytes = bound.map_or(0, Vec::len);
        if bytes > RANGE_BOUND_BYTES_MAX {
            return Err(invalid(
                format!(
                    "the range's {name} has {bytes} bytes, more than the limit of {RANGE_BOUND_BYTES_MAX}"
                ),
                "use a shorter bound: no key is longer",
            ));
        }
    }
    if range.end.as_ref().is_some_and(|end| range.start > *end) {
        return Err(invalid(
            "the range's start is after its end".to_owned(),
            "exchange the two: the start is included, the end is not",
        ));
    }
    Ok(())
}

pub(crate) fn invalid(message: String, next_step: &str) -> Problem {
    Problem::not_applied(ErrorCode::InvalidArgument, message, next_step)
}
