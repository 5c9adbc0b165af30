//! The planner's predictions, held against what happens: faults are set up around real nodes, every operation is asked of
//! every node, at the moment of the faults and once they are old, and each answer is compared.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{Command, IdempotencyKey, LeaseCommand, LeaseQuery, Query, QueryAnswer, Txn, TxnOp};
use node::{Acquire, CatalogOp, Op, Options as Terms, ReplyBody, Under, WatchEvent};
use types::{
    LeaseId, NodeId, SessionToken,
    contract::{Ack, Read},
    plan::{Asked, Faults, Outcome, Plan},
};

use super::{
    Lab, acknowledged,
    compare::{When, compare},
    get, put, read,
};
use crate::world::Options;

/// An experiment.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Seeds the world.
    pub seed: u64,
    /// Its size.
    pub nodes: u64,
    /// What fails.
    pub faults: Faults,
    /// Whether the planner is told who leads.
    pub leader_known: bool,
    /// Whether at the end one node more fails than the budget has, or as many as it has.
    pub beyond_budget: bool,
}

/// Answers that were as predicted, by the kind of prediction.
pub type Confirmed = BTreeMap<&'static str, u64>;

/// A lease that lives through the experiment.
const LEASE: LeaseId = LeaseId(7);
/// Longest wait of a client at the moment of the faults: longer than any election or refusal.
const AT_ONCE_TIMEOUT_MS: u64 = 9_000;
/// As above once the faults are old: longer than the slowest answer.
const SETTLED_TIMEOUT_MS: u64 = 3_000;
/// A bound that a proof from before the faults keeps, whenever it is asked for here.
const LONG_BOUND_MS: u64 = 60_000;
/// A bound that none of them keeps once the faults are old.
const SHORT_BOUND_MS: u64 = 1_000;

/// What was asked, and waits to be compared.
struct Waits {
    node: NodeId,
    asked: Asked,
    token: u64,
    when: When,
    /// The key that it writes.
    writes: Option<String>,
}

/// What the planner is told, and who leads in truth.
struct Known<'a> {
    faults: &'a Faults,
    told_leader: Option<NodeId>,
    leader: Option<NodeId>,
    /// Whether somebody is sure to lead, or sure not to.
    led: bool,
}

struct Experiment<'a> {
    setup: &'a Setup,
    lab: Lab,
    /// What a session knows that every replica has.
    known: SessionToken,
    /// What a session knows that was written since.
    beyond: SessionToken,
    confirmed: Confirmed,
}

/// Sets up the faults, asks, compares.
///
/// # Errors
/// The first answer that is not as predicted, or an invariant that broke.
pub fn confirm(setup: &Setup, options: &Options) -> Result<Confirmed, String> {
    let lab = Lab::new(setup.seed, setup.nodes, options)?;
    let (known, beyond) = (SessionToken::default(), SessionToken::default());
    let mut experiment = Experiment { setup, lab, known, beyond, confirmed: Confirmed::new() };
    experiment.run().map_err(|reason| format!("{setup:?}: {reason}"))?;
    Ok(experiment.confirmed)
}

