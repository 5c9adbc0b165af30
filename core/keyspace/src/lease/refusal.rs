//! What leases and locks refuse, and what of them is asked beyond the limits, worded once.

use types::{
    ErrorCode, LeaseId, Problem, has_tag,
    lease::CHOSEN_LEASES_END,
    limits::{
        KEY_BYTES_MAX, LEASE_KEYS_MAX, LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN, LEASED_KEY_BYTES_MAX, LEASES_MAX,
        LOCK_NAME_BYTES_MAX, RANGE_ITEMS_MAX, VALUE_BYTES_MAX, is_reserved_key,
    },
    shard_of,
};

use super::{Fence, LeaseCommand, LeaseOutcome, LeaseQuery};
use crate::command::Outcome;
use crate::placement::Placement;
use crate::validate::invalid;

/// Why the command behind an outcome did nothing, for leases and fences; `None` if it is no such refusal.
pub fn refusal(outcome: &Outcome) -> Option<Problem> {
    let (code, message, next_step) = match outcome {
        Outcome::Fenced { current, .. } => {
            let holder = match current {
                Some(token) => format!("the lock's holder has token {token}"),
                None => "nobody holds the lock".to_owned(),
            };
            let message = format!("the fencing token is not the one of the lock's present holder: {holder}");
            (ErrorCode::Fenced, message, "stop: acquire the lock again before any further write")
        }
        Outcome::Lease(LeaseOutcome::NotFound { id, .. }) => {
            return Some(lease_not_found(*id));
        }
        Outcome::Lease(LeaseOutcome::Exists { id, .. }) => {
            (ErrorCode::Conflict, format!("there is a lease {id} already"), "choose another id, or none")
        }
        Outcome::Lease(LeaseOutcome::Full { id: None, .. }) => {
            let message = format!("the keyspace has {LEASES_MAX} leases (in this shard), which is the limit");
            (ErrorCode::Overloaded, message, "revoke leases that are not needed, or wait until some end")
        }
        Outcome::Lease(LeaseOutcome::Full { id: Some(id), .. }) => {
            let message = format!("lease {id} has {LEASE_KEYS_MAX} keys, which is the limit");
            (ErrorCode::InvalidArgument, message, "bind the key to another lease")
        }
        _ => return None,
    };
    Some(Problem::not_applied(code, message, next_step))
}

/// The refusal of what needs a lease that is not there.
pub fn lease_not_found(id: LeaseId) -> Problem {
    Problem::not_applied(
        ErrorCode::LeaseNotFound,
        format!("there is no lease {id}: it has ended, or never was"),
        "grant a new lease; what was bound to the old one is gone",
    )
}

impl LeaseCommand {
    pub(crate) fn validate(&self) -> Result<(), Problem> {
        match self {
            LeaseCommand::Grant { id, ttl_ms, beside } => {
                if !(LEASE_TTL_MS_MIN..=LEASE_TTL_MS_MAX).contains(ttl_ms) {
                    return Err(invalid(
                        format!(
                            "a lease of {ttl_ms} ms is not within {LEASE_TTL_MS_MIN} to {LEASE_TTL_MS_MAX} ms"
                        ),
                        "ask for a time within the limits",
                    ));
                }
                if id.is_some_and(|id| !(1..CHOSEN_LEASES_END).contains(&id.0)) {
                    return Err(invalid(
                        format!("an id that a client chooses is from 1 to {:x}", CHOSEN_LEASES_END - 1),
                        "choose a smaller one, or none: the store then chooses",
                    ));
                }
                if beside.len() > KEY_BYTES_MAX {
                    return Err(invalid(
                        format!("the key beside which the lease is to be has {} bytes", beside.len()),
                        "name a key within the limits",
                    ));
                }
                Ok(())
            }
            LeaseCommand::Revoke { .. } => Ok(()),
            LeaseCommand::Expire { .. } => Err(invalid(
                "only a leader says that the time of a lease is up".to_owned(),
                "revoke the lease",
            )),
            LeaseCommand::Enter { name, value, .. } => {
                validate_lock_name(name)?;
                let bytes = value.as_ref().map_or(0, Vec::len);
                if bytes > VALUE_BYTES_MAX {
                    return Err(invalid(
                        format!("the value has {bytes} bytes, more than the limit of {VALUE_BYTES_MAX}"),
                        "store a smaller value",
                    ));
                }
                Ok(())
            }
        }
    }

