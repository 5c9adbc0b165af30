//! Clients that count: in one request each adds a number to the counter of a key, and a mark of its own to the set of the same
//! key. So the set says what the sum must be.
//!
//! Guarantee G-OPERATE, judged from outside: whoever reads such a key, at whatever level, finds a counter that is the sum of
//! the numbers whose marks are in the set. A strong read finds every mark that was acknowledged before it was sent. No
//! read finds a mark that was never sent, or whose addition was refused for good; none is added twice.
//!
//! An addition whose outcome is unknown is sent again only under an idempotency key; one that is known not to have
//! happened also without.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyspace::{Command, Expect, IdempotencyKey, Outcome, Query, QueryAnswer, ValueRow};
use node::{Op, Reply, ReplyBody, Request};
use types::{Applied, NodeId, contract::Read};
use values::{Answer, Body, Counter, Operation, Part, Shown};

use crate::{
    clients::{Clients, Waiting, Wish, op},
    failure::Broken,
    invariants::Judged,
    plan::{KEYSPACES, SECOND, TALLIED},
    world::World,
};

const SUM: &[u8] = b"sum";
const MARKS: &[u8] = b"marks";
/// Marks of one key, about: every operation writes the whole value, and its history keeps the one before.
const MARKS_PER_KEY: usize = 24;
/// As for other writes: less than nodes remember keys.
const GIVE_UP_AFTER_US: u64 = 10 * SECOND;
const TTL_S: u64 = 86_400;

/// What a counting client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tally {
    /// To add the number of this mark, and the mark.
    Add(u64),
    /// What is there.
    Read {
        /// Number of the key.
        key: u64,
        /// What it asks for.
        read: Read,
        /// Marks that were acknowledged before.
        due: BTreeSet<u64>,
        /// It must succeed: the finale asks.
        last: bool,
    },
}

/// What is known of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may happen.
    Open,
    /// It happened.
    Added,
    /// It did not happen, and will not.
    Not,
}

#[derive(Debug)]
struct Mark {
    key: u64,
    by: i64,
    fate: Fate,
}

/// An addition that its client is not done with.
#[derive(Clone, Debug)]
struct Open {
    mark: u64,
    once: Option<IdempotencyKey>,
    began_us: u64,
    maybe_applied: bool,
    answer: Option<ReplyBody>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Clients with smaller numbers are others.
    first: usize,
    open: Vec<Option<Open>>,
    marks: BTreeMap<u64, Mark>,
    /// Whether the keyspace was seen to exist.
    exists: bool,
    /// Keys that the finale reads once more.
    last_reads: VecDeque<u64>,
}

/// The marks that operations add.
pub fn marks(operations: &[Operation]) -> Vec<Vec<u8>> {
    let added = operations.iter().filter_map(|operation| match operation {
        Operation::Within { operation, .. } => match &**operation {
            Operation::Insert { members } => Some(members.clone()),
            _ => None,
        },
        _ => None,
    });
    added.flatten().collect()
}

fn member(mark: u64) -> Vec<u8> {
    format!("mark{mark}").into_bytes()
}

fn key_of(key: u64) -> Vec<u8> {
    format!("tally{key}").into_bytes()
}

fn broken(message: String) -> Broken {
    Broken::safety("sums_are_of_their_marks", message)
}

impl Tallies {
    /// So many, whose numbers as clients begin there.
    pub fn new(first: usize, count: u64) -> Tallies {
        Tallies { first, open: (0..count).map(|_| None).collect(), ..Tallies::default() }
    }

    /// Whether a client is one of them.
    pub fn has(&self, client: usize) -> bool {
        (self.first..self.first + self.open.len()).contains(&client)
    }

    /// Whether a client is not done with an addition, or a last read.
    pub fn any_open(&self) -> bool {
        !self.last_reads.is_empty() || self.open.iter().any(Option::is_some)
    }

    /// The finale reads every key once more.
    pub fn begin_last_reads(&mut self) {
        let keys: BTreeSet<u64> = self.marks.values().map(|mark| mark.key).collect();
        self.last_reads = keys.into_iter().collect();
    }

    fn read(&self, key: u64, read: Read, last: bool) -> Tally {
        let added = self.marks.iter().filter(|(_, mark)| mark.key == key && mark.fate == Fate::Added);
        Tally::Read { key, read, due: added.map(|(mark, _)| *mark).collect(), last }
    }

