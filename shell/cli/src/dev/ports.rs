//! Which ports a development cluster takes, and whether they are free.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use crate::{args::PEER_PORT_OFFSET, failure::Failure};

/// How long to wait for nodes of an earlier start that are just going away.
const GOING_AWAY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The ports of a cluster whose node 0 serves HTTP on `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// Ports from `base` up. `base` and the number of nodes are in the ranges of the command line.
    pub fn new(base: u16) -> Ports {
        Ports { base }
    }

    /// Where a node serves HTTP.
    pub fn http(self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.base + node).into()
    }

    /// Where a node listens for peers.
    pub fn peer(self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.base + PEER_PORT_OFFSET + node).into()
    }

    /// Waits a moment for all ports of `nodes` nodes to be free.
    ///
    /// # Errors
    /// Naming the first port that is taken.
    pub async fn check(self, nodes: u16) -> Result<(), Failure> {
        let until = Instant::now() + GOING_AWAY;
        while let Err((address, error)) = self.free(nodes) {
            if error.kind() != ErrorKind::AddrInUse {
                return Err(Failure::error(format!("cannot listen on {address}: {error}"))
                    .next("choose other ports, for example --http-port 17400"));
            }
            if Instant::now() >= until {
                return Err(Failure::error(format!("port {} is in use by another process", address.port()))
                    .next("stop that process (ss -ltnp shows it), or choose other ports, for example --http-port 17400"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Tries to bind every port, and lets go.
    ///
    /// # Errors
    /// The first address that cannot be bound, and why.
    pub fn free(self, nodes: u16) -> Result<(), (SocketAddr, io::Error)> {
        let peers = if nodes > 1 { nodes } else { 0 };
        let addresses = (0..nodes).map(|node| self.http(node)).chain((0..peers).map(|node| self.peer(node)));
        for address in addresses {
            TcpListener::bind(address).map_err(|error| (address, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_and_peer_ports_never_meet() {
        let ports = Ports::new(7400);
        assert_eq!((ports.http(2).port(), ports.peer(2).port()), (7402, 7502));
        assert!(ports.http(crate::args::DEV_NODES_MAX - 1).port() < ports.peer(0).port());
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let (address, error) = Ports::new(port).free(1).expect_err("it is taken");
        assert_eq!((address.port(), error.kind()), (port, ErrorKind::AddrInUse));
    }
}
