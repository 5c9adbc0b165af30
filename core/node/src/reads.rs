//! Where a read is answered: by this node's replica when that keeps what is asked for, else by the leader.
//!
//! Guarantee G-LINEARIZABLE: a strong read, and every write that is answered once it is applied, takes effect at one instant
//! between its call and its answer (Herlihy and Wing 1990), whichever node was asked.
//!
//! A read that a peer sent on is always answered as a strong one, at the leader. Strong reads rest on clocks only
//! where the contract says so: see [`crate::read_leases`].

use keyspace::{Query, Txn};
use storage::ReadRows;
use types::{Acks, GroupId, Guarantee, Hlc, Now, Receipt, Role, SessionToken, contract::Read};

use crate::{
    api::{Fatal, Op, Options, Reply, ReplyBody, Request},
    group::Group,
    node::Node,
    parked::is_leaders,
    requests::{Origin, Waiting},
};

/// What becomes of a read.
pub(crate) enum Reading {
    /// This replica answers.
    Here(Guarantee),
    /// The leader must.
    Leader,
}

impl Node {
    /// What the read asks for, or its keyspace's contract for it.
    pub(crate) fn read_level(&self, waiting: &Waiting) -> Read {
        if matches!(&waiting.request.op, Op::Query(query) if is_leaders(query)) {
            return Read::Strong;
        }
        let keyspace = self.keyspaces.get(&waiting.request.keyspace);
        let of_contract = keyspace.map_or(Read::Strong, |keyspace| keyspace.contract.read);
        waiting.request.options.read.unwrap_or(of_contract)
    }

    /// Whether this replica, as it is now, keeps what a client's read asks for.
    pub(crate) fn where_to_read(&self, now: Now, waiting: &Waiting, group: &Group) -> Reading {
        if matches!(waiting.origin, Origin::Peer { .. } | Origin::Catalog { .. } | Origin::Probe { .. }) {
            return Reading::Leader;
        }
        let applied = self.store.state(group.id).applied_index;
        let staleness_ms = group.freshness.staleness_ms(applied, now.mono_ms);
        #[cfg(feature = "planted")]
        let (applied, staleness_ms) = self.planted_read(applied, staleness_ms);
        match self.read_level(waiting) {
            Read::Strong => Reading::Leader,
            #[cfg(feature = "planted")]
            Read::Eventual if self.planted_forgets(raft_group::Planted::EventualNeedsLeader) => {
                Reading::Leader
            }
            Read::Eventual => Reading::Here(Guarantee::Eventual),
            Read::Causal if waiting.request.options.session.seen(group.id) <= applied => {
                Reading::Here(Guarantee::Causal)
            }
            Read::Bounded(bound_ms) if staleness_ms.is_some_and(|staleness_ms| staleness_ms <= bound_ms) => {
                Reading::Here(Guarantee::Bounded)
            }
            Read::Causal => {
                types::mark!("causal_read_at_leader");
                Reading::Leader
            }
            Read::Bounded(_) => {
                types::mark!("bounded_read_at_leader");
                Reading::Leader
            }
        }
    }

    /// Answers a read from this replica.
    pub(crate) fn read_here(
        &mut self,
        now: Now,
        id: u64,
        group: GroupId,
        delivered: Guarantee,
    ) -> Result<(), Fatal> {
        let hlc = self.answer_hlc();
        let Some(waiting) = self.requests.get(id) else { return Ok(()) };
        let Op::Query(query) = &waiting.request.op else { unreachable!("only queries are read") };
        #[cfg(feature = "planted")]
        let query = &self.planted_query(query);
        let answer = keyspace::answer(&self.store, group, query)?;
        let applied = self.store.state(group).applied_index;
        let of = self.config.members.len() as u32;
        let raft = &self.groups[&group].raft;
        let staleness_ms = self.groups[&group].freshness.staleness_ms(applied, now.mono_ms);
        #[cfg(feature = "planted")]
        let staleness_ms = self.planted_staleness(staleness_ms);
        let receipt = Receipt {
            keyspace: waiting.request.keyspace.clone(),
            requested: self.read_level(waiting).guarantee(),
            delivered,
            session: self.session_after(waiting, &self.groups[&group], applied, hlc),
            hlc,
            degraded: None,
            revision: Some(answer.revision()),
            staleness_ms,
            acks: Acks { required: 0, got: 0, of, durable: 0 },
            served_by: self.config.node,
            role: raft.role(),
            term: raft.term(),
            attempts: waiting.attempts,
            deduplicated: false,
            shards: None,
            read_lease: None,
        };
        self.answer(id, Ok(Reply { body: ReplyBody::Answer(answer), receipt }));
        self.ask_for_proof(now, group);
        Ok(())
    }

    /// The token of a session that sees a group's state at this index, with what it depends on, in an answer of
    /// this time.
    pub(crate) fn session_after(
        &self,
        waiting: &Waiting,
        group: &Group,
        index: u64,
        hlc: Hlc,
    ) -> SessionToken {
        let mut session = waiting.request.options.session.clone();
        session.see_hlc(hlc);
        // The cluster's own facts are read strongly, whoever asks.
        if group.id != GroupId::META {
            session.see(group.id, index);
            session.join(&group.frontier);
        }
        session
    }

    /// Asks the leader for nothing but the proof of this replica's age, if none is recent.
    fn ask_for_proof(&mut self, now: Now, id: GroupId) {
        let group = self.groups.get_mut(&id).expect("it was just read");
        let led = group.raft.leader().is_some() && group.raft.role() != Role::Candidate;
        if !led || self.requests.len() >= self.config.limits.pending_requests_max {
            return;
        }
        if !group.freshness.should_ask(now.mono_ms) {
            return;
        }
        let request = Request {
            keyspace: group.name.clone(),
            op: Op::Query(Query::Txn(Txn::default())),
            options: Options::default(),
        };
        let deadline_ms = now.mono_ms + PROOF_TIMEOUT_MS;
        self.requests.insert(Origin::Probe { group: id }, request, Some(id), deadline_ms, 1);
    }

    /// A strong read that this node sent to the leader was answered from a state that the session knows.
    pub(crate) fn learn_freshness(&mut self, group: GroupId, sent_ms: u64, session: &SessionToken) {
        if let Some(group) = self.groups.get_mut(&group) {
            let index = session.seen(group.id);
            if index > 0 {
                let applied = self.store.state(group.id).applied_index;
                group.freshness.prove(index, sent_ms, applied);
            }
        }
    }
}

/// How long a proof may take that nobody waits for.
const PROOF_TIMEOUT_MS: u64 = 1_000;
