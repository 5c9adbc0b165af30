//! File descriptors: as many as the system allows, and enough of them kept back for the node's own files.
//!
//! A log segment that cannot be opened is a disk failure, which ends the process. So connections must
//! never take the last descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept back for the log, the store, peers and their handshakes: several times what these take.
const KEPT_BACK: u64 = 256;

/// Raises this process's own limit as far as it may.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, open_files = limit.current, "could not raise the limit of open files");
    }
}

/// How many HTTP connections there may be, when `wanted` are.
pub(super) fn http_connections(wanted: usize) -> usize {
    let most = most_connections(getrlimit(Resource::Nofile).current);
    if wanted > most {
        tracing::warn!(
            wanted,
            most,
            "fewer HTTP connections at once than configured: raise the limit of open files (ulimit -n)"
        );
    }
    wanted.min(most)
}

/// `open_files` is the limit; `None` for no limit.
fn most_connections(open_files: Option<u64>) -> usize {
    let Some(open_files) = open_files else { return usize::MAX };
    let most = open_files.saturating_sub(KEPT_BACK).max(open_files / 4).max(1);
    usize::try_from(most).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        assert_eq!(most_connections(None), usize::MAX);
        assert_eq!(most_connections(Some(1_024)), 768);
        assert_eq!(most_connections(Some(256)), 64);
        assert_eq!(most_connections(Some(0)), 1);
    }
}
