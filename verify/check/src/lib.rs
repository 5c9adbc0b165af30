//! Histories of what clients of a keyed register saw, and judges of them. It knows nothing of the
//! product that is judged: a history is all it sees.
//!
//! A judge that says [`Verdict::Invalid`] is right, and shows why. [`Verdict::Valid`] means that an
//! explanation was found. [`Verdict::Unknown`] means that the search was given up; it is no pass.

pub mod converged;
mod explain;
pub mod history;
pub mod json_lines;
pub mod linearizable;
mod prepare;
mod register;
pub mod revisions;
mod search;

pub use converged::{FinalValue, check_converged};
pub use history::{Action, Answer, Completion, History, Op, OpId};
pub use json_lines::ParseError;
pub use linearizable::{BUDGET_DEFAULT, Verdict, Violation, check_linearizable};
pub use revisions::{RevisionViolation, check_revisions};
