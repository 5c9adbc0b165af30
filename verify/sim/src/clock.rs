//! One machine's clocks: a monotonic one that runs a little fast or slow, and a wall clock that may
//! be set, be off, jump to and fro, and run at any rate.
//!
//! The monotonic one never goes back, whatever happens to either.

use types::Now;

use crate::{dice::Dice, plan::SECOND};

/// Virtual worlds begin on 1 January 2026.
const WALL_START_MS: u64 = 1_767_225_600_000;
const PPM: u64 = 1_000_000;

/// A reading, and how fast it goes on from there.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// At this virtual time,
    at_us: u64,
    /// it said this,
    said_us: u64,
    /// and since then it advances by so many microseconds in a second.
    rate_ppm: u64,
}

impl Running {
    fn said_us(&self, now_us: u64) -> u64 {
        let since_us = u128::from(now_us.saturating_sub(self.at_us));
        self.said_us + (since_us * u128::from(self.rate_ppm) / u128::from(PPM)) as u64
    }

    fn set_rate(&mut self, now_us: u64, rate_ppm: u64) {
        *self = Running { at_us: now_us, said_us: self.said_us(now_us), rate_ppm };
    }
}

/// A wall clock that jumps to and fro.
#[derive(Clone, Copy, Debug)]
struct Strobe {
    since_us: u64,
    every_us: u64,
    by_ms: i64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The monotonic clock's rate when nothing is wrong with it.
    usual_ppm: u64,
    mono: Running,
    wall: Running,
    /// What someone set the wall clock to, beside what it would say.
    set_ms: i64,
    /// By how much it is off for a while.
    skew_ms: i64,
    strobe: Option<Strobe>,
}

impl Clock {
    /// A clock with a drift of its own, of up to so many parts per million, and an offset.
    pub fn draw(dice: &mut Dice, drift_ppm_max: u64) -> Clock {
        let usual_ppm = match dice.below(4) {
            0 => PPM - drift_ppm_max,
            1 => PPM + drift_ppm_max,
            _ => PPM - drift_ppm_max + dice.below(2 * drift_ppm_max + 1),
        };
        let running = |said_us, rate_ppm| Running { at_us: 0, said_us, rate_ppm };
        Clock {
            usual_ppm,
            mono: running(dice.below(1_000 * SECOND), usual_ppm),
            wall: running(0, PPM),
            set_ms: 0,
            skew_ms: 0,
            strobe: None,
        }
    }

    /// What it says at a virtual time.
    pub fn now(&self, now_us: u64) -> Now {
        let strobe_ms = self.strobe.map_or(0, |strobe| {
            let away = now_us.saturating_sub(strobe.since_us) / strobe.every_us % 2 == 1;
            if away { strobe.by_ms } else { 0 }
        });
        let wall_ms = WALL_START_MS + self.wall.said_us(now_us) / 1_000;
        let wall_ms = wall_ms.saturating_add_signed(self.set_ms + self.skew_ms + strobe_ms);
        Now { mono_ms: self.mono.said_us(now_us) / 1_000, wall_ms }
    }

    /// Virtual time in which this clock advances by `span_us` at its present rate, rounded up.
    pub fn virtual_us(&self, span_us: u64) -> u64 {
        (u128::from(span_us) * u128::from(PPM)).div_ceil(u128::from(self.mono.rate_ppm)) as u64
    }

    /// Someone sets the wall clock to so much more or less than true time.
    pub fn set_wall(&mut self, to_ms: i64) {
        self.set_ms = to_ms;
    }

    /// The wall clock is off by so much more; the same the other way round ends it.
    pub fn skew(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
    }

    /// The wall clock jumps by so much and back, each after such a time, until [`Clock::steady`].
    pub fn strobe(&mut self, now_us: u64, every_us: u64, by_ms: i64) {
        self.strobe = Some(Strobe { since_us: now_us, every_us, by_ms });
    }

    /// The wall clock stays where it belongs.
    pub fn steady(&mut self) {
        self.strobe = None;
    }

    /// Both run at other rates from now on, until [`Clock::undrift`].
    pub fn drift(&mut self, now_us: u64, mono_ppm: u64, wall_ppm: u64) {
        self.mono.set_rate(now_us, mono_ppm);
        self.wall.set_rate(now_us, wall_ppm);
    }

    /// Both run as usual again, from what they say now.
    pub fn undrift(&mut self, now_us: u64) {
        self.drift(now_us, self.usual_ppm, PPM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_keeps_its_bound_whatever_happens_to_either() {
        for seed in 0..100 {
            let (mut dice, drift_ppm) = (Dice::new(seed), 10_000);
            let mut clock = Clock::draw(&mut dice, drift_ppm);
            let (mut now_us, mut wall_went_back) = (0, false);
            let (first, mut last) = (clock.now(0), clock.now(0));
            for _ in 0..1_000 {
                match dice.below(5) {
                    0 => clock.set_wall(dice.below(200_000) as i64 - 100_000),
                    1 => clock.skew(dice.below(200_000) as i64 - 100_000),
                    2 => clock.strobe(now_us, dice.between(1, 90_000), -50_000),
                    3 => clock.drift(
                        now_us,
                        dice.between(PPM - drift_ppm, PPM + drift_ppm),
                        dice.below(9 * PPM),
                    ),
                    _ => {
                        clock.undrift(now_us);
                        clock.steady();
                    }
                }
                now_us += dice.below(50_000);
                let now = clock.now(now_us);
                assert!(now.mono_ms >= last.mono_ms, "seed {seed} at {now_us}: {last:?}, then {now:?}");
                wall_went_back |= now.wall_ms < last.wall_ms;
                last = now;
            }
            let (told_ms, true_ms) = (last.mono_ms - first.mono_ms, now_us / 1_000);
            assert!(told_ms.abs_diff(true_ms) <= true_ms / 100 + 2, "seed {seed}: {told_ms} of {true_ms}");
            assert!(wall_went_back, "seed {seed}");
        }
    }
}
