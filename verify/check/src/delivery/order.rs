//! Where messages stand: once each, in the order in which they were sent.

use std::collections::BTreeMap;

use super::view::{Log, Message, View};
use crate::history::OpId;
use crate::ledger::Found;

/// Checks one log.
pub fn check(view: &View<'_>, name: &str, log: &Log<'_>) -> Option<Found> {
    duplicate(view, name, log).or_else(|| real_time(view, name, log)).or_else(|| numbered(name, log))
}

/// A message stands at one offset.
fn duplicate(view: &View<'_>, name: &str, log: &Log<'_>) -> Option<Found> {
    for (value, message) in log.messages.iter().filter(|(_, message)| !view.terms.may_repeat(message)) {
        let mut offsets = message.offsets.iter();
        if let (Some((first, by)), Some((second, again))) = (offsets.next(), offsets.next()) {
            let text = format!("{value:?} stands at {first} and at {second} of {name:?}.");
            let sends = message.sends.iter().map(|send| send.entry.id);
            let shown = sends.chain([by.id, again.id]).collect();
            return Some(Found { anomaly: "duplicate", text, shown, culprits: 1 });
        }
    }
    None
}

/// What had been sent before something else was begun stands before it.
fn real_time(view: &View<'_>, name: &str, log: &Log<'_>) -> Option<Found> {
    // Where a message stood for certain by then: where its producer was told, or where alone it can be.
    let mut ended: Vec<(usize, u64, OpId)> = Vec::new();
    let mut began: Vec<(usize, u64, OpId)> = Vec::new();
    for message in log.messages.values() {
        let Some((&least, _)) = message.offsets.first_key_value() else { continue };
        let single = (!view.terms.may_repeat(message)).then_some(least);
        for send in &message.sends {
            if let (Some(_), Some(offset)) = (send.entry.ok(), send.offset.or(single)) {
                ended.push((send.entry.known_at(), offset, send.entry.id));
            }
        }
        let first = message.sends[0].entry;
        began.push((first.invoked.position, least, first.id));
    }
    ended.sort_unstable();
    began.sort_unstable();
    let (mut ended, mut furthest) = (ended.into_iter().peekable(), None);
    for (began, offset, later) in began {
        while let Some((_, offset, id)) = ended.next_if(|(end, ..)| *end < began) {
            furthest = furthest.max(Some((offset, id)));
        }
        if let Some((before, earlier)) = furthest
            && offset < before
        {
            let text = format!("at {offset} of {name:?} stands what was sent after what stands at {before}.");
            return Some(misplaced(log, text, earlier, later));
        }
    }
    None
}

/// A number, where what has it stands, and who sent it.
type Numbered = (u64, u64, OpId);

/// What a producer numbered stands in the order of its numbers.
fn numbered(name: &str, log: &Log<'_>) -> Option<Found> {
    let mut producers: BTreeMap<(Option<&str>, u64), Vec<Numbered>> = BTreeMap::new();
    for message in log.messages.values() {
        let Some((&offset, _)) = message.offsets.first_key_value() else { continue };
        for send in &message.sends {
            let Some(seq) = send.seq else { continue };
            let process = if send.producer.is_some() { 0 } else { send.entry.process };
            producers.entry((send.producer, process)).or_default().push((seq, offset, send.entry.id));
        }
    }
    for sends in producers.values_mut() {
        sends.sort_unstable();
        let wrong = sends.windows(2).find(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1);
        if let Some([(seq, offset, earlier), (next, at, later)]) = wrong.map(|pair| [pair[0], pair[1]]) {
            let text =
                format!("number {seq} of a producer stands at {offset} of {name:?}, and {next} at {at}.");
            return Some(misplaced(log, text, earlier, later));
        }
    }
    None
}

/// With whoever says where the two stand, if they were not told themselves.
fn misplaced(log: &Log<'_>, text: String, earlier: OpId, later: OpId) -> Found {
    let witness = |id: OpId| {
        let of = |message: &&Message<'_>| message.sends.iter().any(|send| send.entry.id == id);
        let message = log.messages.values().find(of)?;
        message.offsets.first_key_value().map(|(_, by)| by.id)
    };
    let shown = witness(earlier).into_iter().chain(witness(later)).chain([earlier, later]).collect();
    Found { anomaly: "out-of-order", text, shown, culprits: 1 }
}
