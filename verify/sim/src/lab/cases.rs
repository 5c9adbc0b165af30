//! Faults drawn from a seed, for experiments with the planner.

use types::{NodeId, plan::Faults};

use super::confirm::Setup;
use crate::dice::Dice;

/// Slownesses, in milliseconds. Those of an election timeout and more leave open whether a leader is found.
const SLOW_MS: [u64; 6] = [30, 80, 150, 240, 330, 390];

/// What is drawn from a seed: cases of one kind, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Nodes are lost.
    Lost,
    /// The network falls into sides.
    Cut,
    /// Links are cut that leave nodes between.
    Uneven,
    /// Nodes are slow.
    Slow,
    /// Any of these at once.
    All,
}

/// The experiment of a seed, of any size and kind.
pub fn any(seed: u64) -> Setup {
    let mut dice = Dice::new(seed);
    let kinds = [Draw::Lost, Draw::Cut, Draw::Uneven, Draw::Slow, Draw::All, Draw::All];
    let (nodes, what) = (dice.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 5, 6]), dice.pick(&kinds));
    draw(seed, nodes, what)
}

/// The experiment of a seed.
pub fn draw(seed: u64, nodes: u64, what: Draw) -> Setup {
    let mut dice = Dice::new(seed ^ 0x706c_616e);
    let mut faults = Faults::default();
    let all = |kind| what == kind || what == Draw::All;
    let mut order: Vec<NodeId> = (0..nodes).map(NodeId).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at as u64 + 1) as usize);
    }
    if all(Draw::Lost) {
        let lost = dice.below(nodes) as usize;
        let destroyed = dice.below(lost as u64 + 1) as usize;
        faults.destroyed.extend(&order[..destroyed]);
        faults.lost.extend(&order[destroyed..lost]);
    }
    if what == Draw::Cut || (what == Draw::All && dice.chance(400)) {
        let sides = dice.between(2, 3);
        let side: Vec<u64> = order.iter().map(|_| dice.below(sides)).collect();
        cut(&mut faults, nodes, |one, other| side[one as usize] != side[other as usize]);
    }
    if what == Draw::Uneven || (what == Draw::All && dice.chance(300)) {
        let per_mille = dice.pick(&[150, 300, 500]);
        cut(&mut faults, nodes, |_, _| dice.chance(per_mille));
    }
    if all(Draw::Slow) {
        let up: Vec<NodeId> = order.iter().copied().filter(|node| !faults.is_down(*node)).collect();
        let slow = dice.between(u64::from(what == Draw::Slow), 2) as usize;
        for node in up.into_iter().rev().take(slow) {
            faults.slow.insert(node, dice.pick(&SLOW_MS));
        }
    }
    Setup { seed, nodes, faults, leader_known: dice.chance(500), beyond_budget: dice.chance(500) }
}

fn cut(faults: &mut Faults, nodes: u64, mut separates: impl FnMut(u64, u64) -> bool) {
    for other in 0..nodes {
        for one in 0..other {
            if separates(one, other) {
                faults.cut.insert((NodeId(one), NodeId(other)));
            }
        }
    }
}
