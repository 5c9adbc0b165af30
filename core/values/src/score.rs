//! Scores of sorted sets: numbers that are never infinite and never "not a number", in one total order.

use std::{cmp::Ordering, fmt};

/// A finite 64-bit floating point number. There is one zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score(f64);

/// The number is infinite, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a score is a finite number")]
pub struct NotFinite;

impl Score {
    /// A score.
    ///
    /// # Errors
    /// [`NotFinite`].
    pub fn new(number: f64) -> Result<Score, NotFinite> {
        // Adding zero makes one zero of the two.
        if number.is_finite() { Ok(Score(number + 0.0)) } else { Err(NotFinite) }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The sum, rounded as IEEE 754 has it.
    ///
    /// # Errors
    /// [`NotFinite`] when it is too great.
    pub fn plus(self, by: Score) -> Result<Score, NotFinite> {
        Score::new(self.0 + by.0)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The score of these bits, if they are those of one.
    pub(crate) fn from_bits(bits: u64) -> Option<Score> {
        Score::new(f64::from_bits(bits)).ok().filter(|score| score.to_bits() == bits)
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Score) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Score) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Score) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
