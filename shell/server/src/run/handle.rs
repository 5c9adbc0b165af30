//! How the doors reach the node: asynchronous calls to its thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use node::{Input, NodeStatus, Reply, Request, WatchEvent, WatchRequest};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use types::{ErrorCode, Problem};

use super::{
    clock::Clock,
    inbox::{Inbox, NodeMessage, Refused, Scrub},
};

/// How long the node's thread may take beyond a deadline that it keeps itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long a question about the node itself may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// A running node. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct NodeHandle {
    inbox: Arc<Inbox>,
    clock: Clock,
    watches: Arc<AtomicU64>,
}

impl NodeHandle {
    pub(crate) fn new(inbox: Arc<Inbox>, clock: Clock) -> NodeHandle {
        NodeHandle { inbox, clock, watches: Arc::default() }
    }

    /// Asks, and waits for the one answer that comes by the deadline.
    pub(crate) async fn request(&self, request: Request, time_limit: Duration) -> Result<Reply, Problem> {
        let (reply, answer) = oneshot::channel();
        let deadline_ms = self.clock.mono_ms() + time_limit.as_millis() as u64;
        self.push(NodeMessage::Client { request, deadline_ms, reply })?;
        match timeout(time_limit + GRACE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Problem::unknown(
                ErrorCode::Unavailable,
                "the node stopped before it answered",
                "the request may have been carried out: read the key, on another node, before writing again",
            )),
            Err(_) => Err(Problem::unknown(
                ErrorCode::DeadlineExceeded,
                "the node did not answer before the deadline",
                "the request may have been carried out: read the key before writing again",
            )),
        }
    }

    /// Begins to watch.
    pub(crate) fn watch(&self, request: WatchRequest) -> Result<Watching, Problem> {
        let token = self.watches.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, events) = mpsc::unbounded_channel();
        self.push(NodeMessage::Watch { token, request, events: sender })?;
        Ok(Watching { inbox: self.inbox.clone(), token, events })
    }

    /// What the node knows of itself.
    pub(crate) async fn status(&self) -> Result<NodeStatus, Problem> {
        let (reply, answer) = oneshot::channel();
        self.push(NodeMessage::Status(reply))?;
        self.own_answer(answer).await
    }

    /// The means to verify the checkpoint of a keyspace's shard.
    pub(crate) async fn scrub(&self, keyspace: String, shard: u32) -> Result<Scrub, Problem> {
        let (reply, answer) = oneshot::channel();
        self.push(NodeMessage::Scrub { keyspace, shard, reply })?;
        self.own_answer(answer).await?
    }

    async fn own_answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Problem> {
        match timeout(STATUS_TIMEOUT, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(Problem::not_applied(
                ErrorCode::Unavailable,
                "the node is too busy to speak of itself",
                "ask again in a moment",
            )),
        }
    }

    fn push(&self, message: NodeMessage) -> Result<(), Problem> {
        self.inbox.push_client(message).map_err(|refused| match refused {
            Refused::Closed => stopping(),
            Refused::Full => Problem::not_applied(
                ErrorCode::Overloaded,
                "as many requests as the limit allows wait for this node",
                "wait a moment, then send it again; send less at once if it persists",
            ),
        })
    }
}

/// A watch under way. The node holds back what this side has not taken; dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Watching {
    inbox: Arc<Inbox>,
    token: u64,
    events: mpsc::UnboundedReceiver<WatchEvent>,
}

impl Watching {
    /// What it is told next; `None` when the node has stopped, or the watch ended.
    pub(crate) async fn next(&mut self) -> Option<WatchEvent> {
        self.events.recv().await
    }

    /// So many bytes of what it was told have been taken.
    pub(crate) fn taken(&self, bytes: u64) {
        self.inbox.push_input(Input::WatchCredit { token: self.token, bytes });
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.inbox.push_input(Input::Unwatch { token: self.token });
    }
}

fn stopping() -> Problem {
    Problem::not_applied(ErrorCode::Unavailable, "the node is stopping", "ask another node of the cluster")
}
