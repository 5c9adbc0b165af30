//! What a node answers: for one leader, and then for all that may lead.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::{Asked, Case};
use crate::{Applied, ErrorCode, NodeId, Timing, contract::Ack};

/// What comes of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Served {
        /// At least so much later than in the healthy cluster: it waits for a slow node.
        added_ms_min: u64,
        /// At most so much later: who leads decides.
        added_ms_max: u64,
        /// At first it may also wait so long for an election.
        wait_ms: u64,
        /// Or be refused with `NO_QUORUM` while that lasts.
        or_refused_first: bool,
        /// How old the answer may be.
        stale: Stale,
    },
    /// Reads are served while the replica can prove that it is no older than the bound, at most so long after the
    /// faults began; then refused with `TOO_STALE`.
    Until {
        /// How long.
        ms: u64,
    },
    /// A watch stays open, and is told nothing new.
    Silent,
    /// It is refused.
    Refused {
        /// With this code.
        code: ErrorCode,
        /// Whether it took effect though.
        applied: Applied,
        /// Within so long at first, and at once from then on; `None`: at its deadline. Never later than that.
        within_ms: Option<u64>,
    },
    /// It depends on who leads, or whether somebody does.
    Depends {
        /// What it may be refused with; none for a watch, which may be told nothing.
        codes: Vec<ErrorCode>,
    },
    /// The node is down.
    Down,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    /// It is the newest there is, or no read at all.
    No,
    /// No older than the bound that was asked for.
    Bound,
    /// It has what the session knows; otherwise as [`Stale::Lag`], or [`Stale::Cut`] behind a cut.
    Session,
    /// As far behind as the replica is: it follows a leader.
    Lag,
    /// As old as the faults, and what the replica lagged before: nothing new arrives.
    Cut,
}

impl Outcome {
    fn served(added_ms: u64, stale: Stale) -> Outcome {
        Outcome::Served {
            added_ms_min: added_ms,
            added_ms_max: added_ms,
            wait_ms: 0,
            or_refused_first: false,
            stale,
        }
    }

    /// Whether a request is answered with success, whoever leads.
    pub fn is_served(&self) -> bool {
        matches!(self, Outcome::Served { .. })
    }

    fn codes(&self) -> Vec<ErrorCode> {
        match self {
            Outcome::Refused { code, .. } => vec![*code],
            Outcome::Depends { codes } => codes.clone(),
            Outcome::Until { .. } => vec![ErrorCode::TooStale],
            _ => Vec::new(),
        }
    }

    /// What is known if either may come.
    pub fn or(self, other: Outcome) -> Outcome {
        match (self, other) {
            (one, other) if one == other => one,
            (
                Outcome::Served { added_ms_min, added_ms_max, wait_ms, or_refused_first, stale },
                Outcome::Served {
                    added_ms_min: min,
                    added_ms_max: max,
                    wait_ms: wait,
                    or_refused_first: refused,
                    stale: old,
                },
            ) => Outcome::Served {
                added_ms_min: added_ms_min.min(min),
                added_ms_max: added_ms_max.max(max),
                wait_ms: wait_ms.max(wait),
                or_refused_first: or_refused_first || refused,
                stale: stale.max(old),
            },
            (one, other) => {
                let codes: BTreeSet<ErrorCode> = one.codes().into_iter().chain(other.codes()).collect();
                Outcome::Depends { codes: codes.into_iter().collect() }
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Served { added_ms_min, added_ms_max, stale, .. } => {
                f.write_str("served")?;
                match (added_ms_min, added_ms_max) {
                    (0, 0) => {}
                    (min, max) if min == max => write!(f, ", +{max} ms")?,
                    (min, max) => write!(f, ", +{min} to {max} ms")?,
                }
                if *stale == Stale::Cut { f.write_str(", old") } else { Ok(()) }
            }
            Outcome::Until { ms } => write!(f, "served up to {ms} ms, then TOO_STALE"),
            Outcome::Silent => f.write_str("open, told nothing new"),
            Outcome::Refused { code, within_ms: None, .. } => write!(f, "applied, but {code}"),
            Outcome::Refused { code, .. } => write!(f, "{code}"),
            Outcome::Depends { codes } if codes.is_empty() => f.write_str("as told, or nothing new"),
            Outcome::Depends { codes } => {
                let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
                write!(f, "served, or {}", codes.join(" or "))
            }
            Outcome::Down => f.write_str("down"),
        }
    }
}

impl Case<'_> {
    /// What a node answers to an operation.
    pub fn outcome(&self, node: NodeId, asked: Asked) -> Outcome {
        if self.faults.is_down(node) {
            return Outcome::Down;
        }
        // The list of keyspaces has a group of its own, with a leader of its own.
        if asked == Asked::Keyspaces && self.leader.is_some() {
            return Case { leader: None, ..self.clone() }.outcome(node, asked);
        }
        let leaders = self.reach().leaders();
        let nobody = (leaders.who.is_empty() || leaders.maybe_none).then_some(None);
        let each = leaders.who.iter().map(|leader| Some(*leader)).chain(nobody);
        let all = each.map(|leader| self.led(leader, node, asked)).reduce(Outcome::or);
        let mut outcome = all.expect("one of them leads, or nobody");
        if self.needs_leader(asked) {
            self.wait_first(&mut outcome);
        }
        outcome
    }

