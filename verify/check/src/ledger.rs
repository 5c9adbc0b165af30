//! Histories of any kind of operation: what is asked and what is told is one form, which a room of its own
//! defines. Beside what processes ask and are told, a history may hold notes: what somebody knows without
//! asking, as the terms that are judged by, or an effect that was seen.
//!
//! Order is the order of recording, as in [`crate::history`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::history::{EventError, Moment, OpId, Recorder};
use crate::json_lines::{EventLines, ParseError};

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A process is about to ask.
    Invoke,
    /// It was answered.
    Ok,
    /// It was told, or knows, that what it asked never takes effect.
    Fail,
    /// Anything else, as a timeout.
    Unknown,
    /// Nobody asked.
    Note,
}

/// How an operation ended for its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It took effect.
    Ok,
    /// It never takes effect.
    Fail,
    /// It may have taken effect, may yet at any later time, or never.
    Unknown,
}

/// An operation's form: what is asked, and once it is over, what was told with it. As JSON it is the `op` of a line.
pub trait Form: Clone + fmt::Debug + PartialEq + Eq + Serialize + DeserializeOwned {
    /// The same, without what is told.
    fn asked(&self) -> Self;

    /// Whether it may stand in an event of that kind.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, kind: Kind) -> Result<(), &'static str>;

    /// Whether it is a note that tells what the history is judged by: only the first event can be that.
    fn is_terms(&self) -> bool;

    /// What is asked, for people.
    fn question(&self) -> String;

    /// What is told, for people; of what ended well or was refused.
    fn answer(&self, end: End) -> String;
}

/// One operation, or one note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<F> {
    /// Its number.
    pub id: OpId,
    /// Who asked, or noted. One process asks one thing at a time.
    pub process: u64,
    /// What was asked, and told if it ended well or was refused.
    pub form: F,
    /// When it was asked, or noted.
    pub invoked: Moment,
    /// When and how it ended; `None` if the history ended first, which is judged as [`End::Unknown`].
    pub completed: Option<(Moment, End)>,
    /// Whether it is a note.
    pub noted: bool,
}

impl<F> Entry<F> {
    /// How it ended.
    pub fn end(&self) -> End {
        self.completed.map_or(End::Unknown, |(_, end)| end)
    }

    /// When it ended well.
    pub fn ok(&self) -> Option<Moment> {
        self.completed.filter(|(_, end)| *end == End::Ok).map(|(moment, _)| moment)
    }

    /// Where its outcome was known; beyond the history if it never was.
    pub fn known_at(&self) -> usize {
        self.completed.filter(|(_, end)| *end != End::Unknown).map_or(usize::MAX, |(end, _)| end.position)
    }

    /// Whether it may have taken effect.
    pub fn possible(&self) -> bool {
        self.end() != End::Fail
    }
}

/// All operations and notes of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger<F> {
    entries: Vec<Entry<F>>,
    recorder: Recorder,
}

