//! Sessions: what each client has seen, by a second account beside the tokens that nodes give out; and what
//! reads that need not be new owe their clients.
//!
//! A client that reads a value has seen all that the value's writer had seen when it wrote: so causes are
//! followed across keyspaces and nodes, by values alone. A causal read must then be of a revision at least as
//! high as any that its session knows of the group. Tokens pass between clients now and then, with what
//! their clients know.

use std::collections::BTreeMap;

use node::{Reply, ReplyBody};
use types::{Guarantee, Role, SessionToken, contract::Read, shard_of};

use crate::{
    clients::{Clients, Waiting, Wish},
    failure::Broken,
    invariants::Judged,
    plan::{SHARDED, SHARDS},
    tallies::Tally,
};

/// A keyspace's shard.
type Place = (usize, u32);

/// What a client knows.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// As nodes say.
    pub token: SessionToken,
    /// The highest revision seen of each group.
    revisions: BTreeMap<Place, u64>,
}

impl Session {
    fn join(&mut self, other: &Session) {
        self.token.join(&other.token);
        self.learn(&other.revisions);
    }

    fn learn(&mut self, revisions: &BTreeMap<Place, u64>) {
        for (place, revision) in revisions {
            let known = self.revisions.entry(*place).or_default();
            *known = (*known).max(*revision);
        }
    }
}

/// All clients' sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    clients: Vec<Session>,
    /// What the writer of each value knew.
    causes: BTreeMap<Vec<u8>, BTreeMap<Place, u64>>,
}

/// The shard that a key is in.
pub fn place(keyspace: usize, key: &str) -> Place {
    (keyspace, if keyspace == SHARDED { shard_of(key.as_bytes(), SHARDS) } else { 0 })
}

impl Sessions {
    /// Sessions of so many clients, which have seen nothing.
    pub fn new(clients: usize) -> Sessions {
        Sessions { clients: vec![Session::default(); clients], causes: BTreeMap::new() }
    }

    /// A client's session.
    pub fn of(&self, client: usize) -> &Session {
        &self.clients[client]
    }

    /// A client begins a session anew.
    pub fn forget(&mut self, client: usize) {
        self.clients[client] = Session::default();
    }

    /// A client takes over all that another has seen.
    pub fn hand_over(&mut self, from: usize, to: usize) {
        let other = self.clients[from].clone();
        self.clients[to].join(&other);
    }

    /// A client is about to write a value.
    pub fn on_write(&mut self, client: usize, value: &str) {
        let known = self.clients[client].revisions.clone();
        self.causes.insert(value.as_bytes().to_vec(), known);
    }

    /// A client is told this of a key, or of a keyspace.
    ///
    /// # Errors
    /// When a causal read missed what its session had seen.
    pub fn on_reply(&mut self, asked: &Session, waiting: &Waiting, reply: &Reply) -> Result<(), Broken> {
        let (key, causal) = match &waiting.wish {
            Wish::One(action) => (Some(action.key()), false),
            Wish::Stale { key, read } => (Some(key.as_str()), *read == Read::Causal),
            _ => (None, false),
        };
        let mut seen = BTreeMap::new();
        if let (Some(key), Some(revision)) = (key, reply.receipt.revision)
            && !reply.receipt.deduplicated
        {
            let place = place(waiting.keyspace, key);
            let known = asked.revisions.get(&place).copied().unwrap_or(0);
            if causal && revision < known {
                let message = format!(
                    "{:?} with session {}: it knows revision {known}, and was answered of {revision}: {:?}",
                    waiting.wish, asked.token, reply.receipt
                );
                Err(Broken::safety("causal_reads_see_the_session", message)).unless_left_out()?;
            }
            seen.insert(place, revision);
        }
        let session = &mut self.clients[waiting.client];
        session.token.join(&reply.receipt.session);
        session.learn(&seen);
        if let ReplyBody::Answer(keyspace::QueryAnswer::Get { row: Some(row), .. }) = &reply.body
            && let Some(causes) = self.causes.get(&row.value)
        {
            session.learn(causes);
        }
        Ok(())
    }
}

impl Clients {
    /// What a read asks for that need not be new.
    pub(crate) fn stale_read(&mut self) -> Read {
        match self.dice.below(3) {
            0 => Read::Causal,
            1 => Read::Bounded(self.dice.pick(&[50, 500, 3_000])),
            _ => Read::Eventual,
        }
    }
}

/// What the receipt of a read says fits its answerer.
///
/// # Errors
/// When it claims more than can be.
pub fn check_read_receipt(wish: &Wish, reply: &Reply, quorum: u32) -> Result<(), Broken> {
    let receipt = &reply.receipt;
    let requested = match wish {
        Wish::Stale { read, .. } | Wish::Tally(Tally::Read { read, .. }) => read.guarantee(),
        _ => Guarantee::Linearizable,
    };
    let linearizable = receipt.delivered == Guarantee::Linearizable;
    // What a write made so was applied by a leader, that may have been deposed since.
    let written = receipt.acks.durable >= quorum;
    let led = written || receipt.role == Role::Leader;
    let backed = receipt.acks.got >= quorum || receipt.read_lease.is_some();
    let confirmed = led && backed && receipt.staleness_ms == Some(0);
    let kept = receipt.delivered <= requested && receipt.requested == requested;
    if kept && (!linearizable || confirmed) {
        return Ok(());
    }
    Err(Broken::safety("receipt_is_true", format!("{wish:?} was answered with {receipt:?}")))
}

/// The age in milliseconds that an answer may have, by its receipt and by what was asked; `None`: any.
pub fn age_allowed_ms(wish: &Wish, reply: &Reply) -> Option<u64> {
    let asked = match (wish, reply.receipt.delivered) {
        (Wish::Stale { read: Read::Bounded(bound_ms), .. }, Guarantee::Bounded) => Some(*bound_ms),
        _ => None,
    };
    let of_receipt =
        reply.receipt.staleness_ms.filter(|_| reply.receipt.delivered != Guarantee::Linearizable);
    asked.into_iter().chain(of_receipt).min()
}
