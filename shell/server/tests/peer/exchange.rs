//! Good peers: order, size, restarts, and one slow peer among others.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use server::peer::{Delivery, PeerError, PeerEvent, PeerListener, PeerTimeouts, QUEUE_BYTES_MAX, start};
use types::NodeId;
use wire::PeerMessage;

use crate::cluster::{Certificates, Node, bind, entries, eventually, keys, nowhere, numbered, options};

#[tokio::test]
async fn thousands_of_messages_arrive_in_order_both_ways() {
    const COUNT: u64 = 5_000;
    let certificates = Certificates::new();
    let mut nodes = Node::pair(&certificates).await;
    for batch in 0..COUNT / 50 {
        for (node, peer) in [(0, 1), (1, 0)] {
            let messages = (0..50).map(|i| numbered(batch * 50 + i, (batch * 7 + i) as usize));
            nodes[node].send(peer, messages.collect());
        }
    }
    for (node, peer) in [(0, 1), (1, 0)] {
        for number in 0..COUNT {
            let bytes = (number / 50 * 7 + number % 50) as usize;
            assert_eq!(nodes[node].message().await, (NodeId(peer), numbered(number, bytes)));
        }
    }
    let metrics = nodes[0].transport.handle().metrics();
    assert_eq!(keys(metrics.links()), [1]);
    let link = &metrics.links()[&NodeId(1)];
    eventually("all counted as sent", || link.messages_sent.get() == COUNT).await;
    assert_eq!(link.messages_received.get(), COUNT);
    assert_eq!((link.messages_dropped.get(), link.reconnects(), link.frame_errors.get()), (0, 0, 0));
    assert!(link.frames_sent.get() < COUNT, "messages that wait together travel together");
    assert!(link.bytes_sent.get() < link.payload_bytes_sent.get(), "compressed");
    let [zero, one] = nodes;
    let sent = link.bytes_sent.get();
    assert_eq!(one.transport.handle().metrics().links()[&NodeId(0)].bytes_received.get(), sent);
    zero.transport.stop().await;
    one.transport.stop().await;
}

#[tokio::test]
async fn messages_of_the_largest_kinds_arrive() {
    let certificates = Certificates::new();
    let mut nodes = Node::pair(&certificates).await;
    // Snapshot chunks, many entries, and more than one frame can carry at once.
    let messages = vec![
        numbered(1, 1_300 * 1024),
        entries(100_000),
        entries(100_000),
        numbered(2, 8_000_000),
        numbered(3, 0),
    ];
    nodes[0].send(1, messages.clone());
    for message in messages {
        assert!(nodes[1].message().await == (NodeId(0), message), "arrives unchanged");
    }
    // A message that no frame can carry is dropped and counted; the connection goes on.
    nodes[0].send(1, vec![numbered(4, 9_000_000), numbered(5, 10)]);
    assert_eq!(nodes[1].message().await.1, numbered(5, 10));
    let metrics = nodes[0].transport.handle().metrics();
    assert_eq!(metrics.links()[&NodeId(1)].messages_dropped.get(), 1);
    nodes[0].send(7, vec![numbered(6, 1)]);
    assert_eq!(metrics.misaddressed.get(), 1);
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again_without_stale_messages() {
    let certificates = Certificates::new();
    // An address that no other test takes while it is free.
    let own = PeerListener::bind("127.0.0.77:0".parse().unwrap()).await.unwrap();
    let address = own.address();
    let [mut zero, one] = Node::pair_on(&certificates, [bind().await, own]).await;
    one.transport.stop().await;
    zero.until(PeerEvent::Down(NodeId(1))).await;
    zero.send(1, vec![numbered(1, 10)]);

    let listener = PeerListener::bind(address).await.unwrap();
    let mut one = Node::start(listener, options(&certificates, 1, &[(0, zero.transport.address())]));
    zero.until(PeerEvent::Up(NodeId(1))).await;
    one.until(PeerEvent::Up(NodeId(0))).await;
    zero.send(1, vec![numbered(2, 10)]);
    assert_eq!(one.message().await, (NodeId(0), numbered(2, 10)), "the first was for the old connection");
    one.send(0, vec![numbered(3, 10)]);
    assert_eq!(zero.message().await, (NodeId(1), numbered(3, 10)));
    let metrics = zero.transport.handle().metrics();
    let link = &metrics.links()[&NodeId(1)];
    assert_eq!((link.reconnects(), link.messages_dropped.get()), (1, 1));
    assert!(link.connected.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_peer_that_is_told_to_go_comes_back() {
    let certificates = Certificates::new();
    let [mut zero, one] = Node::pair(&certificates).await;
    one.transport.handle().disconnect(NodeId(0), "a vote for term 0");
    zero.until(PeerEvent::Down(NodeId(1))).await;
    zero.until(PeerEvent::Up(NodeId(1))).await;
    assert_eq!(one.transport.handle().metrics().links()[&NodeId(0)].message_errors.get(), 1);
}

#[tokio::test]
async fn a_blocked_peer_blocks_neither_the_sender_nor_other_peers() {
    let certificates = Certificates::new();
    let listeners = [bind().await, bind().await, bind().await];
    let [zero_at, one_at, two_at] = listeners.each_ref().map(PeerListener::address);
    let [zero, one, two] = listeners;
    let mut impatient = options(&certificates, 0, &[(1, one_at), (2, two_at)]);
    impatient.timeouts = PeerTimeouts { write: Duration::from_secs(4), ..impatient.timeouts };
    let mut zero = Node::start(zero, impatient);
    // Node 1's loop is stuck: it takes no event, so its transport stops reading.
    let stuck = Arc::new(|_| Box::pin(std::future::pending()) as Delivery);
    let one = start(one, options(&certificates, 1, &[(0, nowhere())]), stuck).unwrap();
    let mut two = Node::start(two, options(&certificates, 2, &[(0, zero_at)]));
    let mut up = [zero.event().await, zero.event().await];
    up.sort_by_key(|event| *event == PeerEvent::Up(NodeId(2)));
    assert_eq!(up, [PeerEvent::Up(NodeId(1)), PeerEvent::Up(NodeId(2))]);

    // Twice as much as the queue and the sockets hold; every call returns, or the test hangs.
    const MESSAGE_BYTES: usize = 1024 * 1024;
    let noise: Vec<PeerMessage> = (0..8).map(|number| numbered(number, MESSAGE_BYTES)).collect();
    for _ in 0..2 * QUEUE_BYTES_MAX / MESSAGE_BYTES / noise.len() {
        zero.send(1, noise.clone());
    }
    let metrics = zero.transport.handle().metrics();
    assert!(metrics.links()[&NodeId(1)].messages_dropped.get() > 0);
    zero.send(2, vec![numbered(99, 10)]);
    assert_eq!(two.message().await, (NodeId(0), numbered(99, 10)), "other peers are not held up");
    zero.until(PeerEvent::Down(NodeId(1))).await;
    assert_eq!(metrics.links()[&NodeId(2)].reconnects(), 0);
    one.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = bind().await;
    let error = PeerListener::bind(taken.address()).await.unwrap_err();
    assert!(matches!(error, PeerError::Bind { address, .. } if address == taken.address()));
    assert!(error.to_string().contains(&taken.address().to_string()), "{error}");
    assert!(error.to_string().contains("stop the process"), "{error}");
}
