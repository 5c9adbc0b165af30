//! Opening a connection: TLS, the peer's identity from its certificate, and a hello each way. The
//! dialer speaks first; the acceptor always answers a hello with its own, so that both sides can say
//! why they do not understand each other.

use std::{io, os::fd::AsFd, time::Duration};

use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use types::NodeId;
use wire::{Hello, HelloError, Session, hello::HELLO_BYTES_MAX, negotiate};

use super::Shared;
use crate::tls::{IdentityError, NodeIdentity};

/// An authenticated connection.
pub struct Connection<S> {
    /// The bytes.
    pub stream: S,
    /// Who is at the other end, by certificate.
    pub peer: NodeId,
    /// What both sides agreed on.
    pub session: Session,
    /// The peer's hello, for the log.
    pub hello: Hello,
    /// Bytes that came after the hello: the beginning of the first frame.
    pub received: Vec<u8>,
}

/// Why a connection was not made. No message was exchanged.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The peer was too slow.
    #[error("the handshake took too long; is this a Quorate peer port, and is the network well?")]
    Timeout,
    /// The connection ended early.
    #[error("the peer ended the connection before its hello; its log says why")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
    /// What came is not TLS.
    #[error(
        "the other side does not speak TLS as a peer does: {0}; check that the address is a node's peer port"
    )]
    NotTls(rustls::Error),
    /// No certificate.
    #[error("the other side presented no certificate; only members of the cluster may connect")]
    NoCertificate,
    /// Another authority's certificate, or a bad one.
    #[error("the peer's certificate is not acceptable: {0}; all nodes need certificates of one authority")]
    Untrusted(CertificateError),
    /// Out of its time.
    #[error("the peer's certificate is not valid now: {0}; issue a new one, or check the clocks")]
    Expired(CertificateError),
    /// Not the node that was dialed.
    #[error("the peer's certificate is another node's: {0}; check the peer's address")]
    WrongIdentity(CertificateError),
    /// A certificate for no node.
    #[error("the peer's certificate is for {0}")]
    NoIdentity(IdentityError),
    /// A node that the configuration does not list.
    #[error("node {0} is not a member by this node's configuration")]
    NotMember(NodeId),
    /// The peer refused this node's certificate.
    #[error("the peer refused this node's certificate ({0:?}); its log says why")]
    RefusedByPeer(AlertDescription),
    /// The hellos do not fit.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// Too many others are in their handshake.
    #[error("too many connections are in their handshake")]
    Crowded,
}

/// Kinds of refusal: what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// See [`Refusal::Timeout`].
    Timeout,
    /// See [`Refusal::Closed`] and [`Refusal::Io`].
    Closed,
    /// See [`Refusal::NotTls`].
    NotTls,
    /// See [`Refusal::NoCertificate`].
    NoCertificate,
    /// See [`Refusal::Untrusted`].
    Untrusted,
    /// See [`Refusal::Expired`].
    Expired,
    /// See [`Refusal::WrongIdentity`], [`Refusal::NoIdentity`] and [`HelloError::WrongNode`].
    WrongNode,
    /// See [`HelloError::WrongCluster`].
    WrongCluster,
    /// See [`Refusal::NotMember`].
    NotMember,
    /// See [`Refusal::RefusedByPeer`].
    RefusedByPeer,
    /// See [`HelloError::NoCommonVersion`].
    NoCommonVersion,
    /// Any other [`HelloError`].
    BadHello,
    /// See [`Refusal::Crowded`].
    Crowded,
}

impl RefusalKind {
    /// All kinds.
    pub const ALL: [RefusalKind; 13] = [
        RefusalKind::Timeout,
        RefusalKind::Closed,
        RefusalKind::NotTls,
        RefusalKind::NoCertificate,
        RefusalKind::Untrusted,
        RefusalKind::Expired,
        RefusalKind::WrongNode,
        RefusalKind::WrongCluster,
        RefusalKind::NotMember,
        RefusalKind::RefusedByPeer,
        RefusalKind::NoCommonVersion,
        RefusalKind::BadHello,
        RefusalKind::Crowded,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::Timeout => "timeout",
            RefusalKind::Closed => "closed",
            RefusalKind::NotTls => "not_tls",
            RefusalKind::NoCertificate => "no_certificate",
            RefusalKind::Untrusted => "untrusted",
            RefusalKind::Expired => "expired",
            RefusalKind::WrongNode => "wrong_node",
            RefusalKind::WrongCluster => "wrong_cluster",
            RefusalKind::NotMember => "not_member",
            RefusalKind::RefusedByPeer => "refused_by_peer",
            RefusalKind::NoCommonVersion => "no_common_version",
            RefusalKind::BadHello => "bad_hello",
            RefusalKind::Crowded => "crowded",
        }
    }
}

