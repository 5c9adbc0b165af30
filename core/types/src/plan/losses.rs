//! What could be lost of what was acknowledged before the faults.

use serde::Serialize;

use super::Case;
use crate::{NodeId, contract::Ack};

/// For writes that were acknowledged so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// When they were acknowledged.
    #[serde(serialize_with = "name")]
    pub ack: Ack,
    /// Whether any may be lost.
    pub possible: bool,
    /// Which, and who says so.
    pub what: String,
}

fn name<S: serde::Serializer>(ack: &Ack, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(ack.name())
}

/// What may be lost of writes that were acknowledged so.
pub(crate) fn of(case: &Case<'_>, ack: Ack) -> Loss {
    let reach = case.reach();
    let (copies, gone) = match ack {
        Ack::None | Ack::Leader => (1, case.faults.destroyed.len()),
        Ack::Quorum => (reach.majority(), case.faults.destroyed.len()),
        Ack::All => (case.replicas.len(), case.faults.destroyed.len()),
    };
    let (possible, what) = match ack {
        Ack::None => (true, "any: nothing is promised of them. One that is taken in where no leader is reached comes to nothing at its deadline".to_owned()),
        Ack::Leader if case.contract.quota_bytes.is_some() => {
            return Loss { ack, ..of(case, Ack::Quorum) };
        }
        Ack::Leader => early(case),
        _ if gone >= copies => {
            (true, format!("those that only the {gone} destroyed disks held: {copies} held each at least"))
        }
        Ack::All if gone > 0 => (false, format!("none: {gone} of the {copies} disks that hold each are destroyed")),
        _ if gone > 0 => (
            false,
            format!(
                "none: {gone} of at least {copies} disks that hold each are destroyed. A node whose disk was destroyed must not \
                 come back with an empty one under its old number"
            ),
        ),
        Ack::Quorum => (false, format!("none: each is on {copies} disks at least")),
        Ack::All => (false, format!("none: each is on all {copies} disks")),
    };
    Loss { ack, possible, what }
}

/// The writes that a leader acknowledged alone.
fn early(case: &Case<'_>) -> (bool, String) {
    let reach = case.reach();
    let leaders = reach.leaders();
    let all: Vec<NodeId> =
        case.leader.map_or_else(|| case.replicas.iter().copied().collect(), |leader| vec![leader]);
    let stays = |node: &NodeId| leaders.election.is_none() && leaders.who.contains(node);
    let deposed: Vec<NodeId> = all.into_iter().filter(|node| !stays(node)).collect();
    if deposed.is_empty() {
        return (false, "none: whoever leads goes on leading".to_owned());
    }
    let destroyed: Vec<NodeId> =
        deposed.iter().copied().filter(|node| case.faults.destroyed.contains(node)).collect();
    let mut what = match case.leader {
        Some(leader) => format!("those that node {leader}, which leads, has not replicated to a majority"),
        None => "those that the leader has not replicated to a majority, if it is lost, cut off or deposed"
            .to_owned(),
    };
    if !case.faults.cut.is_empty() {
        let ms = case.timing.election_max_ms();
        what += &format!("; a leader that is cut off acknowledges more for up to {ms} ms");
    }
    what += "; quorate lost-writes lists each once it is back";
    if !destroyed.is_empty() {
        let nodes = super::words::list(destroyed.iter());
        what += &format!(", which is never for {nodes}: the bound stays on the list");
    }
    (true, what)
}
