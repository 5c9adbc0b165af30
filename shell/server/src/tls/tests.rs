//! Real files in a temporary directory; every refusal names its file.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use types::{ClusterId, NodeId};

use super::{CertificateAuthority, IdentityError, NodeFiles, NodeIdentity, PeerTls, TlsError};

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn load(files: &NodeFiles, node: u64) -> Result<PeerTls, TlsError> {
    PeerTls::load(&files.authority, &files.certificate, &files.key, CLUSTER, NodeId(node))
}

fn issue(directory: &Path, node: u64) -> NodeFiles {
    CertificateAuthority::open_or_create(directory).unwrap().issue(CLUSTER, NodeId(node)).unwrap()
}

/// A certificate of the directory's authority, with any names and years, over the node's files.
fn forge(directory: &Path, files: &NodeFiles, names: &[&str], years: (i32, i32)) {
    let ca_key = KeyPair::from_pem(&fs::read_to_string(directory.join("ca.key")).unwrap()).unwrap();
    let ca = Issuer::from_ca_cert_pem(&fs::read_to_string(&files.authority).unwrap(), ca_key).unwrap();
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    fs::write(&files.certificate, params.signed_by(&key, &ca).unwrap().pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
}

#[test]
fn an_authority_and_its_nodes_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tls");
    let files = issue(&path, 0);
    let before = fs::read(&files.certificate).unwrap();
    for name in ["ca.key", "node-0.key"] {
        let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(issue(&path, 0), files);
    assert_eq!(fs::read(&files.certificate).unwrap(), before, "kept, not issued again");
    let tls = load(&files, 0).unwrap();
    assert_eq!(tls.identity(), NodeIdentity { cluster: CLUSTER, node: NodeId(0) });
    assert!(!format!("{tls:?}").contains("key"));
    // A node that joins later gets a certificate of the same authority.
    load(&issue(&path, 1), 1).unwrap();
}

#[test]
fn half_written_pairs_and_old_certificates_are_issued_again() {
    let directory = tempfile::tempdir().unwrap();
    // A crash after the authority's key.
    fs::write(directory.path().join("ca.key"), "half").unwrap();
    let files = issue(directory.path(), 0);
    // A crash after the node's key.
    fs::remove_file(&files.certificate).unwrap();
    load(&issue(directory.path(), 0), 0).unwrap();

    let name = NodeIdentity { cluster: CLUSTER, node: NodeId(0) }.to_string();
    forge(directory.path(), &files, &[&name], (2001, 2002));
    assert!(matches!(load(&files, 0), Err(TlsError::Expired { path, .. }) if path == files.certificate));
    load(&issue(directory.path(), 0), 0).unwrap();
}

#[test]
fn each_fault_names_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let files = issue(directory.path(), 0);
    let other = issue(directory.path(), 1);

    let wrong = load(&files, 1).unwrap_err();
    assert!(wrong.to_string().contains("node-0.pem is for node-0."), "{wrong}");
    let wrong =
        PeerTls::load(&files.authority, &files.certificate, &files.key, ClusterId([8; 16]), NodeId(0));
    assert!(matches!(wrong, Err(TlsError::WrongIdentity { .. })), "another cluster");

    let swapped = NodeFiles { key: other.key.clone(), ..files.clone() };
    assert!(matches!(load(&swapped, 0), Err(TlsError::KeyMismatch { key, .. }) if key == other.key));

    let missing = NodeFiles { key: directory.path().join("none.key"), ..files.clone() };
    assert!(matches!(load(&missing, 0), Err(TlsError::Missing { path }) if path == missing.key));

    let no_key = NodeFiles { key: files.certificate.clone(), ..files.clone() };
    assert!(matches!(load(&no_key, 0), Err(TlsError::NotPem { path, .. }) if path == files.certificate));

    let stranger = tempfile::tempdir().unwrap();
    let foreign = NodeFiles { authority: issue(stranger.path(), 0).authority, ..files.clone() };
    assert!(
        matches!(load(&foreign, 0), Err(TlsError::NotIssuedBy { authority, .. }) if authority == foreign.authority)
    );

    let name = NodeIdentity { cluster: CLUSTER, node: NodeId(0) }.to_string();
    forge(directory.path(), &files, &[&name], (2190, 2191));
    assert!(matches!(load(&files, 0), Err(TlsError::NotYetValid { path, .. }) if path == files.certificate));

    fs::write(&files.certificate, "garbage").unwrap();
    assert!(matches!(load(&files, 0), Err(TlsError::NotPem { path, .. }) if path == files.certificate));

    fs::remove_file(directory.path().join("ca.key")).unwrap();
    let error = CertificateAuthority::open_or_create(directory.path()).unwrap_err();
    assert!(matches!(error, TlsError::AuthorityKeyMissing { .. }), "never replaced behind the nodes' back");
}

#[test]
fn a_certificate_names_exactly_one_node() {
    let directory = tempfile::tempdir().unwrap();
    let files = issue(directory.path(), 0);
    let [zero, one] = [0, 1].map(|node| NodeIdentity { cluster: CLUSTER, node: NodeId(node) }.to_string());
    for names in [&[][..], &["localhost"], &[&zero, &one]] {
        forge(directory.path(), &files, names, (2020, 2190));
        assert!(matches!(load(&files, 0), Err(TlsError::WrongIdentity { .. })), "{names:?}");
    }
    forge(directory.path(), &files, &[&zero, "db.example.com"], (2020, 2190));
    load(&files, 0).unwrap();
}

#[test]
fn identities_have_one_spelling() {
    let identity = NodeIdentity { cluster: CLUSTER, node: NodeId(12) };
    assert_eq!(identity.to_string(), "node-12.07070707070707070707070707070707.quorate.internal");
    assert_eq!(identity.to_string().parse(), Ok(identity));
    for text in ["node-012.", "node-+1.", "Node-12.", "node-.", "12."] {
        let name = identity.to_string().replace("node-12.", text);
        assert_eq!(name.parse::<NodeIdentity>(), Err(IdentityError::NotOneNode { count: 0 }), "{name}");
    }
}
