//! `quorate check`: judges a recorded history, of this or any other system.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::Path,
    process::ExitCode,
};

use check::{Checker, Judgement, Recorded, judge_with, timeline};
use serde_json::{Value, json};

use crate::{args::Check, failure::Failure, output::say};

const INVALID: u8 = 1;
const UNDECIDED: u8 = 3;

/// Runs the command. Its exit codes are its own: 0 valid, 1 invalid, 2 unusable, 3 not decided.
pub fn run(args: &Check, json: bool) -> ExitCode {
    match judged(args, json) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

fn judged(args: &Check, json: bool) -> Result<ExitCode, Failure> {
    let Some(path) = args.history.as_deref().filter(|_| !args.list) else {
        list(json);
        return Ok(ExitCode::SUCCESS);
    };
    let named: Vec<Checker> = args.checker.iter().map(|name| named(name)).collect::<Result<_, _>>()?;
    let recorded = read(path)?;
    let checkers = if named.is_empty() { Checker::of(&recorded) } else { &named };
    let judgements: Vec<(Checker, Judgement)> = checkers
        .iter()
        .map(|&checker| (checker, judge_with(&recorded, checker, args.budget, args.clock_slack_ms)))
        .collect();

    let counterexample = judgements.iter().find_map(|(_, judgement)| match judgement {
        Judgement::Invalid(found) => Some(found),
        _ => None,
    });
    let drawn = match (&args.svg, counterexample) {
        (Some(file), Some(found)) => {
            fs::write(file, timeline(&recorded, found))
                .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))?;
            Some(file)
        }
        _ => None,
    };
    let verdict = overall(&judgements);
    if json {
        let checkers: Vec<Value> =
            judgements.iter().map(|(checker, judgement)| as_json(&recorded, *checker, judgement)).collect();
        let svg = drawn.map(|file| file.display().to_string());
        say!(
            "{}",
            json!({"verdict": verdict, "operations": recorded.count(), "checkers": checkers, "svg": svg})
        );
    } else {
        for (checker, judgement) in &judgements {
            say!("{checker}: {}", in_words(judgement));
        }
        say!("{verdict}: {} {}", recorded.count(), unit(&recorded));
        if let Some(file) = drawn {
            say!("drawn in {}", file.display());
        }
    }
    Ok(match verdict {
        "valid" => ExitCode::SUCCESS,
        "invalid" => ExitCode::from(INVALID),
        _ => ExitCode::from(UNDECIDED),
    })
}

fn list(json: bool) {
    if json {
        let checkers = Checker::ALL.map(|checker| json!({"name": checker.name(), "about": checker.about()}));
        say!("{}", json!({"checkers": checkers}));
        return;
    }
    for checker in Checker::ALL {
        say!("{:<20} {}", checker.name(), checker.about());
    }
}

fn named(name: &str) -> Result<Checker, Failure> {
    Checker::named(name).ok_or_else(|| {
        Failure::usage(format!("there is no checker {name:?}")).next("see `quorate check --list`")
    })
}

fn read(path: &Path) -> Result<Recorded, Failure> {
    let standard_input = path == Path::new("-");
    let name = if standard_input { "standard input".to_owned() } else { path.display().to_string() };
    let unusable = |reason: String| Failure::usage(format!("{name}: {reason}"));
    let recorded = if standard_input {
        Recorded::parse(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| unusable(error.to_string()))?;
        Recorded::parse(BufReader::new(file))
    };
    let recorded = recorded.map_err(|error| {
        unusable(error.to_string()).next("see docs/reference/history-format.md, or the example in --help")
    })?;
    match recorded.count() {
        0 => Err(unusable("there are no events, so there is nothing to judge".to_owned())),
        _ => Ok(recorded),
    }
}

/// Invalid if anything is, and valid only if everything is.
fn overall(judgements: &[(Checker, Judgement)]) -> &'static str {
    let any = |wanted: fn(&Judgement) -> bool| judgements.iter().any(|(_, judgement)| wanted(judgement));
    if any(|judgement| matches!(judgement, Judgement::Invalid(_))) {
        "invalid"
    } else if any(|judgement| matches!(judgement, Judgement::Unknown { .. })) {
        "unknown"
    } else {
        "valid"
    }
}

fn in_words(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Valid => "valid".to_owned(),
        Judgement::Invalid(found) => format!("INVALID\n{}", found.explanation),
        Judgement::Unknown { reason } => format!("UNKNOWN, which is no pass: {reason}"),
    }
}

fn as_json(recorded: &Recorded, checker: Checker, judgement: &Judgement) -> Value {
    let name = checker.name();
    match judgement {
        Judgement::Valid => json!({"checker": name, "verdict": "valid"}),
        Judgement::Unknown { reason } => json!({"checker": name, "verdict": "unknown", "reason": reason}),
        Judgement::Invalid(found) => {
            let operations: Vec<Value> = found
                .shown
                .iter()
                .map(|id| {
                    let op = recorded.describe(*id);
                    json!({
                        "index": id.0,
                        "process": op.process,
                        "invoked_us": op.invoked.time_us,
                        "ended_us": op.ended.map(|moment| moment.time_us),
                        "text": op.text,
                        "contradicts": found.culprits.contains(id),
                    })
                })
                .collect();
            json!({
                "checker": name,
                "verdict": "invalid",
                "anomaly": found.anomaly,
                "explanation": found.explanation,
                "operations": operations,
            })
        }
    }
}

fn unit(recorded: &Recorded) -> &'static str {
    match recorded {
        Recorded::Operations(_) => "operations",
        Recorded::Transactions(_) => "transactions",
        Recorded::Locks(_) | Recorded::Effects(_) | Recorded::Delivery(_) => "operations and notes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_decided_is_no_pass_and_hides_nothing() {
        let unknown = || (Checker::Linearizable, Judgement::Unknown { reason: "too long".to_owned() });
        let valid = || (Checker::Revisions, Judgement::Valid);
        let found = check::Counterexample {
            anomaly: "shared-revision".to_owned(),
            explanation: "two changes".to_owned(),
            shown: Vec::new(),
            culprits: Vec::new(),
            arrows: Vec::new(),
        };
        assert_eq!(overall(&[valid(), valid()]), "valid");
        assert_eq!(overall(&[valid(), unknown()]), "unknown");
        assert_eq!(overall(&[unknown(), (Checker::Revisions, Judgement::Invalid(found))]), "invalid");
    }
}
