//! Leaders with a lease, held against true time: while a node may answer reads without asking anyone, nobody leads a
//! later term. Guarantee G-READ-LEASE. Clocks here run within the bound that it trusts.

use raft_group::{LeasedRead, RaftGroup};
use types::{GroupId, Receipt, Role};

use crate::{failure::Broken, host::Host, plan::CONFIGURED};

/// Keyspaces that clients create have reads by lease, those of the configuration have not.
pub fn has_lease_reads(keyspace: usize) -> bool {
    keyspace >= CONFIGURED
}

/// A node was polled and leads a group: neither has another a lease of an earlier term, nor it, while another leads a later one.
/// Also a process that stands still may go on the next moment.
///
/// # Errors
/// When two could answer reads.
pub fn check(
    now_us: u64,
    hosts: &[Host],
    group: GroupId,
    host: &Host,
    raft: &RaftGroup,
) -> Result<(), Broken> {
    for other in hosts.iter().filter(|other| other.id != host.id) {
        let Some(others) = other.process.as_ref().and_then(|process| process.node.raft(group)) else {
            continue;
        };
        if others.role() != Role::Leader {
            continue;
        }
        let ((earlier, deposed), (later, leads)) = match raft.term() < others.term() {
            true => ((host, raft), (other, others)),
            false => ((other, others), (host, raft)),
        };
        if let Some(LeasedRead { left_ms, .. }) = deposed.read_by_lease(earlier.clock.now(now_us).mono_ms) {
            return Err(Broken::safety(
                "a_lease_is_the_last_leaders",
                format!(
                    "group {group}: node {} has a lease in term {} for {left_ms} ms more, and node {} leads term {}",
                    earlier.id,
                    deposed.term(),
                    later.id,
                    leads.term()
                ),
            ));
        }
    }
    Ok(())
}

/// Whether a receipt may say that its read rests on a lease: then it says that nobody was asked.
pub fn is_true(receipt: &Receipt, keyspace: usize, write: bool) -> bool {
    let Some(lease) = receipt.read_lease else { return true };
    let asked = receipt.acks.required > 0 || receipt.acks.got > 0;
    has_lease_reads(keyspace) && !write && !asked && lease.left_ms > 0
}
