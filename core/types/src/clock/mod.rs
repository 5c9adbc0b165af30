//! Logical clocks: what can be said of the order of events without trusting anybody's watch.
//!
//! Guarantee G-CLOCK: if one event happened before another (Lamport 1978: earlier on the same node, or sent in a
//! message that the other received, or through a chain of both), each of these clocks gives it the smaller value.
//! [`Lamport`] and [`Hlc`] order all events, also those that know nothing of each other; only a
//! [`VersionVector`] tells that two are concurrent. `docs/concepts/clocks.md` draws them.
//!
//! Values that peers send are never trusted: what a clock cannot take is an error, and the clock is unchanged.

mod hybrid;
mod lamport;
mod version_vector;

pub use hybrid::{HLC_DRIFT_MS_MAX, HLC_WALL_MS_MAX, Hlc, HlcError, HlcTextError, HybridClock};
pub use lamport::{Lamport, LamportClock, LamportError};
pub use version_vector::{
    Causality, Dot, DottedVersion, VERSION_VECTOR_ACTORS_MAX, VersionVector, VersionVectorError,
};
