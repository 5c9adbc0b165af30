//! Writes under idempotency keys: a client sends one again, to any node, until it is answered or it has
//! had enough; then, now and then, once more, or with something else under the same key.
//!
//! The operation stays open in the history from the first try to the last, as one operation: what its
//! client asked for once. Every answer to one key must be the same.

use check::Action;
use keyspace::IdempotencyKey;
use node::{Op, Reply, ReplyBody};
use types::{Applied, ErrorCode, NodeId, Problem};

use crate::{
    clients::{Clients, Waiting, Wish, in_session, op},
    failure::Broken,
    plan::{KEYSPACES, SECOND},
    together::{self, TOGETHER},
};

/// How long a client goes on with one key, in virtual microseconds. With its last request's deadline,
/// and that of a node that stood still meanwhile, this is less than nodes remember keys.
const GIVE_UP_AFTER_US: u64 = 10 * SECOND;

/// Which try of a write a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// The first.
    First,
    /// A later one, after failures.
    Again,
    /// One more, after it was answered.
    Repeated,
    /// Another write, under the key of one that was answered.
    Misused,
}

/// A write under an idempotency key.
#[derive(Clone, Debug)]
pub struct Keyed {
    key: IdempotencyKey,
    keyspace: usize,
    action: Action,
    began_us: u64,
    /// Whether a try may have been carried out.
    maybe_applied: bool,
    /// The answer.
    answer: Option<ReplyBody>,
}

impl Keyed {
    /// The operation under the key.
    pub(crate) fn op(&self, op: Op) -> Op {
        match op {
            Op::Command(command) => Op::Once(self.key.clone(), command),
            other => other,
        }
    }
}

impl Clients {
    /// From now on the client's write is under a new key.
    pub(crate) fn begin_keyed(&mut self, client: usize, now_us: u64, keyspace: usize, action: Action) {
        let key = format!("{client}-{}", self.tokens + 1).into_bytes();
        let key = IdempotencyKey::new(key).expect("it is short");
        let (maybe_applied, answer) = (false, None);
        self.keyed[client] = Some(Keyed { key, keyspace, action, began_us: now_us, maybe_applied, answer });
    }

    /// Whether a client is not done with a key.
    pub fn any_keyed(&self) -> bool {
        self.keyed.iter().any(Option::is_some)
    }

    /// The client sends its write again, if it has one that it is not done with.
    pub fn invoke_again(&mut self, client: usize, now_us: u64, nodes: u64) -> Option<u64> {
        let keyed = self.keyed[client].clone()?;
        self.tokens += 1;
        let node = NodeId(self.dice.below(nodes));
        let timeout_ms = self.dice.pick(&[100, 500, 2_000, 4_000]);
        let (action, try_of) = match keyed.answer {
            None => (keyed.action.clone(), Try::Again),
            Some(_) if self.dice.chance(250) => (self.another(&keyed.action), Try::Misused),
            Some(_) => (keyed.action.clone(), Try::Repeated),
        };
        let wish = Wish::One(action);
        let op = keyed.op(op(keyed.keyspace, &wish));
        let session = self.sessions.of(client).clone();
        let request = in_session(node::Request::new(KEYSPACES[keyed.keyspace], op), &session, &wish);
        let waiting = Waiting {
            client,
            keyspace: keyed.keyspace,
            wish,
            session,
            request,
            node,
            timeout_ms,
            delivered: None,
            task: None,
            try_of: Some(try_of),
        };
        self.saw.asks(now_us, &waiting);
        self.waiting.insert(self.tokens, waiting);
        Some(self.tokens)
    }

    /// Another write than this, of a value that no other has.
    fn another(&mut self, action: &Action) -> Action {
        let mut value = self.value().replacen('v', "another", 1);
        if action.key() == TOGETHER {
            value.truncate(together::VALUE_BYTES_MAX);
        }
        Action::Write { key: action.key().to_string(), value }
    }

    /// A request failed. `None`: the operation goes on, or was over before; otherwise, what is known of
    /// the operation as a whole, now that it is over.
    pub(crate) fn after_failure(
        &mut self,
        waiting: &Waiting,
        now_us: u64,
        applied: Applied,
    ) -> Option<Applied> {
        let Some(try_of) = waiting.try_of else { return Some(applied) };
        let going_on = self.dice.chance(850);
        let place = &mut self.keyed[waiting.client];
        let keyed = place.as_mut().expect("a try is of a write that is not done");
        if matches!(try_of, Try::Repeated | Try::Misused) {
            *place = None;
            return None;
        }
        keyed.maybe_applied |= applied != Applied::NotApplied;
        if going_on && now_us < keyed.began_us + GIVE_UP_AFTER_US {
            return None;
        }
        let applied = if keyed.maybe_applied { Applied::Unknown } else { Applied::NotApplied };
        *place = None;
        Some(applied)
    }

    /// A request succeeded. Answers whether the operation was over before.
    ///
    /// # Errors
    /// When the answer is not the one that the key has, or when the key should have been refused.
    pub(crate) fn after_success(&mut self, waiting: &Waiting, reply: &Reply) -> Result<bool, Broken> {
        let wrong = |message: String| {
            Err(Broken::safety("one_answer_per_key", format!("{:?}: {message}", waiting.request)))
        };
        let deduplicated = reply.receipt.deduplicated;
        let Some(try_of) = waiting.try_of else {
            // Those who count keep their own account of their keys.
            let unkeyed = !matches!(waiting.request.op, Op::Once(..));
            return if deduplicated && unkeyed {
                wrong("a repeated answer without a key".into())
            } else {
                Ok(false)
            };
        };
        let once_more = self.dice.chance(250);
        let place = &mut self.keyed[waiting.client];
        let keyed = place.as_mut().expect("a try is of a write that is not done");
        match (try_of, &keyed.answer) {
            (Try::Misused, answer) => wrong(format!("the key has {answer:?}, and it got {:?}", reply.body)),
            (Try::Repeated, Some(answer)) if *answer != reply.body || !deduplicated => {
                wrong(format!("first {answer:?}, then {:?} deduplicated: {deduplicated}", reply.body))
            }
            (Try::Repeated, _) => {
                *place = None;
                Ok(true)
            }
            (Try::First | Try::Again, _) => {
                keyed.answer = Some(reply.body.clone());
                if !once_more {
                    *place = None;
                }
                Ok(false)
            }
        }
    }

    /// A key is refused for its reuse exactly when it was used for something else.
    ///
    /// # Errors
    /// When it was not.
    pub(crate) fn check_refusal(&self, token: u64, problem: &Problem) -> Result<(), Broken> {
        let misused = self.waiting.get(&token).is_some_and(|waiting| waiting.try_of == Some(Try::Misused));
        if problem.code == ErrorCode::IdempotencyKeyReused && !misused {
            return Err(Broken::safety("one_answer_per_key", format!("request {token}: {problem}")));
        }
        Ok(())
    }
}
