//! The thread that owns the core: takes in everything that waits, then carries out what comes of it.
//! Batching is natural: what arrives during one round is handled in the next; nothing lingers.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use node::{Fatal, Input, Node, NodeEvent, Output, Reply, WatchEvent};
use tokio::sync::{mpsc::UnboundedSender, oneshot};
use types::{ErrorCode, NodeId, Problem};
use wire::PeerMessage;

use super::{
    clock::Clock,
    inbox::{Inbox, NodeMessage, Scrub},
    log_thread::LogJob,
    stop::{EXIT_BROKEN_INVARIANT, guard, stop_process, store_exit_code},
    store_thread::StoreJob,
};
use crate::peer::PeerHandle;

/// Ticks to make up for at once. After a longer pause (a suspended process) the rest is skipped, so that
/// messages that arrived meanwhile are seen before an election begins.
const TICKS_BEHIND_MAX: u32 = 3;

/// What the node's thread works with.
pub(crate) struct NodeThread {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) tick: Duration,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) log: mpsc::Sender<LogJob>,
    pub(crate) store: mpsc::Sender<StoreJob>,
    /// None in a cluster of one.
    pub(crate) peers: Option<PeerHandle>,
}

struct Work {
    parts: NodeThread,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Reply, Problem>>>,
    /// Where watches are told, by token.
    watches: BTreeMap<u64, UnboundedSender<WatchEvent>>,
    last_token: u64,
    outputs: Vec<Output>,
    to_peers: BTreeMap<NodeId, Vec<PeerMessage>>,
}

/// Starts the thread; it ends when the inbox is closed and empty.
pub(crate) fn start(parts: NodeThread) -> thread::JoinHandle<()> {
    let body = move || {
        guard("node", || {
            let work = Work {
                parts,
                waiting: BTreeMap::new(),
                watches: BTreeMap::new(),
                last_token: 0,
                outputs: Vec::new(),
                to_peers: BTreeMap::new(),
            };
            work.run().unwrap_or_else(|fatal| stop_process(exit_code(&fatal), &fatal.to_string()));
        });
    };
    let thread = thread::Builder::new().name("quorate-node".to_owned()).spawn(body);
    thread.expect("the operating system gives the node its threads")
}

impl Work {
    fn run(mut self) -> Result<(), Fatal> {
        let mut batch = Vec::new();
        let mut next_tick = Instant::now();
        loop {
            if !self.parts.inbox.take(next_tick, &mut batch) {
                return Ok(());
            }
            for message in batch.drain(..) {
                self.take(message)?;
            }
            self.tick(&mut next_tick)?;
            let now = self.parts.clock.now();
            self.parts.node.poll(now, &mut self.outputs)?;
            self.carry_out();
        }
    }

    fn tick(&mut self, next_tick: &mut Instant) -> Result<(), Fatal> {
        let now = Instant::now();
        let tick = self.parts.tick;
        if now.saturating_duration_since(*next_tick) > tick * TICKS_BEHIND_MAX {
            *next_tick = now;
        }
        while *next_tick <= now {
            self.handle(Input::Tick)?;
            *next_tick += tick;
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), Fatal> {
        self.parts.node.handle(self.parts.clock.now(), input)
    }

    fn take(&mut self, message: NodeMessage) -> Result<(), Fatal> {
        match message {
            NodeMessage::Input(input) => {
                if let Input::Unwatch { token } = &input {
                    self.watches.remove(token);
                }
                self.handle(input)
            }
            NodeMessage::Peer(from, message, _) => self.handle(Input::Peer { from, message }),
            // The client has gone: spare the cluster the work.
            NodeMessage::Client { reply, .. } if reply.is_closed() => Ok(()),
            NodeMessage::Client { request, deadline_ms, reply } => {
                self.last_token += 1;
                let token = self.last_token;
                self.waiting.insert(token, reply);
                self.handle(Input::Client { token, request, deadline_ms })
            }
            NodeMessage::Watch { token, request, events } => {
                self.watches.insert(token, events);
                self.handle(Input::Watch { token, request })
            }
            NodeMessage::Status(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(self.parts.node.status(self.parts.clock.now()));
                Ok(())
            }
            NodeMessage::Scrub { keyspace, shard, reply } => {
                let found = self.parts.node.keyspace_groups(&keyspace);
                let found = found.and_then(|groups| {
                    let shards = groups.len();
                    let group = groups.get(shard as usize).copied().ok_or_else(|| no_shard(shard, shards))?;
                    let (job, expected) = self.parts.node.scrub_job(group);
                    Ok(Scrub { job, expected })
                });
                // Whoever asked may have stopped waiting.
                let _ = reply.send(found);
                Ok(())
            }
        }
    }

    fn carry_out(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Send { to, message } => self.to_peers.entry(to).or_default().push(message),
                // A send fails only when the receiving thread has ended, which ends the process.
                Output::Write(batch) => drop(self.parts.log.send(LogJob::Write(batch))),
                Output::Retain(first_needed) => drop(self.parts.log.send(LogJob::Retain(first_needed))),
                Output::Checkpoint(job) => drop(self.parts.store.send(StoreJob::Checkpoint(job))),
                Output::Install(job) => drop(self.parts.store.send(StoreJob::Install(job))),
                Output::Reclaim(job) => drop(self.parts.store.send(StoreJob::Reclaim(job))),
                Output::Reply { token, result } => {
                    let reply = self.waiting.remove(&token).expect("a client is answered once");
                    let _ = reply.send(result);
                }
                Output::Watch { token, event } => {
                    let ended = matches!(event, WatchEvent::Ended(_));
                    // Whoever has stopped listening says so.
                    let told = self.watches.get(&token).map(|events| events.send(event));
                    if ended && told.is_some() {
                        self.watches.remove(&token);
                    }
                }
                Output::Disconnect { peer, reason } => {
                    if let Some(peers) = &self.parts.peers {
                        peers.disconnect(peer, &reason);
                    }
                }
                Output::Event(event) => log_event(&event),
            }
        }
        for (to, messages) in std::mem::take(&mut self.to_peers) {
            if let Some(peers) = &self.parts.peers {
                peers.send(to, messages);
            }
        }
    }
}

fn no_shard(shard: u32, shards: usize) -> Problem {
    Problem::not_applied(
        ErrorCode::InvalidArgument,
        format!("there is no shard {shard}: the keyspace has {shards}, numbered from 0"),
        "name one that there is",
    )
}

fn exit_code(fatal: &Fatal) -> i32 {
    match fatal {
        Fatal::Store(error) => store_exit_code(error),
        _ => EXIT_BROKEN_INVARIANT,
    }
}

fn log_event(event: &NodeEvent) {
    match event {
        NodeEvent::Role { group, role, term, leader } => {
            let leader = leader.map(|node| node.0);
            tracing::info!(%group, role = role.name(), term, leader, "role or leader changed");
        }
        NodeEvent::GroupStarted { group, keyspace } => tracing::info!(%group, keyspace, "group started"),
        NodeEvent::GroupStopped { group, keyspace } => {
            tracing::info!(%group, keyspace, "the keyspace was deleted: group stopped");
        }
        NodeEvent::GroupReclaimed { group } => tracing::info!(%group, "removed a deleted keyspace's rows"),
        NodeEvent::SnapshotSending { group, to, index } => {
            tracing::info!(%group, %to, index, "sending a snapshot");
        }
        NodeEvent::SnapshotInstalled { group, index } => {
            tracing::info!(%group, index, "installed a snapshot");
        }
        NodeEvent::Checkpointed { applied } => tracing::debug!(?applied, "checkpointed"),
    }
}
