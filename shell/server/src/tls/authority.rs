//! The certificate authority that `quorate dev` makes for itself, in one directory:
//!
//! ```text
//! ca.pem  ca.key        the authority: 10 years
//! node-<i>.pem  .key    one pair per node: 1 year, issued again when less than 30 days are left
//! ```
//!
//! A key is written before its certificate, each under a temporary name and renamed when whole, so
//! that a crash leaves either a pair or a key that the next start replaces.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use types::{ClusterId, NodeId};

use super::{NodeIdentity, PeerTls, TlsError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_VALID: Duration = Duration::from_secs(3_650 * DAY.as_secs());
const NODE_VALID: Duration = Duration::from_secs(365 * DAY.as_secs());
/// A node's certificate is issued again when it has less time left.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY.as_secs());

/// Issues certificates to the nodes of one cluster.
#[derive(Debug)]
pub struct CertificateAuthority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The files that one node needs, for [`PeerTls::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFiles {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The node's certificate.
    pub certificate: PathBuf,
    /// The node's key.
    pub key: PathBuf,
}

impl CertificateAuthority {
    /// The authority in `directory`, made if there is none.
    ///
    /// # Errors
    /// [`TlsError`], naming the file at fault. An authority that exists is never overwritten.
    pub fn open_or_create(directory: &Path) -> Result<CertificateAuthority, TlsError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory).map_err(TlsError::file(directory))?;
        match fs::read_to_string(directory.join("ca.pem")) {
            Ok(pem) => CertificateAuthority::load(directory, &pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => CertificateAuthority::create(directory),
            Err(error) => Err(TlsError::file(&directory.join("ca.pem"))(error)),
        }
    }

    fn create(directory: &Path) -> Result<CertificateAuthority, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::library)?;
        let mut params = params(vec![], AUTHORITY_VALID)?;
        params.distinguished_name.push(DnType::CommonName, "Quorate cluster authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(TlsError::library)?;
        write_file(&directory.join("ca.key"), &key.serialize_pem())?;
        write_file(&directory.join("ca.pem"), &certificate.pem())?;
        Ok(CertificateAuthority { directory: directory.to_owned(), issuer: Issuer::new(params, key) })
    }

    fn load(directory: &Path, pem: &str) -> Result<CertificateAuthority, TlsError> {
        let (pem_path, key_path) = (directory.join("ca.pem"), directory.join("ca.key"));
        let key = fs::read_to_string(&key_path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TlsError::AuthorityKeyMissing { path: key_path.clone() },
            _ => TlsError::file(&key_path)(error),
        })?;
        let key = KeyPair::from_pem(&key)
            .map_err(|_| TlsError::NotPem { path: key_path.clone(), expected: "a private key" })?;
        let not_pem = || TlsError::NotPem { path: pem_path.clone(), expected: "an authority's certificate" };
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| not_pem())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| not_pem())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(TlsError::KeyMismatch { certificate: pem_path, key: key_path });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| not_pem())?;
        Ok(CertificateAuthority { directory: directory.to_owned(), issuer })
    }

    /// The certificate and key of a node; those that exist are kept while they have 30 days left.
    ///
    /// # Errors
    /// [`TlsError`], naming the file at fault: also when the existing certificate is another
    /// cluster's or authority's, which is not overwritten.
    pub fn issue(&self, cluster: ClusterId, node: NodeId) -> Result<NodeFiles, TlsError> {
        let files = NodeFiles {
            authority: self.directory.join("ca.pem"),
            certificate: self.directory.join(format!("node-{node}.pem")),
            key: self.directory.join(format!("node-{node}.key")),
        };
        match PeerTls::load(&files.authority, &files.certificate, &files.key, cluster, node) {
            Ok(tls) if tls.expires() > SystemTime::now() + RENEW_BEFORE => return Ok(files),
            Ok(_) => {}
            Err(TlsError::Missing { path } | TlsError::Expired { path, .. }) if path != files.authority => {}
            Err(error) => return Err(error),
        }
        let key = KeyPair::generate().map_err(TlsError::library)?;
        let identity = NodeIdentity { cluster, node };
        let mut params = params(vec![identity.to_string()], NODE_VALID)?;
        params.distinguished_name.push(DnType::CommonName, format!("Quorate node {node}"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(TlsError::library)?;
        // The old certificate goes first: a crash between the two writes must not leave a wrong pair.
        remove_file(&files.certificate)?;
        write_file(&files.key, &key.serialize_pem())?;
        write_file(&files.certificate, &certificate.pem())?;
        Ok(files)
    }
}

/// Valid from yesterday, for clocks that differ.
fn params(names: Vec<String>, valid: Duration) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names).map_err(TlsError::library)?;
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + valid).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

fn remove_file(path: &Path) -> Result<(), TlsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TlsError::file(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file of mode 0600, whole or not at all.
fn write_file(path: &Path, text: &str) -> Result<(), TlsError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(TlsError::file(path))
}
