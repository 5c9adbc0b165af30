//! The Protocol Buffers bodies behind [`crate::codec`]. Field numbers are never reused; see
//! `docs/internals/command-format.md`.

use storage::Row;

use crate::command::{Expect, Item};
use crate::lease::FenceBody;

/// Number of a condition on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ExpectKind {
    Anything = 0,
    Absent = 1,
    Present = 2,
    Revision = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PutBody {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    #[prost(enumeration = "ExpectKind", tag = "3")]
    pub expect: i32,
    #[prost(uint64, tag = "4")]
    pub expect_revision: u64,
    /// 0: none.
    #[prost(uint64, tag = "5")]
    pub lease: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteBody {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(enumeration = "ExpectKind", tag = "2")]
    pub expect: i32,
    #[prost(uint64, tag = "3")]
    pub expect_revision: u64,
}

/// A command with its terms; the command is encoded as it is without.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EntryBody {
    #[prost(bytes = "vec", tag = "1")]
    pub command: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub once: Option<OnceBody>,
    #[prost(message, repeated, tag = "3")]
    pub seen: Vec<SeenBody>,
    #[prost(uint64, optional, tag = "4")]
    pub quota_bytes: Option<u64>,
    #[prost(message, optional, tag = "9")]
    pub early: Option<EarlyBody>,
    #[prost(message, optional, tag = "7")]
    pub fence: Option<FenceBody>,
    #[prost(uint32, optional, tag = "8")]
    pub shards: Option<u32>,
    #[prost(uint32, optional, tag = "12")]
    pub values: Option<u32>,
}

/// What was seen of a group.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SeenBody {
    #[prost(uint64, tag = "1")]
    pub group: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// Who took a write that is acknowledged early, and from whom.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EarlyBody {
    #[prost(uint64, tag = "1")]
    pub leader: u64,
    #[prost(uint64, tag = "2")]
    pub wall_ms: u64,
    #[prost(string, tag = "3")]
    pub client: String,
    #[prost(string, tag = "4")]
    pub request_id: String,
}

/// An idempotency key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OnceBody {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub elapsed_ms: u64,
    #[prost(uint64, tag = "3")]
    pub ttl_ms: u64,
    #[prost(uint64, tag = "4")]
    pub keys_max: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetBody {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeBody {
    #[prost(bytes = "vec", tag = "1")]
    pub start: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub end: Option<Vec<u8>>,
    #[prost(uint32, tag = "3")]
    pub limit: u32,
    #[prost(bool, tag = "4")]
    pub keys_only: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct PutOutcomeBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub create_revision: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct DeletedOutcomeBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(bool, tag = "2")]
    pub existed: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ConflictOutcomeBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub current: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct FencedOutcomeBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, optional, tag = "2")]
    pub current: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct OverQuotaOutcomeBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    #[prost(uint64, tag = "3")]
    pub quota_bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RowBody {
    #[prost(uint64, tag = "1")]
    pub create_revision: u64,
    #[prost(uint64, tag = "2")]
    pub mod_revision: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetAnswerBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(message, optional, tag = "2")]
    pub row: Option<RowBody>,
}

/// The head of a range answer; its items follow as length-delimited [`ItemBody`]s.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeAnswerBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub next: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ItemBody {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub row: Option<RowBody>,
    #[prost(uint64, tag = "3")]
    pub value_bytes: u64,
}

/// A condition as its number and revision; the revision is 0 unless it is [`Expect::Revision`].
pub fn expect_to_wire(expect: Expect) -> (i32, u64) {
    match expect {
        Expect::Anything => (ExpectKind::Anything as i32, 0),
        Expect::Absent => (ExpectKind::Absent as i32, 0),
        Expect::Present => (ExpectKind::Present as i32, 0),
        Expect::Revision(revision) => (ExpectKind::Revision as i32, revision),
    }
}

/// The condition of a number and revision, `None` if no condition is written so.
pub fn expect_from_wire(kind: i32, revision: u64) -> Option<Expect> {
    match (ExpectKind::try_from(kind).ok()?, revision) {
        (ExpectKind::Anything, 0) => Some(Expect::Anything),
        (ExpectKind::Absent, 0) => Some(Expect::Absent),
        (ExpectKind::Present, 0) => Some(Expect::Present),
        (ExpectKind::Revision, revision) => Some(Expect::Revision(revision)),
        _ => None,
    }
}

impl From<&Row> for RowBody {
    fn from(row: &Row) -> RowBody {
        RowBody {
            create_revision: row.create_revision,
            mod_revision: row.mod_revision,
            version: row.version,
            value: row.value.clone(),
        }
    }
}

impl From<RowBody> for Row {
    fn from(body: RowBody) -> Row {
        Row {
            create_revision: body.create_revision,
            mod_revision: body.mod_revision,
            version: body.version,
            value: body.value,
        }
    }
}

impl From<&Item> for ItemBody {
    fn from(item: &Item) -> ItemBody {
        ItemBody { key: item.key.clone(), row: Some(RowBody::from(&item.row)), value_bytes: item.value_bytes }
    }
}
