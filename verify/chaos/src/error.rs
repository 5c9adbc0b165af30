//! Why a run could not be made. It says nothing of the system that was to be judged.

use std::{io, path::PathBuf};

/// What kept a run from being made.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// What was asked for makes no sense.
    #[error("{message}")]
    Usage {
        /// What, and what would be right.
        message: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cluster does not come up, though nothing was done to it.
    #[error("{message}")]
    Start {
        /// What is wrong, with the last lines of a log.
        message: String,
    },
    /// It was interrupted before there was anything to judge.
    #[error("interrupted before there was anything to judge; every process that was started is ended")]
    Interrupted,
}

impl ChaosError {
    /// For `map_err`: a file, and what the system said of it.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ChaosError {
        let path = path.into();
        move |source| ChaosError::File { path, source }
    }

    pub(crate) fn usage(message: impl Into<String>) -> ChaosError {
        ChaosError::Usage { message: message.into() }
    }

    pub(crate) fn start(message: impl Into<String>) -> ChaosError {
        ChaosError::Start { message: message.into() }
    }
}