impl Refusal {
    /// What it counts as.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Refusal::Timeout => RefusalKind::Timeout,
            Refusal::Closed | Refusal::Io(_) => RefusalKind::Closed,
            Refusal::NotTls(_) => RefusalKind::NotTls,
            Refusal::NoCertificate => RefusalKind::NoCertificate,
            Refusal::Untrusted(_) => RefusalKind::Untrusted,
            Refusal::Expired(_) => RefusalKind::Expired,
            Refusal::WrongIdentity(_) | Refusal::NoIdentity(_) => RefusalKind::WrongNode,
            Refusal::NotMember(_) => RefusalKind::NotMember,
            Refusal::RefusedByPeer(_) => RefusalKind::RefusedByPeer,
            Refusal::Crowded => RefusalKind::Crowded,
            Refusal::Hello(HelloError::WrongCluster { .. }) => RefusalKind::WrongCluster,
            Refusal::Hello(HelloError::WrongNode { .. }) => RefusalKind::WrongNode,
            Refusal::Hello(HelloError::NoCommonVersion { .. }) => RefusalKind::NoCommonVersion,
            Refusal::Hello(_) => RefusalKind::BadHello,
        }
    }
}

/// TLS errors arrive inside I/O errors.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
        match tls {
            Some(rustls::Error::NoCertificatesPresented) => Refusal::NoCertificate,
            Some(rustls::Error::AlertReceived(alert)) => Refusal::RefusedByPeer(alert),
            Some(rustls::Error::InvalidCertificate(error)) => match error {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Refusal::Expired(error),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Refusal::WrongIdentity(error)
                }
                error => Refusal::Untrusted(error),
            },
            Some(error) => Refusal::NotTls(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::Closed,
            None => Refusal::Io(error),
        }
    }
}

/// This node opens a connection to `peer`.
pub async fn dial(
    shared: &Shared,
    peer: NodeId,
    stream: TcpStream,
) -> Result<Connection<tokio_rustls::client::TlsStream<TcpStream>>, Refusal> {
    let identity = NodeIdentity { cluster: shared.options.cluster, node: peer };
    let mut stream = shared.options.tls.connector().connect(identity.server_name(), stream).await?;
    check_member(shared, stream.get_ref().1.peer_certificates(), |node| node == peer)?;
    stream.write_all(&shared.hello.encode()).await?;
    stream.flush().await?;
    let (hello, received) = read_hello(&mut stream).await?;
    let session = negotiate(&shared.hello, &hello, peer)?;
    Ok(Connection { stream, peer, session, hello, received })
}

/// This node accepts a connection.
pub async fn accept(
    shared: &Shared,
    stream: TcpStream,
) -> Result<Connection<tokio_rustls::server::TlsStream<TcpStream>>, Refusal> {
    let mut stream = shared.options.tls.acceptor().accept(stream).await?;
    let is_member = |node| shared.options.peers.contains_key(&node);
    let peer = check_member(shared, stream.get_ref().1.peer_certificates(), is_member)?;
    let (hello, received) = read_hello(&mut stream).await?;
    stream.write_all(&shared.hello.encode()).await?;
    stream.flush().await?;
    match negotiate(&shared.hello, &hello, peer) {
        Ok(session) => Ok(Connection { stream, peer, session, hello, received }),
        Err(error) => {
            // The peer reads our hello and comes to the same conclusion; it may be gone already.
            let _ = stream.shutdown().await;
            Err(error.into())
        }
    }
}

/// Who the certificate says the peer is, if that is allowed here.
fn check_member(
    shared: &Shared,
    certificates: Option<&[CertificateDer<'_>]>,
    allowed: impl Fn(NodeId) -> bool,
) -> Result<NodeId, Refusal> {
    let certificate = certificates.and_then(|chain| chain.first()).ok_or(Refusal::NoCertificate)?;
    let identity = NodeIdentity::of_certificate(certificate).map_err(Refusal::NoIdentity)?;
    let ours = shared.options.cluster;
    if identity.cluster != ours {
        return Err(HelloError::WrongCluster { ours, theirs: identity.cluster }.into());
    }
    if !allowed(identity.node) {
        return Err(Refusal::NotMember(identity.node));
    }
    Ok(identity.node)
}

async fn read_hello(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(Hello, Vec<u8>), Refusal> {
    let mut buffer = [0; HELLO_BYTES_MAX];
    let mut filled = 0;
    loop {
        if let Some((hello, taken)) = Hello::decode(&buffer[..filled])? {
            return Ok((hello, buffer[taken..filled].to_vec()));
        }
        assert!(filled < buffer.len(), "a hello is whole, or refused, within its limit");
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Err(Refusal::Closed),
            count => filled += count,
        }
    }
}

/// No delay for small frames; a peer that confirms nothing for `confirm` is gone, though no packet
/// says so; a peer that says nothing is asked whether it still is there.
pub fn prepare_socket(stream: &TcpStream, confirm: Duration) -> io::Result<()> {
    use rustix::net::sockopt;
    let socket = stream.as_fd();
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(socket, u32::try_from(confirm.as_millis()).unwrap_or(u32::MAX))?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    sockopt::set_socket_keepalive(socket, true)?;
    Ok(())
}
