//! Scenarios: what a cluster and its clients are put through, as TOML. The simulator and the trials on real processes
//! run the same files.
//!
//! A [`Scenario`] says what is wanted; what it leaves out, whoever runs it draws from a seed. Reading one is strict: a
//! field that is not known, a number out of bounds or an empty list is an error that says what there is. Names of
//! faults and checkers are texts here: who runs the scenario knows which it has, and refuses the others.

mod bounds;
mod read;
mod scenario;

pub use read::{Problem, load, load_folder, parse};
pub use scenario::{Checkers, Cluster, Disk, Duration, Faults, Kind, Network, Scenario, Span, Workload};
