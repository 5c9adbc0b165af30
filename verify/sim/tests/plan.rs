//! What the planner predicts is what happens: see `sim::lab`. More seeds: `sim --plans --seeds 0..1000`.

use std::collections::BTreeMap;

use node::{Op, lost::LostItem};
use sim::{
    Options,
    lab::{Confirmed, Draw, Lab, acknowledged, any, confirm, draw, get, put, read},
};
use types::{
    NodeId, SessionToken,
    contract::{Ack, Read},
    plan::{Asked, Faults, Outcome, Plan},
};

fn confirm_all(what: Draw, seeds: u64) -> Confirmed {
    let mut confirmed = BTreeMap::new();
    for seed in 0..seeds {
        for nodes in [3, 5] {
            let counts = confirm(&draw(seed, nodes, what), &Options::default());
            for (kind, count) in counts.unwrap_or_else(|told| panic!("{told}")) {
                *confirmed.entry(kind).or_default() += count;
            }
        }
    }
    println!("{what:?}: {confirmed:#?}");
    confirmed
}

#[track_caller]
fn assert_seen(confirmed: &Confirmed, kinds: &[&str]) {
    for kind in kinds {
        assert!(confirmed.get(kind).is_some_and(|count| *count > 0), "no prediction of {kind:?} was tried");
    }
}

/// The minority refuses, the majority goes on after an election; budgets are what they are said to be.
#[test]
fn lost_nodes() {
    let seen = confirm_all(Draw::Lost, 5);
    assert_seen(
        &seen,
        &[
            "served after an election",
            "refused within the bound",
            "refused at once",
            "applied, and not acknowledged",
            "the budget holds",
            "one beyond the budget stops it",
            "a write is kept",
        ],
    );
}

/// Behind a cut, old answers are served while they may be.
#[test]
fn cuts() {
    let seen = confirm_all(Draw::Cut, 5);
    assert_seen(&seen, &["served while proved", "too stale", "a watch is told nothing", "refused at once"]);
}

/// Who leads decides.
#[test]
fn cuts_with_nodes_between() {
    let seen = confirm_all(Draw::Uneven, 5);
    assert_seen(&seen, &["served", "refused at once", "too stale"]);
}

#[test]
fn slow_nodes() {
    let seen = confirm_all(Draw::Slow, 5);
    assert_seen(&seen, &["waits for a slow node", "served", "the budget holds"]);
}

#[test]
fn everything_at_once() {
    confirm_all(Draw::All, 5);
}

/// Clusters of one to six nodes.
#[test]
fn any_size() {
    for seed in 0..10 {
        confirm(&any(seed), &Options::default()).unwrap_or_else(|told| panic!("{told}"));
    }
}

fn lab(nodes: u64) -> (Lab, NodeId) {
    let lab = Lab::new(7, nodes, &Options::default()).expect("a cluster starts");
    let leader = lab.leader().expect("it has a leader");
    (lab, leader)
}

fn plan(lab: &Lab, faults: &Faults, leader: Option<NodeId>) -> Plan {
    lab.case(faults, leader).plan().expect("the faults make sense")
}

fn may_lose(plan: &Plan, ack: Ack) -> bool {
    plan.losses.iter().any(|loss| loss.ack == ack && loss.possible)
}

fn write(lab: &mut Lab, node: NodeId, key: &str, ack: Ack) {
    let told = lab.call(node, Op::Command(put(key)), acknowledged(ack)).expect("no invariant breaks");
    told.result.expect("it is acknowledged");
}

fn is_there(lab: &mut Lab, node: NodeId, key: &str) -> bool {
    let strong = read(Read::Strong, SessionToken::default());
    let told = lab.call(node, get(key), strong).expect("no invariant breaks");
    told.found().expect("it is served")
}

