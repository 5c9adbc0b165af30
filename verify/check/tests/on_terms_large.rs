//! A hundred thousand operations of twenty clients on ten keys, some with unknown outcomes, are judged within the
//! limits: by sessions, causes, ages and receipts. `--nocapture` prints how long each takes.

mod dice;

use std::time::Instant;

use check::receipt::Acks;
use check::{
    Action, Answer, BUDGET_DEFAULT, Checker, Completion, History, Judgement, Level, Receipt, Recorded, Terms,
    judge,
};
use dice::Dice;

const OPERATIONS: usize = 100_000;
const CLIENTS: u64 = 20;
const KEYS: u64 = 10;

/// A run of a store that does each operation at once, when its answer is on its way. Half of the keys have revisions.
fn history(dice: &mut Dice) -> History {
    let mut history = History::new();
    let mut state = vec![(None, 0); KEYS as usize];
    let mut open = vec![None; CLIENTS as usize];
    let (mut time_us, mut revision) = (0, 0);
    while history.ops().len() < OPERATIONS {
        time_us += dice.below(50);
        let client = dice.below(CLIENTS);
        let Some((key, read)) = open[client as usize].take() else {
            let (key, read) = (dice.below(KEYS), dice.chance(50));
            open[client as usize] = Some((key, read));
            let name = format!("k{key}");
            let value = format!("v{}", history.ops().len());
            let level = read.then(|| if dice.chance(50) { Level::Causal } else { Level::Bounded });
            let bound_ms = (level == Some(Level::Bounded)).then_some(5);
            let action = if read { Action::Read { key: name } } else { Action::Write { key: name, value } };
            let terms = Terms { level, bound_ms, ..Terms::default() };
            history.invoke_with(client, time_us, action, terms).unwrap();
            continue;
        };
        let place = &mut state[key as usize];
        let told = |revision: u64| (key % 2 == 0 && revision > 0).then_some(revision);
        let answer = if read {
            Answer::Read { value: place.0.clone(), revision: told(place.1) }
        } else {
            revision += 1;
            let Some(Action::Write { value, .. }) = history.open_op(client).map(|op| &op.action) else {
                panic!("a write")
            };
            *place = (Some(value.clone()), revision);
            if dice.chance(2) {
                history.complete(client, time_us, Completion::Unknown).unwrap();
                continue;
            }
            Answer::Written { revision: told(revision) }
        };
        let acks = Acks { required: Some(2), got: Some(2), of: Some(3), durable: None };
        let receipt = Receipt {
            delivered: Some(Level::Strong),
            staleness_ms: Some(0),
            acks: Some(acks),
            ..Receipt::default()
        };
        history.complete_with(client, time_us, Completion::Ok(answer), Some(receipt)).unwrap();
    }
    history
}

#[test]
fn a_hundred_thousand_operations_are_judged() {
    let recorded = Recorded::Operations(history(&mut Dice(1)));
    for checker in
        [Checker::Sessions, Checker::Causal, Checker::CausalConvergent, Checker::Bounded, Checker::Receipts]
    {
        let began = Instant::now();
        assert_eq!(judge(&recorded, checker, BUDGET_DEFAULT), Judgement::Valid, "{checker}");
        println!("{checker}: {OPERATIONS} operations in {} ms", began.elapsed().as_millis());
    }
}
