//! A simulator around many real nodes: the code that the server runs, on a simulated network, disk and
//! clock, under virtual time. Faults come from a seed; invariants are checked after every step, and
//! what clients saw is judged at the end. One seed gives one run, to the byte.
//!
//! What is real and what is simulated, the faults and the invariants: `docs/internals/simulation.md`.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("feature `planted` contains deliberate bugs: it needs debug assertions");

mod brief;
mod catalog;
#[cfg(feature = "planted")]
pub mod catalogue;
pub mod cli;
mod clients;
mod clock;
pub mod constrain;
mod counts;
mod dice;
mod disk;
mod drive;
mod durable;
mod early;
mod effects;
mod event;
pub mod failure;
mod faults;
mod finale;
mod holders;
mod host;
mod injection;
pub mod invariants;
mod judge;
mod keyed;
pub mod lab;
mod network;
mod oracle;
mod past;
pub mod plan;
mod process;
mod promises;
mod read_leases;
mod receipts;
pub mod runner;
mod saw;
mod saw_logs;
mod sessions;
pub mod shrink;
mod tallies;
mod tenure;
mod times;
mod together;
mod trace;
mod transfer;
mod watchers;
mod wishes;
pub mod world;

pub use constrain::{Constraints, Cut};
pub use counts::Counts;
pub use failure::{Failure, Promise, Verdict};
pub use injection::{Injected, Numbers};
pub use runner::{Summary, run_seed, run_seeds};
pub use world::{Options, Outcome, Until};