/// A leader that is cut off acknowledges alone, for as long as was said; that is lost, listed, and nothing else is.
#[test]
fn what_a_cut_off_leader_acknowledged_alone_is_lost_and_listed() {
    let (mut lab, leader) = lab(3);
    write(&mut lab, leader, "opens", Ack::Leader);
    write(&mut lab, leader, "kept", Ack::Quorum);
    lab.run_ms(500).expect("no invariant breaks");
    let others = lab.nodes().clone().into_iter().filter(|node| *node != leader);
    let cut = others.map(|node| (node.min(leader), node.max(leader))).collect();
    let faults = Faults { cut, ..Faults::default() };
    let planned = plan(&lab, &faults, Some(leader));
    assert!(may_lose(&planned, Ack::Leader) && !may_lose(&planned, Ack::Quorum));
    lab.inflict(&faults);
    write(&mut lab, leader, "alone", Ack::Leader);
    lab.run_ms(6_000).expect("no invariant breaks");
    let next = lab.leader().expect("the others have a leader");
    assert!(planned.leaders.contains(&next));
    lab.mend().expect("it starts");
    lab.run_ms(5_000).expect("no invariant breaks");
    let listed = lab.lost_writes(next);
    let keys = |item: &LostItem| match item {
        LostItem::Write(write) => Some(write.key.clone()),
        _ => None,
    };
    assert_eq!(listed.iter().filter_map(keys).collect::<Vec<_>>(), [b"alone".to_vec()]);
    assert!(!is_there(&mut lab, next, "alone") && is_there(&mut lab, next, "kept"));
}

/// What a majority acknowledged is gone with the majority's disks, and not with fewer.
#[test]
fn what_only_destroyed_disks_held_is_lost() {
    let (mut lab, leader) = lab(3);
    let away = *lab.nodes().iter().find(|node| **node != leader).expect("there are three");
    let links = lab.nodes().clone().into_iter().filter(|node| *node != away);
    let cut = links.map(|node| (node.min(away), node.max(away))).collect();
    lab.inflict(&Faults { cut, ..Faults::default() });
    write(&mut lab, leader, "by-two", Ack::Quorum);
    let others: Vec<NodeId> = lab.nodes().iter().copied().filter(|node| *node != away).collect();
    let one = Faults { destroyed: [others[0]].into(), ..Faults::default() };
    assert!(!may_lose(&plan(&lab, &one, None), Ack::Quorum));
    let both = Faults { destroyed: others.into_iter().collect(), ..Faults::default() };
    let planned = plan(&lab, &both, None);
    assert!(may_lose(&planned, Ack::Quorum) && !may_lose(&planned, Ack::All));
    assert_eq!(planned.budget.disks, None);
    lab.inflict(&both);
    lab.run_ms(6_000).expect("no invariant breaks");
    let eventual = read(Read::Eventual, SessionToken::default());
    let told = lab.call(away, get("by-two"), eventual).expect("no invariant breaks");
    assert_eq!(told.found(), Some(false), "nobody else had it");
}

/// The median of many writes: a slow node that a majority does without costs nothing, one that it needs all of its time.
#[test]
fn a_needed_slow_node_sets_the_latency_of_writes() {
    for (nodes, lost, needed) in [(3, 0, false), (3, 1, true), (5, 1, false), (5, 2, true)] {
        let (mut lab, leader) = lab(nodes);
        let mut others = lab.nodes().clone().into_iter().filter(|node| *node != leader);
        let slow = others.next().expect("there are others");
        let lost = others.take(lost).collect();
        let faults = Faults { slow: [(slow, 200)].into(), lost, ..Faults::default() };
        let outcome = lab.case(&faults, Some(leader)).outcome(leader, Asked::Write(Ack::Quorum));
        let Outcome::Served { added_ms_min, added_ms_max, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((added_ms_min, added_ms_max), if needed { (200, 200) } else { (0, 0) });
        lab.inflict(&faults);
        lab.run_ms(3_000).expect("no invariant breaks");
        let mut took_ms = Vec::new();
        for number in 0..21 {
            let terms = acknowledged(Ack::Quorum);
            let told = lab.call(leader, Op::Command(put(&format!("k{number}"))), terms);
            took_ms.push(told.expect("no invariant breaks").after_us / 1_000);
        }
        took_ms.sort_unstable();
        let median_ms = took_ms[took_ms.len() / 2];
        assert!(
            (added_ms_min..added_ms_max + 30).contains(&median_ms),
            "{median_ms} ms, planned {outcome:?}"
        );
    }
}
