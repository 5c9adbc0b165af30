//! What processes ask under idempotency keys, and what is seen to have taken effect.

use serde::{Deserialize, Serialize};

use crate::ledger::{End, Form, Kind};

/// An operation; what is told of it is `None` until then, and may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EffectForm {
    /// What the history is judged by.
    EffectTerms {
        /// Whether every effect is noted: then one that was not noted never was.
        #[serde(default)]
        all_noted: bool,
    },
    /// To carry out a body, once for all attempts under the key.
    Attempt {
        /// The key.
        key: String,
        /// What to do.
        body: String,
        /// Told: what came of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<String>,
        /// Told with a failure: the key was used with another body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reused: Option<bool>,
    },
    /// A body took effect under a key, once.
    Effect {
        /// The key.
        key: String,
        /// What was done.
        body: String,
        /// What came of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<String>,
    },
    /// All that took effect under a key.
    Effects {
        /// The key.
        key: String,
        /// Told: the bodies, each as often as it took effect.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bodies: Option<Vec<String>>,
    },
}

impl EffectForm {
    /// Whether a history with such an operation is one of effects.
    pub(crate) fn has(f: &str) -> bool {
        ["effect-terms", "attempt", "effect", "effects"].contains(&f)
    }
}

impl Form for EffectForm {
    fn asked(&self) -> EffectForm {
        let mut asked = self.clone();
        match &mut asked {
            EffectForm::Attempt { result, reused, .. } => (*result, *reused) = (None, None),
            EffectForm::Effects { bodies, .. } => *bodies = None,
            EffectForm::EffectTerms { .. } | EffectForm::Effect { .. } => {}
        }
        asked
    }

    fn check(&self, kind: Kind) -> Result<(), &'static str> {
        match (self, kind) {
            (EffectForm::EffectTerms { .. } | EffectForm::Effect { .. }, Kind::Note) => Ok(()),
            (EffectForm::EffectTerms { .. } | EffectForm::Effect { .. }, _) => {
                Err("terms and an `effect` are notes")
            }
            (_, Kind::Note) => Err("of effects, terms and `effect` alone are notes"),
            (EffectForm::Effects { bodies: None, .. }, Kind::Ok) => Err("all effects are told in `bodies`"),
            (EffectForm::Attempt { reused: Some(_), .. }, Kind::Ok) => Err("only what failed is `reused`"),
            (EffectForm::Attempt { result: None, .. }, Kind::Fail) | (_, Kind::Ok) => Ok(()),
            _ if *self != self.asked() => {
                Err("only what is ok has results, and only what failed is `reused`")
            }
            _ => Ok(()),
        }
    }

    fn is_terms(&self) -> bool {
        matches!(self, EffectForm::EffectTerms { .. })
    }

    fn question(&self) -> String {
        match self {
            EffectForm::EffectTerms { all_noted: true } => "every effect is noted".to_owned(),
            EffectForm::EffectTerms { all_noted: false } => "not every effect is noted".to_owned(),
            EffectForm::Attempt { key, body, .. } => format!("{body:?} under key {key:?}"),
            EffectForm::Effect { key, body, result } => {
                let result = result.as_ref().map_or(String::new(), |result| format!(", with {result:?}"));
                format!("{body:?} took effect under key {key:?}{result}")
            }
            EffectForm::Effects { key, .. } => format!("what took effect under key {key:?}"),
        }
    }

    fn answer(&self, end: End) -> String {
        match (self, end) {
            (EffectForm::Attempt { reused: Some(true), .. }, _) => "refused, the key is another's".to_owned(),
            (_, End::Fail) => "failed".to_owned(),
            (EffectForm::Attempt { result: Some(result), .. }, _) => format!("{result:?}"),
            (EffectForm::Effects { bodies, .. }, _) => format!("{:?}", bodies.as_deref().unwrap_or_default()),
            _ => "done".to_owned(),
        }
    }
}
