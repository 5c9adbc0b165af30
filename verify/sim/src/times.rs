//! What receipts say of time, held against what each node's wall clock was seen to say.
//!
//! Guarantee G-HLC: an answer's `hlc` is greater than that of every answer that its request's session knew of, unless
//! that was more than the bound ahead of all that the answering node's wall clock had said; and it is never further
//! ahead itself.

use std::collections::BTreeMap;

use types::{Hlc, NodeId, Receipt, SessionToken, clock::HLC_DRIFT_MS_MAX};

use crate::failure::Broken;

/// The greatest reading of a node's wall clock in a boot.
type Walls = BTreeMap<NodeId, (u64, u64)>;

/// See the module.
#[derive(Debug, Default)]
pub struct Times {
    walls: Walls,
    /// What the wall clocks had said when a request came, by its token.
    asked: BTreeMap<u64, Walls>,
    /// Answers that had to follow their session's time.
    pub followed: u64,
}

impl Times {
    /// A node is told the time.
    pub fn on_clock(&mut self, node: NodeId, boot: u64, wall_ms: u64) {
        let known = self.walls.entry(node).or_default();
        *known = if known.0 == boot { (boot, known.1.max(wall_ms)) } else { (boot, wall_ms) };
    }

    /// A request comes to a node.
    pub fn on_request(&mut self, token: u64) {
        self.asked.insert(token, self.walls.clone());
    }

    /// It is answered.
    ///
    /// # Errors
    /// When the answer's time is not after the session's, or too far ahead.
    pub fn on_reply(&mut self, token: u64, session: &SessionToken, receipt: &Receipt) -> Result<(), Broken> {
        let Some(asked) = self.asked.remove(&token) else { return Ok(()) };
        let told = |walls: &Walls| walls.get(&receipt.served_by).copied();
        let (before, now) = (told(&asked), told(&self.walls));
        let wrong = |message: String| Err(Broken::safety("hlc_follows_causality", message));
        if receipt.session.hlc() < receipt.hlc {
            return wrong(format!("the session does not carry the time: {receipt:?}"));
        }
        // An answer from an earlier boot, or from several nodes, cannot be held against one clock.
        let (Some((boot, before_ms)), Some((boot_now, now_ms)), None) = (before, now, receipt.shards) else {
            return Ok(());
        };
        if boot != boot_now {
            return Ok(());
        }
        // The next millisecond: so many events that the counter carries.
        if receipt.hlc > Hlc::at_ms(now_ms + HLC_DRIFT_MS_MAX + 1) {
            return wrong(format!("the wall clock said {now_ms} at most: {receipt:?}"));
        }
        let must_follow = session.hlc().wall_ms() <= before_ms + HLC_DRIFT_MS_MAX;
        self.followed += u64::from(must_follow && session.hlc() != Hlc::ZERO);
        if must_follow && receipt.hlc <= session.hlc() {
            return wrong(format!(
                "the session knew of {}, and the wall clock had said {before_ms}: {receipt:?}",
                session.hlc()
            ));
        }
        Ok(())
    }
}
