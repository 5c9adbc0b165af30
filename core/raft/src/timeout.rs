//! Randomized election timeouts (thesis 3.4) from a seeded generator.
//!
//! The engine draws its own from a thread-local generator whenever its term or role changes. Ours
//! replaces it after every call into the engine; a new one is drawn when term or role changed,
//! which unlike comparing values does not depend on what the engine drew.

use raft::StateRole;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use types::{GroupId, NodeId};

pub(crate) struct ElectionTimeout {
    rng: ChaCha8Rng,
    election_ticks: usize,
    drawn_for: (u64, StateRole),
    ticks: usize,
}

impl ElectionTimeout {
    pub fn new(seed: u64, group: GroupId, node: NodeId, election_ticks: usize) -> ElectionTimeout {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip([seed, group.0, node.0, 0]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let mut timeout = ElectionTimeout {
            rng: ChaCha8Rng::from_seed(bytes),
            election_ticks,
            drawn_for: (0, StateRole::Follower),
            ticks: 0,
        };
        timeout.draw();
        timeout
    }

    /// The timeout for this term and role, in ticks.
    pub fn ticks(&mut self, term: u64, role: StateRole) -> usize {
        if self.drawn_for != (term, role) {
            self.drawn_for = (term, role);
            self.draw();
        }
        self.ticks
    }

    fn draw(&mut self) {
        let range = self.election_ticks as u64;
        self.ticks = self.election_ticks + (self.rng.next_u64() % range) as usize;
    }
}
