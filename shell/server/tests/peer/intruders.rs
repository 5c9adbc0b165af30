//! Everything that may come to a peer port and must not be let in. Each case is refused for its own
//! reason, counted as that, and leaves the good connection alone.

use std::{net::SocketAddr, time::Duration};

use server::{
    peer::{PeerTimeouts, RefusalKind},
    tls::{CertificateAuthority, NodeFiles},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use types::{ClusterId, NodeId};
use wire::{Features, Hello, encode_frame};

use crate::cluster::{
    Certificates, DEADLINE, Node, Raw, bind, eventually, hello, identity, nowhere, numbered, options,
};

/// Nodes 0 and 1, connected; node 2 is a member that is not there: intruders say they are node 2.
struct Scene {
    certificates: Certificates,
    zero: Node,
    one: Node,
    address: SocketAddr,
    sent: u64,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with_handshake(Duration::from_secs(2)).await
    }

    async fn with_handshake(handshake: Duration) -> Scene {
        let certificates = Certificates::new();
        let (zero, one) = (bind().await, bind().await);
        let (address, one_at) = (zero.address(), one.address());
        let mut quick = options(&certificates, 0, &[(1, one_at), (2, nowhere())]);
        quick.timeouts = PeerTimeouts { handshake, ..quick.timeouts };
        let zero = Node::start(zero, quick);
        let mut one = Node::start(one, options(&certificates, 1, &[(0, address)]));
        one.until(server::peer::PeerEvent::Up(NodeId(0))).await;
        Scene { certificates, zero, one, address, sent: 0 }
    }

    /// Waits until node 0 refused one more for this reason, and checks the good connection.
    async fn expect(&mut self, kind: RefusalKind) {
        let metrics = self.zero.transport.handle().metrics();
        eventually(kind.name(), || metrics.refusals(kind) == 1).await;
        self.expect_good_connection().await;
    }

    async fn expect_good_connection(&mut self) {
        self.sent += 1;
        self.one.send(0, vec![numbered(self.sent, 100)]);
        assert_eq!(self.zero.message().await, (NodeId(1), numbered(self.sent, 100)));
        assert_eq!(self.one.transport.handle().metrics().links()[&NodeId(0)].reconnects(), 0);
    }

    async fn connect(&self, shown: Option<&NodeFiles>) -> Raw {
        Raw::connect(self.address, self.certificates.client(shown), 0).await.unwrap()
    }

    /// As node 2, with its own good certificate.
    async fn connect_as_two(&self) -> Raw {
        self.connect(Some(&self.certificates.files(2))).await
    }
}

#[tokio::test]
async fn bytes_that_are_not_tls() {
    let mut scene = Scene::new().await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: quorate\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("closed");
    scene.expect(RefusalKind::NotTls).await;
}

