//! Is there an order of the transactions in which lists and registers with keys would have been as they were
//! seen?
//!
//! Lists that are only appended to tell their own history: a read shows every version before it, in order.
//! So what a transaction must come before or after follows from what was seen, without search (Kingsbury
//! and Alvaro, "Elle", VLDB 2020): it comes after those whose versions it saw or overwrote, and before
//! those who overwrote what it saw. A cycle of such dependencies is an anomaly; its kind, by Adya ("Weak
//! consistency", 1999), says how bad it is, and which isolation excludes it; of snapshot isolation that is by
//! Cerone and Gotsman ("Analysing snapshot isolation", 2016). Without any, the order is found.
//!
//! Registers tell the order of their versions in part only. What follows from that part is inferred (`infer`);
//! a cycle proves that there is no order. If there is none, an order is looked for (`order`), and
//! [`TransactionVerdict::Valid`] says that it was found.

mod cycles;
mod graph;
mod history;
mod infer;
mod json;
mod lists;
mod order;
mod registers;
mod versions;
mod view;
mod words;

use std::fmt;

pub use history::{Outcome, Seen, Step, Transaction, TransactionHistory};
pub(crate) use json::add;

use crate::arrows::Arrow;
use crate::history::OpId;
use cycles::Cycle;
use graph::{Edge, Graph, Kind, Why, node};
use infer::{Inferred, WORDS_MAX};
use versions::{Direct, LostUpdate, Versions};
use words::Words;

/// Most dependencies that are looked at.
pub const EDGES_MAX: usize = 10_000_000;
/// Most steps of the search for a smaller cycle of one kind than was found.
const STEPS_MAX: u64 = 10_000_000;

/// What is asked of a history of transactions, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Nobody saw what was aborted, or not finished, and what was seen and overwritten goes in no cycle.
    ReadCommitted,
    /// Each read from one moment, and wrote at another, and of those that wrote one key no two overlap.
    SnapshotIsolation,
    /// Some serial order explains what was seen.
    Serializable,
    /// One in which, also, who had ended comes before who began after that.
    StrictSerializable,
}

/// What went wrong, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// What nobody wrote was read.
    Invented,
    /// A list holds one element twice.
    Duplicate,
    /// Two reads saw lists of which neither is the beginning of the other; or revisions contradict.
    IncompatibleOrder,
    /// A transaction does not see its own writes, or not in order, or sees a key change under it.
    Internal,
    /// Transactions overwrote each other in a cycle: a dirty write.
    G0,
    /// What was aborted was built on.
    DirtyUpdate,
    /// What was aborted was read.
    G1a,
    /// What a transaction had not finished was read.
    G1b,
    /// A cycle of overwriting and reading.
    G1c,
    /// Two transactions read the same version of a key, and both wrote the key.
    LostUpdate,
    /// A cycle in which exactly one transaction missed what another wrote: as read skew.
    GSingle,
    /// A cycle in which several did, but no two in a row: as a long fork.
    GNonadjacent,
    /// A cycle in which several did: as write skew.
    G2Item,
    /// As [`Anomaly::G0`], against real time.
    G0Realtime,
    /// As [`Anomaly::G1c`], against real time.
    G1cRealtime,
    /// As [`Anomaly::GSingle`], against real time: as a stale read.
    GSingleRealtime,
    /// As [`Anomaly::GNonadjacent`], against real time.
    GNonadjacentRealtime,
    /// As [`Anomaly::G2Item`], against real time.
    G2ItemRealtime,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Anomaly::Invented => "invented",
            Anomaly::Duplicate => "duplicate",
            Anomaly::IncompatibleOrder => "incompatible-order",
            Anomaly::Internal => "internal",
            Anomaly::G0 => "G0",
            Anomaly::DirtyUpdate => "dirty-update",
            Anomaly::G1a => "G1a",
            Anomaly::G1b => "G1b",
            Anomaly::G1c => "G1c",
            Anomaly::LostUpdate => "lost-update",
            Anomaly::GSingle => "G-single",
            Anomaly::GNonadjacent => "G-nonadjacent",
            Anomaly::G2Item => "G2-item",
            Anomaly::G0Realtime => "G0-realtime",
            Anomaly::G1cRealtime => "G1c-realtime",
            Anomaly::GSingleRealtime => "G-single-realtime",
            Anomaly::GNonadjacentRealtime => "G-nonadjacent-realtime",
            Anomaly::G2ItemRealtime => "G2-item-realtime",
        })
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum TransactionVerdict {
    /// There is an order.
    Valid,
    /// There is none.
    Invalid(Contradiction),
    /// It could not be decided: neither a pass nor a failure.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Transactions that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The worst that went wrong.
    pub anomaly: Anomaly,
    /// For people. Several lines.
    pub explanation: String,
    /// Those concerned; of a cycle, in its order, then those from which a part of it follows.
    pub transactions: Vec<OpId>,
    /// Those that contradict.
    pub culprits: Vec<OpId>,
    /// Which of them has to come before which.
    pub arrows: Vec<Arrow>,
}