    /// Says how long an outcome may be waited for at first.
    pub fn wait_first(&self, outcome: &mut Outcome) {
        if let Outcome::Served { wait_ms, or_refused_first, .. } = outcome {
            *wait_ms = self.wait_ms();
            *or_refused_first = *wait_ms > self.timing.no_quorum_after_ms + self.timing.election_min_ms();
        }
    }

    /// A write that is acknowledged early is answered before a majority has it, unless a quota must be held.
    fn acknowledged(&self, ack: Ack) -> Ack {
        match ack {
            Ack::None | Ack::Leader if self.contract.quota_bytes.is_some() => Ack::Quorum,
            ack => ack,
        }
    }

    fn needs_leader(&self, asked: Asked) -> bool {
        match asked {
            Asked::Write(ack) => self.acknowledged(ack) != Ack::None,
            Asked::Causal | Asked::Eventual | Asked::Watch => false,
            _ => true,
        }
    }

    /// What a node that is up answers once this one leads, or nobody.
    pub fn led(&self, leader: Option<NodeId>, node: NodeId, asked: Asked) -> Outcome {
        let reach = self.reach();
        let Some(leader) = leader.filter(|leader| reach.linked(node, *leader)) else {
            return self.leaderless(asked);
        };
        // There and back, and then the slowest of those that are needed.
        let there_ms = reach.delay_ms(node, leader);
        let circle = reach.circle(leader);
        let majority_ms = there_ms + circle.get(reach.majority() - 1).copied().unwrap_or(0);
        let read_ms = if node == leader { majority_ms } else { Timing::forwarded_within_ms(majority_ms) };
        match asked {
            Asked::Write(ack) => match self.acknowledged(ack) {
                Ack::None => Outcome::served(0, Stale::No),
                Ack::Leader => Outcome::served(there_ms, Stale::No),
                Ack::Quorum => Outcome::served(majority_ms, Stale::No),
                Ack::All if circle.len() < self.replicas.len() => Outcome::Refused {
                    code: ErrorCode::DeadlineExceeded,
                    // What the leader knows of it may come too late over a slow link.
                    applied: if there_ms == 0 { Applied::Applied } else { Applied::Unknown },
                    within_ms: None,
                },
                Ack::All => {
                    let last_ms = circle.last().copied().unwrap_or(0);
                    Outcome::served(there_ms + last_ms, Stale::No)
                }
            },
            Asked::Transaction | Asked::Lock => Outcome::served(majority_ms, Stale::No),
            // A leader that has a lease asks nobody.
            Asked::Strong if self.contract.lease_reads => {
                Outcome::served(there_ms, Stale::No).or_slower(read_ms)
            }
            Asked::Strong | Asked::KeepAlive | Asked::Keyspaces => {
                Outcome::served(majority_ms, Stale::No).or_slower(read_ms)
            }
            Asked::Causal => Outcome::served(0, Stale::Session),
            // Its own replica may have it by now, or prove its age; else the leader is asked.
            Asked::CausalBeyond => Outcome::served(0, Stale::Session).or_slower(read_ms),
            Asked::Bounded(_) => Outcome::served(0, Stale::Bound).or_slower(read_ms),
            Asked::Eventual | Asked::Watch => Outcome::served(0, Stale::Lag),
        }
    }

    /// What a node that is up answers while it knows of no leader.
    fn leaderless(&self, asked: Asked) -> Outcome {
        let refused = |code| Outcome::Refused {
            code,
            applied: Applied::NotApplied,
            within_ms: Some(self.timing.refused_within_ms()),
        };
        match asked {
            Asked::Write(ack) if self.acknowledged(ack) == Ack::None => Outcome::served(0, Stale::No),
            Asked::Write(_)
            | Asked::Transaction
            | Asked::Strong
            | Asked::Lock
            | Asked::KeepAlive
            | Asked::Keyspaces => refused(ErrorCode::NoQuorum),
            Asked::Causal => Outcome::served(0, Stale::Session),
            Asked::CausalBeyond => refused(ErrorCode::TooStale),
            Asked::Bounded(ms) => Outcome::Until { ms },
            Asked::Eventual => Outcome::served(0, Stale::Cut),
            Asked::Watch => Outcome::Silent,
        }
    }
}

impl Outcome {
    /// Served as it is, or up to so much later.
    fn or_slower(self, added_ms: u64) -> Outcome {
        self.or(Outcome::served(added_ms, Stale::No))
    }
}
