//! Leases and locks in the second reading of the log: which lease has which keys, and who holds which lock. No clock
//! is known to it. What clients were promised is held against it.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{Keys, LeaseCommand, Relation, Target, Txn, TxnOp};
use types::{GroupId, LeaseId, shard_of};

use crate::failure::Broken;

/// The leases and locks of one group.
#[derive(Debug, Default)]
pub struct Tenure {
    /// Keys of each lease, and the entry that granted it.
    leases: BTreeMap<LeaseId, (u64, BTreeSet<Vec<u8>>)>,
    /// Creation revision of each key, and whether it was created under the lease that its name ends with.
    keys: BTreeMap<Vec<u8>, (u64, bool)>,
    /// Entries that were fenced off.
    fenced: BTreeSet<u64>,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// How many shards its keyspace has, as far as it depends on it.
    pub shards: u32,
}

/// What a command about leases comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// No row of a client's changes.
    Nothing,
    /// The key of a lock is created.
    Created(Vec<u8>),
    /// A lease ended, with these keys. Its time was up, says a leader: the simulator's clients revoke none.
    Ended {
        /// Which.
        lease: LeaseId,
        /// The rows that go.
        keys: Vec<Vec<u8>>,
    },
}

impl Tenure {
    /// Whether there is such a lease.
    pub fn has(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// Leases that there are.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// The first entry up to this one that was fenced off.
    pub fn first_fenced(&self, up_to: u64) -> Option<u64> {
        self.fenced.range(..=up_to).next().copied()
    }

    /// Whether an entry under this fence counts.
    pub fn admits(&mut self, index: u64, name: &[u8], token: u64) -> bool {
        let places = self.keys.iter().filter(|(key, (_, place))| *place && lock_of(key) == Some(name));
        let holder = places.map(|(_, (created, _))| *created).min();
        if holder != Some(token) {
            self.fenced.insert(index);
        }
        holder == Some(token)
    }

    /// A key is set by the entry that makes this revision, under a lease or none.
    pub fn put(&mut self, key: &[u8], revision: u64, lease: Option<LeaseId>) {
        for (id, (_, keys)) in &mut self.leases {
            if lease == Some(*id) {
                keys.insert(key.to_vec());
            } else {
                keys.remove(key);
            }
        }
        let own = lease.is_some_and(|lease| key.ends_with(format!("/{lease}").as_bytes()));
        self.keys.entry(key.to_vec()).or_insert((revision, own));
    }

    /// A key is set by the entry that makes this revision, and stays bound as it is.
    pub fn keep(&mut self, key: &[u8], revision: u64) {
        self.keys.entry(key.to_vec()).or_insert((revision, false));
    }

    /// A key is removed.
    pub fn delete(&mut self, key: &[u8]) {
        self.keys.remove(key);
        for (_, keys) in self.leases.values_mut() {
            keys.remove(key);
        }
    }

    /// Carries out a command; its rows are the caller's to change.
    pub fn run(&mut self, at: At, command: &LeaseCommand) -> Step {
        match command {
            LeaseCommand::Grant { id, beside, .. } => {
                let shard = shard_of(beside, at.shards);
                if let Some(id) = id.or_else(|| LeaseId::granted(at.index, shard, at.shards)) {
                    self.leases.entry(id).or_insert((at.index, BTreeSet::new()));
                }
                Step::Nothing
            }
            LeaseCommand::Revoke { id } => self.end(*id),
            LeaseCommand::Expire { id, granted, term } => match self.leases.get(id) {
                Some((index, _)) if index == granted && *term == at.term => self.end(*id),
                _ => Step::Nothing,
            },
            LeaseCommand::Enter { name, lease, .. } => {
                let key = [&name[..], b"/", lease.to_string().as_bytes()].concat();
                if self.has(*lease) && !self.keys.contains_key(&key) {
                    Step::Created(key)
                } else {
                    Step::Nothing
                }
            }
        }
    }

    fn end(&mut self, lease: LeaseId) -> Step {
        match self.leases.remove(&lease) {
            Some((_, keys)) => Step::Ended { lease, keys: keys.into_iter().collect() },
            None => Step::Nothing,
        }
    }

    /// The key that a transaction removes if it was created at a revision; `None` for any other transaction.
    pub fn left(txn: &Txn) -> Option<(&[u8], u64)> {
        let ([compare], [TxnOp::Delete { keys: Keys::One(key) }], []) =
            (&txn.compares[..], &txn.then[..], &txn.otherwise[..])
        else {
            return None;
        };
        match (&compare.keys, &compare.target, compare.relation) {
            (Keys::One(compared), Target::CreateRevision(token), Relation::Equal) if compared == key => {
                Some((key, *token))
            }
            _ => None,
        }
    }

    /// The revision that created a key.
    pub fn created(&self, key: &[u8]) -> Option<u64> {
        self.keys.get(key).map(|(created, _)| *created)
    }
}

fn lock_of(key: &[u8]) -> Option<&[u8]> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    Some(&key[..slash])
}

/// How long leases were promised to live, and how long they did, in virtual microseconds.
#[derive(Debug, Default)]
pub struct Lifetimes {
    promised: BTreeMap<(GroupId, LeaseId), u64>,
    expired: BTreeMap<(GroupId, LeaseId), u64>,
}

impl Lifetimes {
    /// Leases whose time was up.
    pub fn expired(&self) -> usize {
        self.expired.len()
    }

    /// A client was told that a lease lives until then.
    ///
    /// # Errors
    /// When its time was up before.
    pub fn promise(&mut self, group: GroupId, lease: LeaseId, until_us: u64) -> Result<(), Broken> {
        let promised = self.promised.entry((group, lease)).or_default();
        *promised = until_us.max(*promised);
        self.check(group, lease)
    }

    /// The time of a lease was up now.
    ///
    /// # Errors
    /// When it was promised to live longer.
    pub fn expire(&mut self, group: GroupId, lease: LeaseId, now_us: u64) -> Result<(), Broken> {
        self.expired.insert((group, lease), now_us);
        self.check(group, lease)
    }

    fn check(&self, group: GroupId, lease: LeaseId) -> Result<(), Broken> {
        let of = (group, lease);
        match (self.promised.get(&of), self.expired.get(&of)) {
            (Some(promised_us), Some(expired_us)) if expired_us < promised_us => Err(Broken::safety(
                "leases_live_as_long_as_promised",
                format!(
                    "group {group}: lease {lease} was promised until {promised_us} us, and ended at {expired_us} us"
                ),
            )),
            _ => Ok(()),
        }
    }
}
