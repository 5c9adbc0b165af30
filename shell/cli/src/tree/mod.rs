//! Directory trees as keys and values: `quorate import` and `quorate export`.

mod assemble;
pub mod export;
pub mod import;
pub mod keys;
mod place;
mod progress;
mod stale;
mod walk;
