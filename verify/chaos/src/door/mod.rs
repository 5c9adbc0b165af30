//! How clients talk to the system under test: what they ask of a register, of lists in transactions, and what
//! they are told, whichever system it is.

mod etcd;
mod http;
mod quorate;

use std::net::SocketAddr;

pub use self::http::{Answer, Http, Lost};
pub use etcd::{Etcd, number};
pub use quorate::Quorate;

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// To a read: the value, and the revision of its write.
    Value {
        /// `None`: there is no such key.
        value: Option<String>,
        /// Of the value.
        revision: Option<u64>,
    },
    /// To a write, or to a compare-and-set whose condition held.
    Written {
        /// Its revision.
        revision: Option<u64>,
    },
    /// To a delete.
    Deleted {
        /// Whether there was something.
        existed: Option<bool>,
        /// Its revision, if there was.
        revision: Option<u64>,
    },
    /// To a compare-and-set whose condition did not hold: the revision that is there, 0 for none.
    Conflict {
        /// If it was told.
        current: Option<u64>,
    },
    /// It was not done, and never will be.
    Refused(String),
    /// It may have been done.
    Unknown(String),
}

impl Told {
    /// The code of what went wrong.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Told::Refused(code) | Told::Unknown(code) => Some(code),
            _ => None,
        }
    }
}

/// What a transaction on lists was told: the lists that it read before its own appends, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnTold {
    /// It took effect.
    Committed,
    /// Somebody else changed a key between reading and writing. Nothing was done.
    Overtaken,
    /// It was not done, and never will be.
    Refused(String),
    /// It may have been done.
    Unknown(String),
}

/// One key as a transaction read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its value; `None` if there is no such key.
    pub value: Option<String>,
    /// Its revision; 0 if there is no such key.
    pub revision: u64,
}

/// A client of one of the systems. Clones share connections.
#[derive(Clone, Debug)]
pub enum Door {
    /// Quorate's HTTP API.
    Quorate(Quorate),
    /// etcd's JSON gateway.
    Etcd(Etcd),
}

impl Door {
    /// Reads a key, as new as the system promises by default.
    pub async fn read(&self, node: SocketAddr, key: &str) -> Told {
        match self {
            Door::Quorate(door) => door.read(node, key).await,
            Door::Etcd(door) => door.read(node, key).await,
        }
    }

    /// Sets a key. With `once`, the request may be sent again under that name and is carried out at most once.
    pub async fn write(&self, node: SocketAddr, key: &str, value: &str, once: Option<&str>) -> Told {
        match self {
            Door::Quorate(door) => door.write(node, key, value, None, once).await,
            Door::Etcd(door) => door.write(node, key, value).await,
        }
    }

    /// Sets a key if it is at a revision; 0: if it does not exist.
    pub async fn cas(
        &self,
        node: SocketAddr,
        key: &str,
        expected: u64,
        value: &str,
        once: Option<&str>,
    ) -> Told {
        match self {
            Door::Quorate(door) => door.write(node, key, value, Some(expected), once).await,
            Door::Etcd(door) => door.cas(node, key, expected, value).await,
        }
    }

    /// Removes a key.
    pub async fn delete(&self, node: SocketAddr, key: &str) -> Told {
        match self {
            Door::Quorate(door) => door.delete(node, key).await,
            Door::Etcd(door) => door.delete(node, key).await,
        }
    }

    /// Reads keys at one moment.
    ///
    /// # Errors
    /// A code, if there was no answer: nothing was changed.
    pub async fn read_together(&self, node: SocketAddr, keys: &[String]) -> Result<Vec<Seen>, String> {
        match self {
            Door::Quorate(door) => door.read_together(node, keys).await,
            Door::Etcd(door) => door.read_together(node, keys).await,
        }
    }

    /// If all keys are at these revisions still, sets some of them.
    pub async fn write_together(
        &self,
        node: SocketAddr,
        expected: &[(String, u64)],
        puts: &[(String, String)],
    ) -> TxnTold {
        match self {
            Door::Quorate(door) => door.write_together(node, expected, puts).await,
            Door::Etcd(door) => door.write_together(node, expected, puts).await,
        }
    }

    /// Whether a request can be sent again and is carried out at most once.
    pub fn sends_once(&self) -> bool {
        matches!(self, Door::Quorate(_))
    }
}
