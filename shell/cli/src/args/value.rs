//! Flags of `value`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::{
    Connection, Reading, Writing,
    data::{KeyArg, idempotency_key},
};

/// `quorate value`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate keyspace create likes --values counter
  quorate value incr --keyspace likes post/1                 prints the number now
  quorate value incr --keyspace likes post/1 5 --idempotency-key $(uuidgen)
  quorate value add --keyspace tags post/1 red green         of values = set
  quorate value put-field --keyspace users ann name Ann      of values = map
  quorate value incr --keyspace users ann --field visits     a counter in a field
  quorate value zadd --keyspace board game/1 ann 10          of values = sorted_set
  quorate value zrange --keyspace board game/1 --reverse --limit 10

incr and zincr add twice if they are sent twice: one whose outcome is unknown is sent again only
under an idempotency key. See docs/concepts/typed-values.md.")]
pub struct ValueArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ValueCommand,
}

/// Every command on typed values.
#[derive(Clone, Debug, Subcommand)]
pub enum ValueCommand {
    /// Print a value: a number, members, fields, or members with scores.
    Show(Show),
    /// Add to a counter, or to a number in a keyspace of registers; prints it.
    Incr(Incr),
    /// Set a counter to 0.
    Reset(Reset),
    /// Add members to a set.
    Add(Members),
    /// Remove members of a set or sorted set.
    Remove(Members),
    /// Print a page of a set's members, in the order of their bytes.
    Members(Page),
    /// Say whether a member is in a set or sorted set; exit code 3 if not.
    Member(Member),
    /// Set a field of a map.
    PutField(PutField),
    /// Print a field of a map.
    Field(Field),
    /// Remove a field of a map, with all that is in it.
    RemoveField(RemoveField),
    /// Give a member of a sorted set a score.
    Zadd(Zadd),
    /// Add to a member's score; prints it.
    Zincr(Zincr),
    /// Print members of a sorted set with their scores, by rank or by score.
    Zrange(Zrange),
}

/// What every change asks for.
#[derive(Clone, Debug, Args)]
pub struct Changing {
    /// Change the value only if the key's modification revision is this
    #[arg(long, value_name = "REVISION", conflicts_with = "if_absent")]
    pub if_revision: Option<u64>,
    /// Only if the key does not exist
    #[arg(long)]
    pub if_absent: bool,
    /// Carry the change out at most once, however often it is sent with this key: a failure whose outcome
    /// is unknown is then sent again. A new key for every change; printable ASCII, up to 255 bytes
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
    /// When the change is acknowledged, and what its session has seen.
    #[command(flatten)]
    pub writing: Writing,
    /// Also print what the answer guarantees
    #[arg(long)]
    pub receipt: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// What every read asks for.
#[derive(Clone, Debug, Args)]
pub struct Looking {
    /// What the read guarantees and what it must have seen.
    #[command(flatten)]
    pub reading: Reading,
    /// Also print, on standard error, what the answer guarantees
    #[arg(long)]
    pub receipt: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// `quorate value show`.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// How.
    #[command(flatten)]
    pub looking: Looking,
}

/// `quorate value incr`.
#[derive(Clone, Debug, Args)]
pub struct Incr {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// What is added; may be negative
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    pub by: i64,
    /// The counter in this field of a map
    #[arg(long, value_name = "FIELD")]
    pub field: Option<OsString>,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value reset`.
#[derive(Clone, Debug, Args)]
pub struct Reset {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The counter in this field of a map
    #[arg(long, value_name = "FIELD")]
    pub field: Option<OsString>,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value add` and `remove`.
#[derive(Clone, Debug, Args)]
pub struct Members {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The members
    #[arg(required = true)]
    pub members: Vec<OsString>,
    /// The set in this field of a map
    #[arg(long, value_name = "FIELD")]
    pub field: Option<OsString>,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value members`.
#[derive(Clone, Debug, Args)]
pub struct Page {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// This member and later ones
    #[arg(long, value_name = "MEMBER")]
    pub start: Option<OsString>,
    /// Most members to print
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: u32,
    /// How.
    #[command(flatten)]
    pub looking: Looking,
}

/// `quorate value member`.
#[derive(Clone, Debug, Args)]
pub struct Member {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The member
    pub member: OsString,
    /// How.
    #[command(flatten)]
    pub looking: Looking,
}

/// `quorate value put-field`.
#[derive(Clone, Debug, Args)]
pub struct PutField {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The field
    pub field: OsString,
    /// Its value
    pub value: OsString,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value field`.
#[derive(Clone, Debug, Args)]
pub struct Field {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The field
    pub field: OsString,
    /// How.
    #[command(flatten)]
    pub looking: Looking,
}

/// `quorate value remove-field`.
#[derive(Clone, Debug, Args)]
pub struct RemoveField {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The field
    pub field: OsString,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value zadd`.
#[derive(Clone, Debug, Args)]
pub struct Zadd {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The member
    pub member: OsString,
    /// Its score
    #[arg(allow_negative_numbers = true)]
    pub score: f64,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value zincr`.
#[derive(Clone, Debug, Args)]
pub struct Zincr {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// The member
    pub member: OsString,
    /// What is added to its score
    #[arg(allow_negative_numbers = true)]
    pub by: f64,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `quorate value zrange`.
#[derive(Clone, Debug, Args)]
pub struct Zrange {
    /// Which key.
    #[command(flatten)]
    pub key: KeyArg,
    /// Leave out so many first: without --min and --max, the rank to begin at
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
    /// Most members to print
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: u32,
    /// No smaller score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub min: Option<f64>,
    /// No greater score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub max: Option<f64>,
    /// The greatest score first
    #[arg(long)]
    pub reverse: bool,
    /// How.
    #[command(flatten)]
    pub looking: Looking,
}
