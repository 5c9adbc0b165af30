//! What a history says of one log: its messages, what stands where, and which part of it each poll covers.

use std::collections::BTreeMap;

use super::form::{LogForm, Semantics, Span};
use super::{Of, Terms};
use crate::history::OpId;

/// A message: everything that was sent as this value.
#[derive(Default)]
pub struct Message<'a> {
    /// Who sent it, in order.
    pub sends: Vec<Send<'a>>,
    /// Where it stands, by who says so first.
    pub offsets: BTreeMap<u64, &'a Of>,
}

pub struct Send<'a> {
    pub entry: &'a Of,
    pub key: Option<&'a str>,
    pub producer: Option<&'a str>,
    pub seq: Option<u64>,
    pub transaction: Option<&'a str>,
    pub offset: Option<u64>,
}

/// An answered poll.
pub struct Poll<'a> {
    pub entry: &'a Of,
    /// The first offset that it covers; `None` if that is not known.
    pub from: Option<u64>,
    /// The poll before, if that is how it is known.
    pub before: Option<OpId>,
    /// The first that it does not.
    pub next: u64,
    pub group: Option<&'a str>,
    pub keys: Option<&'a [String]>,
    pub messages: &'a [(u64, String)],
    pub at_end: bool,
    pub compacted: &'a [Span],
    pub aborted: &'a [Span],
}

impl Poll<'_> {
    pub fn delivers(&self, offset: u64) -> bool {
        // Offsets rise: that is checked first.
        self.messages.binary_search_by_key(&offset, |(offset, _)| *offset).is_ok()
    }

    pub fn wants(&self, message: &Message<'_>) -> bool {
        let key = message.sends.iter().find_map(|send| send.key);
        self.keys.is_none_or(|keys| key.is_some_and(|key| keys.iter().any(|wanted| wanted == key)))
    }

    pub fn compacts(&self, offset: u64) -> bool {
        self.compacted.iter().any(|(first, last)| (*first..=*last).contains(&offset))
    }
}

/// One log.
#[derive(Default)]
pub struct Log<'a> {
    pub messages: BTreeMap<&'a str, Message<'a>>,
    /// What stands at an offset, and who says so first.
    pub at: BTreeMap<u64, (&'a str, &'a Of)>,
    /// In order of invocation.
    pub polls: Vec<Poll<'a>>,
    /// In order of invocation: the group, and the offset.
    pub commits: Vec<(&'a Of, &'a str, u64)>,
    /// Polls that were not answered, with their group and where they began.
    pub unanswered: Vec<(&'a str, u64)>,
}

/// What became of a transaction.
#[derive(Default)]
pub struct Transaction<'a> {
    /// Where the first commit was asked.
    pub asked: Option<&'a Of>,
    /// A commit that was acknowledged.
    pub committed: Option<&'a Of>,
    /// An abort that was, or a commit that failed.
    pub aborted: Option<&'a Of>,
    /// Who saw a message of it.
    pub seen: Option<&'a Of>,
}

/// Where each consumer goes on in each log, by its name or its process, and the poll that told it so.
type Positions<'a> = BTreeMap<(&'a str, &'a str, u64), (u64, OpId)>;

/// All logs.
#[derive(Default)]
pub struct View<'a> {
    pub terms: Terms,
    pub logs: BTreeMap<&'a str, Log<'a>>,
    pub transactions: BTreeMap<&'a str, Transaction<'a>>,
}

