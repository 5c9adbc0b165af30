//! A node that dials the wrong thing says what it found there.

use std::time::Duration;

use server::peer::{PeerListener, PeerTimeouts, RefusalKind};
use tokio::io::AsyncWriteExt;
use types::{ClusterId, NodeId};

use crate::cluster::{Certificates, Node, bind, eventually, nowhere, options};

/// Node 0 dials `address` for node 1 and comes to this conclusion.
async fn conclusion(certificates: &Certificates, address: std::net::SocketAddr, kind: RefusalKind) {
    let node = Node::start(bind().await, options(certificates, 0, &[(1, address)]));
    let metrics = node.transport.handle().metrics();
    eventually(kind.name(), || metrics.refusals(kind) > 0).await;
    let link = &metrics.links()[&NodeId(1)];
    assert!(link.dial_failures.get() > 0);
    assert_eq!(link.connects.get(), 0);
    node.transport.stop().await;
}

#[tokio::test]
async fn another_node_at_the_address() {
    let certificates = Certificates::new();
    let two = Node::start(bind().await, options(&certificates, 2, &[(0, nowhere())]));
    conclusion(&certificates, two.transport.address(), RefusalKind::WrongNode).await;
}

#[tokio::test]
async fn a_node_of_another_authority() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let one = Node::start(bind().await, options(&theirs, 1, &[(0, nowhere())]));
    conclusion(&ours, one.transport.address(), RefusalKind::Untrusted).await;
    let refused = one.transport.handle().metrics().refusals(RefusalKind::RefusedByPeer);
    assert!(refused > 0, "the other side knows that its certificate was refused");
}

#[tokio::test]
async fn a_cluster_that_does_not_list_us() {
    let certificates = Certificates::new();
    let one = Node::start(bind().await, options(&certificates, 1, &[(2, nowhere())]));
    conclusion(&certificates, one.transport.address(), RefusalKind::Closed).await;
    assert!(one.transport.handle().metrics().refusals(RefusalKind::NotMember) > 0);
}

#[tokio::test]
async fn something_that_is_not_a_peer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    conclusion(&Certificates::new(), address, RefusalKind::NotTls).await;
    http.abort();
}

#[tokio::test]
async fn nothing_there_and_no_such_name() {
    let certificates = Certificates::new();
    let mut options = options(&certificates, 0, &[(1, nowhere())]);
    options.peers.insert(NodeId(2), "no-such-host.invalid:1".into());
    let node = Node::start(bind().await, options);
    let metrics = node.transport.handle().metrics();
    for peer in [1, 2] {
        eventually("a second try", || metrics.links()[&NodeId(peer)].dial_failures.get() >= 2).await;
    }
    node.transport.stop().await;
}

/// A link that healed in one direction heals at once in the other: nobody waits out a pause of an hour.
#[tokio::test]
async fn a_peer_that_reaches_us_is_dialed_at_once() {
    let certificates = Certificates::new();
    let one_listens = bind().await;
    let one_at = one_listens.address();
    drop(one_listens);
    let mut patient = options(&certificates, 0, &[(1, one_at)]);
    let hour = Duration::from_secs(3_600);
    patient.timeouts = PeerTimeouts { backoff_min: hour, backoff_max: hour, ..patient.timeouts };
    let zero = Node::start(bind().await, patient);
    let metrics = zero.transport.handle().metrics();
    eventually("a failed try", || metrics.links()[&NodeId(1)].dial_failures.get() == 1).await;
    let one_listens = PeerListener::bind(one_at).await.expect("the port is free again");
    let one = Node::start(one_listens, options(&certificates, 1, &[(0, zero.transport.address())]));
    eventually("a connection", || metrics.links()[&NodeId(1)].connects.get() == 1).await;
    one.transport.stop().await;
    zero.transport.stop().await;
}

#[test]
#[should_panic(expected = "another node's certificate")]
fn a_certificate_of_another_cluster_is_a_bug_of_ours() {
    let certificates = Certificates::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut options = options(&certificates, 0, &[]);
        options.cluster = ClusterId([9; 16]);
        Node::start(bind().await, options);
    });
}
