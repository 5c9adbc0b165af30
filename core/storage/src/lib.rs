//! What is on disk: the write-ahead log and the checkpointed state below it, as values over the
//! [`files`] trait. This crate opens no file itself: the shell and the simulator bring the disk.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("feature `planted` contains deliberate bugs: it needs debug assertions");

pub mod files;
pub mod identity;
pub mod mem_files;
pub mod rows;
pub mod snapshot;
pub mod store;
pub mod wal;

pub use files::{DiskError, File, Files};
pub use identity::{Identity, IdentityError, Loaded};
pub use mem_files::MemFiles;
pub use rows::{GroupState, ReadRows, Row, RowMeta, WriteRows};
pub use snapshot::{SnapshotPiece, SnapshotReader};
pub use store::{
    CheckpointDone, CheckpointJob, InstallDone, InstallJob, ReclaimDone, ReclaimJob, ScrubJob, Staging,
    Store, StoreOptions,
};
pub use wal::{AppendError, OpenError, Recovered, RecoveredGroup, TornTail, Wal, WalOptions, WalStats};

/// Why the state store failed. Final for this process (stop, keep the files), unless a variant says
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk failed. [`DiskError::NoSpace`] alone is not final: nothing was changed, and the same
    /// call may be made again once there is space.
    #[error("state store: {0}")]
    Disk(#[from] DiskError),
    /// A checksum did not match, or the engine found its file damaged.
    #[error("state store: {file} is corrupt: {reason}")]
    Corrupt {
        /// The damaged file.
        file: String,
        /// What did not match.
        reason: String,
    },
    /// The file was written by a version of this program that this one does not know. Nothing was
    /// changed; start the version that wrote it, or a newer one.
    #[error("state store: {file} has format {found}, this build reads format {supported}")]
    UnsupportedFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The format of this build.
        supported: u32,
    },
    /// A peer's snapshot is malformed, or not the one expected. Not final: the group's rows are
    /// untouched; discard what was received and ask for it again.
    #[error("state store: snapshot of group {group} refused: {reason}")]
    BadSnapshot {
        /// The group it was received for.
        group: types::GroupId,
        /// What is wrong with it.
        reason: String,
    },
}
