//! The operations that a plan has answers for.

use std::fmt;

use serde::Serializer;

use crate::{
    Contract,
    contract::{Ack, Read},
};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A put or delete without a condition, acknowledged so.
    Write(Ack),
    /// A transaction, or a write with a condition.
    Transaction,
    /// A read that sees everything acknowledged.
    Strong,
    /// A read in a session that knows nothing newer than what this node's replica has.
    Causal,
    /// A read in a session that knows of a write made on another side since.
    CausalBeyond,
    /// A read no staler than so many milliseconds.
    Bounded(u64),
    /// A read of whatever the node has.
    Eventual,
    /// A watch from now on.
    Watch,
    /// Acquiring a lock that is free, under a lease.
    Lock,
    /// Keeping a lease alive.
    KeepAlive,
    /// Creating, altering and listing keyspaces.
    Keyspaces,
}

/// The bound of a bounded read where the contract names none, in milliseconds.
const BOUND_MS_DEFAULT: u64 = 5_000;

impl Asked {
    /// Every operation; bounded reads with the bound of the contract's reads, if they have one.
    pub fn all(read: Read) -> Vec<Asked> {
        let bound_ms = match read {
            Read::Bounded(ms) => ms,
            _ => BOUND_MS_DEFAULT,
        };
        let writes = Ack::ALL.iter().map(|ack| Asked::Write(*ack));
        let others = [
            Asked::Transaction,
            Asked::Strong,
            Asked::Causal,
            Asked::CausalBeyond,
            Asked::Bounded(bound_ms),
            Asked::Eventual,
            Asked::Watch,
            Asked::Lock,
            Asked::KeepAlive,
            Asked::Keyspaces,
        ];
        writes.chain(others).collect()
    }

    /// Whether it is what a request gets that leaves the choice to the contract.
    pub(super) fn is_by_contract(self, contract: &Contract) -> bool {
        match self {
            Asked::Write(ack) => contract.ack == ack,
            Asked::Strong => contract.read == Read::Strong,
            Asked::Causal | Asked::CausalBeyond => contract.read == Read::Causal,
            Asked::Bounded(ms) => contract.read == Read::Bounded(ms),
            Asked::Eventual => contract.read == Read::Eventual,
            _ => false,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Write(ack) => write!(f, "write ack={ack}"),
            Asked::Transaction => f.write_str("transaction, conditional write"),
            Asked::Strong => f.write_str("read strong"),
            Asked::Causal => f.write_str("read causal, of what this node has"),
            Asked::CausalBeyond => f.write_str("read causal, after a write elsewhere"),
            Asked::Bounded(ms) => write!(f, "read {}", Read::Bounded(*ms)),
            Asked::Eventual => f.write_str("read eventual"),
            Asked::Watch => f.write_str("watch"),
            Asked::Lock => f.write_str("lock, election, lease grant"),
            Asked::KeepAlive => f.write_str("lease keep-alive"),
            Asked::Keyspaces => f.write_str("keyspace create, alter, list"),
        }
    }
}

pub(super) fn as_text<S: Serializer>(asked: &Asked, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(asked)
}
