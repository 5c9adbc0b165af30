//! Which fault happens when, for how long and to whom: drawn from the seed before anything starts, so that the
//! same seed gives the same schedule. Only who leads is looked up at the moment.

use std::{fmt, time::Duration};

use super::Fault;

/// Whom a fault is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Whoever leads then; the node that is given, if nobody does.
    Leader(usize),
    /// This node.
    Node(usize),
}

/// A fault that is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// In order of the schedule, from 0.
    pub number: usize,
    /// Which of those that may be under way at once.
    pub lane: usize,
    /// When it begins.
    pub at: Duration,
    /// How long it lasts, at least.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
    /// To whom first.
    pub whom: Whom,
    /// Everything else that is drawn: which others, which way, how much.
    pub dice: u64,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.whom {
            Whom::Leader(_) => "the leader".to_owned(),
            Whom::Node(node) => format!("node {node}"),
        };
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:7.1} s  {:<16} {whom}, for {lasts:.1} s", self.fault.name())
    }
}

/// What is drawn from.
#[derive(Clone, Debug)]
pub struct Palette {
    /// The kinds.
    pub faults: Vec<Fault>,
    /// How long it is quiet between two of one lane.
    pub gap: (Duration, Duration),
    /// How many may be under way at once.
    pub together: usize,
    /// For how long faults happen.
    pub total: Duration,
    /// How many nodes there are.
    pub nodes: usize,
}

/// The first fault comes after so long: clients have begun.
const FIRST_AFTER: Duration = Duration::from_millis(2_000);
/// Most faults of a run.
const FAULTS_MAX: usize = 10_000;

/// Draws a schedule, in order of time.
pub fn draw(palette: &Palette, seed: u64) -> Vec<Planned> {
    let mut planned = Vec::new();
    if palette.faults.is_empty() {
        return planned;
    }
    for lane in 0..palette.together {
        let mut dice = fastrand::Rng::with_seed(seed.wrapping_add(lane as u64 * 0x9e37_79b9_7f4a_7c15));
        let mut at = FIRST_AFTER + between(&mut dice, (Duration::ZERO, palette.gap.1));
        // Each kind comes once before one comes twice, so that a short run has many.
        let mut bag = Vec::new();
        while at < palette.total && planned.len() < FAULTS_MAX {
            if bag.is_empty() {
                bag.clone_from(&palette.faults);
                dice.shuffle(&mut bag);
            }
            let fault = bag.pop().expect("it was just filled");
            let lasts = between(&mut dice, length(fault)).min(palette.total - at);
            let node = dice.usize(0..palette.nodes);
            let whom = if dice.bool() { Whom::Leader(node) } else { Whom::Node(node) };
            let whom = if fault == Fault::IsolateLeader { Whom::Leader(node) } else { whom };
            let number = 0;
            planned.push(Planned { number, lane, at, lasts, fault, whom, dice: dice.u64(..) });
            at += lasts + between(&mut dice, palette.gap);
        }
    }
    planned.sort_by_key(|planned| (planned.at, planned.lane));
    for (number, planned) in planned.iter_mut().enumerate() {
        planned.number = number;
    }
    planned
}

fn between(dice: &mut fastrand::Rng, (least, most): (Duration, Duration)) -> Duration {
    let (least, most) = (least.as_millis() as u64, most.as_millis() as u64);
    Duration::from_millis(dice.u64(least..=most.max(least)))
}

/// How long a fault lasts: elections take up to a second, and a node is missed after half of one.
fn length(fault: Fault) -> (Duration, Duration) {
    let (least, most) = match fault {
        Fault::Kill | Fault::Restart => (200, 4_000),
        Fault::KillAll => (100, 1_500),
        Fault::Pause => (300, 5_000),
        Fault::PauseThenKill => (500, 3_000),
        Fault::CrashLoop => (1_500, 4_000),
        Fault::RollingRestart => (2_000, 6_000),
        Fault::Flapping => (2_500, 7_000),
        Fault::Reset | Fault::Corrupt => (500, 3_000),
        Fault::ClockStrobe => (1_500, 5_000),
        _ => (1_500, 7_000),
    };
    (Duration::from_millis(least), Duration::from_millis(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette(together: usize) -> Palette {
        Palette {
            faults: vec![Fault::Kill, Fault::Pause, Fault::Split],
            gap: (Duration::from_millis(500), Duration::from_millis(2_000)),
            together,
            total: Duration::from_secs(60),
            nodes: 3,
        }
    }

    #[test]
    fn one_seed_is_one_schedule_and_another_is_another() {
        assert_eq!(draw(&palette(2), 7), draw(&palette(2), 7));
        assert_ne!(draw(&palette(2), 7), draw(&palette(2), 8));
    }

    #[test]
    fn faults_of_a_lane_do_not_overlap_and_all_end_in_time() {
        for seed in 0..50 {
            for lane in 0..2 {
                let planned: Vec<Planned> =
                    draw(&palette(2), seed).into_iter().filter(|planned| planned.lane == lane).collect();
                assert!(planned.len() > 5, "seed {seed}");
                assert!(
                    planned.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at),
                    "seed {seed}"
                );
                assert!(planned.iter().all(|planned| planned.at + planned.lasts <= palette(2).total));
            }
        }
    }

    #[test]
    fn every_kind_comes_before_one_comes_again() {
        let planned = draw(&palette(1), 3);
        let first: std::collections::BTreeSet<Fault> =
            planned[..3].iter().map(|planned| planned.fault).collect();
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn without_kinds_it_is_quiet() {
        assert!(draw(&Palette { faults: Vec::new(), ..palette(1) }, 1).is_empty());
    }
}
