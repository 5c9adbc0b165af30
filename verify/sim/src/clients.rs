//! Clients: one operation at a time each, to any node, with a deadline; and the history of what they
//! were told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use check::{Action, Answer, Completion, History};
use keyspace::{Command, Expect, KeyRange, Outcome, Query, QueryAnswer};
use node::{CatalogAnswer, CatalogOp, Op, Reply, ReplyBody, Request};
use scenario::Kind;
use storage::Row;
use types::{
    Applied, Contract, ErrorCode, NodeId, Problem,
    contract::{Ack, Read, Values},
};

use crate::{
    brief::{self, Ask},
    dice::Dice,
    early,
    failure::Broken,
    holders::{Hold, Holders},
    invariants::{Judged, is_left_out},
    keyed::{Keyed, Try},
    plan::{HISTORY_TTL_S, KEYSPACES, LIMITED, Plan, QUOTA_BYTES, SHARDED, SHARDS, TALLIED},
    read_leases,
    saw::Saw,
    sessions::{Session, Sessions},
    tallies::{Tallies, Tally},
    together::{self, TOGETHER},
    transfer::{self, Account, Transfer},
};

/// Keys of a range read are separate reads in the history, each by a process of its own.
const PROCESSES_PER_CLIENT: u64 = 100;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// One operation on one key.
    One(Action),
    /// A write that may be acknowledged before it is committed. The history has none of these.
    Early {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// When it is to be acknowledged.
        ack: Ack,
    },
    /// All of these keys in one range read.
    Range(Vec<String>),
    /// A read of one key that need not be new. The history has none of these.
    Stale {
        /// The key.
        key: String,
        /// What it asks for.
        read: Read,
    },
    /// The keyspace itself, under a contract that remembers idempotency keys for so many seconds.
    Create(u64),
    /// Money from one account to another, in one transaction.
    Transfer(Transfer),
    /// Of a keyspace that comes and goes. The history has none of these.
    Brief {
        /// Which.
        name: &'static str,
        /// What.
        ask: Ask,
    },
    /// A step of a client that holds locks.
    Hold(Hold),
    /// A step of a client that counts.
    Tally(Tally),
    /// What is in all accounts, in one transaction or one range read.
    Audit {
        /// By a range read.
        by_range: bool,
    },
}

/// An operation that waits for its answer.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Who asks.
    pub client: usize,
    /// Index of the keyspace.
    pub keyspace: usize,
    /// What was asked.
    pub wish: Wish,
    /// What the client had seen.
    pub session: Session,
    /// What the node is asked.
    pub request: Request,
    /// The node.
    pub node: NodeId,
    /// How long the client waits, in milliseconds.
    pub timeout_ms: u64,
    /// The boot that took the request in.
    pub delivered: Option<u64>,
    /// The task of the finale that it does.
    pub task: Option<Task>,
    /// The idempotency key it is sent under.
    pub try_of: Option<Try>,
}

/// Something that must succeed once the world is healed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The node to ask.
    pub node: NodeId,
    /// Index of the keyspace.
    pub keyspace: usize,
    /// The key.
    pub key: String,
    /// What to do with it.
    pub errand: Errand,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Creates the keyspace; that it exists, under whatever contract, is good too.
    Create,
    /// Writes the key.
    Write,
    /// Reads it.
    Read,
}

/// Contracts that clients create keyspaces under differ in this, in seconds.
///
/// The shorter is longer than a client goes on with one key: see `keyed`.
pub(crate) const TTLS_S: [u64; 2] = [86_400, 25];

/// How an operation ended, for the world.
#[derive(Debug)]
pub struct Ended {
    /// Who asked.
    pub client: usize,
    /// Whether it took effect.
    pub ok: bool,
}

