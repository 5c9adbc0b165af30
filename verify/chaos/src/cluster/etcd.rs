//! Clusters of etcd: one that is started here, with links between its peers, or one that somebody else runs.
//!
//! All members of an etcd cluster must name each peer by one address, so there is one link to each node, shared by
//! all others. Who dials is found in `/proc`: whose socket it is.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{Cluster, Node, Recipe, SmallDisks, Wanted, free};
use crate::{
    ChaosError,
    proxy::{Network, Place},
};

const NO_CLOCKS: &str = "libfaketime does not reach a program that asks the kernel for the time itself";
const NOT_OURS: &str = "the cluster was not started here";

/// Makes and starts a cluster of this binary.
///
/// # Errors
/// If files, ports or processes cannot be had. Nothing runs then.
pub async fn start_etcd(
    binary: &Path,
    dir: PathBuf,
    nodes: usize,
    seed: u64,
    wanted: Wanted,
) -> Result<Cluster, ChaosError> {
    let addresses = free(2 * nodes)?;
    let (clients, peers) = addresses.split_at(nodes);
    let homes: Vec<PathBuf> = (0..nodes).map(|node| dir.join(format!("node-{node}"))).collect();
    let disks = match wanted.disks {
        true => SmallDisks::mount(&homes),
        false => Err("no fault of the scenario fills a disk".to_owned()),
    };
    let no_link = |error: std::io::Error| ChaosError::start(format!("no link can be made: {error}"));
    let mut network = Network::default();
    let started: Arc<OnceLock<Vec<Arc<Node>>>> = Arc::default();
    let (mut advertised, mut doors) = (Vec::new(), Vec::new());
    for node in 0..nodes {
        let from: Vec<Place> = (0..nodes).filter(|other| *other != node).map(Place::Node).collect();
        let nodes = Arc::clone(&started);
        let who = move |dialer: SocketAddr| {
            let inode = socket_inode(dialer)?;
            let holds = |node: &Arc<Node>| node.process_id().is_some_and(|pid| holds_socket(pid, inode));
            nodes.get()?.iter().position(holds).map(Place::Node)
        };
        let link = network.shared_link(&from, Place::Node(node), peers[node], who).await;
        advertised.push(link.map_err(no_link)?);
        doors.push(network.link(Place::Clients, Place::Node(node), clients[node]).await.map_err(no_link)?);
    }
    let all: Vec<String> =
        advertised.iter().enumerate().map(|(node, peer)| format!("n{node}=http://{peer}")).collect();
    let mut processes = Vec::new();
    for node in 0..nodes {
        let (client, peer) = (clients[node], peers[node]);
        let arguments = [
            format!("--name=n{node}"),
            format!("--data-dir={}", homes[node].join("data").display()),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{}", advertised[node]),
            format!("--initial-cluster={}", all.join(",")),
            format!("--initial-cluster-token=chaos-{seed}"),
            "--initial-cluster-state=new".to_owned(),
        ];
        processes.push(Arc::new(Node::new(Recipe {
            program: binary.to_owned(),
            arguments: arguments.to_vec(),
            environment: Vec::new(),
            log: dir.join(format!("node-{node}.log")),
        })));
    }
    let processes = started.get_or_init(|| processes).clone();
    for process in &processes {
        process.start().await.map_err(ChaosError::start)?;
    }
    let clocks = Err(NO_CLOCKS.to_owned());
    Ok(Cluster {
        nodes: processes,
        direct: clients.to_vec(),
        doors,
        network: Arc::new(network),
        clocks,
        disks,
    })
}

/// A cluster that runs: clients get links to it, and its processes are those that are named, if any.
///
/// # Errors
/// If a link cannot be made, or a process is not there.
pub async fn join_etcd(endpoints: &[SocketAddr], pids: &[u32]) -> Result<Cluster, ChaosError> {
    if !pids.is_empty() && pids.len() != endpoints.len() {
        let message = format!("{} processes are named for {} endpoints", pids.len(), endpoints.len());
        return Err(ChaosError::usage(message));
    }
    let mut network = Network::default();
    let mut doors = Vec::new();
    for (node, endpoint) in endpoints.iter().enumerate() {
        let door = network.link(Place::Clients, Place::Node(node), *endpoint).await;
        doors.push(door.map_err(|error| ChaosError::start(format!("no link can be made: {error}")))?);
    }
    let nodes: Result<Vec<Node>, String> = pids.iter().map(|pid| Node::foreign(*pid)).collect();
    let nodes = nodes.map_err(ChaosError::usage)?.into_iter().map(Arc::new).collect();
    let (clocks, disks) = (Err(NOT_OURS.to_owned()), Err(NOT_OURS.to_owned()));
    Ok(Cluster { nodes, direct: endpoints.to_vec(), doors, network: Arc::new(network), clocks, disks })
}

/// The number of the socket that is bound to this address.
fn socket_inode(address: SocketAddr) -> Option<u64> {
    // An IPv4 address stands as `0100007F:1F90`, and as the end of it among those of IPv6.
    let SocketAddr::V4(v4) = address else { return None };
    let ip = u32::from_ne_bytes(v4.ip().octets());
    let wanted = format!("{ip:08X}:{:04X}", v4.port());
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(1)?.ends_with(&wanted).then_some(())?;
            fields.nth(7)?.parse().ok().filter(|inode| *inode != 0)
        })
    })
}

fn holds_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.filter_map(Result::ok)
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_who_holds_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let dialer = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let inode = socket_inode(dialer.local_addr().expect("connected")).expect("it is in the table");
        assert!(holds_socket(std::process::id(), inode));
        assert!(!holds_socket(1, inode) || std::process::id() == 1);
    }
}
