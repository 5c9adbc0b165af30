//! Whether what a node answered is what was predicted.

use node::Reply;
use types::{
    Applied, Guarantee,
    plan::{Asked, Outcome, Stale},
};

use super::Told;

/// What every answer may take beside what is predicted: a healthy cluster's answer, and the turns of a node's loop.
const SLACK_MS: u64 = 250;
/// Before the faults a replica proves its age at least as often as this.
const PROOF_MS: u64 = 1_500;

/// When an operation was asked.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// So long after the faults began.
    pub since_ms: u64,
    /// How long its client waited.
    pub timeout_ms: u64,
    /// Whether the faults are old enough for elections and refusals to have happened.
    pub settled: bool,
    /// Whether somebody wrote news since.
    pub news: bool,
}

/// Whether the answer (`None`: none came) fits.
///
/// # Errors
/// Where it does not.
pub fn compare(asked: Asked, outcome: &Outcome, told: Option<&Told>, when: When) -> Result<(), String> {
    let Some(told) = told else { return Err("no answer".into()) };
    let after_ms = told.after_us / 1_000;
    let within = |limit_ms: u64| {
        if after_ms <= limit_ms { Ok(()) } else { Err(format!("after {after_ms} ms, more than {limit_ms}")) }
    };
    match (outcome, &told.result) {
        (Outcome::Served { added_ms_min, added_ms_max, wait_ms, stale, .. }, Ok(reply)) => {
            let wait_ms = if when.settled { 0 } else { *wait_ms };
            within(wait_ms + added_ms_max + SLACK_MS)?;
            if after_ms < *added_ms_min {
                return Err(format!("after {after_ms} ms, before {added_ms_min}"));
            }
            check_answer(asked, *stale, told.found(), reply, when)
        }
        (Outcome::Served { or_refused_first: true, .. }, Err(problem))
            if !when.settled && problem.code == types::ErrorCode::NoQuorum =>
        {
            Ok(())
        }
        (Outcome::Until { ms }, Ok(reply)) => {
            if when.since_ms > *ms {
                return Err(format!("served {} ms after the faults", when.since_ms));
            }
            check_age(*ms, reply)
        }
        (Outcome::Until { ms }, Err(problem)) => {
            if when.since_ms + PROOF_MS < *ms {
                return Err(format!("{problem}, though its proof should do"));
            }
            if problem.code != types::ErrorCode::TooStale || problem.applied != Applied::NotApplied {
                return Err(format!("{problem} ({:?})", problem.applied));
            }
            if when.settled { within(SLACK_MS) } else { Ok(()) }
        }
        (Outcome::Refused { code, applied, within_ms }, Err(problem)) => {
            // A write under an idempotency key may have been tried before.
            let tried = !when.settled && problem.applied == Applied::Unknown;
            // An answer in time may know more.
            let knows_more = *applied == Applied::Unknown && problem.applied == Applied::Applied;
            let fits = problem.applied == *applied || tried || knows_more;
            if problem.code != *code || !fits {
                return Err(format!("{problem} ({:?})", problem.applied));
            }
            match within_ms {
                Some(_) if when.settled => within(SLACK_MS),
                Some(within_ms) => within(within_ms + SLACK_MS),
                None if after_ms + 2 * SLACK_MS < when.timeout_ms => {
                    Err(format!("after {after_ms} ms already"))
                }
                None => within(when.timeout_ms + SLACK_MS),
            }
        }
        (_, Ok(reply)) => Err(format!("served after {after_ms} ms: {:?}", reply.body)),
        (_, Err(problem)) => Err(format!("{problem} ({:?}) after {after_ms} ms", problem.applied)),
    }
}

fn check_answer(
    asked: Asked,
    stale: Stale,
    found: Option<bool>,
    reply: &Reply,
    when: When,
) -> Result<(), String> {
    let delivered = reply.receipt.delivered;
    match (asked, stale) {
        (Asked::Strong, _) if delivered != Guarantee::Linearizable => {
            Err(format!("a strong read delivered {delivered:?}"))
        }
        (Asked::Strong | Asked::Causal | Asked::CausalBeyond | Asked::Bounded(_), _)
            if found == Some(false) =>
        {
            Err("what was written is not in the answer".into())
        }
        (Asked::Bounded(ms), _) => check_age(ms, reply),
        (Asked::Eventual, Stale::Cut) if when.news && found == Some(true) => {
            Err("news from beyond the cut".into())
        }
        (Asked::Eventual, Stale::Lag) if when.news && when.settled && found == Some(false) => {
            Err("no news, though there is a leader".into())
        }
        _ => Ok(()),
    }
}

fn check_age(bound_ms: u64, reply: &Reply) -> Result<(), String> {
    match reply.receipt.staleness_ms {
        Some(staleness_ms) if staleness_ms <= bound_ms => Ok(()),
        staleness_ms => Err(format!("staleness {staleness_ms:?} where {bound_ms} ms are the bound")),
    }
}
