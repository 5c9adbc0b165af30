//! The peer transport over real loopback sockets, certificates and files. Nothing sleeps to
//! synchronize: tests wait for events, or for a counter, up to a deadline.

mod cluster;
mod dialing;
mod exchange;
mod intruders;