impl fmt::Display for TransactionVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransactionVerdict::Valid => f.write_str("valid"),
            TransactionVerdict::Invalid(found) => write!(f, "INVALID: {}", found.explanation),
            TransactionVerdict::Unknown { reason } => write!(f, "UNKNOWN, which is no pass: {reason}"),
        }
    }
}

/// Checks a history. Memory and time are proportional to what was read and to the dependencies, of which
/// [`EDGES_MAX`] at most are looked at; of registers whose order is not told, also to writers times
/// dependencies, to a limit of some seconds.
pub fn check_transactions(history: &TransactionHistory, isolation: Isolation) -> TransactionVerdict {
    let versions = match Versions::of(history) {
        Ok(versions) => versions,
        Err(reason) => return TransactionVerdict::Unknown { reason },
    };
    let direct = versions.worst(isolation);
    if let Some(direct) = direct.filter(|direct| direct.anomaly < Anomaly::G0) {
        return TransactionVerdict::Invalid(of_direct(history, direct));
    }
    let search = Search { history, versions: &versions, isolation };
    let found = match search.run() {
        Ok(cycle) => cycle,
        Err(reason) if direct.is_none() => return TransactionVerdict::Unknown { reason },
        Err(_) => None,
    };
    match (direct, found) {
        (Some(direct), found) if found.as_ref().is_none_or(|found| direct.anomaly < found.anomaly) => {
            TransactionVerdict::Invalid(of_direct(history, direct))
        }
        (_, Some(found)) => TransactionVerdict::Invalid(found),
        (_, None) => match &versions.unclear {
            Some(reason) => TransactionVerdict::Unknown { reason: reason.clone() },
            None => TransactionVerdict::Valid,
        },
    }
}

/// The search for a cycle, or for an order.
struct Search<'a> {
    history: &'a TransactionHistory,
    versions: &'a Versions<'a>,
    isolation: Isolation,
}

