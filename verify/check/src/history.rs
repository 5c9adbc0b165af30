//! What clients asked of a register with keys, and what they were told.
//!
//! Order is the order of recording: the recorder notes an invocation before it sends anything, and a
//! completion after it has the answer. Times are for people; a judge looks at the order alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::receipt::Receipt;
use crate::terms::{self, Terms};

/// Numbers the operations of one history, from 0, in order of invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub usize);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The value of a key.
    Read {
        /// The key.
        key: String,
    },
    /// Set a key, whatever it holds.
    Write {
        /// The key.
        key: String,
        /// The value; best unique among all writes, which makes checking sharp and fast.
        value: String,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Set a key if it is at a revision.
    Cas {
        /// The key.
        key: String,
        /// The revision demanded; 0 demands that the key does not exist.
        expected_revision: u64,
        /// The value.
        value: String,
    },
    /// Set a key if it holds a value.
    CasValue {
        /// The key.
        key: String,
        /// The value demanded; `None` demands that the key does not exist.
        expected: Option<String>,
        /// The value.
        value: String,
    },
    /// The values of several keys at one moment.
    ReadMany {
        /// The keys: at least one, and none twice.
        keys: Vec<String>,
    },
    /// What one replica holds of a key after everything has settled; see [`crate::converged`].
    Final {
        /// The replica.
        node: String,
        /// The key.
        key: String,
    },
}

impl Action {
    /// The key concerned; of a read of several, the first.
    pub fn key(&self) -> &str {
        self.keys().next().unwrap_or_default()
    }

    /// All keys concerned.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = match self {
            Action::Read { key }
            | Action::Write { key, .. }
            | Action::Delete { key }
            | Action::Cas { key, .. }
            | Action::CasValue { key, .. }
            | Action::Final { key, .. } => std::slice::from_ref(key),
            Action::ReadMany { keys } => keys,
        };
        keys.iter().map(String::as_str)
    }

    /// The value that it sets, if it sets one.
    pub fn value(&self) -> Option<&str> {
        match self {
            Action::Write { value, .. } | Action::Cas { value, .. } | Action::CasValue { value, .. } => {
                Some(value)
            }
            Action::Read { .. } | Action::Delete { .. } | Action::ReadMany { .. } | Action::Final { .. } => {
                None
            }
        }
    }
}

/// What a client was told of an operation that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a read, or a final one.
    Read {
        /// The value; `None` when there is no such key.
        value: Option<String>,
        /// The revision of that value's write, if told. `None` with no value.
        revision: Option<u64>,
    },
    /// To a write, or to a compare-and-set whose condition held.
    Written {
        /// Its revision, if told. Never 0.
        revision: Option<u64>,
    },
    /// To a delete.
    Deleted {
        /// Whether there was such a key, if told.
        existed: Option<bool>,
        /// The revision that the delete took, if told; only if there was such a key.
        revision: Option<u64>,
    },
    /// To a read of several keys.
    ReadMany {
        /// The values, in the order of the keys asked for; `None` when there is no such key.
        values: Vec<Option<String>>,
    },
}

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It took effect between invocation and completion.
    Ok(Answer),
    /// It never takes effect.
    Fail {
        /// For a compare-and-set refused by its condition: the key's revision at that moment, 0 when
        /// it did not exist. `None` when refused for another reason, or not told.
        current: Option<u64>,
    },
    /// A compare-and-set by value was refused by its condition: the key held another value. It never
    /// takes effect.
    Differs {
        /// What the key held at that moment, if told; `Some(None)` when it did not exist.
        current: Option<Option<String>>,
    },
    /// It may have taken effect, may yet at any later time, or never.
    Unknown,
}

/// A point of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Number of the event, from 0: what precedence is judged by.
    pub position: usize,
    /// Microseconds since some start, for people.
    pub time_us: u64,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub id: OpId,
    /// Who asked. One process does one thing at a time.
    pub process: u64,
    /// What was asked.
    pub action: Action,
    /// For whom, and how new.
    pub terms: Terms,
    /// When.
    pub invoked: Moment,
    /// How it ended and when; `None` if the history ended first, which is judged as
    /// [`Completion::Unknown`].
    pub completed: Option<(Moment, Completion)>,
    /// What the answer said of itself; only of [`Completion::Ok`].
    pub receipt: Option<Receipt>,
}

