//! Which links a partition silences, as pairs of who says and who hears.

use crate::proxy::{Effect, Hurt, Place};

use super::Fault;

/// What hurts, in whom the fault is aimed at, among so many nodes, as the dice say; with words.
pub fn of(fault: Fault, victim: usize, nodes: usize, dice: &mut fastrand::Rng) -> (Vec<Hurt>, String) {
    let silent = Effect::Silent { lost: dice.bool() };
    let gone = if silent == (Effect::Silent { lost: true }) { "lost" } else { "late" };
    let others: Vec<usize> = (0..nodes).filter(|node| *node != victim).collect();
    match fault {
        Fault::Split | Fault::Flapping => {
            let mut side = others;
            dice.shuffle(&mut side);
            side.truncate(dice.usize(0..=nodes.saturating_sub(3) / 2));
            side.push(victim);
            side.sort_unstable();
            let rest: Vec<usize> = (0..nodes).filter(|node| !side.contains(node)).collect();
            let words = format!("{} | {}, {gone}", list(&side), list(&rest));
            (between(&side, &rest, silent), words)
        }
        Fault::IsolateLeader => {
            let words = format!("node {victim} | {}, {gone}", list(&others));
            (between(&[victim], &others, silent), words)
        }
        Fault::OneWay => {
            let mute = dice.bool();
            let pairs = others.iter().map(|other| {
                let (from, to) = if mute { (victim, *other) } else { (*other, victim) };
                (Place::Node(from), Place::Node(to), silent)
            });
            let how = if mute { "is not heard" } else { "hears nobody" };
            (pairs.collect(), format!("node {victim} {how}, {gone}"))
        }
        Fault::LostLink => {
            let other = others[dice.usize(0..others.len())];
            (between(&[victim], &[other], silent), format!("node {victim} x node {other}, {gone}"))
        }
        Fault::Partial => {
            let mut links: Vec<(usize, usize)> = pairs(nodes).filter(|(a, b)| a < b).collect();
            dice.shuffle(&mut links);
            links.truncate(dice.usize(1..=links.len() / 2));
            let shown: Vec<String> = links.iter().map(|(a, b)| format!("{a} x {b}")).collect();
            let hurts = links.iter().flat_map(|(a, b)| between(&[*a], &[*b], silent)).collect();
            (hurts, format!("nodes {}, {gone}", shown.join(", ")))
        }
        Fault::MajorityRing => {
            // In a ring each hears its neighbours on both sides: itself and they are a majority of five.
            let reach = nodes / 4;
            let far = |a: usize, b: usize| {
                let apart = a.abs_diff(b);
                apart.min(nodes - apart) > reach
            };
            let hurts = pairs(nodes).filter(|(a, b)| far(*a, *b));
            let hurts = hurts.map(|(a, b)| (Place::Node(a), Place::Node(b), silent)).collect();
            (hurts, format!("each of {nodes} hears {} neighbours, {gone}", 2 * reach))
        }
        Fault::Bridge => {
            let (left, right) = others.split_at(others.len() / 2);
            let words = format!("{} | {} with node {victim} between, {gone}", list(left), list(right));
            (between(left, right, silent), words)
        }
        _ => unreachable!("{fault} is no partition"),
    }
}

/// Both ways between two sides.
pub fn between(left: &[usize], right: &[usize], effect: Effect) -> Vec<Hurt> {
    let ways = left.iter().flat_map(|a| right.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
    ways.map(|(from, to)| (Place::Node(from), Place::Node(to), effect)).collect()
}

/// Every ordered pair of nodes.
pub fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes).flat_map(move |a| (0..nodes).filter(move |b| *b != a).map(move |b| (a, b)))
}

fn list(nodes: &[usize]) -> String {
    let numbers: Vec<String> = nodes.iter().map(usize::to_string).collect();
    format!("{} {}", if nodes.len() == 1 { "node" } else { "nodes" }, numbers.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn heard(hurts: &[Hurt], nodes: usize, node: usize) -> BTreeSet<usize> {
        let cut = |from: usize, to: usize| {
            hurts.iter().any(|(a, b, _)| (*a, *b) == (Place::Node(from), Place::Node(to)))
        };
        (0..nodes).filter(|other| *other == node || !cut(*other, node)).collect()
    }

    #[test]
    fn in_a_ring_every_node_hears_a_majority_and_no_two_the_same() {
        let (hurts, _) = of(Fault::MajorityRing, 0, 5, &mut fastrand::Rng::with_seed(1));
        let sets: BTreeSet<BTreeSet<usize>> = (0..5).map(|node| heard(&hurts, 5, node)).collect();
        assert_eq!(sets.len(), 5);
        assert!(sets.iter().all(|set| set.len() == 3), "{sets:?}");
    }

    #[test]
    fn a_bridge_hears_all_and_each_half_does_not_hear_the_other() {
        let (hurts, _) = of(Fault::Bridge, 2, 5, &mut fastrand::Rng::with_seed(1));
        assert_eq!(heard(&hurts, 5, 2).len(), 5);
        assert!([0, 1, 3, 4].iter().all(|node| heard(&hurts, 5, *node).len() == 3));
    }

    #[test]
    fn a_split_leaves_a_majority_on_one_side() {
        for seed in 0..100 {
            for nodes in [3, 5] {
                let (hurts, words) = of(Fault::Split, 1, nodes, &mut fastrand::Rng::with_seed(seed));
                let largest = (0..nodes).map(|node| heard(&hurts, nodes, node).len()).max();
                assert!(largest > Some(nodes / 2) && !hurts.is_empty(), "{words}");
            }
        }
    }

    #[test]
    fn one_way_leaves_the_other_way() {
        let (hurts, _) = of(Fault::OneWay, 0, 3, &mut fastrand::Rng::with_seed(1));
        assert_eq!(hurts.len(), 2);
        assert!(hurts.iter().all(|(a, b, _)| !hurts.iter().any(|(c, d, _)| (a, b) == (d, c))));
    }
}
