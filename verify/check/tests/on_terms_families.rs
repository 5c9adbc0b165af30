//! The judges of sessions, causes, ages and receipts, against a simulated store that knows for itself what it did
//! wrong: what it broke is found, and nothing else is. Each family has at least a hundred runs of either kind.

mod dice;
mod replicated;

use std::collections::BTreeMap;

use check::receipt::Role;
use check::{
    Action, Agreement, BUDGET_DEFAULT, CausalVerdict, Checker, Claim, Completion, History, Judgement, Level,
    Receipt, ReceiptVerdict, Recorded, SessionVerdict, StalenessVerdict, Terms, check_causal, check_receipts,
    check_sessions, judge, staleness,
};
use dice::Dice;
use replicated::{Bug, Run, Setup, run};

const LEAST: usize = 100;

fn setup(bug: Bug, level: Level) -> Setup {
    Setup { bug, steps: 120, deletes: true, revisions: true, receipts: true, level }
}

/// Runs of all seeds, in the order of seeds.
fn runs(seeds: std::ops::Range<u64>, setup: Setup) -> impl Iterator<Item = (u64, Run)> {
    seeds.map(move |seed| (seed, run(seed, setup)))
}

#[test]
fn what_is_right_is_valid() {
    let checkers = [
        Checker::Linearizable,
        Checker::Sessions,
        Checker::Causal,
        Checker::CausalConvergent,
        Checker::Bounded,
        Checker::Receipts,
    ];
    let mut good = 0;
    for level in [Level::Causal, Level::Bounded, Level::Eventual] {
        for told in 0..8 {
            let (revisions, receipts, deletes) = (told & 1 > 0, told & 2 > 0, told & 4 > 0);
            let setup = Setup { revisions, receipts, deletes, ..setup(Bug::None, level) };
            for (seed, run) in runs(0..40, setup) {
                assert!(
                    !run.session_broken && !run.causes_broken && !run.too_old && !run.age_hidden,
                    "seed {seed}"
                );
                let recorded = Recorded::Operations(run.history);
                for checker in checkers {
                    let judgement = judge(&recorded, checker, BUDGET_DEFAULT);
                    assert_eq!(judgement, Judgement::Valid, "seed {seed} of {setup:?}, {checker}");
                }
                good += 1;
            }
        }
    }
    println!("{good} good runs, seeds 0..40");
    assert!(good >= LEAST);
}

#[test]
fn broken_sessions_are_found() {
    let (mut bad, mut good, mut by_bug) = (0, 0, BTreeMap::new());
    for (bug, steps) in [(Bug::IgnoresTokens, 60), (Bug::ForgetsCauses, 400)] {
        let setup = Setup { steps, ..setup(bug, Level::Causal) };
        for (seed, run) in runs(0..300, setup) {
            let verdict = check_sessions(&run.history);
            match run.session_broken {
                true => {
                    let SessionVerdict::Invalid(found) = &verdict else {
                        panic!("{bug:?} {seed}: {verdict:?}")
                    };
                    assert!((2..=4).contains(&found.shown.len()), "{bug:?} {seed}: {}", found.explanation);
                    assert!(found.shown.contains(&found.culprit));
                    *by_bug.entry(format!("{bug:?}, {}", found.guarantee)).or_insert(0) += 1;
                    bad += 1;
                }
                false => {
                    assert_eq!(verdict, SessionVerdict::Valid, "{bug:?} {seed}");
                    good += 1;
                }
            }
        }
    }
    println!("sessions: {by_bug:?}, {bad} bad, {good} good, seeds 0..300");
    assert!(bad >= LEAST && good >= LEAST);
}

/// Without revisions, too, and exactly.
#[test]
fn broken_causes_are_found() {
    let (mut bad, mut good, mut by_bug) = (0, 0, BTreeMap::new());
    for (bug, steps) in [(Bug::IgnoresTokens, 120), (Bug::IgnoresTokens, 40), (Bug::ForgetsCauses, 400)] {
        let setup = Setup { steps, deletes: false, revisions: false, ..setup(bug, Level::Causal) };
        for (seed, run) in runs(0..300, setup) {
            let verdict = check_causal(&run.history, Agreement::Ignored);
            match run.causes_broken {
                true => {
                    let CausalVerdict::Invalid(found) = &verdict else {
                        panic!("{bug:?} {seed}: {verdict:?}")
                    };
                    *by_bug.entry(format!("{bug:?}, {}", found.pattern)).or_insert(0) += 1;
                    bad += 1;
                }
                false => {
                    assert_eq!(verdict, CausalVerdict::Valid, "{bug:?} {seed}");
                    good += 1;
                }
            }
        }
    }
    println!("causal: {by_bug:?}, {bad} bad, {good} good, seeds 0..300");
    assert!(bad >= LEAST && good >= LEAST);
}

