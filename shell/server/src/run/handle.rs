//! How the doors reach the node: asynchronous calls to its thread.

use std::{sync::Arc, time::Duration};

use node::{NodeStatus, Reply, Request};
use tokio::{sync::oneshot, time::timeout};
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
}

impl NodeHandle {
    pub(crate) fn new(inbox: Arc<Inbox>, clock: Clock) -> NodeHandle {
        NodeHandle { inbox, clock }
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

fn stopping() -> Problem {
    Problem::not_applied(ErrorCode::Unavailable, "the node is stopping", "ask another node of the cluster")
}
