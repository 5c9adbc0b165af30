//! Ordered logs: two of them, with transactions and compaction; producers whose messages may be appended twice or late;
//! a group of consumers that restart where they had committed, and consumers that want some keys alone.

mod families;

use std::collections::BTreeMap;

use check::delivery::Span;
use check::ledger::{Form, Kind};
use check::{LogForm, Semantics, check_delivery};
use families::{Dice, Event, append, family, operations};

type Events = Vec<Event<LogForm>>;

const GROUP: &str = "g";
const PRODUCERS: u64 = 3;
/// Consumes log `a` for the group; the next one log `b`; the two after that consume for themselves.
const CONSUMER: u64 = 4;
/// Beyond all offsets of a run.
const FAR: u64 = 100_000;

/// Where a transaction stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Visible,
    Pending,
    Aborted,
}

struct Stored {
    value: String,
    key: Option<String>,
    transaction: Option<String>,
    state: State,
}

/// One log; the first offset is 1.
#[derive(Default)]
struct Store {
    all: Vec<Stored>,
    /// What is below is compacted.
    floor: u64,
}

/// The service, correct.
struct Service {
    semantics: Semantics,
    logs: BTreeMap<String, Store>,
    committed: BTreeMap<String, u64>,
}

impl Service {
    fn execute(&mut self, dice: &mut Dice, form: &mut LogForm) -> Kind {
        match form {
            LogForm::Send { log, value, key, seq, transaction, offset, .. } => {
                let log = self.logs.get_mut(log.as_str()).unwrap();
                let single =
                    self.semantics != Semantics::AtLeastOnce || seq.is_some() || transaction.is_some();
                for _ in 0..if single || dice.chance(80) { 1 } else { 2 } {
                    let (value, key, transaction) = (value.clone(), key.clone(), transaction.clone());
                    let state = if transaction.is_some() { State::Pending } else { State::Visible };
                    log.all.push(Stored { value, key, transaction, state });
                }
                *offset = Some(log.all.len() as u64);
            }
            LogForm::Commit { log, offset, .. } => {
                self.committed.insert(log.clone(), *offset);
            }
            LogForm::CommitTransaction { transaction } => self.resolve(transaction, State::Visible),
            LogForm::AbortTransaction { transaction } => self.resolve(transaction, State::Aborted),
            LogForm::Poll { .. } => self.poll(dice, form),
            LogForm::DeliveryTerms { .. } => unreachable!("nobody asks for terms"),
        }
        Kind::Ok
    }

    fn resolve(&mut self, name: &str, to: State) {
        for stored in self.logs.values_mut().flat_map(|log| &mut log.all) {
            if stored.transaction.as_deref() == Some(name) && stored.state == State::Pending {
                stored.state = to;
            }
        }
    }

    fn poll(&mut self, dice: &mut Dice, form: &mut LogForm) {
        let LogForm::Poll { log, group, from, keys, messages, next, at_end, compacted, aborted, .. } = form
        else {
            unreachable!("a poll");
        };
        let store = &self.logs[log.as_str()];
        let mut at = from.expect("the model tells where");
        if at < store.floor {
            compacted.push((at, store.floor - 1));
            at = store.floor;
        }
        let most = 1 + dice.below(5) as usize;
        while let Some(stored) = store.all.get(at as usize - 1).filter(|_| messages.len() < most) {
            let wanted = |keys: &Vec<String>| stored.key.as_ref().is_some_and(|key| keys.contains(key));
            match stored.state {
                State::Pending => break,
                State::Aborted => aborted.push((at, at)),
                State::Visible if keys.as_ref().is_none_or(wanted) => {
                    messages.push((at, stored.value.clone()))
                }
                State::Visible => {}
            }
            at += 1;
        }
        *next = Some(at);
        *at_end = at > store.all.len() as u64;
        if self.semantics == Semantics::AtMostOnce && group.is_some() {
            self.committed.insert(log.clone(), at);
        }
    }
}

fn log_name(number: u64) -> String {
    ["a", "b"][(number % 2) as usize].to_owned()
}

fn send(log: &str, value: &str, offset: Option<u64>, transaction: Option<&str>) -> LogForm {
    let (log, value, transaction) = (log.to_owned(), value.to_owned(), transaction.map(str::to_owned));
    LogForm::Send { log, value, key: None, producer: None, seq: None, transaction, offset }
}

fn poll(log: &str, group: bool, from: u64, messages: &[(u64, &str)], next: Option<u64>) -> LogForm {
    LogForm::Poll {
        log: log.to_owned(),
        consumer: None,
        group: group.then(|| GROUP.to_owned()),
        from: Some(from),
        keys: None,
        messages: messages.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect(),
        next,
        at_end: false,
        compacted: Vec::<Span>::new(),
        aborted: Vec::<Span>::new(),
    }
}

