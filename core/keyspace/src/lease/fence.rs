//! Fences: writes that count only while their writer holds a lock.
//!
//! Guarantee G-FENCE: a write under a fence takes effect only if, at its place in the log, its token is that of the lock's
//! holder; tokens of one lock only grow.

use std::{fmt, str::FromStr};

use storage::{GroupState, ReadRows, StoreError};
use types::{GroupId, limits::LOCK_NAME_BYTES_MAX};

use super::queue;
use crate::command::Outcome;

/// A lock, and the token under which its holder writes. In text `NAME:TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lock.
    pub name: Vec<u8>,
    /// The token.
    pub token: u64,
}

/// Not a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fence is a lock's name, a colon and its token, as in jobs/nightly:17")]
pub struct FenceError;

impl Fence {
    /// Reads `NAME:TOKEN`, whatever bytes the name has.
    ///
    /// # Errors
    /// When it is no fence.
    pub fn parse(text: &[u8]) -> Result<Fence, FenceError> {
        let colon = text.iter().rposition(|byte| *byte == b':').ok_or(FenceError)?;
        let (name, digits) = (&text[..colon], &text[colon + 1..]);
        let canonical = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0");
        let token = std::str::from_utf8(digits).ok().filter(|_| canonical).and_then(|text| text.parse().ok());
        if !(1..=LOCK_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(FenceError);
        }
        Ok(Fence { name: name.to_vec(), token: token.ok_or(FenceError)? })
    }
}

impl FromStr for Fence {
    type Err = FenceError;

    fn from_str(text: &str) -> Result<Fence, FenceError> {
        Fence::parse(text.as_bytes())
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name.escape_ascii(), self.token)
    }
}

/// The refusal of an entry with this fence; `None` while its token is the holder's.
pub(crate) fn refuse(
    rows: &dyn ReadRows,
    group: GroupId,
    state: &GroupState,
    fence: &Fence,
) -> Result<Option<Outcome>, StoreError> {
    let current = queue::first(rows, group, &fence.name)?.map(|(token, _)| token);
    let refused = current != Some(fence.token);
    Ok(refused.then_some(Outcome::Fenced { revision: state.revision, current }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_a_name_and_a_token() {
        let fence = |name: &str, token| Ok(Fence { name: name.into(), token });
        assert_eq!("jobs/a:17".parse(), fence("jobs/a", 17));
        assert_eq!("a:b:18446744073709551615".parse(), fence("a:b", u64::MAX));
        let none =
            ["", "a", ":1", "a:", "a:0", "a:01", "a:+1", "a:-1", "a:x", "a:18446744073709551616", "a: 1"];
        for text in none {
            assert_eq!(text.parse::<Fence>(), Err(FenceError), "{text}");
        }
        assert!(Fence::parse(&[&[b'x'; LOCK_NAME_BYTES_MAX + 1][..], b":1"].concat()).is_err());
    }
}
