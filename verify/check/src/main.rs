//! `check HISTORY.jsonl`: judges what clients of a real cluster saw (see [`check::json_lines`] for the
//! format), by linearizability and by the order of revisions.
//!
//! Prints the verdict. Exit code 0: valid; 1: invalid, with what cannot be explained; 2: no history, or
//! wrong usage; 3: not decided within the budget, which is no pass.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

use check::{BUDGET_DEFAULT, History, Verdict, check_linearizable, check_revisions};

const INVALID: u8 = 1;
const UNUSABLE: u8 = 2;
const UNDECIDED: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path] = arguments.as_slice() else {
        eprintln!("usage: check HISTORY.jsonl");
        return ExitCode::from(UNUSABLE);
    };
    let history = match File::open(path) {
        Ok(file) => History::parse(BufReader::new(file)).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match history {
        Ok(history) => judge(&history),
        Err(reason) => {
            eprintln!("{path}: {reason}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn judge(history: &History) -> ExitCode {
    let verdict = check_linearizable(history, BUDGET_DEFAULT);
    if !matches!(verdict, Verdict::Invalid(_))
        && let Err(violation) = check_revisions(history)
    {
        println!("INVALID: {violation}");
        return ExitCode::from(INVALID);
    }
    println!("{verdict} ({} operations)", history.ops().len());
    match verdict {
        Verdict::Valid => ExitCode::SUCCESS,
        Verdict::Invalid(_) => ExitCode::from(INVALID),
        Verdict::Unknown { .. } => ExitCode::from(UNDECIDED),
    }
}
