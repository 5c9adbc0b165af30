//! Faults on real processes: which there are, when they happen, and how they are done.

mod act;
mod kind;
mod partitions;
mod schedule;

pub use act::{Hand, Happened};
pub use kind::{Fault, Meant, meant};
pub use partitions::pairs;
pub use schedule::{Palette, Planned, Whom, draw};