#[test]
fn what_is_too_old_is_found() {
    let (mut bad, mut good) = (0, 0);
    for (bug, level) in [(Bug::IgnoresBounds, Level::Bounded), (Bug::HidesAge, Level::Eventual)] {
        let setup = Setup { steps: 50, ..setup(bug, level) };
        for (seed, run) in runs(0..300, setup) {
            let ages = staleness::Ages::AskedAndTold;
            let verdict = check::check_staleness(&run.history, ages, 0, BUDGET_DEFAULT);
            match run.too_old || run.age_hidden {
                true => {
                    let StalenessVerdict::Invalid(found) = &verdict else {
                        panic!("{bug:?} {seed}: {verdict:?}")
                    };
                    assert!(found.shown.contains(&found.culprit));
                    bad += 1;
                }
                false if !run.perhaps_too_old && !run.perhaps_hidden => {
                    assert_eq!(verdict, StalenessVerdict::Valid, "{bug:?} {seed}");
                    good += 1;
                }
                false => {}
            }
            let receipts = check_receipts(&run.history, 0, BUDGET_DEFAULT);
            let found = matches!(receipts, ReceiptVerdict::Invalid(_));
            assert!(found || !run.age_hidden, "{bug:?} {seed}: {receipts:?}");
            assert!(!found || run.perhaps_hidden, "{bug:?} {seed}: {receipts:?}");
            // A slack as long as the run excuses everything.
            let excused = check::check_staleness(&run.history, ages, 10_000, BUDGET_DEFAULT);
            assert_eq!(excused, StalenessVerdict::Valid, "{bug:?} {seed}");
        }
    }
    println!("ages: {bad} bad, {good} good, seeds 0..300");
    assert!(bad >= LEAST && good >= LEAST);
}

/// The history again, with an answer changed.
fn changed(
    history: &History,
    at: usize,
    change: impl Fn(&mut Terms, &mut Receipt, &mut Completion),
) -> History {
    let mut events = Vec::new();
    for op in history.ops() {
        let (mut terms, mut receipt) = (op.terms.clone(), op.receipt.clone());
        let mut completed = op.completed.clone();
        if let (true, Some(receipt), Some((_, completion))) = (op.id.0 == at, &mut receipt, &mut completed) {
            change(&mut terms, receipt, completion);
        }
        let (end, completion) = completed.unzip();
        if let (Some(end), Some(completion)) = (end, completion) {
            events.push((end, op, terms.clone(), Some((completion, receipt))));
        }
        events.push((op.invoked, op, terms, None));
    }
    events.sort_by_key(|(moment, ..)| *moment);
    let mut again = History::new();
    for (moment, op, terms, end) in events {
        match end {
            None => again.invoke_with(op.process, moment.time_us, op.action.clone(), terms),
            Some((completion, receipt)) => {
                again.complete_with(op.process, moment.time_us, completion, receipt)
            }
        }
        .unwrap();
    }
    again
}

/// What makes a receipt of some operations a lie, whatever the history: the claim, and which operations.
type Lie = (Claim, fn(&History, usize) -> bool, fn(&mut Terms, &mut Receipt, &mut Completion));

fn is_read(history: &History, at: usize) -> bool {
    matches!(history.ops()[at].action, Action::Read { .. })
}

fn is_strong(history: &History, at: usize) -> bool {
    history.ops()[at].receipt.as_ref().is_some_and(|receipt| receipt.delivered == Some(Level::Strong))
}

/// Whether an earlier answer of the same key satisfies something.
fn after(history: &History, at: usize, earlier: impl Fn(&Receipt) -> bool) -> bool {
    let op = &history.ops()[at];
    history.ops()[..at].iter().any(|other| {
        let ended = other.answer().is_some_and(|(end, _)| end.position < op.invoked.position);
        ended && other.action.key() == op.action.key() && other.receipt.as_ref().is_some_and(&earlier)
    })
}