    /// The shard that carries it out.
    pub(crate) fn shard(&self, shards: u32) -> Result<u32, Problem> {
        match self {
            LeaseCommand::Grant { id: Some(id), .. }
            | LeaseCommand::Revoke { id }
            | LeaseCommand::Expire { id, .. } => Ok(id.shard(shards)),
            LeaseCommand::Grant { id: None, beside, .. } => Ok(shard_of(beside, shards)),
            LeaseCommand::Enter { name, lease, .. } => {
                let shard = lock_shard(name, shards)?;
                same_shard(*lease, shard, shards)?;
                Ok(shard)
            }
        }
    }
}

impl LeaseQuery {
    pub(crate) fn validate(&self) -> Result<(), Problem> {
        match self {
            LeaseQuery::KeepAlive { .. } | LeaseQuery::Show { .. } => Ok(()),
            LeaseQuery::List { limit, .. } if !(1..=RANGE_ITEMS_MAX).contains(limit) => Err(invalid(
                format!("a limit of {limit} leases is not within 1 to {RANGE_ITEMS_MAX}"),
                "ask for that many; a following page starts after the last of them",
            )),
            LeaseQuery::List { .. } => Ok(()),
            LeaseQuery::Lock { name, .. } => validate_lock_name(name),
        }
    }

    /// The shards that answer it.
    pub(crate) fn placement(&self, shards: u32) -> Result<Placement, Problem> {
        match self {
            LeaseQuery::KeepAlive { id } | LeaseQuery::Show { id } => Ok(Placement::One(id.shard(shards))),
            LeaseQuery::List { shard, .. } if *shard < shards => Ok(Placement::One(*shard)),
            LeaseQuery::List { shard, .. } => Err(invalid(
                format!("there is no shard {shard}: the keyspace has {shards}, from 0"),
                "name one that there is",
            )),
            LeaseQuery::Lock { name, .. } => Ok(Placement::One(lock_shard(name, shards)?)),
        }
    }
}

impl Fence {
    /// Checks the name, and that the lock is where the write is carried out.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub fn check_shard(&self, shard: u32, shards: u32) -> Result<(), Problem> {
        validate_lock_name(&self.name)?;
        if lock_shard(&self.name, shards)? == shard {
            return Ok(());
        }
        Err(invalid(
            format!("the lock {} is in another shard than what is written", self.name.escape_ascii()),
            "give the lock and what it guards one tag, as in {order-17}/lock and {order-17}/total",
        ))
    }
}

/// A key is bound to a lease: it has room in the records, and the lease is in its shard.
pub(crate) fn validate_leased(key: &[u8]) -> Result<(), Problem> {
    if key.len() <= LEASED_KEY_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the key has {} bytes, and one that is bound to a lease at most {LEASED_KEY_BYTES_MAX}",
        key.len()
    );
    Err(invalid(message, "use a shorter key, or none with a lease"))
}

/// A lease has keys of its own shard alone.
pub(crate) fn same_shard(lease: LeaseId, shard: u32, shards: u32) -> Result<(), Problem> {
    if lease.shard(shards) == shard {
        return Ok(());
    }
    Err(invalid(
        format!(
            "lease {lease} is in shard {} of the keyspace, and the key in shard {shard}",
            lease.shard(shards)
        ),
        "grant the lease beside the key: leases have keys of one shard",
    ))
}

fn validate_lock_name(name: &[u8]) -> Result<(), Problem> {
    if !(1..=LOCK_NAME_BYTES_MAX).contains(&name.len()) || is_reserved_key(name) {
        return Err(invalid(
            format!(
                "a lock's name has 1 to {LOCK_NAME_BYTES_MAX} bytes and does not begin with 8 bytes 0xff"
            ),
            "use another name",
        ));
    }
    Ok(())
}

/// All keys of a lock are in one shard.
fn lock_shard(name: &[u8], shards: u32) -> Result<u32, Problem> {
    if shards == 1 || has_tag(name) {
        return Ok(shard_of(name, shards));
    }
    Err(invalid(
        format!("the lock {} has no tag, and the keyspace {shards} shards", name.escape_ascii()),
        "put a tag into its name, as in {order-17}/lock: what is in braces alone says which shard it is in",
    ))
}
