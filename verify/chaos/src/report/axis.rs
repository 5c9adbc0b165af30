//! The time axis that all panels share, and the scales of their values.

use std::fmt::Write as _;

/// Width of the drawing.
pub const WIDTH: f64 = 1120.0;
/// Where time begins: names stand left of it.
pub const LEFT: f64 = 118.0;
/// Where it ends.
pub const RIGHT: f64 = 1104.0;

/// Time, from left to right.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    end_ms: u64,
}

impl Time {
    /// From 0 to this.
    pub fn until(end_ms: u64) -> Time {
        Time { end_ms: end_ms.max(1_000) }
    }

    /// Where a moment is.
    pub fn x(self, ms: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (ms.min(self.end_ms) as f64 / self.end_ms as f64)
    }

    /// The end, in milliseconds.
    pub fn end_ms(self) -> u64 {
        self.end_ms
    }

    /// Round moments, about ten.
    pub fn ticks(self) -> Vec<u64> {
        let steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600];
        let step = steps.into_iter().find(|step| self.end_ms / (step * 1_000) <= 14).unwrap_or(7_200);
        (0..=self.end_ms / (step * 1_000)).map(|tick| tick * step * 1_000).collect()
    }

    /// Lines at the ticks, with times below.
    pub fn grid(self, top: f64, bottom: f64) -> String {
        let mut svg = String::new();
        for tick in self.ticks() {
            let x = self.x(tick);
            let label = if tick < 120_000 && self.end_ms < 180_000 {
                format!("{} s", tick / 1_000)
            } else {
                format!("{}:{:02}", tick / 60_000, tick / 1_000 % 60)
            };
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                bottom + 14.0
            );
        }
        svg
    }
}

/// Values, from bottom to top.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    top: f64,
    bottom: f64,
    most: f64,
    /// The least of a logarithmic scale.
    least: Option<f64>,
}

impl Values {
    /// From 0 to a round number above `most`.
    pub fn linear(top: f64, bottom: f64, most: f64) -> Values {
        Values { top, bottom, most: round_up(most.max(1.0)), least: None }
    }

    /// Powers of ten.
    pub fn logarithmic(top: f64, bottom: f64, least: f64, most: f64) -> Values {
        let least = 10f64.powf(least.max(0.01).log10().floor());
        let most = 10f64.powf(most.max(least * 10.0).log10().ceil());
        Values { top, bottom, most, least: Some(least) }
    }

    /// Where a value is.
    pub fn y(&self, value: f64) -> f64 {
        let part = match self.least {
            None => value / self.most,
            Some(least) => (value.max(least) / least).log10() / (self.most / least).log10(),
        };
        self.bottom - (self.bottom - self.top) * part.clamp(0.0, 1.0)
    }

    /// Values that are named at the side.
    pub fn ticks(&self) -> Vec<f64> {
        match self.least {
            None => vec![0.0, self.most / 2.0, self.most],
            Some(least) => {
                let decades = (self.most / least).log10().round() as i32;
                (0..=decades).map(|decade| least * 10f64.powi(decade)).collect()
            }
        }
    }

    /// Lines at the ticks, named by `name`.
    pub fn grid(&self, name: impl Fn(f64) -> String) -> String {
        let mut svg = String::new();
        for tick in self.ticks() {
            let y = self.y(tick);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 6.0,
                y + 3.5,
                name(tick)
            );
        }
        svg
    }
}

fn round_up(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|round| *round >= most).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_what_they_are_for() {
        let values = Values::linear(0.0, 100.0, 37.0);
        assert_eq!((values.y(0.0), values.y(40.0)), (100.0, 0.0));
        let values = Values::logarithmic(0.0, 100.0, 1.0, 900.0);
        assert_eq!(values.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((values.y(10.0) - 66.67).abs() < 0.01);
    }

    #[test]
    fn ticks_are_few_and_round() {
        for end_ms in [3_000, 42_000, 90_000, 640_000, 3_700_000] {
            let ticks = Time::until(end_ms).ticks();
            assert!((3..=16).contains(&ticks.len()), "{end_ms}: {ticks:?}");
        }
    }
}
