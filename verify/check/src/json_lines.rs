//! Histories as JSON lines: one event a line, in the order of recording.
//!
//! ```text
//! {"process":3,"type":"invoke","time_us":10,"op":{"f":"write","key":"a","value":"v1"}}
//! {"process":3,"type":"ok","time_us":25,"op":{"f":"write","key":"a","value":"v1","revision":7}}
//! ```
//!
//! `type` is `invoke`, `ok`, `fail` or `unknown`; `f` is `read`, `write`, `delete` or `cas`. A
//! completion repeats the operation it completes, and adds what was told: `value` (null for a key
//! that is absent) and `revision` to a read, `revision` to a write or cas, `existed` and `revision` to
//! a delete, `current` to a cas that failed. Empty lines are skipped. An invocation may have [`Terms`], and an
//! answer a [`Receipt`].

use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Deserializer, Serialize};

use crate::history::{Action, Answer, Completion, EventError, History, Op};
use crate::receipt::Receipt;
use crate::terms::{Level, Terms};

/// Longest line, in bytes; a longer one is no event of ours.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Most events of a history: two of each operation that was answered.
pub const EVENTS_MAX: usize = 2_000_000;

/// Why a text is not a history.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Reading failed.
    #[error("line {line}: {source}")]
    Io {
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// The line is too long.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    Long {
        /// Which line, from 1.
        line: usize,
    },
    /// The text is too long.
    #[error("line {line}: the history is longer than {TEXT_BYTES_MAX} bytes")]
    Large {
        /// Which line, from 1.
        line: usize,
    },
    /// There are too many events.
    #[error("line {line}: the history has more than {EVENTS_MAX} events")]
    Many {
        /// Which line, from 1.
        line: usize,
    },
    /// The line is no event.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The event does not fit those before it.
    #[error("line {line}: {source}")]
    Event {
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: EventError,
    },
}

impl ParseError {
    /// A line that is no event.
    pub(crate) fn syntax(line: usize, reason: impl ToString) -> ParseError {
        ParseError::Syntax { line, reason: reason.to_string() }
    }

    /// A line that is not JSON, or other JSON. Its parser knows of one line alone.
    pub(crate) fn json(line: usize, error: &serde_json::Error) -> ParseError {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = text.strip_suffix(&place).unwrap_or(&text);
        ParseError::syntax(line, format!("{reason} (column {})", error.column()))
    }
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Invoke,
    Ok,
    Fail,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Function {
    Read,
    Write,
    Delete,
    Cas,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    process: u64,
    #[serde(rename = "type")]
    kind: Kind,
    time_us: u64,
    op: Fields,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    f: Function,
    key: String,
    /// The outer option: whether there is such a field.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected_revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    existed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

impl Fields {
    fn terms(&self) -> Terms {
        let (session, idempotency_key) = (self.session.clone(), self.idempotency_key.clone());
        Terms { session, level: self.level, bound_ms: self.bound_ms, idempotency_key }
    }
}

fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(source).map(Some)
}

/// The lines of a text that are not empty, within the limits.
pub(crate) struct EventLines<R> {
    text: R,
    bytes: Vec<u8>,
    line: usize,
    events: usize,
    read: usize,
}

impl<R: BufRead> EventLines<R> {
    pub(crate) fn new(text: R) -> EventLines<R> {
        EventLines { text, bytes: Vec::new(), line: 0, events: 0, read: 0 }
    }

    /// The next one and its number, from 1.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &[u8])>, ParseError> {
        loop {
            self.line += 1;
            let line = self.line;
            self.bytes.clear();
            (&mut self.text)
                .take(LINE_BYTES_MAX as u64 + 2)
                .read_until(b'\n', &mut self.bytes)
                .map_err(|source| ParseError::Io { line, source })?;
            self.read += self.bytes.len();
            if self.bytes.is_empty() {
                return Ok(None);
            }
            if self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes).len() > LINE_BYTES_MAX {
                return Err(ParseError::Long { line });
            }
            if self.read > TEXT_BYTES_MAX {
                return Err(ParseError::Large { line });
            }
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        self.events += 1;
        if self.events > EVENTS_MAX {
            return Err(ParseError::Many { line: self.line });
        }
        Ok(Some((self.line, self.bytes.trim_ascii())))
    }
}

impl History {
    /// Reads a history of single operations. Memory is bounded by the text's size, which is limited.
    pub fn parse(text: impl BufRead) -> Result<History, ParseError> {
        let mut history = History::new();
        let mut lines = EventLines::new(text);
        while let Some((line, content)) = lines.next()? {
            let event = serde_json::from_slice(content).map_err(|error| ParseError::json(line, &error))?;
            add(&mut history, line, event)?;
        }
        Ok(history)
    }

