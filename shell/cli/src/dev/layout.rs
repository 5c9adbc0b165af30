//! The directory of a development cluster: what it is, made once and recovered ever after.
//!
//! ```text
//! DIR/cluster.toml      which cluster this is, how many nodes; locked while it runs
//! DIR/tls/              the certificate authority and each node's certificate (two nodes or more)
//! DIR/node-0/ ...       each node's data
//! DIR/node-0.log ...    each node's log
//! ```

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use server::tls::{CertificateAuthority, NodeFiles};
use types::{ClusterId, NodeId};

use crate::failure::{Exit, Failure};

/// The version of `cluster.toml` that this build writes and reads.
const LAYOUT_VERSION: u32 = 1;
/// How many nodes a new cluster has when nothing is said.
const NODES_DEFAULT: u16 = 3;
const HEADER: &str = "# Written by `quorate dev`. The nodes' data belongs to this cluster: do not edit.\n";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    version: u32,
    cluster_id: String,
    nodes: u16,
}

/// An opened directory. The cluster in it is ours until this is dropped.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    cluster: ClusterId,
    nodes: u16,
    certificates: Vec<NodeFiles>,
    /// Held for its lock.
    _lock: File,
}

impl Layout {
    /// Opens the cluster in `dir`, or makes one of `nodes` nodes (3 if not said).
    ///
    /// # Errors
    /// If the directory holds a cluster of another size or version, is in use, or cannot be written.
    /// What exists is never overwritten.
    pub fn open(dir: &Path, nodes: Option<u16>) -> Result<Layout, Failure> {
        fs::create_dir_all(dir).map_err(|error| unusable(dir, &error))?;
        // Children start with their own working directory in mind; the log names whole paths.
        let dir = fs::canonicalize(dir).map_err(|error| unusable(dir, &error))?;
        let lock = lock(&dir)?;
        let path = dir.join("cluster.toml");
        let file = match fs::read_to_string(&path) {
            Ok(text) => read_cluster_file(&path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&dir, &path, nodes)?,
            Err(error) => return Err(unusable(&path, &error)),
        };
        if nodes.is_some_and(|nodes| nodes != file.nodes) {
            let message = format!("the cluster in {} has {} nodes", dir.display(), file.nodes);
            return Err(Failure::usage(message)
                .next("leave out --nodes, or name another --data-dir for a cluster of another size"));
        }
        let cluster = file.cluster_id.parse().map_err(|error| damaged(&path, &format!("{error}")))?;
        let certificates = certificates(&dir, cluster, file.nodes)?;
        Ok(Layout { dir, cluster, nodes: file.nodes, certificates, _lock: lock })
    }

    /// The directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Which cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// How many nodes.
    pub fn nodes(&self) -> u16 {
        self.nodes
    }

    /// A node's certificate; `None` for a single node, which has no peers.
    pub fn certificate(&self, node: u16) -> Option<&NodeFiles> {
        self.certificates.get(usize::from(node))
    }

    /// Where a node keeps its data.
    pub fn node_dir(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    /// Where a node's log goes.
    pub fn log_file(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}.log"))
    }
}

fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join("cluster.lock");
    let file =
        File::options().create(true).append(true).open(&path).map_err(|error| unusable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::error(format!("another `quorate dev` runs the cluster in {}", dir.display()))
                .next("stop it with Ctrl-C, or name another --data-dir and --http-port"))
        }
        Err(TryLockError::Error(error)) => Err(unusable(&path, &error)),
    }
}

fn create(dir: &Path, path: &Path, nodes: Option<u16>) -> Result<ClusterFile, Failure> {
    if dir.join("node-0").exists() {
        return Err(damaged(path, "it is missing, but there are nodes beside it"));
    }
    let mut id = [0; 16];
    id.fill_with(|| fastrand::u8(..));
    let file = ClusterFile {
        version: LAYOUT_VERSION,
        cluster_id: ClusterId(id).to_string(),
        nodes: nodes.unwrap_or(NODES_DEFAULT),
    };
    let text = toml::to_string(&file).map_err(|error| Failure::error(error.to_string()))?;
    write_synced(dir, path, &format!("{HEADER}{text}")).map_err(|error| unusable(path, &error))?;
    Ok(file)
}

fn write_synced(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let temporary = dir.join("cluster.toml.new");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

fn read_cluster_file(path: &Path, text: &str) -> Result<ClusterFile, Failure> {
    let file: ClusterFile = toml::from_str(text).map_err(|error| damaged(path, error.message()))?;
    if file.version != LAYOUT_VERSION {
        let message =
            format!("{} has version {}; this build reads {LAYOUT_VERSION}", path.display(), file.version);
        return Err(Failure::error(message).next("start it with the version of quorate that wrote it"));
    }
    if file.nodes == 0 || file.nodes > crate::args::DEV_NODES_MAX {
        return Err(damaged(path, "the number of nodes is out of range"));
    }
    Ok(file)
}

fn certificates(dir: &Path, cluster: ClusterId, nodes: u16) -> Result<Vec<NodeFiles>, Failure> {
    if nodes == 1 {
        return Ok(Vec::new());
    }
    let failure = |error: server::tls::TlsError| Failure::error(error.to_string());
    let authority = CertificateAuthority::open_or_create(&dir.join("tls")).map_err(failure)?;
    (0..nodes).map(|node| authority.issue(cluster, NodeId(u64::from(node))).map_err(failure)).collect()
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot use {}: {error}", path.display()))
        .next("check its owner and permissions, or name another --data-dir")
}

fn damaged(path: &Path, reason: &str) -> Failure {
    Failure::error(format!("{} is damaged: {reason}; nothing was changed", path.display()))
        .next("restore the file, or name another --data-dir for a new cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_is_the_same_cluster() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = Layout::open(dir.path(), Some(1)).expect("created");
        let id = first.cluster();
        assert!(Layout::open(dir.path(), None).is_err(), "it is locked");
        drop(first);
        let again = Layout::open(dir.path(), None).expect("recovered");
        assert_eq!((again.cluster(), again.nodes()), (id, 1));
    }

    #[test]
    fn another_number_of_nodes_is_refused_and_nothing_changes() {
        let dir = tempfile::tempdir().expect("temporary directory");
        drop(Layout::open(dir.path(), Some(1)).expect("created"));
        let before = fs::read(dir.path().join("cluster.toml")).expect("there");
        let failure = Layout::open(dir.path(), Some(3)).expect_err("another size");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("has 1 nodes"), "{failure}");
        assert_eq!(fs::read(dir.path().join("cluster.toml")).expect("there"), before);
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        for text in ["", "version = 1", "version = 2\ncluster_id = \"x\"\nnodes = 1", "nodes = {", "\0"] {
            let dir = tempfile::tempdir().expect("temporary directory");
            fs::write(dir.path().join("cluster.toml"), text).expect("written");
            assert!(Layout::open(dir.path(), None).is_err(), "{text:?}");
        }
    }
}