    fn add(&self, mark: u64) -> Command {
        let Mark { key, by, .. } = self.marks[&mark];
        let within = |field: &[u8], operation| Operation::Within { field: field.to_vec(), operation };
        let operations = vec![
            within(SUM, Box::new(Operation::Add { by })),
            within(MARKS, Box::new(Operation::Insert { members: vec![member(mark)] })),
        ];
        Command::Operate { key: key_of(key), operations, expect: Expect::Anything }
    }

    /// An addition was answered.
    fn on_added(&mut self, client: usize, mark: u64, reply: &Reply) -> Result<(), Broken> {
        if let ReplyBody::Outcome(Outcome::Operated { answers, .. }) = &reply.body
            && !matches!(answers[..], [Answer::Count { .. }, Answer::Inserted { members: 1 }])
        {
            let message = format!("mark {mark} was there before it was added: {answers:?}");
            Err(broken(message)).unless_left_out()?;
        }
        let place = &mut self.open[client - self.first];
        let open = place.as_mut().expect("it is not done with it");
        match &open.answer {
            Some(answer) if *answer != reply.body || !reply.receipt.deduplicated => {
                let message = format!("mark {mark}: first {answer:?}, then {:?}", reply.body);
                Err(Broken::safety("one_answer_per_key", message)).unless_left_out()?;
                *place = None;
            }
            Some(_) => *place = None,
            None => {
                open.answer = Some(reply.body.clone());
                if open.once.is_none() {
                    *place = None;
                }
            }
        }
        self.marks.get_mut(&mark).expect("it was drawn").fate = Fate::Added;
        Ok(())
    }

    /// What is there fits what was asked and told.
    fn check(&self, key: u64, read: Read, due: &BTreeSet<u64>, row: Option<&ValueRow>) -> Result<(), Broken> {
        let (sum, found) = match row {
            None => (0, BTreeSet::new()),
            Some(row) => parts(row).ok_or_else(|| broken(format!("tally {key} is {row:?}")))?,
        };
        let mut expected = 0;
        for mark in &found {
            match self.marks.get(mark) {
                Some(Mark { key: of, by, fate: Fate::Open | Fate::Added }) if *of == key => {
                    expected += i128::from(*by);
                }
                other => return Err(broken(format!("tally {key} has mark {mark}, which is {other:?}"))),
            }
        }
        if sum != expected {
            return Err(broken(format!("tally {key} is {sum}, and its marks {found:?} come to {expected}")));
        }
        match due.difference(&found).next() {
            Some(missing) if read == Read::Strong => {
                Err(broken(format!("tally {key} lacks mark {missing}, which was acknowledged: {found:?}")))
            }
            _ => Ok(()),
        }
    }
}

/// The counter and the marks.
fn parts(row: &ValueRow) -> Option<(i128, BTreeSet<u64>)> {
    let Shown::Value(value) = &row.shown else { return None };
    let Body::Map(map) = value.body() else { return None };
    let sum = map.field(SUM)?.counter.as_ref().map(Counter::get)?;
    let number = |member: &[u8]| std::str::from_utf8(member).ok()?.strip_prefix("mark")?.parse().ok();
    let found: Option<BTreeSet<u64>> =
        map.field(MARKS)?.set.as_ref()?.members_from(b"").map(number).collect();
    Some((sum, found?))
}

