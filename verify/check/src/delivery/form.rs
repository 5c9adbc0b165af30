//! What producers and consumers ask of ordered logs.

use serde::{Deserialize, Serialize};

use crate::ledger::{End, Form, Kind};

/// How often a message is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Semantics {
    /// Never twice to one group; it may be lost on the way to it.
    AtMostOnce,
    /// Never lost; it may stand in the log, and be delivered, several times.
    #[default]
    AtLeastOnce,
    /// Never lost, at one place of the log, and never delivered below what its group committed.
    ExactlyOnce,
}

/// Offsets, first and last.
pub type Span = (u64, u64);

/// An operation; what is told of it is `None` or empty until then, and may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LogForm {
    /// What the history is judged by.
    DeliveryTerms {
        /// How often a message is delivered.
        #[serde(default)]
        semantics: Semantics,
        /// Whether there is a message at every offset that is not told to be compacted or aborted.
        #[serde(default)]
        dense: bool,
    },
    /// To append a message.
    Send {
        /// The log.
        log: String,
        /// The message: sending it again is a retry.
        value: String,
        /// What consumers may ask for alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Who numbers it, if not the process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        producer: Option<String>,
        /// Its number with the producer: then the log holds it once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The transaction that it is part of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transaction: Option<String>,
        /// Told: where it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
    },
    /// For messages.
    Poll {
        /// The log.
        log: String,
        /// Who consumes, if not the process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consumer: Option<String>,
        /// Its group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The first offset wanted; without, what follows on what this consumer was told before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// Only messages with these keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<Vec<String>>,
        /// Told: offsets and messages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        messages: Vec<(u64, String)>,
        /// Told: the offset that comes next; without, the one after the last message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
        /// Told: there was nothing more.
        #[serde(default, skip_serializing_if = "is_false")]
        at_end: bool,
        /// Told: these are not kept any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        compacted: Vec<Span>,
        /// Told: these were aborted, or are no messages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        aborted: Vec<Span>,
    },
    /// A group will go on there.
    Commit {
        /// The group.
        group: String,
        /// The log.
        log: String,
        /// The first offset that it is not done with.
        offset: u64,
    },
    /// All messages of a transaction are to be seen.
    CommitTransaction {
        /// Which.
        transaction: String,
    },
    /// None of them is.
    AbortTransaction {
        /// Which.
        transaction: String,
    },
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl LogForm {
    /// Whether a history with such an operation is one of logs.
    pub(crate) fn has(f: &str) -> bool {
        ["delivery-terms", "send", "poll", "commit", "commit-transaction", "abort-transaction"].contains(&f)
    }
}

impl Form for LogForm {
    fn asked(&self) -> LogForm {
        let mut asked = self.clone();
        match &mut asked {
            LogForm::Send { offset, .. } => *offset = None,
            LogForm::Poll { messages, next, at_end, compacted, aborted, .. } => {
                messages.clear();
                (*next, *at_end) = (None, false);
                compacted.clear();
                aborted.clear();
            }
            _ => {}
        }
        asked
    }

    fn check(&self, kind: Kind) -> Result<(), &'static str> {
        match (self, kind) {
            (LogForm::DeliveryTerms { .. }, Kind::Note) => Ok(()),
            (LogForm::DeliveryTerms { .. }, _) | (_, Kind::Note) => {
                Err("terms are a note, and nothing else of logs is")
            }
            (_, Kind::Ok) => Ok(()),
            _ if *self != self.asked() => Err("only what is ok has results"),
            _ => Ok(()),
        }
    }

    fn is_terms(&self) -> bool {
        matches!(self, LogForm::DeliveryTerms { .. })
    }

    fn question(&self) -> String {
        let some = |before: &str, text: &Option<String>| {
            text.as_ref().map_or(String::new(), |text| format!("{before}{text:?}"))
        };
        match self {
            LogForm::DeliveryTerms { semantics, dense } => {
                let how = match semantics {
                    Semantics::AtMostOnce => "at most once",
                    Semantics::AtLeastOnce => "at least once",
                    Semantics::ExactlyOnce => "exactly once",
                };
                format!("delivery {how}{}", if *dense { ", no offset without a message" } else { "" })
            }
            LogForm::Send { log, value, producer, seq, transaction, .. } => {
                let number = seq.map_or(String::new(), |seq| format!(" as number {seq}"));
                let (of, within) = (some(" of ", producer), some(" in transaction ", transaction));
                format!("send {value:?} to {log:?}{number}{of}{within}")
            }
            LogForm::Poll { log, consumer, group, from, .. } => {
                let from = from.map_or(String::new(), |from| format!(" from {from}"));
                format!("poll {log:?}{from}{}{}", some(" as ", consumer), some(" for group ", group))
            }
            LogForm::Commit { group, log, offset } => {
                format!("commit {log:?} at {offset} for group {group:?}")
            }
            LogForm::CommitTransaction { transaction } => format!("commit transaction {transaction:?}"),
            LogForm::AbortTransaction { transaction } => format!("abort transaction {transaction:?}"),
        }
    }

    fn answer(&self, end: End) -> String {
        match (self, end) {
            (_, End::Fail) => "failed".to_owned(),
            (LogForm::Send { offset: Some(offset), .. }, _) => format!("at {offset}"),
            (LogForm::Poll { messages, next, at_end, compacted, aborted, .. }, _) => {
                let left_out = messages.len().saturating_sub(MESSAGES_SHOWN);
                let mut parts: Vec<String> = messages[left_out..]
                    .iter()
                    .map(|(offset, value)| format!("{offset}: {value:?}"))
                    .collect();
                if left_out > 0 {
                    parts.insert(0, format!("{left_out} more"));
                }
                let mut text = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
                for (spans, what) in [(compacted, "compacted"), (aborted, "aborted")] {
                    for (first, last) in spans {
                        text.push_str(&format!(", {first} to {last} {what}"));
                    }
                }
                if let Some(next) = next {
                    text.push_str(&format!(", next {next}"));
                }
                text + if *at_end { ", the end" } else { "" }
            }
            _ => "done".to_owned(),
        }
    }
}

/// How many messages of an answer are shown, the last ones.
const MESSAGES_SHOWN: usize = 8;
