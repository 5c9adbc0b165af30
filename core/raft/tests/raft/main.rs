//! The group from outside: scripts, random schedules, hostile messages, recovery, planted bugs.

mod cluster;
mod messages;
#[cfg(feature = "planted")]
mod planted;
mod read_leases;
mod recovery;
mod schedules;
mod scripts;
