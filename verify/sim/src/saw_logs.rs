//! What watches were told of each key, and what was written to it, as an ordered log.

use std::collections::BTreeMap;

use check::{Action, Answer, Completion, DeliveryHistory, History, Kind, LogForm};

use crate::{plan::KEYSPACES, saw::short};

/// Most messages of one poll: what a watch is told without a gap is one poll, as far as it fits.
const POLL_MESSAGES_MAX: usize = 64;
/// Deletes of one key are one message, sent again and again.
const DELETED: &str = "(deleted)";

/// What a watch was told of one key, without a gap.
#[derive(Clone, Debug, Default)]
struct Told {
    time_us: u64,
    from: u64,
    next: u64,
    messages: Vec<(u64, String)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SawLogs {
    /// By watcher, keyspace and key: what is not in `told` yet.
    open: BTreeMap<(usize, usize, String), Told>,
    told: Vec<((usize, usize, String), Told)>,
    /// Writes that were not to be acknowledged by a majority: when, keyspace, key, value.
    early: Vec<(u64, usize, String, String)>,
}

impl SawLogs {
    /// A write that may get lost is sent.
    pub fn sent_early(&mut self, now_us: u64, keyspace: usize, key: &str, value: String) {
        self.early.push((now_us, keyspace, key.to_owned(), value));
    }

    /// A watch is told of a key's changes of some revisions: of one, or of none.
    pub fn told(
        &mut self,
        now_us: u64,
        watcher: usize,
        keyspace: usize,
        key: &str,
        (from, next): (u64, u64),
        change: Option<(u64, Option<String>)>,
    ) {
        let name = (watcher, keyspace, key.to_owned());
        let open = self.open.entry(name.clone()).or_default();
        if open.next != from || open.messages.len() == POLL_MESSAGES_MAX {
            let done = std::mem::replace(open, Told { from, ..Told::default() });
            if done.next > done.from {
                self.told.push((name, done));
            }
        }
        (open.time_us, open.next) = (now_us, next);
        let change = change.map(|(revision, value)| (revision, value.unwrap_or(DELETED.to_owned())));
        open.messages.extend(change);
    }

    /// Values that watches were told of, with keyspace and revision.
    pub fn values(&self) -> impl Iterator<Item = (usize, u64, &str)> {
        let all = self.told.iter().map(|(name, told)| (name, told)).chain(&self.open);
        all.flat_map(|((_, keyspace, _), told)| {
            told.messages.iter().map(|(revision, value)| (*keyspace, *revision, value.as_str()))
        })
    }

    /// The history of a keyspace's logs, with what was written to it. What was asked and answered in one instant is in
    /// the order that excuses the most: questions first.
    pub fn history(&self, keyspace: usize, written: &History) -> DeliveryHistory {
        let mut events: Vec<(u64, u8, u64, Kind, LogForm)> = Vec::new();
        let mut process = 0;
        for (time_us, _, key, value) in self.early.iter().filter(|(_, of, ..)| *of == keyspace) {
            process += 1;
            events.push((*time_us, 0, process, Kind::Invoke, send(keyspace, key, value, None)));
        }
        for op in written.ops() {
            let value = match &op.action {
                Action::Delete { .. } => DELETED.to_owned(),
                changes => match changes.value() {
                    Some(value) => short(value),
                    None => continue,
                },
            };
            let (kind, offset) = match &op.completed {
                Some((_, Completion::Ok(Answer::Written { revision }))) => (Kind::Ok, *revision),
                Some((_, Completion::Ok(Answer::Deleted { existed: Some(true), revision }))) => {
                    (Kind::Ok, *revision)
                }
                // There was nothing to delete.
                Some((_, Completion::Ok(_))) => continue,
                Some((_, Completion::Fail { .. } | Completion::Differs { .. })) => (Kind::Fail, None),
                Some((_, Completion::Unknown)) | None => (Kind::Unknown, None),
            };
            process += 1;
            let key = op.action.key();
            events.push((op.invoked.time_us, 0, process, Kind::Invoke, send(keyspace, key, &value, None)));
            if let Some((ended, _)) = &op.completed {
                events.push((ended.time_us, 1, process, kind, send(keyspace, key, &value, offset)));
            }
        }
        let told = self.told.iter().map(|(name, told)| (name, told)).chain(&self.open);
        for ((watcher, _, key), told) in told.filter(|((_, of, _), _)| *of == keyspace) {
            process += 1;
            let consumer = format!("watch {watcher}");
            let asked = poll(keyspace, key, &consumer, told, false);
            events.push((told.time_us, 1, process, Kind::Invoke, asked));
            events.push((told.time_us, 1, process, Kind::Ok, poll(keyspace, key, &consumer, told, true)));
        }
        // Stable: what is of one process stays in order.
        events.sort_by_key(|(time_us, rank, ..)| (*time_us, *rank));
        let mut history = DeliveryHistory::new();
        for (time_us, _, process, kind, form) in events {
            history.add(process, kind, time_us, form).expect("each process asks once");
        }
        history
    }
}

fn log(keyspace: usize, key: &str) -> String {
    format!("{}/{key}", KEYSPACES[keyspace])
}

fn send(keyspace: usize, key: &str, value: &str, offset: Option<u64>) -> LogForm {
    let (log, value) = (log(keyspace, key), value.to_owned());
    LogForm::Send { log, value, key: None, producer: None, seq: None, transaction: None, offset }
}

fn poll(keyspace: usize, key: &str, consumer: &str, told: &Told, answered: bool) -> LogForm {
    LogForm::Poll {
        log: log(keyspace, key),
        consumer: Some(consumer.to_owned()),
        group: None,
        from: Some(told.from),
        keys: None,
        messages: if answered { told.messages.clone() } else { Vec::new() },
        next: answered.then_some(told.next),
        at_end: false,
        compacted: Vec::new(),
        aborted: Vec::new(),
    }
}
