//! What processes ask of locks, and of resources that locks guard.

use serde::{Deserialize, Serialize};

use crate::ledger::{End, Form, Kind};

/// What a resource refuses a write by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FencedBy {
    /// It knows the greatest token that wrote to it.
    #[default]
    Writes,
    /// It knows who holds the lock: as soon as that is another, the token before is refused.
    Holder,
}

/// An operation; what is told of it is `None` until then, and may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LockForm {
    /// What the history is judged by.
    LockTerms {
        /// How much slower or faster than another a clock may be: promises count this much less, per thousand.
        #[serde(default)]
        clock_error_per_mille: u64,
        /// What a resource knows.
        #[serde(default)]
        fenced_by: FencedBy,
    },
    /// To hold a lock.
    Acquire {
        /// The lock.
        lock: String,
        /// Told: the fencing token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<u64>,
        /// Told: how long it is held without a keep-alive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
    },
    /// To go on holding it.
    KeepAlive {
        /// The lock.
        lock: String,
        /// The token it is held under, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<u64>,
        /// Told: how long from now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
    },
    /// To hold it no longer.
    Release {
        /// The lock.
        lock: String,
        /// The token it is held under, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<u64>,
    },
    /// To set a resource that a lock guards.
    GuardedWrite {
        /// The lock.
        lock: String,
        /// The resource.
        resource: String,
        /// The token to write under.
        token: u64,
        /// The value.
        value: String,
        /// Told: the number of this change of the resource.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// What a resource holds.
    GuardedRead {
        /// The lock.
        lock: String,
        /// The resource.
        resource: String,
        /// Told: the value; `Some(None)` if nothing was ever written.
        #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
        value: Option<Option<String>>,
    },
}

fn told<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(source).map(Some)
}

impl LockForm {
    /// Whether a history with such an operation is one of locks.
    pub(crate) fn has(f: &str) -> bool {
        let all = ["lock-terms", "acquire", "keep-alive", "release", "guarded-write", "guarded-read"];
        all.contains(&f)
    }

    fn told(&self) -> bool {
        match self {
            LockForm::Acquire { token, ttl_ms, .. } => token.is_some() || ttl_ms.is_some(),
            LockForm::KeepAlive { ttl_ms, .. } => ttl_ms.is_some(),
            LockForm::GuardedWrite { revision, .. } => revision.is_some(),
            LockForm::GuardedRead { value, .. } => value.is_some(),
            LockForm::LockTerms { .. } | LockForm::Release { .. } => false,
        }
    }
}

impl Form for LockForm {
    fn asked(&self) -> LockForm {
        let mut asked = self.clone();
        match &mut asked {
            LockForm::Acquire { token, ttl_ms, .. } => (*token, *ttl_ms) = (None, None),
            LockForm::KeepAlive { ttl_ms, .. } => *ttl_ms = None,
            LockForm::GuardedWrite { revision, .. } => *revision = None,
            LockForm::GuardedRead { value, .. } => *value = None,
            LockForm::LockTerms { .. } | LockForm::Release { .. } => {}
        }
        asked
    }

    fn check(&self, kind: Kind) -> Result<(), &'static str> {
        match (self, kind) {
            (LockForm::LockTerms { clock_error_per_mille: 1_000.., .. }, _) => {
                Err("a clock error is less than 1000 per mille")
            }
            (LockForm::LockTerms { .. }, Kind::Note) => Ok(()),
            (LockForm::LockTerms { .. }, _) | (_, Kind::Note) => {
                Err("terms are a note, and nothing else of locks is")
            }
            (LockForm::GuardedRead { value: None, .. }, Kind::Ok) => {
                Err("a guarded read needs `value`, null for nothing")
            }
            (_, Kind::Ok) => Ok(()),
            _ if self.told() => Err("only what is ok has results"),
            _ => Ok(()),
        }
    }

    fn is_terms(&self) -> bool {
        matches!(self, LockForm::LockTerms { .. })
    }

    fn question(&self) -> String {
        let under =
            |token: &Option<u64>| token.map_or(String::new(), |token| format!(" under token {token}"));
        match self {
            LockForm::LockTerms { clock_error_per_mille, fenced_by } => {
                let by = match fenced_by {
                    FencedBy::Writes => "the greatest token that wrote",
                    FencedBy::Holder => "the holder's token",
                };
                format!("clocks err by {clock_error_per_mille} per mille, resources know {by}")
            }
            LockForm::Acquire { lock, .. } => format!("acquire {lock:?}"),
            LockForm::KeepAlive { lock, token, .. } => format!("keep {lock:?} alive{}", under(token)),
            LockForm::Release { lock, token } => format!("release {lock:?}{}", under(token)),
            LockForm::GuardedWrite { resource, token, value, .. } => {
                format!("write {resource:?} = {value:?} under token {token}")
            }
            LockForm::GuardedRead { resource, .. } => format!("read {resource:?}"),
        }
    }

    fn answer(&self, end: End) -> String {
        let lives = |ttl_ms: &Option<u64>| ttl_ms.map_or(String::new(), |ttl_ms| format!(" for {ttl_ms} ms"));
        match (self, end) {
            (LockForm::GuardedWrite { .. }, End::Fail) => "fenced".to_owned(),
            (_, End::Fail) => "failed".to_owned(),
            (LockForm::Acquire { token: Some(token), ttl_ms, .. }, _) => {
                format!("token {token}{}", lives(ttl_ms))
            }
            (LockForm::Acquire { ttl_ms, .. }, _) => format!("held{}", lives(ttl_ms)),
            (LockForm::KeepAlive { ttl_ms, .. }, _) => format!("kept{}", lives(ttl_ms)),
            (LockForm::GuardedWrite { revision: Some(revision), .. }, _) => {
                format!("done at revision {revision}")
            }
            (LockForm::GuardedRead { value: Some(Some(value)), .. }, _) => format!("{value:?}"),
            (LockForm::GuardedRead { .. }, _) => "nothing".to_owned(),
            _ => "done".to_owned(),
        }
    }
}
