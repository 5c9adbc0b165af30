//! Is there an order of causes that explains what clients saw? Causes are: what a session did and saw before, and
//! the writing of what was read; and causes of causes.
//!
//! Whether a history in which every value is written once is causally consistent is told by whether it has one of
//! a few bad patterns (Bouajjani, Enea, Guerraoui and Hamza, "On verifying causal consistency", POPL 2017). With
//! [`Agreement::Demanded`] all replicas must also agree on one order of the changes of each key (their CCv),
//! which is that of revisions where those are told.
//!
//! What a read owes is judged of those that must be causal or strong; what weaker ones show is a cause as well. A
//! change of unknown outcome happened if somebody read it, and is then no cause of what its session did after.
//! Where several deletes may be why a key is absent, a read of that is wrong only if it is whichever it was.

mod clocks;
mod conflicts;
mod words;

use std::fmt;

use crate::arrows::Arrow;
use crate::facts::{Facts, Shown};
use crate::history::{History, Op, OpId};

use clocks::{Causes, Full};

/// Entries of vector clocks that are kept, of four bytes; more is given up.
pub const CLOCK_ENTRIES_MAX: usize = 100_000_000;
/// Edges of the order that all replicas must agree on; more is given up.
pub const EDGES_MAX: usize = 20_000_000;

/// Whether replicas must agree on one order of the changes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// Not looked at.
    Ignored,
    /// They must.
    Demanded,
}

/// What went wrong: a bad pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// What was read came of what came of the read.
    CyclicCo,
    /// What was read nobody wrote.
    ThinAirRead,
    /// A key was read as absent, after a cause that it was written.
    WriteCoInitRead,
    /// What was read had been overwritten by a cause of the read.
    WriteCoRead,
    /// Replicas cannot have agreed on an order.
    CyclicCf,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pattern::CyclicCo => "CyclicCO",
            Pattern::ThinAirRead => "ThinAirRead",
            Pattern::WriteCoInitRead => "WriteCOInitRead",
            Pattern::WriteCoRead => "WriteCORead",
            Pattern::CyclicCf => "CyclicCF",
        })
    }
}

/// A history that no order of causes explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausalViolation {
    /// Which pattern it has.
    pub pattern: Pattern,
    /// For people. Several lines.
    pub explanation: String,
    /// The operations that show it, in order of invocation.
    pub shown: Vec<OpId>,
    /// Those that contradict the others.
    pub culprits: Vec<OpId>,
    /// Which came before which, and why.
    pub arrows: Vec<Arrow>,
}

/// What was found of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum CausalVerdict {
    /// It has none of the patterns.
    Valid,
    /// It has one.
    Invalid(CausalViolation),
    /// Not decided.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Judges a history, within [`CLOCK_ENTRIES_MAX`] and [`EDGES_MAX`].
pub fn check_causal(history: &History, agreement: Agreement) -> CausalVerdict {
    let facts = Facts::of(history);
    match find(&facts, agreement) {
        Ok(None) => match facts.ambiguous() {
            Some(reason) => CausalVerdict::Unknown { reason },
            None => CausalVerdict::Valid,
        },
        Ok(Some(violation)) => CausalVerdict::Invalid(violation),
        Err(Full(reason)) => CausalVerdict::Unknown { reason },
    }
}

fn find(facts: &Facts<'_>, agreement: Agreement) -> Result<Option<CausalViolation>, Full> {
    if let Some(violation) = read_of_nothing(facts) {
        return Ok(Some(violation));
    }
    let mut causes = Causes::new(facts);
    while let Some(read) = causes.next_read()? {
        if let Some(violation) = overwritten(facts, &causes, read) {
            return Ok(Some(violation));
        }
        if agreement == Agreement::Demanded {
            causes.note_conflicts(read)?;
        }
    }
    match agreement {
        Agreement::Ignored => Ok(None),
        Agreement::Demanded => conflicts::find(facts, causes.conflicts()),
    }
}

/// A read of what nobody had written. One that caused the very write is the worse of the two.
fn read_of_nothing(facts: &Facts<'_>) -> Option<CausalViolation> {
    let ops = facts.history.ops();
    let mut thin = None;
    for op in ops {
        match facts.shown[op.id.0] {
            Shown::Future(write) => {
                if let Some(path) = words::path(facts, op.id, write) {
                    return Some(words::cyclic(facts, &path));
                }
                thin = thin.or(Some((op.id, Some(write))));
            }
            Shown::Nobody => thin = thin.or(Some((op.id, None))),
            _ => {}
        }
    }
    thin.map(|(read, write)| words::thin_air(facts, read, write))
}

/// What a read shows has not been overwritten by a cause of the read.
fn overwritten(facts: &Facts<'_>, causes: &Causes<'_>, read: &Op) -> Option<CausalViolation> {
    match facts.shown[read.id.0] {
        Shown::Version(version) => {
            let newer =
                causes.known(read).find(|&change| change != version && causes.is_before(version, change))?;
            Some(words::overwritten(facts, Some(version), newer, read.id))
        }
        Shown::Absent => {
            let values: Vec<OpId> = causes.known_values(read).collect();
            let newest = *values.first()?;
            let (end, _) = read.answer()?;
            let may_explain = |delete: &OpId| {
                facts.op(*delete).invoked.position < end.position
                    && !values.iter().any(|&value| causes.is_before(*delete, value))
            };
            let deletes = facts.deletes(read.action.key());
            let explained = deletes.iter().rev().any(may_explain);
            (!explained).then(|| words::overwritten(facts, None, newest, read.id))
        }
        _ => None,
    }
}
