//! Certificates, nodes and hand-made connections for the tests.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, RootCertStore, crypto::ring, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use server::{
    peer::{self, PeerEvent, PeerListener, PeerOptions, PeerTimeouts, PeerTransport},
    tls::{CertificateAuthority, NodeFiles, NodeIdentity, PeerTls},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use types::{ClusterId, NodeId};
use wire::{
    Features, Hello, PeerBody, PeerMessage,
    message::{Forward, RaftMessage, WireEntry},
};

pub const CLUSTER: ClusterId = ClusterId([0xc1; 16]);
/// Longer than anything takes, short enough for a person.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One authority and its directory.
pub struct Certificates {
    directory: TempDir,
    authority: CertificateAuthority,
}

impl Certificates {
    pub fn new() -> Certificates {
        let directory = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open_or_create(directory.path()).unwrap();
        Certificates { directory, authority }
    }

    pub fn files(&self, node: u64) -> NodeFiles {
        self.authority.issue(CLUSTER, NodeId(node)).unwrap()
    }

    pub fn tls(&self, node: u64) -> PeerTls {
        let files = self.files(node);
        PeerTls::load(&files.authority, &files.certificate, &files.key, CLUSTER, NodeId(node)).unwrap()
    }

    /// Trusts this authority, and shows the certificate in `shown`, whoever issued it.
    pub fn client(&self, shown: Option<&NodeFiles>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.directory.path().join("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    /// A certificate of this authority with any name and years.
    pub fn forge(&self, name: &str, years: (i32, i32)) -> NodeFiles {
        let read = |file: &str| std::fs::read_to_string(self.directory.path().join(file)).unwrap();
        let key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_string()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let files = NodeFiles {
            authority: self.directory.path().join("ca.pem"),
            certificate: self.directory.path().join("forged.pem"),
            key: self.directory.path().join("forged.key"),
        };
        std::fs::write(&files.certificate, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

pub fn identity(node: u64) -> NodeIdentity {
    NodeIdentity { cluster: CLUSTER, node: NodeId(node) }
}

pub fn timeouts() -> PeerTimeouts {
    PeerTimeouts { backoff_max: Duration::from_millis(200), ..PeerTimeouts::default() }
}

pub fn options(certificates: &Certificates, node: u64, peers: &[(u64, SocketAddr)]) -> PeerOptions {
    PeerOptions {
        node: NodeId(node),
        cluster: CLUSTER,
        peers: peers.iter().map(|(peer, address)| (NodeId(*peer), address.to_string())).collect(),
        tls: certificates.tls(node),
        compress: true,
        timeouts: timeouts(),
    }
}

pub async fn bind() -> PeerListener {
    PeerListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// An address where nothing listens: port 1 is never given to a test that asks for any port.
pub fn nowhere() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

/// A running transport and what it reports.
pub struct Node {
    pub transport: PeerTransport,
    pub events: mpsc::Receiver<PeerEvent>,
}

impl Node {
    pub fn start(listener: PeerListener, options: PeerOptions) -> Node {
        let (sender, events) = mpsc::channel(1_024);
        let sink: peer::EventSink = Arc::new(move |events| {
            let sender = sender.clone();
            Box::pin(async move {
                for event in events {
                    // The test may have finished with the node.
                    let _ = sender.send(event).await;
                }
            })
        });
        Node { transport: peer::start(listener, options, sink).unwrap(), events }
    }

    /// Two nodes, 0 and 1, connected both ways.
    pub async fn pair(certificates: &Certificates) -> [Node; 2] {
        Node::pair_on(certificates, [bind().await, bind().await]).await
    }

    /// The same, on these ports.
    pub async fn pair_on(certificates: &Certificates, listeners: [PeerListener; 2]) -> [Node; 2] {
        let addresses = [listeners[0].address(), listeners[1].address()];
        let [zero, one] = listeners;
        let mut nodes = [
            Node::start(zero, options(certificates, 0, &[(1, addresses[1])])),
            Node::start(one, options(certificates, 1, &[(0, addresses[0])])),
        ];
        nodes[0].until(PeerEvent::Up(NodeId(1))).await;
        nodes[1].until(PeerEvent::Up(NodeId(0))).await;
        nodes
    }

    pub async fn event(&mut self) -> PeerEvent {
        timeout(DEADLINE, self.events.recv())
            .await
            .expect("an event before the deadline")
            .expect("a running node")
    }

    /// Skips events until this one.
    pub async fn until(&mut self, wanted: PeerEvent) {
        while self.event().await != wanted {}
    }

    /// The next message.
    pub async fn message(&mut self) -> (NodeId, PeerMessage) {
        loop {
            if let PeerEvent::Message { from, message } = self.event().await {
                return (from, message);
            }
        }
    }

    pub fn send(&self, to: u64, messages: Vec<PeerMessage>) {
        self.transport.handle().send(NodeId(to), messages);
    }
}

/// Waits for a counter.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not before the deadline: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn numbered(number: u64, bytes: usize) -> PeerMessage {
    let request = (0..bytes).map(|i| (i as u64 ^ number) as u8).collect::<Vec<u8>>();
    let body = Forward { id: number, request: request.into(), ..Forward::default() };
    PeerMessage { group: 1, body: Some(PeerBody::Forward(body)), ..Default::default() }
}

pub fn entries(count: usize) -> PeerMessage {
    let entry = |index| WireEntry { index, term: 1, data: b"put key value".as_slice().into() };
    let body = RaftMessage { entries: (1..=count as u64).map(entry).collect(), ..RaftMessage::default() };
    PeerMessage { group: 1, body: Some(PeerBody::Raft(body)), ..Default::default() }
}

pub fn hello(node: u64) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        features: Features::NONE,
        cluster: CLUSTER,
        node: NodeId(node),
        build: "test".into(),
        boot: 1,
    }
}

/// A connection made by hand, past TLS as far as this side can tell.
pub struct Raw(pub TlsStream<TcpStream>);

impl Raw {
    pub async fn connect(address: SocketAddr, connector: TlsConnector, server: u64) -> io::Result<Raw> {
        let stream = TcpStream::connect(address).await?;
        connector.connect(identity(server).server_name(), stream).await.map(Raw)
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Everything the other side sends until it ends the connection, in whatever way.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // An abrupt end is an end.
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut bytes)).await.expect("an end before the deadline");
        bytes
    }

    /// Exchanges hellos as `node`.
    pub async fn greet(&mut self, node: u64) -> Hello {
        self.write(&hello(node).encode()).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            assert_ne!(self.0.read_buf(&mut bytes).await.unwrap(), 0, "closed before the hello");
            if let Some((hello, taken)) = Hello::decode(&bytes).unwrap() {
                assert_eq!(taken, bytes.len());
                return hello;
            }
        }
    }
}

/// Node numbers of a map, for assertions.
pub fn keys<T>(map: &BTreeMap<NodeId, T>) -> Vec<u64> {
    map.keys().map(|node| node.0).collect()
}
