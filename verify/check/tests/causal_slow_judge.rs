//! The judge of causes agrees with one that is too simple to be wrong: it tries every order, for the operations
//! that cause a read (causal consistency) or for all of them (causal convergence), of histories of a few operations
//! in which reads show anything. The definitions are those of Bouajjani et al., "On verifying causal consistency".

use std::collections::{BTreeMap, BTreeSet};

use check::{Action, Agreement, Answer, CausalVerdict, Completion, History, Level, Terms, check_causal};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Who, whether a read, of which key, and which of what was written to it so far is read: 0 for none.
type Draw = (u64, bool, usize, usize);

const KEYS: [&str; 2] = ["x", "y"];

/// One operation after another, so that what is read was written before.
#[derive(Clone, Debug)]
struct Op {
    process: u64,
    key: usize,
    /// The write that it reads, or that it is; a read of nothing has none.
    version: Option<usize>,
    read: bool,
}

fn ops(draws: &[Draw]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for &(process, read, key, choice) in draws {
        let written: Vec<usize> = (0..ops.len()).filter(|at| !ops[*at].read && ops[*at].key == key).collect();
        let version = match (read, choice % (written.len() + 1)) {
            (false, _) => Some(ops.len()),
            (true, 0) => None,
            (true, choice) => Some(written[choice - 1]),
        };
        ops.push(Op { process, key, version, read });
    }
    ops
}

fn history(ops: &[Op]) -> History {
    let mut history = History::new();
    for (at, op) in ops.iter().enumerate() {
        let (key, time_us) = (KEYS[op.key].to_owned(), at as u64 * 10);
        let value = op.version.map(|version| version.to_string());
        let level = op.read.then_some(Level::Causal);
        let (action, answer) = if op.read {
            (Action::Read { key }, Answer::Read { value, revision: None })
        } else {
            (Action::Write { key, value: value.unwrap() }, Answer::Written { revision: None })
        };
        history.invoke_with(op.process, time_us, action, Terms { level, ..Terms::default() }).unwrap();
        history.complete(op.process, time_us + 5, Completion::Ok(answer)).unwrap();
    }
    history
}

/// By operation, all that causes it: by sessions and by reading, transitively.
fn causes(ops: &[Op]) -> Vec<BTreeSet<usize>> {
    let mut causes: Vec<BTreeSet<usize>> = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let session = (0..at).filter(|before| ops[*before].process == op.process);
        let direct: Vec<usize> = session.chain(op.version.filter(|version| *version != at)).collect();
        let all = direct.iter().flat_map(|cause| causes[*cause].iter().copied().chain([*cause]));
        causes.push(all.collect());
    }
    causes
}

/// Whether there is an order of these writes, respecting causes, that satisfies `fits`.
fn any_order(
    left: &BTreeSet<usize>,
    order: &mut Vec<usize>,
    causes: &[BTreeSet<usize>],
    fits: &impl Fn(&[usize]) -> bool,
) -> bool {
    if left.is_empty() {
        return fits(order);
    }
    left.iter().any(|&next| {
        if causes[next].iter().any(|cause| left.contains(cause)) {
            return false;
        }
        let mut rest = left.clone();
        rest.remove(&next);
        order.push(next);
        let found = any_order(&rest, order, causes, fits);
        order.pop();
        found
    })
}

fn last(order: &[usize], ops: &[Op], key: usize, among: &BTreeSet<usize>) -> Option<usize> {
    order.iter().rev().copied().find(|write| ops[*write].key == key && among.contains(write))
}

/// For each read there is an order of what causes it after which it shows what it shows.
fn is_causal(ops: &[Op]) -> bool {
    let causes = causes(ops);
    (0..ops.len()).filter(|read| ops[*read].read).all(|read| {
        let writes: BTreeSet<usize> =
            causes[read].iter().copied().filter(|cause| !ops[*cause].read).collect();
        let fits = |order: &[usize]| last(order, ops, ops[read].key, &writes) == ops[read].version;
        any_order(&writes, &mut Vec::new(), &causes, &fits)
    })
}

/// There is one order of all writes, such that each read shows the last of those that cause it.
fn is_convergent(ops: &[Op]) -> bool {
    let causes = causes(ops);
    let writes: BTreeSet<usize> = (0..ops.len()).filter(|write| !ops[*write].read).collect();
    let fits = |order: &[usize]| {
        let mut reads = (0..ops.len()).filter(|read| ops[*read].read);
        reads.all(|read| last(order, ops, ops[read].key, &causes[read]) == ops[read].version)
    };
    any_order(&writes, &mut Vec::new(), &causes, &fits)
}

#[test]
fn agrees_with_trying_every_order() {
    let mut found: BTreeMap<(Agreement, bool), usize> = BTreeMap::new();
    let counts = std::cell::RefCell::new(&mut found);
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let draw = (0..3_u64, prop::bool::weighted(0.6), 0..2_usize, 0..4_usize);
    let result = runner.run(&vec(draw, 2..10), |draws| {
        let ops = ops(&draws);
        let history = history(&ops);
        for (agreement, slow) in
            [(Agreement::Ignored, is_causal(&ops)), (Agreement::Demanded, is_convergent(&ops))]
        {
            let verdict = check_causal(&history, agreement);
            prop_assert_eq!(verdict == CausalVerdict::Valid, slow, "{:?} {:#?}", verdict, ops);
            *counts.borrow_mut().entry((agreement, slow)).or_default() += 1;
        }
        Ok(())
    });
    result.unwrap();
    println!("{found:?}");
    let least = found.values().min().copied();
    assert!(found.len() == 4 && least >= Some(400), "{found:?}");
}