impl Op {
    /// What it was told, and when, if it took effect.
    pub fn answer(&self) -> Option<(Moment, &Answer)> {
        match &self.completed {
            Some((moment, Completion::Ok(answer))) => Some((*moment, answer)),
            _ => None,
        }
    }

    /// Whether it can have taken effect: it was not told that it never does.
    pub fn may_have_happened(&self) -> bool {
        !matches!(self.completed, Some((_, Completion::Fail { .. } | Completion::Differs { .. })))
    }
}

/// Why an event does not fit the history before it. The history is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The process has not completed what it began.
    #[error("process {process} invokes an operation while another of its own is not complete")]
    Busy {
        /// The process.
        process: u64,
    },
    /// The process has nothing to complete.
    #[error("process {process} completes an operation, but has none open")]
    Idle {
        /// The process.
        process: u64,
    },
    /// Time goes back.
    #[error("time goes back from {from_us} us to {to_us} us")]
    Time {
        /// Time of the event before.
        from_us: u64,
        /// Time of this event.
        to_us: u64,
    },
    /// Nobody can ask so.
    #[error("{0}")]
    Action(&'static str),
    /// The completion is none of this operation.
    #[error("{0}")]
    Completion(&'static str),
    /// What is asked for is not to be had with this operation.
    #[error("{0}")]
    Terms(&'static str),
}

/// Which process is doing what, and where in the history that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorder {
    open: BTreeMap<u64, OpId>,
    events: usize,
    time_us: u64,
}

impl Recorder {
    /// Notes that a process begins operation `id`.
    pub(crate) fn begin(&mut self, process: u64, time_us: u64, id: OpId) -> Result<Moment, EventError> {
        if self.open.contains_key(&process) {
            return Err(EventError::Busy { process });
        }
        let moment = self.moment(time_us)?;
        self.open.insert(process, id);
        Ok(moment)
    }

    /// Notes that a process completes its open operation.
    pub(crate) fn end(&mut self, process: u64, time_us: u64) -> Result<Moment, EventError> {
        self.open(process)?;
        let moment = self.moment(time_us)?;
        self.open.remove(&process);
        Ok(moment)
    }

    /// Time of the last event.
    pub(crate) fn last_time_us(&self) -> u64 {
        self.time_us
    }

    /// Notes what nobody asked: it begins and ends at once.
    pub(crate) fn note(&mut self, time_us: u64) -> Result<(Moment, Moment), EventError> {
        Ok((self.moment(time_us)?, self.moment(time_us)?))
    }

    /// The operation that a process has open.
    pub(crate) fn open(&self, process: u64) -> Result<OpId, EventError> {
        self.open.get(&process).copied().ok_or(EventError::Idle { process })
    }

    fn moment(&mut self, time_us: u64) -> Result<Moment, EventError> {
        if time_us < self.time_us {
            return Err(EventError::Time { from_us: self.time_us, to_us: time_us });
        }
        let moment = Moment { position: self.events, time_us };
        self.events += 1;
        self.time_us = time_us;
        Ok(moment)
    }
}

/// The operations of one run on one keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    ops: Vec<Op>,
    recorder: Recorder,
}

impl History {
    /// No operations.
    pub fn new() -> History {
        History::default()
    }

    /// All operations, in order of invocation; an operation's id is its index.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Their outcomes may be changed to say less.
    pub(crate) fn ops_mut(&mut self) -> &mut [Op] {
        &mut self.ops
    }

    /// Time of the last event, in microseconds.
    pub fn last_time_us(&self) -> u64 {
        self.recorder.time_us
    }

    /// Notes that a process asks, at `time_us`.
    pub fn invoke(&mut self, process: u64, time_us: u64, action: Action) -> Result<OpId, EventError> {
        self.invoke_with(process, time_us, action, Terms::default())
    }

