//! The real disk behind [`storage::Files`]: one data directory, locked by one process.

mod lock;
mod real_files;
#[cfg(test)]
mod tests;

pub use lock::{DataDir, DataDirError};
pub use real_files::RealFiles;
