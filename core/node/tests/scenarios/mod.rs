//! Rarer ways: repeated and late messages, snapshots under disturbance.

mod backlog;
mod catalog;
mod forwards;
mod idempotency;
mod keyspaces;
mod leases;
mod lost;
mod read_leases;
mod shards;
mod snapshots;
mod typed;
mod watches;