#[tokio::test]
async fn no_certificate() {
    let mut scene = Scene::new().await;
    // In TLS 1.3 the client is done before the server has seen that there is no certificate.
    scene.connect(None).await.read_to_end().await;
    scene.expect(RefusalKind::NoCertificate).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority() {
    let mut scene = Scene::new().await;
    let stranger = Certificates::new();
    scene.connect(Some(&stranger.files(2))).await.read_to_end().await;
    scene.expect(RefusalKind::Untrusted).await;
}

#[tokio::test]
async fn an_expired_certificate() {
    let mut scene = Scene::new().await;
    let expired = scene.certificates.forge(&identity(2).to_string(), (2001, 2002));
    scene.connect(Some(&expired)).await.read_to_end().await;
    scene.expect(RefusalKind::Expired).await;
}

#[tokio::test]
async fn a_certificate_that_names_no_node() {
    let mut scene = Scene::new().await;
    let nameless = scene.certificates.forge("db.example.com", (2020, 2190));
    scene.connect(Some(&nameless)).await.read_to_end().await;
    scene.expect(RefusalKind::WrongNode).await;
}

#[tokio::test]
async fn a_node_of_another_cluster_under_the_same_authority() {
    let mut scene = Scene::new().await;
    let directory = scene.certificates.files(2).authority.parent().unwrap().to_owned();
    let authority = CertificateAuthority::open_or_create(&directory).unwrap();
    let other = authority.issue(ClusterId([9; 16]), NodeId(77)).unwrap();
    scene.connect(Some(&other)).await.read_to_end().await;
    scene.expect(RefusalKind::WrongCluster).await;
}

#[tokio::test]
async fn a_node_that_is_not_a_member() {
    let mut scene = Scene::new().await;
    let nine = scene.certificates.files(9);
    scene.connect(Some(&nine)).await.read_to_end().await;
    scene.expect(RefusalKind::NotMember).await;
}

#[tokio::test]
async fn another_node_than_its_certificate_says() {
    let mut scene = Scene::new().await;
    let mut raw = scene.connect_as_two().await;
    raw.write(&hello(1).encode()).await.unwrap();
    raw.read_to_end().await;
    scene.expect(RefusalKind::WrongNode).await;
}

#[tokio::test]
async fn another_cluster_than_its_certificate_says() {
    let mut scene = Scene::new().await;
    let mut raw = scene.connect_as_two().await;
    raw.write(&Hello { cluster: ClusterId([9; 16]), ..hello(2) }.encode()).await.unwrap();
    raw.read_to_end().await;
    scene.expect(RefusalKind::WrongCluster).await;
}

#[tokio::test]
async fn a_version_too_new_is_told_ours() {
    let mut scene = Scene::new().await;
    let mut raw = scene.connect_as_two().await;
    raw.write(&Hello { protocol_min: 98, protocol_max: 99, ..hello(2) }.encode()).await.unwrap();
    let answer = raw.read_to_end().await;
    let (ours, _) = Hello::decode(&answer).unwrap().expect("a whole hello, so that the peer can say why");
    assert_eq!((ours.node, ours.protocol_max), (NodeId(0), 1));
    scene.expect(RefusalKind::NoCommonVersion).await;
}

#[tokio::test]
async fn garbage_for_a_hello() {
    let mut scene = Scene::new().await;
    let mut raw = scene.connect_as_two().await;
    raw.write(b"PING\r\n").await.unwrap();
    assert_eq!(raw.read_to_end().await, b"", "no answer to what is no hello");
    scene.expect(RefusalKind::BadHello).await;
}

#[tokio::test]
async fn silence() {
    let mut scene = Scene::new().await;
    let mut raw = scene.connect_as_two().await;
    raw.read_to_end().await;
    scene.expect(RefusalKind::Timeout).await;
}

#[tokio::test]
async fn a_crowd_is_bounded() {
    let mut scene = Scene::with_handshake(DEADLINE).await;
    let mut crowd = Vec::new();
    for _ in 0..65 {
        crowd.push(TcpStream::connect(scene.address).await.unwrap());
    }
    scene.expect(RefusalKind::Crowded).await;
}

#[tokio::test]
async fn bad_frames_end_their_connection_alone() {
    let mut scene = Scene::new().await;
    let good = encode_frame(&[numbered(1, 10)], Features::NONE).unwrap().unwrap().bytes;
    let mut flipped = good.clone();
    flipped[15] ^= 1;
    let oversized = [&u32::MAX.to_le_bytes()[..], &[0; 5]].concat();
    let cases = [("oversized", oversized), ("flipped", flipped), ("garbage", b"garbage garbage".to_vec())];
    for (refused, (name, bytes)) in (1..).zip(cases) {
        let mut raw = scene.connect_as_two().await;
        raw.greet(2).await;
        raw.write(&good).await.unwrap();
        assert_eq!(
            scene.zero.message().await,
            (NodeId(2), numbered(1, 10)),
            "the frame before {name} arrives"
        );
        raw.write(&bytes).await.unwrap();
        raw.read_to_end().await;
        let metrics = scene.zero.transport.handle().metrics();
        eventually(name, || metrics.links()[&NodeId(2)].frame_errors.get() == refused).await;
        scene.expect_good_connection().await;
    }
}

#[tokio::test]
async fn the_newest_connection_of_a_peer_is_the_one() {
    let mut scene = Scene::new().await;
    let mut older = scene.connect_as_two().await;
    older.greet(2).await;
    let mut newer = scene.connect_as_two().await;
    newer.greet(2).await;
    older.read_to_end().await;
    let frame = encode_frame(&[numbered(5, 10)], Features::NONE).unwrap().unwrap().bytes;
    newer.write(&frame).await.unwrap();
    assert_eq!(scene.zero.message().await, (NodeId(2), numbered(5, 10)));
    scene.expect_good_connection().await;
}
