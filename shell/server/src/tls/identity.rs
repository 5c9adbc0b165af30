//! The name of a node in its certificate.

use std::{fmt, str::FromStr};

use rustls_pki_types::{CertificateDer, ServerName};
use types::{ClusterId, NodeId};
use x509_parser::extensions::GeneralName;

const SUFFIX: &str = ".quorate.internal";

/// Which node of which cluster. As text, and as a DNS name in the certificate:
/// `node-<id>.<cluster id>.quorate.internal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// A certificate that does not say which node it is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an X.509 certificate.
    #[error("a certificate that cannot be parsed")]
    Malformed,
    /// It has no alternative name of the right form, or several.
    #[error("{count} nodes by name, expected exactly one `node-<id>.<cluster id>{SUFFIX}`")]
    NotOneNode {
        /// Names of the right form.
        count: usize,
    },
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}.{}{SUFFIX}", self.node, self.cluster)
    }
}

impl FromStr for NodeIdentity {
    type Err = IdentityError;

    fn from_str(name: &str) -> Result<NodeIdentity, IdentityError> {
        let parse = || {
            let (node, cluster) = name.strip_suffix(SUFFIX)?.strip_prefix("node-")?.split_once('.')?;
            let identity = NodeIdentity { cluster: cluster.parse().ok()?, node: NodeId(node.parse().ok()?) };
            // One spelling only: no leading zeros, signs or upper case.
            (identity.to_string() == name).then_some(identity)
        };
        parse().ok_or(IdentityError::NotOneNode { count: 0 })
    }
}

impl NodeIdentity {
    /// The node that a certificate is for, from its subject alternative names. Says nothing about
    /// whether the certificate is to be trusted.
    ///
    /// # Errors
    /// [`IdentityError`] unless it names exactly one node.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<NodeIdentity, IdentityError> {
        let (_, certificate) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| IdentityError::Malformed)?;
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Malformed)?;
        let identities: Vec<NodeIdentity> = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => name.parse().ok(),
                _ => None,
            })
            .collect();
        match identities[..] {
            [identity] => Ok(identity),
            _ => Err(IdentityError::NotOneNode { count: identities.len() }),
        }
    }

    /// The name that a dialer demands of the certificate it is shown.
    pub fn server_name(self) -> ServerName<'static> {
        ServerName::try_from(self.to_string()).expect("digits, letters, hyphens and dots make a DNS name")
    }
}