/// A correct run.
fn run(dice: &mut Dice) -> Events {
    let all = [Semantics::AtMostOnce, Semantics::AtLeastOnce, Semantics::ExactlyOnce];
    let (semantics, dense) = (all[dice.below(3) as usize], dice.chance(50));
    let mut events: Events = vec![(0, Kind::Note, 0, LogForm::DeliveryTerms { semantics, dense })];
    let logs = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), Store::default())));
    let mut service = Service { semantics, logs, committed: BTreeMap::new() };
    let mut open: BTreeMap<u64, (LogForm, Option<Kind>)> = BTreeMap::new();
    let mut left: Vec<LogForm> = Vec::new();
    let mut asking = Asking::default();
    for now_us in 1..220 {
        let process = 1 + dice.below(CONSUMER + 3);
        if dice.chance(10)
            && let Some(mut form) = left.pop()
        {
            service.execute(dice, &mut form);
        }
        if dice.chance(2) {
            let log = service.logs.get_mut(&log_name(now_us)).unwrap();
            log.floor = log.floor.max(log.all.len() as u64 / 2);
        }
        let Some((mut form, end)) = open.remove(&process) else {
            let form = asking.ask(dice, &service, process, now_us);
            events.push((process, Kind::Invoke, now_us, form.clone()));
            // The position is told to the service; the history may leave it out.
            open.insert(process, (form, None));
            continue;
        };
        let sends = matches!(form, LogForm::Send { .. });
        match end {
            None if sends && dice.chance(12) => events.push((process, Kind::Fail, now_us, form)),
            None if dice.chance(10) => {
                events.push((process, Kind::Unknown, now_us, form.clone()));
                let late = matches!(form, LogForm::Send { seq: None, transaction: None, .. });
                left.extend(late.then_some(form));
            }
            None => {
                let end = service.execute(dice, &mut form);
                open.insert(process, (form, Some(end)));
            }
            Some(_) if dice.chance(12) => {
                asking.restarts(process);
                events.push((process, Kind::Unknown, now_us, form.asked()));
            }
            Some(end) => {
                asking.learn(process, &form);
                events.push((process, end, now_us, form));
            }
        }
    }
    events
}

/// What clients know.
#[derive(Default)]
struct Asking {
    /// Where each consumer is in each log.
    positions: BTreeMap<(u64, String), u64>,
    /// The transaction of each producer.
    transactions: BTreeMap<u64, String>,
}

impl Asking {
    fn ask(&mut self, dice: &mut Dice, service: &Service, process: u64, now: u64) -> LogForm {
        if process <= PRODUCERS {
            return self.produce(dice, process, now);
        }
        let group = process < CONSUMER + 2;
        let log = if group { log_name(process - CONSUMER) } else { log_name(dice.below(2)) };
        let committed = service.committed.get(&log).copied().unwrap_or(1);
        let position = self.positions.get(&(process, log.clone())).copied();
        let restarts = service.semantics == Semantics::AtMostOnce || dice.chance(20);
        let from = match position {
            Some(position) if !group || !restarts => position,
            _ if group => committed,
            _ => 1,
        };
        if let Some(offset) = position
            && group
            && service.semantics != Semantics::AtMostOnce
            && dice.chance(30)
        {
            return LogForm::Commit { group: GROUP.to_owned(), log, offset };
        }
        let mut form = poll(&log, group, from, &[], None);
        if let LogForm::Poll { keys, .. } = &mut form
            && process == CONSUMER + 3
        {
            *keys = Some(vec!["x".to_owned()]);
        }
        form
    }

    fn produce(&mut self, dice: &mut Dice, process: u64, now: u64) -> LogForm {
        if let Some(transaction) = self.transactions.get(&process).filter(|_| dice.chance(35)).cloned() {
            self.transactions.remove(&process);
            return match dice.chance(60) {
                true => LogForm::CommitTransaction { transaction },
                false => LogForm::AbortTransaction { transaction },
            };
        }
        if dice.chance(15) {
            self.transactions.entry(process).or_insert(format!("t{now}"));
        }
        let transaction = self.transactions.get(&process).map(String::as_str);
        let mut form = send(&log_name(dice.below(2)), &format!("m{now}"), None, transaction);
        if let LogForm::Send { key, seq, .. } = &mut form {
            *key = dice.chance(60).then(|| ["x", "y"][(now % 2) as usize].to_owned());
            // The second producer numbers its messages.
            *seq = (process == 2).then_some(now);
        }
        form
    }

