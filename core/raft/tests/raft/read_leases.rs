//! Leases in true time: nodes whose clocks run fast and slow, links that lose or keep what is sent, processes that stand still and that
//! start again at once, leaders that hand over. After every message: who has a lease is the last leader there is, and
//! the index of its reads is not behind what any node has applied.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Envelope, Setup, TICK_MS};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use types::{NodeId, Role, limits::READ_LEASE_DRIFT};

#[derive(Clone, Debug)]
enum Step {
    /// So many milliseconds pass, and what is sent arrives.
    Pass(u64),
    Read(u64),
    /// What is sent from one to the other is lost, or kept until the link is mended.
    Cut(u64, u64, bool),
    Mend(u64, u64),
    MendAll,
    Crash(u64),
    Start(u64),
    Restart(u64),
    /// The process stands still for so many milliseconds, and then makes up for some ticks.
    Stall(u64, u64),
    Transfer(u64, u64),
}

fn step(nodes: u64) -> impl Strategy<Value = Step> {
    let node = 0..nodes;
    let two = (0..nodes, 0..nodes);
    prop_oneof![
        40 => (1..40_u64).prop_map(Step::Pass),
        30 => node.clone().prop_map(Step::Read),
        12 => (two.clone(), any::<bool>()).prop_map(|((from, to), keeps)| Step::Cut(from, to, keeps)),
        5 => two.clone().prop_map(|(from, to)| Step::Mend(from, to)),
        3 => Just(Step::MendAll),
        1 => node.clone().prop_map(Step::Crash),
        6 => node.clone().prop_map(Step::Start),
        4 => node.clone().prop_map(Step::Restart),
        3 => (node, 10..150_u64).prop_map(|(node, ms)| Step::Stall(node, ms)),
        3 => two.prop_map(|(from, to)| Step::Transfer(from, to)),
    ]
}

/// Speeds of clocks, in thousandths: within the bound, and beyond it.
const WITHIN: [u64; 5] = [950, 1_050, 1_000, 950, 1_050];
#[cfg(feature = "planted")]
const BEYOND: [u64; 5] = [400, 1_600, 1_600, 400, 1_600];

struct Link {
    keeps: bool,
    kept: Vec<Envelope>,
}

struct World {
    cluster: Cluster,
    speeds: [u64; 5],
    true_ms: u64,
    /// When each process goes on.
    stalled_until: Vec<u64>,
    next_tick_ms: Vec<u64>,
    links: BTreeMap<(u64, u64), Link>,
    /// What came for those that stand still.
    held: Vec<Envelope>,
    /// Looks at which somebody had a lease.
    leased: u64,
}

impl World {
    fn new(nodes: u64, setup: Setup, speeds: [u64; 5]) -> World {
        let setup = Setup { nodes, vote_refusal_ms: 90, ..setup };
        let every = nodes as usize;
        World {
            cluster: Cluster::new(setup),
            speeds,
            true_ms: 0,
            stalled_until: vec![0; every],
            next_tick_ms: vec![0; every],
            links: BTreeMap::new(),
            held: Vec::new(),
            leased: 0,
        }
    }

    fn nodes(&self) -> std::ops::Range<u64> {
        0..self.cluster.setup.nodes
    }

    fn stalls(&self, node: u64) -> bool {
        self.true_ms < self.stalled_until[node as usize]
    }

    fn clocks(&mut self) {
        for node in self.nodes() {
            let offset_ms = 10_000 * (node + 1);
            let now_ms = offset_ms + self.true_ms * self.speeds[node as usize] / 1_000;
            self.cluster.members[node as usize].now_ms = now_ms;
        }
    }

    fn pass(&mut self) {
        self.true_ms += 1;
        self.clocks();
        for node in self.nodes().filter(|node| !self.stalls(*node)).collect::<Vec<_>>() {
            while self.cluster.persist_one(node) {}
            let now_ms = self.cluster.members[node as usize].now_ms;
            let due = &mut self.next_tick_ms[node as usize];
            // As the server does: at most three ticks at once.
            *due = (*due).max(now_ms.saturating_sub(2 * TICK_MS));
            while self.next_tick_ms[node as usize] <= now_ms {
                self.next_tick_ms[node as usize] += TICK_MS;
                self.cluster.with(node, |group| group.tick(now_ms));
                self.look();
            }
        }
        let sent = std::mem::take(&mut self.cluster.network);
        for envelope in std::mem::take(&mut self.held).into_iter().chain(sent) {
            self.send(envelope);
        }
    }

    fn send(&mut self, envelope: Envelope) {
        if let Some(link) = self.links.get_mut(&(envelope.from, envelope.to)) {
            if link.keeps && link.kept.len() < 20 {
                link.kept.push(envelope);
            }
        } else if self.stalls(envelope.to) {
            self.held.push(envelope);
        } else {
            self.cluster.deliver(envelope).expect("correct peers are understood");
            self.look();
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Pass(ms) => (0..ms).for_each(|_| self.pass()),
            Step::Read(node) if !self.stalls(node) => {
                let _ = self.cluster.read_index(node);
            }
            Step::Cut(from, to, keeps) => {
                self.links.entry((from, to)).or_insert(Link { keeps, kept: Vec::new() });
            }
            Step::Mend(from, to) => {
                self.held.extend(self.links.remove(&(from, to)).into_iter().flat_map(|link| link.kept))
            }
            Step::MendAll => {
                let links = std::mem::take(&mut self.links);
                self.held.extend(links.into_values().flat_map(|link| link.kept));
            }
            Step::Crash(node) => self.cluster.crash(node),
            Step::Start(node) => self.cluster.start(node),
            Step::Restart(node) => {
                self.cluster.crash(node);
                self.cluster.start(node);
            }
            Step::Stall(node, ms) => self.stalled_until[node as usize] = self.true_ms + ms,
            Step::Transfer(from, to) if !self.stalls(from) => {
                self.cluster.with(from, |group| group.transfer_leader(NodeId(to)));
            }
            Step::Read(_) | Step::Transfer(..) => {}
        }
        self.look();
    }

