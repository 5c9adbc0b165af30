//! Faults by number: each that was due has one, and dice of its own, so one that is left out takes nothing from the others.
//! They come at the same time, of the same kind and with the same luck as before. So a failing run can be tried again
//! with fewer of its faults ([`crate::Options::skip_faults`]).

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::Serialize;

use crate::plan::FaultKind;

/// A fault that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Injected {
    /// Its number among all that were due, those included that could not happen.
    pub number: u64,
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// What.
    #[serde(serialize_with = "by_name")]
    pub kind: FaultKind,
}

fn by_name<S: serde::Serializer>(kind: &FaultKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

/// Numbers of faults, as `3,7-20,31-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(Vec<RangeInclusive<u64>>);

impl Numbers {
    /// Whether it is one of them.
    pub fn contains(&self, number: u64) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All but these, which ascend.
    pub fn all_but(kept: &[u64]) -> Numbers {
        let mut ranges = Vec::new();
        let mut next = 0;
        for number in kept {
            if next < *number {
                ranges.push(next..=number - 1);
            }
            next = number + 1;
        }
        ranges.push(next..=u64::MAX);
        Numbers(ranges)
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match (*range.start(), *range.end()) {
                (from, to) if from == to => write!(f, "{comma}{from}")?,
                (from, u64::MAX) => write!(f, "{comma}{from}-")?,
                (from, to) => write!(f, "{comma}{from}-{to}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Numbers, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let range = number(from)?..=if to.is_empty() { u64::MAX } else { number(to)? };
            if range.is_empty() {
                Err(format!("{part:?} goes down: write the smaller number first"))
            } else {
                Ok(range)
            }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for text in ["3", "3,7-20", "0-4,6-8,10-"] {
            assert_eq!(text.parse::<Numbers>().expect("it is a list").to_string(), text);
        }
        for text in ["", "3,", "7-3", "x", "-"] {
            assert!(text.parse::<Numbers>().is_err(), "{text:?}");
        }
        let others = Numbers::all_but(&[0, 5, 6, 9]);
        assert_eq!(others.to_string(), "1-4,7-8,10-");
        assert!(others.contains(8) && !others.contains(9) && others.contains(1_000));
        assert_eq!(Numbers::all_but(&[]).to_string(), "0-");
    }
}