impl Clients {
    /// A counting client does its next step, if it has one: after the faults it goes on with what it began.
    pub fn invoke_tally(&mut self, client: usize, now_us: u64, nodes: u64, in_chaos: bool) -> Option<u64> {
        let place = client - self.tallies.first;
        let wish = match &self.tallies.open[place] {
            Some(open) => Wish::Tally(Tally::Add(open.mark)),
            None if !in_chaos => {
                let key = self.tallies.last_reads.pop_front()?;
                Wish::Tally(self.tallies.read(key, Read::Strong, true))
            }
            None if !self.tallies.exists || self.dice.chance(10) => Wish::Create(TTL_S),
            None if self.dice.chance(300) => {
                let last = (self.tallies.marks.len() / MARKS_PER_KEY) as u64;
                let key = self.dice.between(last.saturating_sub(1), last);
                let read = if self.dice.chance(600) { Read::Strong } else { self.stale_read() };
                Wish::Tally(self.tallies.read(key, read, false))
            }
            None => {
                let mark = self.tokens + 1;
                let key = (self.tallies.marks.len() / MARKS_PER_KEY) as u64;
                let by = self.dice.between(1, 1_000) as i64 - 300;
                self.tallies.marks.insert(mark, Mark { key, by, fate: Fate::Open });
                let once = self.dice.chance(600).then(|| format!("tally-{mark}").into_bytes());
                let once = once.map(|key| IdempotencyKey::new(key).expect("it is short"));
                let (maybe_applied, answer) = (false, None);
                self.tallies.open[place] = Some(Open { mark, once, began_us: now_us, maybe_applied, answer });
                Wish::Tally(Tally::Add(mark))
            }
        };
        self.tokens += 1;
        let op = match &wish {
            Wish::Tally(Tally::Add(mark)) => {
                let open = self.tallies.open[place].as_ref().expect("it was just begun, or goes on");
                let command = self.tallies.add(*mark);
                open.once
                    .clone()
                    .map_or_else(|| Op::Command(command.clone()), |key| Op::Once(key, command.clone()))
            }
            Wish::Tally(Tally::Read { key, .. }) => {
                Op::Query(Query::Value { key: key_of(*key), part: Part::Whole })
            }
            create => op(TALLIED, create),
        };
        let session = self.sessions.of(client).clone();
        let mut request = Request::new(KEYSPACES[TALLIED], op);
        request.options.session = session.token.clone();
        if let Wish::Tally(Tally::Read { read, .. }) = &wish {
            request.options.read = Some(*read);
        }
        let node = NodeId(self.dice.below(nodes));
        let timeout_ms = self.dice.pick(&[100, 500, 2_000, 4_000]);
        let (delivered, task, try_of) = (None, None, None);
        let keyspace = TALLIED;
        let waiting =
            Waiting { client, keyspace, wish, session, request, node, timeout_ms, delivered, task, try_of };
        self.waiting.insert(self.tokens, waiting);
        Some(self.tokens)
    }

    /// A request of a counting client was refused, or its answer is lost.
    pub(crate) fn after_tally_failure(&mut self, waiting: &Waiting, now_us: u64, applied: Applied) {
        let going_on = match &waiting.wish {
            Wish::Tally(Tally::Read { key, last, .. }) => {
                self.tallies.last_reads.extend(last.then_some(*key));
                return;
            }
            Wish::Tally(Tally::Add(_)) => self.dice.chance(850),
            _ => return,
        };
        let tallies = &mut self.tallies;
        let place = &mut tallies.open[waiting.client - tallies.first];
        let open = place.as_mut().expect("it is not done with it");
        open.maybe_applied |= applied != Applied::NotApplied;
        let in_time = now_us < open.began_us + GIVE_UP_AFTER_US;
        let harmless = open.once.is_some() || !open.maybe_applied;
        if open.answer.is_none() && going_on && in_time && harmless {
            return;
        }
        if open.answer.is_none() && !open.maybe_applied {
            tallies.marks.get_mut(&open.mark).expect("it was drawn").fate = Fate::Not;
        }
        *place = None;
    }
}

impl World {
    /// An answer to a counting client fits what was asked and told.
    pub(crate) fn check_tally(&mut self, token: u64, reply: &Reply) -> Result<(), Broken> {
        let Some(waiting) = self.clients.waiting(token) else { return Ok(()) };
        let (client, wish) = (waiting.client, waiting.wish.clone());
        if self.clients.tallies.has(client) {
            self.clients.tallies.exists = true;
        }
        let Wish::Tally(tally) = wish else { return Ok(()) };
        match (&tally, &reply.body) {
            (Tally::Add(mark), ReplyBody::Outcome(Outcome::Operated { .. })) => {
                let durable = reply.receipt.acks.durable;
                self.oracle.check_acknowledged(&self.hosts, &member(*mark), durable).unless_left_out()?;
                self.counts.add("additions", 1);
                self.clients.tallies.on_added(client, *mark, reply)
            }
            (Tally::Read { key, read, due, .. }, ReplyBody::Answer(QueryAnswer::Value { row, .. })) => {
                self.counts.add("sums_read", 1);
                self.clients.tallies.check(*key, *read, due, row.as_ref())
            }
            (tally, body) => {
                Err(Broken::safety("answers_fit", format!("request {token} {tally:?} got {body:?}")))
            }
        }
    }
}
