//! Histories as JSON lines: one event a line, in the order of recording.
//!
//! ```text
//! {"process":3,"type":"invoke","time_us":10,"op":{"f":"write","key":"a","value":"v1"}}
//! {"process":3,"type":"ok","time_us":25,"op":{"f":"write","key":"a","value":"v1","revision":7}}
//! ```
//!
//! `type` is `invoke`, `ok`, `fail` or `unknown`. A completion repeats the operation it completes, and
//! adds what was told. Empty lines are skipped. An invocation may have
//! [`crate::terms::Terms`], and an answer a [`crate::receipt::Receipt`].

use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};

use crate::fields::Fields;
use crate::history::{Completion, EventError, History};

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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    process: u64,
    #[serde(rename = "type")]
    kind: Kind,
    time_us: u64,
    op: Fields,
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
            let invoke = Fields::of_op(op, false);
            events.push((op.invoked, op.process, Kind::Invoke, invoke));
            if let Some((moment, completion)) = &op.completed {
                let kind = match completion {
                    Completion::Ok(_) => Kind::Ok,
                    Completion::Fail { .. } | Completion::Differs { .. } => Kind::Fail,
                    Completion::Unknown => Kind::Unknown,
                };
                events.push((*moment, op.process, kind, Fields::of_op(op, true)));
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

pub(crate) fn add(history: &mut History, line: usize, event: Line) -> Result<(), ParseError> {
    let Line { process, kind, time_us, op } = event;
    let syntax = |reason: String| ParseError::Syntax { line, reason };
    let action = op.action().map_err(syntax)?;
    let result = if kind == Kind::Invoke {
        if !op.is(&action, None) {
            return Err(syntax("an invocation has no results, and no field of another operation".to_owned()));
        }
        history.invoke_with(process, time_us, action, op.terms())
    } else {
        if let Some(open) = history.open_op(process)
            && (open.action != action || !op.repeats(&open.terms))
        {
            return Err(syntax(format!(
                "process {process} completes another operation than it invoked ({open})"
            )));
        }
        let completion = op.completion(kind).map_err(syntax)?;
        if !op.is(&action, Some(&completion)) {
            return Err(syntax(match kind {
                Kind::Ok => "a result that this operation does not have".to_owned(),
                Kind::Fail => "what failed has no result but `current`".to_owned(),
                Kind::Unknown | Kind::Invoke => "what is unknown has no results".to_owned(),
            }));
        }
        history.complete_with(process, time_us, completion, op.receipt())
    };
    result.map(drop).map_err(|source| ParseError::Event { line, source })
}
