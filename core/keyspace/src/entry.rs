//! A log entry: a command, and the terms on which it is carried out.
//!
//! Everything that decides how long a key is remembered travels in the entry, so that replicas of
//! different configurations and versions forget the same keys at the same entry.

use prost::Message;
use types::contract::Values;
use types::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use types::{ErrorCode, GroupId, NodeId, Problem, SessionToken};
use values::codec::{kind_number, kind_of_number};

use crate::codec::{COMMAND, DecodeError, decode_command, encode, encode_command, kind, open, strict};
use crate::command::Command;
use crate::lease::{Fence, FenceBody};
use crate::messages::{EarlyBody, EntryBody, OnceBody, SeenBody};

/// A client's name for one request, within one keyspace
/// (draft-ietf-httpapi-idempotency-key-header-07, section 2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdempotencyKey(Vec<u8>);

impl IdempotencyKey {
    /// A key of these bytes.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when there are none, or more than [`IDEMPOTENCY_KEY_BYTES_MAX`].
    pub fn new(bytes: Vec<u8>) -> Result<IdempotencyKey, Problem> {
        if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&bytes.len()) {
            return Ok(IdempotencyKey(bytes));
        }
        Err(Problem::not_applied(
            ErrorCode::InvalidArgument,
            format!(
                "the idempotency key has {} bytes, the limits are 1 to {IDEMPOTENCY_KEY_BYTES_MAX}",
                bytes.len()
            ),
            "use a key within the limits, such as a random UUID, and a new one for every request",
        ))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Under which key a command runs at most once, and how long the group remembers keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The key.
    pub key: IdempotencyKey,
    /// Milliseconds of the leader's monotonic clock since its last entry with a key in this term; 0 for
    /// the first. Their sum over a log is never more than the time that passed.
    pub elapsed_ms: u64,
    /// A key is remembered at least so long,
    pub ttl_ms: u64,
    /// unless this many newer ones were used.
    pub keys_max: u64,
}

/// A write that its leader may acknowledge as soon as its own disk has it (`ack = leader`). Should another leader's
/// entry take its place, whoever looks for it is told this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Early {
    /// The leader that took it.
    pub leader: NodeId,
    /// When, by that node's wall clock, in milliseconds since the Unix epoch. For people.
    pub wall_ms: u64,
    /// What the client calls itself; empty if it did not say.
    pub client: String,
    /// What the client calls the request; empty if it did not say.
    pub request_id: String,
}

/// What a log entry says beside its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Run the command, unless it has run under this key.
    pub once: Option<Once>,
    /// What the writer's session had seen of other groups: who sees the effect must be able to see that too.
    pub seen: SessionToken,
    /// Most bytes of keys and values that the group may have; only what leaves it with less may exceed it.
    pub quota_bytes: Option<u64>,
    /// It may be acknowledged before it is committed.
    pub early: Option<Early>,
    /// Run the command only while this is the fence of a lock's holder.
    pub fence: Option<Fence>,
    /// Of how many shards of its keyspace the group is one, where the command depends on it; `None`: of one.
    pub shards: Option<u32>,
    /// With [`Command::Operate`]: what the keyspace's values are; registers if it does not say.
    pub values: Option<Values>,
}

impl From<Once> for Terms {
    fn from(once: Once) -> Terms {
        Terms { once: Some(once), ..Terms::default() }
    }
}

/// What a log entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCommand {
    /// What goes with the command.
    pub terms: Terms,
    /// The command.
    pub command: Command,
}

