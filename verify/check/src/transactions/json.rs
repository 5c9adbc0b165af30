//! Transactions as JSON lines, beside [`crate::json_lines`]: `f` is `txn`, and `steps` is a list of
//! `["append", key, value]`, `["write", key, value]` and `["read", key]`; a read of what committed is
//! `["read", key, [value, ..]]` of a list, and of a register `["read", key, value]` with null for what is absent,
//! or `["read", key, value, revision]`. `revision` beside `steps` is that of a transaction that committed.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::history::{Outcome, Seen, Step, TransactionHistory};
use crate::json_lines::{EventLines, Kind, ParseError};

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Function {
    Txn,
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
    steps: Vec<StepForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a step is [\"append\", key, value], [\"write\", key, value], [\"read\", key], or a read with what it \
                 saw: [value, ..] of a list, or a value or null, and perhaps a revision, of a register; all texts"
)]
enum StepForm {
    Asked(ReadWord, String),
    Append(AppendWord, String, String),
    Write(WriteWord, String, String),
    List(ReadWord, String, Vec<String>),
    Register(ReadWord, String, Option<String>),
    Revision(ReadWord, String, String, u64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AppendWord {
    Append,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WriteWord {
    Write,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReadWord {
    Read,
}

impl From<StepForm> for Step {
    fn from(form: StepForm) -> Step {
        let read = |key, seen| Step::Read { key, seen: Some(seen) };
        match form {
            StepForm::Asked(_, key) => Step::Read { key, seen: None },
            StepForm::Append(_, key, value) => Step::Append { key, value },
            StepForm::Write(_, key, value) => Step::Write { key, value },
            StepForm::List(_, key, list) => read(key, Seen::List(list)),
            StepForm::Register(_, key, value) => read(key, Seen::Register { value, revision: None }),
            StepForm::Revision(_, key, value, revision) => {
                read(key, Seen::Register { value: Some(value), revision: Some(revision) })
            }
        }
    }
}

impl From<&Step> for StepForm {
    fn from(step: &Step) -> StepForm {
        let word = ReadWord::Read;
        match step.clone() {
            Step::Append { key, value } => StepForm::Append(AppendWord::Append, key, value),
            Step::Write { key, value } => StepForm::Write(WriteWord::Write, key, value),
            Step::Read { key, seen: None } => StepForm::Asked(word, key),
            Step::Read { key, seen: Some(Seen::List(list)) } => StepForm::List(word, key, list),
            Step::Read {
                key,
                seen: Some(Seen::Register { value: Some(value), revision: Some(revision) }),
            } => StepForm::Revision(word, key, value, revision),
            Step::Read { key, seen: Some(Seen::Register { value, .. }) } => {
                StepForm::Register(word, key, value)
            }
        }
    }
}

impl TransactionHistory {
    /// Reads a history of transactions. Memory is bounded by the text's size, which is limited.
    pub fn parse(text: impl BufRead) -> Result<TransactionHistory, ParseError> {
        let mut history = TransactionHistory::new();
        let mut lines = EventLines::new(text);
        while let Some((line, content)) = lines.next()? {
            let event = serde_json::from_slice(content).map_err(|error| ParseError::json(line, &error))?;
            add(&mut history, line, event)?;
        }
        Ok(history)
    }

    /// Writes the history as JSON lines; [`TransactionHistory::parse`] reads back the same.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut events = Vec::new();
        for transaction in self.transactions() {
            let asked = transaction.steps.iter().map(|step| StepForm::from(&step.asked())).collect();
            events.push((transaction.invoked, transaction.process, Kind::Invoke, asked, None));
            if let Some((moment, outcome)) = transaction.completed {
                let kind = match outcome {
                    Outcome::Committed => Kind::Ok,
                    Outcome::Aborted => Kind::Fail,
                    Outcome::Unknown => Kind::Unknown,
                };
                let steps: Vec<StepForm> = transaction.steps.iter().map(StepForm::from).collect();
                events.push((moment, transaction.process, kind, steps, transaction.revision));
            }
        }
        events.sort_by_key(|(moment, ..)| *moment);
        for (moment, process, kind, steps, revision) in events {
            let op = Fields { f: Function::Txn, steps, revision };
            serde_json::to_writer(&mut *to, &Line { process, kind, time_us: moment.time_us, op })?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

pub(crate) fn add(history: &mut TransactionHistory, line: usize, event: Line) -> Result<(), ParseError> {
    let Line { process, kind, time_us, op } = event;
    let steps: Vec<Step> = op.steps.into_iter().map(Step::from).collect();
    let outcome = match kind {
        Kind::Invoke => None,
        Kind::Ok => Some(Outcome::Committed),
        Kind::Fail => Some(Outcome::Aborted),
        Kind::Unknown => Some(Outcome::Unknown),
    };
    let result = match outcome {
        None if op.revision.is_some()
            || steps.iter().any(|step| matches!(step, Step::Read { seen: Some(_), .. })) =>
        {
            return Err(ParseError::syntax(line, "an invocation has no results"));
        }
        None => history.invoke(process, time_us, &steps),
        Some(outcome) => history.complete(process, time_us, outcome, &steps),
    };
    let result = result.and_then(|id| match op.revision {
        Some(revision) => history.told_revision(id, revision),
        None => Ok(()),
    });
    result.map_err(|source| ParseError::Event { line, source })
}
