//! The server: everything of Quorate that touches the world. Sockets, TLS, disks, clocks and threads are
//! here, around the deterministic core in `node`, which decides everything.
//!
//! [`run`] is the whole of it; [`ServerConfig`] is what it is told.

pub mod config;
pub mod disk;
pub mod error;
pub mod explain;
mod http;
mod log_limit;
mod metrics;
pub mod peer;
mod run;
pub mod tls;

pub use config::{ConfigError, ServerConfig};
pub use error::ServerError;
pub use explain::explain;
pub use run::{EXIT_BROKEN_INVARIANT, EXIT_DISK, Ready, run};
