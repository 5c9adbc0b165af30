//! What clients do. Each client is a process of one history: it does one thing at a time, at a node that it draws
//! anew each time, and records what it asked and was told.

mod effects;
mod locks;
mod registers;
mod sessions;
mod transactions;
mod watches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    clock::Clock,
    door::Door,
    measure::Measure,
    record::{Kind, Recorder},
};

pub use effects::Effects;
pub use locks::{Locks, terms};
pub use registers::{Registers, completion, read, value_of};
pub use sessions::Sessions;
pub use transactions::{Transactions, keys_of, list_of};
pub use watches::Watches;

/// Keys are left for new ones after so long: histories of a key stay short, which judges them fast and sharp.
pub const EPOCH: Duration = Duration::from_secs(10);

/// How clients behave.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Keys at a time.
    pub keys: usize,
    /// Longest usual value.
    pub value_bytes: usize,
    /// Mean pause between operations.
    pub think: Duration,
    /// So many of a thousand operations go to one key.
    pub hot_key_per_mille: u16,
}

/// What every client has.
#[derive(Clone, Debug)]
pub struct Client {
    /// Which process of its history.
    pub process: u64,
    /// How it talks.
    pub door: Door,
    /// To whom.
    pub nodes: Vec<SocketAddr>,
    /// How it behaves.
    pub manner: Manner,
    /// Its history.
    pub recorder: Arc<Recorder>,
    /// Counts what it is told.
    pub measure: Arc<Measure>,
    /// Since when.
    pub clock: Clock,
    /// What it draws from.
    pub dice: fastrand::Rng,
    /// True once it is to stop.
    pub stop: watch::Receiver<bool>,
}

impl Client {
    /// A node, by chance.
    pub fn any_node(&mut self) -> SocketAddr {
        self.nodes[self.dice.usize(0..self.nodes.len())]
    }

    /// A key of now, by chance.
    pub fn any_key(&mut self, prefix: &str) -> String {
        let hot = self.dice.u16(0..1000) < self.manner.hot_key_per_mille;
        let key = if hot { 0 } else { self.dice.usize(0..self.manner.keys) };
        let epoch = self.clock.elapsed().as_secs() / EPOCH.as_secs();
        format!("{prefix}{epoch}-{key}")
    }

    /// Thinks. Returns false when it is to stop, or there is no room for more.
    pub async fn think(&mut self) -> bool {
        let pause = self.manner.think.mul_f64(self.dice.f64() * 2.0);
        // The other end is gone when waiting fails: then it is to stop as well.
        timeout(pause, self.stop.wait_for(|stop| *stop)).await.is_err() && !self.recorder.is_full()
    }

    /// Records an operation around its doing.
    pub fn invoke(&self, op: &Value) -> Instant {
        self.recorder.note(self.process, Kind::Invoke, op);
        Instant::now()
    }

    /// Records how it ended.
    pub fn complete(&self, began: Instant, kind: Kind, op: &Value, trouble: Option<&str>) {
        self.recorder.note(self.process, kind, op);
        self.measure.note(began.elapsed(), trouble);
    }
}
