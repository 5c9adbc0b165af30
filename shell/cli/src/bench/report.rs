//! What a benchmark prints.

use serde_json::{Value, json};

use super::load::{Measured, Operation};

/// The percentiles shown, in percent.
const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// Both measurements of one operation at one number of clients.
#[derive(Debug)]
pub struct Report {
    /// What was measured.
    pub operation: Operation,
    /// Concurrent clients.
    pub clients: u32,
    /// Requests per second of the fixed-rate run.
    pub rate: f64,
    /// The closed-loop run.
    pub closed: Measured,
    /// The fixed-rate run.
    pub open: Measured,
}

impl Report {
    /// The line above the lines.
    pub fn header() -> String {
        format!(
            "{:<6} {:>7} {:>10} {:>10} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "what",
            "clients",
            "per second",
            "rate",
            "kept",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "errors"
        )
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let latencies: String = PERCENTILES
            .iter()
            .map(|p| format!(" {:>9.2}", ms(self.open.latency_us.value_at_percentile(*p))))
            .collect();
        format!(
            "{:<6} {:>7} {:>10.0} {:>10.0} {:>5.0}%{latencies} {:>9.2} {:>7}",
            self.name(),
            self.clients,
            self.closed.per_second(),
            self.rate,
            100.0 * self.kept(),
            ms(self.open.latency_us.max()),
            self.closed.errors + self.open.errors,
        )
    }

    /// The same for a program.
    pub fn json(&self) -> Value {
        let percentile = |p| ms(self.open.latency_us.value_at_percentile(p));
        json!({
            "operation": self.name(),
            "clients": self.clients,
            "per_second": self.closed.per_second(),
            "fixed_rate_per_second": self.rate,
            "fixed_rate_kept": self.kept(),
            "p50_ms": percentile(PERCENTILES[0]),
            "p90_ms": percentile(PERCENTILES[1]),
            "p99_ms": percentile(PERCENTILES[2]),
            "p99_9_ms": percentile(PERCENTILES[3]),
            "max_ms": ms(self.open.latency_us.max()),
            "closed_loop_errors": self.closed.errors,
            "fixed_rate_errors": self.open.errors,
            "first_error": self.closed.first_error.as_ref().or(self.open.first_error.as_ref()).map(ToString::to_string),
        })
    }

    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Write => "write",
            Operation::Read => "read",
        }
    }

    /// Share of the rate that was really reached.
    fn kept(&self) -> f64 {
        (self.open.per_second() / self.rate).min(1.0)
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
