//! Each answer to a poll against everything else that is known of its log.

use super::Of;
use super::view::{Log, Message, Poll, View};
use crate::history::OpId;
use crate::ledger::Found;

/// Checks all answers of a log.
pub fn check(view: &View<'_>, name: &str, log: &Log<'_>) -> Option<Found> {
    let polls = || log.polls.iter();
    polls()
        .find_map(backwards)
        .or_else(|| polls().find_map(|poll| unjustified(view, name, log, poll)))
        .or_else(|| disagreement(name, log))
        .or_else(|| polls().find_map(|poll| missing(view, name, log, poll)))
        .or_else(|| cut_off(view, name, log))
        .or_else(|| polls().filter(|_| view.terms.dense).find_map(hole))
}

fn found(anomaly: &'static str, text: String, shown: Vec<OpId>) -> Option<Found> {
    Some(Found { anomaly, text, shown, culprits: 1 })
}

/// Offsets rise, and none is below where the consumer was.
fn backwards(poll: &Poll<'_>) -> Option<Found> {
    let mut least = poll.from.unwrap_or(0);
    for (offset, value) in poll.messages {
        if *offset < least || *offset >= poll.next {
            let text = format!("{value:?} at {offset} is told out of order.");
            return found("backwards", text, poll.before.into_iter().chain([poll.entry.id]).collect());
        }
        least = offset + 1;
    }
    let ends = poll.from.is_some_and(|from| poll.next < from);
    ends.then(|| found("backwards", "a poll ends before it begins.".to_owned(), vec![poll.entry.id]))?
}

/// Everything told was sent before, did not fail, and was not aborted.
fn unjustified(view: &View<'_>, name: &str, log: &Log<'_>, poll: &Poll<'_>) -> Option<Found> {
    for (offset, value) in poll.messages {
        let told = poll.entry.id;
        let Some(message) = log.messages.get(value.as_str()) else {
            let text = format!("{value:?} at {offset} of {name:?} was never sent to it.");
            return found("invented", text, vec![told]);
        };
        let mut worst = None;
        for send in &message.sends {
            let before = send.entry.invoked.position < poll.entry.known_at();
            let transaction = send.transaction.map(|name| (name, view.transactions.get(name)));
            let why = match transaction {
                _ if !before => Some(("invented", "is told before it was sent", send.entry)),
                _ if !send.entry.possible() => Some(("failed-seen", "had failed, and is told", send.entry)),
                Some((_, Some(transaction))) if transaction.aborted.is_some() => {
                    let abort = transaction.aborted.unwrap_or(send.entry);
                    Some(("aborted-seen", "was aborted, and is told", abort))
                }
                Some((_, transaction)) => {
                    let asked = transaction.and_then(|transaction| transaction.asked);
                    let asked = asked.filter(|asked| asked.invoked.position < poll.entry.known_at());
                    let early =
                        ("uncommitted-seen", "is told before its transaction was committed", send.entry);
                    asked.is_none().then_some(early)
                }
                None => None,
            };
            match why {
                None => {
                    worst = None;
                    break;
                }
                Some(why) => worst = Some((why, send.entry)),
            }
        }
        if let Some(((anomaly, why, by), send)) = worst {
            let text = format!("{value:?} at {offset} of {name:?} {why}.");
            return found(anomaly, text, vec![send.id, by.id, told]);
        }
    }
    None
}

/// Whoever says what stands at an offset says the same.
fn disagreement(name: &str, log: &Log<'_>) -> Option<Found> {
    let told = log.polls.iter().flat_map(|poll| {
        poll.messages.iter().map(move |(offset, value)| (*offset, value.as_str(), poll.entry))
    });
    let acknowledged = log.messages.iter().flat_map(|(value, message)| {
        message.sends.iter().filter_map(move |send| Some((send.offset?, *value, send.entry)))
    });
    for (offset, value, entry) in acknowledged.chain(told) {
        let (before, by) = log.at[&offset];
        if before != value {
            let text = format!("at {offset} of {name:?} there are both {before:?} and {value:?}.");
            return found("disagreement", text, vec![by.id, entry.id]);
        }
    }
    None
}

