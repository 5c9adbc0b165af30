//! A cluster of `quorate server` processes: the configuration of each, as `quorate dev` writes it, but with a
//! link of its own to every other node.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use server::{
    config::{Member, ServerConfig, TlsFiles},
    tls::CertificateAuthority,
};
use types::{ClusterId, NodeId};

use super::{Cluster, FakeClocks, Node, Recipe, SmallDisks, Wanted, free};
use crate::{
    ChaosError,
    proxy::{Network, Place},
};

/// Small files and caches, so that rotation, checkpoints and snapshots happen within minutes.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
const LOG_CACHE_BYTES: u64 = 256 * 1024;
const CHECKPOINT_BYTES: u64 = 2 * 1024 * 1024;
const OVERLAY_BYTES: u64 = 1024 * 1024;

/// Makes and starts a cluster of this binary.
///
/// # Errors
/// If files, ports or processes cannot be had. Nothing runs then.
pub async fn start(
    binary: &Path,
    dir: PathBuf,
    nodes: usize,
    seed: u64,
    wanted: Wanted,
) -> Result<Cluster, ChaosError> {
    let addresses = free(2 * nodes)?;
    let (http, peers) = addresses.split_at(nodes);
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut id = [0; 16];
    id.fill_with(|| dice.u8(..));
    let cluster = ClusterId(id);
    let tls = |error: server::tls::TlsError| ChaosError::start(error.to_string());
    let authority = CertificateAuthority::open_or_create(&dir.join("tls")).map_err(tls)?;
    let homes: Vec<PathBuf> = (0..nodes).map(|node| dir.join(format!("node-{node}"))).collect();
    let disks = match wanted.disks {
        true => SmallDisks::mount(&homes),
        false => Err("no fault of the scenario fills a disk".to_owned()),
    };
    let clocks = match wanted.clocks {
        true => FakeClocks::new(&dir, nodes),
        false => Err("no fault of the scenario sets a clock".to_owned()),
    };

    let mut network = Network::default();
    let (mut processes, mut doors) = (Vec::new(), Vec::new());
    for node in 0..nodes {
        let mut config = ServerConfig::single(cluster, homes[node].join("data"));
        config.node = node as u64;
        config.http = http[node].to_string();
        config.peer_listen = Some(peers[node].to_string());
        config.limits.segment_bytes = Some(SEGMENT_BYTES);
        config.limits.log_cache_bytes_max = Some(LOG_CACHE_BYTES);
        config.limits.log_bytes_per_checkpoint = Some(CHECKPOINT_BYTES);
        config.limits.overlay_bytes = Some(OVERLAY_BYTES);
        for member in 0..nodes {
            let peer = if member == node || nodes == 1 {
                peers[member]
            } else {
                let link = network.link(Place::Node(node), Place::Node(member), peers[member]).await;
                link.map_err(|error| ChaosError::start(format!("no link can be made: {error}")))?
            };
            let (peer, http) = (Some(peer.to_string()), Some(http[member].to_string()));
            config.members.push(Member { node: member as u64, peer, http });
        }
        let files = authority.issue(cluster, NodeId(node as u64)).map_err(tls)?;
        config.tls =
            Some(TlsFiles { authority: files.authority, certificate: files.certificate, key: files.key });
        let path = dir.join(format!("node-{node}.toml"));
        let text = toml::to_string(&config).map_err(|error| ChaosError::start(error.to_string()))?;
        fs::write(&path, text).map_err(ChaosError::file(&path))?;
        let door = network.link(Place::Clients, Place::Node(node), http[node]).await;
        doors.push(door.map_err(|error| ChaosError::start(format!("no link can be made: {error}")))?);
        processes.push(Arc::new(Node::new(Recipe {
            program: binary.to_owned(),
            arguments: ["server", "--exit-on-stdin-close", "--config", &path.display().to_string()]
                .map(str::to_owned)
                .to_vec(),
            environment: clocks.as_ref().map(|clocks| clocks.environment(node)).unwrap_or_default(),
            log: dir.join(format!("node-{node}.log")),
        })));
    }
    for process in &processes {
        process.start().await.map_err(ChaosError::start)?;
    }
    let (direct, network) = (http.to_vec(), Arc::new(network));
    Ok(Cluster { nodes: processes, direct, doors, network, clocks, disks })
}
