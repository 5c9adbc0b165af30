//! Links over real sockets: every wait is for something that arrives.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{Effect, Network, Place};

const A: Place = Place::Node(0);
const B: Place = Place::Node(1);

/// Answers every byte with the same.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..bytes]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn linked() -> (Network, SocketAddr) {
    let mut network = Network::default();
    let address = network.link(A, B, echo().await).await.expect("a link");
    (network, address)
}

async fn exchange(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    stream.write_all(text).await.expect("sent");
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.expect("answered");
    back
}

#[tokio::test]
async fn everything_passes_a_whole_link() {
    let (_network, address) = linked().await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    assert_eq!(exchange(&mut stream, b"hello").await, b"hello");
    let long: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
    let (mut read, mut write) = stream.into_split();
    let sent = long.clone();
    tokio::spawn(async move { write.write_all(&sent).await });
    let mut back = vec![0; long.len()];
    read.read_exact(&mut back).await.expect("answered");
    assert!(back == long, "a million bytes in order");
}

#[tokio::test]
async fn what_is_said_over_a_silent_link_arrives_once_it_is_lifted() {
    for (from, to) in [(A, B), (B, A)] {
        let (network, address) = linked().await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        exchange(&mut stream, b"before").await;
        let applied = network.apply(vec![(from, to, Effect::Silent { lost: false })]);
        stream.write_all(b"x").await.expect("sent");
        let mut byte = [0];
        assert!(timeout(Duration::from_millis(100), stream.read_exact(&mut byte)).await.is_err());
        network.lift(applied);
        stream.read_exact(&mut byte).await.expect("late");
        assert_eq!(&byte, b"x");
    }
}

#[tokio::test]
async fn a_link_that_loses_closes_its_connections_when_it_is_lifted() {
    let (network, address) = linked().await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    exchange(&mut stream, b"before").await;
    let applied = network.apply(vec![(A, B, Effect::Silent { lost: true })]);
    stream.write_all(b"x").await.expect("sent");
    network.lift(applied);
    let mut byte = [0];
    let bytes = stream.read(&mut byte).await;
    assert!(matches!(bytes, Ok(0) | Err(_)), "what was lost is not answered: {bytes:?}");
    let mut next = TcpStream::connect(address).await.expect("connected");
    assert_eq!(exchange(&mut next, b"after").await, b"after");
}

#[tokio::test]
async fn a_refusing_link_closes_what_it_has_and_takes_nothing_new() {
    let (network, address) = linked().await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    exchange(&mut stream, b"before").await;
    let applied = network.apply(vec![(A, B, Effect::Refused)]);
    let mut byte = [0];
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
    let mut next = TcpStream::connect(address).await.expect("accepted");
    assert!(matches!(next.read(&mut byte).await, Ok(0) | Err(_)));
    network.lift(applied);
    let mut next = TcpStream::connect(address).await.expect("connected");
    assert_eq!(exchange(&mut next, b"after").await, b"after");
}

#[tokio::test]
async fn a_half_open_connection_stays_and_nobody_answers_while_new_ones_work() {
    let (network, address) = linked().await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    exchange(&mut stream, b"before").await;
    let applied = network.apply(vec![(A, B, Effect::HalfOpen)]);
    let mut next = TcpStream::connect(address).await.expect("connected");
    assert_eq!(exchange(&mut next, b"new").await, b"new");
    stream.write_all(b"x").await.expect("nobody tells");
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_err());
    network.lift(applied);
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn effects_overlap_and_each_ends_with_its_own() {
    let (network, address) = linked().await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let late = |ms| Effect::Late { delay: Duration::from_millis(ms), jitter: Duration::ZERO };
    let short = network.apply(vec![(A, B, late(20))]);
    let long = network.apply(vec![(A, B, late(200))]);
    let began = Instant::now();
    exchange(&mut stream, b"x").await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    network.lift(long);
    assert_eq!(network.way(A, B).delay, Duration::from_millis(20));
    assert_eq!(network.way(B, A).delay, Duration::ZERO);
    network.lift(short);
    assert_eq!(network.way(A, B), super::Way::default());
}
