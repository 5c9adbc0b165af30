//! The Protocol Buffers messages of leases and locks. Field numbers are never reused; see
//! `docs/internals/command-format.md`.

/// A fence of an entry, or of a request that is sent on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FenceBody {
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub token: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GrantBody {
    /// 0: the store chooses.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub ttl_ms: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub beside: Vec<u8>,
}

/// A lease, and what some messages say beside it.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct LeaseBody {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub granted: u64,
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct EnterBody {
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub lease: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub value: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ListBody {
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    #[prost(uint64, optional, tag = "2")]
    pub after: Option<u64>,
    #[prost(uint32, tag = "3")]
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum WaitKind {
    No = 0,
    Turn = 1,
    Change = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LockBody {
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    #[prost(enumeration = "WaitKind", tag = "2")]
    pub wait: i32,
    #[prost(uint64, tag = "3")]
    pub token: u64,
    #[prost(uint64, tag = "4")]
    pub mod_revision: u64,
}

/// All outcomes share one message; each uses some of its fields.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct OutcomeBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub id: u64,
    #[prost(uint64, tag = "3")]
    pub ttl_ms: u64,
    #[prost(uint64, tag = "4")]
    pub granted: u64,
    #[prost(uint64, tag = "5")]
    pub keys: u64,
    #[prost(uint64, tag = "6")]
    pub token: u64,
    #[prost(bool, tag = "7")]
    pub held: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct RecordBody {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub ttl_ms: u64,
    #[prost(uint64, tag = "3")]
    pub keys: u64,
    #[prost(uint64, tag = "4")]
    pub granted: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseAnswerBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub id: u64,
    #[prost(message, optional, tag = "3")]
    pub lease: Option<RecordBody>,
    #[prost(uint64, optional, tag = "4")]
    pub remaining_ms: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub keys: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListAnswerBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(message, repeated, tag = "2")]
    pub leases: Vec<RecordBody>,
    #[prost(bool, tag = "3")]
    pub more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HolderBody {
    #[prost(uint64, tag = "1")]
    pub token: u64,
    #[prost(uint64, tag = "2")]
    pub lease: u64,
    #[prost(uint64, tag = "3")]
    pub mod_revision: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LockAnswerBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(message, optional, tag = "2")]
    pub holder: Option<HolderBody>,
    #[prost(uint64, tag = "3")]
    pub waiters: u64,
    #[prost(bool, tag = "4")]
    pub queued: bool,
}
