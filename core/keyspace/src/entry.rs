//! A log entry: a command, plain or under an idempotency key.
//!
//! Everything that decides how long a key is remembered travels in the entry, so that replicas of
//! different configurations and versions forget the same keys at the same entry.

use types::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use types::{ErrorCode, Problem};

use crate::codec::{COMMAND, DecodeError, decode_command, encode, encode_command, kind, open, strict};
use crate::command::Command;
use crate::messages::OnceBody;

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

/// What a log entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCommand {
    /// Run the command.
    Plain(Command),
    /// Run the command, unless it has run under this key.
    Once(Once, Command),
}

impl LogCommand {
    /// The command, with or without a key.
    pub fn command(&self) -> &Command {
        match self {
            LogCommand::Plain(command) | LogCommand::Once(_, command) => command,
        }
    }
}

/// Encodes a command under a key, as it is proposed to the log.
pub fn encode_once(once: &Once, command: &Command) -> Vec<u8> {
    let body = OnceBody {
        key: once.key.0.clone(),
        elapsed_ms: once.elapsed_ms,
        ttl_ms: once.ttl_ms,
        keys_max: once.keys_max,
        command: encode_command(command),
    };
    encode(kind::ONCE, &body)
}

/// Decodes an entry: what [`encode_command`] or [`encode_once`] wrote. As strict as [`decode_command`].
///
/// # Errors
/// When the bytes are not an entry that this build knows.
pub fn decode_entry(data: &[u8]) -> Result<LogCommand, DecodeError> {
    let (kind, body) = open(COMMAND, data)?;
    if kind != kind::ONCE {
        return decode_command(data).map(LogCommand::Plain);
    }
    let body: OnceBody = strict(COMMAND, body)?;
    let key = IdempotencyKey::new(body.key)
        .map_err(|problem| DecodeError::Malformed { what: COMMAND, reason: problem.message })?;
    let once = Once { key, elapsed_ms: body.elapsed_ms, ttl_ms: body.ttl_ms, keys_max: body.keys_max };
    Ok(LogCommand::Once(once, decode_command(&body.command)?))
}