/// Why a message has to be there, wherever it is known to stand.
enum Due<'a> {
    /// Its producer was told so, and its transaction committed if it has one.
    Acknowledged(Vec<&'a Of>),
    /// Another message of its transaction was seen.
    Transaction(Vec<&'a Of>),
    /// Somebody was told it.
    Seen,
}

fn due<'a>(view: &View<'a>, message: &Message<'a>, by: &'a Of) -> Option<Due<'a>> {
    let mut torn = None;
    for send in message.sends.iter().filter(|send| send.entry.ok().is_some()) {
        let Some(name) = send.transaction else { return Some(Due::Acknowledged(vec![send.entry])) };
        let Some(transaction) = view.transactions.get(name) else { continue };
        if let Some(committed) = transaction.committed {
            return Some(Due::Acknowledged(vec![send.entry, committed]));
        }
        if let Some(seen) = transaction.seen {
            torn = Some(Due::Transaction(vec![send.entry, seen]));
        }
    }
    let seen = message.sends.iter().all(|send| send.entry.id != by.id);
    torn.or(seen.then_some(Due::Seen))
}

/// What is known to stand in the part that was read, and wanted, is delivered.
fn missing(view: &View<'_>, name: &str, log: &Log<'_>, poll: &Poll<'_>) -> Option<Found> {
    let from = poll.from?;
    for (&offset, &(value, by)) in log.at.range(from..poll.next.max(from)) {
        if poll.delivers(offset) || poll.compacts(offset) {
            continue;
        }
        let Some(message) = log.messages.get(value).filter(|message| poll.wants(message)) else { continue };
        let Some(due) = due(view, message, by) else { continue };
        let read = format!("what was read from {from} to {} has nothing of it", poll.next - 1);
        let ids = |entries: Vec<&Of>| entries.iter().map(|entry| entry.id).chain([poll.entry.id]).collect();
        return match due {
            Due::Acknowledged(by) => {
                let text = format!("{value:?} is acknowledged at {offset} of {name:?}, and {read}.");
                found("lost", text, ids(by))
            }
            Due::Transaction(by) => {
                let text = format!(
                    "{value:?} at {offset} of {name:?} is of a transaction of which something was seen, and {read}."
                );
                found("torn-transaction", text, ids(by))
            }
            Due::Seen => {
                let text = format!("{value:?} stands at {offset} of {name:?}, and {read}.");
                found("disagreement", text, ids(vec![by]))
            }
        };
    }
    None
}

/// A log does not end before what was acknowledged in it, or read from it, earlier.
fn cut_off(view: &View<'_>, name: &str, log: &Log<'_>) -> Option<Found> {
    let mut known: Vec<(usize, u64, OpId)> = Vec::new();
    for send in log.messages.values().flat_map(|message| &message.sends) {
        let committed = send.transaction.map(|name| {
            let transaction = view.transactions.get(name);
            transaction.and_then(|transaction| transaction.committed).map_or(usize::MAX, Of::known_at)
        });
        if let (Some(offset), Some(_)) = (send.offset, send.entry.ok()) {
            let end = send.entry.known_at().max(committed.unwrap_or(0));
            known.push((end, offset, send.entry.id));
        }
    }
    for poll in &log.polls {
        known.extend(poll.messages.last().map(|(offset, _)| (poll.entry.known_at(), *offset, poll.entry.id)));
    }
    known.sort_unstable();
    let (mut known, mut furthest) = (known.into_iter().peekable(), None);
    for poll in &log.polls {
        while let Some((_, offset, id)) = known.next_if(|(end, ..)| *end < poll.entry.invoked.position) {
            furthest = furthest.max(Some((offset, id)));
        }
        if let Some((offset, id)) = furthest
            && poll.at_end
            && poll.next <= offset
        {
            let text = format!(
                "{name:?} is said to end before {}, and held something at {offset} before.",
                poll.next
            );
            return found("lost", text, vec![id, poll.entry.id]);
        }
    }
    None
}

/// Every offset holds a message, or is told to hold none; of what was not wanted nothing is told.
fn hole(poll: &Poll<'_>) -> Option<Found> {
    let from = poll.from.filter(|_| poll.keys.is_none())?;
    let mut hole = from;
    while hole < poll.next {
        let declared = poll.compacted.iter().chain(poll.aborted);
        let mut declared = declared.filter(|(first, last)| (*first..=*last).contains(&hole));
        match declared.next() {
            Some((_, last)) => hole = last.saturating_add(1),
            None if poll.delivers(hole) => hole += 1,
            None => break,
        }
    }
    if hole >= poll.next {
        return None;
    }
    let text = format!("nothing is told of {hole}, between {from} and {}.", poll.next);
    found("gap", text, vec![poll.entry.id])
}
