//! The Protocol Buffers messages of transactions. Field numbers are never reused; see
//! `docs/internals/command-format.md`.

use crate::messages::RowBody;

/// Begins a transaction: so many parts of each kind follow.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct TxnHead {
    #[prost(uint32, tag = "1")]
    pub compares: u32,
    #[prost(uint32, tag = "2")]
    pub then: u32,
    #[prost(uint32, tag = "3")]
    pub otherwise: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum TargetKind {
    Version = 0,
    CreateRevision = 1,
    ModRevision = 2,
    Value = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum RelationKind {
    Equal = 0,
    NotEqual = 1,
    Greater = 2,
    Less = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CompareBody {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub end: Option<Vec<u8>>,
    #[prost(bool, tag = "3")]
    pub range: bool,
    #[prost(enumeration = "TargetKind", tag = "4")]
    pub target: i32,
    #[prost(enumeration = "RelationKind", tag = "5")]
    pub relation: i32,
    #[prost(uint64, tag = "6")]
    pub number: u64,
    #[prost(bytes = "vec", tag = "7")]
    pub value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum OpKind {
    Put = 0,
    Increment = 1,
    Get = 2,
    Range = 3,
    Delete = 4,
    /// A [`TxnHead`] and its parts follow.
    Txn = 5,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct OpBody {
    #[prost(enumeration = "OpKind", tag = "1")]
    pub kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub end: Option<Vec<u8>>,
    #[prost(bool, tag = "4")]
    pub range: bool,
    #[prost(bytes = "vec", tag = "5")]
    pub value: Vec<u8>,
    #[prost(sint64, tag = "6")]
    pub by: i64,
    #[prost(uint32, tag = "7")]
    pub limit: u32,
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
    /// 0: none.
    #[prost(uint64, tag = "9")]
    pub lease: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum RefusalKind {
    None = 0,
    TooManyKeys = 1,
    TooManyBytes = 2,
    NotANumber = 3,
    Overflow = 4,
    OutcomeTooLarge = 5,
    SupersedesTooMuch = 20,
}

/// Begins an outcome: so many results follow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutcomeHead {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(enumeration = "RefusalKind", tag = "2")]
    pub refusal: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub succeeded: bool,
    #[prost(uint32, tag = "5")]
    pub results: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ResultBody {
    /// An [`OpKind`].
    #[prost(enumeration = "OpKind", tag = "1")]
    pub kind: i32,
    #[prost(uint64, tag = "2")]
    pub create_revision: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
    #[prost(sint64, tag = "4")]
    pub value: i64,
    #[prost(message, optional, tag = "5")]
    pub row: Option<RowBody>,
    /// So many items follow.
    #[prost(uint32, tag = "6")]
    pub items: u32,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub next: Option<Vec<u8>>,
    #[prost(uint64, tag = "8")]
    pub keys: u64,
    #[prost(bool, tag = "9")]
    pub succeeded: bool,
    /// So many results follow.
    #[prost(uint32, tag = "10")]
    pub results: u32,
}
