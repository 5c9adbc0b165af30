//! One peer's outgoing connection: dialed, kept, dialed again; everything queued goes into its frames.

use std::{io, mem, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use types::NodeId;
use wire::{EncodedFrame, Features, FrameBuilder, PeerMessage, Push};

use super::{
    LinkMetrics, PeerEvent, Refusal, Shared,
    backoff::Backoff,
    handshake::{self, Connection},
    queue::SendQueue,
    until_stopped,
};

/// Bytes that each have the write timeout to themselves, so that a slow link is not a dead one.
const WRITE_BYTES: usize = 64 * 1024;
/// How long a goodbye may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs until `stopped`.
pub async fn run(shared: Arc<Shared>, peer: NodeId, address: String, mut stopped: watch::Receiver<bool>) {
    let link = shared.metrics.link(peer);
    let mut dialer = Dialer { shared: &shared, peer, address: &address, link, logged: String::new() };
    let mut backoff = Backoff::default();
    let timeouts = &shared.options.timeouts;
    loop {
        let connection = tokio::select! {
            connection = dialer.dial() => connection,
            () = until_stopped(&mut stopped) => return,
        };
        match connection {
            Ok(connection) => {
                let since = Instant::now();
                dialer.hold(connection, &mut stopped).await;
                if since.elapsed() >= timeouts.backoff_max {
                    backoff.reset();
                }
            }
            Err(error) => dialer.record(&error),
        }
        tokio::select! {
            () = sleep(backoff.next(timeouts)) => {}
            () = shared.reached_us[&peer].notified() => {}
            () = until_stopped(&mut stopped) => return,
        }
    }
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("the name does not resolve: {0}")]
    Resolve(io::Error),
    #[error("{0}")]
    Connect(io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

struct Dialer<'a> {
    shared: &'a Shared,
    peer: NodeId,
    address: &'a str,
    link: Arc<LinkMetrics>,
    /// The last failure in the log; empty since the last connection.
    logged: String,
}

impl Dialer<'_> {
    fn record(&mut self, error: &DialError) {
        self.link.dial_failures.add(1);
        if let DialError::Refused(refusal) = error {
            self.shared.metrics.refused(refusal.kind());
        }
        // Once per reason, not once per try.
        let reason = error.to_string();
        if reason != self.logged {
            tracing::warn!(peer = %self.peer, address = self.address, %reason, "cannot connect to a peer; trying on");
            self.logged = reason;
        }
    }

    async fn dial(&self) -> Result<Connection<impl AsyncRead + AsyncWrite + Unpin + use<>>, DialError> {
        let timeouts = &self.shared.options.timeouts;
        let stream = loop {
            tokio::select! {
                stream = self.connect() => break stream?,
                // What was sent before the network healed is lost, and would be repeated only later.
                () = self.shared.reached_us[&self.peer].notified() => {}
            }
        };
        handshake::prepare_socket(&stream, timeouts.confirm).map_err(DialError::Connect)?;
        let dialed = timeout(timeouts.handshake, handshake::dial(self.shared, self.peer, stream)).await;
        Ok(dialed.map_err(|_| Refusal::Timeout)??)
    }

    /// The first of the name's addresses that answers.
    async fn connect(&self) -> Result<TcpStream, DialError> {
        let within = self.shared.options.timeouts.connect;
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        let addresses = match timeout(within, lookup_host(self.address)).await.map_err(timed_out) {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) | Err(error) => return Err(DialError::Resolve(error)),
        };
        let mut failure = DialError::Resolve(io::Error::other("it has no address"));
        for address in addresses {
            match timeout(within, TcpStream::connect(address)).await.map_err(timed_out) {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) | Err(error) => failure = DialError::Connect(error),
            }
        }
        Err(failure)
    }

    /// Sends over the connection until it ends.
    async fn hold<S>(&mut self, connection: Connection<S>, stopped: &mut watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (peer, address) = (self.peer, self.address);
        let Connection { stream, session, hello, received, .. } = connection;
        tracing::info!(%peer, %address, build = ?hello.build, protocol = session.protocol, "connected to a peer");
        self.logged.clear();
        let queue = &self.shared.queues[&peer];
        queue.open();
        self.link.connects.add(1);
        (self.shared.events)(vec![PeerEvent::Up(peer)]).await;

        let (mut read, mut write) = tokio::io::split(stream);
        let mut sender = Sender {
            queue,
            link: &self.link,
            features: session.features,
            timeout: self.shared.options.timeouts.write,
            write: &mut write,
        };
        let error = tokio::select! {
            error = sender.run() => error,
            error = until_closed(&mut read, received) => error,
            () = until_stopped(stopped) => io::Error::other("this node is stopping"),
        };
        // The connection may be dead; then there is no one to say goodbye to.
        let _ = timeout(SHUTDOWN_TIMEOUT, write.shutdown()).await;
        queue.close();
        tracing::info!(%peer, %address, reason = %error, "the connection to a peer ended");
        (self.shared.events)(vec![PeerEvent::Down(peer)]).await;
    }
}

/// The peer sends nothing after its hello; reading tells when the connection ends.
async fn until_closed(read: &mut (impl AsyncRead + Unpin), received: Vec<u8>) -> io::Error {
    let outcome = if received.is_empty() { read.read(&mut [0]).await } else { Ok(received.len()) };
    match outcome {
        Ok(0) => io::Error::other("the peer closed it"),
        Ok(_) => io::Error::other("the peer sent on a connection that it only receives on"),
        Err(error) => error,
    }
}

struct Sender<'a, W> {
    queue: &'a SendQueue,
    link: &'a LinkMetrics,
    features: Features,
    timeout: Duration,
    write: &'a mut W,
}

impl<W: AsyncWrite + Unpin> Sender<'_, W> {
    /// Sends what is queued, as it is queued, until that fails.
    async fn run(&mut self) -> io::Error {
        loop {
            let batch = self.queue.take().await;
            if let Err(error) = self.send(&batch).await {
                return error;
            }
        }
    }

    /// One frame, or more if a limit of the frame wants it.
    async fn send(&mut self, batch: &[PeerMessage]) -> io::Result<()> {
        const CHECKED: &str = "its size was checked when it was queued";
        let mut frame = FrameBuilder::new(self.features);
        for message in batch {
            if frame.push(message).expect(CHECKED) == Push::Full {
                let full = mem::replace(&mut frame, FrameBuilder::new(self.features));
                self.write(full.finish()).await?;
                assert_eq!(frame.push(message).expect(CHECKED), Push::Added, "an empty frame has room");
            }
        }
        self.write(frame.finish()).await
    }

    async fn write(&mut self, frame: Option<EncodedFrame>) -> io::Result<()> {
        let Some(frame) = frame else { return Ok(()) };
        let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes");
        for part in frame.bytes.chunks(WRITE_BYTES) {
            timeout(self.timeout, self.write.write_all(part)).await.map_err(too_slow)??;
        }
        timeout(self.timeout, self.write.flush()).await.map_err(too_slow)??;
        self.link.frames_sent.add(1);
        self.link.messages_sent.add(frame.messages as u64);
        self.link.payload_bytes_sent.add(frame.payload_bytes as u64);
        self.link.bytes_sent.add(frame.bytes.len() as u64);
        Ok(())
    }
}