    /// Writes the history as JSON lines; [`History::parse`] reads back the same.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut events = Vec::new();
        for op in self.ops() {
            let invoke = fields(op, false);
            events.push((op.invoked, op.process, Kind::Invoke, invoke));
            if let Some((moment, completion)) = &op.completed {
                let kind = match completion {
                    Completion::Ok(_) => Kind::Ok,
                    Completion::Fail { .. } => Kind::Fail,
                    Completion::Unknown => Kind::Unknown,
                };
                events.push((*moment, op.process, kind, fields(op, true)));
            }
        }
        events.sort_by_key(|(moment, ..)| *moment);
        for (moment, process, kind, op) in events {
            let line = Line { process, kind, time_us: moment.time_us, op };
            serde_json::to_writer(&mut *to, &line)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// An operation as it is written: what was asked, and what was told if that is `completed`.
fn fields(op: &Op, completed: bool) -> Fields {
    let Op { action, terms, .. } = op;
    let Terms { session, level, bound_ms, idempotency_key } = terms.clone();
    let completion = op.completed.as_ref().filter(|_| completed).map(|(_, completion)| completion);
    let key = action.key().to_owned();
    let (f, value, expected_revision) = match action {
        Action::Read { .. } => (Function::Read, None, None),
        Action::Write { value, .. } => (Function::Write, Some(Some(value.clone())), None),
        Action::Delete { .. } => (Function::Delete, None, None),
        Action::Cas { expected_revision, value, .. } => {
            (Function::Cas, Some(Some(value.clone())), Some(*expected_revision))
        }
    };
    let (revision, existed, current) = (None, None, None);
    let mut fields = Fields {
        f,
        key,
        value,
        expected_revision,
        revision,
        existed,
        current,
        session,
        level,
        bound_ms,
        idempotency_key,
        receipt: op.receipt.clone().filter(|_| completed),
    };
    match completion {
        Some(Completion::Ok(Answer::Read { value, revision })) => {
            fields.value = Some(value.clone());
            fields.revision = *revision;
        }
        Some(Completion::Ok(Answer::Written { revision })) => fields.revision = *revision,
        Some(Completion::Ok(Answer::Deleted { existed, revision })) => {
            fields.existed = *existed;
            fields.revision = *revision;
        }
        Some(Completion::Fail { current }) => fields.current = *current,
        Some(Completion::Unknown) | None => {}
    }
    fields
}

pub(crate) fn add(history: &mut History, line: usize, event: Line) -> Result<(), ParseError> {
    let Line { process, kind, time_us, op } = event;
    let syntax = |reason: String| ParseError::Syntax { line, reason };
    let result = if kind == Kind::Invoke {
        if op.revision.is_some() || op.existed.is_some() || op.current.is_some() || op.receipt.is_some() {
            return Err(syntax("an invocation has no results".to_owned()));
        }
        let action = action(&op).map_err(syntax)?;
        history.invoke_with(process, time_us, action, op.terms())
    } else {
        if let Some(open) = history.open_op(process) {
            let asked = fields(open, false);
            let value_is_result = op.f == Function::Read;
            if (asked.f, &asked.key, asked.expected_revision) != (op.f, &op.key, op.expected_revision)
                || (!value_is_result && asked.value != op.value)
                || !repeats(&open.terms, &op)
            {
                return Err(syntax(format!(
                    "process {process} completes another operation than it invoked ({open})"
                )));
            }
        }
        let mut op = op;
        let receipt = op.receipt.take();
        let completion = completion(kind, op).map_err(syntax)?;
        history.complete_with(process, time_us, completion, receipt)
    };
    result.map(drop).map_err(|source| ParseError::Event { line, source })
}

/// Whether a completion says again what was asked for; it may leave that out.
fn repeats(terms: &Terms, told: &Fields) -> bool {
    fn same<T: PartialEq>(asked: &Option<T>, told: &Option<T>) -> bool {
        told.is_none() || asked == told
    }
    same(&terms.session, &told.session)
        && same(&terms.level, &told.level)
        && same(&terms.bound_ms, &told.bound_ms)
        && same(&terms.idempotency_key, &told.idempotency_key)
}

fn action(op: &Fields) -> Result<Action, String> {
    let key = op.key.clone();
    let value = || match &op.value {
        Some(Some(value)) => Ok(value.clone()),
        _ => Err("`value` must be a text".to_owned()),
    };
    if op.f != Function::Cas && op.expected_revision.is_some() {
        return Err("only a cas has `expected_revision`".to_owned());
    }
    if matches!(op.f, Function::Read | Function::Delete) && op.value.is_some() {
        return Err("neither a read nor a delete is invoked with a `value`".to_owned());
    }
    Ok(match op.f {
        Function::Read => Action::Read { key },
        Function::Write => Action::Write { key, value: value()? },
        Function::Delete => Action::Delete { key },
        Function::Cas => {
            let expected_revision =
                op.expected_revision.ok_or("a cas needs `expected_revision`, 0 for absent")?;
            Action::Cas { key, expected_revision, value: value()? }
        }
    })
}

fn completion(kind: Kind, op: Fields) -> Result<Completion, String> {
    let told = (op.revision.is_some(), op.existed.is_some(), op.current.is_some());
    let read_value = op.f == Function::Read && op.value.is_some();
    match kind {
        Kind::Ok => {
            if told.2 || (told.1 && op.f != Function::Delete) {
                return Err("a result that this operation does not have".to_owned());
            }
            Ok(Completion::Ok(match op.f {
                Function::Read => {
                    let value = op.value.ok_or("a read needs `value`, null for absent")?;
                    Answer::Read { value, revision: op.revision }
                }
                Function::Write | Function::Cas => Answer::Written { revision: op.revision },
                Function::Delete => Answer::Deleted { existed: op.existed, revision: op.revision },
            }))
        }
        Kind::Fail if told.0 || told.1 || read_value => {
            Err("what failed has no result but `current`".to_owned())
        }
        Kind::Fail => Ok(Completion::Fail { current: op.current }),
        Kind::Unknown | Kind::Invoke if told != (false, false, false) || read_value => {
            Err("what is unknown has no results".to_owned())
        }
        Kind::Unknown | Kind::Invoke => Ok(Completion::Unknown),
    }
}