    fn restarts(&mut self, process: u64) {
        self.positions.retain(|(of, _), _| *of != process);
    }

    fn learn(&mut self, process: u64, form: &LogForm) {
        if let LogForm::Poll { log, next: Some(next), .. } = form {
            self.positions.insert((process, log.clone()), *next);
        }
    }
}

/// Sends that ended so, outside of transactions: begin, end, log, value, offset.
fn sends(events: &Events, kind: Kind) -> Vec<(usize, usize, String, String, u64)> {
    let all = operations(events).into_iter().filter_map(|(begin, end)| {
        let end = end.filter(|end| events[*end].1 == kind)?;
        match &events[end].3 {
            LogForm::Send { log, value, offset, transaction: None, .. } => {
                Some((begin, end, log.clone(), value.clone(), offset.unwrap_or(0)))
            }
            _ => None,
        }
    });
    all.collect()
}

/// Messages that were told: the event, which of its messages, log, offset, value, whether to the group.
fn told(events: &Events) -> Vec<(usize, usize, String, u64, String, bool)> {
    let mut all = Vec::new();
    for (place, event) in events.iter().enumerate() {
        if let LogForm::Poll { log, messages, group, .. } = &event.3 {
            for (number, (offset, value)) in messages.iter().enumerate() {
                all.push((place, number, log.clone(), *offset, value.clone(), group.is_some()));
            }
        }
    }
    all
}

fn messages(events: &mut Events, place: usize) -> &mut Vec<(u64, String)> {
    let LogForm::Poll { messages, .. } = &mut events[place].3 else { panic!("a poll") };
    messages
}

fn terms(events: &Events) -> (Semantics, bool) {
    let LogForm::DeliveryTerms { semantics, dense } = events[0].3 else { panic!("terms") };
    (semantics, dense)
}

fn acknowledged_and_left_out(dice: &mut Dice, events: &mut Events) -> bool {
    let acknowledged = sends(events, Kind::Ok);
    let mut all = told(events);
    all.retain(|told| acknowledged.iter().any(|send| (&send.2, send.4) == (&told.2, told.3)));
    let Some((place, number, ..)) = dice.pick(&all) else { return false };
    messages(events, place).remove(number);
    true
}

fn acknowledged_and_cut_off(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, _, log, _, offset)) = dice.pick(&sends(events, Kind::Ok)) else { return false };
    let mut form = poll(&log, false, 1, &[], Some(offset));
    let LogForm::Poll { at_end, compacted, .. } = &mut form else { unreachable!("a poll") };
    *at_end = true;
    // What was before is compacted, so that the end alone is wrong.
    compacted.extend((offset > 1).then_some((1, offset - 1)));
    append(events, Kind::Ok, form);
    true
}

fn stands_twice(dice: &mut Dice, events: &mut Events) -> bool {
    let single = terms(events).0 != Semantics::AtLeastOnce;
    let numbered = |value: &str| {
        events.iter().any(|(process, _, _, form)| {
            *process == 2 && matches!(form, LogForm::Send { value: of, .. } if of == value)
        })
    };
    let all: Vec<_> = told(events).into_iter().filter(|told| single || numbered(&told.4)).collect();
    let Some((_, _, log, _, value, _)) = dice.pick(&all) else { return false };
    append(events, Kind::Ok, poll(&log, false, FAR, &[(FAR, &value)], None));
    true
}

fn told_again(dice: &mut Dice, events: &mut Events) -> bool {
    let committed: Vec<(String, u64)> = events
        .iter()
        .filter(|event| event.1 == Kind::Ok)
        .filter_map(|event| match &event.3 {
            LogForm::Commit { log, offset, .. } => Some((log.clone(), *offset)),
            _ => None,
        })
        .collect();
    let semantics = terms(events).0;
    let mut all = told(events);
    all.retain(|(_, _, log, offset, _, group)| match semantics {
        Semantics::AtMostOnce => *group,
        Semantics::AtLeastOnce => false,
        Semantics::ExactlyOnce => committed.iter().any(|(of, end)| of == log && offset < end),
    });
    let Some((_, _, log, offset, value, _)) = dice.pick(&all) else { return false };
    append(events, Kind::Ok, poll(&log, true, offset, &[(offset, &value)], None));
    true
}

