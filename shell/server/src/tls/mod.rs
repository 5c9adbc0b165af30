//! Certificates between peers: who may connect, and as whom.
//!
//! Every node has a certificate from the cluster's own authority, and its name in it:
//! `node-<id>.<cluster id>.quorate.internal`. Both sides of a connection present one (TLS 1.3, mutual
//! authentication), trust that authority alone, and take the peer's identity from its certificate,
//! never from what it says. Keys are files of mode 0600 and appear in no log and no error.

mod authority;
mod identity;
mod peer_tls;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use authority::{CertificateAuthority, NodeFiles};
pub use identity::{IdentityError, NodeIdentity};
pub use peer_tls::PeerTls;

/// Why certificates could not be made or used. Each names its file and the next step; nothing was
/// changed unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that has to be there is not.
    #[error("{} does not exist; give the right path, or let `quorate dev` make the certificates", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The authority's certificate is there without its key.
    #[error(
        "{} is missing beside the authority's certificate, so no certificate can be issued; restore it, or remove \
         the directory to make a new authority for all nodes",
        path.display()
    )]
    AuthorityKeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be read or written: {source}; check its owner and permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} does not hold {expected} in PEM form; replace the file", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// The certificate's time is over.
    #[error("the certificate {} expired on {not_after}; issue a new one, or check this machine's clock", path.display())]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// When it expired.
        not_after: String,
    },
    /// The certificate's time has not come.
    #[error("the certificate {} is not valid before {not_before}; check this machine's clock", path.display())]
    NotYetValid {
        /// The certificate.
        path: PathBuf,
        /// When it begins.
        not_before: String,
    },
    /// The certificate and the key are not a pair.
    #[error(
        "the key {} does not belong to the certificate {}; use the two files that were made together",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Another authority issued the certificate.
    #[error(
        "the certificate {} is not acceptable to the authority {}: {reason}; use certificates of one cluster together",
        certificate.display(), authority.display()
    )]
    NotIssuedBy {
        /// The certificate.
        certificate: PathBuf,
        /// The authority's certificate.
        authority: PathBuf,
        /// What the verifier said.
        reason: String,
    },
    /// The certificate names no node, or another one.
    #[error(
        "the certificate {} is for {found}, this node is {expected}; use this node's certificate, or issue one for it",
        path.display()
    )]
    WrongIdentity {
        /// The certificate.
        path: PathBuf,
        /// Who this node is.
        expected: NodeIdentity,
        /// Whom the certificate names.
        found: String,
    },
    /// The cryptography library refused.
    #[error("certificates cannot be prepared: {reason}")]
    Library {
        /// What it said.
        reason: String,
    },
}

impl TlsError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => TlsError::Missing { path },
            _ => TlsError::File { path, source },
        }
    }

    fn library(error: impl std::fmt::Display) -> TlsError {
        TlsError::Library { reason: error.to_string() }
    }
}
