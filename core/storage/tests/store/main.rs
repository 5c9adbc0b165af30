//! The state store from outside: against a model, across crashes, on bad disks, and through snapshots.

mod crash;
mod faults;
mod model;
mod reclaim;
mod snapshot;
mod support;