impl<F> Default for Ledger<F> {
    fn default() -> Ledger<F> {
        Ledger { entries: Vec::new(), recorder: Recorder::default() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<F> {
    process: u64,
    #[serde(rename = "type")]
    kind: Kind,
    time_us: u64,
    op: F,
}

impl<F: Form> Ledger<F> {
    /// Nothing yet.
    pub fn new() -> Ledger<F> {
        Ledger::default()
    }

    /// All operations and notes, in order of invocation; an id is an index.
    pub fn entries(&self) -> &[Entry<F>] {
        &self.entries
    }

    /// Time of the last event, in microseconds.
    pub fn last_time_us(&self) -> u64 {
        self.recorder.last_time_us()
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When it does not fit those before it. Nothing is changed.
    pub fn add(&mut self, process: u64, kind: Kind, time_us: u64, form: F) -> Result<OpId, EventError> {
        form.check(kind).map_err(EventError::Completion)?;
        if form.is_terms() && !self.entries.is_empty() {
            return Err(EventError::Completion("the terms of a history are its first event"));
        }
        let id = OpId(self.entries.len());
        let end = match kind {
            Kind::Invoke => {
                let invoked = self.recorder.begin(process, time_us, id)?;
                self.entries.push(Entry { id, process, form, invoked, completed: None, noted: false });
                return Ok(id);
            }
            Kind::Note => {
                let (invoked, ended) = self.recorder.note(time_us)?;
                let completed = Some((ended, End::Ok));
                self.entries.push(Entry { id, process, form, invoked, completed, noted: true });
                return Ok(id);
            }
            Kind::Ok => End::Ok,
            Kind::Fail => End::Fail,
            Kind::Unknown => End::Unknown,
        };
        let id = self.recorder.open(process)?;
        if form.asked() != self.entries[id.0].form {
            return Err(EventError::Completion("a process completes another operation than it invoked"));
        }
        let moment = self.recorder.end(process, time_us)?;
        let entry = &mut self.entries[id.0];
        (entry.form, entry.completed) = (form, Some((moment, end)));
        Ok(id)
    }

    /// The operation that a process has not completed.
    pub fn open(&self, process: u64) -> Option<&Entry<F>> {
        self.recorder.open(process).ok().map(|id| &self.entries[id.0])
    }

    /// Adds the event of a line.
    pub(crate) fn add_line(&mut self, line: usize, content: &[u8]) -> Result<(), LineError> {
        let Line { process, kind, time_us, op } = serde_json::from_slice(content).map_err(LineError::Json)?;
        let added = self.add(process, kind, time_us, op);
        added.map(drop).map_err(|source| LineError::Event(ParseError::Event { line, source }))
    }

    /// Reads a history of this kind. Memory is bounded by the text's size, which is limited.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: impl BufRead) -> Result<Ledger<F>, ParseError> {
        let (mut ledger, mut lines) = (Ledger::new(), EventLines::new(text));
        while let Some((line, content)) = lines.next()? {
            ledger.add_line(line, content).map_err(|error| error.at(line))?;
        }
        Ok(ledger)
    }

    /// Writes it as JSON lines; [`Ledger::parse`] reads back the same.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut events = BTreeMap::new();
        for entry in &self.entries {
            let kind = if entry.noted { Kind::Note } else { Kind::Invoke };
            let form = if entry.noted { entry.form.clone() } else { entry.form.asked() };
            events.insert(entry.invoked, (entry.process, kind, form));
            if let Some((moment, end)) = entry.completed.filter(|_| !entry.noted) {
                let kind = match end {
                    End::Ok => Kind::Ok,
                    End::Fail => Kind::Fail,
                    End::Unknown => Kind::Unknown,
                };
                events.insert(moment, (entry.process, kind, entry.form.clone()));
            }
        }
        for (moment, (process, kind, op)) in events {
            serde_json::to_writer(&mut *to, &Line { process, kind, time_us: moment.time_us, op })?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Why a line is no event of a ledger.
pub(crate) enum LineError {
    /// It is not JSON, or other JSON.
    Json(serde_json::Error),
    /// It does not fit.
    Event(ParseError),
}

impl LineError {
    fn at(self, line: usize) -> ParseError {
        match self {
            LineError::Json(error) => ParseError::json(line, &error),
            LineError::Event(error) => error,
        }
    }
}

/// As a person would say it: who did what, when, and was told what.
impl<F: Form> fmt::Display for Entry<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (process, question, from) = (self.process, self.form.question(), self.invoked.time_us);
        write!(f, "process {process}: {question}")?;
        match self.completed {
            _ if self.noted => write!(f, " [{from} us]"),
            None => write!(f, " -> never answered [{from} us ..]"),
            Some((moment, End::Unknown)) => write!(f, " -> unknown [{from} us .. {} us]", moment.time_us),
            Some((moment, end)) => {
                write!(f, " -> {} [{from} us .. {} us]", self.form.answer(end), moment.time_us)
            }
        }
    }
}

/// What a judge of a ledger found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What kind of thing went wrong, in a word.
    pub anomaly: &'static str,
    /// In a sentence.
    pub text: String,
    /// The operations that it takes to see it, the contradicting ones last.
    pub shown: Vec<OpId>,
    /// How many of them contradict.
    pub culprits: usize,
}

impl Found {
    /// As a counterexample, with the operations in words.
    pub(crate) fn explained<F: Form>(self, ledger: &Ledger<F>) -> crate::Counterexample {
        let mut shown: Vec<OpId> = Vec::new();
        for id in &self.shown {
            if !shown.contains(id) {
                shown.push(*id);
            }
        }
        let culprits = self.shown[self.shown.len() - self.culprits..].to_vec();
        shown.sort_unstable();
        let mut explanation = format!("{}: {}", self.anomaly, self.text);
        for id in &shown {
            explanation.push_str(&format!("\n  {}", ledger.entries[id.0]));
        }
        crate::Counterexample {
            anomaly: self.anomaly.to_owned(),
            explanation,
            shown,
            culprits,
            arrows: Vec::new(),
        }
    }
}