/// All clients.
#[derive(Debug)]
pub struct Clients {
    pub(crate) dice: Dice,
    pub(crate) keys: u64,
    pub(crate) transactions: bool,
    /// Kinds of thing that they do not do.
    pub(crate) idle: BTreeSet<Kind>,
    pub(crate) hot_key_per_mille: u64,
    /// Keyspaces that come and go.
    pub(crate) briefs: usize,
    pub(crate) value_bytes: u64,
    /// What each client does under an idempotency key, until it leaves it.
    pub(crate) keyed: Vec<Option<Keyed>>,
    /// Last revision that each client saw of each key.
    pub(crate) known: Vec<BTreeMap<(usize, String), u64>>,
    /// What each client wrote just now.
    pub(crate) wrote: Vec<Option<(usize, String)>>,
    /// What each client last saw of the accounts of each keyspace.
    pub(crate) audited: Vec<BTreeMap<usize, Vec<Account>>>,
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    /// What each client has seen.
    pub sessions: Sessions,
    pub(crate) tokens: u64,
    /// The clients that hold locks.
    pub holders: Holders,
    /// The clients that count.
    pub tallies: Tallies,
    /// What holders, keyed clients and watches saw.
    pub(crate) saw: Saw,
    /// What was asked and told, by keyspace.
    pub histories: Vec<History>,
    /// What the finale still wants done.
    pub tasks: VecDeque<Task>,
}