impl<'a> View<'a> {
    /// Reads a history.
    pub fn of(entries: &'a [Of]) -> View<'a> {
        let mut view = View::default();
        let mut positions = Positions::new();
        for entry in entries {
            view.add(entry, &mut positions);
        }
        view.find_places();
        view
    }

    fn add(&mut self, entry: &'a Of, positions: &mut Positions<'a>) {
        match &entry.form {
            LogForm::DeliveryTerms { semantics, dense } => {
                self.terms = Terms { semantics: *semantics, dense: *dense };
            }
            LogForm::Send { log, value, key, producer, seq, transaction, offset } => {
                let message = self.logs.entry(log).or_default().messages.entry(value).or_default();
                message.sends.push(Send {
                    entry,
                    key: key.as_deref(),
                    producer: producer.as_deref(),
                    seq: *seq,
                    transaction: transaction.as_deref(),
                    offset: *offset,
                });
            }
            LogForm::Poll { log, consumer, group, from, keys, .. } => {
                let of = self.logs.entry(log).or_default();
                let process = if consumer.is_some() { 0 } else { entry.process };
                let name = (log.as_str(), consumer.as_deref().unwrap_or(""), process);
                let (position, before) = match (from, positions.get(&name)) {
                    (Some(from), _) => (Some(*from), None),
                    (None, Some((position, before))) => (Some(*position), Some(*before)),
                    (None, None) => (None, None),
                };
                if entry.ok().is_none() {
                    if let (true, Some(group), Some(from)) = (entry.possible(), group, position) {
                        of.unanswered.push((group, from));
                    }
                    return;
                }
                let poll = Poll { before, ..poll(entry, position, group.as_deref(), keys.as_deref()) };
                positions.insert(name, (poll.next, entry.id));
                of.polls.push(poll);
            }
            LogForm::Commit { group, log, offset } => {
                self.logs.entry(log).or_default().commits.push((entry, group, *offset));
            }
            LogForm::CommitTransaction { transaction } => {
                let transaction = self.transactions.entry(transaction).or_default();
                transaction.asked.get_or_insert(entry);
                match entry.possible() {
                    true if entry.ok().is_some() => transaction.committed = Some(entry),
                    true => {}
                    false => transaction.aborted = Some(entry),
                }
            }
            LogForm::AbortTransaction { transaction } => {
                let transaction = self.transactions.entry(transaction).or_default();
                transaction.aborted = transaction.aborted.or(entry.ok().map(|_| entry));
            }
        }
    }

    /// Notes what stands where, by acknowledgements and by what was delivered.
    fn find_places(&mut self) {
        for log in self.logs.values_mut() {
            for (&value, message) in &mut log.messages {
                for send in &message.sends {
                    if let Some(offset) = send.offset {
                        message.offsets.entry(offset).or_insert(send.entry);
                        log.at.entry(offset).or_insert((value, send.entry));
                    }
                }
            }
            for poll in &log.polls {
                for (offset, value) in poll.messages {
                    log.at.entry(*offset).or_insert((value, poll.entry));
                    let Some(message) = log.messages.get_mut(value.as_str()) else { continue };
                    message.offsets.entry(*offset).or_insert(poll.entry);
                    for name in message.sends.iter().filter_map(|send| send.transaction) {
                        self.transactions.entry(name).or_default().seen.get_or_insert(poll.entry);
                    }
                }
            }
        }
    }
}

fn poll<'a>(
    entry: &'a Of,
    position: Option<u64>,
    group: Option<&'a str>,
    keys: Option<&'a [String]>,
) -> Poll<'a> {
    let LogForm::Poll { messages, next, at_end, compacted, aborted, .. } = &entry.form else {
        unreachable!("it is a poll");
    };
    let spans = || compacted.iter().chain(aborted);
    let first = spans().map(|(first, _)| *first).chain(messages.first().map(|(offset, _)| *offset)).min();
    let last = spans().map(|(_, last)| *last).chain(messages.iter().map(|(offset, _)| *offset)).max();
    let from = position.or(first);
    let next = next.or(last.map(|last| last.saturating_add(1))).or(from).unwrap_or(0);
    let at_end = *at_end;
    Poll { entry, from, before: None, next, group, keys, messages, at_end, compacted, aborted }
}

impl Terms {
    /// Whether a message can stand in a log twice.
    pub fn may_repeat(self, message: &Message<'_>) -> bool {
        self.semantics == Semantics::AtLeastOnce && message.sends.iter().all(|send| send.seq.is_none())
    }
}