const LIES: [Lie; 13] = [
    (Claim::Acks, |_, _| true, |_, receipt, _| receipt.acks.as_mut().unwrap().got = Some(4)),
    (Claim::Acks, |_, _| true, |_, receipt, _| receipt.acks.as_mut().unwrap().required = Some(3)),
    (Claim::Minority, is_strong, |_, receipt, _| {
        let acks = receipt.acks.as_mut().unwrap();
        (acks.required, acks.got, acks.durable) = (Some(1), Some(1), Some(0));
    }),
    (Claim::Requested, is_read, |_, receipt, _| {
        let other = receipt.requested == Some(Level::Eventual);
        receipt.requested = Some(if other { Level::Causal } else { Level::Eventual });
    }),
    (Claim::Weaker, is_read, |terms, receipt, _| {
        (terms.level, receipt.requested, receipt.delivered) =
            (None, Some(Level::Strong), Some(Level::Eventual));
    }),
    (
        Claim::Revision,
        |history, at| {
            let op = &history.ops()[at];
            !matches!(op.action, Action::Delete { .. })
                && op.receipt.as_ref().is_some_and(|receipt| receipt.revision > Some(0))
        },
        |_, receipt, completion| {
            // What it answers is of its state; the state is told to be of before anything was written.
            receipt.revision = Some(0);
            if let Completion::Ok(check::Answer::Read { value, revision }) = completion {
                (*value, *revision) = (Some("v1".to_owned()), Some(1));
            }
        },
    ),
    (
        Claim::Deduplicated,
        |history, at| !is_read(history, at),
        |_, receipt, _| receipt.deduplicated = Some(true),
    ),
    (
        Claim::Deduplicated,
        |history, at| !is_read(history, at),
        |terms, receipt, _| {
            terms.idempotency_key = Some("once".to_owned());
            receipt.deduplicated = Some(true);
        },
    ),
    (Claim::Attempts, |_, _| true, |_, receipt, _| receipt.attempts = Some(0)),
    (
        Claim::ReadLease,
        |history, at| !is_strong(history, at),
        |_, receipt, _| receipt.read_lease = Some(check::receipt::ReadLease::default()),
    ),
    (
        Claim::Leaders,
        |history, at| after(history, at, |receipt| receipt.role == Some(Role::Leader)),
        |_, receipt, _| (receipt.role, receipt.served_by) = (Some(Role::Leader), Some(9)),
    ),
    (
        Claim::Term,
        |history, at| {
            let led = |receipt: &Receipt| receipt.delivered == Some(Level::Strong);
            is_strong(history, at) && after(history, at, led)
        },
        |_, receipt, _| receipt.term = Some(6),
    ),
    (
        Claim::Hlc,
        |history, at| {
            let (op, ops) = (&history.ops()[at], history.ops());
            let before =
                |other: &check::Op| other.answer().is_some_and(|(end, _)| end.position < op.invoked.position);
            ops[..at].iter().any(|other| {
                other.process == op.process && other.terms.session == op.terms.session && before(other)
            })
        },
        |_, receipt, _| receipt.hlc = Some(check::receipt::Hlc { wall_ms: 0, counter: 1 }),
    ),
];

#[test]
fn lies_of_receipts_are_found() {
    let mut told = [0; LIES.len()];
    for (seed, run) in runs(0..60, setup(Bug::None, Level::Causal)) {
        assert_eq!(check_receipts(&run.history, 0, BUDGET_DEFAULT), ReceiptVerdict::Valid, "seed {seed}");
        let mut dice = Dice(seed);
        for (number, (claim, fits, change)) in LIES.iter().enumerate() {
            let fitting: Vec<usize> = run
                .history
                .ops()
                .iter()
                .filter(|op| op.receipt.is_some() && fits(&run.history, op.id.0))
                .map(|op| op.id.0)
                .collect();
            if fitting.is_empty() {
                continue;
            }
            let at = fitting[dice.below(fitting.len() as u64) as usize];
            let lie = changed(&run.history, at, change);
            let verdict = check_receipts(&lie, 0, BUDGET_DEFAULT);
            let ReceiptVerdict::Invalid(found) = &verdict else {
                panic!("seed {seed}, operation {at}, {claim}: {verdict:?}");
            };
            assert_eq!(found.claim, *claim, "seed {seed}, operation {at}: {}", found.explanation);
            told[number] += 1;
        }
    }
    println!("receipts: lies found {told:?}, seeds 0..60");
    assert!(told.iter().all(|count| *count >= 30) && told.iter().sum::<usize>() >= LEAST, "{told:?}");
}

/// Stronger than was asked for is good only if it is so.
#[test]
fn claims_to_be_strong_are_held_to_it() {
    let (mut bad, mut good) = (0, 0);
    let setup = Setup { steps: 40, ..setup(Bug::None, Level::Eventual) };
    for (seed, run) in runs(0..400, setup) {
        let mut lie = run.history.clone();
        for at in 0..run.history.ops().len() {
            if is_read(&run.history, at) && !is_strong(&run.history, at) {
                lie = changed(&lie, at, |_, receipt, _| {
                    receipt.delivered = Some(Level::Strong);
                    receipt.acks.as_mut().unwrap().got = Some(2);
                    (receipt.staleness_ms, receipt.revision) = (None, None);
                });
            }
        }
        // What the claim comes to is what linearizable says of the same reads, asked strong.
        let mut asked = lie.clone();
        for at in 0..lie.ops().len() {
            asked = changed(&asked, at, |terms, receipt, _| {
                (terms.level, receipt.requested) = (None, Some(Level::Strong));
            });
        }
        let linearizable = judge(&Recorded::Operations(asked), Checker::Linearizable, BUDGET_DEFAULT);
        let verdict = check_receipts(&lie, 0, BUDGET_DEFAULT);
        match &verdict {
            ReceiptVerdict::Valid => good += 1,
            ReceiptVerdict::Invalid(found) => {
                assert_eq!(found.claim, Claim::Strong, "seed {seed}: {}", found.explanation);
                bad += 1;
            }
            ReceiptVerdict::Unknown { reason } => panic!("seed {seed}: {reason}"),
        }
        assert_eq!(verdict == ReceiptVerdict::Valid, linearizable == Judgement::Valid, "seed {seed}");
    }
    println!("strong: {bad} bad, {good} good, seeds 0..400");
    assert!(bad >= LEAST && good >= 20);
}
