//! Transactions as text, for the scripts:
//!
//! ```text
//! txn if mod a = 3 version b..c > 0 then put a 1 get b else range a..d limit=2 end
//! ```
//!
//! Words one after another: compares after `if`, operations after `then` and `else`, all optional; a nested
//! transaction is `txn ... end`. `FROM..TO` is a range, without `TO` to the last key; `puts A*N` are puts of N
//! keys that begin with A. Equal results that follow each other are shown once.

use std::iter::Peekable;

use keyspace::{Compare, KeyRange, Keys, Relation, Target, Txn, TxnOp, TxnOutcome, TxnResult};

use super::{bytes, show, show_row};

type Words<'a, 'b> = Peekable<&'a mut dyn Iterator<Item = &'b str>>;

/// Parses a transaction up to `end`, or to the last word.
pub fn txn<'b>(words: &mut Peekable<impl Iterator<Item = &'b str>>) -> Txn {
    let words: &mut dyn Iterator<Item = &'b str> = words;
    parse(&mut words.peekable())
}

fn parse(words: &mut Words<'_, '_>) -> Txn {
    let mut txn = Txn::default();
    if words.next_if_eq(&"if").is_some() {
        while !matches!(words.peek(), None | Some(&"then" | &"else" | &"end")) {
            txn.compares.push(compare(words));
        }
    }
    if words.next_if_eq(&"then").is_some() {
        txn.then = ops(words);
    }
    if words.next_if_eq(&"else").is_some() {
        txn.otherwise = ops(words);
    }
    words.next_if_eq(&"end");
    txn
}

fn keys(text: &str) -> Keys {
    match text.split_once("..") {
        Some((start, end)) => {
            Keys::Range(KeyRange { start: bytes(start), end: (!end.is_empty()).then(|| bytes(end)) })
        }
        None => Keys::One(bytes(text)),
    }
}

fn compare(words: &mut Words<'_, '_>) -> Compare {
    let mut word = || words.next().expect("a compare is TARGET KEY RELATION WHAT");
    let (target, keys, relation, what) = (word(), keys(word()), word(), word());
    let number = || what.parse().unwrap();
    let target = match target {
        "version" => Target::Version(number()),
        "create" => Target::CreateRevision(number()),
        "mod" => Target::ModRevision(number()),
        "value" => Target::Value(bytes(what)),
        _ => panic!("no such target: {target}"),
    };
    let relation = match relation {
        "=" => Relation::Equal,
        "!=" => Relation::NotEqual,
        ">" => Relation::Greater,
        "<" => Relation::Less,
        _ => panic!("no such relation: {relation}"),
    };
    Compare { keys, target, relation }
}

fn ops(words: &mut Words<'_, '_>) -> Vec<TxnOp> {
    let mut ops = Vec::new();
    loop {
        match words.peek() {
            None | Some(&"else" | &"end") => return ops,
            Some(_) => {}
        }
        let name = words.next().expect("it was just seen");
        if name == "txn" {
            ops.push(TxnOp::Txn(parse(words)));
            continue;
        }
        let key = words.next().expect("every operation has a key");
        match name {
            "put" => {
                ops.push(TxnOp::Put { key: bytes(key), value: bytes(words.next().unwrap()), lease: None })
            }
            "put-leased" => {
                let (value, lease) = (bytes(words.next().unwrap()), words.next().unwrap());
                ops.push(TxnOp::Put { key: bytes(key), value, lease: Some(lease.parse().unwrap()) });
            }
            "puts" => {
                let (prefix, count) = key.split_once('*').expect("PREFIX*COUNT");
                let put = |n: usize| TxnOp::Put {
                    key: format!("{prefix}{n}").into(),
                    value: b"1".to_vec(),
                    lease: None,
                };
                ops.extend((0..count.parse().unwrap()).map(put));
            }
            "add" => {
                ops.push(TxnOp::Increment { key: bytes(key), by: words.next().unwrap().parse().unwrap() })
            }
            "get" => ops.push(TxnOp::Get { key: bytes(key) }),
            "delete" => ops.push(TxnOp::Delete { keys: keys(key) }),
            "range" => {
                let Keys::Range(range) = keys(key) else { panic!("a range is FROM..TO") };
                let limit = words.next_if(|word| word.starts_with("limit="));
                let limit = limit.map_or(10, |word| word["limit=".len()..].parse().unwrap());
                let keys_only = words.next_if_eq(&"keys-only").is_some();
                ops.push(TxnOp::Range { range, limit, keys_only });
            }
            _ => panic!("no such operation: {name}"),
        }
    }
}

/// An outcome as text.
pub fn show_txn(outcome: &TxnOutcome) -> String {
    match outcome {
        TxnOutcome::Refused { revision, refusal } => {
            format!("refused revision={revision}: {refusal}\nnext step: {}", refusal.next_step())
        }
        TxnOutcome::Done { revision, succeeded, results } => {
            format!("done revision={revision} succeeded={succeeded}{}", show_results(results, 1))
        }
    }
}

fn show_results(results: &[TxnResult], depth: usize) -> String {
    let mut text = String::new();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for result in results {
        let line = match result {
            TxnResult::Put { create_revision, version } => {
                format!("put create_revision={create_revision} version={version}")
            }
            TxnResult::Increment { value, create_revision, version } => {
                format!("add value={value} create_revision={create_revision} version={version}")
            }
            TxnResult::Get { row } => {
                format!("get {}", row.as_ref().map_or("no such key".to_owned(), show_row))
            }
            TxnResult::Range { items, next } => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| {
                        format!("{}={}@{}", show(&item.key), show(&item.row.value), item.row.mod_revision)
                    })
                    .collect();
                let next = next.as_ref().map_or("-".to_owned(), |next| show(next));
                format!("range [{}] next={next}", items.join(" "))
            }
            TxnResult::Deleted { keys } => format!("deleted keys={keys}"),
            TxnResult::Txn { succeeded, results } => {
                format!("txn succeeded={succeeded}{}", show_results(results, depth + 1))
            }
        };
        match lines.last_mut().filter(|(last, _)| *last == line) {
            Some((_, times)) => *times += 1,
            None => lines.push((line, 1)),
        }
    }
    for (line, times) in lines {
        let times = if times == 1 { String::new() } else { format!(" ({times} times)") };
        text += &format!("\n{}{line}{times}", "  ".repeat(depth));
    }
    text
}