impl Search<'_> {
    /// The worst that was found; `None` if there is an order. `Err` is why that is not known.
    fn run(&self) -> Result<Option<Contradiction>, String> {
        let strict = self.isolation == Isolation::StrictSerializable;
        let mut graph = self.graph(false)?;
        // Two passes, so that what real time has no part in is called by its plain name.
        let mut worst = self.lost_update(&graph);
        let cycle = cycles::worst(&graph, self.isolation, false);
        worst = worse(worst, cycle.map(|cycle| self.told(&graph, &cycle)));
        if worst.is_none() && strict {
            graph = self.graph(true)?;
            let cycle = cycles::worst(&graph, self.isolation, true);
            worst = cycle.map(|cycle| self.told(&graph, &cycle));
        }
        match worst {
            Some(found) if found.anomaly != Anomaly::G2Item && found.anomaly != Anomaly::G2ItemRealtime => {
                Ok(Some(found))
            }
            // By what follows it may have a worse name.
            worst => self.infer(graph, worst),
        }
    }

    fn graph(&self, real_time: bool) -> Result<Graph, String> {
        Graph::of(self.history, self.versions, real_time)
            .ok_or_else(|| format!("there are more than {EDGES_MAX} dependencies between transactions"))
    }

    /// Looks for an order where the order of versions is known in part, and if there seems to be none, for
    /// what proves it.
    fn infer(&self, mut graph: Graph, found: Option<Contradiction>) -> Result<Option<Contradiction>, String> {
        let free = infer::free(self.versions);
        let split = self.isolation == Isolation::SnapshotIsolation;
        // Any order in which there is no cycle will do for read committed; for the others, if nothing is open.
        let told = free.iter().all(|key| key.readings.is_empty()) && (!split || free.is_empty());
        if self.isolation == Isolation::ReadCommitted || (told && found.is_none()) {
            return Ok(found);
        }
        let order =
            |graph: &Graph, split| order::found(self.history, graph, &free, split, &self.versions.happened);
        // A serial order explains what is snapshot isolated too, and one by time is likely in any store.
        let strict = self.isolation == Isolation::StrictSerializable;
        let mut timed = None;
        if found.is_none() {
            if order(&graph, false) {
                return Ok(None);
            }
            timed = if strict { None } else { self.graph(true).ok() };
            let by_time = timed.as_ref().is_some_and(|timed| order(timed, false));
            if by_time || (split && order(&graph, true)) {
                return Ok(None);
            }
        }
        // The first round is that of real time.
        let (mut round, mut words) = (1, WORDS_MAX);
        for split in [true, false] {
            if !split && (self.isolation == Isolation::SnapshotIsolation || found.is_some()) {
                break;
            }
            match infer::infer(&mut graph, &free, split, &mut round, &mut words) {
                Inferred::Cycle => {
                    if let Some(cycle) = cycles::inferred(&graph, split) {
                        return Ok(worse(found, Some(self.told(&graph, &cycle))));
                    }
                }
                Inferred::GaveUp if found.is_none() => {
                    return Err(
                        "too much follows from what was seen, and no order was found before".to_owned()
                    );
                }
                Inferred::All | Inferred::GaveUp => {}
            }
        }
        if found.is_some() || order(&graph, split) || (split && order(&graph, false)) {
            return Ok(found);
        }
        if let Some(mut timed) = timed
            && infer::infer(&mut timed, &free, false, &mut round, &mut words) == Inferred::All
            && order(&timed, false)
        {
            return Ok(None);
        }
        Err("no contradiction is proven, and no order was found: the order in which keys were written is not \
             told; let reads precede writes, or tell revisions"
            .to_owned())
    }

    fn lost_update(&self, graph: &Graph) -> Option<Contradiction> {
        let lost = self.versions.lost_update().filter(|_| self.isolation >= Isolation::SnapshotIsolation)?;
        let LostUpdate { key, transactions: [first, second], position } = lost;
        let why = Why::Both(u32::try_from(position).expect("a list is shorter than a history"));
        let key = u32::try_from(key).expect("a history has fewer keys");
        let edge = |from, to| Edge { from: node(from), to: node(to), kind: Kind::Rw, key, why };
        let edges = vec![edge(first, second), edge(second, first)];
        Some(self.told(graph, &Cycle { anomaly: Anomaly::LostUpdate, edges }))
    }

    fn told(&self, graph: &Graph, cycle: &Cycle) -> Contradiction {
        let words = Words { history: self.history, versions: self.versions, graph };
        let explained = words.explain(cycle);
        Contradiction {
            anomaly: cycle.anomaly,
            explanation: explained.text,
            culprits: explained.transactions[..cycle.edges.len()].to_vec(),
            transactions: explained.transactions,
            arrows: explained.arrows,
        }
    }
}

fn worse(one: Option<Contradiction>, other: Option<Contradiction>) -> Option<Contradiction> {
    [one, other].into_iter().flatten().min_by_key(|found| found.anomaly)
}

fn of_direct(history: &TransactionHistory, direct: &Direct) -> Contradiction {
    let mut explanation = format!("{}: {}", direct.anomaly, direct.text);
    for id in &direct.transactions {
        explanation.push_str(&format!("\n  {}", history.transactions()[id.0]));
    }
    let transactions = direct.transactions.clone();
    let culprits = transactions.clone();
    Contradiction { anomaly: direct.anomaly, explanation, transactions, culprits, arrows: Vec::new() }
}
