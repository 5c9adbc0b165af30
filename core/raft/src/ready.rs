//! What comes out: draining the engine, and letting go of what waited for the disk.
//!
//! The engine numbers what it hands out. A number with entries, a snapshot, a new term or a new
//! vote becomes a write; one with only a new commit index does not, since commit is recomputed
//! after a crash: it travels with the next write. A follower's messages wait for their own number's
//! write, or for the last write before it.

use raft::eraftpb::{self, MessageType};
use raft::{Ready, StateRole};
use types::{GroupWrite, HardState, LogPosition};

use crate::convert::{node_id, to_wire};
use crate::group::{Outstanding, RaftGroup};
use crate::output::{GroupOutput, GroupReady};

impl RaftGroup {
    /// Appends everything that can be done now to `out`.
    pub fn poll(&mut self, out: &mut GroupOutput) {
        for message in std::mem::take(&mut self.released) {
            self.emit(message, out);
        }
        while self.engine.has_ready() {
            self.drain_one(out);
            self.settle();
        }
        out.wants_checkpoint |= self.engine.store().take_wants_checkpoint();
    }

    /// The write with this number, and every one before it, is durable; for one that was in
    /// [`GroupOutput::install`], also that the snapshot is installed.
    ///
    /// # Panics
    ///
    /// When no write with this number was handed out.
    pub fn persisted(&mut self, ready: u64) {
        let mut through = None;
        let mut installed = None;
        while let Some(write) = self.outstanding.pop_front_if(|write| write.ready <= ready) {
            through = Some(write.through);
            self.durable_term = write.term;
            installed = write.install.or(installed);
            self.released.extend(write.messages);
        }
        let Some(through) = through else { return };
        assert!(ready <= through, "write {ready} was never handed out");
        self.reset_outstanding = self.reset_outstanding.filter(|reset| *reset > ready);
        self.engine.on_persist_ready(through);
        if let Some(position) = installed {
            self.engine.advance_apply_to(position.index);
            self.engine.mut_store().set_snapshot(position);
        }
        self.settle();
    }

    fn drain_one(&mut self, out: &mut GroupOutput) {
        let mut ready = self.engine.ready();
        let number = ready.number();
        let now = ready.take_messages();
        let mut later = ready.take_persisted_messages();
        for read in ready.take_read_states() {
            let round = read_id(&read.request_ctx);
            self.read_lease.confirm(round);
            out.reads.push((round, read.index));
        }
        let committed = ready.take_committed_entries();
        let write = self.take_write(&mut ready);
        // From here on the cache has what the engine handed out.
        self.engine.advance_append_async(ready);
        for entry in committed {
            let entry = self.engine.store().get(entry.index);
            out.committed.push(entry.cloned().expect("a committed entry is in the log cache"));
        }
        for message in now {
            self.emit(message, out);
        }
        // Confirms no more than a term that is durable: it need not wait for entries (thesis 6.4).
        let durable_term = self.durable_term;
        let early = |message: &mut eraftpb::Message| {
            message.get_msg_type() == MessageType::MsgHeartbeatResponse && message.term <= durable_term
        };
        for message in later.extract_if(.., early) {
            self.emit(message, out);
        }
        match write {
            Some((write, install)) => {
                if let Some(position) = install {
                    out.install = Some((number, position));
                }
                if write.reset.is_some() {
                    self.reset_outstanding = Some(number);
                }
                let term = self.written_hard_state.term;
                out.writes.push(GroupReady { ready: number, write });
                self.outstanding.push_back(Outstanding {
                    ready: number,
                    through: number,
                    term,
                    install,
                    messages: later,
                });
                #[cfg(feature = "planted")]
                if self.planted == Some(crate::Planted::AckBeforeFsync) && !self.installing() {
                    self.persisted(number);
                    for message in std::mem::take(&mut self.released) {
                        self.emit(message, out);
                    }
                }
            }
            None => match self.outstanding.back_mut() {
                Some(last) => {
                    last.through = number;
                    last.messages.extend(later);
                }
                None => {
                    self.engine.on_persist_ready(number);
                    for message in later {
                        self.emit(message, out);
                    }
                }
            },
        }
    }

    /// The write that this ready needs, with the position of a snapshot in it.
    fn take_write(&mut self, ready: &mut Ready) -> Option<(GroupWrite, Option<LogPosition>)> {
        if !ready.must_sync() {
            return None;
        }
        let metadata = ready.snapshot().get_metadata();
        let position = LogPosition { index: metadata.index, term: metadata.term };
        let install = (!ready.snapshot().is_empty()).then_some(position);
        let reset_first = self.reset_first.take();
        let hard_state = self.engine.raft.hard_state();
        let hard_state =
            HardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit };
        let cache = self.engine.mut_store();
        if let Some(position) = install {
            cache.reset(position);
        }
        let reset = install.or(reset_first);
        let entries = cache.append(&ready.take_entries());
        let changed = reset.is_some() || hard_state != self.written_hard_state;
        #[cfg(feature = "planted")]
        let changed = changed || self.planted == Some(crate::Planted::TermNotPersisted);
        self.written_hard_state = hard_state;
        let hard_state = changed.then_some(self.hard_state_to_write(hard_state));
        Some((GroupWrite { group: self.group, reset, entries, hard_state }, install))
    }

    #[cfg(feature = "planted")]
    fn hard_state_to_write(&self, hard_state: HardState) -> HardState {
        match self.planted {
            Some(crate::Planted::VoteNotPersisted) => HardState { vote: 0, ..hard_state },
            Some(crate::Planted::TermNotPersisted) => {
                let cache = self.engine.store();
                let term = cache.term_at(cache.last_index()).unwrap_or(hard_state.term);
                HardState { term, vote: 0, ..hard_state }
            }
            _ => hard_state,
        }
    }

    #[cfg(not(feature = "planted"))]
    fn hard_state_to_write(&self, hard_state: HardState) -> HardState {
        hard_state
    }

    fn emit(&mut self, message: eraftpb::Message, out: &mut GroupOutput) {
        let Some(to) = node_id(message.to) else { return };
        let kind = message.get_msg_type();
        if kind == MessageType::MsgRequestVote {
            self.vote_asked_term = self.vote_asked_term.max(message.term);
        }
        if kind == MessageType::MsgTimeoutNow {
            assert!(self.read_lease.handed_over(message.term), "a campaign is called for under a lease");
        }
        let message = to_wire(message);
        if kind != MessageType::MsgSnapshot {
            out.messages.push((to, message));
        } else if self.engine.raft.state == StateRole::Leader && message.term == self.engine.raft.term {
            out.send_snapshot.push((to, message));
        }
    }
}

/// The counter at the end of a read's context.
fn read_id(context: &[u8]) -> u64 {
    let counter = context.last_chunk().expect("read contexts are ours, of 24 bytes");
    u64::from_be_bytes(*counter)
}
