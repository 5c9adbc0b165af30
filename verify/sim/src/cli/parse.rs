//! What is written on the command line, as values.

use std::ops::Range;

use scenario::Kind;

use crate::world::Until;

pub fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let seeds = number(from)?..number(to)?;
    if seeds.is_empty() { Err("there are no seeds in this range".into()) } else { Ok(seeds) }
}

pub fn until(text: &str) -> Result<Until, String> {
    if text.is_empty() {
        return Err("write a step, a time as 2.5s, or a part of a line".into());
    }
    if let Ok(step) = text.parse() {
        return Ok(Until::Step(step));
    }
    let seconds = text.strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok());
    Ok(match seconds {
        Some(seconds) => Until::TimeUs((seconds * 1e6) as u64),
        None => Until::Line(text.to_string()),
    })
}

pub fn kind(text: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
        let all: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("there are {}", all.join(", "))
    })
}

#[cfg(feature = "planted")]
pub fn planted(text: &str) -> Result<raft_group::Planted, String> {
    raft_group::Planted::named(text).ok_or_else(|| {
        let known: Vec<String> = raft_group::Planted::ALL.iter().map(|bug| bug.name()).collect();
        format!("there is no such bug; there are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::{Until, kind, seeds, until};

    #[test]
    fn a_moment_is_a_step_a_time_or_a_part_of_a_line() {
        assert_eq!(until("12345"), Ok(Until::Step(12_345)));
        assert_eq!(until("2.5s"), Ok(Until::TimeUs(2_500_000)));
        assert_eq!(
            until("node 2 <- 1: group 3 RequestVote"),
            Ok(Until::Line("node 2 <- 1: group 3 RequestVote".into()))
        );
        assert_eq!(until("fault kills"), Ok(Until::Line("fault kills".into())));
        assert!(until("").is_err());
    }

    #[test]
    fn seeds_and_kinds_say_what_can_be_written() {
        assert_eq!(seeds("3..5"), Ok(3..5));
        assert!(seeds("5..5").is_err() && seeds("5").is_err() && seeds("a..b").is_err());
        assert!(kind("lock").is_err_and(|told| told.contains("locks")));
    }
}
