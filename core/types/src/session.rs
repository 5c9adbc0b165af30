//! Session tokens: what a client has seen, so that a causal read on any node misses none of it.
//!
//! Guarantee G-SESSION: a causal read is answered from a state that has all that its session's token names.
//!
//! For each group, the highest index of its log whose effect the session may have seen (Terry et al. 1994,
//! "Session guarantees for weakly consistent replicated data"; one number per group is enough since a
//! group's log is one order). Joining two tokens takes the greater number of each group, so clients can hand
//! tokens on to others: who reads with a token sees at least what whoever made it saw.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{ErrorCode, GroupId, Hlc, Problem, limits::GROUPS_MAX};

/// Most groups that one token names: all that a cluster can have.
pub const SESSION_GROUPS_MAX: usize = GROUPS_MAX as usize + 1;

/// See the module. As text: `group:index` pairs by rising group, then the timestamp behind an `@`, as in
/// `64:1045,128:77@1763990000123.00007`; empty for a session that has seen nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionToken {
    seen: BTreeMap<GroupId, u64>,
    hlc: Hlc,
}

impl SessionToken {
    /// The index seen of a group; 0 when nothing was.
    pub fn seen(&self, group: GroupId) -> u64 {
        self.seen.get(&group).copied().unwrap_or(0)
    }

    /// The greatest timestamp told; [`Hlc::ZERO`] when none was.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// Notes that this timestamp was told.
    pub fn see_hlc(&mut self, hlc: Hlc) {
        self.hlc = self.hlc.max(hlc);
    }

    /// What was seen of groups alone.
    pub fn without_hlc(self) -> SessionToken {
        SessionToken { hlc: Hlc::ZERO, ..self }
    }

    /// Notes that the effect of this index was seen. Answers whether that was news.
    pub fn see(&mut self, group: GroupId, index: u64) -> bool {
        if index <= self.seen(group) {
            return false;
        }
        self.seen.insert(group, index);
        true
    }

    /// Notes all that another session saw.
    pub fn join(&mut self, other: &SessionToken) {
        for (group, index) in other.iter() {
            self.see(group, index);
        }
        self.see_hlc(other.hlc);
    }

    /// Without one group.
    pub fn without(mut self, group: GroupId) -> SessionToken {
        self.seen.remove(&group);
        self
    }

    /// Groups with the index seen of each, by rising group.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, u64)> + '_ {
        self.seen.iter().map(|(group, index)| (*group, *index))
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.hlc == Hlc::ZERO
    }

    /// Checks that it may travel.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with more than [`SESSION_GROUPS_MAX`] groups.
    pub fn validate(&self) -> Result<(), Problem> {
        if self.seen.len() <= SESSION_GROUPS_MAX {
            return Ok(());
        }
        Err(Problem::not_applied(
            ErrorCode::InvalidArgument,
            format!("the session token names {} groups, more than {SESSION_GROUPS_MAX}", self.seen.len()),
            "use a session for fewer keyspaces",
        ))
    }
}

impl FromIterator<(GroupId, u64)> for SessionToken {
    fn from_iter<I: IntoIterator<Item = (GroupId, u64)>>(seen: I) -> SessionToken {
        let mut token = SessionToken::default();
        for (group, index) in seen {
            token.see(group, index);
        }
        token
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (group, index)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{group}:{index}")?;
        }
        if self.hlc == Hlc::ZERO { Ok(()) } else { write!(f, "@{}", self.hlc) }
    }
}

/// The text is no session token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session token is pairs of group and index by rising group, at most {SESSION_GROUPS_MAX}, and perhaps a \
     timestamp, as in 64:1045,128:77@1763990000123.00007"
)]
pub struct SessionTokenError;

impl FromStr for SessionToken {
    type Err = SessionTokenError;

    fn from_str(text: &str) -> Result<SessionToken, SessionTokenError> {
        let mut seen = BTreeMap::new();
        let (pairs, hlc) = match text.split_once('@') {
            Some((pairs, hlc)) => (pairs, hlc.parse().map_err(|_| SessionTokenError)?),
            None => (text, Hlc::ZERO),
        };
        if text.contains('@') && hlc == Hlc::ZERO {
            return Err(SessionTokenError);
        }
        for pair in pairs.split(',').filter(|_| !pairs.is_empty()) {
            let (group, index) = pair.split_once(':').ok_or(SessionTokenError)?;
            let (group, index) = (number(group)?, number(index)?);
            let rises = seen.last_key_value().is_none_or(|(last, _): (&GroupId, _)| last.0 < group);
            if !rises || seen.len() == SESSION_GROUPS_MAX {
                return Err(SessionTokenError);
            }
            seen.insert(GroupId(group), index);
        }
        Ok(SessionToken { seen, hlc })
    }
}

/// A number above 0, as we write it: one session has one text.
fn number(text: &str) -> Result<u64, SessionTokenError> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical { text.parse().map_err(|_| SessionTokenError) } else { Err(SessionTokenError) }
}

impl Serialize for SessionToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SessionToken, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_text() {
        let good = [
            "",
            "64:1",
            "1:18446744073709551615,64:1045,128:77",
            "@1763990000123.00007",
            "64:1,128:2@1763990000123.00007",
        ];
        for text in good {
            assert_eq!(text.parse::<SessionToken>().expect("it is one").to_string(), text);
        }
        let bad = [
            ",",
            "64",
            "64:",
            ":1",
            "64:0",
            "0:1",
            "64:01",
            "64:1,",
            "64:1,64:2",
            "128:1,64:1",
            "64:-1",
            "64:+1",
            "64:1 ",
            "a:1",
            "64:18446744073709551616",
            "64:1@",
            "64:1@0.00000",
            "64:1@17.7",
            "64:1,@1763990000123.00007",
        ];
        for text in bad {
            assert!(text.parse::<SessionToken>().is_err(), "{text:?}");
        }
        let long: Vec<String> = (1..=SESSION_GROUPS_MAX + 1).map(|group| format!("{group}:1")).collect();
        assert!(long[1..].join(",").parse::<SessionToken>().is_ok());
        assert!(long.join(",").parse::<SessionToken>().is_err());
    }

    #[test]
    fn joining_takes_the_greater_of_each() {
        let mut one: SessionToken = "1:5,3:7".parse().unwrap();
        one.join(&"1:4,2:9,3:8".parse().unwrap());
        assert_eq!(one.to_string(), "1:5,2:9,3:8");
        assert!(!one.see(GroupId(2), 9));
        assert_eq!((one.seen(GroupId(2)), one.seen(GroupId(4))), (9, 0));
        one.join(&"@1000.00007".parse().unwrap());
        one.join(&"3:1@1000.00006".parse().unwrap());
        assert_eq!(one.clone().without(GroupId(2)).to_string(), "1:5,3:8@1000.00007");
        assert_eq!(one.without_hlc().to_string(), "1:5,2:9,3:8");
    }
}