fn swap(dice: &mut Dice, events: &mut Events, numbered: bool) -> bool {
    let all = sends(events, Kind::Ok);
    let mut pairs = Vec::new();
    for one in all.iter().filter(|one| !numbered || events[one.1].0 == 2) {
        let later = all.iter().filter(|other| one.1 < other.0 && one.2 == other.2);
        pairs.extend(later.filter(|other| !numbered || events[other.1].0 == 2).map(|other| (one, other)));
    }
    let Some((one, other)) = dice.pick(&pairs) else { return false };
    for (send, to) in [(one, other.4), (other, one.4)] {
        let LogForm::Send { offset, .. } = &mut events[send.1].3 else { panic!("a send") };
        *offset = Some(to);
    }
    true
}

fn sent_later_stands_before(dice: &mut Dice, events: &mut Events) -> bool {
    swap(dice, events, false)
}

fn number_overtaken(dice: &mut Dice, events: &mut Events) -> bool {
    swap(dice, events, true)
}

fn told_backwards(dice: &mut Dice, events: &mut Events) -> bool {
    let all: Vec<_> = told(events).into_iter().filter(|told| told.1 > 0).collect();
    let Some((place, ..)) = dice.pick(&all) else { return false };
    messages(events, place).reverse();
    true
}

fn two_at_one_offset(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, _, log, value, offset)) = dice.pick(&sends(events, Kind::Ok)) else { return false };
    append(events, Kind::Ok, send(&log, "other", None, None));
    append(events, Kind::Ok, poll(&log, false, offset, &[(offset, "other")], None));
    value != "other"
}

fn never_sent(dice: &mut Dice, events: &mut Events) -> bool {
    append(events, Kind::Ok, poll(&log_name(dice.below(2)), false, FAR, &[(FAR, "nobody's")], None));
    true
}

fn failed_and_told(dice: &mut Dice, events: &mut Events) -> bool {
    let Some((_, _, log, value, _)) = dice.pick(&sends(events, Kind::Fail)) else { return false };
    append(events, Kind::Ok, poll(&log, false, FAR, &[(FAR, &value)], None));
    true
}

fn aborted_and_told(_: &mut Dice, events: &mut Events) -> bool {
    append(events, Kind::Ok, send("a", "mx", Some(FAR), Some("tx")));
    append(events, Kind::Ok, LogForm::AbortTransaction { transaction: "tx".to_owned() });
    append(events, Kind::Ok, poll("a", false, FAR, &[(FAR, "mx")], None));
    true
}

fn told_before_committed(_: &mut Dice, events: &mut Events) -> bool {
    append(events, Kind::Ok, send("a", "mx", Some(FAR), Some("tx")));
    append(events, Kind::Ok, poll("a", false, FAR, &[(FAR, "mx")], None));
    append(events, Kind::Ok, LogForm::CommitTransaction { transaction: "tx".to_owned() });
    true
}

fn half_of_a_transaction(dice: &mut Dice, events: &mut Events) -> bool {
    for log in ["a", "b"] {
        append(events, Kind::Ok, send(log, &format!("mx{log}"), Some(FAR), Some("tx")));
    }
    let kind = if dice.chance(50) { Kind::Unknown } else { Kind::Ok };
    append(events, kind, LogForm::CommitTransaction { transaction: "tx".to_owned() });
    append(events, Kind::Ok, poll("a", false, FAR, &[(FAR, "mxa")], None));
    append(events, Kind::Ok, poll("b", false, FAR, &[], Some(FAR + 1)));
    true
}

fn passed_by_the_group(_: &mut Dice, events: &mut Events) -> bool {
    let reads = told(events).into_iter().any(|told| told.2 == "a" && told.5);
    append(events, Kind::Ok, send("a", "mx", Some(FAR), None));
    let (group, log) = (GROUP.to_owned(), "a".to_owned());
    append(events, Kind::Ok, LogForm::Commit { group, log, offset: FAR + 1 });
    reads && terms(events).0 != Semantics::AtMostOnce
}

fn a_hole(_: &mut Dice, events: &mut Events) -> bool {
    append(events, Kind::Ok, poll("a", false, FAR, &[], Some(FAR + 1)));
    terms(events).1
}

#[test]
fn ordered_logs() {
    family(
        run,
        &[check_delivery],
        &[
            ("acknowledged and left out", acknowledged_and_left_out),
            ("acknowledged and cut off", acknowledged_and_cut_off),
            ("stands twice", stands_twice),
            ("told again", told_again),
            ("sent later, stands before", sent_later_stands_before),
            ("number overtaken", number_overtaken),
            ("told backwards", told_backwards),
            ("two at one offset", two_at_one_offset),
            ("never sent", never_sent),
            ("failed and told", failed_and_told),
            ("aborted and told", aborted_and_told),
            ("told before committed", told_before_committed),
            ("half of a transaction", half_of_a_transaction),
            ("passed by the group", passed_by_the_group),
            ("a hole", a_hole),
        ],
        false,
    );
}
