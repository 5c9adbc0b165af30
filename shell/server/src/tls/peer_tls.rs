//! One node's side of every peer connection: its certificate, its key, whom it trusts.

use std::{
    fmt, fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use types::{ClusterId, NodeId};

use super::{NodeIdentity, TlsError};

/// Checked and ready: both directions demand TLS 1.3 and a certificate of the cluster's authority.
/// Sessions are not resumed, so that every connection checks certificates anew.
#[derive(Clone)]
pub struct PeerTls {
    identity: NodeIdentity,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    expires: SystemTime,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl PeerTls {
    /// Reads the authority's certificate, this node's certificate (with any intermediates after it)
    /// and its key, all PEM, and checks that they fit each other, this node, and the present time.
    ///
    /// # Errors
    /// [`TlsError`], naming the file at fault.
    pub fn load(
        authority: &Path,
        certificate: &Path,
        key: &Path,
        cluster: ClusterId,
        node: NodeId,
    ) -> Result<PeerTls, TlsError> {
        let expected = NodeIdentity { cluster, node };
        let authorities = read_certificates(authority)?;
        let chain = read_certificates(certificate)?;
        let private = read_key(key)?;
        for root in &authorities {
            check_validity(authority, root)?;
        }
        let expires = check_validity(certificate, &chain[0])?;
        check_identity(certificate, &chain[0], expected)?;

        let provider = Arc::new(ring::default_provider());
        check_pair(&provider, &chain, &private, certificate, key)?;
        let roots = root_store(authorities, authority)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(TlsError::library)?;
        verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).map_err(|error| {
            TlsError::NotIssuedBy {
                certificate: certificate.to_owned(),
                authority: authority.to_owned(),
                reason: error.to_string(),
            }
        })?;

        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::library)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), private.clone_key())
            .map_err(TlsError::library)?;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::library)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)
            .map_err(TlsError::library)?;
        server.send_tls13_tickets = 0;
        Ok(PeerTls { identity: expected, client: Arc::new(client), server: Arc::new(server), expires })
    }

    /// The node that this certificate is for.
    pub fn identity(&self) -> NodeIdentity {
        self.identity
    }

    /// When the node's certificate expires.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// For connections that this node opens.
    pub fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.client.clone())
    }

    /// For connections that this node accepts.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.server.clone())
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(TlsError::file(path))?;
    let not_pem = || TlsError::NotPem { path: path.to_owned(), expected: "a certificate" };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| not_pem())?;
    if chain.is_empty() { Err(not_pem()) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = fs::read(path).map_err(TlsError::file(path))?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| TlsError::NotPem { path: path.to_owned(), expected: "a private key" })
}

/// Answers when the certificate expires.
fn check_validity(path: &Path, certificate: &CertificateDer<'_>) -> Result<SystemTime, TlsError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| TlsError::NotPem { path: path.to_owned(), expected: "a certificate" })?;
    let now = i64::try_from(UnixTime::now().as_secs()).expect("the clock is before the year 292 billion");
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(TlsError::NotYetValid {
            path: path.to_owned(),
            not_before: validity.not_before.to_string(),
        });
    }
    if now > validity.not_after.timestamp() {
        return Err(TlsError::Expired { path: path.to_owned(), not_after: validity.not_after.to_string() });
    }
    let expires = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(expires))
}

fn check_identity(
    path: &Path,
    certificate: &CertificateDer<'_>,
    expected: NodeIdentity,
) -> Result<(), TlsError> {
    let found = match NodeIdentity::of_certificate(certificate) {
        Ok(found) if found == expected => return Ok(()),
        Ok(found) => found.to_string(),
        Err(error) => error.to_string(),
    };
    Err(TlsError::WrongIdentity { path: path.to_owned(), expected, found })
}

fn check_pair(
    provider: &CryptoProvider,
    chain: &[CertificateDer<'static>],
    private: &PrivateKeyDer<'static>,
    certificate: &Path,
    key: &Path,
) -> Result<(), TlsError> {
    let private = provider
        .key_provider
        .load_private_key(private.clone_key())
        .map_err(|_| TlsError::NotPem { path: key.to_owned(), expected: "a usable private key" })?;
    CertifiedKey::new(chain.to_vec(), private)
        .keys_match()
        .map_err(|_| TlsError::KeyMismatch { certificate: certificate.to_owned(), key: key.to_owned() })
}

fn root_store(
    authorities: Vec<CertificateDer<'static>>,
    path: &Path,
) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in authorities {
        roots.add(root).map_err(|_| TlsError::NotPem {
            path: path.to_owned(),
            expected: "an authority's certificate",
        })?;
    }
    Ok(Arc::new(roots))
}
