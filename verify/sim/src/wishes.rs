//! What an ordinary client does next: any operation, of a kind that this world's clients do, to any node.

use check::Action;
use scenario::Kind;
use types::NodeId;

use crate::{
    brief::{self, Ask},
    clients::{Clients, TTLS_S, Wish},
    early,
    plan::{CONFIGURED, PLAIN, SHARDED},
    together::{self, TOGETHER},
    transfer::Transfer,
};

/// The keyspace and number of the hot key, where there is one.
const HOT: (usize, u64) = (0, 0);

impl Wish {
    /// Of which kind it is; `None`: what every kind needs.
    fn kind(&self) -> Option<Kind> {
        match self {
            Wish::One(action) if action.key() == TOGETHER => Some(Kind::Transactions),
            Wish::One(_) | Wish::Range(_) => Some(Kind::Registers),
            Wish::Early { .. } => Some(Kind::EarlyAcks),
            Wish::Stale { .. } => Some(Kind::Sessions),
            Wish::Create(_) => None,
            Wish::Transfer(_) | Wish::Audit { .. } => Some(Kind::Transactions),
            Wish::Brief { .. } => Some(Kind::Keyspaces),
            Wish::Hold(_) => Some(Kind::Locks),
            Wish::Tally(_) => Some(Kind::Counters),
        }
    }
}

impl Clients {
    /// Whether ordinary clients do anything while faults happen.
    pub fn have_work(&self) -> bool {
        let does = |kind| !self.idle.contains(&kind);
        [Kind::Registers, Kind::Sessions, Kind::Keyspaces, Kind::EarlyAcks].into_iter().any(does)
            || self.transactions
    }

    /// A client begins any operation, to any node.
    pub fn invoke_any(&mut self, client: usize, now_us: u64, nodes: u64) -> u64 {
        let node = NodeId(self.dice.below(nodes));
        // Who reads elsewhere what it just wrote is the first to miss it.
        if let Some((keyspace, key)) = self.wrote[client].take()
            && self.dice.chance(300)
        {
            let (wish, timeout_ms) = (Wish::One(Action::Read { key }), self.dice.pick(&[100, 500, 2_000]));
            return self.invoke(client, now_us, node, keyspace, wish, timeout_ms, None);
        }
        let (keyspace, wish) = loop {
            let (keyspace, wish) = self.any_wish(client, now_us);
            if wish.kind().is_none_or(|kind| !self.idle.contains(&kind)) {
                break (keyspace, wish);
            }
        };
        if matches!(wish, Wish::Brief { .. }) {
            let timeout_ms = self.dice.pick(&[500, 2_000, 4_000]);
            return self.invoke(client, now_us, node, keyspace, wish, timeout_ms, None);
        }
        let other = self.dice.below(self.count() as u64) as usize;
        match self.dice.below(100) {
            _ if self.idle.contains(&Kind::Sessions) => {}
            0..3 => self.sessions.forget(client),
            3..10 => self.sessions.hand_over(other, client),
            _ => {}
        }
        let timeout_ms = self.dice.pick(&[100, 500, 2_000, 4_000]);
        if let Wish::One(action) = &wish
            && !matches!(action, Action::Read { .. })
            && self.dice.chance(400)
        {
            self.begin_keyed(client, now_us, keyspace, action.clone());
        }
        self.invoke(client, now_us, node, keyspace, wish, timeout_ms, None)
    }

    /// A keyspace, and what to do there.
    fn any_wish(&mut self, client: usize, now_us: u64) -> (usize, Wish) {
        let hot = self.hot_key_per_mille > 0 && self.dice.chance(self.hot_key_per_mille);
        let keyspace = if hot { HOT.0 } else { self.dice.below(PLAIN as u64) as usize };
        // A transaction is of one shard.
        let transactions = self.transactions && keyspace != SHARDED;
        let number = if hot { HOT.1 } else { self.dice.below(self.keys + u64::from(transactions)) };
        let key = if number == self.keys { TOGETHER.to_string() } else { format!("k{number}") };
        let mut value = self.value();
        if key == TOGETHER {
            // Written several times over: three of the largest would not fit the smallest log.
            value.truncate(together::VALUE_BYTES_MAX);
        }
        if self.dice.chance(60) {
            let ask = Ask::draw(&mut self.dice, now_us, self.tokens + 1);
            return (keyspace, Wish::Brief { name: self.dice.pick(&brief::NAMES[..self.briefs]), ask });
        }
        let wish = match self.dice.below(100) {
            0..4 if keyspace >= CONFIGURED => Wish::Create(self.dice.pick(&TTLS_S)),
            4..14 => early::wish(&mut self.dice, value),
            0..24 => Wish::One(Action::Write { key, value }),
            24..36 => Wish::One(Action::Read { key }),
            36..48 if key != TOGETHER => Wish::Stale { key, read: self.stale_read() },
            36..48 => Wish::One(Action::Read { key }),
            48..56 => Wish::One(Action::Delete { key }),
            56..66 if transactions => {
                let known = self.audited[client].get(&keyspace).map(Vec::as_slice);
                Wish::Transfer(Transfer::draw(&mut self.dice, known))
            }
            66..72 if transactions => Wish::Audit { by_range: self.dice.chance(300) },
            56..96 => {
                let known = self.known[client].get(&(keyspace, key.clone())).copied();
                let expected_revision = if self.dice.chance(150) { 0 } else { known.unwrap_or(0) };
                Wish::One(Action::Cas { key, expected_revision, value })
            }
            _ => Wish::Range(self.keys()),
        };
        (keyspace, wish)
    }

    /// A value that no other write has.
    pub(crate) fn value(&mut self) -> String {
        let longest = if self.dice.chance(20) { 4 * self.value_bytes } else { self.value_bytes };
        let filler = self.dice.below(longest + 1) as usize;
        format!("v{}{}", self.tokens + 1, ".".repeat(filler))
    }
}