impl Clients {
    /// Clients of a world.
    pub fn new(dice: Dice, plan: &Plan) -> Clients {
        let (ordinary, holding) = (plan.clients as usize, (plan.clients + plan.holders) as usize);
        let all = holding + plan.talliers as usize;
        Clients {
            dice,
            keys: plan.keys,
            transactions: plan.transactions,
            idle: plan.idle.clone(),
            hot_key_per_mille: plan.hot_key_per_mille,
            briefs: plan.briefs,
            value_bytes: plan.value_bytes,
            keyed: vec![None; all],
            known: vec![BTreeMap::new(); all],
            wrote: vec![None; all],
            audited: vec![BTreeMap::new(); all],
            waiting: BTreeMap::new(),
            sessions: Sessions::new(all),
            tokens: 0,
            holders: Holders::new(ordinary, plan.holders),
            tallies: Tallies::new(holding, plan.talliers),
            saw: Saw::default(),
            histories: KEYSPACES.map(|_| History::new()).to_vec(),
            tasks: VecDeque::new(),
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Keys of a keyspace.
    pub fn keys(&self) -> Vec<String> {
        (0..self.keys).map(|number| format!("k{number}")).chain([TOGETHER.to_string()]).collect()
    }

    /// The operation of a token, if it still waits.
    pub fn waiting(&mut self, token: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(&token)
    }

    /// Tokens and operations that wait.
    pub fn all_waiting(&self) -> impl Iterator<Item = (u64, &Waiting)> {
        self.waiting.iter().map(|(token, waiting)| (*token, waiting))
    }

    /// A client does the next task of the finale, if one is left.
    pub fn invoke_task(&mut self, client: usize, now_us: u64) -> Option<u64> {
        let task = self.tasks.pop_front()?;
        let key = task.key.clone();
        let wish = match task.errand {
            Errand::Create => Wish::Create(self.dice.pick(&TTLS_S)),
            Errand::Write => Wish::One(Action::Write { key, value: self.value() }),
            Errand::Read => Wish::One(Action::Read { key }),
        };
        Some(self.invoke(client, now_us, task.node, task.keyspace, wish, 2_000, Some(task)))
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact of the operation")]
    pub(crate) fn invoke(
        &mut self,
        client: usize,
        now_us: u64,
        node: NodeId,
        keyspace: usize,
        wish: Wish,
        timeout_ms: u64,
        task: Option<Task>,
    ) -> u64 {
        self.tokens += 1;
        for (process, action) in processes(client, &wish) {
            let invoked = self.histories[keyspace].invoke(process, now_us, action);
            invoked.expect("a client does one thing at a time");
        }
        let (op, try_of) = match &mut self.keyed[client] {
            Some(keyed) => (keyed.op(op(keyspace, &wish)), Some(Try::First)),
            None => (op(keyspace, &wish), None),
        };
        let name = brief::of(&wish).map_or(KEYSPACES[keyspace], |(name, _)| name);
        let request = Request::new(name, op);
        let session = self.sessions.of(client).clone();
        let request = if brief::of(&wish).is_some() { request } else { in_session(request, &session, &wish) };
        if let Wish::One(Action::Write { value, .. } | Action::Cas { value, .. }) = &wish {
            self.sessions.on_write(client, value);
        }
        let delivered = None;
        let waiting =
            Waiting { client, keyspace, wish, session, request, node, timeout_ms, delivered, task, try_of };
        self.saw.asks(now_us, &waiting);
        self.waiting.insert(self.tokens, waiting);
        self.tokens
    }

    /// The request never reached a node, or what reached it is lost: `applied` says what is known.
    pub fn lose(&mut self, now_us: u64, token: u64, applied: Applied) -> Option<Ended> {
        let waiting = self.waiting.remove(&token)?;
        let ended = Ended { client: waiting.client, ok: false };
        self.saw.lost(now_us, &waiting, applied);
        self.after_tally_failure(&waiting, now_us, applied);
        let Some(applied) = self.after_failure(&waiting, now_us, applied) else { return Some(ended) };
        let completion = || match applied {
            Applied::NotApplied => Completion::Fail { current: None },
            Applied::Applied | Applied::Unknown => Completion::Unknown,
        };
        for (process, _) in processes(waiting.client, &waiting.wish) {
            self.complete(waiting.keyspace, process, now_us, completion());
        }
        self.tasks.extend(waiting.task);
        Some(ended)
    }

    /// A node answers what is not in the history.
    pub fn end(&mut self, token: u64) -> Option<Ended> {
        let waiting = self.waiting.remove(&token)?;
        Some(Ended { client: waiting.client, ok: true })
    }

    /// A node answers.
    ///
    /// # Errors
    /// When it answers what was not asked.
    pub fn reply(
        &mut self,
        now_us: u64,
        token: u64,
        result: &Result<Reply, Problem>,
    ) -> Result<Ended, Broken> {
        let Some(waiting) = self.waiting.get(&token) else {
            return Err(Broken::safety("one_reply", format!("request {token} was answered twice")));
        };
        let reply = match result {
            // No answer of the request's own: the same may be sent again. A task of the finale is done by it.
            Ok(Reply { body: ReplyBody::Outcome(Outcome::OverQuota { .. }), .. }) => {
                let waiting = self.waiting.get_mut(&token).expect("it was just found");
                waiting.task = None;
                let ended = self.lose(now_us, token, Applied::NotApplied);
                return Ok(Ended { ok: true, ..ended.expect("it was waiting") });
            }
            Ok(reply) => {
                self.saw.told(now_us, waiting, reply);
                reply
            }
            Err(Problem { code: ErrorCode::Conflict, .. }) if matches!(waiting.wish, Wish::Create(_)) => {
                let waiting = self.waiting.remove(&token).expect("it was just found");
                return Ok(Ended { client: waiting.client, ok: true });
            }
            Err(problem) => {
                if matches!(waiting.wish, Wish::Hold(_)) {
                    self.holders.on_problem(waiting.client, Some(problem));
                }
                self.saw.refused(now_us, waiting, problem);
                self.check_refusal(token, problem).unless_left_out()?;
                let ended = self.lose(now_us, token, problem.applied);
                return Ok(ended.expect("it was waiting"));
            }
        };
        let nonsense = || {
            Broken::safety("answers_fit", format!("request {token} {:?} got {:?}", waiting.wish, reply.body))
        };
        let completions = match (&waiting.wish, &reply.body) {
            (Wish::One(action), body) if action.key() == TOGETHER => {
                vec![together::completion(action, body)?.ok_or_else(nonsense)?]
            }
            (Wish::One(action), body) => vec![completion(action, body).ok_or_else(nonsense)?],
            (Wish::Range(keys), ReplyBody::Answer(QueryAnswer::Range { items, next: None, .. })) => {
                let row =
                    |key: &str| items.iter().find(|item| item.key == key.as_bytes()).map(|item| &item.row);
                let read = |key: &String| {
                    let row = if key == TOGETHER {
                        together::one(together::parts().map(|part| row(&part)))?
                    } else {
                        row(key)
                    };
                    Ok(read(row))
                };
                keys.iter().map(read).collect::<Result<_, Broken>>()?
            }
            (Wish::Create(_), ReplyBody::Catalog(CatalogAnswer::Created { .. })) => Vec::new(),
            (Wish::Transfer(_), ReplyBody::Outcome(outcome)) => {
                transfer::check(outcome).ok_or_else(nonsense)?;
                Vec::new()
            }
            (Wish::Audit { .. }, ReplyBody::Answer(answer)) => {
                let accounts = transfer::accounts(answer).ok_or_else(nonsense)?;
                transfer::check_sum(&accounts).unless_left_out()?;
                self.audited[waiting.client].insert(waiting.keyspace, accounts);
                Vec::new()
            }
            (Wish::Stale { .. }, ReplyBody::Answer(QueryAnswer::Get { .. })) => Vec::new(),
            (Wish::Early { .. }, ReplyBody::Accepted | ReplyBody::Outcome(Outcome::Put { .. })) => Vec::new(),
            // It was looked at before.
            (Wish::Hold(_) | Wish::Tally(_), _) => Vec::new(),
            (
                Wish::Range(_)
                | Wish::Stale { .. }
                | Wish::Early { .. }
                | Wish::Create(_)
                | Wish::Transfer(_)
                | Wish::Brief { .. }
                | Wish::Audit { .. },
                _,
            ) => {
                return Err(nonsense());
            }
        };
        let waiting = self.waiting.remove(&token).expect("it was just found");
        self.sessions.on_reply(&waiting.session, &waiting, reply)?;
        let over = match self.after_success(&waiting, reply) {
            Err(broken) if is_left_out(broken.invariant) => {
                self.keyed[waiting.client] = None;
                matches!(waiting.try_of, Some(Try::Repeated | Try::Misused))
            }
            over => over?,
        };
        if over {
            return Ok(Ended { client: waiting.client, ok: true });
        }
        for ((process, action), completion) in
            processes(waiting.client, &waiting.wish).into_iter().zip(completions)
        {
            self.learn(&waiting, action.key(), &completion);
            self.complete(waiting.keyspace, process, now_us, completion);
        }
        Ok(Ended { client: waiting.client, ok: true })
    }

    fn learn(&mut self, waiting: &Waiting, key: &str, completion: &Completion) {
        if matches!(completion, Completion::Ok(Answer::Written { .. })) {
            self.wrote[waiting.client] = Some((waiting.keyspace, key.to_string()));
        }
        let revision = match completion {
            Completion::Ok(Answer::Read { revision, .. } | Answer::Written { revision }) => {
                revision.unwrap_or(0)
            }
            Completion::Fail { current: Some(current) } => *current,
            Completion::Ok(Answer::Deleted { .. }) => 0,
            Completion::Ok(Answer::ReadMany { .. })
            | Completion::Fail { current: None }
            | Completion::Differs { .. }
            | Completion::Unknown => return,
        };
        self.known[waiting.client].insert((waiting.keyspace, key.to_string()), revision);
    }

    pub(crate) fn complete(&mut self, keyspace: usize, process: u64, now_us: u64, completion: Completion) {
        let completed = self.histories[keyspace].complete(process, now_us, completion);
        completed.expect("the completion is of the open operation");
    }
}

/// History processes of an operation, with what each asks.
fn processes(client: usize, wish: &Wish) -> Vec<(u64, Action)> {
    let first = client as u64 * PROCESSES_PER_CLIENT;
    match wish {
        Wish::One(action) => vec![(first, action.clone())],
        Wish::Create(_) | Wish::Stale { .. } | Wish::Brief { .. } | Wish::Early { .. } => Vec::new(),
        Wish::Hold(_) | Wish::Tally(_) => Vec::new(),
        Wish::Range(keys) => {
            (first..).zip(keys.iter().map(|key| Action::Read { key: key.clone() })).collect()
        }
        Wish::Transfer(_) | Wish::Audit { .. } => Vec::new(),
    }
}

/// Whether a write asks for every replica: about one in twelve, and the same each time it is sent.
fn on_all(action: &Action) -> bool {
    let text = match action {
        Action::Write { value, .. } => value,
        _ => action.key(),
    };
    text.len() % 12 == 5
}

/// The request of a client that has seen this.
pub(crate) fn in_session(mut request: Request, session: &Session, wish: &Wish) -> Request {
    request.options.session = session.token.clone();
    if let Wish::One(action @ (Action::Write { .. } | Action::Delete { .. })) = wish
        && on_all(action)
    {
        request.options.ack = Some(Ack::All);
    }
    if let Wish::Early { ack, .. } = wish {
        request.options.ack = Some(*ack);
    }
    if let Wish::Stale { read, .. } = wish {
        request.options.read = Some(*read);
    }
    request
}

pub(crate) fn op(keyspace: usize, wish: &Wish) -> Op {
    let put = |key: &str, value: &str, expect| {
        let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        Op::Command(Command::Put { key, value, expect, lease: None })
    };
    match wish {
        Wish::One(action) if action.key() == TOGETHER => together::op(action),
        Wish::Early { key, value, .. } => early::op(key, value),
        Wish::Transfer(transfer) => transfer.op(),
        Wish::Hold(_) | Wish::Tally(_) => unreachable!("they make their requests themselves"),
        Wish::Audit { by_range } => transfer::audit(*by_range),
        Wish::Brief { ask, .. } => ask.op(),
        Wish::Stale { key, .. } | Wish::One(Action::Read { key }) => {
            Op::Query(Query::Get { key: key.as_bytes().to_vec() })
        }
        Wish::One(Action::Write { key, value }) => put(key, value, Expect::Anything),
        Wish::One(Action::Cas { key, expected_revision: 0, value }) => put(key, value, Expect::Absent),
        Wish::One(Action::Cas { key, expected_revision, value }) => {
            put(key, value, Expect::Revision(*expected_revision))
        }
        Wish::One(Action::Delete { key }) => {
            Op::Command(Command::Delete { key: key.as_bytes().to_vec(), expect: Expect::Anything })
        }
        Wish::One(Action::CasValue { .. } | Action::ReadMany { .. } | Action::Final { .. }) => {
            unreachable!("no client asks so")
        }
        Wish::Create(idempotency_ttl_s) => {
            let shards = if keyspace == SHARDED { SHARDS } else { 1 };
            let quota_bytes = (keyspace == LIMITED).then_some(QUOTA_BYTES);
            let values = if keyspace == TALLIED { Values::Map } else { Values::Register };
            let contract = Contract {
                idempotency_ttl_s: *idempotency_ttl_s,
                history_ttl_s: HISTORY_TTL_S,
                shards,
                quota_bytes,
                lease_reads: read_leases::has_lease_reads(keyspace),
                values,
                ..Contract::default()
            };
            Op::Catalog(CatalogOp::Create(contract))
        }
        Wish::Range(_) => {
            Op::Query(Query::Range { range: KeyRange::default(), limit: 1_000, keys_only: false })
        }
    }
}

/// What a read that found this row was told.
pub(crate) fn read(row: Option<&Row>) -> Completion {
    Completion::Ok(Answer::Read {
        value: row.map(|row| text(&row.value)),
        revision: row.map(|row| row.mod_revision),
    })
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// What the answer says of the action; `None` if it is no answer to it.
fn completion(action: &Action, body: &ReplyBody) -> Option<Completion> {
    Some(match (action, body) {
        (Action::Read { .. }, ReplyBody::Answer(QueryAnswer::Get { row, .. })) => read(row.as_ref()),
        (Action::Write { .. } | Action::Cas { .. }, ReplyBody::Outcome(Outcome::Put { revision, .. })) => {
            Completion::Ok(Answer::Written { revision: Some(*revision) })
        }
        (Action::Cas { .. }, ReplyBody::Outcome(Outcome::Conflict { current, .. })) => {
            Completion::Fail { current: Some(*current) }
        }
        (Action::Delete { .. }, ReplyBody::Outcome(Outcome::Deleted { revision, existed })) => {
            let revision = existed.then_some(*revision);
            Completion::Ok(Answer::Deleted { existed: Some(*existed), revision })
        }
        _ => return None,
    })
}
