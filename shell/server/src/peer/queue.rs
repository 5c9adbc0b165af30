//! Messages that wait for one peer's connection.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
};

use tokio::sync::Notify;
use wire::{PeerMessage, frame::message_bytes};

use super::LinkMetrics;

/// Most bytes that wait for one peer: a few full frames. More would only be older when it arrives.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most messages that wait for one peer.
pub const QUEUE_MESSAGES_MAX: usize = 16_384;
/// Bytes after which a batch is cut, so that a long queue leaves in several frames and the receiver
/// works on the first while the next is on its way.
const BATCH_BYTES: usize = 1024 * 1024;

/// Bounded, closed while there is no connection. When full, the newest are dropped.
///
/// Invariant: `bytes` is the sum of the queued messages' sizes; nothing is queued while closed.
pub struct SendQueue {
    state: Mutex<State>,
    wake: Notify,
    metrics: Arc<LinkMetrics>,
}

#[derive(Default)]
struct State {
    open: bool,
    messages: VecDeque<(usize, PeerMessage)>,
    bytes: usize,
}

impl SendQueue {
    /// A closed queue.
    pub fn new(metrics: Arc<LinkMetrics>) -> SendQueue {
        SendQueue { state: Mutex::default(), wake: Notify::new(), metrics }
    }

    /// Takes messages in, or drops and counts them.
    pub fn push(&self, messages: Vec<PeerMessage>) {
        let mut dropped = 0;
        {
            let mut state = self.state();
            for message in messages {
                if !state.push(message) {
                    dropped += 1;
                }
            }
        }
        self.metrics.messages_dropped.add(dropped);
        self.wake.notify_one();
    }

    /// Lets messages in: there is a connection.
    pub fn open(&self) {
        self.state().open = true;
        self.metrics.connected.store(true, Ordering::Relaxed);
    }

    /// Drops what is queued and lets no more in: the connection ended.
    pub fn close(&self) {
        let dropped = mem::take(&mut *self.state()).messages.len();
        self.metrics.messages_dropped.add(dropped as u64);
        self.metrics.connected.store(false, Ordering::Relaxed);
    }

    /// Waits until there is something to send; answers the oldest, about a frame's worth. One caller
    /// at a time.
    pub async fn take(&self) -> Vec<PeerMessage> {
        loop {
            let batch = self.state().take();
            if !batch.is_empty() {
                return batch;
            }
            self.wake.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the queue")
    }
}

impl State {
    fn push(&mut self, message: PeerMessage) -> bool {
        let bytes = match message_bytes(&message) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, group = message.group, "a message to a peer is dropped");
                return false;
            }
        };
        let fits = self.messages.len() < QUEUE_MESSAGES_MAX && self.bytes + bytes <= QUEUE_BYTES_MAX;
        if !self.open || !fits {
            return false;
        }
        self.bytes += bytes;
        self.messages.push_back((bytes, message));
        true
    }

    fn take(&mut self) -> Vec<PeerMessage> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while batch_bytes < BATCH_BYTES
            && let Some((bytes, message)) = self.messages.pop_front()
        {
            batch_bytes += bytes;
            batch.push(message);
        }
        self.bytes -= batch_bytes;
        batch
    }
}
