//! Which shards of a keyspace an operation concerns.

use types::{Problem, shard_of};

use crate::command::{Command, KeyRange, Query};
use crate::lease::same_shard;
use crate::txn::{Keys, Txn, TxnOp};
use crate::validate::invalid;

/// Where an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In this shard, from 0.
    One(u32),
    /// In any one shard: it names no key.
    Any,
    /// In every shard: their answers are put together.
    All,
}

impl Command {
    /// The shard that carries it out.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a transaction whose keys are in several shards, or that has ranges.
    pub fn shard(&self, shards: u32) -> Result<u32, Problem> {
        match self {
            Command::Put { key, lease: Some(lease), .. } => {
                let shard = shard_of(key, shards);
                same_shard(*lease, shard, shards)?;
                Ok(shard)
            }
            Command::Put { key, .. } | Command::Delete { key, .. } | Command::Operate { key, .. } => {
                Ok(shard_of(key, shards))
            }
            Command::Lease(command) => command.shard(shards),
            // One that names no key changes nothing, wherever it is carried out.
            Command::Txn(txn) => Ok(txn.shard(shards)?.unwrap_or(0)),
            &Command::Compact { shard, .. } => checked_shard(shard, shards),
            Command::Reclaim { .. } => Ok(0),
        }
    }
}

impl Query {
    /// The shards that answer it.
    ///
    /// # Errors
    /// As for [`Command::shard`].
    pub fn placement(&self, shards: u32) -> Result<Placement, Problem> {
        match self {
            Query::Get { key } | Query::Value { key, .. } => Ok(Placement::One(shard_of(key, shards))),
            Query::Range { .. } if shards == 1 => Ok(Placement::One(0)),
            Query::Range { .. } => Ok(Placement::All),
            Query::Lease(query) => query.placement(shards),
            Query::Txn(txn) => Ok(txn.shard(shards)?.map_or(Placement::Any, Placement::One)),
            Query::At { query, .. } => match query.placement(shards)? {
                Placement::All => Err(invalid(
                    format!(
                        "the keyspace has {shards} shards, each with revisions of its own: no revision is one of all"
                    ),
                    "read its keys one by one at revisions of their shards, or use a keyspace of one shard",
                )),
                one => Ok(one),
            },
        }
    }
}

/// The shard that is meant, where revisions are one shard's.
///
/// # Errors
/// `INVALID_ARGUMENT` when the keyspace has no such shard, or has several and none was named.
pub fn checked_shard(shard: Option<u32>, shards: u32) -> Result<u32, Problem> {
    match shard {
        Some(shard) if shard < shards => Ok(shard),
        None if shards == 1 => Ok(0),
        Some(shard) => Err(invalid(
            format!("there is no shard {shard}: the keyspace has {shards}, numbered from 0"),
            "name one that is there",
        )),
        None => Err(invalid(
            format!("the keyspace has {shards} shards, each with revisions of its own"),
            "say which shard is meant: shard=0 is the first",
        )),
    }
}

impl Txn {
    fn shard(&self, shards: u32) -> Result<Option<u32>, Problem> {
        if shards == 1 {
            return Ok(Some(0));
        }
        let mut found = Found { shards, first: None };
        found.txn(self)?;
        Ok(found.first.map(|(shard, _)| shard))
    }
}

/// The shard of the keys seen so far, and one of them.
struct Found<'a> {
    shards: u32,
    first: Option<(u32, &'a [u8])>,
}

impl<'a> Found<'a> {
    fn txn(&mut self, txn: &'a Txn) -> Result<(), Problem> {
        txn.compares.iter().try_for_each(|compare| self.keys(&compare.keys))?;
        txn.then.iter().chain(&txn.otherwise).try_for_each(|op| match op {
            TxnOp::Put { key, lease: Some(lease), .. } => {
                self.key(key)?;
                same_shard(*lease, shard_of(key, self.shards), self.shards)
            }
            TxnOp::Put { key, .. } | TxnOp::Increment { key, .. } | TxnOp::Get { key } => self.key(key),
            TxnOp::Range { range, .. } => self.range(range),
            TxnOp::Delete { keys } => self.keys(keys),
            TxnOp::Txn(txn) => self.txn(txn),
        })
    }

    fn keys(&mut self, keys: &'a Keys) -> Result<(), Problem> {
        match keys {
            Keys::One(key) => self.key(key),
            Keys::Range(range) => self.range(range),
        }
    }

    fn key(&mut self, key: &'a [u8]) -> Result<(), Problem> {
        let shard = shard_of(key, self.shards);
        match self.first {
            Some((first, with)) if first != shard => Err(invalid(
                format!(
                    "the keys {} and {} are in different shards of the keyspace, and a transaction is of one",
                    with.escape_ascii(),
                    key.escape_ascii()
                ),
                "give the keys that change together one tag, as in {order-17}/total: what is in braces alone says \
                 which shard a key is in; or use a keyspace of one shard",
            )),
            Some(_) => Ok(()),
            None => {
                self.first = Some((shard, key));
                Ok(())
            }
        }
    }

    fn range(&self, range: &KeyRange) -> Result<(), Problem> {
        Err(invalid(
            format!(
                "the range from {} on has keys of all {} shards of the keyspace, and a transaction is of one",
                range.start.escape_ascii(),
                self.shards
            ),
            "name its keys one by one, or use a keyspace of one shard",
        ))
    }
}
