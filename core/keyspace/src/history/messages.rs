//! The Protocol Buffers bodies of commands and answers about the history. Field numbers are never reused; see
//! `docs/internals/command-format.md`.

/// Most events that one entry reclaims: each is a row, and the version that it superseded another. Bounds for
/// how long applying the entry holds up others.
pub const RECLAIM_EVENTS_MAX: u32 = 256;

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CompactBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint32, optional, tag = "2")]
    pub shard: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ReclaimBody {
    #[prost(uint32, tag = "1")]
    pub events_max: u32,
}

/// A query at a revision; the query is encoded as it is without.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AtBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub query: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CompactedBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub floor: u64,
    #[prost(bool, tag = "3")]
    pub ahead: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ReclaimedBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub events: u64,
    #[prost(bool, tag = "3")]
    pub done: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct NotReadableBody {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(uint64, tag = "2")]
    pub floor: u64,
    #[prost(uint64, tag = "3")]
    pub asked: u64,
}
