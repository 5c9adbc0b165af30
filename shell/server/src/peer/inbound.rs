//! Which connection each peer sends on: at most one, the newest.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard},
};

use tokio::sync::oneshot;
use types::NodeId;

/// A connection's claim to be its peer's only one; resolves, with a reason, when it has to close.
pub struct Claim {
    /// Which claim.
    pub number: u64,
    /// Why to close.
    pub close: oneshot::Receiver<String>,
}

/// The accepted connections by peer.
#[derive(Default)]
pub struct Inbound {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    claims: u64,
    current: BTreeMap<NodeId, (u64, oneshot::Sender<String>)>,
}

impl Inbound {
    /// Makes a new connection the peer's only one; an older one is told to close.
    pub fn claim(&self, peer: NodeId) -> Claim {
        let (sender, close) = oneshot::channel();
        let mut state = self.state();
        state.claims += 1;
        let number = state.claims;
        if let Some((_, older)) = state.current.insert(peer, (number, sender)) {
            // It may have ended by itself already.
            let _ = older.send("the peer connected again".into());
        }
        Claim { number, close }
    }

    /// Tells the peer's connection, if there is one, to close.
    pub fn close(&self, peer: NodeId, reason: &str) {
        if let Some((_, connection)) = self.state().current.remove(&peer) {
            let _ = connection.send(reason.into());
        }
    }

    /// The connection ended.
    pub fn release(&self, peer: NodeId, number: u64) {
        if let Entry::Occupied(entry) = self.state().current.entry(peer)
            && entry.get().0 == number
        {
            entry.remove();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the connections")
    }
}