/// Encodes a command with its terms, as it is proposed to the log.
pub fn encode_entry(terms: &Terms, command: &Command) -> Vec<u8> {
    let command = encode_command(command);
    if *terms == Terms::default() {
        return command;
    }
    let Terms { once, seen, quota_bytes, early, fence, shards, values } = terms;
    let once = once.as_ref().map(|once| OnceBody {
        key: once.key.0.clone(),
        elapsed_ms: once.elapsed_ms,
        ttl_ms: once.ttl_ms,
        keys_max: once.keys_max,
    });
    let seen = seen.iter().map(|(group, index)| SeenBody { group: group.0, index }).collect();
    let early = early.as_ref().map(|early| EarlyBody {
        leader: early.leader.0,
        wall_ms: early.wall_ms,
        client: early.client.clone(),
        request_id: early.request_id.clone(),
    });
    let fence = fence.as_ref().map(|fence| FenceBody { name: fence.name.clone(), token: fence.token });
    let (quota_bytes, shards) = (*quota_bytes, *shards);
    let values = values.map(|values| kind_number(values).into());
    encode(kind::ENTRY, &EntryBody { command, once, seen, quota_bytes, early, fence, shards, values })
}

/// Decodes an entry: what [`encode_entry`] wrote. As strict as [`decode_command`].
///
/// # Errors
/// When the bytes are not an entry that this build knows.
pub fn decode_entry(data: &[u8]) -> Result<LogCommand, DecodeError> {
    let (kind, body) = open(COMMAND, data)?;
    if kind != kind::ENTRY {
        return Ok(LogCommand { terms: Terms::default(), command: decode_command(data)? });
    }
    let body: EntryBody = strict(COMMAND, body)?;
    let once = body.once.map(decode_once).transpose()?;
    let early = body.early.map(|early| Early {
        leader: NodeId(early.leader),
        wall_ms: early.wall_ms,
        client: early.client,
        request_id: early.request_id,
    });
    let fence = body.fence.map(|fence| Fence { name: fence.name, token: fence.token });
    let values = body.values.map(decode_kind).transpose()?;
    let (seen, shards) = (decode_seen(&body.seen)?, body.shards);
    let terms = Terms { once, seen, quota_bytes: body.quota_bytes, early, fence, shards, values };
    if terms == Terms::default() {
        return Err(malformed("it has no terms"));
    }
    Ok(LogCommand { terms, command: decode_command(&body.command)? })
}

/// Whether an entry says what its writer had seen of other groups. False for what is no entry.
pub fn has_seen(data: &[u8]) -> bool {
    #[derive(Clone, PartialEq, prost::Message)]
    struct SeenAlone {
        #[prost(message, repeated, tag = "3")]
        seen: Vec<SeenBody>,
    }
    let seen = |body| SeenAlone::decode(body).is_ok_and(|body| !body.seen.is_empty());
    open(COMMAND, data).is_ok_and(|(kind, body)| kind == kind::ENTRY && seen(body))
}

/// Whether an entry may be acknowledged before it is committed. False for what is no entry.
pub fn is_early(data: &[u8]) -> bool {
    #[derive(Clone, PartialEq, prost::Message)]
    struct EarlyAlone {
        #[prost(message, optional, tag = "9")]
        early: Option<EarlyBody>,
    }
    let early = |body| EarlyAlone::decode(body).is_ok_and(|body| body.early.is_some());
    open(COMMAND, data).is_ok_and(|(kind, body)| kind == kind::ENTRY && early(body))
}

fn decode_kind(number: u32) -> Result<Values, DecodeError> {
    let kind = u8::try_from(number).ok().and_then(kind_of_number);
    kind.ok_or_else(|| malformed(format!("no kind of values has number {number}")))
}

fn decode_once(body: OnceBody) -> Result<Once, DecodeError> {
    let key = IdempotencyKey::new(body.key).map_err(|problem| malformed(problem.message))?;
    Ok(Once { key, elapsed_ms: body.elapsed_ms, ttl_ms: body.ttl_ms, keys_max: body.keys_max })
}

fn decode_seen(body: &[SeenBody]) -> Result<SessionToken, DecodeError> {
    let seen: SessionToken = body.iter().map(|seen| (GroupId(seen.group), seen.index)).collect();
    seen.validate().map_err(|problem| malformed(problem.message))?;
    let written = seen.iter().map(|(group, index)| SeenBody { group: group.0, index });
    if written.eq(body.iter().copied()) {
        Ok(seen)
    } else {
        Err(malformed("what it has seen is in no order"))
    }
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { what: COMMAND, reason: reason.into() }
}
