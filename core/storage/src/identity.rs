//! Whose data directory this is: the file `IDENTITY`, readable by people.
//!
//! Guarantee G-CORRUPTION, of whose files these are: a node never starts on another node's files. The file is checked before any
//! other is touched, and is never rewritten.

use std::fmt;

use types::{ClusterId, NodeId};

use crate::{DiskError, File, Files};

/// Name of the file.
pub const IDENTITY_FILE: &str = "IDENTITY";
/// Version of the data directory's layout that this build reads and writes.
pub const DIRECTORY_VERSION: u32 = 1;

const TEMPORARY_FILE: &str = "IDENTITY.tmp";
const PRODUCT: &str = "quorate data directory";
/// More than any such file has; what is longer is not one.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// Which node of which cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

/// How [`Identity::load_or_create`] came to be content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The directory had no identity; it has now.
    Created,
    /// The directory was this node's already.
    Existing,
}

/// Why a data directory is refused. In all cases but [`IdentityError::Disk`] nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The disk failed. Fix it and start again.
    #[error("{IDENTITY_FILE}: {0}")]
    Disk(#[from] DiskError),
    /// The directory is of another cluster.
    #[error(
        "the data directory belongs to cluster {found}, and this node to cluster {expected}; nothing was changed; \
         start with this node's own data directory"
    )]
    WrongCluster {
        /// Whose it is.
        found: ClusterId,
        /// Who asked.
        expected: ClusterId,
    },
    /// The directory is of another node of this cluster.
    #[error(
        "the data directory belongs to node {found} of the cluster, and this is node {expected}; nothing was \
         changed; start with this node's own data directory"
    )]
    WrongNode {
        /// Whose it is.
        found: NodeId,
        /// Who asked.
        expected: NodeId,
    },
    /// The directory was made by a version with another layout.
    #[error(
        "the data directory has format version {found}, and this build reads version {supported}; nothing was \
         changed; start the version of the program that wrote it"
    )]
    UnsupportedVersion {
        /// Its version.
        found: u32,
        /// [`DIRECTORY_VERSION`].
        supported: u32,
    },
    /// The file is damaged, or none of ours.
    #[error(
        "{IDENTITY_FILE} is corrupt: {reason}; nothing was changed; restore the file from a copy, or replace the \
         node as docs/internals/log-format.md says"
    )]
    Corrupt {
        /// What is wrong with it.
        reason: String,
    },
}

impl Identity {
    /// Checks that the directory is this identity's, or makes it so if it has no identity.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load_or_create(files: &dyn Files, expected: &Identity) -> Result<Loaded, IdentityError> {
        let Some(found) = Identity::load(files)? else {
            let file = files.create(TEMPORARY_FILE)?;
            file.write_at(0, expected.to_text().as_bytes())?;
            file.sync()?;
            files.rename(TEMPORARY_FILE, IDENTITY_FILE)?;
            return Ok(Loaded::Created);
        };
        if found.cluster != expected.cluster {
            return Err(IdentityError::WrongCluster { found: found.cluster, expected: expected.cluster });
        }
        if found.node != expected.node {
            return Err(IdentityError::WrongNode { found: found.node, expected: expected.node });
        }
        Ok(Loaded::Existing)
    }

    /// Whose the directory is; `None` if it has no identity.
    ///
    /// # Errors
    /// [`IdentityError::Disk`], [`IdentityError::UnsupportedVersion`] or [`IdentityError::Corrupt`].
    pub fn load(files: &dyn Files) -> Result<Option<Identity>, IdentityError> {
        let file = match files.open(IDENTITY_FILE) {
            Ok(file) => file,
            Err(DiskError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = read_text(&*file)?;
        Identity::from_text(&text).map(Some)
    }

    fn to_text(self) -> String {
        let lines =
            format!("{PRODUCT}\nversion {DIRECTORY_VERSION}\ncluster {}\nnode {}\n", self.cluster, self.node);
        format!("{lines}checksum {:08x}\n", crc32fast::hash(lines.as_bytes()))
    }

    fn from_text(text: &str) -> Result<Identity, IdentityError> {
        let corrupt = |reason: &str| IdentityError::Corrupt { reason: reason.to_owned() };
        // The version comes first: another one may say anything after it, and may sum it up otherwise.
        let mut head = text.lines();
        if head.next() != Some(PRODUCT) {
            return Err(corrupt("it does not begin with the product's name"));
        }
        let version = field(head.next(), "version ").ok_or_else(|| corrupt("it has no version"))?;
        if version != DIRECTORY_VERSION {
            return Err(IdentityError::UnsupportedVersion { found: version, supported: DIRECTORY_VERSION });
        }
        let (lines, checksum) =
            text.rsplit_once("checksum ").ok_or_else(|| corrupt("it has no line with its checksum"))?;
        if checksum != format!("{:08x}\n", crc32fast::hash(lines.as_bytes())) {
            return Err(corrupt("it does not match its checksum"));
        }
        let mut lines = lines.lines().skip(2);
        let cluster = field(lines.next(), "cluster ").ok_or_else(|| corrupt("it names no cluster"))?;
        let node = field(lines.next(), "node ").ok_or_else(|| corrupt("it names no node"))?;
        if lines.next().is_some() {
            return Err(corrupt("it has more lines than it should"));
        }
        Ok(Identity { cluster, node: NodeId(node) })
    }
}

fn field<T: std::str::FromStr>(line: Option<&str>, name: &str) -> Option<T> {
    line?.strip_prefix(name)?.parse().ok()
}

fn read_text(file: &dyn File) -> Result<String, IdentityError> {
    let len = file.len()?;
    if len > IDENTITY_BYTES_MAX {
        return Err(IdentityError::Corrupt { reason: format!("it has {len} bytes") });
    }
    let mut bytes = vec![0; len as usize];
    file.read_at(0, &mut bytes)?;
    String::from_utf8(bytes).map_err(|_| IdentityError::Corrupt { reason: "it is not text".to_owned() })
}
