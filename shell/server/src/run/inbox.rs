//! What waits for the node's thread: one queue with a bound for each kind of sender.
//!
//! Clients beyond the bound are refused; peers' messages wait for room, so that nothing more is read from
//! the peers; what the node's own log and store threads report is never refused, and bounded by what the
//! node asked of them.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use node::{Input, NodeStatus, Reply, Request, WatchEvent, WatchRequest};
use prost::Message;
use storage::{GroupState, ScrubJob};
use tokio::sync::{Semaphore, mpsc, oneshot};
use types::{NodeId, Problem};
use wire::PeerMessage;

/// Bytes of peers' messages that may wait; some hundred milliseconds of a fast network.
pub const PEER_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Messages taken at once: bounds how long a tick waits behind a full queue.
pub const BATCH_MAX: usize = 4_096;

/// A message for the node's thread.
#[derive(Debug)]
pub(crate) enum NodeMessage {
    /// From the log and store threads, and about lost connections.
    Input(Input),
    /// From a peer, with the room that it takes in bytes.
    Peer(NodeId, PeerMessage, u32),
    /// From a client.
    Client { request: Request, deadline_ms: u64, reply: oneshot::Sender<Result<Reply, Problem>> },
    /// A client watches; what it is told goes to `events`.
    Watch { token: u64, request: WatchRequest, events: mpsc::UnboundedSender<WatchEvent> },
    /// What the node knows of itself.
    Status(oneshot::Sender<NodeStatus>),
    /// The means to verify a keyspace's checkpoint, and the state that it should have.
    Scrub { keyspace: String, shard: u32, reply: oneshot::Sender<Result<Scrub, Problem>> },
}

/// See [`NodeMessage::Scrub`].
#[derive(Debug)]
pub(crate) struct Scrub {
    pub(crate) job: ScrubJob,
    pub(crate) expected: GroupState,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The bound of its kind is reached.
    Full,
    /// The node is stopping.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    clients_max: usize,
    peer_room: Semaphore,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<NodeMessage>,
    clients: usize,
    closed: bool,
}

impl Inbox {
    /// At most `clients_max` client requests wait in it.
    pub(crate) fn new(clients_max: usize) -> Inbox {
        Inbox {
            clients_max,
            peer_room: Semaphore::new(PEER_BYTES_MAX as usize),
            queue: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// A report of the node's own threads. Ignored when the node has stopped.
    pub(crate) fn push_input(&self, input: Input) {
        self.push(self.lock(), NodeMessage::Input(input));
    }

    /// A peer's message; waits for room. Dropped, as a network may, when the node has stopped.
    pub(crate) async fn push_peer(&self, from: NodeId, message: PeerMessage) {
        // A message of any size fits an empty queue.
        let bytes = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX).min(PEER_BYTES_MAX);
        if let Ok(room) = self.peer_room.acquire_many(bytes).await {
            room.forget();
            self.push(self.lock(), NodeMessage::Peer(from, message, bytes));
        }
    }

    /// A client's request, or a question about the node.
    pub(crate) fn push_client(&self, message: NodeMessage) -> Result<(), Refused> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Refused::Closed);
        }
        if queue.clients >= self.clients_max {
            return Err(Refused::Full);
        }
        queue.clients += 1;
        self.push(queue, message);
        Ok(())
    }

    /// Takes up to [`BATCH_MAX`] messages, waiting for the first until `until`. False when the inbox
    /// is closed and empty.
    pub(crate) fn take(&self, until: Instant, batch: &mut Vec<NodeMessage>) -> bool {
        let mut queue = self.lock();
        while queue.messages.is_empty() && !queue.closed {
            let wait = until.saturating_duration_since(Instant::now());
            if wait == Duration::ZERO {
                return true;
            }
            let waited = self.arrived.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = queue.messages.len().min(BATCH_MAX);
        for message in queue.messages.drain(..count).collect::<Vec<_>>() {
            match &message {
                NodeMessage::Input(_) => {}
                NodeMessage::Peer(_, _, bytes) => self.peer_room.add_permits(*bytes as usize),
                _ => queue.clients -= 1,
            }
            batch.push(message);
        }
        count > 0 || !queue.closed
    }

    /// No more messages are taken in; the node's thread ends after those that wait.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.peer_room.close();
        self.arrived.notify_all();
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, message: NodeMessage) {
        if !queue.closed {
            queue.messages.push_back(message);
            drop(queue);
            self.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn status() -> NodeMessage {
        NodeMessage::Status(oneshot::channel().0)
    }

    fn message(bytes: usize) -> PeerMessage {
        let reply = wire::message::ForwardReply { id: 1, reply: vec![0; bytes].into(), ..Default::default() };
        PeerMessage { group: 1, body: Some(wire::PeerBody::ForwardReply(reply)), ..Default::default() }
    }

    #[test]
    fn clients_beyond_the_bound_are_refused_until_some_are_taken() {
        let inbox = Inbox::new(2);
        inbox.push_client(status()).unwrap();
        inbox.push_client(status()).unwrap();
        assert_eq!(inbox.push_client(status()), Err(Refused::Full));
        inbox.push_input(Input::Tick);
        let mut batch = Vec::new();
        assert!(inbox.take(Instant::now(), &mut batch));
        assert_eq!(batch.len(), 3);
        inbox.push_client(status()).unwrap();
    }

    #[tokio::test]
    async fn peers_wait_for_room_yet_one_message_always_passes() {
        let inbox = Inbox::new(1);
        inbox.push_peer(NodeId(1), message(PEER_BYTES_MAX as usize)).await;
        let mut second = Box::pin(inbox.push_peer(NodeId(1), message(1)));
        let waits = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        inbox.take(Instant::now(), &mut Vec::new());
        second.await;
        let mut batch = Vec::new();
        inbox.take(Instant::now(), &mut batch);
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn what_waits_when_it_closes_is_still_taken() {
        let inbox = Inbox::new(1);
        inbox.push_input(Input::Tick);
        inbox.close();
        assert_eq!(inbox.push_client(status()), Err(Refused::Closed));
        let mut batch = Vec::new();
        assert!(inbox.take(Instant::now(), &mut batch));
        assert_eq!(batch.len(), 1);
        assert!(!inbox.take(Instant::now(), &mut batch));
    }
}