    fn look(&mut self) {
        let applied = self.cluster.committed.keys().next_back().copied().unwrap_or(0);
        for node in self.nodes() {
            let member = &self.cluster.members[node as usize];
            let Some(group) = &member.group else { continue };
            let Some(leased) = group.read_by_lease(member.now_ms) else { continue };
            self.leased += 1;
            let term = group.term();
            if leased.index < applied {
                let what =
                    format!("node {node} reads at {} under a lease, and {applied} is applied", leased.index);
                self.cluster.violation.get_or_insert(what);
            }
            for (other, member) in self.cluster.members.iter().enumerate() {
                let leads =
                    |group: &&raft_group::RaftGroup| group.role() == Role::Leader && group.term() > term;
                if let Some(later) = member.group.as_ref().filter(leads) {
                    let what = format!(
                        "node {node} has a lease in term {term}, and {other} leads term {}",
                        later.term()
                    );
                    self.cluster.violation.get_or_insert(what);
                }
            }
        }
    }
}

fn within(step: Step, nodes: u64) -> Step {
    match step {
        Step::Read(node) => Step::Read(node % nodes),
        Step::Cut(from, to, keeps) => Step::Cut(from % nodes, to % nodes, keeps),
        Step::Mend(from, to) => Step::Mend(from % nodes, to % nodes),
        Step::Crash(node) => Step::Crash(node % nodes),
        Step::Start(node) => Step::Start(node % nodes),
        Step::Restart(node) => Step::Restart(node % nodes),
        Step::Stall(node, ms) => Step::Stall(node % nodes, ms),
        Step::Transfer(from, to) => Step::Transfer(from % nodes, to % nodes),
        Step::Pass(_) | Step::MendAll => step,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn who_has_a_lease_is_the_last_leader(
        seed in any::<u32>(),
        nodes in prop_oneof![4 => Just(3_u64), 1 => Just(1), 1 => Just(2), 1 => Just(5)],
        fast in 0..5_usize,
        steps in prop::collection::vec(step(5), 1..250),
    ) {
        let mut speeds = WITHIN;
        speeds.rotate_left(fast);
        let mut world = World::new(nodes, Setup { seed: seed.into(), ..Setup::default() }, speeds);
        for step in steps {
            world.run(&within(step, nodes));
            prop_assert_eq!(&world.cluster.violation, &None);
        }
    }
}

/// Runs schedules until one breaks a lease; answers after how many, and how.
fn violation(schedules: u64, setup: &Setup, speeds: [u64; 5]) -> (Option<(u64, String)>, u64) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut leased = 0;
    for seed in 0..schedules {
        let steps = prop::collection::vec(step(3), 250).new_tree(&mut runner).expect("steps").current();
        let mut world = World::new(3, Setup { seed, ..setup.clone() }, speeds);
        for step in &steps {
            world.run(step);
        }
        leased += world.leased;
        if let Some(violation) = world.cluster.violation {
            return (Some((seed, violation)), leased);
        }
    }
    (None, leased)
}

/// The slowest and the fastest clock above are as far apart as the bound allows, nearly, and leases are had.
#[test]
fn schedules_reach_leases_at_the_bound() {
    let (slow, fast) = (WITHIN.iter().min().unwrap(), WITHIN.iter().max().unwrap());
    assert!(slow * READ_LEASE_DRIFT >= fast * (READ_LEASE_DRIFT - 1));
    let (violation, leased) = violation(100, &Setup::default(), WITHIN);
    assert_eq!(violation, None);
    assert!(leased > 10_000, "{leased}");
}

#[cfg(feature = "planted")]
mod planted {
    use super::*;
    use raft_group::Planted;

    fn catches(planted: Option<Planted>, speeds: [u64; 5]) {
        let setup = Setup { planted, ..Setup::default() };
        let (caught, _) = violation(3_000, &setup, speeds);
        let (schedule, how) = caught.unwrap_or_else(|| panic!("{planted:?} was not caught"));
        println!("{planted:?} caught in schedule {schedule}: {how}");
    }

    #[test]
    fn voting_at_once_after_a_start_is_caught() {
        catches(Some(Planted::StartedVotesAtOnce), WITHIN);
    }

    #[test]
    fn votes_that_are_not_refused_are_caught() {
        catches(Some(Planted::VotesNotRefused), WITHIN);
    }

    #[test]
    fn counting_from_the_confirmation_is_caught() {
        catches(Some(Planted::LeaseFromConfirmation), WITHIN);
    }

    #[test]
    fn a_lease_longer_than_the_refusal_is_caught() {
        catches(Some(Planted::LeaseOutlastsRefusal), WITHIN);
    }

    #[test]
    fn a_lease_that_outlives_a_hand_over_is_caught() {
        catches(Some(Planted::LeaseOutlivesHandOver), WITHIN);
    }

    /// What is trusted is needed.
    #[test]
    fn clocks_beyond_the_bound_are_caught() {
        catches(None, BEYOND);
    }
}
