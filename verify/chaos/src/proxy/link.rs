//! One link: a listener whose connections are forwarded to a target, each byte when the link's condition
//! lets it pass. Memory is bounded: a sender that is too fast is held back, as by a full socket.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::condition::{Condition, Way};

/// Most bytes that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks on their way in one direction of one connection; the sender is held back beyond that.
const CHUNKS_MAX: usize = 64;
/// Most connections of one link; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long the target may take to accept.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one side may leave a connection open that the other has closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// What the connections of a link look at.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    condition: Condition,
    /// Connections that were made before the last of these are closed.
    resets: u64,
    /// Connections that were made before the last of these lose their far end, and stay open.
    half_opens: u64,
}

/// A link.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    /// Shared by the links of one address, and ended by the last of them.
    _accepting: Arc<Accepting>,
}

#[derive(Debug)]
struct Accepting(JoinHandle<()>);

impl Link {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is none.
    pub async fn listen(target: SocketAddr) -> io::Result<Link> {
        let links = Link::listen_for(1, target, |_| Some(0)).await?;
        Ok(links.into_iter().next().expect("one was asked for"))
    }

    /// Listens on one free port of 127.0.0.1 for so many links; `which` says to which of them a dialer belongs, by
    /// its address. One that belongs to none passes whatever the others are in.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn listen_for(
        count: usize,
        target: SocketAddr,
        which: impl Fn(SocketAddr) -> Option<usize> + Send + 'static,
    ) -> io::Result<Vec<Link>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let orders: Vec<_> = (0..count).map(|_| watch::channel(Orders::default())).collect();
        let (whole, always) = watch::channel(Orders::default());
        let seen: Vec<_> = orders.iter().map(|(_, seen)| seen.clone()).collect();
        let accepting = tokio::spawn(async move {
            let orders_of =
                move |dialer| which(dialer).and_then(|number| seen.get(number)).unwrap_or(&always).clone();
            accept(listener, target, orders_of).await;
            drop(whole);
        });
        let accepting = Arc::new(Accepting(accepting));
        let link = |orders| Link { address, orders, _accepting: Arc::clone(&accepting) };
        Ok(orders.into_iter().map(|(orders, _)| link(orders)).collect())
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set(&self, condition: Condition) {
        self.orders.send_if_modified(|orders| {
            let changed = orders.condition != condition;
            if condition.refused() && !orders.condition.refused() {
                orders.resets += 1;
            }
            orders.condition = condition;
            changed
        });
    }

    pub(super) fn reset(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }

    pub(super) fn half_open(&self) {
        self.orders.send_modify(|orders| orders.half_opens += 1);
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    orders_of: impl Fn(SocketAddr) -> watch::Receiver<Orders>,
) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((near, dialer)) => {
                    connections.spawn(serve(near, target, orders_of(dialer)));
                }
                // No descriptor is free; connections that end give theirs back.
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(near: TcpStream, target: SocketAddr, mut orders: watch::Receiver<Orders>) {
    let born = *orders.borrow();
    if born.condition.refused() {
        return;
    }
    let mut watched = orders.clone();
    tokio::select! {
        () = carry(near, target, born, &mut orders) => {}
        // The link is gone when this fails: then the connection goes as well.
        _ = watched.wait_for(|orders| orders.resets > born.resets) => {}
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, born: Orders, orders: &mut watch::Receiver<Orders>) {
    // Over a silent link no connection comes about.
    if orders.wait_for(|orders| !orders.condition.silent()).await.is_err() {
        return;
    }
    let Ok(Ok(mut far)) = timeout(CONNECT_WITHIN, TcpStream::connect(target)).await else { return };
    // Delays are ours to make.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let half_opened = {
        let mut watched = orders.clone();
        let out = pump(near_read, far_write, orders.clone(), |condition| condition.out);
        let back = pump(far_read, near_write, orders.clone(), |condition| condition.back);
        tokio::select! {
            () = both(out, back) => false,
            seen = watched.wait_for(|orders| orders.half_opens > born.half_opens) => seen.is_ok(),
        }
    };
    if half_opened {
        drop(far);
        let mut nobody = vec![0; CHUNK_BYTES];
        while near.read(&mut nobody).await.is_ok_and(|bytes| bytes > 0) {}
    }
}

/// Until both directions have ended, or one has failed, or one ended and the other does not follow.
async fn both(out: impl Future<Output = End>, back: impl Future<Output = End>) {
    let (mut out, mut back) = (pin!(out), pin!(back));
    let first_out = tokio::select! {
        end = &mut out => (end, true),
        end = &mut back => (end, false),
    };
    // A time limit that passes ends the connection as well.
    match first_out {
        (End::Failed, _) => {}
        (End::Closed, true) => drop(timeout(CLOSE_WITHIN, back).await),
        (End::Closed, false) => drop(timeout(CLOSE_WITHIN, out).await),
    }
}

/// How a direction ended.
enum End {
    /// Its sender had said everything, and its receiver was told so.
    Closed,
    /// The connection broke.
    Failed,
}

/// Forwards until either side ends, each chunk when it is due.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut orders: watch::Receiver<Orders>,
    way: fn(&Condition) -> Way,
) -> End {
    let (chunks, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let reading = orders.clone();
    let read = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let bytes = match from.read(&mut buffer).await {
                Ok(0) => return End::Closed,
                Ok(bytes) => bytes,
                Err(_) => return End::Failed,
            };
            let Way { delay, jitter, .. } = way(&reading.borrow().condition);
            let due = Instant::now() + delay + jitter.mul_f64(fastrand::f64());
            if chunks.send((due, buffer[..bytes].to_vec())).await.is_err() {
                return End::Failed;
            }
        }
    };
    let write = async move {
        while let Some((due, mut bytes)) = arriving.recv().await {
            sleep_until(due).await;
            let now = match orders.wait_for(|orders| !way(&orders.condition).silent).await {
                Ok(orders) => way(&orders.condition),
                Err(_) => return End::Failed,
            };
            if fastrand::u16(0..1000) < now.corrupt_per_mille {
                let (byte, bit) = (fastrand::usize(..bytes.len()), fastrand::u8(0..8));
                bytes[byte] ^= 1 << bit;
            }
            if now.bytes_per_s > 0 {
                sleep(Duration::from_secs_f64(bytes.len() as f64 / now.bytes_per_s as f64)).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return End::Failed;
            }
        }
        let _ = to.shutdown().await;
        End::Closed
    };
    // What was read before the end is still delivered.
    let (mut read, mut write) = (pin!(read), pin!(write));
    tokio::select! {
        end = &mut read => match end {
            End::Closed => write.await,
            End::Failed => End::Failed,
        },
        end = &mut write => end,
    }
}