impl Experiment<'_> {
    fn run(&mut self) -> Result<(), String> {
        let first = self.lab.leader().ok_or("nobody leads")?;
        self.prepare(first)?;
        let faults = self.setup.faults.clone();
        let told_leader = self.setup.leader_known.then_some(first);
        let plan = self.lab.case(&faults, told_leader).plan().map_err(|error| error.to_string())?;
        let early = self.write_early(first)?;

        let began_us = self.lab.now_us();
        self.lab.inflict(&faults);
        let at_once = self.ask_at_once()?;
        let settled_ms = 5_500 + plan.election_within_ms.unwrap_or(0);
        self.lab.run_ms(settled_ms)?;
        let leader = self.lab.leader().filter(|leader| plan.leaders.contains(leader));
        self.check_leader(&plan, leader)?;
        let led = plan.led || plan.leaders.is_empty();
        let known = Known { faults: &faults, told_leader, leader, led };
        self.lab.run_ms(AT_ONCE_TIMEOUT_MS.saturating_sub(settled_ms) + 500)?;
        for waits in &at_once {
            self.check(&known, waits)?;
        }

        let watches = self.watch_all()?;
        self.lab.run_ms(500)?;
        let news = self.write_news(leader)?;
        self.check_watches(&known, &watches, news)?;
        let since_ms = (self.lab.now_us() - began_us) / 1_000;
        let asked = self.ask_everything(since_ms, news)?;
        self.lab.run_ms(SETTLED_TIMEOUT_MS + 500)?;
        let mut written: Vec<String> = vec!["base".into()];
        for waits in &asked {
            self.check(&known, waits)?;
            let done = self.lab.told(waits.token).is_some_and(|told| told.result.is_ok());
            let kept = !matches!(waits.asked, Asked::Write(Ack::None | Ack::Leader));
            written.extend(waits.writes.iter().filter(|_| done && kept).cloned());
        }
        let may_lose_early = plan.losses.iter().any(|loss| loss.ack == Ack::Leader && loss.possible);
        if !may_lose_early {
            written.extend(early);
        }
        self.check_kept(leader, &written)?;
        self.check_budget(&faults, &plan)
    }

    fn count(&mut self, kind: &'static str) {
        *self.confirmed.entry(kind).or_default() += 1;
    }

    /// Every replica has a write and knows how old it is; there is a lease, and writes are acknowledged early.
    fn prepare(&mut self, leader: NodeId) -> Result<(), String> {
        let done = |told: super::Told| told.result.map_err(|problem| format!("at first: {problem}"));
        let grant = LeaseCommand::Grant { id: Some(LEASE), ttl_ms: 120_000, beside: Vec::new() };
        done(self.lab.call(leader, Op::Command(Command::Lease(grant)), Terms::default())?)?;
        done(self.lab.call(leader, Op::Command(put("first")), acknowledged(Ack::Leader))?)?;
        let base = done(self.lab.call(leader, Op::Command(put("base")), Terms::default())?)?;
        self.known = base.receipt.session;
        self.lab.run_ms(500)?;
        for _ in 0..2 {
            for node in self.lab.running() {
                let bounded = read(Read::Bounded(LONG_BOUND_MS), SessionToken::default());
                done(self.lab.call(node, get("base"), bounded)?)?;
            }
            self.lab.run_ms(300)?;
        }
        Ok(())
    }

    /// Writes that the leader acknowledges alone, a moment before the faults.
    fn write_early(&mut self, leader: NodeId) -> Result<Vec<String>, String> {
        let mut written = Vec::new();
        for number in 0..3 {
            let key = format!("early{number}");
            let token = self.lab.ask(leader, Op::Command(put(&key)), acknowledged(Ack::Leader), 5_000)?;
            written.push((key, token));
        }
        self.lab.run_ms(1)?;
        let accepted = |token: u64| self.lab.told(token).is_some_and(|told| told.result.is_ok());
        Ok(written.into_iter().filter(|(_, token)| accepted(*token)).map(|(key, _)| key).collect())
    }

    fn ask_at_once(&mut self) -> Result<Vec<Waits>, String> {
        let mut asked = Vec::new();
        let when = When { since_ms: 0, timeout_ms: AT_ONCE_TIMEOUT_MS, settled: false, news: false };
        for node in self.lab.running() {
            let operations = [
                Asked::Write(Ack::Quorum),
                Asked::Strong,
                Asked::Causal,
                Asked::Bounded(LONG_BOUND_MS),
                Asked::Eventual,
                Asked::KeepAlive,
                Asked::Keyspaces,
            ];
            for operation in operations {
                let (mut op, terms, _) = self.request(node, operation, "at-once");
                let mut operation = operation;
                if let Op::Command(command) = op {
                    // What was sent to a leader that is lost is tried again only under a key, as reads are.
                    let key = IdempotencyKey::new(format!("at-once-{node}").into_bytes());
                    op = Op::Once(key.map_err(|error| format!("{error:?}"))?, command);
                    operation = Asked::Strong;
                }
                let token = self.lab.ask(node, op, terms, when.timeout_ms)?;
                asked.push(Waits { node, asked: operation, token, when, writes: None });
            }
        }
        Ok(asked)
    }

    fn ask_everything(&mut self, since_ms: u64, news: bool) -> Result<Vec<Waits>, String> {
        let mut asked = Vec::new();
        let when = When { since_ms, timeout_ms: SETTLED_TIMEOUT_MS, settled: true, news };
        for node in self.lab.running() {
            let more = [Asked::Bounded(LONG_BOUND_MS), Asked::Bounded(SHORT_BOUND_MS)];
            for operation in Asked::all(Read::Strong).into_iter().chain(more) {
                if operation == Asked::Watch || (operation == Asked::CausalBeyond && !news) {
                    continue;
                }
                let (op, terms, writes) = self.request(node, operation, "settled");
                let token = self.lab.ask(node, op, terms, when.timeout_ms)?;
                asked.push(Waits { node, asked: operation, token, when, writes });
            }
        }
        Ok(asked)
    }

    /// What a node is asked, how, and the key that it would write.
    fn request(&self, node: NodeId, asked: Asked, label: &str) -> (Op, Terms, Option<String>) {
        let fresh = SessionToken::default();
        let key = format!("{label}/{node}/{asked}");
        match asked {
            Asked::Write(ack) => (Op::Command(put(&key)), acknowledged(ack), Some(key)),
            Asked::Transaction => {
                let then =
                    vec![TxnOp::Put { key: key.clone().into(), value: key.clone().into(), lease: None }];
                let txn = Txn { compares: Vec::new(), then, otherwise: Vec::new() };
                (Op::from(txn), Terms::default(), Some(key))
            }
            Asked::Strong => (get("base"), read(Read::Strong, fresh), None),
            Asked::Causal => (get("base"), read(Read::Causal, self.known.clone()), None),
            Asked::CausalBeyond => (get("news"), read(Read::Causal, self.beyond.clone()), None),
            Asked::Bounded(ms) => (get("base"), read(Read::Bounded(ms), fresh), None),
            Asked::Eventual => (get("news"), read(Read::Eventual, fresh), None),
            Asked::Lock => {
                let (name, under) = (key.into_bytes(), Under::Lease(LEASE));
                (Op::Acquire(Acquire { name, under, value: None, keep_place: false }), Terms::default(), None)
            }
            Asked::KeepAlive => {
                (Op::Query(Query::Lease(LeaseQuery::KeepAlive { id: LEASE })), Terms::default(), None)
            }
            Asked::Keyspaces => (Op::Catalog(CatalogOp::List), Terms::default(), None),
            Asked::Watch => unreachable!("watches are not requests"),
        }
    }

    /// Who leads is among those that may.
    fn check_leader(&mut self, plan: &Plan, leader: Option<NodeId>) -> Result<(), String> {
        let open = plan.nodes.iter().flat_map(|node| &node.answers);
        let open = open.into_iter().any(|answer| matches!(answer.outcome, Outcome::Depends { .. }));
        if leader.is_none() && !plan.leaders.is_empty() && !open {
            return Err(format!("{:?} may lead, and nobody does", plan.leaders));
        }
        self.count(if leader.is_some() { "a leader is found" } else { "no leader is found" });
        Ok(())
    }

    /// What is predicted. Where it depends on who leads, what comes with the one that does is among it.
    fn predicted(&self, known: &Known<'_>, node: NodeId, asked: Asked) -> Result<Outcome, String> {
        let case = self.lab.case(known.faults, known.told_leader);
        let outcome = case.outcome(node, asked);
        // The list of keyspaces has a leader of its own.
        let Some(leader) = known.leader.filter(|_| asked != Asked::Keyspaces) else { return Ok(outcome) };
        let led = case.led(Some(leader), node, asked);
        let down = outcome == Outcome::Down;
        if !down && outcome.clone().or(led.clone()) != outcome {
            return Err(format!(
                "node {node}, {asked}: {outcome:?} does not say {led:?}, with node {leader}"
            ));
        }
        Ok(led)
    }

    fn check(&mut self, known: &Known<'_>, waits: &Waits) -> Result<(), String> {
        let Waits { node, asked, token, when, .. } = *waits;
        let mut outcome = self.predicted(known, node, asked)?;
        // While it is not settled who leads, somebody may have led who does no more.
        let open = matches!(
            self.lab.case(known.faults, known.told_leader).outcome(node, asked),
            Outcome::Depends { .. }
        );
        let too_soon = !when.settled && (open || !known.led);
        if matches!(outcome, Outcome::Depends { .. }) || (too_soon && outcome != Outcome::Down) {
            self.count("open");
            return Ok(());
        }
        if asked != Asked::Keyspaces {
            self.lab.case(known.faults, known.told_leader).wait_first(&mut outcome);
        }
        compare(asked, &outcome, self.lab.told(token), when)
            .map_err(|reason| format!("node {node}, {asked}, {when:?}: predicted {outcome:?}, {reason}"))?;
        self.count(kind(&outcome, when));
        Ok(())
    }

    fn watch_all(&mut self) -> Result<Vec<(NodeId, u64)>, String> {
        let mut watches = Vec::new();
        for node in self.lab.running() {
            watches.push((node, self.lab.watch(node, "news")?));
        }
        Ok(watches)
    }

    /// Writes something that sides without a leader cannot know.
    fn write_news(&mut self, leader: Option<NodeId>) -> Result<bool, String> {
        let Some(leader) = leader else { return Ok(false) };
        let told = self.lab.call(leader, Op::Command(put("news")), Terms::default())?;
        let reply =
            told.result.map_err(|problem| format!("the leader {leader} refuses a write: {problem}"))?;
        self.beyond = reply.receipt.session;
        self.lab.run_ms(1_200)?;
        Ok(true)
    }

    fn check_watches(
        &mut self,
        known: &Known<'_>,
        watches: &[(NodeId, u64)],
        news: bool,
    ) -> Result<(), String> {
        for (node, token) in watches {
            let outcome = self.predicted(known, *node, Asked::Watch)?;
            let events = self.lab.watched(*token);
            let started = matches!(events.first(), Some(WatchEvent::Started { .. }));
            let told = events.iter().any(|event| matches!(event, WatchEvent::Changed(_)));
            let ended = events.iter().any(|event| matches!(event, WatchEvent::Ended(_)));
            let fits = match outcome {
                Outcome::Served { .. } => told == news,
                Outcome::Silent => !told,
                Outcome::Depends { .. } => told == news,
                _ => false,
            };
            if !started || ended || !fits {
                return Err(format!(
                    "node {node}, watch: predicted {outcome:?}, news {news}, told {events:?}"
                ));
            }
            self.count(if news && outcome == Outcome::Silent {
                "a watch is told nothing"
            } else {
                "a watch"
            });
        }
        Ok(())
    }

    /// What was acknowledged is there.
    fn check_kept(&mut self, leader: Option<NodeId>, written: &[String]) -> Result<(), String> {
        let Some(leader) = leader else { return Ok(()) };
        for key in written {
            let told = self.lab.call(leader, get(key), read(Read::Strong, SessionToken::default()))?;
            let reply =
                told.result.map_err(|problem| format!("the leader {leader} refuses a read: {problem}"))?;
            match &reply.body {
                ReplyBody::Answer(QueryAnswer::Get { row: Some(_), .. }) => self.count("a write is kept"),
                _ => return Err(format!("{key} was acknowledged, and nothing of it was to be lost")),
            }
        }
        Ok(())
    }

    /// As many nodes as the budget has may fail, whichever they are; of one more, some choice stops everything.
    fn check_budget(&mut self, faults: &Faults, plan: &Plan) -> Result<(), String> {
        let Some(budget) = plan.budget.majority else { return Ok(()) };
        let running = self.lab.running();
        let more = budget as usize + usize::from(self.setup.beyond_budget);
        let mut choices = subsets(&running, more);
        if self.setup.beyond_budget {
            let stops = |choice: &BTreeSet<NodeId>| self.leaders_after(faults, choice);
            // Where slow nodes are left, none may be found to lead, or one that led before.
            let open = choices.iter().any(|choice| stops(choice).is_some_and(|led| !led));
            choices.retain(|choice| stops(choice).is_none());
            if choices.is_empty() && open {
                self.count("open");
                return Ok(());
            }
        }
        if choices.is_empty() {
            // Losing all that are left is beyond every budget.
            return if more >= running.len() { Ok(()) } else { Err(format!("no {more} more stop it")) };
        }
        let choice = choices[self.setup.seed as usize % choices.len()].clone();
        self.lab.inflict(&Faults { lost: choice.clone(), ..Faults::default() });
        self.lab.run_ms(6_000 + 4 * plan.election_within_ms.unwrap_or(0))?;
        let mut served = false;
        for node in self.lab.running() {
            let told = self.lab.call(node, Op::Command(put(&format!("budget/{node}"))), Terms::default())?;
            served |= told.result.is_ok();
        }
        if served == self.setup.beyond_budget {
            return Err(format!("budget {budget}, {choice:?} lost beside: writes served: {served}"));
        }
        self.count(if served { "the budget holds" } else { "one beyond the budget stops it" });
        Ok(())
    }

    /// Whether somebody is sure to lead with these lost too; `None`: nobody can.
    fn leaders_after(&self, faults: &Faults, lost: &BTreeSet<NodeId>) -> Option<bool> {
        let mut faults = faults.clone();
        faults.lost.extend(lost);
        faults.slow.retain(|node, _| !lost.contains(node));
        let plan = self.lab.case(&faults, None).plan().ok()?;
        (!plan.leaders.is_empty()).then_some(plan.led)
    }
}

fn kind(outcome: &Outcome, when: When) -> &'static str {
    match outcome {
        Outcome::Served { added_ms_min: 1.., .. } => "waits for a slow node",
        Outcome::Served { wait_ms: 1.., .. } if !when.settled => "served after an election",
        Outcome::Served { .. } => "served",
        Outcome::Until { ms } if when.since_ms > *ms => "too stale",
        Outcome::Until { .. } => "served while proved",
        Outcome::Silent => "a watch is told nothing",
        Outcome::Refused { within_ms: None, .. } => "applied, and not acknowledged",
        Outcome::Refused { .. } if when.settled => "refused at once",
        Outcome::Refused { .. } => "refused within the bound",
        Outcome::Depends { .. } | Outcome::Down => "open",
    }
}

/// All ways to choose so many.
fn subsets(nodes: &[NodeId], count: usize) -> Vec<BTreeSet<NodeId>> {
    let masks = 0..1_u32 << nodes.len();
    let chosen = |mask: u32| {
        let picked = nodes.iter().enumerate().filter(move |(at, _)| mask & (1 << at) != 0);
        picked.map(|(_, node)| *node).collect::<BTreeSet<_>>()
    };
    masks.filter(|mask| mask.count_ones() as usize == count).map(chosen).collect()
}
