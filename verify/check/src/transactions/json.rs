//! Transactions as JSON lines, beside [`crate::json_lines`]: `f` is `txn`, and `steps` is a list of
//! `["append", key, value]` and `["read", key]`; a read of what committed is `["read", key, [value, ..]]`.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::history::{Outcome, Step, TransactionHistory};
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
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a step is [\"append\", key, value], [\"read\", key] or [\"read\", key, [value, ..]], all texts"
)]
enum StepForm {
    Asked(ReadWord, String),
    Append(AppendWord, String, String),
    Read(ReadWord, String, Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AppendWord {
    Append,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReadWord {
    Read,
}

impl From<StepForm> for Step {
    fn from(form: StepForm) -> Step {
        match form {
            StepForm::Asked(_, key) => Step::Read { key, seen: None },
            StepForm::Append(_, key, value) => Step::Append { key, value },
            StepForm::Read(_, key, seen) => Step::Read { key, seen: Some(seen) },
        }
    }
}

impl From<&Step> for StepForm {
    fn from(step: &Step) -> StepForm {
        match step.clone() {
            Step::Append { key, value } => StepForm::Append(AppendWord::Append, key, value),
            Step::Read { key, seen: None } => StepForm::Asked(ReadWord::Read, key),
            Step::Read { key, seen: Some(seen) } => StepForm::Read(ReadWord::Read, key, seen),
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
            let asked = transaction.steps.iter().map(|step| match StepForm::from(step) {
                StepForm::Read(word, key, _) => StepForm::Asked(word, key),
                form => form,
            });
            events.push((transaction.invoked, transaction.process, Kind::Invoke, asked.collect()));
            if let Some((moment, outcome)) = transaction.completed {
                let kind = match outcome {
                    Outcome::Committed => Kind::Ok,
                    Outcome::Aborted => Kind::Fail,
                    Outcome::Unknown => Kind::Unknown,
                };
                let steps: Vec<StepForm> = transaction.steps.iter().map(StepForm::from).collect();
                events.push((moment, transaction.process, kind, steps));
            }
        }
        events.sort_by_key(|(moment, ..)| *moment);
        for (moment, process, kind, steps) in events {
            let op = Fields { f: Function::Txn, steps };
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
        None if steps.iter().any(|step| matches!(step, Step::Read { seen: Some(_), .. })) => {
            return Err(ParseError::syntax(line, "an invocation has no results"));
        }
        None => history.invoke(process, time_us, &steps),
        Some(outcome) => history.complete(process, time_us, outcome, &steps),
    };
    result.map(drop).map_err(|source| ParseError::Event { line, source })
}