    /// Notes that a process asks on terms, at `time_us`.
    pub fn invoke_with(
        &mut self,
        process: u64,
        time_us: u64,
        action: Action,
        terms: Terms,
    ) -> Result<OpId, EventError> {
        terms::check(&terms, matches!(action, Action::Read { .. })).map_err(EventError::Terms)?;
        check_action(&action).map_err(EventError::Action)?;
        let id = OpId(self.ops.len());
        let invoked = self.recorder.begin(process, time_us, id)?;
        self.ops.push(Op { id, process, action, terms, invoked, completed: None, receipt: None });
        Ok(id)
    }

    /// Notes how the open operation of a process ended, at `time_us`.
    pub fn complete(
        &mut self,
        process: u64,
        time_us: u64,
        completion: Completion,
    ) -> Result<OpId, EventError> {
        self.complete_with(process, time_us, completion, None)
    }

    /// Notes how the open operation of a process ended, at `time_us`, with what the answer said of itself.
    pub fn complete_with(
        &mut self,
        process: u64,
        time_us: u64,
        completion: Completion,
        receipt: Option<Receipt>,
    ) -> Result<OpId, EventError> {
        let id = self.recorder.open(process)?;
        check_completion(&self.ops[id.0].action, &completion).map_err(EventError::Completion)?;
        if receipt.is_some() && !matches!(completion, Completion::Ok(_)) {
            return Err(EventError::Completion("only what was answered with `ok` has a `receipt`"));
        }
        let moment = self.recorder.end(process, time_us)?;
        self.ops[id.0].completed = Some((moment, completion));
        self.ops[id.0].receipt = receipt;
        Ok(id)
    }

    /// The operation that a process has not completed.
    pub fn open_op(&self, process: u64) -> Option<&Op> {
        self.recorder.open(process).ok().map(|id| &self.ops[id.0])
    }
}

fn check_action(action: &Action) -> Result<(), &'static str> {
    if let Action::ReadMany { keys } = action {
        if keys.is_empty() {
            return Err("a read of many keys names at least one");
        }
        let distinct: BTreeSet<&String> = keys.iter().collect();
        if distinct.len() < keys.len() {
            return Err("a read of many keys names none twice");
        }
    }
    Ok(())
}

fn check_completion(action: &Action, completion: &Completion) -> Result<(), &'static str> {
    let revision = match (action, completion) {
        (_, Completion::Unknown) => None,
        (Action::Cas { .. }, Completion::Fail { .. }) => None,
        (_, Completion::Fail { current: None }) => None,
        (_, Completion::Fail { current: Some(_) }) => {
            return Err("only a cas fails with a current revision");
        }
        (Action::CasValue { expected, .. }, Completion::Differs { current }) => {
            if current.as_ref() == Some(expected) {
                return Err("a cas does not differ from a key that holds what it expected");
            }
            None
        }
        (_, Completion::Differs { .. }) => return Err("only a cas by value is refused by one"),
        (Action::Read { .. } | Action::Final { .. }, Completion::Ok(Answer::Read { value, revision })) => {
            if value.is_none() && revision.is_some() {
                return Err("a read without a value has no revision");
            }
            *revision
        }
        (
            Action::Write { .. } | Action::Cas { .. } | Action::CasValue { .. },
            Completion::Ok(Answer::Written { revision }),
        ) => *revision,
        (Action::Delete { .. }, Completion::Ok(Answer::Deleted { existed, revision })) => {
            if revision.is_some() && *existed != Some(true) {
                return Err("only a delete of a key that existed has a revision");
            }
            *revision
        }
        (Action::ReadMany { keys }, Completion::Ok(Answer::ReadMany { values })) => {
            if keys.len() != values.len() {
                return Err("a read of many keys has as many values as keys");
            }
            None
        }
        (_, Completion::Ok(_)) => return Err("the answer is to another kind of operation"),
    };
    if revision == Some(0) {
        return Err("nothing has revision 0");
    }
    Ok(())
}
