//! A hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva and Leone 2014, "Logical physical clocks").
//!
//! Guarantee: a clock never goes back, whatever the wall clock does, and what it gives is greater than all that it
//! gave or took in before. It is at most [`HLC_DRIFT_MS_MAX`] ahead of the greatest wall clock reading that it was
//! told, and a millisecond for each 65,536 events of one millisecond.
//!
//! When the wall clock jumps back, the clock goes on from its own value and counts, until the wall clock has caught
//! up. When it jumps forward, so does the clock, and stays there when the jump is corrected.
//!
//! Not promised: that a greater value is later in real time, or that it knows of the smaller.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// How far ahead of a clock's own wall clock a timestamp may be that it takes in, in milliseconds. Wall clocks that
/// are kept by NTP differ by less than a second; ones that differ by a minute are wrong, and following them would
/// carry the error to every node for good.
pub const HLC_DRIFT_MS_MAX: u64 = 60_000;
/// Greatest wall clock reading that a timestamp holds: 48 bits of milliseconds, until the year 10889. A greater one
/// counts as this.
pub const HLC_WALL_MS_MAX: u64 = (1 << 48) - 1;

const COUNTER_BITS: u32 = 16;

/// A timestamp: milliseconds since the Unix epoch in the upper 48 bits, a counter in the lower 16. As text
/// `1763990000123.00007`, which sorts as the numbers do between the years 2001 and 2286.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// Before every event.
    pub const ZERO: Hlc = Hlc(0);

    /// The first timestamp of a millisecond; of the last one that there is, if it is later.
    pub fn at_ms(wall_ms: u64) -> Hlc {
        Hlc(wall_ms.min(HLC_WALL_MS_MAX) << COUNTER_BITS)
    }

    /// The milliseconds.
    pub fn wall_ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The counter.
    pub fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next timestamp: a full counter carries into the milliseconds.
    fn next(self) -> Hlc {
        Hlc(self.0.saturating_add(1))
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:05}", self.wall_ms(), self.counter())
    }
}

/// The text is no timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp is milliseconds and a counter of five digits, as in 1763990000123.00007")]
pub struct HlcTextError;

impl FromStr for Hlc {
    type Err = HlcTextError;

    fn from_str(text: &str) -> Result<Hlc, HlcTextError> {
        let (wall_ms, counter) = text.split_once('.').ok_or(HlcTextError)?;
        let wall_ms: u64 = wall_ms.parse().map_err(|_| HlcTextError)?;
        let counter: u16 = counter.parse().map_err(|_| HlcTextError)?;
        let hlc = Hlc(Hlc::at_ms(wall_ms).0 | u64::from(counter));
        // One timestamp has one text.
        if hlc.to_string() == text { Ok(hlc) } else { Err(HlcTextError) }
    }
}

impl Serialize for Hlc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hlc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hlc, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Why a clock did not take in a timestamp. The clock is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HlcError {
    /// One of the two wall clocks is wrong: set them right, for example by NTP.
    #[error(
        "the timestamp {remote} is {ahead_ms} ms ahead of this clock's wall clock, more than the {HLC_DRIFT_MS_MAX} ms \
         that are followed: set the wall clocks of both right"
    )]
    TooFarAhead {
        /// What was given.
        remote: Hlc,
        /// How far ahead of the greatest wall clock reading it is.
        ahead_ms: u64,
    },
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HybridClock {
    last: Hlc,
    /// The greatest wall clock reading that it was told.
    wall_ms_max: u64,
}

impl HybridClock {
    /// An event of the node's own, such as sending a message: answers its timestamp.
    pub fn tick(&mut self, wall_ms: u64) -> Hlc {
        self.see_wall(wall_ms);
        self.last = Hlc::at_ms(wall_ms).max(self.last.next());
        self.last
    }

    /// The event of receiving a message with this timestamp: answers the event's own, which is greater than both.
    ///
    /// # Errors
    /// [`HlcError::TooFarAhead`]: the timestamp was not taken in.
    pub fn observe(&mut self, remote: Hlc, wall_ms: u64) -> Result<Hlc, HlcError> {
        self.see_wall(wall_ms);
        let ahead_ms = remote.wall_ms().saturating_sub(self.wall_ms_max);
        // What the clock itself has reached teaches it nothing, whatever its wall clock says.
        if remote > self.last && ahead_ms > HLC_DRIFT_MS_MAX {
            return Err(HlcError::TooFarAhead { remote, ahead_ms });
        }
        self.last = Hlc::at_ms(wall_ms).max(self.last.max(remote).next());
        Ok(self.last)
    }

    /// The timestamp of the last event.
    pub fn last(&self) -> Hlc {
        self.last
    }

    fn see_wall(&mut self, wall_ms: u64) {
        self.wall_ms_max = self.wall_ms_max.max(wall_ms.min(HLC_WALL_MS_MAX));
    }
}
