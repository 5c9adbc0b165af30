//! Why a server did not start, or had to end.

use std::{io, net::SocketAddr};

use storage::{IdentityError, StoreError, wal::OpenError};

use crate::{config::ConfigError, disk::DataDirError, peer::PeerError, tls::TlsError};

/// Each says what is concerned, and what to do next. Nothing acknowledged is lost by any of them.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data directory is another node's, another version's, or damaged.
    #[error("{data_dir}: {source}")]
    Identity {
        /// The directory.
        data_dir: String,
        /// What is wrong.
        source: IdentityError,
    },
    /// The write-ahead log cannot be opened.
    #[error("{data_dir}: {source}")]
    Log {
        /// The directory.
        data_dir: String,
        /// What is wrong.
        source: OpenError,
    },
    /// The state store cannot be opened.
    #[error(
        "{data_dir}: {source}; nothing was changed; restore the file, or start with an empty data directory and let the peers fill it"
    )]
    Store {
        /// The directory.
        data_dir: String,
        /// What is wrong.
        source: StoreError,
    },
    /// Log and state store do not fit together.
    #[error("{data_dir}: {source}")]
    Recover {
        /// The directory.
        data_dir: String,
        /// What is wrong.
        source: node::Fatal,
    },
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Peers cannot be reached or served.
    #[error(transparent)]
    Peers(#[from] PeerError),
    /// An address is not `host:port`, or its name is not known.
    #[error("address {address}: {source}; give host:port, as in 127.0.0.1:7400")]
    Address {
        /// As configured.
        address: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The HTTP port is taken, or not ours to take.
    #[error("cannot serve HTTP on {address}: {source}; {next_step}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
        /// What to do.
        next_step: &'static str,
    },
    /// No random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
}

impl ServerError {
    /// For a listener that could not be bound.
    pub(crate) fn bind(address: SocketAddr, source: io::Error) -> ServerError {
        let next_step = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there (ss -ltnp shows which): stop it, or choose another port"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: choose one that it has"
            }
            _ => "check the address",
        };
        ServerError::Bind { address, source, next_step }
    }
}
