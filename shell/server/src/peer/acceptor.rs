//! Incoming connections: authenticated, then read until they end.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use types::NodeId;
use wire::{Decoder, FrameError, PeerMessage};

use super::{
    LinkMetrics, PeerEvent, Refusal, Shared,
    handshake::{self, Connection},
    until_stopped,
};

/// Most connections that have not yet shown who they are. Strangers cost no more than this.
const HANDSHAKES_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// The wait after the system could not hand over a connection (too many open files, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Runs until `stopped`.
pub async fn run(shared: Arc<Shared>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&shared, &listener, &mut connections) => {}
        () = until_stopped(&mut stopped) => {}
    }
    connections.shutdown().await;
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener, connections: &mut JoinSet<()>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match (accepted, handshakes.clone().try_acquire_owned()) {
            (Ok((stream, address)), Ok(permit)) => {
                connections.spawn(serve(shared.clone(), stream, address, permit));
            }
            (Ok((_, address)), Err(_)) => refuse(shared, address, &Refusal::Crowded),
            (Err(error), _) => {
                if let Some(left_out) = shared.accepts_logged.admit(Instant::now()) {
                    tracing::warn!(%error, left_out, "cannot accept a peer's connection; trying on");
                }
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Anyone can be refused as often as they like: not every refusal gets a line in the log.
fn refuse(shared: &Shared, address: SocketAddr, refusal: &Refusal) {
    let kind = refusal.kind();
    shared.metrics.refused(kind);
    if let Some(left_out) = shared.refusals_logged[kind as usize].admit(Instant::now()) {
        tracing::warn!(%address, reason = %refusal, left_out, "a connection to the peer port is refused");
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
    let timeouts = &shared.options.timeouts;
    let authenticate = async {
        handshake::prepare_socket(&stream, timeouts.confirm)?;
        handshake::accept(&shared, stream).await
    };
    let connection = match timeout(timeouts.handshake, authenticate).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(refusal)) => return refuse(&shared, address, &refusal),
        Err(_) => return refuse(&shared, address, &Refusal::Timeout),
    };
    drop(permit);

    let (peer, link) = (connection.peer, shared.metrics.link(connection.peer));
    link.accepts.add(1);
    tracing::info!(%peer, %address, build = ?connection.hello.build, boot = connection.hello.boot, "a peer connected");
    if let Some(dialer) = shared.reached_us.get(&peer) {
        dialer.notify_one();
    }
    let mut claim = shared.inbound.claim(peer);
    tokio::select! {
        end = receive(&shared, connection, &link) => end.record(peer, &link),
        reason = &mut claim.close => {
            tracing::info!(%peer, reason = ?reason.ok(), "a peer's connection is closed");
        }
    }
    shared.inbound.release(peer, claim.number);
}

/// Why a connection's bytes ended.
enum End {
    Closed { inside_frame: bool },
    Failed(io::Error),
    BadFrame(FrameError),
}

impl End {
    fn record(self, peer: NodeId, link: &LinkMetrics) {
        match self {
            End::Closed { inside_frame } => {
                tracing::info!(%peer, inside_frame, "a peer closed its connection")
            }
            End::Failed(error) => tracing::info!(%peer, %error, "a peer's connection failed"),
            End::BadFrame(error) => {
                link.frame_errors.add(1);
                tracing::warn!(%peer, %error, "a peer's connection is closed: it sent a bad frame");
            }
        }
    }
}

/// Delivers messages until the connection ends. Reads on only when the receiver has room.
async fn receive<S: AsyncRead + Unpin>(
    shared: &Shared,
    connection: Connection<S>,
    link: &LinkMetrics,
) -> End {
    let Connection { mut stream, peer, session, received, .. } = connection;
    let mut decoder = Decoder::new(session.features);
    let mut buffer = received;
    let mut filled = buffer.len();
    buffer.resize(READ_BYTES, 0);
    loop {
        let mut input = &buffer[..filled];
        link.bytes_received.add(filled as u64);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(messages)) => deliver(shared, peer, messages, link).await,
                Ok(None) => break,
                Err(error) => return End::BadFrame(error),
            }
        }
        filled = match stream.read(&mut buffer).await {
            Ok(0) => return End::Closed { inside_frame: decoder.is_inside_frame() },
            Ok(filled) => filled,
            Err(error) => return End::Failed(error),
        };
    }
}

async fn deliver(shared: &Shared, peer: NodeId, messages: Vec<PeerMessage>, link: &LinkMetrics) {
    link.frames_received.add(1);
    link.messages_received.add(messages.len() as u64);
    let events = messages.into_iter().map(|message| PeerEvent::Message { from: peer, message });
    (shared.events)(events.collect()).await;
}
