//! Chaos: the simulator's scenarios against real processes. A cluster is started, hurt and healed while clients work;
//! what they saw is recorded and judged by `check`, and told in one HTML report.
//!
//! What is promised of a run: everything is drawn from its seed; it ends only processes that it started; nothing of
//! it is left when it ends, but histories and a report; a verdict of `valid` is said only if every judge says so.

mod built_in;
mod clock;
mod cluster;
mod crew;
mod door;
mod error;
mod faults;
mod finale;
mod measure;
mod proxy;
mod record;
mod report;
mod run;
mod verdict;
mod watching;
mod wish;
mod work;

pub use built_in::built_in;
pub use error::ChaosError;
pub use faults::{Fault, Planned};
pub use report::html;
pub use run::{Outcome, run};
pub use verdict::{Verdict, Word};
pub use wish::{Skipped, Target, Wish};
